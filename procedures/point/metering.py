"""The power meter's readings while exposures are taken: they hold the very pulses of the exposures.

The meter has a thread of its own from the first exposure to the last. Each reading is judged as it comes, by
the rules of the gate. Whoever fails first, meter or spectrometer, closes the shutter and does not wait for
the other.
"""

from __future__ import annotations

import logging
import threading

from labctl.model.clock import Clock, Stop
from labctl.model.errors import InstrumentTimeout
from labctl.model.records import PowerReading
from labctl.model.roles import PowerMeter
from procedures.gate.power_monitor import PumpState
from procedures.gate.pump import Pump
from procedures.point.beside import Beside

log = logging.getLogger(__name__)

LEAST = 2
"""Readings of a series of exposures, at least: a change in its midst is judged."""
SLOW_S = 0.5
"""A head that follows a change more slowly mixes the pulses of an exposure with those before it."""
_DEADLINE_S = 30.0


def reads_beside(meter: PowerMeter, clock: Clock) -> bool:
    """Return whether a meter is read while exposures are taken; otherwise before and after them.

    A slow head is not, nor any on a clock that is stepped, which has one sleeper at a time.
    """
    return clock.speed > 0 and meter.settling_s <= SLOW_S


class Metering:
    """Reads the meter in the light of a verified setting, from now on.

    It is a stop flag for the exposures: set once the meter has failed, or by ``stop``.

    :param state: what was verified; each reading is held against it.
    """

    def __init__(self, pump: Pump, state: PumpState, stop: Stop | None) -> None:
        self._pump, self._state, self._stop = pump, state, stop
        self._enough, self._given_up = threading.Event(), threading.Event()
        self._readings: list[PowerReading] = []
        self._work = Beside(pump.meter_name, self._read, stop)

    def is_set(self) -> bool:
        """Return whether the exposures shall end early."""
        return self._work.failure is not None or (self._stop is not None and self._stop.is_set())

    @property
    def failure(self) -> BaseException | None:
        """Why there are no more readings; None while there are."""
        return self._work.failure

    def _read(self, stop: Stop) -> None:
        try:
            while not self._complete():
                reading = self._pump.read_single(stop)
                if self._complete():  # the light may have ended in its midst
                    return
                self._pump.judge_single(self._state, reading)
                self._readings.append(reading)
        except BaseException:
            if not self._given_up.is_set():
                self._pump.end_light()
            raise

    def _complete(self) -> bool:
        return self._given_up.is_set() or (self._enough.is_set() and len(self._readings) >= LEAST)

    def exposed(self) -> None:
        """Take note that the exposures are there: of what is read from now on only the least is waited for.

        A meter behind the shutter has that in the light.

        :raises SafetyStop: as readings are judged; the shutter is closed.
        """
        self._enough.set()
        if not self._pump.meter_in_front and len(self._readings) < LEAST:
            self._work.result(_DEADLINE_S)
        if self._work.failure is not None:
            raise self._work.failure

    def readings(self) -> list[PowerReading]:
        """Return the readings so far, of :data:`LEAST` or more; call it after :meth:`exposed`.

        :raises SafetyStop: as readings are judged; the shutter is closed.
        """
        if len(self._readings) < LEAST:
            self._work.result(_DEADLINE_S)
        return list(self._readings)

    def join(self) -> None:
        """Wait until the last reading is over: from then on the meter is the caller's.

        :raises InstrumentTimeout: it is not over in time.
        """
        self._enough.set()
        self._work.wait(_DEADLINE_S)

    def give_up(self) -> None:
        """End it without a judgement of what is still read; the light goes first."""
        self._given_up.set()
        self._work.end()
        self._pump.end_light()
        try:
            self._work.wait(_DEADLINE_S)
        except InstrumentTimeout as exc:  # what ended the exposures is told, not this
            log.warning("%s", exc.message)
