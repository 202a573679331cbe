"""Records as JSON's own types, and back: one way for files, for processes and for ``--json``.

What a mapping lacks, or holds in another type than the record, takes the field's default, so that files of
older labctl read. A field marked :data:`NOT_STORED` is left out of what is stored; a class may name
properties in ``DERIVED`` that are written for readers and ignored when read back.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import numpy as np

T = TypeVar("T")

NOT_STORED: Mapping[str, object] = types.MappingProxyType({"stored": False})
"""Metadata of a field that is carried between processes, but not stored: it is large, and made anew."""


def plain(value: object, *, stored: bool = True) -> Any:
    """Return ``value`` in JSON's own types: records as mappings, arrays as lists, nan and inf as None.

    :param stored: leave out what is marked :data:`NOT_STORED`.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _of_record(value, stored=stored)
    if isinstance(value, Mapping):
        return {str(key): plain(item, stored=stored) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, stored=stored) for item in value]
    if isinstance(value, frozenset):
        return sorted(plain(item, stored=stored) for item in value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isfinite(value).all():
        return value.tolist()
    unpack = getattr(value, "tolist", None)
    return plain(unpack(), stored=stored) if unpack is not None else str(value)


def _of_record(record: Any, *, stored: bool) -> dict[str, Any]:
    kept = [f.name for f in dataclasses.fields(record) if not stored or f.metadata.get("stored", True)]
    return {name: plain(getattr(record, name), stored=stored) for name in (*kept, *_derived(record))}


def _derived(record: object) -> tuple[str, ...]:
    return cast("tuple[str, ...]", getattr(record, "DERIVED", ()))


def record_of(kind: type[T], mapping: Mapping[str, object]) -> T:
    """Return the record of this kind that :func:`plain` made ``mapping`` of.

    :raises ValueError: a field without a default is missing, or of another type.
    """
    given: dict[str, object] = {}
    hints = _hints(cast(Any, kind))
    for field in dataclasses.fields(cast(Any, kind)):
        if field.name not in mapping:
            continue
        value, hint = mapping[field.name], hints[field.name]
        if type(value) is hint:  # most are plain numbers and words, and there are hundreds a point
            given[field.name] = value
            continue
        try:
            given[field.name] = _value(hint, value)
        except (ValueError, TypeError, OverflowError):
            continue
    try:
        return kind(**given)
    except TypeError as exc:
        raise ValueError(f"not a valid {kind.__name__}: {exc}") from None


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _value(hint: Any, value: object) -> object:
    """Return ``value`` as the type that ``hint`` wants.

    :raises ValueError: it is of another.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _of_union(get_args(hint), value)
    if origin is Literal:
        if value not in get_args(hint):
            raise ValueError(value)
        return value
    if origin is np.ndarray:
        return _array(hint, value)
    if origin in (tuple, frozenset):
        return _of_several(origin, get_args(hint), value)
    if origin in (Mapping, dict):
        return {key: _value(get_args(hint)[1], item) for key, item in _mapping(value).items()}
    if dataclasses.is_dataclass(hint):
        return record_of(cast(type, hint), _mapping(value))
    return value if hint in (object, Any) else _scalar(hint, value)


def _of_union(kinds: tuple[Any, ...], value: object) -> object:
    if type(value) in kinds:
        return value
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return _value(kind, value)
            except (ValueError, TypeError, OverflowError):
                continue
    raise ValueError(value)


def _of_several(origin: Any, kinds: tuple[Any, ...], value: object) -> object:
    if not isinstance(value, (list, tuple)):
        raise ValueError(value)
    items: Sequence[object] = value
    if kinds[-1] is Ellipsis or origin is frozenset:
        kind = kinds[0]
        return origin([item if type(item) is kind else _value(kind, item) for item in items])
    if len(items) != len(kinds):
        raise ValueError(value)
    return tuple(_value(kind, item) for kind, item in zip(kinds, items, strict=True))


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(value)
    return value


def _array(hint: Any, value: object) -> object:
    """Return an array of any shape, of floats, or of truth values; None becomes nan."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise ValueError(value)
    found = np.array(value, dtype=np.float64)
    return found.astype(np.bool_) if "bool" in str(get_args(hint)[-1]) else found


def _scalar(kind: Any, value: object) -> object:
    if kind is float:
        if value is None:
            return math.nan
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ValueError(value)
