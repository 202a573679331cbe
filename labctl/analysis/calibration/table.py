"""Attenuator of any kind, as a measured table: a wheel with graded filters, above all.

ln(transmission) is taken as straight between knots, exact for a graded filter and what a table is read with;
the knots are fewer than the points, so that noise is averaged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.calibration import noisefit
from labctl.analysis.calibration.noisefit import Model, Noise, Posterior, fit
from labctl.analysis.fluence import table_error_rel
from labctl.model.errors import CalibrationRefused
from labctl.model.pump import TableCurve
from labctl.model.records import FloatArray

LEAST_POINTS = 8
LEAST_RANGE = 2.0
"""Highest over lowest transmission, at least."""
MOST_KNOTS = 16
MOST_SIGMA_REL = 0.25
"""A knot known worse than this is below what the meter can see, and cut."""
_SURE = 3.3  # one in a thousand by luck
_LEAST_DROP = 0.005  # a rise against the trend below this is no reason to refuse


@dataclass(frozen=True, slots=True)
class TableFit:
    """A strictly monotone table; arrays have shape ``(knot,)``, angles rise.

    :param transmission: relative to the highest; ``sigma_rel`` its relative standard error (that of the
        quotient with the highest, 0 there).
    :param max_power_w: power at the highest knot, with its standard error.
    :param flags: "cut" when angles at which the meter saw too little were left out.
    """

    angle_deg: FloatArray
    transmission: FloatArray
    sigma_rel: FloatArray
    max_power_w: float
    max_power_sigma_w: float
    scatter_rel: float
    falling: bool
    chi2: float | None
    freedom: int
    flags: tuple[str, ...]

    def settings(self) -> TableCurve:
        """Return it as the settings of a pump."""
        return TableCurve(self.angle_deg, self.transmission)

    def relative_error(self, angle_deg: ArrayLike, angle_sigma_deg: float) -> FloatArray:
        """Return the relative error of the transmission that an error of the angle makes."""
        return table_error_rel(angle_deg, self.angle_deg, np.log(self.transmission), angle_sigma_deg)


def fit_table(
    angle_deg: ArrayLike,
    power_w: ArrayLike,
    power_sigma_w: ArrayLike | None = None,
    *,
    angle_sigma_deg: float | None = 0.0,
    time_s: ArrayLike | None = None,
) -> TableFit:
    """Fit a monotone table to a scan over one monotone stretch, in the order in which it was measured.

    Parameters as of ``malus.fit_malus``.

    :raises CalibrationRefused: too few points, a scan that is not monotone beyond its noise, or too short.
    """
    found = noisefit.columns(
        LEAST_POINTS, ("angle_deg", angle_deg), ("power_w", power_w), ("power_sigma_w", power_sigma_w),
        ("time_s", time_s),
    )  # fmt: skip
    x, y = noisefit.column(found[0]), noisefit.column(found[1])
    sigma = noisefit.errors("power_sigma_w", found[2])
    if angle_sigma_deg is not None and not 0 <= angle_sigma_deg <= 5:
        raise CalibrationRefused(f"a repeatability of {angle_sigma_deg} degrees is not plausible for a mount")
    different = np.unique(x).size
    if different < LEAST_POINTS - 2:
        raise CalibrationRefused(f"{different} different angles are too few: at least {LEAST_POINTS - 2}")
    top = float(np.max(y))
    if not top > 0:
        raise CalibrationRefused("no power at any angle: the beam does not reach the meter")
    knots = np.quantile(np.unique(x), np.linspace(0, 1, min(max(4, different // 3), MOST_KNOTS)))
    shares = _shares(x, knots)
    noise = Noise(
        None if sigma is None else sigma / top, angle_sigma_deg, 0.03, 0.003, 0.005, 0.0003, found[3]
    )
    posterior = fit(_model(shares, knots, x), _start(shares, y / top), y / top, noise, what="a table")
    return _result(knots, posterior, top)


def _shares(x: FloatArray, knots: FloatArray) -> FloatArray:
    """Weight of each knot in each point by linear interpolation, shape ``(n, knot)``."""
    return np.stack([np.interp(x, knots, row) for row in np.eye(knots.size)], axis=1)


def _model(shares: FloatArray, knots: FloatArray, x: FloatArray) -> Model:
    place = np.clip(np.searchsorted(knots, x) - 1, 0, knots.size - 2)

    def model(params: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        mean = np.exp(np.clip(shares @ params, -40, 10))
        steep = (np.diff(params) / np.diff(knots))[place]
        return mean, shares * mean[:, None], steep * mean

    return model


def _start(shares: FloatArray, y: FloatArray) -> FloatArray:
    """Knots of a fit to the logarithms, points at or below zero put at the lowest level seen."""
    floor = max(float(np.min(np.abs(y[y != 0]), initial=1.0)), 1e-6)
    return np.asarray(np.linalg.lstsq(shares, np.log(np.maximum(y, floor)), rcond=None)[0])


def _result(knots: FloatArray, posterior: Posterior, top: float) -> TableFit:
    seen = posterior.sigma(np.eye(knots.size)) < MOST_SIGMA_REL
    use = np.flatnonzero(seen)
    if use.size < 3 or np.ptp(posterior.params[use]) < math.log(LEAST_RANGE):
        raise CalibrationRefused(
            f"the scan is too short: it needs a factor of {LEAST_RANGE:g} in detectable power, at three or "
            f"more angles"
        )
    values = posterior.params[use]
    falling = bool(values[0] > values[-1])
    _refuse_not_monotone(knots[use], posterior, use, falling)
    angles, smooth = _strict(knots[use], -values if falling else values)
    log_t = -smooth if falling else smooth
    highest = int(use[np.argmax(values)])
    unit = np.eye(knots.size)
    errors = posterior.sigma(_shares(angles, knots) - unit[highest])
    top_sigma = float(posterior.sigma(unit[highest])[0])
    power = top * math.exp(float(np.max(log_t)))
    size = np.maximum(np.exp(posterior.params).max(), 1e-300)
    return TableFit(
        angle_deg=angles,
        transmission=np.exp(log_t - np.max(log_t)),
        sigma_rel=errors,
        max_power_w=power,
        max_power_sigma_w=power * top_sigma,
        scatter_rel=float(np.sqrt(np.mean(posterior.residuals**2)) / size),
        falling=falling,
        chi2=posterior.chi2,
        freedom=posterior.freedom,
        flags=() if seen.all() else ("cut",),
    )


def _refuse_not_monotone(
    angles: FloatArray, posterior: Posterior, use: NDArray[np.intp], falling: bool
) -> None:
    """Refuse where any later knot lies beyond chance on the wrong side of an earlier one."""
    sign = -1.0 if falling else 1.0
    unit = sign * np.eye(posterior.params.size)[use]
    pairs = [(i, j) for i in range(use.size) for j in range(i + 1, use.size)]
    rows = np.array([unit[j] - unit[i] for i, j in pairs])
    rises, sigmas = rows @ posterior.params, posterior.sigma(rows)
    worst = int(np.argmin(rises / sigmas))
    if rises[worst] < -_LEAST_DROP and rises[worst] < -_SURE * sigmas[worst]:
        i, j = pairs[worst]
        raise CalibrationRefused(
            f"the power is not monotone: it {'rises' if falling else 'falls'} by {-rises[worst]:.1%} between "
            f"{angles[i]:g} and {angles[j]:g} degrees; scan one monotone range"
        )


def _strict(angles: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pool neighbours that do not increase into one, which stands at their mean angle (or at an end)."""
    blocks: list[tuple[float, float, int]] = []
    for angle, value in zip(angles, values, strict=True):
        blocks.append((float(angle), float(value), 1))
        while len(blocks) > 1 and blocks[-2][1] >= blocks[-1][1] - 1e-6:
            (a, v, n), (b, w, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), (v * n + w * m) / (n + m), n + m)]
    place, height = np.array([b[0] for b in blocks]), np.array([b[1] for b in blocks])
    place[0], place[-1] = angles[0], angles[-1]
    return place, height
