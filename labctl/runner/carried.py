"""What one process of labctl hands to another on a line of JSON: arrays, tuples and the known records.

Nothing is unpickled: what comes back out is plain, or one of the classes named here.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from labctl.model import pump, records
from labctl.runner.facts import BenchFacts
from labctl.runner.keeper import Kept
from procedures.sources import Ending

_KIND = "!"
_RECORDS: dict[str, Any] = {
    found.__name__: found
    for found in (BenchFacts, Ending, Kept, *vars(pump).values(), *vars(records).values())
    if isinstance(found, type) and dataclasses.is_dataclass(found)
}


def packed(value: Any) -> object:
    """Return ``value`` in JSON's own types.

    :raises TypeError: it holds something that is not carried.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {_KIND: "array", "dtype": value.dtype.str, "shape": list(value.shape), "of": data}
    if isinstance(value, tuple):
        return {_KIND: "tuple", "of": [packed(item) for item in value]}
    if isinstance(value, list):
        return [packed(item) for item in value]
    if isinstance(value, Mapping):
        return {_KIND: "mapping", "of": [[packed(key), packed(item)] for key, item in value.items()]}
    name = type(value).__name__
    if _RECORDS.get(name) is not type(value):
        raise TypeError(f"a {name} is not carried")
    return {_KIND: name, "of": [packed(getattr(value, field.name)) for field in dataclasses.fields(value)]}


def unpacked(value: Any) -> Any:
    """Return what :func:`packed` was given; mappings as ``dict``.

    :raises KeyError: it is of a kind that is not carried.
    """
    if isinstance(value, list):
        return [unpacked(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, inside = value[_KIND], value["of"]
    if kind == "array":
        data = np.frombuffer(base64.b64decode(inside), dtype=np.dtype(value["dtype"]))
        return data.reshape(value["shape"]).copy()
    if kind == "mapping":
        return {unpacked(key): unpacked(item) for key, item in inside}
    items = [unpacked(item) for item in inside]
    return tuple(items) if kind == "tuple" else _RECORDS[kind](*items)
