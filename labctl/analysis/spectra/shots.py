"""How a signal scatters from exposure to exposure, how that depends on fluence, and the exponent below
threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from labctl.analysis import statistics
from labctl.analysis.statistics import PowerLaw

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShotStatistics:
    """Scatter of the exposures of one fluence, counts per pulse; ``cv`` None when the mean is not positive.

    ``skewness`` (None below three exposures) and ``heaviest_share``, the largest exposure's share of the sum,
    tell heavy tails from ordinary scatter.
    """

    n: int
    mean: float
    median: float
    trimmed_mean: float
    cv: float | None
    skewness: float | None
    heaviest_share: float | None


@dataclass(frozen=True, slots=True)
class CvCurve:
    """Coefficient of variation against fluence, in order of fluence; points without one are left out.

    ``peak_fluence_uj_cm2`` is where it is largest; ``peak_ratio`` the largest over the median of the others:
    shots differ most near a threshold, so a clear maximum there supports the fit. ``sigma`` is the error of
    each CV.
    """

    fluence_uj_cm2: tuple[float, ...]
    cv: tuple[float, ...]
    sigma: tuple[float, ...]
    peak_fluence_uj_cm2: float | None
    peak_ratio: float | None


def shot_statistics(signals: ArrayLike, *, trim: float = 0.1) -> ShotStatistics:
    """Summarise the signals of exposures (or single shots); values that are not finite are left out.

    :raises ValueError: no finite value.
    """
    values = statistics.finite(signals)
    trimmed = statistics.location(values, "trimmed", trim=trim)
    mean, n = float(np.mean(values)), values.size
    sigma = float(np.std(values))
    skewness = float(np.mean((values - mean) ** 3)) / sigma**3 if n > 2 and sigma > 0 else None
    total = float(np.sum(values))
    return ShotStatistics(
        n=n,
        mean=mean,
        median=float(np.median(values)),
        trimmed_mean=trimmed.value,
        cv=statistics.coefficient_of_variation(values),
        skewness=skewness,
        heaviest_share=float(np.max(values)) / total if total > 0 else None,
    )


def cv_curve(fluence_uj_cm2: Sequence[float], exposure_signals: Sequence[ArrayLike]) -> CvCurve:
    """Coefficient of variation against fluence.

    The error of a CV c from n exposures of nearly normal scatter is c sqrt(1/2 + c^2) / sqrt(n - 1).

    :raises ValueError: the lengths differ.
    """
    if len(fluence_uj_cm2) != len(exposure_signals):
        raise ValueError(
            f"{len(fluence_uj_cm2)} fluences do not fit {len(exposure_signals)} sets of exposures"
        )
    rows = []
    for fluence, signals in zip(fluence_uj_cm2, exposure_signals, strict=True):
        values = statistics.finite(signals)
        cv = statistics.coefficient_of_variation(values)
        if cv is not None:
            rows.append((float(fluence), cv, cv * float(np.sqrt((0.5 + cv**2) / (values.size - 1)))))
    rows.sort()
    fluences, cvs, sigmas = (tuple(r[i] for r in rows) for i in range(3))
    if len(cvs) < 3:
        return CvCurve(fluences, cvs, sigmas, None, None)
    top = int(np.argmax(cvs))
    others = float(np.median(np.delete(cvs, top)))
    return CvCurve(fluences, cvs, sigmas, fluences[top], cvs[top] / others if others > 0 else None)


def two_photon_exponent(
    fluence_uj_cm2: ArrayLike,
    signal: ArrayLike,
    threshold_uj_cm2: float,
    *,
    signal_sigma: ArrayLike | None = None,
    below: float = 0.85,
    baseline: bool = False,
) -> PowerLaw | None:
    """Exponent of the signal in the fluence over the points below ``below`` x threshold.

    About 2 for two-photon pumping. Outside 1.7-2.3 with a narrow interval it means saturation, a one-photon
    background, bleaching, or counts that are no luminescence: a baseline of a tenth of the lowest signal
    already lowers the exponent, so where one may be left it must be fitted as well.

    :param signal_sigma: standard errors of the signal; its own scatter sets the interval in any case.
    :param baseline: fit a constant beside the power law.
    :returns: None with fewer than three points, five with a baseline.
    """
    fluence = np.asarray(fluence_uj_cm2, dtype=np.float64)
    use = fluence < below * threshold_uj_cm2
    sigma = None if signal_sigma is None else np.asarray(signal_sigma, dtype=np.float64)[use]
    fit = statistics.power_law_over_baseline if baseline else statistics.power_law
    return fit(fluence[use], np.asarray(signal, dtype=np.float64)[use], sigma)


def pooled_sigma(
    signal: ArrayLike, sigma: ArrayLike, n_exposures: int, *, prior_weight: float = 9.0
) -> Floats:
    """Standard errors of a sweep's signals, steadied by each other.

    With ten exposures a standard error is itself known to a quarter only, and a point whose exposures agree
    by chance would pull a fit. The variances are described by read^2 + gain y + (relative y)^2 over the whole
    sweep (non-negative least squares, relative weights), and each is averaged with that description:
    ``prior_weight`` against n - 1 degrees of freedom. A point that really scatters more, as near a threshold,
    keeps most of its excess.

    :param signal: shape ``(n,)``; ``sigma`` the standard errors found from the exposures, likewise.
    :returns: standard errors, shape ``(n,)``; unchanged when fewer than five are finite and positive.
    """
    y, s = np.asarray(signal, dtype=np.float64), np.array(sigma, dtype=np.float64)
    good = np.isfinite(y) & np.isfinite(s) & (s > 0)
    if int(good.sum()) < 5 or n_exposures < 2:
        return s
    scale = float(np.max(np.abs(y[good]))) or 1.0
    level, variance = np.maximum(y[good] / scale, 0.0), (s[good] / scale) ** 2
    design = np.column_stack([np.ones_like(level), level, level**2])
    described = variance
    for _ in range(
        3
    ):  # weights from the description, not from the noisy variances, which would favour small ones
        coefficients, _ = optimize.nnls(design / described[:, None], variance / described)
        described = np.maximum(design @ coefficients, 1e-3 * np.median(variance))
    freedom = n_exposures - 1
    s[good] = scale * np.sqrt((freedom * variance + prior_weight * described) / (freedom + prior_weight))
    return s
