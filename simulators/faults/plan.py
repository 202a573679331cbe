"""The plan of faults: a TOML file, read strictly and within bounds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.model.errors import ConfigError
from labctl.model.untrusted import open_regular
from simulators.faults.checks import Mistake, choice, keys, read_number
from simulators.faults.kinds import EVERYBODY, HOW, KINDS, LASTING, ROLES, WHEN, Direction, Kind

LARGEST_FILE = 65536
MOST_FAULTS = 256
TRIGGERS = ("nth", "at_s", "probability")
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan. Times ending in ``_s`` are scene seconds, but for ``wall_s``.

    :param number: its place in the plan, from 1.
    :param instrument: whose messages are hit or counted; None for the laser at a time.
    :param nth, at_s, probability: exactly one is set.
    :param match: text the request must contain to be counted; ``^`` and ``$`` bind it to the ends.
    :param count: messages hit; None: no limit (with ``probability``), or as long as ``duration_s`` says.
    :param duration_s: infinite for good; None where messages are counted.
    """

    number: int
    kind: str
    instrument: str | None
    direction: Direction
    nth: int | None = None
    at_s: float | None = None
    probability: float | None = None
    match: str = ""
    count: int | None = None
    duration_s: float | None = None
    wall_s: float | None = None
    bytes: int | None = None
    copies: int = 1
    integration_s: float | None = None
    wavelength_nm: float = 0.0
    range_w: float = 0.0
    readback: str = "true"
    angle_deg: float = 0.0
    shift_um: float = 0.0
    travel_s: float = 0.0
    factor: float = 1.0
    ramp_s: float = 0.0
    full_scales: float = 0.0


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What shall go wrong, and the seed of whatever chance has a part in it."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    @classmethod
    def parse(cls, text: str, file: Path | None = None) -> FaultPlan:
        """Read a plan.

        :raises ConfigError: it is no TOML, too large, or says something unknown or impossible.
        """
        try:
            return _plan(_table(text))
        except Mistake as mistake:
            raise ConfigError(mistake.reason, file=file, key=mistake.key, hint=mistake.hint) from None


def load_faults(path: Path) -> FaultPlan:
    """Read the plan in a file, of at most 64 KiB.

    :raises ConfigError: the file cannot be read, or see :meth:`FaultPlan.parse`.
    """
    try:
        with open_regular(path) as stream:
            data = stream.read(LARGEST_FILE + 1)
        text = data.decode("utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot be read: {exc.strerror or exc}", file=path) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"is not UTF-8 (byte {exc.start})", file=path) from exc
    return FaultPlan.parse(text, path)


def _table(text: str) -> dict[str, Any]:
    if len(text) > LARGEST_FILE:
        raise Mistake("", f"is larger than {LARGEST_FILE} bytes, too large for a plan of faults")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise Mistake("", f"is not TOML: {exc}") from None
    except (RecursionError, ValueError):  # brackets nested without end, numbers of thousands of digits
        raise Mistake("", "is not TOML that can be read") from None


def _plan(table: Mapping[str, Any]) -> FaultPlan:
    keys(table, ("seed", "fault"), "")
    seed = table.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
        raise Mistake("seed", f"should be a whole number from 0 to {LARGEST_SEED}")
    faults = table.get("fault", [])
    if not isinstance(faults, list) or not all(isinstance(item, dict) for item in faults):
        raise Mistake("fault", "should be tables, each beginning with [[fault]]")
    if len(faults) > MOST_FAULTS:
        raise Mistake("fault", f"{len(faults)} faults; at most {MOST_FAULTS} can be planned")
    return FaultPlan(tuple(_fault(item, number) for number, item in enumerate(faults, 1)), seed)


def _fault(table: Mapping[str, Any], number: int) -> Fault:
    where = f"fault[{number}]"
    name = choice(table, "kind", tuple(KINDS), where)
    if name is None:
        raise Mistake(f"{where}.kind", "missing", f"one of {', '.join(KINDS)}")
    kind = KINDS[name]
    keys(table, ("kind", "instrument", *WHEN, *kind.parameters), where, name)
    values = {
        key: read_number(table[key], {**WHEN, **HOW}[key], f"{where}.{key}")
        for key in table
        if key not in ("kind", "instrument")
    }
    _check_trigger(name, values, where)
    direction: Any = values.pop("direction", kind.directions[0])
    if direction not in kind.directions:
        raise Mistake(f"{where}.direction", f"{name} is possible in a {kind.directions[0]} only")
    instrument = _instrument(table, name, kind, where, needed="at_s" not in values)
    _check_parameters(name, instrument, values, where)
    values.setdefault("match", kind.match)
    return Fault(number, name, instrument, direction, **{**kind.parameters, **_extent(name, kind, values)})


def _instrument(table: Mapping[str, Any], name: str, kind: Kind, where: str, *, needed: bool) -> str | None:
    instrument = choice(table, "instrument", ROLES, where)
    if instrument is None:
        if len(kind.roles) == 1:
            return kind.roles[0]
        if needed or name not in EVERYBODY:
            raise Mistake(f"{where}.instrument", "missing", f"one of {', '.join(kind.roles)}")
    elif instrument not in kind.roles:
        raise Mistake(f"{where}.instrument", f"{name} can befall {' or '.join(kind.roles)} only")
    return instrument


def _check_trigger(name: str, values: Mapping[str, Any], where: str) -> None:
    given = [key for key in TRIGGERS if key in values]
    if not given:
        raise Mistake(where, f"says not when: one of {', '.join(TRIGGERS)} is missing")
    if len(given) > 1:
        raise Mistake(f"{where}.{given[1]}", f"does not go with {given[0]}: a fault begins in one way")
    if "duration_s" in values and "count" in values and given != ["probability"]:
        raise Mistake(f"{where}.duration_s", "does not go with count")
    if "duration_s" in values and name in LASTING:
        raise Mistake(f"{where}.duration_s", f"a {name} happens at one moment")
    if KINDS[name].layer == "bytes":
        if "duration_s" in values and given == ["probability"]:
            raise Mistake(f"{where}.duration_s", "does not go with probability: each message has its chance")
    elif KINDS[name].layer == "scene" and given == ["at_s"] and "match" in values:
        raise Mistake(f"{where}.match", "does not go with at_s: no message is waited for")
    elif "count" in values and given != ["probability"]:
        raise Mistake(f"{where}.count", f"a {name} begins once; duration_s says how long it lasts")


def _check_parameters(name: str, instrument: str | None, values: Mapping[str, Any], where: str) -> None:
    if "integration_s" in values and instrument != "spectrometer":
        raise Mistake(f"{where}.integration_s", "only a spectrometer has one")
    if name in ("late-answer", "delay") and values.get("wall_s") == float("inf"):
        raise Mistake(f"{where}.wall_s", "an answer that never comes is a drop or a stall")


def _extent(name: str, kind: Kind, values: dict[str, Any]) -> dict[str, Any]:
    """Fill in how long it lasts: one message, or for good where the bench itself is broken."""
    if kind.layer == "bytes":
        if "duration_s" not in values and "probability" not in values:
            values.setdefault("count", 1)
    elif name not in LASTING:
        values.setdefault("duration_s", float("inf"))
    return values
