"""What may be said of a sweep that shows no threshold of its own: a bound, a conditional one, or none.

The absence of a kink is no lower bound: a sweep that lies above threshold throughout shows none either, and
its signal may well grow with the photon order (a hinge at twice its onset, a whole spot at any fluence). A
lower bound therefore wants luminescence at the low end, seen in the spectra as well as in the exponent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.threshold.diagnostics import Exponent, exponent_of, few_flag, growth_of, low_end
from labctl.analysis.threshold.likelihood import Profile
from labctl.analysis.threshold.result import Estimate, Status, ThresholdResult
from labctl.analysis.threshold.sweep_data import SweepData

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Emission narrower than the first is a laser line, or a few unresolved ones (the widest group of lines on the
# coarse simulated spectrometer: 10 nm, with peaks in it). As wide as the second, twice the thermal energy at
# 525 nm, only luminescence is. What lies between (amplified luminescence, many lines in one) proves neither.
LINE_NM, FULL_NM = 5.0, 12.0
# Below so many points with a verdict the spectra decide nothing.
LEAST_SEEN = 3
# So many points with lines below a threshold that was found are no accident of its interval.
LEAST_EARLY = 2
ORDER_WITHIN = 0.3
# By how much lines narrow across the threshold of a laser whose cavity filters its luminescence already.
NARROWED = 1.3
CONDITION = "if the lowest points are luminescence"
MAY_LIE_ABOVE = "the scan may lie above the threshold: start lower"
START_LOWER = "start_lower"
"""Flag of a sweep that lies, or may lie, above threshold throughout: nothing is won by going higher."""
ALL_LINES = "all_lines"
"""Flag of a sweep without an onset of which every point shows lasing peaks."""


@dataclass(frozen=True, slots=True)
class LineEvidence:
    """What the spectra of a sweep show, in the order of its points; nan where they show nothing.

    :ivar fwhm_nm: width of the whole emission, nm, shape (n,).
    :ivar peak_count: narrow peaks above the smooth luminescence, shape (n,).
    """

    fwhm_nm: Array
    peak_count: Array

    @classmethod
    def of(cls, n: int, fwhm_nm: ArrayLike | None, peak_count: ArrayLike | None) -> LineEvidence:
        """Collect what is known of ``n`` points.

        :raises ValueError: an array is not of shape (n,).
        """
        arrays = []
        for name, given in (("fwhm_nm", fwhm_nm), ("peak_count", peak_count)):
            values = np.full(n, np.nan) if given is None else np.array(given, dtype=float)
            if values.shape != (n,):
                raise ValueError(f"{name} has shape {values.shape}, fluence {(n,)}")
            arrays.append(values)
        return cls(*arrays)

    def read(self, fluence: Array, chosen: NDArray[np.intp]) -> Spectra:
        """Weigh the spectra of the chosen points, ``fluence`` being theirs, in any unit."""
        order = np.argsort(fluence, kind="stable")
        width, count = self.fwhm_nm[chosen][order], self.peak_count[chosen][order]
        narrow, full = width < LINE_NM, width >= FULL_NM
        lines = narrow | (count > 0)
        # Without a count of peaks a full width says little: weak lines do not narrow the half maximum.
        plain = full & (count == 0)
        seen = lines | np.isfinite(width)
        start = established(lines[seen])
        # One weak peak at the highest fluence may be noise or the first line: it counts as neither.
        lone = start is not None and start == seen.sum() - 1 and bool(full[seen][start])
        return Spectra(
            points=int(seen.size),
            seen=int(seen.sum()),
            lines=int(lines.sum()),
            narrow=int(narrow.sum()),
            plain=int(plain.sum()),
            neither=int((seen & ~lines & ~full).sum()),
            dark=int((~seen & (count == 0)).sum()),
            lone_peak=lone,
            lines_from=None if start is None or lone else float(fluence[order][seen][start]),
        )


@dataclass(frozen=True, slots=True)
class Spectra:
    """How many of a sweep's points show what.

    :ivar seen: with a width or a peak; ``lines`` with a peak, or no wider than a line; ``narrow`` of these
        the latter; ``plain`` as wide as luminescence is, and without a peak; ``neither`` in between; ``dark``
        looked at, with neither: too little light, as below the threshold in few shots.
    :ivar lone_peak: the brightest point alone shows a peak, weak in an emission of full width.
    :ivar lines_from: lowest fluence from which on most points show lines; None where none do. A peak that
        the higher fluences do not show is noise: laser lines grow with the fluence.
    """

    points: int
    seen: int
    lines: int
    narrow: int
    plain: int
    neither: int
    dark: int
    lone_peak: bool
    lines_from: float | None

    @property
    def lasing(self) -> bool:
        """Whether every point that shows anything shows lines, and most are no wider than a line."""
        enough = self.seen >= max(LEAST_SEEN, self.points / 2)
        every = self.lines == self.seen and self.dark < LEAST_SEEN
        return enough and every and self.narrow >= 0.8 * self.seen

    @property
    def luminescence(self) -> bool:
        """Whether the emission has its full width and no lines, at enough points and beyond doubt."""
        return self.lines_from is None and self.plain >= max(LEAST_SEEN, 0.8 * self.seen)

    @property
    def said(self) -> str:
        """How many points show lines, in words."""
        share = (
            "every point shows" if self.lines == self.points else f"{self.lines} of {self.points} points show"
        )
        return f"{share} lasing peaks"

    @property
    def between(self) -> bool:
        """Whether the emission is narrower than luminescence, and no line either."""
        return self.neither >= max(LEAST_SEEN, 0.5 * self.seen)


def established(lines: Bools) -> int | None:
    """Return the first place with lines from which on two thirds or more show them, by rising fluence."""
    share = np.cumsum(lines[::-1])[::-1] / np.arange(lines.size, 0, -1)
    places = np.flatnonzero(lines & (share >= 2 / 3))
    return int(places[0]) if places.size else None


def few_points(refused: ThresholdResult, data: SweepData, lines: LineEvidence) -> ThresholdResult:
    """Say of a sweep with too few points that it lies above threshold, if its spectra do."""
    if not lines.read(data.f, data.index).lasing:
        return refused
    reason = f"{refused.reason}; all show lasing peaks: start lower"
    return replace(refused, reason=reason, flags=(*refused.flags, START_LOWER))


def unchanging(blank: ThresholdResult, data: SweepData, lines: LineEvidence) -> ThresholdResult:
    """Say of a signal that is the same at every fluence as little as it does."""
    if lines.read(data.f, data.index).lines_from is not None:
        return _start_lower(blank, f"the signal does not change, but shows lasing peaks; {MAY_LIE_ABOVE}")
    return _conditional(blank, data, "the signal does not change")


def nothing_found(
    blank: ThresholdResult, data: SweepData, profile: Profile, lines: LineEvidence
) -> ThresholdResult:
    """No kink: either nothing lases in the scan, or everything does, or nobody can tell."""
    f = data.f * data.fluence_scale
    exponent = exponent_of(data, profile.weight, np.ones(data.n, bool))
    blank = replace(
        blank, exponent=exponent.value, exponent_ci95=exponent.ci95, flags=blank.flags + few_flag(data)
    )
    spectra = lines.read(f, data.index)
    if spectra.lasing:
        return everything_lases(blank, data, profile, spectra)
    if spectra.lines_from is not None:
        return _some_lines(blank, spectra)
    end, steepest = low_end(data, profile.weight), profile.shapes.photon_order + ORDER_WITHIN
    steep = end.slope_at_least if spectra.luminescence else end.slope
    if end.slope_at_least > steepest and not spectra.luminescence:
        low = float(f[f > 0].min())
        reason = (
            f"threshold below {low:.4g} uJ/cm2: the signal extrapolates to zero inside the scan; start lower"
        )
        return _start_lower(replace(blank, status="below_range", bound=(None, low)), reason)
    if steep > steepest:
        return _start_lower(blank, f"no significant threshold; {MAY_LIE_ABOVE}")
    return _lower(blank, data, profile, spectra, exponent)


def _lower(
    blank: ThresholdResult, data: SweepData, profile: Profile, spectra: Spectra, exponent: Exponent
) -> ThresholdResult:
    """State the highest fluence as a lower bound, as far as the low end is luminescence."""
    f = data.f * data.fluence_scale
    order, high = profile.shapes.photon_order, float(np.max(f))
    growth = growth_of(data, profile.weight, order, ORDER_WITHIN)
    if growth == "other":
        power = "another power" if exponent.value is None else f"F^{exponent.value:.2g}"
        grows = f"the signal grows as {power}, not as F^{order}"
        return _start_lower(blank, f"no significant threshold; {grows}; {MAY_LIE_ABOVE}")
    if spectra.between:
        return _start_lower(
            blank, f"no significant threshold; the emission is narrower than luminescence; {MAY_LIE_ABOVE}"
        )
    if spectra.luminescence and growth == "order":
        said = "no significant threshold, no lasing peaks, full linewidth"
        if spectra.lone_peak:
            said += f"; the peak at {high:.4g} uJ/cm2 may be noise or the first lasing peak"
            high = float(np.max(f[f < high]))
        reason = f"no threshold below {high:.4g} uJ/cm2: {said}"
        return replace(blank, status="not_found", reason=reason, bound=(high, None))
    return _conditional(
        blank,
        data,
        "the signal does not increase significantly" if growth == "none" else "no significant threshold",
    )


def _conditional(blank: ThresholdResult, data: SweepData, why: str) -> ThresholdResult:
    high = float(data.f.max()) * data.fluence_scale
    reason = f"{why}: {CONDITION}, no threshold below {high:.4g} uJ/cm2; if they already lase, start lower"
    return replace(blank, status="not_found", reason=reason, bound=(high, None), bound_condition=CONDITION)


def everything_lases(
    blank: ThresholdResult, data: SweepData, profile: Profile, spectra: Spectra
) -> ThresholdResult:
    """Every spectrum shows lines; an upper bound where the curve says so too.

    Luminescence that leaves through a cavity is narrow below threshold as well, but grows with its order.
    """
    blank = replace(blank, flags=(*blank.flags, ALL_LINES))
    f = data.f * data.fluence_scale
    low, order = float(f[f > 0].min()), profile.shapes.photon_order
    steep = low_end(data, profile.weight).slope > order + ORDER_WITHIN
    if steep or growth_of(data, profile.weight, order, ORDER_WITHIN) == "other":
        reason = f"{spectra.said}: the scan lies above the threshold (below {low:.4g} uJ/cm2): start lower"
        return _start_lower(replace(blank, status="below_range", bound=(None, low)), reason)
    return _start_lower(blank, f"{spectra.said}; {MAY_LIE_ABOVE}")


def _some_lines(blank: ThresholdResult, spectra: Spectra) -> ThresholdResult:
    said = f"no significant threshold, but {spectra.said}"
    if spectra.lines >= 0.6 * spectra.seen:
        return _start_lower(blank, f"{said}; {MAY_LIE_ABOVE}")
    return replace(
        blank,
        status="not_found",
        reason=f"{said}, from {spectra.lines_from:.4g} uJ/cm2 on: measure more points there",
    )


def _start_lower(result: ThresholdResult, reason: str) -> ThresholdResult:
    status: Status = "below_range" if result.bound else "not_found"
    return replace(result, status=status, reason=reason, flags=(*result.flags, START_LOWER))


def one_sided(
    result: ThresholdResult, profile: Profile, estimate: Estimate, lines: LineEvidence
) -> ThresholdResult:
    """There is a kink, but its interval runs out of the scan: a bound is all that can be said."""
    data = profile.data
    low, high = (float(np.exp(x)) * data.fluence_scale for x in estimate.total)
    result = replace(result, flags=(*result.flags, "edge"))
    if estimate.touches_low and estimate.touches_high:
        reason = "there is a threshold, but the scan does not locate it: more points are needed"
        return replace(result, status="not_found", reason=reason)
    if estimate.touches_low:
        reason = f"threshold below {high:.4g} uJ/cm2: its interval extends below the scan"
        return replace(result, status="below_range", reason=reason, bound=(None, high))
    below = data.ln_f < estimate.total[0]
    spectra = lines.read((data.f * data.fluence_scale)[below], data.index[below])
    if spectra.lines_from is not None or spectra.between:
        reason = f"a kink at the high end of the scan, but no clear luminescence below it; {MAY_LIE_ABOVE}"
        return _start_lower(result, reason)
    reason = f"threshold above {low:.4g} uJ/cm2: its interval extends above the scan"
    result = replace(result, status="above_range", reason=reason, bound=(low, None))
    order = profile.shapes.photon_order
    if spectra.luminescence and growth_of(data, profile.weight, order, ORDER_WITHIN, below) == "order":
        return result
    return replace(result, reason=f"{CONDITION}, {reason}", bound_condition=CONDITION)


def with_lines_below(
    result: ThresholdResult, blank: ThresholdResult, profile: Profile, lines: LineEvidence
) -> ThresholdResult:
    """Doubt a kink that lies among lines: the threshold, or a lower one, lies below it.

    Where every point shows lines of one width, the kink is no onset. A cavity filters its luminescence, so
    that it is narrow below threshold too: there the lines narrow across the kink, and the number stays.
    """
    data, t = profile.data, result.threshold_uj_cm2
    f = data.f * data.fluence_scale
    spectra, width = lines.read(f, data.index), lines.fwhm_nm[data.index]
    if spectra.lasing and not (t is not None and _narrows(width, f > t)):
        return everything_lases(blank, data, profile, spectra)
    if result.ci95 is None or spectra.lines_from is None:
        return result
    early = int(((f >= spectra.lines_from) & (f < result.ci95[0]) & (width < LINE_NM)).sum())
    if early < LEAST_EARLY:
        return result
    reason = (
        f"{result.reason}; {early} points below it already show lasing peaks: a lower threshold is likely"
    )
    return replace(result, reason=reason, flags=(*result.flags, "lines_below"))


def _narrows(width_nm: Array, above: Bools) -> bool:
    known = np.isfinite(width_nm)
    low, high = width_nm[known & ~above], width_nm[known & above]
    return bool(low.size and high.size and np.median(low) > NARROWED * np.median(high))
