"""What can go wrong: every kind of fault, whom it befalls and which parameters it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Layer = Literal["bytes", "device", "scene"]
"""Of whole messages; of the instrument's own state; of the optical table."""
Direction = Literal["request", "reply"]
Value = float | int | str | None

ROLES = ("attenuator", "power_meter", "shutter", "spectrometer", "stage", "thermometer")
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
    }
)

LASTING = frozenset(
    {
        "slipped-plate", "slipped-stage", "restart", "wrong-unit", "wrong-wavelength", "wrong-range",
        "tripped-interlock",
    }
)  # fmt: skip
"""These happen at one moment; what they leave behind stays."""
EVERYBODY = frozenset({"dead-laser", "jumping-laser", "drifting-laser"})
"""These befall the laser; the instrument named is the one whose messages are counted."""
