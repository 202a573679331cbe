"""The power meter's word: readings taken fresh, as energies, against what a setting should give."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labctl.model.clock import Clock, Stop
from labctl.model.errors import InstrumentError, SafetyStop
from labctl.model.records import PowerReading
from labctl.model.roles import Roles, heard_by
from procedures.gate.attenuator import AttenuatorModel, Plate
from procedures.gate.fluence import Beam
from procedures.gate.safe_state import retried
from procedures.gate.shutter import LightAccount

BY_CHANCE = 1e-9
"""A run of equal readings this unlikely, by how often the meter repeated itself before, is no chance."""
USUALLY_ALIKE = 0.2
"""Part of equal pairs of readings, beyond which it is the meter's way to repeat itself."""
MOST_ALIKE = 3
"""So many averaged readings of light never agree in every digit."""
LEAST_CHANCE = 1e-7
"""A run of equal readings this unlikely, by how often two readings of one light agree, is no chance."""
FINE = 241
"""Pairs of readings taken for unlike before any are seen: a console's digits are finer than its noise."""
_TICK_S = 1e-3
"""Two clocks of one computer may differ by this."""
_NOISE_SHOWS = 0.1
"""Part of the head's noise by which two readings of one light differ, if noise is what makes them differ."""
_SAME_DEG = 1e-3
"""Angles nearer to each other than this are one setting."""
_OTHER_DEG = 0.2
"""Angles farther apart than this transmit differently."""
SEEN_PART = 0.05
"""Part of a beam's power that a meter behind a closed shutter may show: drifts of zero and room light."""
_SETTLED = 1000.0
"""A meter's settling time brings a step down to one part in this."""
MOST_NOISE = 0.1
"""Relative noise of the meter beyond which a reading verifies nothing."""
_AVERAGED = 0.8
"""Part of a reading's time in which a console does average, at least."""
_SCATTERS = 32
"""Sets of readings of one light from which the scatter of a single one is known."""
MOST_SCATTER = 0.04
"""Relative standard error of a reading of a sound laser, at most."""


class EnergyLost(SafetyStop):
    """The meter shows much less energy than it should: the laser may be off for a moment."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """The light on the sample during an exposure, from the readings before and after it.

    :param change_rel: reading after over reading before, minus 1.
    :param sigma_rel: relative point-to-point standard error of the mean fluence.
    """

    fluence_uj_cm2: float
    sigma_rel: float
    pulse_energy_j: float
    power_sigma_w: float
    change_rel: float


class Monitor:
    """The power meter behind the pick-off.

    :param count: readings averaged at each side of an exposure.
    :param relative: relative transmission between meter and sample at an angle (1 with the attenuator
        in front of the pick-off).
    """

    def __init__(self, roles: Roles, beam: Beam, count: int, relative: Callable[[float], float]) -> None:
        self._meter, self._clock = roles.power_meter, roles.clock
        self._beam, self.count, self._relative = beam, count, relative
        self.background_w = 0.0
        self.brief = False
        """Whether readings that verify are as few as their precision needs."""
        self._scatters: deque[tuple[float, int]] = deque(maxlen=_SCATTERS)
        self.took_s = 1.0
        """What the last reading took, a second before the first."""
        self._seen: tuple[float, float] | None = None
        self._last_w, self._alike = math.nan, 0
        self._same = self._differed = self._crept = 0
        self._last_deg = math.nan
        self.angle_deg: Callable[[], float] = lambda: 0.0
        """Where the plate is: at another angle the meter sees another light."""
        self._singles_w: list[float] = []
        self._run_w, self._run = math.nan, 0
        self._compared = self._equal = 0
        self._read_s = -math.inf

    def refuse_frozen(self, reading: PowerReading, angle_deg: float) -> None:
        """Compare with the last reading at another angle: a mean that is the same in every digit is old.

        :raises SafetyStop: it is.
        """
        before, self._seen = self._seen, (reading.power_w, angle_deg)
        if before is None or reading.power_w != before[0] or abs(angle_deg - before[1]) < _OTHER_DEG:
            return
        raise SafetyStop(
            f"{self._meter.name} shows {reading.power_w:g} W at {angle_deg:.2f} deg, exactly as at "
            f"{before[1]:.2f} deg",
            "restart the meter",
        )

    def refuse_repeated(self, reading: PowerReading) -> None:
        """Take in a reading of light: means that agree in every digit again and again are one old answer.

        What is not clearly above the head's noise is not judged: a head without light may show its zero. A
        meter that is known to repeat itself, because its digits are coarser than its noise, is refused only
        where it does so far more often than it did before.

        One whose readings of one light have differed by less than the head's noise, if at all, has none.

        :raises SafetyStop: three in a row do, or so many as chance would hardly make.
        """
        self._read_s = reading.stop_s
        floor_w = self._floor_w(reading)
        if reading.power_w - self.background_w <= 5 * floor_w:
            return
        here_deg = self.angle_deg()
        stayed = abs(here_deg - self._last_deg) < _SAME_DEG
        if stayed and reading.power_w == self._last_w:
            self._alike += 1
        else:
            self._same += max(self._alike - 1, 0)
            if stayed:
                self._compare_noise(reading.power_w - self._last_w, floor_w)
            self._alike = 1
        self._last_w, self._last_deg = reading.power_w, here_deg
        usual = self._same / max(self._same + self._differed, 1)
        noisy = self._differed > self._crept
        if self._alike >= MOST_ALIKE and noisy and usual ** (self._alike - 1) <= BY_CHANCE:
            raise self._stuck(reading.power_w, self._alike)

    def _stuck(self, power_w: float, times: int) -> SafetyStop:
        shows = f"{self._meter.name} shows {power_w:g} W {times} times in a row, identical in every digit"
        return SafetyStop(f"{shows}: this is not a measurement", "restart the meter")

    def _compare_noise(self, off_w: float, noise_w: float) -> None:
        """Take in by how much two readings of one light differ: as noise makes them, or far less."""
        self._differed += abs(off_w) > _NOISE_SHOWS * noise_w
        self._crept += 0 < abs(off_w) <= _NOISE_SHOWS * noise_w

    def _hear(self, power_w: float) -> None:
        """Take in one of the readings that are averaged, as it comes: one that is stuck is not waited for.

        :raises SafetyStop: it has repeated itself so often as its readings of one light hardly ever do.
        """
        if power_w - self.background_w <= 5 * self._meter.noise_w:
            self._run = 0
            return
        self._singles_w.append(power_w)
        self._run = self._run + 1 if power_w == self._run_w else 1
        self._run_w = power_w
        if not self._compared:
            return
        chance = max(self._equal / self._compared, (self._equal + 1) / (self._compared + FINE))
        if self._run > MOST_ALIKE and chance ** (self._run - 1) <= LEAST_CHANCE:
            raise self._stuck(power_w, self._run)

    def glance(self, stop: Stop | None) -> PowerReading:
        """Take one reading between whiles; one that is the same as the last is not left at that.

        :raises SafetyStop: the meter repeats itself.
        """
        self._singles_w = []
        with heard_by(self._hear):
            reading = again = retried(lambda: self._meter.read(1, stop))
            known = self._same > USUALLY_ALIKE * (self._same + self._differed)
            for _ in range(0 if known else MOST_ALIKE):
                if again.power_w != self._last_w:
                    break
                again = retried(lambda: self._meter.read(1, stop))
                self.refuse_repeated(again)
        return reading

    def _learn_repeats(self) -> None:
        """Count how many of the readings of one light agree, and learn by how much they differ."""
        values, self._singles_w = self._singles_w, []
        if len(values) > 1 and (net := abs(statistics.fmean(values) - self.background_w)) > 0:
            self._scatters.append((statistics.variance(values) / net**2, len(values) - 1))
        for one, other in itertools.pairwise(values):
            self._compare_noise(other - one, self._meter.noise_w)
        n, kinds = len(values), Counter(values)
        self._compared += n * (n - 1) // 2
        self._equal += sum(same * (same - 1) // 2 for same in kinds.values())

    @property
    def scatter_rel(self) -> float | None:
        """Relative standard deviation of a single reading of one light, as seen; None before any two are.

        Of few readings it may be far too small by chance: with n degrees of freedom its variance is raised by
        (n + 2)/n.
        """
        freedom = sum(n for _, n in self._scatters)
        if not freedom:
            return None
        return math.sqrt(sum(n * variance for variance, n in self._scatters) / freedom * (1 + 2 / freedom))

    def verifying(self, expected_j: float, angle_deg: float) -> int:
        """Readings that verify an energy: where brief, as few as leave five errors inside its tolerance."""
        scatter = self.scatter_rel
        if not self.brief or scatter is None:
            return self.count
        noise = self._meter.noise_w * self.energy_j(self.background_w + 1.0, angle_deg) / expected_j
        needed = (5 * max(scatter, noise) / self._beam.limits.set_ratio) ** 2
        return min(max(math.ceil(needed), 1), self.count)

    def single(self, stop: Stop | None) -> PowerReading:
        """Take one of the readings of a light that lasts; all of them are learned from by :meth:`learn`.

        :raises SafetyStop: the meter repeats itself, or delivers no number.
        """
        heard = len(self._singles_w)
        with heard_by(self._hear):
            reading = retried(lambda: self._meter.read(1, stop))
        self.refuse_no_number(reading)
        if len(self._singles_w) == heard:  # a driver that does not say of each that it came
            self._hear(reading.power_w)
        self._read_s = reading.stop_s
        return reading

    def learn(self, readings: Sequence[PowerReading]) -> PowerReading:
        """Return the mean of single readings of one light, and learn from them.

        :raises SafetyStop: the meter repeats itself.
        """
        self._singles_w = [reading.power_w for reading in readings]
        self._learn_repeats()
        self._seen = (readings[-1].power_w, self.angle_deg())
        mean = mean_reading(readings, self._meter.noise_w)
        self.refuse_repeated(mean)
        return mean

    def read(
        self, not_before_s: float, stop: Stop | None = None, *, count: int | None = None
    ) -> PowerReading:
        """Take readings that began after ``not_before_s``, as many as usual or ``count``.

        :raises SafetyStop: the meter delivers only older values, or none that is a number.
        """
        for _ in range(2):
            self._singles_w = []
            with heard_by(self._hear):
                reading = retried(lambda: self._meter.read(count or self.count, stop))
            self._learn_repeats()
            self.refuse_no_number(reading)
            self.refuse_repeated(reading)
            self.took_s = reading.stop_s - reading.start_s
            if reading.start_s >= not_before_s - _TICK_S:
                return reading
        raise SafetyStop(
            f"{self._meter.name} returns readings from before the last change", "restart the meter"
        )

    def refuse_no_number(self, reading: PowerReading) -> None:
        """Refuse a reading that is none.

        :raises SafetyStop: it is not finite.
        """
        if not math.isfinite(reading.power_w):
            raise SafetyStop(f"{self._meter.name} reads {reading.power_w}", "check the head and its range")

    @property
    def name(self) -> str:
        """Role and address of the meter."""
        return self._meter.name

    @property
    def unread_s(self) -> float:
        """Bench seconds since the last reading of light."""
        return self._clock.now_s() - self._read_s

    @property
    def settling_s(self) -> float:
        """Time in which the head follows a change of power to 0.1 %."""
        return self._meter.settling_s

    def settle(self, stop: Stop | None = None, *, swing: float = 1.0) -> None:
        """Wait until the head has followed a change of power to 0.1 % of the new one.

        An exponential that fell from ``swing`` times the new power needs that much longer.
        """
        longer = 1 + math.log(max(swing, 1.0)) / math.log(_SETTLED)
        self._clock.sleep(self._meter.settling_s * longer, stop)

    def has_settled(self, reading: PowerReading, changed_at_s: float) -> bool:
        """Return whether a reading began when the head had followed a change of the light at a time."""
        return reading.start_s >= changed_at_s + self._meter.settling_s

    def prepare(self) -> None:
        """Set the meter to the pump's wavelength, and make sure it can say how long it lags."""
        self._meter.prepare(self._beam.settings.wavelength_nm)
        if not (math.isfinite(self._meter.settling_s) and self._meter.settling_s >= 0):
            raise InstrumentError(self._meter.name, f"invalid settling time ({self._meter.settling_s!r} s)")

    def learn_background(self, not_before_s: float, stop: Stop | None) -> None:
        """Take what the meter shows in the dark as its zero; for a meter that the shutter can darken."""
        self.settle(stop)
        self.background_w = self.read(not_before_s, stop).power_w

    def light_left(self, energy_j: float, angle_deg: float, not_before_s: float, stop: Stop | None) -> str:
        """Look whether a meter behind the shutter still sees light; return what it sees, "" for none.

        :param energy_j: what the pulses on the sample had while the shutter was open.
        """
        self.settle(stop)
        reading = self.read(not_before_s, stop, count=1)
        left_w = reading.power_w - self.background_w
        beam_w = energy_j / self.energy_j(self.background_w + 1.0, angle_deg)
        if left_w <= max(SEEN_PART * beam_w, 5 * self.sigma_w(reading)):
            return ""
        return f"{self._meter.name} behind it still sees {left_w:.3g} W of {beam_w:.3g} W"

    def energy_j(self, power_w: float, angle_deg: float) -> float:
        """Return the pulse energy on the sample with the plate at ``angle_deg``."""
        s = self._beam.settings
        on_sample_w = (power_w - self.background_w) * s.pickoff_ratio * self._relative(angle_deg)
        return on_sample_w / s.repetition_rate_hz

    def sigma_w(self, reading: PowerReading) -> float:
        """Standard error of a reading, not below what the meter's own noise makes.

        A single one does not show its scatter: it has that of the others.
        """
        floor = self._floor_w(reading)
        if reading.n == 1 and self.brief:
            floor = max(floor, (self.scatter_rel or 0.0) * abs(reading.power_w - self.background_w))
        return max(reading.sigma_w, floor) if math.isfinite(reading.sigma_w) else floor

    def sigma_rel(self, reading: PowerReading) -> float:
        """Relative standard error of a reading."""
        return self.sigma_w(reading) / max(abs(reading.power_w - self.background_w), 1e-30)

    def tolerance(self, reading: PowerReading, expected_j: float, angle_deg: float) -> float:
        """Part of the expected energy by which a reading may be off: max(set ratio, 5 sigma of the reading).

        Sigma is compared with the power EXPECTED: a dead laser must not excuse itself by its relative noise,
        nor one that flickers by its scatter, which counts as far as a sound laser's can go.
        """
        per_watt = self.energy_j(self.background_w + 1.0, angle_deg) / expected_j
        scatter = min(self.sigma_w(reading) * per_watt, MOST_SCATTER)
        noise = min(self._floor_w(reading) * per_watt, MOST_NOISE)
        return max(self._beam.limits.set_ratio, 5 * scatter, 5 * noise)

    def _floor_w(self, reading: PowerReading) -> float:
        return self._meter.noise_w / math.sqrt(max(reading.n, 1))

    def held(
        self,
        before: PowerReading,
        readings: Sequence[PowerReading],
        exposed_s: Sequence[tuple[float, float]],
        angle_deg: float,
        unseen_rel: float,
    ) -> Bracket:
        """Return the light of exposures from single readings that were taken meanwhile.

        Pulses that a reading and an exposure both hold differ between them by nothing: with R pulses read and
        E exposed, B of them in both, the means differ by the scatter of a pulse times the root of
        1/R + 1/E - 2 B/(R E). Readings of earlier exposures, which were thrown away, are left out where two
        others are left.

        :param before: the reading that verified the setting.
        :param readings: two or more. :param exposed_s: begin and end of each exposure, bench time.
        :param unseen_rel: as in :meth:`bracket`.
        """
        began_s, ended_s = exposed_s[0][0], exposed_s[-1][1]
        during = [r for r in readings if r.stop_s > began_s and r.start_s < ended_s]
        used = during if len(during) >= 2 else readings
        power = statistics.fmean(r.power_w for r in used)
        net, n = max(power - self.background_w, 1e-30), len(used)
        own, scatter = (self._meter.noise_w / net) ** 2, self.scatter_rel or 0.0
        change = self._change(before, readings, scatter)
        rate = self._beam.settings.repetition_rate_hz
        exposed = sum(stop - start for start, stop in exposed_s)
        read_s = sum(r.stop_s - r.start_s for r in used)
        both_s = max(_AVERAGED * _overlap_s(used, exposed_s) - self._meter.settling_s, 0.0)
        if self._meter.sensor == "pyro":  # one pulse a reading, and nobody knows which
            read_s, both_s = n / rate, 0.0
        pulse = max(scatter**2 - own, 0.0) * read_s / n * rate
        r, e, b = max(read_s * rate, 1.0), max(exposed * rate, 1.0), both_s * rate
        of_pulses = pulse * max(1 / r + 1 / e - 2 * b / (r * e), 0.0)
        drift = change**2 / 48 * (1 - min(both_s / max(read_s, exposed, 1e-12), 1.0))
        energy = self.energy_j(power, angle_deg)
        return Bracket(
            fluence_uj_cm2=self._beam.fluence_uj_cm2(energy),
            sigma_rel=math.sqrt(own / n + of_pulses + drift + unseen_rel**2),
            pulse_energy_j=energy,
            power_sigma_w=net * math.sqrt(own / n + pulse / r),
            change_rel=change,
        )

    def _change(self, before: PowerReading, readings: Sequence[PowerReading], scatter: float) -> float:
        """Relative change from the first half of the readings to the second; what scatter makes is none."""
        half = len(readings) // 2
        early = [before.power_w, *(r.power_w for r in readings[:half])]
        late = [r.power_w for r in readings[half:]]
        start = statistics.fmean(early)
        change = (statistics.fmean(late) - start) / max(start - self.background_w, 1e-30)
        return change if abs(change) > 2 * scatter * math.sqrt(1 / len(early) + 1 / len(late)) else 0.0

    def bracket(
        self, before: PowerReading, after: PowerReading, angle_deg: float, pulses: float, unseen_rel: float
    ) -> Bracket:
        """Combine the readings round an exposure of ``pulses`` laser pulses.

        ``unseen_rel`` is the relative error of what stands between meter and sample, such as the plate's.

        The scatter of the readings, freed of the meter's noise, is that of the pulses: it says by how much
        those of the exposure may differ from those that were read.
        """
        power = (before.power_w + after.power_w) / 2
        net = max(power - self.background_w, 1e-30)
        change = (after.power_w - before.power_w) / max(before.power_w - self.background_w, 1e-30)
        sigma_w = (
            math.hypot(*(self.sigma_rel(r) * (r.power_w - self.background_w) for r in (before, after))) / 2
        )
        own_w = self._meter.noise_w / math.sqrt(max(before.n + after.n, 1))
        read_s = (before.stop_s - before.start_s) + (after.stop_s - after.start_s)
        read_pulses = max(read_s * self._beam.settings.repetition_rate_hz, 1.0)
        of_pulses = max(sigma_w**2 - own_w**2, 0.0) / net**2 * read_pulses / max(pulses, 1.0)
        # A slow drift is caught by the mean; of one that is not linear a part stays.
        drift = change**2 / 48
        energy = self.energy_j(power, angle_deg)
        return Bracket(
            fluence_uj_cm2=self._beam.fluence_uj_cm2(energy),
            sigma_rel=math.sqrt((sigma_w / net) ** 2 + of_pulses + drift + unseen_rel**2),
            pulse_energy_j=energy,
            power_sigma_w=sigma_w,
            change_rel=change,
        )


def mean_reading(readings: Sequence[PowerReading], noise_w: float) -> PowerReading:
    """Return single readings of one light as one.

    :param noise_w: standard error of one that stands alone.
    """
    values = [r.power_w for r in readings]
    n = len(values)
    sigma_w = statistics.stdev(values) / math.sqrt(n) if n > 1 else noise_w
    return PowerReading(statistics.fmean(values), sigma_w, n, readings[0].start_s, readings[-1].stop_s)


def _overlap_s(readings: Sequence[PowerReading], exposed_s: Sequence[tuple[float, float]]) -> float:
    return sum(
        max(min(r.stop_s, stop) - max(r.start_s, start), 0.0) for r in readings for start, stop in exposed_s
    )


_ROUNDING = 1 + 1e-9
_SINGLE = 3.0
"""Scatters of a single reading by which it may exceed the highest energy."""
FAR_REL = 0.1
"""Energies farther than this from the stated one are remarked on."""


@dataclass(frozen=True, slots=True)
class PumpState:
    """What the pump is set to, as the meter confirms it.

    :param reading: the verifying reading, at the meter.
    :param trimmed: whether a corrective move was made.
    """

    fluence_set_uj_cm2: float
    fluence_uj_cm2: float
    pulse_energy_j: float
    angle_deg: float
    reading: PowerReading
    trimmed: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where the meter looks.

    :param in_front: in front of the shutter, so that it can speak before the light does.
    :param unattenuated: in front of the attenuator too.
    """

    in_front: bool
    unattenuated: bool

    @classmethod
    def of(cls, order: tuple[str, ...]) -> Place:
        """Read it off the order of the elements along the beam."""
        at = order.index("pick-off")
        return cls(at < order.index("shutter"), at < order.index("attenuator"))


class Verifier:
    """Compares what was asked for with what the meter says. It moves nothing and closes nothing.

    :param changed_at_s: bench time of the last confirmed change of shutter or angle.
    :param patience_s: how long to wait, in the dark, for a laser that shows too little energy.
    :param tell: told in a line that energies are far from what the bench file states.
    :ivar remark: the same line, for the record of a run; empty while they are not.
    """

    def __init__(
        self,
        monitor: Monitor,
        aim: AttenuatorModel,
        plate: Plate,
        light: LightAccount,
        *,
        beam: Beam,
        place: Place,
        clock: Clock,
        changed_at_s: Callable[[], float],
        patience_s: float,
        tell: Callable[[str], object],
    ) -> None:
        self._tell, self.remark, self._off_told = tell, "", 0.0
        self._monitor, self._aim, self._plate, self._light = monitor, aim, plate, light
        self._beam, self._place, self._clock = beam, place, clock
        self._changed_at_s, self._patience_s = changed_at_s, patience_s
        monitor.angle_deg = lambda: plate.reached_deg

    def prepare(self, stop: Stop | None) -> None:
        """Set the meter; one behind the shutter learns what it shows in the dark, unless there is light."""
        self._monitor.prepare()
        if not self._place.in_front and not self._light.lit:
            self._monitor.learn_background(self._changed_at_s(), stop)

    def energy_j(self, power_w: float, angle_deg: float) -> float:
        """Pulse energy on the sample that a power at the meter stands for, with the plate at an angle."""
        return self._monitor.energy_j(power_w, angle_deg)

    def sigma_rel(self, reading: PowerReading) -> float:
        """Relative standard error of a reading."""
        return self._monitor.sigma_rel(reading)

    def light_left(self, stop: Stop | None) -> str:
        """Say what light a meter behind the shutter still sees after its closing; "" for none."""
        angle = self._plate.reached_deg
        return self._monitor.light_left(self._aim.energy_j(angle), angle, self._changed_at_s(), stop)

    def verify(self, fluence_uj_cm2: float, stop: Stop | None, *, trimmed: bool = False) -> PumpState:
        """Settle, read, compare with what the angle should give, and learn from it.

        :raises SafetyStop: they disagree, or the reading is an old one.
        """
        angle = self._plate.reached_deg
        reading = self._patient_reading(stop)
        if not self._place.unattenuated:
            self._monitor.refuse_frozen(reading, angle)
        measured = self.energy_j(reading.power_w, angle)
        self._compare(reading, measured, self._aim.energy_j(angle))
        self._aim.learn(angle, measured, self.sigma_rel(reading))
        self._hold_against_stated(angle, measured, reading)
        return PumpState(
            fluence_uj_cm2, self._beam.fluence_uj_cm2(measured), measured, angle, reading, trimmed
        )

    def _patient_reading(self, stop: Stop | None) -> PowerReading:
        """Read after settling; in the dark, give a laser that seems off some time to come back."""
        deadline = self._clock.now_s() + self._patience_s
        expected = self._aim.energy_j(self._plate.reached_deg)
        while True:
            self._monitor.settle(stop, swing=1.0 if self._place.unattenuated else self._plate.swing())
            count = self._monitor.verifying(expected, self._plate.reached_deg)
            reading = self._monitor.read(self._changed_at_s(), stop, count=count)
            measured = self.energy_j(reading.power_w, self._plate.reached_deg)
            off = measured / expected - 1
            enough = off >= -self._monitor.tolerance(reading, expected, self._plate.reached_deg)
            if enough or self._light.lit or self._clock.now_s() >= deadline:
                return reading

    @property
    def takes_s(self) -> float:
        """Seconds that a verification takes, about: settling, and a reading like the last."""
        return 2 * self._monitor.settling_s + self._monitor.took_s

    @property
    def sees_the_plate(self) -> bool:
        """Whether the meter looks at light that has passed the plate."""
        return not self._place.unattenuated

    @property
    def unread_s(self) -> float:
        """Bench seconds since the last reading of light."""
        return self._monitor.unread_s

    def glance(self, stop: Stop | None) -> PowerReading:
        """Take one reading between whiles.

        :raises SafetyStop: the meter repeats itself.
        """
        return self._monitor.glance(stop)

    def confirm(self, state: PumpState, stop: Stop | None) -> PowerReading:
        """Read again at an unchanged setting.

        :raises SafetyStop: the pulse energy jumped or passed a limit.
        """
        reading = self._monitor.read(state.reading.stop_s, stop)
        self._judge(state, reading)
        return reading

    def single(self, stop: Stop | None) -> PowerReading:
        """Take one reading of a light that lasts."""
        return self._monitor.single(stop)

    def judge_single(self, state: PumpState, reading: PowerReading) -> bool:
        """Hold one of some readings at an unchanged setting against the state, if the head had settled.

        It may exceed the highest energy by what single readings scatter; their mean, in :meth:`held`, not.

        :returns: whether it had settled: one of a meter behind the shutter may begin as that opens.
        :raises SafetyStop: the pulse energy jumped or passed a limit.
        """
        if not (self._place.in_front or self._monitor.has_settled(reading, self._changed_at_s())):
            return False
        self._judge(state, reading, scatter=_SINGLE * (self._monitor.scatter_rel or 0.0))
        return True

    def held(
        self, state: PumpState, readings: Sequence[PowerReading], exposed_s: Sequence[tuple[float, float]]
    ) -> tuple[Bracket, PowerReading]:
        """Return the light of exposures from single readings taken meanwhile, and the mean of these.

        :raises SafetyStop: the meter repeats itself, or the mean passes a limit.
        """
        mean = self._monitor.learn(readings)
        self.within_limits(self.energy_j(mean.power_w, state.angle_deg))
        unseen = self._plate.sigma_rel(state.angle_deg) if self._place.unattenuated else 0.0
        return self._monitor.held(state.reading, readings, exposed_s, state.angle_deg, unseen), mean

    def watch(self, state: PumpState, reading: PowerReading) -> float | None:
        """Judge somebody's reading at an unchanged setting, if the head had settled when it began.

        :returns: the fluence it stands for; None where nothing was judged.
        :raises SafetyStop: no number, or the pulse energy jumped or passed a limit.
        """
        self._monitor.refuse_no_number(reading)
        self._monitor.refuse_repeated(reading)
        if not self._monitor.has_settled(reading, self._changed_at_s()):
            return None
        return self._beam.fluence_uj_cm2(self._judge(state, reading))

    def _judge(self, state: PumpState, reading: PowerReading, *, scatter: float = 0.0) -> float:
        energy = self.energy_j(reading.power_w, state.angle_deg)
        self._compare(reading, energy, state.pulse_energy_j)
        self.within_limits(energy / (1 + scatter))
        self._hold_against_stated(state.angle_deg, energy, reading)
        return energy

    def _hold_against_stated(self, angle_deg: float, measured_j: float, reading: PowerReading) -> None:
        """Tell, once for each change, that energies are far from the stated one, if within the limits."""
        off = self._aim.off_stated(angle_deg, measured_j, self.sigma_rel(reading))
        if off is None or abs(off - self._off_told) <= FAR_REL / 2:
            return
        if abs(off) <= FAR_REL:
            self._off_told, self.remark = 0.0, ""
            return
        self._off_told = off
        self.remark = (
            f"energies are {abs(off):.0%} {'above' if off > 0 else 'below'} the stated max_pulse_energy: "
            "check meter, pick-off ratio and laser"
        )
        self._tell(f"warning: {self.remark}")

    def bracket(self, state: PumpState, after: PowerReading, pulses: float) -> Bracket:
        """Return the light of an exposure of ``pulses`` pulses between the state's reading and ``after``."""
        unseen = self._plate.sigma_rel(state.angle_deg) if self._place.unattenuated else 0.0
        return self._monitor.bracket(state.reading, after, state.angle_deg, pulses, unseen)

    def is_too_much(self, energy_j: float) -> bool:
        """Return whether an energy lies above the highest allowed, however little."""
        return energy_j > self._beam.highest_energy_j

    def within_limits(self, energy_j: float) -> None:
        """Compare an energy with the highest allowed.

        :raises SafetyStop: it is above.
        """
        highest = self._beam.highest_energy_j
        if energy_j > highest * _ROUNDING:
            raise SafetyStop(
                f"{self._monitor.name}: {energy_j * 1e9:.4g} nJ on the sample are above the "
                f"{highest * 1e9:.4g} nJ allowed"
            )

    def _compare(self, reading: PowerReading, measured_j: float, expected_j: float) -> None:
        tolerance = self._monitor.tolerance(reading, expected_j, self._plate.reached_deg)
        off = measured_j / expected_j - 1
        if abs(off) <= tolerance:
            return
        hint = "check the laser, the attenuator zero, the pick-off ratio and max_pulse_energy"
        if "angle_sigma_deg" not in self._beam.settings.sources:
            hint = f"the attenuator is not calibrated: labctl calibrate attenuator; otherwise {hint}"
        if self._light.lit and not self._place.in_front:
            hint += ", and whether light passes the shutter, which reports open"
        raise (SafetyStop if off > 0 else EnergyLost)(
            f"{self._monitor.name}: expected {expected_j * 1e9:.4g} nJ on the sample, the meter says "
            f"{measured_j * 1e9:.4g} nJ "
            f"(allowed {tolerance:.0%})",
            hint,
        )
