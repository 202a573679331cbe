"""From what was measured at one fluence to the record that is stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.light_light import REFERENCE_FLAG
from labctl.analysis.spectra.bands import band_slice, bands_of
from labctl.analysis.spectra.reduce import ReducedPoint, reduce_exposures
from labctl.model.clock import Clock, Stop
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import DarkRecord, FloatArray, PowerReading, SpectrometerInfo, Spectrum, SweepPoint
from labctl.model.roles import RunSink
from labctl.model.shots import ShotTally
from procedures.gate.power_monitor import Bracket, PumpState
from procedures.gate.pump import Pump
from procedures.plan import Step
from procedures.point.light_witness import LightWitness
from procedures.point.stale_frames import StaleFrameFilter

_SPIKE_SIGMA = 8.0


class Darks:
    """Takes darks when they are needed, renews them by rule and hands each to the sink once.

    The rule: a dark belongs to one exposure time, has at least half of the exposures wanted, is at most
    ``dark_max_age_s`` old and was taken within ``dark_max_change_c`` of the present detector temperature.

    :param last: number of the last dark that the sink has.
    :param eye: looks for light in them.
    """

    def __init__(
        self,
        pump: Pump,
        spectrometer: StaleFrameFilter,
        clock: Clock,
        plan: SweepPlan,
        sink: RunSink,
        *,
        last: int = 0,
        eye: LightWitness | None = None,
    ) -> None:
        self._pump, self._spectrometer, self._clock = pump, spectrometer, clock
        self._plan, self._sink, self._eye = plan, sink, eye
        self._latest: dict[float, DarkRecord] = {}
        self._count = last

    def known(self, integration_s: float) -> DarkRecord | None:
        """Return the latest dark of an exposure time, of whatever age."""
        return self._latest.get(integration_s)

    def get(
        self,
        integration_s: float,
        temperature_c: float | None,
        stop: Stop | None = None,
        *,
        count: int | None = None,
    ) -> DarkRecord:
        """Return a valid dark, taking one (shutter closed) if there is none.

        :param count: of its exposures; by default the plan's factor times the least exposures of a point.
        """
        count = count or self._plan.dark_factor * self._plan.least_exposures
        record = self._latest.get(integration_s)
        if record is None:
            return self._take(integration_s, count, stop)
        if reason := self._stale(record, temperature_c, count):
            self._sink.event(
                self._clock.now_s(), f"dark {record.number} ({integration_s:g} s) renewed: {reason}"
            )
            return self._take(integration_s, count, stop)
        return record

    def _stale(self, record: DarkRecord, temperature_c: float | None, count: int) -> str:
        if 2 * record.n < count:
            return f"{record.n} exposures where {count} are wanted"
        age = self._clock.now_s() - record.at_s
        if age > self._plan.dark_max_age_s:
            return f"{age:.0f} s old"
        if record.temperature_c is not None and temperature_c is not None:
            change = temperature_c - record.temperature_c
            if abs(change) > self._plan.dark_max_change_c:
                return f"detector {change:+.2f} C different"
        return ""

    def _take(self, integration_s: float, count: int, stop: Stop | None) -> DarkRecord:
        self._pump.shut(stop)
        spectra = self._without_light(integration_s, count, stop)
        record = self.record("dark", spectra, integration_s, None)
        self._latest[integration_s] = record
        return record

    def _without_light(self, integration_s: float, count: int, stop: Stop | None) -> list[Spectrum]:
        """Take the exposures of a dark; once more where they hold light that is gone by then.

        :raises SafetyStop: it passes the shutter.
        """
        spectra = self._exposures(integration_s, count, stop)
        if self._eye is not None:
            found = self._eye.judged(_without_spikes(np.stack([s.counts for s in spectra]))[0], integration_s)
            if found.shown:
                self._pump.refute(self._eye.confirmed(found, integration_s, stop))
                text = f"a dark ({integration_s:g} s) taken again: it contained {found.part:.0%} of the light"
                self._sink.event(self._clock.now_s(), text)
                spectra = self._exposures(integration_s, count, stop)
                self._eye.accept(np.median([s.counts for s in spectra], axis=0), integration_s)
        return spectra

    def _exposures(self, integration_s: float, count: int, stop: Stop | None) -> list[Spectrum]:
        self._spectrometer.set_integration(integration_s)
        return [self._spectrometer.acquire(stop) for _ in range(count)]

    def record(
        self,
        kind: str,
        spectra: Sequence[Spectrum],
        integration_s: float,
        fluence_uj_cm2: float | None,
    ) -> DarkRecord:
        """Average exposures into a record, number it and store it."""
        frames = np.stack([s.counts for s in spectra])
        counts, spread = _without_spikes(frames)
        self._count += 1
        temperature = spectra[-1].temperature_c
        record = DarkRecord(
            number=self._count,
            kind="blank" if kind == "blank" else "dark",
            counts=counts,
            spread=spread,
            n=len(spectra),
            integration_s=integration_s,
            at_s=self._clock.now_s(),
            temperature_c=self._spectrometer.temperature_c() if temperature is None else temperature,
            fluence_uj_cm2=fluence_uj_cm2,
        )
        self._sink.dark(record)
        return record


def _without_spikes(frames: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and single-frame deviation per pixel; a cosmic spike in a dark would sit in every point."""
    if len(frames) < 4:
        return frames.mean(axis=0), frames.std(axis=0, ddof=min(1, len(frames) - 1))
    median = np.median(frames, axis=0)
    rest = frames - median
    own = 1.4826 * np.median(np.abs(rest), axis=0)
    sigma = np.maximum(own, np.median(own))
    kept = np.where(rest > _SPIKE_SIGMA * np.maximum(sigma, 1e-9), 0.0, rest)
    return median + kept.mean(axis=0), kept.std(axis=0, ddof=1)


_SEEN = 3.0
"""A signal below so many of its standard errors is none: no light, or a shutter that only says it is open."""


@dataclass(frozen=True, slots=True)
class Shots:
    """The exposures of one fluence and the light they were taken in.

    :param pulses: laser pulses in one exposure.
    :param saturated: which of them are saturated inside the bands, shape ``(exposure,)``.
    :param highest: highest raw share of the full scale inside the bands.
    :param trials: exposures thrown away to find the exposure time.
    :param darks: exposures that their dark should have.
    :param tally: of single shots, each of which is one of the exposures: how many are missing between them.
    """

    step: Step
    state: PumpState
    after: PowerReading
    bracket: Bracket
    spectra: tuple[Spectrum, ...]
    frames: FloatArray
    integration_s: float
    pulses: float
    saturated: NDArray[np.bool_]
    highest: float
    trials: int
    darks: int
    temperature_c: float | None
    dose_uj_cm2: float
    elapsed_s: float
    tally: ShotTally | None = None


@dataclass(frozen=True, slots=True)
class Blank:
    """A measured blank: its record, and its reduced spectrum in counts per pulse."""

    record: DarkRecord
    reduced: ReducedPoint


class Reducer:
    """Reduces shots with the settings of one run."""

    def __init__(self, info: SpectrometerInfo, bands: Bands, plan: SweepPlan, meter_noise_w: float) -> None:
        self._info, self._plan, self._noise_w = info, plan, meter_noise_w
        self._bands = bands_of(bands)

    def reduce(self, shots: Shots, dark: DarkRecord, blank: Blank | None = None) -> ReducedPoint:
        """Reduce the unsaturated exposures (all of them where every one is saturated)."""
        return reduce_exposures(
            self._info.wavelength_nm,
            shots.frames[_used(shots)],
            dark.counts,
            bands=self._bands,
            pulses_per_exposure=shots.pulses,
            nonlinearity=self._info.nonlinearity,
            remove_spikes=self._plan.cleans,
            blank=None if blank is None else blank.reduced,
            dark_exposures=dark.n,
            resolution_nm=self._info.resolution_nm,
        )

    def noise_counts2(self, dark: DarkRecord) -> float:
        """Variance of one exposure of a dark, summed over the emission's band, counts squared."""
        inside = band_slice(self._info.wavelength_nm, self._bands.whole)
        return float(np.sum(dark.spread[inside] ** 2))

    def point(self, shots: Shots, dark: DarkRecord, blank: Blank | None = None) -> SweepPoint:
        """Return the record of one point."""
        reduced = self.reduce(shots, dark, blank)
        kept, clipped = np.flatnonzero(_used(shots)), bool(shots.saturated.all())
        spikes = tuple((int(kept[frame]), pixel, removed) for frame, pixel, removed in reduced.spikes)
        state, bracket = shots.state, shots.bracket
        return SweepPoint(
            index=shots.step.index,
            direction=shots.step.direction,
            fluence_set_uj_cm2=shots.step.fluence_uj_cm2,
            fluence_uj_cm2=bracket.fluence_uj_cm2,
            fluence_sigma_rel=bracket.sigma_rel,
            pulse_energy_j=bracket.pulse_energy_j,
            angle_deg=state.angle_deg,
            power_before_w=state.reading.power_w,
            power_after_w=shots.after.power_w,
            power_sigma_w=bracket.power_sigma_w,
            integration_s=shots.integration_s,
            exposures=len(shots.frames),
            pulses_per_exposure=shots.pulses,
            signal=reduced.signal_whole,
            signal_sigma=reduced.signal_whole_sigma,
            peaks_signal=reduced.signal_peaks,
            peaks_signal_sigma=reduced.signal_peaks_sigma,
            fwhm_nm=None if clipped else reduced.fwhm_nm,  # a flat top has a width, but not the line's
            equivalent_width_nm=None if clipped else reduced.equivalent_width_nm,
            peak_count=reduced.peak_count,
            peak_wavelength_nm=reduced.peak_wavelength_nm,
            exposure_cv=math.nan if reduced.exposure_cv is None else reduced.exposure_cv,
            saturation=shots.highest,
            saturated_exposures=int(shots.saturated.sum()),
            spikes_removed=len(spikes),
            dark_number=dark.number,
            blank_number=None if blank is None else blank.record.number,
            temperature_c=shots.temperature_c,
            dose_uj_cm2=shots.dose_uj_cm2,
            elapsed_s=shots.elapsed_s,
            flags=self._flags(shots, reduced),
            frames=shots.frames,
            spectrum=reduced.spectrum,
            spikes=spikes,
            left_out=tuple((int(exposure), "saturated") for exposure in np.flatnonzero(~_used(shots))),
        )

    def _flags(self, shots: Shots, reduced: ReducedPoint) -> tuple[str, ...]:
        state = shots.state
        found = {
            REFERENCE_FLAG: shots.step.reference,
            "saturated": bool(shots.saturated.any()),
            "drift": abs(shots.bracket.change_rel) > self._plan.drift_limit,
            "spikes": bool(reduced.spikes),
            "low_power": state.reading.power_w < 20 * self._noise_w,
            "shutter_open": self._plan.keep_open,
            # A pulse that is left out is one of many shots, and a bright one may be what is looked for.
            "dropout": shots.tally is None and _dropped_out(np.asarray(reduced.exposure_signals)),
            "no_signal": not reduced.signal_whole > _SEEN * reduced.signal_whole_sigma,
        }
        missing = () if shots.tally is None else shots.tally.flags
        return (*(name for name, is_so in found.items() if is_so), *missing)


def _dropped_out(signals: FloatArray) -> bool:
    """Whether the light failed in some exposures: one is below the others by a tenth, or far above them,
    and by their own scatter.
    """
    if signals.size < 4:
        return False
    median = float(np.median(signals))
    sigma = 1.4826 * float(np.median(np.abs(signals - median)))
    most_failed = signals.max() > 1.5 * max(median, 0.0) + 8 * sigma
    return bool(signals.min() < 0.9 * median - 8 * sigma or most_failed)


def _used(shots: Shots) -> NDArray[np.bool_]:
    return np.ones_like(shots.saturated) if shots.saturated.all() else ~shots.saturated
