"""Automatic exposure: times from a short ladder (so darks are shared), judged on raw counts in the bands."""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.reduce import clip_level
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import Aborted, InstrumentFault
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import DarkRecord, FloatArray, PowerReading, SpectrometerInfo, Spectrum, SweepPoint
from labctl.model.run import RunStart, RunStop
from labctl.model.shots import ShotBlock, ShotsSummary
from procedures.gate.power_monitor import Bracket, PumpState
from procedures.gate.pump import Pump
from procedures.plan import Step
from procedures.point.light_witness import LightWitness
from procedures.point.metering import Metering
from procedures.point.precision import FIRST_PULSE_CV, Exposures, Lit
from procedures.point.reduction import Darks, Shots
from procedures.point.stale_frames import StaleFrameFilter

log = logging.getLogger(__name__)

SATURATED = 0.98
"""Share of the highest count above which a raw pixel counts as saturated."""
LEAST_CLIP = 0.05
"""No detector clips below this share of its converter's range: 12 bits in a word of 16 are 0.06."""
TOO_BRIGHT = 0.85
"""Share above which the next exposure is made shorter: shots differ."""
_STEEPEST = 6.0
"""Largest local exponent of the growth of the highest pixel that is believed."""


def ladder(plan: SweepPlan, repetition_rate_hz: float, info: SpectrometerInfo) -> tuple[float, ...]:
    """Return the exposure times allowed, rising: whole pulse periods, 1-2-5, at least ``min_pulses``."""
    if plan.integration_s:
        return tuple(sorted(_whole_periods(t, plan, repetition_rate_hz) for t in plan.integration_s))
    pulses = 1 if plan.triggered else plan.min_pulses
    shortest = max(pulses / repetition_rate_hz, info.integration_min_s)
    longest = max(min(plan.max_integration_s, info.integration_max_s), shortest)
    found = {_whole_periods(shortest, plan, repetition_rate_hz)}
    for decade in range(math.floor(math.log10(shortest)), math.ceil(math.log10(longest)) + 1):
        for digit in (1, 2, 5):
            seconds = digit * 10.0**decade
            if shortest * 1.2 < seconds <= longest * (1 + 1e-9):
                found.add(_whole_periods(seconds, plan, repetition_rate_hz))
    return tuple(sorted(found))


def pulses_in(integration_s: float, repetition_rate_hz: float, *, triggered: bool) -> float:
    """Mean number of pulses in an exposure; triggered ones last (n - 1/2) periods and hold n."""
    return integration_s * repetition_rate_hz + (0.5 if triggered else 0.0)


def _whole_periods(seconds: float, plan: SweepPlan, rate_hz: float) -> float:
    periods = max(math.ceil(seconds * rate_hz - 1e-6), 1)
    return (periods - 0.5 if plan.triggered and periods > 0 else periods) / rate_hz


class SaturationCheck:
    """Looks at the raw counts inside the bands and a margin; pump light elsewhere does not count."""

    def __init__(self, info: SpectrometerInfo, bands: Bands, margin_nm: float) -> None:
        low = min(bands.emission_nm[0], bands.lasing_nm[0]) - margin_nm
        high = max(bands.emission_nm[1], bands.lasing_nm[1]) + margin_nm
        first, last = np.searchsorted(info.wavelength_nm, (low, high))
        self._inside = slice(int(first), max(int(last), int(first) + 1))
        first, last = np.searchsorted(info.wavelength_nm, bands.emission_nm)
        self._emission = slice(int(first), max(int(last), int(first) + 1))
        self.max_counts = info.max_counts

    def _see(self, counts: FloatArray) -> None:
        """Learn where the detector clips, if that is below the converter's maximum."""
        level = clip_level(counts[..., self._inside])
        if LEAST_CLIP * self.max_counts < level < SATURATED * self.max_counts:
            log.warning(
                "the spectrometer clips at %.0f counts, below its maximum of %.0f: set saturation_counts in "
                "[spectrometer]", level, self.max_counts,
            )  # fmt: skip
            self.max_counts = level

    def highest(self, counts: FloatArray) -> float:
        """Highest raw count inside, as a share of the full scale, 0 to 1; of one exposure or of all."""
        self._see(counts)
        return float(counts[..., self._inside].max()) / self.max_counts

    def light(self, counts: FloatArray, dark: FloatArray | None) -> float:
        """Highest count above the dark (or above the darkest pixels), as a share of the full scale."""
        inside = counts[self._inside]
        base = float(np.percentile(counts, 10)) if dark is None else dark[self._inside]
        # The third highest pixel: a cosmic spike or a hot pixel must not choose the exposure.
        rest = np.partition(inside - base, -3)[-3] if inside.size >= 3 else (inside - base).max()
        return max(float(rest), 0.0) / self.max_counts

    def band(self, counts: FloatArray, dark: FloatArray | None) -> tuple[float, float]:
        """Return the light in the emission's band and the variance of its noise, counts and counts squared.

        Without a dark the pixels beside it stand for it; the noise is that of neighbouring pixels.
        """
        inside = counts[self._emission]
        outside = np.delete(counts, self._emission)
        rest = float(np.median(outside)) if outside.size else float(np.percentile(counts, 25))
        base = rest if dark is None else dark[self._emission]
        steps = np.diff(counts)
        noise = 1.4826 * float(np.median(np.abs(steps))) / math.sqrt(2)
        return max(float(np.sum(inside - base)), 0.0), inside.size * noise**2

    def saturated(self, frames: FloatArray) -> NDArray[np.bool_]:
        """Whether each raw exposure has a saturated pixel inside, shape ``(exposure,)``."""
        self._see(frames)
        level = SATURATED * self.max_counts
        return np.asarray((frames[:, self._inside] >= level).any(axis=1), dtype=np.bool_)


class AutoExposure:
    """Chooses from the ladder; learns from every point, whatever the order of the fluences.

    :param times_s: rising exposure times; only those that keep a point within its light are used.
    :param photon_order: below threshold the light grows with this power of the fluence.
    :param repetition_rate_hz: of the laser, for a number of exposures that a precision decides.
    :ivar needed: says how many exposures of which time reach the plan's precision.
    """

    def __init__(
        self,
        times_s: tuple[float, ...],
        plan: SweepPlan,
        photon_order: int,
        repetition_rate_hz: float = math.nan,
    ) -> None:
        within = [t for t in times_s if (plan.least_exposures + 1) * t <= plan.max_light_s]
        self.needed = Exposures(plan, photon_order, repetition_rate_hz)
        self.times_s = tuple(within) or times_s[:1]
        self._aim, self._order = plan.aim, float(photon_order)
        self._seen: dict[float, float] = {}

    def predict(self, fluence_uj_cm2: float) -> float:
        """Return the longest time that should stay at or below the aim; the shortest if nothing is known."""
        rate = self._rate_at(fluence_uj_cm2)
        return self.times_s[0] if rate is None else self._longest(rate)

    def choose(self, fluence_uj_cm2: float, longest_s: float) -> tuple[float, int]:
        """Return time and number of the exposures, of the times up to ``longest_s``."""
        fitting = [t for t in self.times_s if t <= longest_s * (1 + 1e-9)]
        return self.needed.choose(fluence_uj_cm2, fitting or self.times_s[:1])

    def learn(self, fluence_uj_cm2: float, share_per_s: float) -> None:
        """Remember the growth of the highest pixel, in shares of the full scale per second."""
        if share_per_s > 0 and fluence_uj_cm2 > 0:
            self._seen[fluence_uj_cm2] = share_per_s
            if len(self._seen) > 64:
                del self._seen[next(iter(self._seen))]

    def shorter(self, integration_s: float, share: float) -> float | None:
        """Return a time below ``integration_s`` for an exposure that reached ``share``, or None."""
        below = [t for t in self.times_s if t < integration_s * (1 - 1e-9)]
        if not below:
            return None
        if share >= SATURATED:  # how far above is not known
            return below[-1]
        fitting = [t for t in below if share * t / integration_s <= self._aim]
        return fitting[-1] if fitting else below[0]

    def longer(self, integration_s: float, light: float, longest_s: float = math.inf) -> float | None:
        """Return a time at least twice as long that stays at or below the aim and ``longest_s``, or None."""
        best = self._longest(max(light, 1e-6) / integration_s, longest_s)
        return best if best > 1.9 * integration_s else None

    def _longest(self, share_per_s: float, longest_s: float = math.inf) -> float:
        fitting = [t for t in self.times_s if share_per_s * t <= self._aim and t <= longest_s]
        return fitting[-1] if fitting else self.times_s[0]

    def _rate_at(self, fluence: float) -> float | None:
        """Scale from the nearest fluence seen, upwards as steeply as the data have been, downwards as F^N."""
        if not self._seen:
            return None
        nearest = min(self._seen, key=lambda f: abs(math.log(f / fluence)))
        exponent = self._order
        others = [f for f in self._seen if f < nearest * 0.999]
        if fluence > nearest and others:
            below = max(others)
            slope = math.log(self._seen[nearest] / self._seen[below]) / math.log(nearest / below)
            exponent = min(max(slope, self._order), _STEEPEST)
        return float(self._seen[nearest] * (fluence / nearest) ** exponent)


_CLEAR, _MOST_RATIO = (0.05, TOO_BRIGHT), 1.6
"""Shares of the full scale that are compared between exposure times, and the ratio that shots explain."""
_MOST_CHANGES = 5
"""How often the exposure time may be changed at one point."""


class ExposureSequence:
    """Takes the shots of a point with as little light as it can.

    :param elapsed_s: what earlier sessions of the run took.
    :param beside: whether the meter is read while exposures are taken, see :mod:`procedures.point.metering`.
    """

    def __init__(
        self,
        plan: SweepPlan,
        pump: Pump,
        spectrometer: StaleFrameFilter,
        judge: SaturationCheck,
        darks: Darks,
        clock: Clock,
        eye: LightWitness,
        *,
        elapsed_s: float = 0.0,
        beside: bool = False,
    ) -> None:
        self._beside = beside
        self._metering: Metering | None = None
        self._plan, self._pump, self._spectrometer = plan, pump, spectrometer
        self._judge, self._darks, self._clock, self._eye = judge, darks, clock, eye
        self._started_s = clock.now_s() - elapsed_s
        self._clear: tuple[float, float] | None = None
        self._rate_hz = pump.settings.repetition_rate_hz

    def shoot(self, step: Step, auto: AutoExposure, stop: Stop | None) -> Shots:
        """Set the fluence, take the exposures and the meter's readings, and end in the dark.

        The shutter stays open at the end only with ``keep_open``.

        :raises SafetyStop: the pump refused or the meter disagreed; the shutter is closed.
        """
        return self._shot_beside(step, auto, stop) if self._beside else self._shot_between(step, auto, stop)

    def _shot_between(self, step: Step, auto: AutoExposure, stop: Stop | None) -> Shots:
        """Take the exposures between two readings of the meter: the way of a slow head."""
        state = self._pump.set_fluence(step.fluence_uj_cm2, stop, keep_open=self._plan.keep_open)
        spectra, trials = self._expose(step.fluence_uj_cm2, auto, stop)
        state = self._pump.verified or state  # set anew, where the opening had to wait for a look at the dark
        self._pump.require_open()
        if self._pump.meter_in_front and not self._plan.keep_open:
            self._pump.close()
            self._eye.ready()
        after = self._pump.confirm(state, stop)
        if not self._plan.keep_open:
            self._pump.shut(stop)
        pulses = self._pulses(spectra) * len(spectra)
        light = self._pump.bracket(state, after, pulses)
        return self._shots(step, auto, state, light, after=after, spectra=spectra, trials=trials)

    def _shot_beside(self, step: Step, auto: AutoExposure, stop: Stop | None) -> Shots:
        """Take the exposures while the meter is read: a short reading verifies the setting before."""
        with self._pump.brief(self.drop_metering), self._pump.guarded():
            state = self._pump.set_fluence(step.fluence_uj_cm2, stop, keep_open=self._plan.keep_open)
            spectra, trials, metering = self._metered(step.fluence_uj_cm2, auto, stop)
            state = self._pump.verified or state
            if not self._plan.keep_open:
                self._pump.close()  # the spectrometer looks at it while the next setting is made
                if not self._pump.meter_in_front:
                    self._eye.ready()
                    self.drop_metering()  # it looks at the closed shutter, too
                    self._pump.shut(stop)
            exposed_s = [(s.stop_s - s.integration_s, s.stop_s) for s in spectra]
            light, after = self._pump.held(state, metering.readings(), exposed_s)
        return self._shots(step, auto, state, light, after=after, spectra=spectra, trials=trials)

    def _metered(
        self, fluence_uj_cm2: float, auto: AutoExposure, stop: Stop | None
    ) -> tuple[list[Spectrum], int, Metering]:
        """Take the exposures of a point beside the meter; what it shows may end them, and the light.

        :returns: exposures, the number of those thrown away, and the readings.
        """
        with self._pump.guarded():
            try:
                spectra, trials = self._expose(fluence_uj_cm2, auto, stop)
                assert self._metering is not None
                self._metering.exposed()
                self._pump.require_open()
            except Aborted as exc:
                cause = exc if self._metering is None else self._metering.cause_of(exc)
                if cause is exc:
                    raise
                self._pump.require_open()  # a meter behind a shutter that somebody closed sees no energy
                raise cause from None
        return spectra, trials, self._metering

    def drop_metering(self) -> None:
        """Wait until the meter's last reading beside exposures is over, whatever it shows: the light is gone.

        :raises InstrumentTimeout: it does not end; the meter stays its.
        """
        if self._metering is not None:
            self._metering.drop()
            self._metering = None

    def _expose(
        self, fluence_uj_cm2: float, auto: AutoExposure, stop: Stop | None
    ) -> tuple[list[Spectrum], int]:
        """Take the exposures; those of an unsuitable time are thrown away, their light is not forgotten."""
        seconds, count = auto.choose(fluence_uj_cm2, auto.predict(fluence_uj_cm2))
        trials, lit_s, guessed = 0, 0.0, not auto.needed.knows
        self._clear = None
        for change in range(_MOST_CHANGES + 1):
            count = 1 if guessed else count
            # Opened first: the exposure that is thrown away is then the short one of the last look.
            self._open((count + 1) * seconds, stop)
            seconds = self._spectrometer.set_integration(seconds)
            longest = (self._plan.max_light_s - lit_s) / (count + 1)
            may_change = change < _MOST_CHANGES
            spectra, better = self._series(seconds, count, auto, stop, longest if may_change else None)
            lit_s += (len(spectra) + 1) * seconds
            some = (spectra[0], spectra[len(spectra) // 2], spectra[-1])
            share = float(np.median([self._light(s) for s in some]))
            self._refuse_another_time(share, seconds)
            auto.learn(fluence_uj_cm2, share / seconds)
            if better is None and not guessed:
                break
            if better is None:  # what is never kept tells what is needed
                guessed = False
                auto.needed.guess(self._guess(fluence_uj_cm2, spectra[0]))
                better = auto.predict(fluence_uj_cm2)
            trials += len(spectra)
            seconds, count = auto.choose(fluence_uj_cm2, better)
        return spectra, trials

    def _guess(self, fluence_uj_cm2: float, spectrum: Spectrum) -> Lit:
        """Say what an exposure shows of the light, before there is a dark."""
        dark = self._darks.known(spectrum.integration_s)
        light, noise = self._judge.band(spectrum.counts, None if dark is None else dark.counts)
        seconds = spectrum.integration_s
        return Lit(fluence_uj_cm2, light / seconds, noise, FIRST_PULSE_CV**2, 0.0)

    def _open(self, light_s: float, stop: Stop | None) -> None:
        """Open the shutter, or announce more light; from then on the meter is read beside the exposures."""
        if self._metering is not None and not self._pump.stays_open(light_s):
            self._metering.end()  # to open anew may need the meter
            self._metering = None
        self._pump.open(light_s, asked_later=True)
        state = self._pump.verified
        if self._beside and self._metering is None and state is not None:
            self._metering = Metering(self._pump, state, stop)

    def _series(
        self, seconds: float, count: int, auto: AutoExposure, stop: Stop | None, longest_s: float | None
    ) -> tuple[list[Spectrum], float | None]:
        """Take exposures until all are there, or until one shows that another time is better.

        ``longest_s`` is what the light that may still be spent allows; None forbids a change.
        """
        spectra: list[Spectrum] = []
        stop = self._metering or stop
        while len(spectra) < count:
            check_stop(stop)
            spectra.append(self._spectrometer.acquire(stop))
            better = None if longest_s is None else self._better(spectra, seconds, auto, longest_s)
            if better is not None:
                return spectra, better
            if len(spectra) < count and self._metering is None:
                self._pump.keep_watch(stop)
        return spectra, None

    def _better(
        self, spectra: list[Spectrum], seconds: float, auto: AutoExposure, longest_s: float
    ) -> float | None:
        """Saturation is judged on every raw exposure; too bright or too dark on the first one only.

        Where a precision is wanted, none is thrown away for being faint: the mean would be biased.
        """
        highest = self._judge.highest(spectra[-1].counts)
        if highest >= SATURATED or (len(spectra) == 1 and highest > TOO_BRIGHT):
            return auto.shorter(seconds, highest)
        if self._plan.average is not None and len(spectra) == 1 and highest < TOO_BRIGHT / 2:
            return auto.longer(seconds, self._light(spectra[0]), longest_s)
        return None

    def _refuse_another_time(self, share: float, seconds: float) -> None:
        """Hold what two exposure times show of one fluence against each other.

        :raises InstrumentFault: they cannot both be true.
        """
        before, self._clear = self._clear, (share, seconds) if _CLEAR[0] < share < _CLEAR[1] else None
        if before is None or self._clear is None or before[1] == seconds:
            return
        ratio = share / seconds * before[1] / before[0]
        if not 1 / _MOST_RATIO < ratio < _MOST_RATIO:
            raise InstrumentFault(
                self._spectrometer.device.name,
                f"{seconds:g} s show {ratio:.2g} times the counts per pulse of {before[1]:g} s",
                "if the laser did not drop out, it integrates for a different time than it confirms",
            )

    def _light(self, spectrum: Spectrum) -> float:
        dark = self._darks.known(spectrum.integration_s)
        return self._judge.light(spectrum.counts, None if dark is None else dark.counts)

    def _pulses(self, spectra: list[Spectrum]) -> float:
        return pulses_in(spectra[0].integration_s, self._rate_hz, triggered=self._plan.triggered)

    def _shots(
        self,
        step: Step,
        auto: AutoExposure,
        state: PumpState,
        light: Bracket,
        *,
        after: PowerReading,
        spectra: list[Spectrum],
        trials: int,
    ) -> Shots:
        frames = np.stack([s.counts for s in spectra])
        temperature = spectra[-1].temperature_c
        return Shots(
            step=step,
            state=state,
            after=after,
            bracket=light,
            spectra=tuple(spectra),
            frames=frames,
            integration_s=spectra[0].integration_s,
            pulses=self._pulses(spectra),
            saturated=self._judge.saturated(frames),
            highest=self._judge.highest(frames),
            trials=trials,
            darks=auto.needed.darks(step.fluence_uj_cm2, spectra[0].integration_s, len(spectra)),
            temperature_c=self._spectrometer.temperature_c() if temperature is None else temperature,
            dose_uj_cm2=self._pump.dose_uj_cm2,
            elapsed_s=self._clock.now_s() - self._started_s,
        )


class NoSink:
    """A sink that keeps nothing."""

    def begin(self, start: RunStart) -> None:
        """Keep nothing."""

    def dark(self, record: DarkRecord) -> None:
        """Keep nothing."""

    def append(self, point: SweepPoint) -> None:
        """Keep nothing."""

    def shots(self, block: ShotBlock) -> None:
        """Keep nothing."""

    def shot_point(self, summary: ShotsSummary) -> None:
        """Keep nothing."""

    def event(self, at_s: float, text: str) -> None:
        """Keep nothing."""

    def end(self, stop: RunStop) -> None:
        """Keep nothing."""
