"""The power meter's readings while exposures are taken: they hold the very pulses of the exposures.

A thread waits for the meter's answer, one reading at a time. Everything else is done by the thread that
exposes, whenever it looks at its stop flag: it takes the answer, judges it by the rules of the gate, and asks
for the next. So nothing is judged twice or by nobody, light is ended in one place, and a thread that exposes
and hangs asks for no more readings: the watchdog notices.
"""

from __future__ import annotations

import time

from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import Aborted, InstrumentTimeout
from labctl.model.records import PowerReading
from labctl.model.roles import PowerMeter
from procedures.gate.power_monitor import PumpState
from procedures.gate.pump import Pump
from procedures.point.beside import Beside

LEAST = 2
"""Readings of a series of exposures, at least: a change in its midst is judged."""
SLOW_S = 0.5
"""A head that follows a change more slowly mixes the pulses of an exposure with those before it."""
_DEADLINE_S, _SLICE_S = 30.0, 0.02
"""Wall time after which no answer is waited for any more; from one look for it to the next."""
_LIGHT_S = 0.1
"""Bench time of light that must be allowed at each of these looks."""


def reads_beside(meter: PowerMeter, clock: Clock) -> bool:
    """Return whether a meter is read while exposures are taken; otherwise before and after them.

    A slow head is not, nor any on a clock that is stepped, which has one sleeper at a time.
    """
    return clock.speed > 0 and meter.settling_s <= SLOW_S


class Metering:
    """Reads the meter in the light of a verified setting, from now on.

    It is the stop flag of the exposures: set once the meter has failed or shown what must not be, or by
    ``stop``. All of it belongs to the thread that exposes.

    :param state: what was verified; each reading is held against it.
    :ivar failure: why there are no more readings; None while there are.
    """

    def __init__(self, pump: Pump, state: PumpState, stop: Stop | None) -> None:
        self._pump, self._state, self._stop = pump, state, stop
        self._readings: list[PowerReading] = []
        self._pending: Beside[PowerReading] | None = None
        self.failure: BaseException | None = None

    def is_set(self) -> bool:
        """Take a reading that has come, and judge it; return whether the exposures shall end early."""
        if self._pending is None and self.failure is None:
            self._ask()
        elif self._pending is not None and self._pending.ended:
            self._take()
            if self.failure is None:
                self._ask()
        return self.failure is not None or (self._stop is not None and self._stop.is_set())

    def _ask(self) -> None:
        self._pending = Beside(self._pump.meter_name, self._pump.read_single, self._stop)
        self._pending.start()

    def _take(self) -> None:
        """Take the reading that has ended, judge it, and count it if the head had settled."""
        pending = self._pending
        assert pending is not None
        self._pending = None
        try:
            reading = pending.result(0.0)
            if self._pump.judge_single(self._state, reading):
                self._readings.append(reading)
        except BaseException as exc:  # noqa: BLE001  raised by whoever exposes
            self.failure = exc

    def cause_of(self, error: Aborted) -> BaseException:
        """Return what has ended the exposures: the meter, where it was this flag and not the user's."""
        asked = self._stop is not None and self._stop.is_set()
        return error if asked or self.failure is None else self.failure

    def exposed(self) -> None:
        """Take note that the exposures are there; a meter behind the shutter has the least in the light.

        :raises SafetyStop: as readings are judged, or the dose would exceed its limit meanwhile.
        :raises Aborted: the user's stop.
        """
        if not self._pump.meter_in_front:
            self._until_least(in_light=True)
        if self.failure is not None:
            raise self.failure

    def readings(self) -> list[PowerReading]:
        """Return the readings, the one under way included where the shutter does not darken the meter.

        Call it after :meth:`exposed`, in the dark.

        :raises SafetyStop: as readings are judged.
        """
        if self._pump.meter_in_front:
            self._until_least(in_light=False)
            self.end()
        return list(self._readings)

    def _until_least(self, *, in_light: bool) -> None:
        end_s = time.monotonic() + _DEADLINE_S
        while len(self._readings) < LEAST:
            if in_light:
                self._pump.allow(_LIGHT_S)
            if self.is_set():
                check_stop(self._stop)
                assert self.failure is not None
                raise self.failure
            if time.monotonic() > end_s:
                raise InstrumentTimeout(self._pump.meter_name, f"no reading within {_DEADLINE_S:g} s")
            if self._pending is not None:
                self._pending.ends_within(_SLICE_S)

    def end(self) -> None:
        """Wait until the reading under way is over, and judge it: from then on the meter is the caller's.

        :raises SafetyStop: as readings are judged.
        :raises InstrumentTimeout: it is not over in time; it stays this one's.
        """
        if self._pending is not None:
            self._pending.wait(_DEADLINE_S)
            self._take()
        if self.failure is not None:
            raise self.failure

    def drop(self) -> None:
        """Wait until the reading under way is over, and judge nothing any more: the light is gone.

        :raises InstrumentTimeout: it is not over in time; it stays this one's.
        """
        if self._pending is not None:
            self._pending.end()
            self._pending.wait(_DEADLINE_S)
            self._pending = None
