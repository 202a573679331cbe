"""From the points of a run to everything that is said of it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from labctl.analysis.budget import fluence_budget, scale_rel
from labctl.analysis.evaluation.bleaching import (
    Bleaching,
    Weighed,
    measure_bleaching,
    weighed,
)
from labctl.analysis.evaluation.definitions import definitions
from labctl.analysis.evaluation.energy_step import find_step, full_energies_j, widened, with_step
from labctl.analysis.evaluation.hysteresis import measure_hysteresis
from labctl.analysis.evaluation.single_shots import Q_SHOTS, shots_of, thinned
from labctl.analysis.evaluation.stability import NO_THRESHOLD, decay_of
from labctl.analysis.evaluation.verdict import Seen, judge
from labctl.analysis.fly.flight import with_motion
from labctl.analysis.light_light import LightLight, is_reference, light_light, unseen_wander_rel
from labctl.analysis.next_fluence import half_width_rel, stop_corrected
from labctl.analysis.spectra.bands import Band, band_mask, bands_of
from labctl.analysis.spectra.follow import follow_lines, mode_onsets, randomness
from labctl.analysis.spectra.lineshape import q_factor
from labctl.analysis.spectra.narrow import NarrowLines, Spectra, narrow_lines
from labctl.analysis.spectra.reduce import ReducedPoint, clip_level, correct_nonlinearity, reduce_exposures
from labctl.analysis.threshold import ThresholdResult, fit_threshold, peak_onset
from labctl.model.plan import (
    MOST_EXPOSURES,
    AdaptivePlan,
    Cause,
    Correction,
    Ending,
    FlyPlan,
    StabilityPlan,
    SweepPlan,
)
from labctl.model.pump import Bands, PumpSettings
from labctl.model.records import DarkRecord, FloatArray, SpectrometerInfo, SweepPoint
from labctl.model.results.modes import Modes
from labctl.model.results.shot_statistics import ShotStatistics
from labctl.model.results.sweep import (
    AdaptiveEnding,
    BandName,
    BandThreshold,
    Curve,
    CurvePoints,
    EnergyStep,
    FluenceBudget,
    QResult,
    SweepResult,
    Threshold,
)
from labctl.model.results.verdict import Definition, Verdict
from labctl.model.run import PointList, Points, RunFacts, without_arrays

BUDGETS = ("points", "dose", "time")


@dataclass(frozen=True, slots=True)
class Design:
    """What of a run's plan and end its threshold depends on.

    :param target_rel: half-width an adaptive sweep was to reach; None for one that was planned throughout.
    :param ended: why it asked for no more points; None if it was broken off.
    """

    photon_order: int
    direction: str = "up"
    correction: Correction = "off"
    target_rel: float | None = None
    ended: Cause | None = None

    @classmethod
    def of(cls, plan: SweepPlan, photon_order: int, ending: Ending | None = None) -> Design:
        """Take it from a plan, and from why the run ended by itself."""
        target = plan.target_rel if isinstance(plan, AdaptivePlan) else None
        ended = None if ending is None else ending.cause
        return cls(photon_order, plan.direction, plan.correct_bleaching, target, ended)

    @property
    def compares_ways(self) -> bool:
        """Whether it was made to show what differs on the way down."""
        return self.direction == "up-down" and self.target_rel is None


def emission_threshold(
    points: Sequence[SweepPoint], plan: SweepPlan, photon_order: int, settings: PumpSettings | None = None
) -> ThresholdResult:
    """Fit the emission of a run that still goes on, quickly, for what is to be measured next.

    The bleaching is in it where the plan wants that; the result holds draws of the curve.

    :param points: so far, those at a reference included; their arrays may be empty.
    :param settings: the chain to the sample, where it is known.
    """
    design = Design.of(plan, photon_order)
    whole = light_light(points, settings=settings)
    bleaching = measure_bleaching(whole, photon_order) if design.correction != "off" else None
    return band_threshold(whole, bleaching, design, quick=True).result


def fit_curve(curve: LightLight, photon_order: int, *, quick: bool = False) -> ThresholdResult:
    """Fit the points of a curve that are none of a reference; the outliers are counted in all points.

    :param quick: on coarser grids, in some 30 ms for 64 points.
    """
    grid, place = curve.grid, np.flatnonzero(~curve.reference)
    result = fit_threshold(
        grid.fluence_uj_cm2,
        grid.signal,
        signal_sigma=grid.signal_sigma if grid.stated_sigma or grid.exposures is not None else None,
        exposures=grid.exposures,
        fluence_sigma_rel=grid.fluence_sigma_rel,
        wander=grid.known.wander(grid.time_s),
        smear=grid.known.smear,
        pulse_cv_sigma=grid.known.pulse_cv_sigma,
        photon_order=photon_order,
        fwhm_nm=grid.fwhm_nm,
        peak_count=grid.peak_count,
        quick=quick,
    )
    checks = dict(result.cross_checks)
    if grid.peak_count is not None:
        checks["peak_onset"] = peak_onset(grid.fluence_uj_cm2, grid.peak_count)
    outliers = tuple(int(place[i]) for i in result.outliers)
    used = () if result.status == "refused" else grid.known.said(photon_order)
    return replace(result, outliers=outliers, cross_checks=checks, used=used)


def band_threshold(
    curve: LightLight,
    bleaching: Bleaching | None,
    design: Design,
    *,
    quick: bool = False,
    known: Weighed | None = None,
) -> Weighed:
    """Fit one band, what may have been lost in its number and interval where the design wants that.

    :param known: the other band, where it has told what was lost.
    """

    def fit(fresh: LightLight) -> ThresholdResult:
        return fit_curve(fresh, design.photon_order, quick=quick)

    if bleaching is None or design.correction == "off":
        return Weighed(fit(curve), curve, {})
    return weighed(curve, bleaching, design.correction, design.photon_order, fit, known)


def as_adaptive(result: ThresholdResult, ended: Cause | None) -> ThresholdResult:
    """Flag it; widen its interval unless a budget ended the sweep, which looks at no interval."""
    by_budget = ended in BUDGETS
    flags = ("adaptive", f"budget_{ended}") if by_budget else ("adaptive",)
    result = replace(result, flags=(*result.flags, *flags))
    return (
        result
        if by_budget
        else _reworded(stop_corrected(result), "widened because its width ended the sweep")
    )


def _reworded(result: ThresholdResult, why: str) -> ThresholdResult:
    """State the interval again after it has changed."""
    if result.threshold_uj_cm2 is None or result.ci95 is None:
        return result
    low, high = result.ci95
    onset = f"threshold {result.threshold_uj_cm2:.4g} uJ/cm2"
    return replace(result, reason=f"{onset}, 95 % interval {low:.4g} to {high:.4g}, {why}")


GUESSED = "exposures_guessed"
"""Flag of a result for which a file did not say which exposures its points had left out."""


def moved_points(
    points: Points, plan: SweepPlan, facts: RunFacts, bands: Bands
) -> tuple[list[SweepPoint], bool]:
    """Reduce every point of a run again, over other bands; arrays are dropped.

    :returns: the points, and whether exposures had to be guessed.
    :raises ValueError: a band contains no pixel.
    """
    darks = {dark.number: dark for dark in points.darks}
    found, guessed = [], False
    for index in range(len(points)):
        point = points.point(index)
        guessed = guessed or (point.left_out is None and 0 < point.saturated_exposures < point.exposures)
        if point.frames.size and facts.spectrometer is not None:
            point = _reduced(point, darks, plan, facts, bands)
        found.append(without_arrays(point))
    return found, guessed


def used_exposures(point: SweepPoint) -> Sequence[int]:
    """Return which exposures a point was reduced from, counted from 0; all of them where none was sound."""
    count = len(point.frames)
    if point.saturated_exposures >= count:
        return range(count)
    if point.left_out is not None:
        out = {exposure for exposure, _ in point.left_out}
        return [exposure for exposure in range(count) if exposure not in out]
    brightest = np.argsort(point.frames.max(axis=1), kind="stable")[: count - point.saturated_exposures]
    return sorted(int(exposure) for exposure in brightest)


def _reduced(
    point: SweepPoint, darks: dict[int, DarkRecord], plan: SweepPlan, facts: RunFacts, bands: Bands
) -> SweepPoint:
    info = facts.spectrometer
    assert info is not None
    frames = point.frames[used_exposures(point)]
    dark = darks.get(point.dark_number)
    pulses = point.pulses_per_exposure

    def reduce(blank: FloatArray | None) -> ReducedPoint:
        return reduce_exposures(
            info.wavelength_nm,
            frames,
            np.zeros_like(info.wavelength_nm) if dark is None else dark.counts,
            bands=bands_of(bands),
            pulses_per_exposure=pulses,
            nonlinearity=info.nonlinearity,
            remove_spikes=plan.cleans,
            blank=blank,
            dark_exposures=None if dark is None else dark.n,
            resolution_nm=info.resolution_nm,
        )

    found = reduce(None)
    # What the stored spectrum lacks beside this one is the blank's, or a correction that nobody knows now.
    missing = found.spectrum - point.spectrum
    if np.abs(missing).max() > 1e-9 * max(float(np.abs(found.spectrum).max()), 1e-30):
        found = reduce(missing)
    inside = band_mask(info.wavelength_nm, bands_of(bands).whole)
    blank = None if point.blank_number is None else darks.get(point.blank_number)
    common = 0.0 if blank is None else float(np.sqrt(np.sum(blank.spread[inside] ** 2) / max(blank.n, 1)))
    clipped = point.saturated_exposures >= point.exposures
    return replace(
        point,
        signal=found.signal_whole,
        signal_sigma=float(np.hypot(found.signal_whole_sigma, common / pulses)),
        peaks_signal=found.signal_peaks,
        peaks_signal_sigma=found.signal_peaks_sigma,
        fwhm_nm=None if clipped else found.fwhm_nm,
        equivalent_width_nm=None if clipped else found.equivalent_width_nm,
        peak_count=found.peak_count,
        peak_wavelength_nm=found.peak_wavelength_nm,
    )


_NOTHING, _NO_FRAMES, _ZERO = np.empty(0), np.empty((0, 0)), np.zeros(1)


def _dark_of(point: SweepPoint, darks: Mapping[int, DarkRecord]) -> FloatArray | None:
    """Return what dark and blank of a point hold, in counts per pulse; None where neither is known."""
    numbers = (point.dark_number, point.blank_number)
    known = [darks[n].counts for n in numbers if n is not None and n in darks]
    return np.max(known, axis=0) / point.pulses_per_exposure if known else None


CANDIDATES = 3
"""Points that are tried, brightest first, until one has a line that can be fitted."""

_UNKNOWN_PITCHES = 2.0
"""Stands in for a resolution nobody knows: no spectrometer resolves less than two pixels."""


def quality(
    points: Points,
    scalars: Sequence[SweepPoint],
    info: SpectrometerInfo,
    band_nm: tuple[float, float],
    threshold: Threshold,
    left_out: Set[int] = frozenset(),
    most: int | None = None,
) -> QResult | None:
    """Return Q from the brightest candidate above threshold, None where nothing lases.

    With an unknown resolution the value is a lower bound.

    :param scalars: of all points; only those with a peak, and without a saturated exposure, are candidates.
    :param left_out: points that are none, counted from 0.
    :param most: exposures that are fitted, evenly chosen; None: all.
    """
    if threshold.status == "not_found":
        return None
    darks = {dark.number: dark for dark in points.darks}
    onset = threshold.threshold_uj_cm2 or 0.0
    sound = [i for i, p in enumerate(scalars) if p.saturated_exposures == 0 and i not in left_out]
    bright = [i for i in sound if scalars[i].peak_count > 0]
    bright.sort(key=lambda i: scalars[i].fluence_uj_cm2, reverse=True)
    for index in bright[:CANDIDATES]:
        point = scalars[index]
        if point.fluence_uj_cm2 <= onset or point.dark_number not in darks:
            continue
        whole = points.point(index)
        found = (
            _of_point(whole, darks[point.dark_number].counts, info, band_nm, most)
            if whole.frames.size
            else None
        )
        if found is not None:
            return replace(found, pulses_per_exposure=point.pulses_per_exposure)
    return None


def corrected_frames(
    point: SweepPoint, dark: FloatArray, nonlinearity: Sequence[float] | None
) -> tuple[FloatArray, FloatArray]:
    """Return a point's exposures as light, and the raw counts they came from; both ``(exposure, pixel)``."""
    raw = np.asarray(point.frames, dtype=np.float64)
    light = raw - dark
    for exposure, pixel, removed in point.spikes:
        light[exposure, pixel] -= removed
    return (light if nonlinearity is None else correct_nonlinearity(light, nonlinearity)), raw


def _of_point(
    point: SweepPoint,
    dark: FloatArray,
    info: SpectrometerInfo,
    band_nm: tuple[float, float],
    most: int | None,
) -> QResult | None:
    light, raw = (thinned(every, most) for every in corrected_frames(point, dark, info.nonlinearity))
    axis = info.wavelength_nm
    assumed = _UNKNOWN_PITCHES * float(axis[-1] - axis[0]) / (axis.size - 1)
    result = q_factor(
        axis,
        light,
        info.resolution_nm or assumed,
        band=Band(*band_nm, "lasing"),
        saturated=raw >= min(info.max_counts, clip_level(raw)),
        resolution_sigma_nm=info.resolution_sigma_nm or 0.0,
    )
    if result is None or info.resolution_nm is not None:
        return result and replace(result, resolution_sigma_nm=info.resolution_sigma_nm)
    why = "the spectrometer's resolution is not configured"
    return dataclasses.replace(result, lower_bound=True, resolution_nm=None, reason=why)


log = logging.getLogger(__name__)

T = TypeVar("T")

IMPULSIVE_FS = 1e4
"""Shorter pulses end before the gain has changed; a bench that states no width is a femtosecond bench."""
BANDS: tuple[BandName, BandName] = ("emission", "lasing")
CURVE_POINTS = 240


def evaluate(
    points: Points | Sequence[SweepPoint], plan: SweepPlan, facts: RunFacts, *, shots: bool = True
) -> SweepResult:
    """Say what came of a run: thresholds of both bands, Q, and whatever its plan was made to show.

    The one answer for a run that goes on, that has ended, or lies in a file. Nothing about the points raises:
    what cannot be computed is refused with the reason.

    :param points: in order of acquisition; a :class:`labctl.data.run.Run` is such, and so is a list.
    :param plan: what was to be measured: direction, references, correction, target.
    :param facts: what is known of bench and end; points excluded by user and moved bands are its ``edits``.
    :param shots: whether to say what single shots show, where the plan kept them: a second or more a point.

    >>> from labctl import evaluate, read_run                            # doctest: +SKIP
    >>> run = read_run("OLA.h5")                                         # doctest: +SKIP
    >>> evaluate(run, run.plan, run.facts).threshold.ci95                # doctest: +SKIP
    (79.1, 80.6)
    """
    evaluation = _Evaluation(points, plan, facts)
    result = evaluation.result(facts.doubt)
    return evaluation.with_shots(result) if shots and plan.shots and not facts.doubt else result


def unfitted(
    points: Points | Sequence[SweepPoint], plan: SweepPlan, facts: RunFacts, why: str
) -> SweepResult:
    """Return the same, each fit refused with ``why``. What takes no fit is said all the same."""
    return _Evaluation(points, plan, facts).result(why)


def evaluate_curve(curve: LightLight, facts: RunFacts) -> SweepResult:
    """Say what a bare curve says: its threshold. A table has no other band, and no design to take account of.

    :param facts: its edits say which points are left out.
    """
    unknown = np.full(curve.signal.size, np.nan)
    none = replace(curve, signal=unknown, signal_sigma=unknown)
    return _Evaluation((), SweepPlan(), facts, {"emission": curve, "lasing": none}).result("")


class _Evaluation:
    """One run's points, as they are fitted, and what is found of them."""

    def __init__(
        self,
        points: Points | Sequence[SweepPoint],
        plan: SweepPlan,
        facts: RunFacts,
        curves: Mapping[BandName, LightLight] | None = None,
    ) -> None:
        self._points: Points = PointList(points) if isinstance(points, (list, tuple)) else points  # type: ignore[assignment]
        self._plan, self._facts = plan, facts
        self._scalars: Sequence[SweepPoint] = [self._points.scalars(i) for i in range(len(self._points))]
        self._left_out = facts.edits.left_out | facts.damaged | facts.unjudged
        self._curves = curves or {}
        self._design = Design.of(plan, facts.photon_order, facts.ending)
        self._problem, self._guessed = "", False
        self._lines: NarrowLines | None = None
        if facts.edits.bands is not None and facts.edits.bands != facts.bands:
            self._move_bands()

    def _move_bands(self) -> None:
        """Sum the points over other bands; where that fails, no other bands stand in for them."""
        bands = self._facts.edits.bands
        assert bands is not None
        try:
            moved = moved_points(self._points, self._plan, self._facts, bands)
            self._scalars, self._guessed = moved
            self._facts = replace(self._facts, bands=bands)
        except Exception as exc:
            log.exception("while integrating over changed bands")
            self._problem = f"the bands could not be changed: {exc}"

    def result(self, why_not: str) -> SweepResult:
        """Return everything.

        :param why_not: why nothing is to be fitted; empty where it is.
        """
        facts, stable = self._facts, isinstance(self._plan, StabilityPlan)
        step = _tried(self._step, lambda _reason: None)
        why_not = why_not or self._problem
        refusal = why_not or (NO_THRESHOLD if stable else "")
        found = self._refused(refusal) if refusal else _tried(lambda: self._fitted(step), self._refused)
        if not refusal:
            found = replace(found, q=_tried(lambda: self._quality(found.threshold), lambda _reason: None))
            found = replace(found, verdict=_tried(lambda: self._verdict(found), lambda _reason: None))
            found = _tried(lambda: self._with_modes(found), lambda _reason: found)
        found = replace(found, energy_step=step, doubt=facts.doubt, edits=facts.edits)
        if isinstance(self._plan, AdaptivePlan):
            found = replace(found, adaptive=self._adaptive(self._plan, found.threshold))
        if isinstance(self._plan, StabilityPlan):
            decay = decay_of(self._scalars, self._plan, facts.photon_order, self._left_out, why_not)
            temperatures = facts.sample_temperature_c
            decay = replace(decay, points=len(self._scalars), sample_temperature_c=temperatures)
            found = replace(found, stability=decay if step is None else with_step(decay, step))
        return replace(found, planned=facts.planned, dose_uj_cm2=facts.dose_uj_cm2)

    def _fitted(self, step: EnergyStep | None) -> SweepResult:
        """Fit both bands, and look at what the plan was made to show."""
        design = self._design
        self._lines = _tried(self._narrow_lines, lambda _reason: None)
        whole, peaks = map(self._curve, BANDS)
        bleaching = measure_bleaching(whole, design.photon_order)
        both = band_threshold(whole, bleaching, design)
        emission, shown = both.result, both.curve
        hysteresis = None
        if design.compares_ways:
            ways = replace(shown, reference=whole.reference)
            hysteresis = measure_hysteresis(ways, lambda c: fit_curve(c, design.photon_order))
        if design.target_rel is not None:
            emission = as_adaptive(emission, design.ended)
        flags = [*self._bleaching_flags(whole, bleaching), *(hysteresis.flags if hysteresis else ())]
        if not whole.known.wander_rel and unseen_wander_rel(whole, design.photon_order):
            flags.append("unseen_wander")
        emission = replace(emission, flags=tuple(dict.fromkeys((*emission.flags, *flags))))
        alone = band_threshold(peaks, bleaching, design, known=both)
        lasing = alone.result
        if step is not None:
            emission, lasing = widened(emission, step), widened(lasing, step)
        if isinstance(self._plan, FlyPlan):
            emission, lasing = (with_motion(each, self._scalars) for each in (emission, lasing))
        budget = self._budget(emission)
        return SweepResult(
            threshold=self._band(emission, shown, "emission"),
            threshold_lasing=self._band(lasing, alone.curve, "lasing"),
            budget=budget,
            bleaching=None if bleaching is None else bleaching.record(design.correction, both.chances),
            hysteresis=hysteresis,
            definitions=_tried(lambda: self._definitions(emission, shown), lambda _reason: ()),
        )

    def _definitions(self, emission: ThresholdResult, shown: LightLight) -> tuple[Definition, ...]:
        grid, settings = shown.grid, self._facts.settings
        lines = grid.peak_count if self._lines is None else self._lines.count[~shown.reference]
        short = settings is not None and (settings.pulse_width_fs or 0.0) < IMPULSIVE_FS
        return definitions(emission, grid.fluence_uj_cm2, grid.signal, grid.fwhm_nm, lines, impulsive=short)

    def _bleaching_flags(self, curve: LightLight, bleaching: Bleaching | None) -> tuple[str, ...]:
        if bleaching is not None:
            return bleaching.flags
        if self._curves:
            return ()  # a table says nothing of how it was measured
        return ("bleaching_not_measured",) if curve.reference.any() else ("bleaching_not_tested",)

    def _curve(self, band: BandName) -> LightLight:
        given = self._curves.get(band)
        if given is None:
            curve = light_light(self._scalars, band, self._left_out, self._facts.settings)
            if isinstance(self._plan, FlyPlan):  # the error of the motion is common to all points
                curve = replace(curve, fluence_sigma_rel=np.zeros(len(self._scalars)))
            lines = self._lines
            return curve if lines is None else replace(curve, peak_count=lines.for_fit(curve.peak_count))
        out = np.isin(np.arange(given.signal.size), sorted(self._left_out))
        return replace(given, signal=np.where(out, np.nan, given.signal))

    def _narrow_lines(self) -> NarrowLines | None:
        """Decide at which points narrow lines stand above the luminescence; None without spectra."""
        info, bands = self._facts.spectrometer, self._facts.bands
        usable = [i for i, p in enumerate(self._scalars) if self._usable(i, p)]
        if info is None or bands is None or not usable:
            return None
        darks = {dark.number: dark for dark in self._points.darks}
        counts = [_NOTHING] * len(self._scalars)
        dark: list[FloatArray | None] = [None] * len(self._scalars)
        frames: dict[int, FloatArray] = {}
        for i in usable:
            point = self._points.point(i)
            spectrum = point.spectrum
            if point.peak_count > 0 and len(point.frames) > 1:
                exposures = corrected_frames(point, _ZERO, None)[0][used_exposures(point)]
                frames[i] = thinned(exposures, MOST_EXPOSURES)
            counts[i] = spectrum if spectrum.size == info.wavelength_nm.size else _NOTHING
            dark[i] = _dark_of(self._scalars[i], darks)
        both = bands_of(bands)
        settings = self._facts.settings
        spectra = Spectra(
            wavelength_nm=info.wavelength_nm,
            counts=counts,
            fluence_uj_cm2=np.array([p.fluence_uj_cm2 for p in self._scalars]),
            band=both.peaks,
            whole=both.whole,
            resolution_nm=info.resolution_nm,
            dark=dark,
            pump_nm=None if settings is None else settings.wavelength_nm,
            exposures=lambda i: frames.get(i, _NO_FRAMES),
        )
        if not any(c.size for c in counts):
            return None
        return narrow_lines(spectra, np.array([p.peak_count > 0 for p in self._scalars]))

    def with_shots(self, found: SweepResult) -> SweepResult:
        """Add what single shots say."""

        def said() -> tuple[ShotStatistics, ...]:
            return shots_of(self._points, self._scalars, self._facts, found.threshold, self._left_out)

        return replace(found, shots=_tried(said, lambda _reason: ()))

    def _usable(self, index: int, point: SweepPoint) -> bool:
        lost = point.saturated_exposures >= point.exposures
        return not (lost or index in self._left_out or is_reference(point))

    def _verdict(self, found: SweepResult) -> Verdict:
        curve = self._curve("emission")
        lines = None if self._lines is None else self._lines.only(~curve.reference)
        equivalent = [p.equivalent_width_nm for p in self._scalars] or [None] * curve.signal.size
        widths = np.array(equivalent, dtype=np.float64)[~curve.reference]
        seen = Seen(curve.grid.fluence_uj_cm2, curve.grid.fwhm_nm, lines, widths)
        return judge(found.threshold, seen)

    def _as_points(self, curve: LightLight, band: BandName) -> CurvePoints:
        """Return the points of a band as they were fitted, beside what was measured."""
        given = self._curves.get(band)
        names = ("signal", "signal_sigma") if band == "emission" else ("peaks_signal", "peaks_signal_sigma")
        measured, sigma = (
            (np.array([getattr(p, name) for p in self._scalars], dtype=np.float64) for name in names)
            if given is None
            else (given.signal, given.signal_sigma)
        )
        return CurvePoints(
            fluence_uj_cm2=curve.fluence_uj_cm2,
            fluence_sigma_rel=curve.fluence_sigma_rel,
            signal=np.where(curve.reference, np.nan, curve.signal),
            signal_sigma=curve.signal_sigma,
            measured_signal=measured,
            measured_sigma=sigma,
            fwhm_nm=np.full(curve.signal.size, np.nan) if curve.fwhm_nm is None else curve.fwhm_nm,
        )

    def _refused(self, reason: str) -> SweepResult:
        refused = ThresholdResult("refused", reason)
        emission, lasing = (self._band(refused, self._curve(band), band) for band in BANDS)
        return SweepResult(emission, lasing, budget=self._budget(refused))

    def _band(self, result: ThresholdResult, curve: LightLight, band: BandName) -> BandThreshold:
        """Put a band's result together with what a plot of it needs, and the error of its scale."""
        given = {f.name: getattr(result, f.name) for f in fields(Threshold)}
        if self._guessed:
            given["flags"] = (*result.flags, GUESSED)
        return BandThreshold(
            **given,
            band=band,
            convention=self._facts.convention,
            scale_rel=scale_rel(self._budget(result)),
            curve=_curve(result, curve),
            points=self._as_points(curve, band),
        )

    def _budget(self, result: Threshold) -> FluenceBudget | None:
        facts = self._facts
        if facts.settings is None:
            return facts.stored_budget
        stable = isinstance(self._plan, StabilityPlan) and self._plan.fluences_uj_cm2
        at = self._plan.fluences_uj_cm2[0] if stable else result.threshold_uj_cm2
        budget = _tried(lambda: _budget_of(facts, at), lambda _reason: None)
        return budget or _tried(lambda: _budget_of(facts, None), lambda _reason: None)

    def _step(self) -> EnergyStep | None:
        if self._facts.settings is None:
            return self._facts.stored_step
        energies = full_energies_j(self._scalars, self._facts.settings)
        energies[sorted(self._facts.damaged)] = np.nan
        return find_step(energies)

    def _quality(self, threshold: Threshold) -> QResult | None:
        facts = self._facts
        if facts.spectrometer is None or facts.bands is None:
            return facts.stored_q
        lasing_nm = facts.bands.lasing_nm
        most = Q_SHOTS if self._plan.shots else None
        return quality(
            self._points, self._scalars, facts.spectrometer, lasing_nm, threshold, self._left_out, most
        )

    def _with_modes(self, found: SweepResult) -> SweepResult:
        """Follow the lines of the spectra: onset of each, spacing, motion; name a weak first mode first."""
        facts, points = self._facts, self._points
        if facts.bands is None or facts.spectrometer is None or not len(points):
            return found
        axis = facts.spectrometer.wavelength_nm
        curve = self._curve("emission")
        used = np.where(curve.reference | ~np.isfinite(curve.signal), np.nan, curve.fluence_uj_cm2)
        spectra = np.full((len(points), axis.size), np.nan)
        for i in np.flatnonzero(np.isfinite(used)):
            spectrum = points.spectrum(int(i))
            if spectrum.size == axis.size:
                spectra[i] = spectrum
        if np.isnan(spectra).all():
            return found
        lines = follow_lines(
            axis,
            spectra,
            used,
            emission_nm=facts.bands.emission_nm,
            lasing_nm=facts.bands.lasing_nm,
            resolution_nm=facts.spectrometer.resolution_nm,
            peaks=None if self._lines is None else self._lines.lines,
        )
        modes = mode_onsets(
            lines,
            photon_order=facts.photon_order,
            fluence_sigma_rel=curve.grid.typical_fluence_sigma_rel,
            known=curve.known,
        )
        threshold = with_first_mode(found.threshold, modes)
        return replace(found, threshold=threshold, modes=modes, randomness=randomness(lines))

    def _adaptive(self, plan: AdaptivePlan, threshold: Threshold) -> AdaptiveEnding:
        width, ending = half_width_rel(threshold), self._facts.ending
        return AdaptiveEnding(
            ended=None if ending is None else ending.cause,
            reason="broken off" if ending is None else ending.reason,
            target_rel=plan.target_rel,
            half_width_rel=width,
            target_met=width is not None and width <= plan.target_rel,
            points=sum(not is_reference(p) for p in self._scalars),
        )


def with_first_mode(threshold: BandThreshold, modes: Modes) -> BandThreshold:
    """Name a mode that lases below the interval of the whole emission before that interval, and flag it."""
    first = modes.first
    if first is None or first.ci95 is None or threshold.status in ("below_range", "refused"):
        return threshold
    if threshold.ci95 is None:
        return replace(threshold, reason=f"{first.text}; the whole emission: {threshold.reason}")
    if first.ci95[1] >= threshold.ci95[0]:
        return threshold
    flags = tuple(dict.fromkeys((*threshold.flags, "lines_below")))
    reason = f"{first.text}; a lower threshold is likely than that of the whole emission: {threshold.reason}"
    return replace(threshold, flags=flags, reason=reason)


def _budget_of(facts: RunFacts, at_uj_cm2: float | None) -> FluenceBudget:
    assert facts.settings is not None
    return fluence_budget(facts.settings, at_uj_cm2).record(facts.warnings)


def _curve(result: ThresholdResult, curve: LightLight) -> Curve | None:
    good = curve.fluence_uj_cm2[np.isfinite(curve.fluence_uj_cm2) & (curve.fluence_uj_cm2 > 0)]
    if good.size < 2 or result.model is None:
        return None
    low, high = 0.9 * float(good.min()), 1.05 * float(good.max())
    # Half of the places evenly spaced, half evenly in ratio: smooth on both kinds of axis.
    half = CURVE_POINTS // 2
    return result.curve(np.union1d(np.linspace(low, high, half), np.geomspace(low, high, half)))


def _tried(compute: Callable[[], T], otherwise: Callable[[str], T]) -> T:
    try:
        return compute()
    except Exception as exc:
        log.exception("while evaluating a run")
        return otherwise(f"{type(exc).__name__}: {exc}")
