"""Zeroing before the energies are measured: a console without a zero for the head is no light on it."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.model.errors import InstrumentFault
from procedures.calibration.energy import _zero


class Meter:
    """A meter with a thermal head that refuses to zero, and may learn from it."""

    sensor, zeroes = "thermal", True

    def __init__(self, *, learns: bool) -> None:
        self.learns = learns

    def zero(self, stop: object = None) -> float:
        self.zeroes = not self.learns
        raise InstrumentFault("power_meter", "refused")


def beam(meter: Meter) -> Any:
    gauge = SimpleNamespace(meter=meter, settle=lambda longer: None)
    blade = SimpleNamespace(close=lambda: None)
    return SimpleNamespace(gauge=gauge, guard=nullcontext, blade=blade, context=SimpleNamespace(stop=None))


def test_a_console_without_a_zero_for_the_head_is_no_failure() -> None:
    assert _zero(beam(Meter(learns=True))) == 0.0


def test_light_on_the_head_is_one() -> None:
    with pytest.raises(InstrumentFault, match="refused"):
        _zero(beam(Meter(learns=False)))
