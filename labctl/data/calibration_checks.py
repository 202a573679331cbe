"""Whether plain values are a calibration: every key, every number, every word of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from labctl.model.calibration import KINDS, Calibration, Quantity
from labctl.model.records import Identity

_LONGEST_WORD = 4000
_LONGEST_NAME = 100
_MOST_ENTRIES = 500
_KEYS = frozenset(Calibration.__dataclass_fields__)
_QUANTITY = frozenset(Quantity.__dataclass_fields__)
_IDENTITY = frozenset(Identity.__dataclass_fields__)

T = TypeVar("T")


class Refused(Exception):  # noqa: N818  it becomes a DataError where the file is known
    """What is not as it should be, without the file's name."""


def checked(body: Mapping[str, object]) -> Calibration:
    """Return the record.

    :param body: of unknown origin, out of JSON.
    :raises Refused: says which key is wrong, and why.
    """
    _exactly(body, _KEYS, "it")
    kind = _word(body["kind"], "kind")
    if kind not in KINDS:
        raise Refused(f"kind {kind[:40]!r} is none of {', '.join(KINDS)}")
    measured, until = (_time(body[key], key) for key in ("measured_utc", "valid_until_utc"))
    if until < measured:
        raise Refused("valid_until_utc lies before measured_utc")
    instruments = _entries(body["instruments"], "instruments", _identity)
    bound_to = _words(body["bound_to"], "bound_to")
    if not set(bound_to) <= set(instruments):
        raise Refused("bound_to names an instrument that did not measure it")
    return Calibration(
        kind=kind,
        measured_utc=str(body["measured_utc"]),
        valid_until_utc=str(body["valid_until_utc"]),
        operator=_word(body["operator"], "operator"),
        instruments=instruments,
        bound_to=bound_to,
        quantities=_entries(body["quantities"], "quantities", _quantity),
        tables=_entries(body["tables"], "tables", _numbers),
        facts=_entries(body["facts"], "facts", _fact),
        flags=_words(body["flags"], "flags"),
        note=_word(body["note"], "note"),
        version=_word(body["version"], "version"),
    )


def _exactly(mapping: Mapping[str, object], keys: frozenset[str], where: str) -> None:
    missing, extra = keys - set(mapping), set(mapping) - keys
    if missing:
        raise Refused(f"{where} lacks {', '.join(sorted(missing))}")
    if extra:
        raise Refused(f"{where} holds {min(extra)[:40]!r}, which no calibration has")


def _entries(value: object, key: str, take: Callable[[object, str], T]) -> dict[str, T]:
    if not isinstance(value, dict) or len(value) > _MOST_ENTRIES:
        raise Refused(f"{key} is not the object it should be")
    return {_name(name, key): take(item, f"{key}.{str(name)[:40]}") for name, item in value.items()}


def _name(value: object, key: str) -> str:
    name = _word(value, key)
    if not name or len(name) > _LONGEST_NAME:
        raise Refused(f"{key} holds a name of {len(name)} characters")
    return name


def _word(value: object, key: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_WORD or not value.isprintable():
        raise Refused(f"{key} is not the text it should be")
    return value


def _words(value: object, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_ENTRIES:
        raise Refused(f"{key} is not the list of words it should be")
    return tuple(_word(item, key) for item in value)


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(f"{key} is no number")
    number = float(value)
    if not math.isfinite(number):
        raise Refused(f"{key} is not finite")
    return number


def _numbers(value: object, key: str) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise Refused(f"{key} is not the list of numbers it should be")
    return tuple(_number(item, key) for item in value)


def _fact(value: object, key: str) -> str | float | bool:
    if isinstance(value, (bool, str)):
        return value if isinstance(value, bool) else _word(value, key)
    return _number(value, key)


def _quantity(value: object, key: str) -> Quantity:
    if not isinstance(value, dict):
        raise Refused(f"{key} is not the object it should be")
    _exactly(value, _QUANTITY, key)
    statistical, scale = (_number(value[part], f"{key}.{part}") for part in ("statistical", "scale"))
    if statistical < 0 or scale < 0:
        raise Refused(f"an uncertainty of {key} is negative")
    return Quantity(_number(value["value"], key), _word(value["unit"], key), statistical, scale)


def _identity(value: object, key: str) -> Identity:
    if not isinstance(value, dict):
        raise Refused(f"{key} is not the object it should be")
    _exactly(value, _IDENTITY, key)
    return Identity(**{part: _word(value[part], f"{key}.{part}") for part in _IDENTITY})


def _time(value: object, key: str) -> datetime:
    text = _word(value, key)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{key} is no date: {text[:40]!r}") from None
    if time.tzinfo is None:
        raise Refused(f"{key} names no time zone")
    return time
