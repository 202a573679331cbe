"""Calibrations as files: JSON, dated, with the checksum of what was measured; written once, never again.

The checksum is no signature against forgers. It tells a file that was edited by hand, or damaged, from one
that is as it was measured. Files come from anybody: nothing in them is executed or followed, and their size
is bounded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from labctl.model.calibration import KINDS, Calibration, Quantity
from labctl.model.errors import DataError
from labctl.model.records import Identity
from labctl.model.untrusted import open_regular

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
        raise Refused(f"invalid kind {kind[:40]!r}; choose {', '.join(KINDS)}")
    measured, until = (_time(body[key], key) for key in ("measured_utc", "valid_until_utc"))
    if until < measured:
        raise Refused("valid_until_utc is before measured_utc")
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
        raise Refused(f"{where} holds {min(extra)[:40]!r}, which is not a key of a calibration")


def _entries(value: object, key: str, take: Callable[[object, str], T]) -> dict[str, T]:
    if not isinstance(value, dict) or len(value) > _MOST_ENTRIES:
        raise Refused(f"{key} must be an object")
    return {_name(name, key): take(item, f"{key}.{str(name)[:40]}") for name, item in value.items()}


def _name(value: object, key: str) -> str:
    name = _word(value, key)
    if not name or len(name) > _LONGEST_NAME:
        raise Refused(f"{key} has a name of {len(name)} characters")
    return name


def _word(value: object, key: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_WORD or not value.isprintable():
        raise Refused(f"{key} must be text")
    return value


def _words(value: object, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_ENTRIES:
        raise Refused(f"{key} must be a list of words")
    return tuple(_word(item, key) for item in value)


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(f"{key} is not a number")
    number = float(value)
    if not math.isfinite(number):
        raise Refused(f"{key} is not finite")
    return number


def _numbers(value: object, key: str) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise Refused(f"{key} must be a list of numbers")
    return tuple(_number(item, key) for item in value)


def _fact(value: object, key: str) -> str | float | bool:
    if isinstance(value, (bool, str)):
        return value if isinstance(value, bool) else _word(value, key)
    return _number(value, key)


def _quantity(value: object, key: str) -> Quantity:
    if not isinstance(value, dict):
        raise Refused(f"{key} must be an object")
    _exactly(value, _QUANTITY, key)
    statistical, scale = (_number(value[part], f"{key}.{part}") for part in ("statistical", "scale"))
    if statistical < 0 or scale < 0:
        raise Refused(f"an uncertainty of {key} is negative")
    return Quantity(_number(value["value"], key), _word(value["unit"], key), statistical, scale)


def _identity(value: object, key: str) -> Identity:
    if not isinstance(value, dict):
        raise Refused(f"{key} must be an object")
    _exactly(value, _IDENTITY, key)
    return Identity(**{part: _word(value[part], f"{key}.{part}") for part in _IDENTITY})


def _time(value: object, key: str) -> datetime:
    text = _word(value, key)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{key} is not a date: {text[:40]!r}") from None
    if time.tzinfo is None:
        raise Refused(f"{key} has no time zone")
    return time


SCHEMA_NAME, SCHEMA_NUMBER = "labctl-calibration", 1
MAX_BYTES = 2_000_000
"""Raw data of a calibration are some thousand numbers."""
_MOST_FILES = 10_000
_SAME_SECOND = 100


def write_calibration(calibration: Calibration, directory: Path | str) -> Path:
    """Store a calibration under its kind and date, e.g. ``attenuator-20261123-101500.json``.

    :param directory: made if it is not there.
    :raises DataError: it cannot be written, or holds what no calibration may (a number that is not finite).
    """
    text = json.dumps(to_mapping(calibration), indent=1, allow_nan=False, ensure_ascii=True) + "\n"
    raw = text.encode("ascii")
    if len(raw) > MAX_BYTES:
        raise DataError(f"this calibration cannot be stored: {len(raw)} bytes, limit {MAX_BYTES}")
    stamp = datetime.fromisoformat(calibration.measured_utc).astimezone(UTC).strftime("%Y%m%d-%H%M%S")
    return _stored(raw, Path(directory), f"{calibration.kind}-{stamp}")


def read_calibration(path: Path | str) -> Calibration:
    """Read a calibration file.

    :raises DataError: names the file and says why: missing, too large, damaged, edited since it was
        measured, or written by a newer labctl.
    """
    return of_mapping(_parsed(Path(path)), str(path))


def to_mapping(calibration: Calibration) -> dict[str, object]:
    """Return it as plain values with schema and checksum, as a file and the copy in a run hold it.

    Words lose their line ends and what else cannot be printed.

    :raises DataError: it holds what no calibration may, e.g. a number that is not finite.
    """
    try:
        body = _plain(calibration)
        assert isinstance(body, dict)
        checked(body)
        return {"schema": f"{SCHEMA_NAME}/{SCHEMA_NUMBER}", "sha256": _checksum(body), "calibration": body}
    except (Refused, TypeError, ValueError, OverflowError) as exc:
        raise DataError(f"this calibration cannot be stored: {exc}") from exc


def of_mapping(mapping: object, where: str = "") -> Calibration:
    """Return the calibration that :func:`to_mapping` made ``mapping`` of; the key "file" is ignored.

    :param where: named in errors.
    :raises DataError: it is none, or it was changed since.
    """
    prefix = f"{where}: " if where else ""
    try:
        body = _body(mapping)
    except Refused as exc:
        raise DataError(f"{prefix}{exc}") from None
    except (RecursionError, OverflowError) as exc:
        raise DataError(f"{prefix}is not a calibration: {type(exc).__name__}") from None
    try:
        return checked(body)
    except (Refused, OverflowError) as exc:
        raise DataError(f"{prefix}is damaged: {exc}") from None


def is_expired(calibration: Calibration, now: datetime) -> bool:
    """Return whether its time is over; ``now`` carries a time zone."""
    return datetime.fromisoformat(calibration.valid_until_utc) < now


def calibrations_in(directory: Path | str) -> list[tuple[Path, Calibration | DataError]]:
    """Return every calibration file of a directory, by name; what cannot be read with the reason.

    :raises DataError: there is no such directory, or it holds too much.
    """
    try:
        paths = sorted(p for p in Path(directory).iterdir() if _is_named_so(p.name))
    except (OSError, ValueError) as exc:
        raise DataError(f"{directory}: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(paths) > _MOST_FILES:
        raise DataError(f"{directory} holds {len(paths)} files, more than {_MOST_FILES}")
    found: list[tuple[Path, Calibration | DataError]] = []
    for path in paths:
        try:
            found.append((path, read_calibration(path)))
        except DataError as exc:
            found.append((path, exc))
    return found


def _is_named_so(name: str) -> bool:
    return name.endswith(".json") and name.split("-")[0] in KINDS


def _stored(raw: bytes, directory: Path, stem: str) -> Path:
    """Write under a name that is free, whole or not at all."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for number in range(1, _SAME_SECOND):
            path = directory / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
            with contextlib.suppress(FileExistsError):
                _write(raw, path)
                return path
    except OSError as exc:
        raise DataError(f"{directory}: cannot be written: {exc.strerror or exc}") from exc
    raise DataError(f"{directory}: {stem} is there {_SAME_SECOND} times already")


def _write(raw: bytes, path: Path) -> None:
    with path.open("xb") as stream:
        try:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        except BaseException:
            stream.close()
            with contextlib.suppress(OSError):
                path.unlink()
            raise


def _parsed(path: Path) -> object:
    try:
        if not path.is_file():
            raise DataError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
        with open_regular(path) as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(raw) > MAX_BYTES:
        raise DataError(f"{path}: is larger than {MAX_BYTES} bytes: too large for a calibration")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_never)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{path}: is not a calibration: {_first_line(exc)}") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that stands twice: two readers would see two files."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _never(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _first_line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0][:200]


def _body(mapping: object) -> dict[str, object]:
    """Check what stands round the calibration."""
    if not isinstance(mapping, Mapping):
        raise Refused("is not a calibration: not a JSON object")
    name, _, number = str(mapping.get("schema", ""))[:100].partition("/")
    if name != SCHEMA_NAME or not (number.isascii() and number.isdecimal() and len(number) <= 4):
        raise Refused(f"is not a calibration: it does not have the schema {SCHEMA_NAME}")
    if int(number) > SCHEMA_NUMBER:
        raise Refused(f"was written by a newer labctl (schema {number})")
    body = mapping.get("calibration")
    if not isinstance(body, dict):
        raise Refused("is damaged: it holds no calibration")
    try:
        right = _checksum(body) == mapping.get("sha256")
    except (ValueError, TypeError):
        right = False
    if not right:
        raise Refused("was changed after it was measured: its checksum does not match. Measure it again")
    return body


def _checksum(body: Mapping[str, object]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: object) -> object:
    """Return ``value`` in JSON's own types, numbers as floats, words on one line and printable."""
    if isinstance(value, (Calibration, Quantity, Identity)):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return "".join(c if c.isprintable() else " " for c in value).strip()
    if isinstance(value, (bool, int, float)):
        return value if isinstance(value, bool) else float(value)
    unpack = getattr(value, "tolist", None)  # numpy's
    if unpack is None:
        raise TypeError(f"a {type(value).__name__} cannot be stored in it")
    return _plain(unpack())
