"""Attenuator of a half-wave plate and a polariser: T = Tmin + (Tmax - Tmin) cos^2 2(angle - zero).

Fitted to a scan of the plate with errors of the power (meter, laser) and of the angle (repeatability, play).
All angles are the mount's own, in degrees; the curve repeats after 90.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike

from labctl.analysis.calibration import noisefit
from labctl.analysis.calibration.noisefit import NORMAL_95, Model, Noise, Posterior, fit
from labctl.analysis.fluence import malus_error_rel, malus_transmission
from labctl.analysis.statistics import pooled_sigma
from labctl.model.errors import CalibrationRefused
from labctl.model.pump import MalusCurve
from labctl.model.records import FloatArray

PERIOD_DEG = 90.0
LEAST_POINTS = 8
NEAR_DEG = 10.0
"""A scan must come this near to a maximum and to a minimum: beyond, they would be extrapolated."""
MOST_LEAKAGE = 0.5


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan whose columns fit together, shapes ``(n,)``; ``side`` is 0 where no play is to be fitted."""

    angle: FloatArray
    power: FloatArray
    sigma: FloatArray | None
    side: FloatArray
    time: FloatArray | None

    @classmethod
    def of(
        cls,
        angle: ArrayLike,
        power: ArrayLike,
        sigma: ArrayLike | None,
        side: ArrayLike | None,
        time: ArrayLike | None,
    ) -> Scan:
        """Check the columns.

        :raises CalibrationRefused: they do not fit together.
        """
        found = noisefit.columns(
            LEAST_POINTS, ("angle_deg", angle), ("power_w", power), ("power_sigma_w", sigma),
            ("direction", side), ("time_s", time),
        )  # fmt: skip
        angles, powers = noisefit.column(found[0]), noisefit.column(found[1])
        if np.max(np.abs(angles)) > 1e5:
            raise CalibrationRefused(
                f"angles of {noisefit.spread(angles)} degrees are not plausible for a mount"
            )
        signs = np.zeros_like(angles) if found[3] is None else np.sign(found[3])
        if min(np.count_nonzero(signs > 0), np.count_nonzero(signs < 0)) < 2:
            signs = np.zeros_like(angles)
        return cls(angles, powers, noisefit.errors("power_sigma_w", found[2]), signs, found[4])

    @property
    def both_ways(self) -> bool:
        """Whether angles were approached from both sides."""
        return bool(np.any(self.side))

    def refuse_clipped(self) -> None:
        """Three different angles at which the highest power is the same to the last digit are a cut top."""
        folded = np.round(self.angle[self.power == self.power.max()] % PERIOD_DEG, 2)
        if np.unique(folded).size >= 3 and np.ptp(self.power) > 0:
            raise CalibrationRefused(
                f"{folded.size} readings at different angles show exactly {self.power.max():g} W, the "
                "highest: the meter is saturated; use a higher range or a filter"
            )

    def start(self) -> FloatArray:
        """Highest power, lowest power and zero of an unweighted fit, which is linear in cosine and sine."""
        if not self.power.max() > 0:
            raise CalibrationRefused("no power at any angle: the beam does not reach the meter")
        turn = np.radians(4 * self.angle)
        design = np.column_stack([np.ones_like(turn), np.cos(turn), np.sin(turn)])
        if np.linalg.svd(design, compute_uv=False)[-1] < 1e-3:
            raise CalibrationRefused(
                f"angles of {noisefit.spread(self.angle)} degrees are too few, or too close together, to fix "
                "a maximum and a minimum"
            )
        middle, c, s = np.linalg.lstsq(design, self.power, rcond=None)[0]
        size = math.hypot(c, s)
        return np.array([middle + size, middle - size, math.degrees(math.atan2(s, c)) / 4])

    def refuse_short(self, zero_deg: float) -> None:
        """Refuse scans that do not come near to a maximum and a minimum."""
        different = np.unique(np.round(self.angle, 3)).size
        if different < LEAST_POINTS - 2:
            raise CalibrationRefused(
                f"{different} different angles are too few: at least {LEAST_POINTS - 2} are needed"
            )
        missing = []
        for name, at in (("maximum", zero_deg), ("minimum", zero_deg + 45.0)):
            gap = float(np.min(np.abs((self.angle - at + 45.0) % PERIOD_DEG - 45.0)))
            if gap > NEAR_DEG:
                missing.append(f"the {name} near {at % PERIOD_DEG:.0f} (+ k 90) degrees, missed by {gap:.0f}")
        if missing:
            raise CalibrationRefused(
                f"the scan from {noisefit.spread(self.angle)} degrees is too short: it lacks "
                + " and ".join(missing)
            )


def refuse_unmodulated(highest: float, lowest: float) -> None:
    """Refuse powers that hardly change with the angle."""
    if not highest > 0 or lowest > MOST_LEAKAGE * highest:
        raise CalibrationRefused(
            "the power hardly changes with angle: check that wave plate and polariser are in the beam"
        )


def curve(
    params: FloatArray, angle: FloatArray, side: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Malus' law with parameters (highest, lowest, zero, play): mean, derivatives, slope per degree.

    The play may be missing; see ``noisefit.Model``.
    """
    play = params[3] if params.size > 3 else 0.0
    turn = np.radians(2 * (angle - 0.5 * play * side - params[2]))
    part = np.cos(turn) ** 2
    slope = -(params[0] - params[1]) * np.sin(2 * turn) * math.radians(2)
    rows = [part, 1 - part, -slope]
    if params.size > 3:
        rows.append(-0.5 * side * slope)
    return params[1] + (params[0] - params[1]) * part, np.column_stack(rows), slope


def model_of(scan: Scan, extra: FloatArray | None = None) -> Model:
    """Return the law over a scan; the last parameters scale the columns of ``extra``, shape (n, m)."""
    extras = 0 if extra is None else extra.shape[1]

    def model(params: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        mean, jacobian, slope = curve(params[: params.size - extras], scan.angle, scan.side)
        if extra is None:
            return mean, jacobian, slope
        return mean + extra @ params[params.size - extras :], np.column_stack([jacobian, extra]), slope

    return model


MOST_SCATTER = 0.05
"""Residuals, rms over the highest power, beyond which nothing is believed."""
MOST_WOBBLE = 0.01
"""Amplitude at other frequencies, over the highest power, that may still be called Malus' law."""
_SURE = 3.9  # of an amplitude made of two numbers: one in two thousand by luck


@dataclass(frozen=True, slots=True)
class Branch:
    """A monotone stretch of the curve inside the angles allowed.

    :param sign: "+" when it lies above its maximum (transmission falls with rising angle).
    :param reach: lowest and highest relative transmission on it.
    """

    sign: Literal["+", "-"]
    zero_deg: float
    low_deg: float
    high_deg: float
    reach: tuple[float, float]


@dataclass(frozen=True, slots=True)
class MalusFit:
    """A fitted curve. Standard errors are such that 1.96 of them make the 95 % interval.

    :param zero_deg: angle of a maximum, 0 <= zero < 90. Where the scan came from both sides, that of the
        middle of the play.
    :param leakage: lowest over highest power, >= 0; ``leakage_ci95`` is cut at 0.
    :param max_power_w: at the meter at full transmission, mean over the scan.
    :param backlash_deg: play between approaches from below and from above; None when all came from one side.
    :param scatter_rel: rms residual over the highest power.
    :param wobble_rel: amplitude of what the plate adds at half and double the frequency, over the highest
        power, None when the scan cannot tell; ``wobble_sigma_rel`` its standard error.
    :param chi2: of the residuals against the declared errors; None where none were declared.
    """

    zero_deg: float
    zero_sigma_deg: float
    leakage: float
    leakage_sigma: float
    leakage_ci95: tuple[float, float]
    max_power_w: float
    max_power_sigma_w: float
    backlash_deg: float | None
    backlash_sigma_deg: float | None
    scatter_rel: float
    wobble_rel: float | None
    wobble_sigma_rel: float | None
    chi2: float | None
    freedom: int
    flags: tuple[str, ...]
    posterior: Posterior = field(repr=False, compare=False)

    def transmission(self, angle_deg: ArrayLike) -> FloatArray:
        """Return the transmission relative to the highest one, shape of ``angle_deg``."""
        return malus_transmission(np.asarray(angle_deg, dtype=np.float64) - self.zero_deg, self.leakage)

    def transmission_sigma(self, angle_deg: ArrayLike) -> FloatArray:
        """Return the statistical standard error of :meth:`transmission` as a curve, shape ``(m,)``."""
        angle = np.atleast_1d(np.asarray(angle_deg, dtype=np.float64)).ravel()
        top = self.posterior.params[0]
        mean, jacobian, _ = curve(self.posterior.params, angle, np.zeros_like(angle))
        gradient = jacobian / top
        gradient[:, 0] -= mean / top**2
        return self.posterior.sigma(gradient)

    def relative_error(self, angle_deg: ArrayLike, angle_sigma_deg: float) -> FloatArray:
        """Return the relative error of the transmission that an error of the angle makes."""
        from_peak = np.asarray(angle_deg, dtype=np.float64) - self.zero_deg
        return malus_error_rel(from_peak, self.leakage, angle_sigma_deg)

    def settings(self, sign: Literal["+", "-"] = "+") -> MalusCurve:
        """Return it as the settings of a pump."""
        return MalusCurve(self.zero_deg, self.leakage, 1.0, sign)

    def choose_branch(
        self,
        allowed_deg: tuple[float, float],
        *,
        least_transmission: float = 0.0,
        prefer_deg: float | None = None,
    ) -> Branch:
        """Choose the monotone stretch of 45 degrees that lies best inside the mount's range.

        :param allowed_deg: lowest and highest angle allowed.
        :param least_transmission: what must be reached at the dark end, if the range allows it.
        :param prefer_deg: among equals, the branch nearest to this angle (where the mount is); the one
            nearest to the middle of the range without it.
        :raises CalibrationRefused: no stretch of it is allowed.
        """
        low, high = (float(end) for end in allowed_deg)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise CalibrationRefused(
                f"no angles between {low:g} and {high:g} degrees: the mount's range is missing"
            )
        near = (low + high) / 2 if prefer_deg is None or not math.isfinite(prefer_deg) else prefer_deg
        first = math.floor((max(low, near - 720) - self.zero_deg) / 45.0)
        found = [self._stretch(k, low, high) for k in range(first - 1, first + 36)]
        usable = [branch for branch in found if branch is not None]
        if not usable:
            raise CalibrationRefused(f"no branch of the curve lies between {low:g} and {high:g} degrees")

        def merit(branch: Branch) -> tuple[bool, float, float]:
            dark_enough = branch.reach[0] <= max(least_transmission, self.leakage * 1.001 + 1e-6)
            middle = (branch.low_deg + branch.high_deg) / 2
            return dark_enough, round(branch.reach[1] - branch.reach[0], 6), -abs(middle - near)

        return max(usable, key=merit)

    def _stretch(self, k: int, low: float, high: float) -> Branch | None:
        """Cut the k-th stretch of 45 degrees, counted from the zero, to the angles allowed."""
        start = self.zero_deg + 45.0 * k
        bottom, top = max(start, low), min(start + 45.0, high)
        if not top > bottom:
            return None
        falling = k % 2 == 0
        ends = self.transmission([bottom, top])
        return Branch(
            "+" if falling else "-",
            start if falling else start + 45.0,
            bottom,
            top,
            (float(ends.min()), float(ends.max())),
        )


def fit_malus(
    angle_deg: ArrayLike,
    power_w: ArrayLike,
    power_sigma_w: ArrayLike | None = None,
    *,
    angle_sigma_deg: float | None = 0.0,
    direction: ArrayLike | None = None,
    time_s: ArrayLike | None = None,
    readings: int | None = None,
) -> MalusFit:
    """Fit Malus' law to a scan, in the order in which it was measured.

    :param angle_deg: where the mount says it is, shape ``(n,)``, n >= 8; ``power_w`` the zeroed power there.
    :param power_sigma_w: standard errors of the readings, shape ``(n,)``; None: from the residuals. What the
        laser does between readings is always found from them.
    :param angle_sigma_deg: repeatability of the mount, standard error; None: found from the residuals.
    :param direction: +1 where the angle was approached from below, -1 from above, shape ``(n,)``; with two or
        more of each the play between them is fitted too. None: all from one side.
    :param time_s: when each point was measured; None: equally spaced.
    :param readings: how many readings each standard error was found from; a handful says little of its own
        error, so then they are steadied by each other. None: they are exact.
    :raises CalibrationRefused: the scan cannot make a calibration; says what is missing.
    """
    scan = Scan.of(angle_deg, power_w, power_sigma_w, direction, time_s)
    scan.refuse_clipped()
    if angle_sigma_deg is not None and not 0 <= angle_sigma_deg <= 1:
        raise CalibrationRefused(
            f"a repeatability of {angle_sigma_deg} degrees is not plausible for a mount: 0 to 1"
        )
    sigma = scan.sigma
    if sigma is not None and readings is not None:
        sigma = pooled_sigma(scan.power, sigma, max(int(readings), 2), prior_weight=18.0)
    top = float(np.max(np.abs(scan.power)))
    noise = Noise(
        None if sigma is None else sigma / top, angle_sigma_deg, 0.03, 0.003, 0.005, 0.0005, scan.time
    )
    start = scan.start()
    refuse_unmodulated(float(start[0]), float(start[1]))
    scan.refuse_short(float(start[2]))
    posterior = fit(
        model_of(scan),
        _scaled(start, top, scan.both_ways),
        scan.power / top,
        noise,
        what="Malus' law",
        wary=True,
    )
    return _result(scan, posterior, top, noise)


def _scaled(start: FloatArray, top: float, both_ways: bool) -> FloatArray:
    return np.array([start[0] / top, start[1] / top, start[2], *([0.0] if both_ways else [])])


def _result(scan: Scan, posterior: Posterior, top: float, noise: Noise) -> MalusFit:
    highest, lowest, zero = posterior.params[:3]
    scatter = float(np.sqrt(np.mean(posterior.residuals**2))) / highest
    wobble, wobble_sigma = _wobble(scan, posterior, top, noise)
    _refuse_misfit(scatter, wobble, wobble_sigma)
    leakage, leakage_sigma, ci = _leakage(posterior, float(lowest), float(highest))
    size = posterior.params.size
    sigmas = posterior.sigma(np.eye(size))
    flags = []
    if leakage > 0.2:
        flags.append("leaky")
    if wobble is not None and wobble_sigma is not None and wobble > _SURE * wobble_sigma:
        flags.append("wobble")
    return MalusFit(
        zero_deg=float(zero) % PERIOD_DEG,
        zero_sigma_deg=float(sigmas[2]),
        leakage=leakage,
        leakage_sigma=leakage_sigma,
        leakage_ci95=ci,
        max_power_w=float(highest) * top,
        max_power_sigma_w=float(sigmas[0]) * top,
        backlash_deg=float(posterior.params[3]) if size > 3 else None,
        backlash_sigma_deg=float(sigmas[3]) if size > 3 else None,
        scatter_rel=scatter,
        wobble_rel=wobble,
        wobble_sigma_rel=wobble_sigma,
        chi2=posterior.chi2,
        freedom=posterior.freedom,
        flags=tuple(flags),
        posterior=posterior,
    )


def _leakage(posterior: Posterior, lowest: float, highest: float) -> tuple[float, float, tuple[float, float]]:
    """Leakage held to >= 0, its standard error, and an interval that knows of the edge.

    Below zero the upper end is that of the distribution cut at zero, so that a downward fluctuation does not
    make a small number out of a large uncertainty.
    """
    gradient = np.zeros(posterior.params.size)
    gradient[:2] = -lowest / highest**2, 1 / highest
    sigma = float(posterior.sigma(gradient)[0])
    value = lowest / highest
    cut = float(scipy.special.ndtri(1 - 0.05 * scipy.special.ndtr(value / sigma))) * sigma + value
    return max(value, 0.0), sigma, (max(value - NORMAL_95 * sigma, 0.0), max(value + NORMAL_95 * sigma, cut))


def _wobble(scan: Scan, posterior: Posterior, top: float, noise: Noise) -> tuple[float | None, float | None]:
    """Amplitude of cos and sin of half and double the curve's frequency, fitted beside it.

    A wedge of the plate, a retardance off a half wave or a beam that walks over the sensor make these.
    """
    turn = np.radians(2 * (scan.angle - posterior.params[2]))
    columns = [np.cos(turn), np.sin(turn), np.cos(4 * turn), np.sin(4 * turn)]
    if np.ptp(scan.angle) < 80.0:
        columns = columns[2:]  # over less than a period the slow ones look like the curve itself
    extra = np.column_stack(columns)
    if scan.angle.size < posterior.params.size + extra.shape[1] + 3:
        return None, None
    start = np.concatenate([posterior.params, np.zeros(extra.shape[1])])
    try:
        wider = fit(model_of(scan, extra), start, scan.power / top, noise, what="a wobble", wary=True)
    except CalibrationRefused:
        return None, None
    found = wider.params[-extra.shape[1] :].reshape(-1, 2)
    sigma = wider.sigma(np.eye(start.size)[-extra.shape[1] :]).reshape(-1, 2).max(axis=1)
    size = np.hypot(found[:, 0], found[:, 1])
    worst = int(np.argmax(size / sigma))
    return float(size[worst]) / float(wider.params[0]), float(sigma[worst]) / float(wider.params[0])


def _refuse_misfit(scatter: float, wobble: float | None, wobble_sigma: float | None) -> None:
    if scatter > MOST_SCATTER:
        raise CalibrationRefused(
            f"the powers scatter by {scatter:.1%} of the highest about Malus' law: laser, meter or mount are "
            "not steady, or the angle is not the plate's"
        )
    if wobble is None or wobble_sigma is None:
        return
    if wobble > MOST_WOBBLE and wobble > _SURE * wobble_sigma:
        raise CalibrationRefused(
            f"the powers deviate by {wobble:.1%} of the highest about Malus' law at another frequency: the "
            "plate is not a half-wave plate at this wavelength, or the beam walks over the sensor; measure a "
            "table instead"
        )


LEAST_EACH = 4
_LIKE_DRIFT = 0.7  # correlation of the sides with the order of time
MOST_DEG = 0.5
"""A mount with more play or scatter than this is broken, or it was another angle."""


@dataclass(frozen=True, slots=True)
class PlateFit:
    """Play and repeatability. ``backlash_sigma_deg`` is such that 1.96 of it make the 95 % interval.

    :param repeatability_deg: standard deviation of an arrival, meter and laser taken out, >= 0, with its
        95 % interval.
    :param drift_rel: change of the power over the series, relative.
    """

    backlash_deg: float
    backlash_sigma_deg: float
    repeatability_deg: float
    repeatability_sigma_deg: float
    repeatability_ci95_deg: tuple[float, float]
    drift_rel: float
    points: int


def slope_w_per_deg(curve: MalusFit, angle_deg: float) -> float:
    """Return how the power changes with the angle, W per degree."""
    turn = math.radians(4 * (angle_deg - curve.zero_deg))
    return -curve.max_power_w * (1 - curve.leakage) * math.sin(turn) * math.radians(2)


def fit_plate(
    power_w: ArrayLike,
    direction: ArrayLike,
    power_sigma_w: ArrayLike | None = None,
    *,
    slope_w_per_deg: float,
    laser_rel: float = 0.0,
) -> PlateFit:
    """Find play and repeatability from approaches to one angle, in the order in which they were made.

    A straight drift of the laser is fitted beside them, so the directions should alternate.

    :param power_w: after each approach, shape ``(n,)``, at least 4 from each side.
    :param direction: +1 where approached from below, -1 from above.
    :param power_sigma_w: standard errors of the readings; what they explain is no error of the mount.
    :param slope_w_per_deg: of the power at that angle.
    :param laser_rel: relative scatter of the laser from reading to reading, with the plate at rest.
    :raises CalibrationRefused: too few approaches, or the power hardly changes with the angle.
    """
    found = noisefit.columns(
        2 * LEAST_EACH, ("power_w", power_w), ("direction", direction), ("power_sigma_w", power_sigma_w)
    )
    power, side = noisefit.column(found[0]), np.sign(noisefit.column(found[1]))
    sigma = noisefit.errors("power_sigma_w", found[2])
    _check(power, side, slope_w_per_deg, laser_rel)
    order = np.linspace(-0.5, 0.5, power.size)
    design = np.column_stack([np.ones_like(power), side, order])
    if abs(np.corrcoef(side, order)[0, 1]) > _LIKE_DRIFT:
        raise CalibrationRefused("the approach sides do not alternate, so laser drift looks like backlash")
    params = np.linalg.lstsq(design, power, rcond=None)[0]
    freedom = power.size - 3
    variance = float(np.sum((power - design @ params) ** 2)) / freedom
    error = math.sqrt(variance * float(np.linalg.inv(design.T @ design)[1, 1]))
    scale = abs(slope_w_per_deg)
    own = 0.0 if sigma is None else float(np.mean(sigma**2))
    own += (laser_rel * float(np.mean(power))) ** 2
    value, spread, ends = _without(variance / scale**2, own / scale**2, freedom)
    result = PlateFit(
        backlash_deg=-2 * float(params[1]) / slope_w_per_deg,
        backlash_sigma_deg=2 * error / scale * float(scipy.stats.t.ppf(0.975, freedom)) / NORMAL_95,
        repeatability_deg=value,
        repeatability_sigma_deg=spread,
        repeatability_ci95_deg=ends,
        drift_rel=float(params[2]) / float(params[0]),
        points=power.size,
    )
    if max(abs(result.backlash_deg), result.repeatability_deg) > MOST_DEG:
        raise CalibrationRefused(
            f"backlash {result.backlash_deg:.2f} and scatter {result.repeatability_deg:.2f} degrees are not "
            f"plausible for a mount: it loses steps, the laser is unstable, or the angle is wrong"
        )
    return result


def _check(power: FloatArray, side: FloatArray, slope: float, laser_rel: float) -> None:
    below, above = int(np.count_nonzero(side > 0)), int(np.count_nonzero(side < 0))
    if min(below, above) < LEAST_EACH or below + above < side.size:
        raise CalibrationRefused(
            f"{below} approaches from below and {above} from above: at least {LEAST_EACH} of each are needed"
        )
    if not np.mean(power) > 0:
        raise CalibrationRefused("no power: the beam does not reach the meter")
    if not (math.isfinite(slope) and abs(slope) * MOST_DEG > 0.002 * float(np.mean(power))):
        raise CalibrationRefused("the power hardly changes with angle there: use the steepest angle")
    if not 0 <= laser_rel < 1:
        raise CalibrationRefused(f"a laser scatter of {laser_rel} is not valid")


def _without(total: float, own: float, freedom: int) -> tuple[float, float, tuple[float, float]]:
    """Root of a variance with a known part taken out, its standard error, and its 95 % interval."""
    ends = [freedom * total / float(scipy.stats.chi2.ppf(q, freedom)) for q in (0.975, 0.025)]
    low, high = (math.sqrt(max(end - own, 0.0)) for end in ends)
    value = math.sqrt(max(total - own, 0.0))
    return value, (high - low) / (2 * NORMAL_95), (low, high)
