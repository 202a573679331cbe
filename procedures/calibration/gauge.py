"""The power meter while a calibration lasts: a fixed range for each level, doubtful readings taken again."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from labctl.model.clock import Stop, check_stop
from labctl.model.errors import CalibrationRefused, InstrumentError, InstrumentFault, InstrumentTimeout
from labctl.model.records import PowerReading
from labctl.model.roles import RangedMeter, Roles, counting, pulsed, ranged
from procedures.gate.safe_state import retried

TICK_S = 1e-3
SETTLED = 1000.0
"""A meter's settling time brings a step down to one part in this."""
TRIES = 3
SCATTER_REL = 0.006
"""Relative standard error of a mean that no sound laser exceeds; a noisy one sets its own measure, up to
:data:`MOST_SCATTER_REL`."""
USUAL = 4.0
MOST_SCATTER_REL = 0.05
FULL, WEAK = 0.95, 0.03
"""A reading above or below this part of the range is taken again in another one."""
HEADROOM = 1.6
GATE_S = 1.1
"""A head that multiplies pulse energy by rate counts pulses for about so long."""
RATE_REL = 0.1
"""A pulse counter that is off by more has lost its trigger or counts noise."""


class TooMuchLight(CalibrationRefused):
    """The head's highest range is too small: a filter is needed before it."""


@dataclass(slots=True)
class Doubts:
    """How many readings were taken again, and why."""

    scatter: int = 0
    ranges: int = 0
    pulses: int = 0
    frozen: int = 0

    @property
    def total(self) -> int:
        """All that were doubtful; a change of range is none."""
        return self.scatter + self.pulses + self.frozen


class Gauge:
    """Reads the meter with nothing taken on trust.

    :param readings: averaged readings of the meter in one look.
    :param rate_hz: nominal repetition rate, for heads that count pulses.
    """

    def __init__(
        self, roles: Roles, readings: int, rate_hz: float, wavelength_nm: float, stop: Stop | None
    ) -> None:
        self.meter, self._clock, self._stop = roles.power_meter, roles.clock, stop
        self._readings, self._rate_hz, self._wavelength_nm = max(readings, 2), rate_hz, wavelength_nm
        self._count, self._judged_w = self._readings, 0.0
        self._upper_w: float | None = None
        self._last: tuple[float, float] | None = None
        self._level_w = 0.0
        self._scatters: list[float] = []
        self.doubts = Doubts()
        self.took_s = 2.0
        """What the last reading took; two seconds before the first."""

    def prepare(self) -> None:
        """Set unit, wavelength, range and averaging, verified by the driver; also to restore them.

        :raises InstrumentError: the meter does not take them, or cannot say how long it lags.
        """
        self._upper_w = None
        self.meter.prepare(self._wavelength_nm)
        if not (math.isfinite(self.meter.settling_s) and self.meter.settling_s >= 0):
            raise InstrumentError(self.meter.name, f"invalid settling time ({self.meter.settling_s!r} s)")

    def read(
        self,
        since_s: float,
        setting: float,
        *,
        pulses: bool = True,
        readings: int = 0,
        level_w: float = 0.0,
    ) -> PowerReading:
        """Settle, and read until a reading is beyond doubt.

        :param since_s: time of the last change of the light; older readings do not count.
        :param setting: what was changed, an angle for instance: the same mean to the last digit at two
            settings is an old one.
        :param pulses: whether there is light enough for a head that counts pulses.
        :param readings: that many instead of the usual number.
        :param level_w: scatter is judged against this power where the reading is lower: behind a blade the
            beam's pointing makes a weak reading scatter.
        :raises CalibrationRefused: the readings stay doubtful.
        :raises TooMuchLight: over the highest range.
        """
        began_s = self._clock.now_s()
        self._count, self._judged_w = max(readings, self._readings), level_w
        self.settle()
        for attempt in range(TRIES + 1):
            check_stop(self._stop)
            reading = self._in_range()
            doubt = self._doubt(reading, since_s, setting, pulses=pulses)
            if not doubt:
                break
            if attempt == TRIES:
                raise CalibrationRefused(
                    f"{self.meter.name}: {doubt}, {TRIES + 1} times", "check the laser and the head"
                )
        if abs(reading.power_w) * 3 < self._level_w:
            reading = self._after_the_tail(reading)
        self._last, self._level_w = (reading.power_w, setting), abs(reading.power_w)
        self.took_s = self._clock.now_s() - began_s
        return reading

    def settle(self, longer: float = 1.0) -> None:
        """Wait until the head has followed a change of the light, and a counter's gate holds no older."""
        gate_s = GATE_S if self.meter.sensor == "pyro" else 0.0
        self._clock.sleep(max(self.meter.settling_s * longer, gate_s), self._stop)

    def _after_the_tail(self, reading: PowerReading) -> PowerReading:
        """Wait until a head that has seen much more light before has forgotten it."""
        ratio = self._level_w / max(abs(reading.power_w), self.meter.noise_w, 1e-30)
        self.settle(math.log(ratio) / math.log(SETTLED))
        return self._in_range()

    def _in_range(self) -> PowerReading:
        """Read in a range that suits the light; without fixed ranges, in the one the meter chooses."""
        meter = ranged(self.meter)
        if meter is None:
            return self._raw()
        for _ in range(TRIES):
            reading = self._raw_or_none()
            if reading is not None and self._suits(reading.power_w):
                return reading
            self.doubts.ranges += self._upper_w is not None
            self._upper_w = meter.set_range(None)
            level_w = abs(self._raw().power_w)
            lowest_w = 20.0 * self.meter.noise_w
            self._upper_w = self._fixed(meter, level_w, lowest_w)
            self.settle()
        return reading if reading is not None else self._raw()

    def _fixed(self, meter: RangedMeter, level_w: float, lowest_w: float) -> float:
        """Fix the range that leaves room above a level, or the highest that just holds it."""
        try:
            return meter.set_range(max(HEADROOM * level_w, lowest_w))
        except InstrumentFault:
            return meter.set_range(max(level_w / FULL, lowest_w))

    def _suits(self, power_w: float) -> bool:
        if self._upper_w is None:
            return False
        too_low = abs(power_w) < WEAK * self._upper_w and self._upper_w > 1e3 * self.meter.noise_w
        return abs(power_w) <= FULL * self._upper_w and not too_low

    def _raw(self) -> PowerReading:
        start_s = self._clock.now_s()
        try:
            reading = retried(lambda: self.meter.read(self._count, self._stop))
        except (InstrumentFault, InstrumentTimeout) as exc:
            if self.meter.sensor == "pyro":  # no pulse above its trigger level: as good as dark
                return PowerReading(0.0, self.meter.noise_w, 1, start_s, self._clock.now_s())
            if "range" not in exc.message:
                raise
            raise TooMuchLight(f"{exc.message}", "put a filter in front of the sensor") from exc
        if not math.isfinite(reading.power_w):
            raise TooMuchLight(
                f"{self.meter.name} reads {reading.power_w}", "put a filter in front of the sensor"
            )
        return reading

    def _raw_or_none(self) -> PowerReading | None:
        try:
            return None if self._upper_w is None else self._raw()
        except TooMuchLight:
            return None

    def _doubt(self, reading: PowerReading, since_s: float, setting: float, *, pulses: bool) -> str:
        if reading.start_s < since_s - TICK_S:
            self.doubts.frozen += 1
            return "returns readings from before the last change"
        alike = self._last is not None and reading.power_w == self._last[0] and setting != self._last[1]
        if alike and abs(reading.power_w) > 3 * self.meter.noise_w:
            self.doubts.frozen += 1
            return f"shows {reading.power_w:g} W, exactly as at another setting"
        if self._scattered(reading):
            self.doubts.scatter += 1
            return f"readings scatter by {reading.sigma_w / max(abs(reading.power_w), 1e-30):.1%}"
        return self._pulses_doubt(dark=reading.power_w == 0.0) if pulses else ""

    def _scattered(self, reading: PowerReading) -> bool:
        """Compare the scatter with the meter's noise and with that of the readings so far."""
        if reading.sigma_w <= 10 * self.meter.noise_w / math.sqrt(max(reading.n, 1)):
            return False
        scatter = reading.sigma_w / max(abs(reading.power_w), self._judged_w, 1e-30)
        usual = statistics.median(self._scatters) if self._scatters else 0.0
        self._scatters.append(scatter)
        return scatter > min(max(SCATTER_REL, USUAL * usual), MOST_SCATTER_REL)

    def _pulses_doubt(self, *, dark: bool) -> str:
        """Compare the pulses counted with those the laser makes, where the head sees single ones."""
        if pulsed(self.meter) is None or (counter := counting(self.meter)) is None or dark:
            return ""
        found_hz = retried(lambda: counter.frequency_hz(self._stop))
        if abs(found_hz / self._rate_hz - 1) <= RATE_REL:
            return ""
        self.doubts.pulses += 1
        what = (
            "too few pulses: the trigger is lost"
            if found_hz < self._rate_hz
            else "noise is counted as pulses"
        )
        return f"counts {found_hz:g} Hz at a laser rate of {self._rate_hz:g} Hz, {what}"
