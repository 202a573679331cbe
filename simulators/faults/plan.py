"""The plan of faults: a TOML file, read strictly and within bounds."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from labctl.model.errors import ConfigError
from labctl.model.untrusted import open_regular

Layer = Literal["bytes", "device", "scene", "usb"]
"""Of whole messages; of the instrument's own state; of the optical table; of transfers on a USB bus."""
Direction = Literal["request", "reply"]
Value = float | int | str | None

ROLES = ("attenuator", "power_meter", "shutter", "spectrometer", "stage", "thermometer", "heater")
LONGEST_WALL_S = 3600.0
MOST_COPIES = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """What a parameter may be: a number between limits, or one of some words.

    :param endless: whether ``inf`` is allowed beyond ``high``.
    """

    type: Literal["number", "whole", "word"]
    low: float = 0.0
    high: float = math.inf
    endless: bool = False
    words: tuple[str, ...] = ()


WHEN: Mapping[str, Rule] = MappingProxyType(
    {
        "nth": Rule("whole", 1, 10**9),
        "at_s": Rule("number", 0.0, 1e9),
        "probability": Rule("number", 0.0, 1.0),
        "match": Rule("word"),
        "direction": Rule("word", words=("request", "reply")),
        "count": Rule("whole", 1, 10**9),
        "duration_s": Rule("number", 0.0, 1e9, endless=True),
    }
)
"""When a fault begins and how long it lasts, by key."""

HOW: Mapping[str, Rule] = MappingProxyType(
    {
        "wall_s": Rule("number", 0.0, LONGEST_WALL_S, endless=True),
        "bytes": Rule("whole", 0, 10**6),
        "copies": Rule("whole", 1, MOST_COPIES),
        "integration_s": Rule("number", 1e-5, 9.9),
        "wavelength_nm": Rule("number", 100.0, 30_000.0),
        "range_w": Rule("number", 1e-12, 1e3),
        "readback": Rule("word", words=("true", "commanded")),
        "angle_deg": Rule("number", -360.0, 360.0),
        "shift_um": Rule("number", -60_000.0, 60_000.0),
        "travel_s": Rule("number", 0.0, 1e4),
        "factor": Rule("number", 0.0, 1e3),
        "ramp_s": Rule("number", 0.0, 1e9),
        "full_scales": Rule("number", 0.0, 1e3),
    }
)
"""What a fault does, by key."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    :param roles: instruments it can befall; if only one, it need not be named.
    :param directions: in which messages can be hit or counted; the first is the default.
    :param parameters: keys of :data:`HOW` it takes, with their defaults.
    :param match: default of the text a request must contain.
    """

    layer: Layer
    roles: tuple[str, ...] = ROLES
    directions: tuple[Direction, ...] = ("request",)
    parameters: Mapping[str, Value] = field(default_factory=dict)
    match: str = ""


ON_USB = ("attenuator", "power_meter", "shutter", "spectrometer", "stage")
"""Instruments that may have a USB plug."""

_BOTH: tuple[Direction, ...] = ("reply", "request")
_REPLY: tuple[Direction, ...] = ("reply",)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "drop": Kind("bytes", directions=_BOTH),
        "delay": Kind("bytes", directions=_BOTH, parameters={"wall_s": 0.5}),
        "garble": Kind("bytes", directions=_BOTH, parameters={"bytes": None}),
        "truncate": Kind("bytes", directions=_BOTH, parameters={"bytes": None}),
        "duplicate": Kind("bytes", directions=_BOTH, parameters={"copies": 1}),
        "disconnect": Kind("bytes", directions=("request", "reply"), parameters={"wall_s": 0.0}),
        "stall": Kind("bytes", parameters={"wall_s": math.inf}),
        "late-answer": Kind("bytes", directions=_REPLY, parameters={"wall_s": None}),
        "stale-answer": Kind("bytes", directions=_REPLY),
        "short-frame": Kind("bytes", ("spectrometer",), _REPLY, parameters={"bytes": 512}, match="00101000"),
        "restart": Kind("device", parameters={"integration_s": None}),
        "wrong-unit": Kind("device", ("power_meter",)),
        "wrong-wavelength": Kind("device", ("power_meter",), parameters={"wavelength_nm": 532.0}),
        "wrong-range": Kind("device", ("power_meter",), parameters={"range_w": 0.5}),
        "tripped-interlock": Kind("device", ("shutter",)),
        "open-sensor": Kind("device", ("heater",)),
        "stuck-plate": Kind("scene", ("attenuator",), parameters={"readback": "true"}),
        "slipped-plate": Kind("scene", ("attenuator",), parameters={"angle_deg": 10.0}),
        "stuck-stage": Kind("scene", ("stage",), parameters={"readback": "true"}),
        "slipped-stage": Kind("scene", ("stage",), parameters={"shift_um": 20.0}),
        "failed-shutter": Kind("scene", ("shutter",), parameters={"readback": "true"}),
        "slow-shutter": Kind("scene", ("shutter",), parameters={"travel_s": 1.0}),
        "dead-laser": Kind("scene", parameters={"factor": 0.0}),
        "jumping-laser": Kind("scene", parameters={"factor": 2.0}),
        "drifting-laser": Kind("scene", parameters={"factor": 0.5, "ramp_s": 60.0}),
        "blocked-meter": Kind("scene", ("power_meter",), parameters={"factor": 0.0}),
        "saturated-spectrometer": Kind("scene", ("spectrometer",), parameters={"full_scales": 2.0}),
        "deaf-trigger": Kind("scene", ("spectrometer",)),
        "usb-nak": Kind("usb", ON_USB, _REPLY, parameters={"wall_s": math.inf}),
        "usb-short-packet": Kind("usb", ON_USB, _REPLY, parameters={"bytes": None}),
        "usb-stall": Kind("usb", ON_USB, _REPLY),
        "usb-wrong-tag": Kind("usb", ("power_meter",), _REPLY),
        "usb-unread-answer": Kind("usb", ("power_meter", "spectrometer"), _REPLY),
        "usb-unplug": Kind("usb", ON_USB, _REPLY, parameters={"bytes": 12, "wall_s": math.inf}),
        "usb-busy": Kind("usb", ON_USB, parameters={"wall_s": math.inf}),
    }
)

LASTING = frozenset(
    {
        "slipped-plate", "slipped-stage", "restart", "wrong-unit", "wrong-wavelength", "wrong-range",
        "tripped-interlock", "open-sensor", "usb-nak", "usb-short-packet", "usb-stall", "usb-wrong-tag",
        "usb-unread-answer", "usb-unplug", "usb-busy",
    }
)  # fmt: skip
"""These happen at one moment; what they leave behind stays."""
EVERYBODY = frozenset({"dead-laser", "jumping-laser", "drifting-laser"})
"""These befall the laser; the instrument named is the one whose messages are counted."""


LONGEST_WORD = 200


class Mistake(Exception):  # noqa: N818  becomes a ConfigError once the file is known
    """Something wrong in a plan."""

    def __init__(self, key: str, reason: str, hint: str = "") -> None:
        super().__init__(key, reason, hint)
        self.key, self.reason, self.hint = key, reason, hint


def keys(table: Mapping[str, Any], valid: Iterable[str], where: str, what: str = "") -> None:
    """Refuse a key that is not known here."""
    allowed = tuple(valid)
    for key in table:
        if key not in allowed:
            reason = f"unknown key for {what}" if what else "unknown key"
            raise Mistake(f"{where}.{_short(key)}" if where else _short(key), reason, nearest(key, allowed))


def choice(table: Mapping[str, Any], key: str, valid: tuple[str, ...], where: str) -> str | None:
    """Return the word a key names, None without the key."""
    if key not in table:
        return None
    value = table[key]
    if not isinstance(value, str) or value not in valid:
        raise Mistake(f"{where}.{key}", f"{_shown(value)} is unknown", nearest(str(value), valid))
    return value


def read_number(value: object, rule: Rule, key: str) -> float | int | str:
    """Return a value that keeps its rule."""
    if rule.type == "word":
        return _word(value, rule, key)
    if isinstance(value, bool) or not isinstance(value, int if rule.type == "whole" else int | float):
        raise Mistake(key, f"{_shown(value)} should be a {'whole ' * (rule.type == 'whole')}number")
    if rule.endless and value == math.inf:
        return value
    if not rule.low <= value <= rule.high:
        limits = f"from {rule.low:g} to {rule.high:g}" + (" or inf" if rule.endless else "")
        raise Mistake(key, f"{_shown(value)} should be {limits}")
    return value if rule.type == "whole" else float(value)


def nearest(word: str, valid: tuple[str, ...]) -> str:
    """Return the valid word nearest to another, or all of them."""
    close = difflib.get_close_matches(word[:LONGEST_WORD], valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"valid here: {', '.join(valid)}"


def _word(value: object, rule: Rule, key: str) -> str:
    if not isinstance(value, str):
        raise Mistake(key, f"{_shown(value)} should be text")
    if rule.words and value not in rule.words:
        raise Mistake(key, f"{_shown(value)} is unknown", nearest(value, rule.words))
    if len(value) > LONGEST_WORD:
        raise Mistake(key, f"is longer than {LONGEST_WORD} characters")
    return value


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number that large"
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


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
        raise Mistake(f"{where}.count", f"a {name} begins once")


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
