"""What came of a run: plain records. The names of their fields are the keys of a run file's result.

Fluences are in uJ/cm2 in the run's convention, signals in counts per pulse, relative numbers are fractions.
Absent numbers are None; only arrays hold nan. Intervals are at 95 %. ``labctl.model.mapping`` turns the
records into JSON's types and back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from labctl.model.mapping import NOT_STORED
from labctl.model.plan import Cause, Correction
from labctl.model.pump import Bands
from labctl.model.records import FloatArray
from labctl.model.results.modes import Modes, Randomness
from labctl.model.results.shot_statistics import ShotStatistics
from labctl.model.results.verdict import Definition, Verdict

BandName = Literal["emission", "lasing"]
Interval = tuple[float, float]
ThresholdStatus = Literal["found", "not_found", "below_range", "above_range", "refused"]
LineShape = Literal["gaussian", "lorentzian", "voigt"]

DOUBT = "the shutter was open although it reported closed: these points are not valid"
"""Why nothing is said of a run: its result's ``doubt``, and at once a line of its log, for a kill."""
K95 = 1.959964
"""Standard uncertainties in the half of a normal 95 % interval."""
_SURE_WHILE_RUNNING = 5e-4


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted light-light curve with its 95 % band; every array has the shape of ``fluence_uj_cm2``.

    :param fluence_uj_cm2: where it is given, uJ/cm2.
    :param signal: the best fit there, counts per pulse.
    :param low: lower edge of the band, counts per pulse.
    :param high: upper edge of the band, counts per pulse.
    """

    fluence_uj_cm2: FloatArray
    signal: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """The points as they were fitted: corrected where that was asked for, summed over the bands in use.

    Arrays of shape ``(n,)`` in order of acquisition, every point of the run in its place.

    :param fluence_uj_cm2: as it was fitted, uJ/cm2.
    :param fluence_sigma_rel: its relative point-to-point standard error.
    :param signal: counts per pulse, nan where the fit did not take the point: saturated throughout, at a
        reference, left out.
    :param signal_sigma: its standard error, counts per pulse.
    :param measured_signal: of every point, neither corrected nor left out, counts per pulse.
    :param measured_sigma: its standard error, counts per pulse.
    :param fwhm_nm: width of the emission, nm, nan where there is none.
    """

    fluence_uj_cm2: FloatArray
    fluence_sigma_rel: FloatArray
    signal: FloatArray
    signal_sigma: FloatArray
    measured_signal: FloatArray
    measured_sigma: FloatArray
    fwhm_nm: FloatArray

    @property
    def used(self) -> NDArray[np.bool_]:
        """Whether the fit took each point, shape ``(n,)``."""
        return np.isfinite(self.signal) & np.isfinite(self.fluence_uj_cm2)


@dataclass(frozen=True, slots=True)
class Beta:
    """The spontaneous-emission factor of the S-curve that a sweep fits, if it fits one.

    It is a steady-state beta: it holds under :attr:`CONDITION`, and is no property of the cavity under
    femtosecond pumping, or where the light of a whole spot is collected: both round the kink as beta does.

    :ivar value: beta, 0 to 1; None where there is only a bound, or nothing.
    :ivar ci95: its 95 % interval.
    :ivar upper: 95 % upper bound where there is no value.
    :ivar threshold_uj_cm2: threshold of that S-curve, uJ/cm2, and its 95 % interval ``threshold_ci95``, both
        without what the choice of shape adds.
    :ivar reason: one sentence: why it is a bound, or why there is none.
    """

    CONDITION: ClassVar[str] = "steady state; the whole light of an evenly pumped area collected"

    value: float | None = None
    ci95: Interval | None = None
    upper: float | None = None
    threshold_uj_cm2: float | None = None
    threshold_ci95: Interval | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The answer of a threshold fit. Absent numbers are None; nothing here is nan.

    :ivar status: found, not_found, below_range, above_range or refused; only ``found`` carries a number.
    :ivar reason: one sentence for people.
    :ivar threshold_uj_cm2: operational onset in the fluence convention of the input, uJ/cm2.
    :ivar ci95: total 95 % interval, uJ/cm2: statistical and systematic in quadrature.
    :ivar statistical_ci95: 95 % interval if the class of the shape were known, uJ/cm2.
    :ivar systematic_rel: half-width that the choice of shape adds, relative to the threshold.
    :ivar definition: name of the definition of threshold.
    :ivar shape: best shape of the library.
    :ivar n_points: points that were fitted.
    :ivar photon_order: photons that were taken to excite the sample together.
    :ivar orders_allowed: where none was stated, those that the exponent allows; else empty.
    :ivar exponent: power of the fluence below threshold (over all points if none was found).
    :ivar exponent_ci95: its 95 % interval.
    :ivar detection: sup-F statistic of a kink against a pure power law.
    :ivar p_value: its chance without a kink, from simulated null tables.
    :ivar bound: (lower, upper) one-sided bound in uJ/cm2, one of them None; None when two-sided or unknown.
    :ivar bound_condition: what a lower bound hangs on, in words; None where the spectra show it to be so.
    :ivar flags: short words, e.g. outlier, few_points, few_above, misfit, bend, drift, hysteresis, edge,
        plateau, tracking, start_lower (all of it lies, or may lie, above threshold), all_lines,
        lines_below, second_kink.
    :ivar outliers: indices into the input of points that failed the leave-one-out test: repeat these.
    :ivar skipped: number of input points left out, by reason.
    :ivar kept: number of questionable points kept, by reason.
    :ivar cross_checks: thresholds by the field's usual methods, uJ/cm2, None where they do not apply.
    :ivar drift_rel: relative change of the signal from the first point to the last beside the fit, where the
        order of the points lets it be told from the fluence.
    :ivar noise_rel: residual scatter relative to the fitted mean, median over points.
    :ivar used: what was known of the bench, in words, and is part of curve and interval.
    :ivar beta: of the S-curve that fits, or a bound; None where no kink was found.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("provisional",)

    status: ThresholdStatus = "refused"
    reason: str = ""
    n_points: int = 0
    definition: str = "onset"
    threshold_uj_cm2: float | None = None
    ci95: Interval | None = None
    statistical_ci95: Interval | None = None
    systematic_rel: float | None = None
    shape: str | None = None
    photon_order: int | None = None
    orders_allowed: tuple[int, ...] = ()
    exponent: float | None = None
    exponent_ci95: Interval | None = None
    detection: float | None = None
    p_value: float | None = None
    bound: tuple[float | None, float | None] | None = None
    bound_condition: str | None = None
    flags: tuple[str, ...] = ()
    outliers: tuple[int, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    cross_checks: Mapping[str, float | None] = field(default_factory=dict)
    noise_rel: float | None = None
    drift_rel: float | None = None
    used: tuple[str, ...] = ()
    beta: Beta | None = None

    @property
    def provisional(self) -> bool:
        """Whether a number that was found may well be overturned by the next points of a running sweep.

        So it is with fewer than three fluences above it, and with a kink that chance makes in more than one
        fit of 2,000: a running sweep is fitted again at every point, and a true kink is soon far beyond that.
        """
        unsure = self.p_value is not None and self.p_value > _SURE_WHILE_RUNNING
        return self.status == "found" and (unsure or "few_above" in self.flags)


@dataclass(frozen=True, slots=True)
class BandThreshold(Threshold):
    """The threshold of one band of a run, with its uncertainty taken apart and put together again.

    :param status: found, not_found, below_range, above_range or refused; only ``found`` carries a number.
    :param reason: one sentence for people.
    :param n_points: points that were fitted.
    :param definition: name of the definition of threshold.
    :param threshold_uj_cm2: operational onset, uJ/cm2 in ``convention``.
    :param ci95: total 95 % interval, uJ/cm2, without the error of the fluence's scale.
    :param statistical_ci95: 95 % interval if the class of the shape were known, uJ/cm2.
    :param systematic_rel: half-width that the choice of shape adds, relative to the threshold.
    :param shape: best shape of the library.
    :param photon_order: photons that were taken to excite the sample together.
    :param orders_allowed: where none was stated, those that the exponent allows; else empty.
    :param exponent: power of the fluence below threshold.
    :param exponent_ci95: its 95 % interval.
    :param detection: sup-F statistic of a kink against a pure power law.
    :param p_value: its chance without a kink.
    :param bound: (lower, upper) one-sided bound, uJ/cm2, one of them None; None when two-sided or unknown.
    :param bound_condition: what a lower bound hangs on, in words; None where the spectra show it to be so.
    :param flags: short words that qualify it.
    :param outliers: points of the run, counted from 0, that the fit disbelieves: repeat these.
    :param skipped: number of points left out, by reason.
    :param kept: number of questionable points kept, by reason.
    :param cross_checks: thresholds by the field's usual methods, uJ/cm2, None where they do not apply.
    :param noise_rel: residual scatter relative to the fitted mean, median over points.
    :param drift_rel: relative change of the signal from the first point to the last beside the fit.
    :param used: what was known of the bench, in words, and is part of curve and interval.
    :param beta: of the S-curve that fits, or a bound; None where no kink was found.
    :param band: "emission" is the whole of it, "lasing" the light in narrow peaks alone.
    :param convention: of the fluences, peak or average; None where a table does not say.
    :param quantity: of the pump: a fluence, or what a table holds in its place, e.g. "pulse energy".
    :param unit: of the pump and of every number here whose name says uJ/cm2: "uJ/cm2", or that of a table.
    :param unit_stated: whether a table, or its user, states it; where not, it is taken as uJ/cm2.
    :param scale_rel: standard uncertainty (k = 1) of the scale of all fluences; None while not stated.
    :param curve: what was fitted, at fluences chosen for a plot.
    :param points: what it was fitted to.
    """

    DERIVED: ClassVar[tuple[str, ...]] = (
        *("provisional", "total_ci95"),
        *("statistical_rel95", "model_rel95", "scale_rel95", "total_rel95"),
    )

    band: BandName = "emission"
    convention: str | None = None
    quantity: str = "fluence"
    unit: str = "uJ/cm2"
    unit_stated: bool = True
    scale_rel: float | None = None
    curve: Curve | None = field(default=None, compare=False, repr=False, metadata=NOT_STORED)
    points: CurvePoints | None = field(default=None, compare=False, repr=False, metadata=NOT_STORED)

    def __post_init__(self) -> None:
        """Take 0, which older files hold where nobody stated the scale's error, for what it is."""
        if self.scale_rel is not None and not self.scale_rel > 0:
            object.__setattr__(self, "scale_rel", None)

    @property
    def on_area(self) -> bool:
        """Whether the pump is one per area, so that peak and average of a spot differ."""
        return self.quantity in ("fluence", "intensity", "photon fluence", "carrier density")

    @property
    def convention_said(self) -> str:
        """The convention in words; empty for a pump that is not one per area."""
        return (self.convention or "convention not stated") if self.on_area else ""

    @property
    def total_ci95(self) -> Interval | None:
        """The 95 % interval with the error of the fluence's scale in it; None where that is not stated."""
        if self.threshold_uj_cm2 is None or self.scale_rel is None or not _is_positive(self.ci95):
            return None
        assert self.ci95 is not None
        return total_interval(self.threshold_uj_cm2, self.ci95, self.scale_rel)

    @property
    def statistical_rel95(self) -> float | None:
        """Relative half-width of the statistical interval."""
        return _half_width(self.statistical_ci95)

    @property
    def model_rel95(self) -> float | None:
        """Relative half-width that the choice of shape adds."""
        return self.systematic_rel

    @property
    def scale_rel95(self) -> float | None:
        """Relative half-width that the error of the scale makes."""
        return None if self.scale_rel is None else K95 * self.scale_rel

    @property
    def total_rel95(self) -> float | None:
        """Relative half-width of :attr:`total_ci95`."""
        return _half_width(self.total_ci95)


def total_interval(threshold: float, interval: Interval, scale_rel: float) -> Interval:
    """Return the 95 % interval of a fluence with the error of its scale in it.

    The scale is normal in the logarithm, independent of the rest, so each side widens in quadrature.

    :param interval: 95 %, without the scale; both ends positive.
    :param scale_rel: standard (k = 1).
    """
    low, high = interval
    scale = K95 * scale_rel
    below, above = (math.hypot(math.log(side), scale) for side in (threshold / low, high / threshold))
    return threshold * math.exp(-below), threshold * math.exp(above)


def _is_positive(interval: Interval | None) -> bool:
    return interval is not None and min(interval) > 0


def _half_width(interval: Interval | None) -> float | None:
    if interval is None or not _is_positive(interval):
        return None
    return math.log(interval[1] / interval[0]) / 2


@dataclass(frozen=True, slots=True)
class LineFigure:
    """What a figure of the chosen line needs: arrays of shape ``(pixel,)``, counts of the mean exposure."""

    wavelength_nm: FloatArray
    counts: FloatArray
    fitted: FloatArray
    line: FloatArray = field(default_factory=lambda: np.empty(0), metadata=NOT_STORED)
    background: FloatArray = field(default_factory=lambda: np.empty(0), metadata=NOT_STORED)


@dataclass(frozen=True, slots=True)
class QResult:
    """Quality factor: centre wavelength over FWHM.

    With ``lower_bound`` the line is not resolved: ``value`` is the centre over the MEASURED width, the true Q
    is at least that, and ``reason`` says why. Otherwise ``fwhm_nm`` is the width with the resolution taken
    out.

    :param value: the quality factor, or what it is at least.
    :param sigma: one standard error, from the scatter of the exposures, the width's fit, and the error of the
        resolution, which counts as exact where its error is not stated.
    :param wavelength_nm: centre of the line.
    :param fwhm_nm: its width.
    :param resolution_nm: FWHM of the slit; None if unknown.
    :param resolution_sigma_nm: its standard error; None if it is not stated.
    :param lower_bound: whether the true Q is at least ``value``.
    :param n_exposures: how many exposures the median was taken over.
    :param measured_fwhm_nm: width as seen, the slit in it.
    :param shape: of the line.
    :param reduced_chi2: of the fit, about 1 if good; None without a fit.
    :param lorentzian_share: 0 for a Gaussian, 1 for a Lorentzian; None without a fit.
    :param reason: why it is a lower bound; empty for one that is none.
    :param figure: the line and its fit, for a plot.
    :param pulses_per_exposure: number of laser pulses in an exposure of its point; None in older files.
    """

    value: float
    sigma: float
    wavelength_nm: float
    fwhm_nm: float
    resolution_nm: float | None
    lower_bound: bool
    n_exposures: int
    measured_fwhm_nm: float
    shape: LineShape
    reduced_chi2: float | None
    lorentzian_share: float | None = None
    reason: str = ""
    figure: LineFigure | None = field(default=None, compare=False, repr=False)
    resolution_sigma_nm: float | None = None
    pulses_per_exposure: float | None = None

    @property
    def resolution_said(self) -> str:
        """The resolution and how well it is known, in words."""
        if self.resolution_nm is None:
            return "unknown"
        if self.lower_bound:
            return f"{self.resolution_nm:.2f} nm"
        if self.resolution_sigma_nm is None:
            return f"{self.resolution_nm:.2f} nm, error not stated"
        return f"{self.resolution_nm:.2f} nm +- {100 * self.resolution_sigma_nm / self.resolution_nm:.2g} %"


@dataclass(frozen=True, slots=True)
class BudgetTerm:
    """One link from the meter to the sample; see :class:`labctl.analysis.budget.Term`.

    :param uncertainty: standard, in ``uncertainty_unit`` ("1": relative); None if not stated.
    :param contribution_rel: what it alone makes of the fluence's relative uncertainty; None likewise.
    :param name: of the link.
    :param value: of the quantity, in ``unit``; None where it has none.
    :param unit: of the value.
    :param uncertainty_unit: of the uncertainty; "1" means relative.
    :param sensitivity: relative change of the fluence per change of the quantity.
    :param source: the bench file, or a calibration's file and date.
    :param note: what else there is to say.
    """

    name: str
    value: float | None
    unit: str
    uncertainty: float | None
    uncertainty_unit: str
    sensitivity: float
    contribution_rel: float | None
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class FluenceBudget:
    """How well the fluences of a run are known; see :class:`labctl.analysis.budget.Budget`.

    :param terms: one for each link of the chain.
    :param fluence_uj_cm2: at which it holds.
    :param convention: of that fluence, peak or average.
    :param combined_rel: relative standard uncertainty (k = 1) of their scale; None while a heavy link is not
        stated.
    :param expanded_rel: twice that.
    :param links: number of terms that count.
    :param unstated: names of the terms without a stated uncertainty.
    :param photon_order: photons that excite the sample together.
    :param pulse_width_fs: at the sample; None when unknown.
    :param pulse_width_sigma_fs: its standard uncertainty.
    :param pulse_width_source: where it comes from.
    :param pulse_cv: standard deviation of the pulses' energies over their mean; None when unknown.
    :param two_photon_factor: <F^2>/<F>^2 of the pulses; None when unknown.
    :param absorptance: absorbed fraction of the light, 0 to 1; None when unknown.
    :param absorptance_sigma: its standard uncertainty.
    :param warnings: on the calibrations the numbers come from.
    """

    terms: tuple[BudgetTerm, ...] = ()
    fluence_uj_cm2: float | None = None
    convention: str | None = None
    combined_rel: float | None = None
    expanded_rel: float | None = None
    links: int | None = None
    unstated: tuple[str, ...] = ()
    photon_order: int | None = None
    pulse_width_fs: float | None = None
    pulse_width_sigma_fs: float | None = None
    pulse_width_source: str | None = None
    pulse_cv: float | None = None
    two_photon_factor: float | None = None
    absorptance: float | None = None
    absorptance_sigma: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdaptiveEnding:
    """How a sweep that chose its fluences ended.

    :param ended: why it asked for no more points; None if it was cancelled.
    :param reason: the same in words.
    :param target_rel: half-width over threshold that was asked for.
    :param target_met: whether the final interval is within it.
    :param half_width_rel: of the 95 % interval over the threshold, as it is in the end.
    :param points: without those at the reference.
    """

    ended: Cause | None
    reason: str
    target_rel: float | None
    half_width_rel: float | None
    target_met: bool
    points: int


@dataclass(frozen=True, slots=True)
class BleachingResult:
    """How the light at the reference fluence changed over the dose of a run.

    :param references: how many points were measured at it.
    :param fluence_uj_cm2: their fluence, uJ/cm2.
    :param change_rel: from the first reference to the last, along an exponential in dose.
    :param change_sigma_rel: its standard error.
    :param change_per_j_cm2: relative change per dose of 1 J/cm2.
    :param change_per_j_cm2_sigma: its standard error.
    :param p_value: chance of a slope as large without any change.
    :param dose_uj_cm2: dose at each reference, uJ/cm2.
    :param light_rel: light of each reference over that of the first.
    :param light_sigma_rel: its relative standard error.
    :param flags: ``bleaching`` or ``brightening`` at p < 0.01.
    :param corrected: what was done about it in the fit.
    :param laws: chance of each law of the loss with references and curve, 0 to 1, by its name; empty where
        the fit was not corrected.
    """

    references: int
    fluence_uj_cm2: float
    change_rel: float
    change_sigma_rel: float
    change_per_j_cm2: float
    change_per_j_cm2_sigma: float
    p_value: float
    dose_uj_cm2: tuple[float, ...] = ()
    light_rel: tuple[float, ...] = ()
    light_sigma_rel: tuple[float, ...] = ()
    flags: tuple[str, ...] = ()
    corrected: Correction = "off"
    laws: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """The way down against the way up, each number relative to the way up; None where it cannot be told.

    :param pairs: fluences measured both ways.
    :param signal_change_rel: common factor of the pairs, down over up, minus 1. What they share as added
        counts, or as a drift of the fluence that no meter sees, is in its error.
    :param signal_change_sigma_rel: its standard error.
    :param signal_p_value: chance of a change of the signal as large without a difference.
    :param threshold_up_uj_cm2: of the way up fitted alone, uJ/cm2.
    :param threshold_down_uj_cm2: of the way down fitted alone, uJ/cm2.
    :param threshold_change_rel: of the onset, from the pairs, which share what two fits do not; from the two
        fits where the curve of both ways has no onset.
    :param threshold_change_sigma_rel: its standard error.
    :param threshold_p_value: chance of a change of the onset as large without a difference.
    :param p_value: chance that signal or threshold are as far apart by luck, a loss that grows with the dose
        included.
    :param flags: ``hysteresis`` where signal or threshold differ significantly.
    """

    pairs: int
    signal_change_rel: float
    signal_change_sigma_rel: float
    signal_p_value: float
    threshold_up_uj_cm2: float | None
    threshold_down_uj_cm2: float | None
    threshold_change_rel: float | None
    threshold_change_sigma_rel: float | None
    threshold_p_value: float | None
    p_value: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnergyStep:
    """A step of the pulse energy at full transmission, in the midst of a run.

    :param before_point: the point from which on it is another, counted from 1.
    :param change_rel: relative change of the energy.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("text",)

    before_point: int
    change_rel: float

    @property
    def text(self) -> str:
        """What it is, in words; points are counted from 1."""
        return (
            f"the pulse energy stepped by {self.change_rel:+.0%} between points {self.before_point - 1} and "
            f"{self.before_point}: a change of the laser or of the power meter"
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty.

    :param value: the number, in the unit of the field that holds it.
    :param sigma: its standard error, same unit.
    :param low: lower end of its 95 % interval, same unit.
    :param high: upper end of its 95 % interval, same unit.
    """

    value: float
    sigma: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StabilityResult:
    """What a stability run says of the emission against time.

    :param status: decay, no_decay, or refused.
    :param reason: why it was refused.
    :param points: that were measured.
    :param fluence_uj_cm2: mean fluence, uJ/cm2.
    :param duration_s: from the first point to the last, s.
    :param interval_s: between points, s.
    :param dose_uj_cm2: dose of the run, uJ/cm2.
    :param points_used: that take part in the fit.
    :param model: shape of the decay: single, double or stretched.
    :param constant: whether a part that stays was fitted.
    :param statement: the result in one sentence.
    :param retained: share of the emission that is left at the end, from the fit.
    :param retained_model_free: the same from straight lines through the first and the last points.
    :param amplitude_weighted_lifetime_s: area over height of the decay, s.
    :param intensity_weighted_lifetime_s: mean time at which light is emitted, s.
    :param lifetime_above_s: lower bound of the lifetime where no decay is seen, s.
    :param numbers: of the decay's shape, by name.
    :param delta_aicc: corrected Akaike criterion of each shape tried, relative to the best.
    :param misfit_rel: where no decay follows the points: what neighbouring residuals share, over the start;
        the result then has no lifetimes, and ``retained`` is that without a model. None where one does.
    :param misfit_sigma: largest residual there, in standard errors of its point.
    :param flags: short words.
    :param sample_temperature_c: at each point, None where it is unknown; empty without a thermometer.
    """

    status: Literal["decay", "no_decay", "refused"]
    reason: str = ""
    points: int = 0
    fluence_uj_cm2: float | None = None
    duration_s: float | None = None
    interval_s: float | None = None
    dose_uj_cm2: float | None = None
    points_used: int = 0
    model: str | None = None
    constant: bool = False
    statement: str = ""
    retained: Estimate | None = None
    retained_model_free: Estimate | None = None
    amplitude_weighted_lifetime_s: Estimate | None = None
    intensity_weighted_lifetime_s: Estimate | None = None
    lifetime_above_s: float | None = None
    numbers: Mapping[str, Estimate | None] = field(default_factory=dict)
    delta_aicc: Mapping[str, float] = field(default_factory=dict)
    misfit_rel: float | None = None
    misfit_sigma: float | None = None
    flags: tuple[str, ...] = ()
    sample_temperature_c: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class PeakMark:
    """A peak of one spectrum, for a plot; ``height`` in dark-subtracted counts.

    A clipped one has neither width nor Q. ``at_least``: the line is not resolved, and Q is a lower bound.
    """

    wavelength_nm: float
    height: float
    fwhm_nm: float | None
    q: float | None
    at_least: bool


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes by the user after a run was measured; the run itself is never changed.

    :param left_out: points that take no part in the fit, counted from 0 in order of acquisition.
    :param bands: over which the signals are summed instead of those of the run; None: not moved.
    """

    left_out: frozenset[int] = frozenset()
    bands: Bands | None = None


NO_EDITS = Edits()


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What came of a run; :func:`labctl.analysis.evaluation.evaluate` makes it, a run file stores it.

    :param threshold: of the whole emission.
    :param threshold_lasing: of the light in narrow peaks.
    :param q: None where nothing lases, or nothing could be fitted.
    :param budget: of the fluences; None where the chain to the sample is not known.
    :param adaptive: how a sweep that chose its fluences ended; None for others.
    :param bleaching: what its references say; None for a sweep without.
    :param hysteresis: down-sweep relative to up-sweep the way up; None for a sweep of one way.
    :param stability: the decay of a stability run; None for others.
    :param energy_step: a step of the pulse energy in its midst; None where there is none.
    :param modes: the onset of each line of the spectra; None without spectra.
    :param randomness: whether the lines lie and move as a random laser's; None without lines.
    :param doubt: why nothing is said of the sample although points were measured; empty for most runs.
    :param edits: changes of the run by the user.
    :param verdict: what kink, linewidth and lines show together; None where nothing was fitted.
    :param definitions: the threshold by each definition in use; empty without a kink.
    :param shots: what the single shots say at each fluence; empty for a sweep that kept none.
    :param planned: maximum number of planned points; None if unknown.
    :param dose_uj_cm2: what the sample was given, light outside of stored points included; None likewise.
    """

    threshold: BandThreshold = BandThreshold("refused", "nothing was evaluated")
    threshold_lasing: BandThreshold = BandThreshold("refused", "nothing was evaluated", band="lasing")
    q: QResult | None = None
    budget: FluenceBudget | None = None
    adaptive: AdaptiveEnding | None = None
    bleaching: BleachingResult | None = None
    hysteresis: Hysteresis | None = None
    stability: StabilityResult | None = None
    energy_step: EnergyStep | None = None
    modes: Modes | None = None
    randomness: Randomness | None = None
    doubt: str = ""
    edits: Edits = NO_EDITS
    verdict: Verdict | None = None
    definitions: tuple[Definition, ...] = ()
    shots: tuple[ShotStatistics, ...] = ()
    planned: int | None = None
    dose_uj_cm2: float | None = None

    def of(self, band: BandName) -> BandThreshold:
        """Return the threshold of one band.

        :param band: "emission" or "lasing".
        """
        return self.threshold if band == "emission" else self.threshold_lasing
