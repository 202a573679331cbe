"""Location and scatter of a few repeated numbers, and straight lines through log-log points.

Small samples (about ten exposures) are the rule here, so each estimate of location carries the standard
error that belongs to it, and none of them assumes that the scatter is Gaussian unless it says so.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Estimator = Literal["mean", "median", "trimmed"]


@dataclass(frozen=True, slots=True)
class Location:
    """Where ``n`` repeated values lie: ``value`` and its standard error ``sigma`` (nan when n < 2)."""

    value: float
    sigma: float
    n: int
    estimator: Estimator


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = amplitude * x ** exponent, with the 95 % interval of the exponent; ``n`` points were used."""

    exponent: float
    exponent_sigma: float
    exponent_ci95: tuple[float, float]
    amplitude: float
    n: int


def finite(values: ArrayLike) -> Floats:
    """Return the finite ones of the values, flattened, shape ``(n_finite,)``."""
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[np.isfinite(array)]


def coefficient_of_variation(values: ArrayLike) -> float | None:
    """Sample standard deviation over mean; None for fewer than two values or a mean that is not positive."""
    array = finite(values)
    if array.size < 2 or not (mean := float(np.mean(array))) > 0:
        return None
    return float(np.std(array, ddof=1)) / mean


def location(values: ArrayLike, estimator: Estimator = "mean", *, trim: float = 0.1) -> Location:
    """Estimate where repeated values lie, with the standard error of that estimate.

    ``mean`` is what the physics of a signal that is a sum over pulses asks for. ``trimmed`` and ``median``
    bound the influence of heavy tails, but sit below the mean of a distribution skewed to large values.

    :param values: any shape; values that are not finite are left out.
    :param trim: share cut from EACH end for ``trimmed``, 0 <= trim < 0.5; at least one value is cut from each
        end when trim > 0 and there are three or more.
    :raises ValueError: no finite value, or trim out of range.

    The standard errors: s/sqrt(n) for the mean; the winsorised s/((1 - 2 g) sqrt(n)) of Tukey and McLaughlin
    (Sankhya A 25, 331, 1963) for the trimmed mean; that of Maritz and Jarrett (J. Am. Stat. Assoc. 73,
    194, 1978) for the median, some 20 % too large for ten normal values.
    """
    if not 0 <= trim < 0.5:
        raise ValueError(f"trim must be at least 0 and below 0.5, not {trim}")
    array = np.sort(finite(values))
    n = array.size
    if n == 0:
        raise ValueError("no finite value")
    if estimator == "mean":
        sigma = float(np.std(array, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        return Location(float(np.mean(array)), sigma, n, estimator)
    if estimator == "median":
        return Location(float(np.median(array)), _median_error(array), n, estimator)
    if estimator == "trimmed":
        return _trimmed(array, trim)
    raise ValueError(f"unknown estimator {estimator!r}; mean, median or trimmed")


def _trimmed(ordered: Floats, trim: float) -> Location:
    n = ordered.size
    cut = max(int(trim * n), 1) if trim > 0 and n >= 3 else 0
    kept = ordered[cut : n - cut]
    winsorised = np.clip(ordered, kept[0], kept[-1])
    share = 1 - 2 * cut / n
    sigma = float(np.std(winsorised, ddof=1)) / (share * math.sqrt(n)) if n > 1 else math.nan
    return Location(float(np.mean(kept)), sigma, n, "trimmed")


def _median_error(ordered: Floats) -> float:
    n = ordered.size
    if n < 2:
        return math.nan
    half = (n + 1) / 2
    weight = np.diff(scipy.special.betainc(half, half, np.arange(n + 1) / n))
    centre = float(weight @ ordered)
    return math.sqrt(float(weight @ (ordered - centre) ** 2))


def power_law(x: ArrayLike, y: ArrayLike, sigma_y: ArrayLike | None = None) -> PowerLaw | None:
    """Fit a straight line through log y against log x; None with fewer than three usable points.

    Points with x <= 0, y <= 0 or without a finite value are left out. Weighted by (y/sigma)^2 where
    ``sigma_y`` (same shape) is given. The interval comes from the scatter of the points about the line
    (Student's t), so it holds where the given sigmas are only relative.
    """
    x_, y_ = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    sigma = np.ones_like(y_) * y_ if sigma_y is None else np.asarray(sigma_y, dtype=np.float64)
    good = np.isfinite(x_) & np.isfinite(y_) & np.isfinite(sigma) & (x_ > 0) & (y_ > 0) & (sigma > 0)
    if int(good.sum()) < 3 or np.ptp(x_[good]) == 0:
        return None
    u, v, weight = np.log(x_[good]), np.log(y_[good]), (y_[good] / sigma[good]) ** 2
    weight /= weight.mean()
    n = u.size
    u_mean = float(np.average(u, weights=weight))
    v_mean = float(np.average(v, weights=weight))
    spread = float(np.sum(weight * (u - u_mean) ** 2))
    slope = float(np.sum(weight * (u - u_mean) * (v - v_mean))) / spread
    residual = v - v_mean - slope * (u - u_mean)
    slope_sigma = math.sqrt(float(np.sum(weight * residual**2)) / (n - 2) / spread)
    half = float(scipy.special.stdtrit(n - 2, 0.975)) * slope_sigma
    return PowerLaw(slope, slope_sigma, (slope - half, slope + half), math.exp(v_mean - slope * u_mean), n)


_EXPONENTS = np.linspace(0.3, 6.0, 229)


def power_law_over_baseline(x: ArrayLike, y: ArrayLike, sigma_y: ArrayLike | None = None) -> PowerLaw | None:
    """Fit y = baseline + amplitude * x ** exponent; None with fewer than five usable points or no signal.

    Points with x <= 0 or without a finite value are left out. Baseline and amplitude are solved for every
    exponent from 0.3 to 6; the interval holds those whose residuals a t-test cannot tell from the best's.

    :param sigma_y: only their ratios matter; without them errors are a part of the fitted curve.
    """
    x_, y_ = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    sigma = None if sigma_y is None else np.asarray(sigma_y, dtype=np.float64)
    good = np.isfinite(x_) & np.isfinite(y_) & (x_ > 0)
    if sigma is not None:
        good &= np.isfinite(sigma) & (sigma > 0)
    n = int(good.sum())
    if n < 5 or np.ptp(x_[good]) == 0 or not np.any(y_[good]):
        return None
    scale = float(np.exp(np.mean(np.log(x_[good]))))
    u, v = x_[good] / scale, y_[good]
    error = np.maximum(np.abs(v), 1e-3 * float(np.max(np.abs(v)))) if sigma is None else sigma[good]
    columns = u ** _EXPONENTS[:, None]
    for _ in range(1 if sigma is not None else 3):
        baselines, amplitudes, squares = _lines_in(columns, v, error)
        best = int(np.argmin(squares))
        if sigma is None:
            curve = np.abs(baselines[best] + amplitudes[best] * columns[best])
            error = np.maximum(curve, 1e-3 * float(curve.max()))
    cut = float(scipy.special.stdtrit(n - 3, 0.975))
    within = _EXPONENTS[squares <= squares[best] * (1 + cut**2 / (n - 3)) + 1e-300]
    exponent, low, high = float(_EXPONENTS[best]), float(within[0]), float(within[-1])
    amplitude = float(amplitudes[best]) / scale**exponent
    return PowerLaw(exponent, (high - low) / (2 * cut), (low, high), amplitude, n)


def _lines_in(columns: Floats, y: Floats, error: Floats) -> tuple[Floats, Floats, Floats]:
    """Baseline, amplitude and weighted sum of squares of a straight line in each row of ``columns``."""
    weight = 1 / error**2
    weight /= weight.sum()
    c_mean, y_mean = columns @ weight, float(y @ weight)
    dc, dy = columns - c_mean[:, None], y - y_mean
    amplitude = (dc * dy) @ weight / (dc**2 @ weight)
    return y_mean - amplitude * c_mean, amplitude, (dy - amplitude[:, None] * dc) ** 2 @ weight


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
    fit = power_law_over_baseline if baseline else power_law
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
        coefficients, _ = scipy.optimize.nnls(design / described[:, None], variance / described)
        described = np.maximum(design @ coefficients, 1e-3 * np.median(variance))
    freedom = n_exposures - 1
    s[good] = scale * np.sqrt((freedom * variance + prior_weight * described) / (freedom + prior_weight))
    return s
