"""What some power meters can beyond their role, and who hears of each of their readings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, cast

from labctl.model.clock import Stop
from labctl.model.roles import PowerMeter

Heard = Callable[[float], object]
"""Told a power in W as it is read."""
_listeners: ContextVar[tuple[Heard, ...]] = ContextVar("listeners", default=())


@contextmanager
def heard_by(listener: Heard) -> Iterator[None]:
    """Tell a listener each of the readings that a meter averages in the block, as it comes.

    :param listener: what it raises ends the reading.
    """
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def has_read(power_w: float) -> None:
    """Say that one reading came; for drivers."""
    for listener in _listeners.get():
        listener(power_w)


class RangedMeter(Protocol):
    """A meter whose range can be fixed."""

    def set_range(self, upper_w: float | None) -> float:
        """Fix the range that holds ``upper_w`` until the next ``prepare``; None leaves it to the meter.

        :raises InstrumentFault: there is no such range.
        """


class ZeroedMeter(Protocol):
    """A meter that can take the present reading as its zero."""

    def zero(self, stop: Stop | None = None) -> float:
        """Zero with the pump blocked; return the offset found, W.

        :raises InstrumentFault: there is light on the head, or it cannot.
        """


class PulseMeter(Protocol):
    """A meter whose head answers to single pulses."""

    def frequency_hz(self, stop: Stop | None = None) -> float:
        """Measure the repetition rate, Hz.

        :raises InstrumentError: no pulses are seen.
        """

    def pulse_energy_j(self, stop: Stop | None = None) -> float:
        """Measure the energy of one pulse, J.

        :raises InstrumentError: no pulse is seen.
        """


def ranged(meter: PowerMeter) -> RangedMeter | None:
    """Return the meter as one with ranges, or None. A pyroelectric head has none of power."""
    if meter.sensor == "pyro" or not hasattr(meter, "set_range"):
        return None
    return cast("RangedMeter", meter)


def zeroed(meter: PowerMeter) -> ZeroedMeter | None:
    """Return the meter as one that zeroes, or None. A pyroelectric head has no zero."""
    if meter.sensor == "pyro" or not hasattr(meter, "zero"):
        return None
    return cast("ZeroedMeter", meter)


def pulsed(meter: PowerMeter) -> PulseMeter | None:
    """Return the meter as one that sees single pulses, or None; of the heads, pyroelectric ones do."""
    if meter.sensor != "pyro" or not hasattr(meter, "pulse_energy_j"):
        return None
    return cast("PulseMeter", meter)


def counting(meter: PowerMeter) -> PulseMeter | None:
    """Return the meter as one that measures the repetition rate, or None; thermal heads are too slow."""
    if meter.sensor == "thermal" or not hasattr(meter, "frequency_hz"):
        return None
    return cast("PulseMeter", meter)
