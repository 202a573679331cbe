"""Answers of an instrument as JSON and bytes, for a pipe between two processes. Nothing is unpickled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from labctl.model.records import Identity, PowerReading, SpectrometerInfo, Spectrum
from labctl.model.shots import ShotBatch

RECORDS: Mapping[str, type[Any]] = {
    kind.__name__: kind for kind in (Identity, PowerReading, SpectrometerInfo, Spectrum, ShotBatch)
}
ARRAYS = ("<f8", "<i8", "<u2")
"""Types of array elements that travel."""


def pack(value: object) -> tuple[Any, bytes]:
    """Return a value as JSON's own types, and the bytes of its arrays.

    :raises TypeError: it is neither a number, a text, a record of a role, nor a tuple or an array of those.
    """
    arrays: list[bytes] = []
    return _packed(value, arrays), b"".join(arrays)


def _packed(value: object, arrays: list[bytes]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, tuple | list):
        return [_packed(item, arrays) for item in value]
    if isinstance(value, np.ndarray):
        kind = {"f": "<f8", "i": "<i8", "u": "<u2" if value.dtype.itemsize <= 2 else "<i8"}[value.dtype.kind]
        arrays.append(np.ascontiguousarray(value, dtype=kind).tobytes())
        return {"array": kind, "shape": list(value.shape)}
    if type(value).__name__ in RECORDS and dataclasses.is_dataclass(value):
        fields = {f.name: _packed(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
        return {"record": type(value).__name__, "fields": fields}
    raise TypeError(f"{type(value).__name__} is not an answer that a role gives")


def unpack(plain: Any, body: bytes) -> Any:
    """Return what :func:`pack` made these of; a list comes back as a tuple.

    :raises ValueError: they are not what it makes.
    """
    try:
        value, rest = _unpacked(plain, body)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not an answer: {exc!r}") from None
    if rest:
        raise ValueError(f"{len(rest)} bytes too many")
    return value


def _unpacked(plain: Any, body: bytes) -> tuple[Any, bytes]:
    if isinstance(plain, list):
        items = []
        for item in plain:
            value, body = _unpacked(item, body)
            items.append(value)
        return tuple(items), body
    if not isinstance(plain, dict):
        return plain, body
    if "array" in plain:
        kind, shape = plain["array"], tuple(int(n) for n in plain["shape"])
        if kind not in ARRAYS or min(shape, default=1) < 0:
            raise ValueError(f"not an array: {plain!r}")
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        if len(body) < size:
            raise ValueError(f"{len(body)} bytes instead of {size}")
        return np.frombuffer(body[:size], dtype=kind).reshape(shape).astype(kind[1:]), body[size:]
    fields = {}
    for name, item in plain["fields"].items():
        fields[name], body = _unpacked(item, body)
    return RECORDS[plain["record"]](**fields), body
