"""The pump spot: its radius from the power a blade lets pass, and the share of it that a sample absorbs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike

from labctl.analysis.calibration import noisefit
from labctl.analysis.calibration.noisefit import Model, Noise, Posterior, fit
from labctl.analysis.statistics import pooled_sigma
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

Kind = Literal["transmittance", "optical_density"]
LEAST_SPECTRUM_POINTS = 3
OPAQUE_OD = 3.0
"""Above this a spectrometer's stray light is read rather than the sample."""
_SIGMAS = 3.0  # of the pump's spectrum that must be covered, to both sides


@dataclass(frozen=True, slots=True)
class Absorptance:
    """Absorbed share, 0 to 1, with its statistical standard error and that of reflectance and baseline."""

    value: float
    sigma: float
    scale: float
    flags: tuple[str, ...] = ()


def absorptance(
    wavelength_nm: ArrayLike,
    values: ArrayLike,
    *,
    kind: Kind,
    pump_nm: float,
    pump_fwhm_nm: float,
    photon_order: int,
    values_sigma: float = 0.0,
    baseline_sigma: float = 0.0,
    reflectance: float = 0.0,
    reflectance_sigma: float = 0.0,
) -> Absorptance:
    """Average the absorptance over a Gaussian pump spectrum.

    :param values: transmittance (0 to 1) or optical density (base 10), shape ``(n,)`` as ``wavelength_nm``.
    :param values_sigma: standard error of each value; ``baseline_sigma`` that common to all.
    :param reflectance: of the sample at the pump, where ``kind`` is "transmittance".
    :raises CalibrationRefused: two-photon pumping; a spectrum that does not cover the pump, or is not one.
    """
    if photon_order != 1:
        raise CalibrationRefused(
            f"{photon_order}-photon pumping: a linear absorption spectrum does not give the absorbed fraction"
        )
    numbers = (pump_nm, pump_fwhm_nm, values_sigma, baseline_sigma, reflectance, reflectance_sigma)
    if not all(math.isfinite(x) and x >= 0 for x in numbers) or not pump_nm > 0 or reflectance >= 1:
        raise CalibrationRefused(
            "wavelengths, reflectance (below 1) and errors must be numbers, not negative"
        )
    found = noisefit.columns(LEAST_SPECTRUM_POINTS, ("wavelength_nm", wavelength_nm), ("values", values))
    x, y = noisefit.column(found[0]), noisefit.column(found[1])
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    weight = _pump(x, pump_nm, pump_fwhm_nm)
    _check_values(y[weight > 0], kind)
    if kind == "transmittance":
        passed, slope = y, np.ones_like(y)
    elif kind == "optical_density":
        passed = 10.0 ** -np.clip(y, -1.0, 20.0)
        slope = passed * math.log(10)
    else:
        raise CalibrationRefused(f"unknown kind {kind!r}; transmittance or optical_density")
    value = 1 - float(weight @ passed) - (reflectance if kind == "transmittance" else 0.0)
    sigma = float(np.sqrt(np.sum((weight * slope * values_sigma) ** 2)))
    common = float(weight @ slope) * baseline_sigma
    scale = math.hypot(common, reflectance_sigma if kind == "transmittance" else 0.0)
    if not -3 * math.hypot(sigma, scale) - 0.02 <= value:
        raise CalibrationRefused(
            f"an absorptance of {value:.3f}: baseline, reference or reflectance is wrong"
        )
    opaque = float(weight @ passed) < 10**-OPAQUE_OD
    return Absorptance(min(max(value, 0.0), 1.0), sigma, scale, ("opaque",) if opaque else ())


def _check_values(y: FloatArray, kind: str) -> None:
    if kind == "transmittance" and np.max(y) > 1.2:
        raise CalibrationRefused(
            f"a transmittance up to {np.max(y):g}: given in per cent, or the reference is wrong; "
            "0 to 1 is expected"
        )
    if np.min(y) < -0.1:
        raise CalibrationRefused(f"values down to {np.min(y):g}: the dark or the reference is wrong")


def _pump(x: FloatArray, pump_nm: float, fwhm_nm: float) -> FloatArray:
    """Weight of each point of the spectrum, sum 1, shape ``(n,)``; trapezia over a fine grid in between."""
    sigma = fwhm_nm / (2 * math.sqrt(2 * math.log(2)))
    low, high = pump_nm - _SIGMAS * sigma, pump_nm + _SIGMAS * sigma
    if x[0] > low or x[-1] < high:
        raise CalibrationRefused(
            f"the spectrum from {noisefit.spread(x)} nm does not cover the pump's {low:.1f} to {high:.1f} nm"
        )
    inside = x[(x >= low) & (x <= high)]
    gap = float(np.max(np.diff(np.concatenate([[low], inside, [high]]))))
    if gap > max(fwhm_nm, 5.0):
        raise CalibrationRefused(
            f"the spectrum has a gap of {gap:.1f} nm at the pump: finer steps are needed"
        )
    grid = pump_nm + sigma * np.linspace(-_SIGMAS, _SIGMAS, 201)
    pump = np.exp(-0.5 * np.linspace(-_SIGMAS, _SIGMAS, 201) ** 2)
    keep = np.concatenate([[True], np.diff(x) > 0])
    place = np.flatnonzero(keep)
    shares = np.stack([np.interp(grid, x[place], row) for row in np.eye(place.size)], axis=1)
    weight = np.zeros_like(x)
    weight[place] = (pump / pump.sum()) @ shares
    return weight


LEAST_POINTS = 8
_SQRT2 = math.sqrt(2.0)


@dataclass(frozen=True, slots=True)
class Guess:
    """A first look: what the fit begins with, and the units it is made in."""

    centre: float
    w: float
    offset: float
    power: float
    sign: float


def guess_edge(x: FloatArray, y: FloatArray) -> Guess:
    """Find the edge in a scan sorted by position.

    :raises CalibrationRefused: there is no single edge between two plateaus.
    """
    order = np.argsort(x, kind="stable")
    xs, ys = x[order], y[order]
    if not np.ptp(xs) > 0 or np.unique(xs).size < LEAST_POINTS - 1:
        raise CalibrationRefused(
            f"{np.unique(xs).size} different positions are too few: at least {LEAST_POINTS}"
        )
    low, high = float(np.min(ys)), float(np.max(ys))
    if not high > 0 or not high - low > 0.2 * high:
        raise CalibrationRefused(
            "the power hardly changes along the scan: the edge is outside it or not in the beam"
        )
    sign = 1.0 if np.mean(ys[-2:]) > np.mean(ys[:2]) else -1.0
    part = (ys - low) / (high - low)
    part = part if sign > 0 else 1 - part
    refuse_two_sided(part)
    rising = np.maximum.accumulate((part + np.minimum.accumulate(part[::-1])[::-1]) / 2)
    quarter, half, upper = (float(np.interp(q, rising, xs)) for q in (0.1587, 0.5, 0.8413))
    w = max(upper - quarter, 0.25 * float(np.min(np.diff(np.unique(xs)))))
    return Guess(half, w, low, high - low, sign)


def refuse_two_sided(part: FloatArray) -> None:
    """A blade's two edges, or a slit, go up AND down by much of the power."""
    climbed, fell = np.max(part - np.minimum.accumulate(part)), np.max(np.maximum.accumulate(part) - part)
    if fell > 0.25 and climbed > 0.25:
        raise CalibrationRefused(
            f"the power falls by {fell:.0%} after rising: two edges, a slit, or an unstable laser; scan one "
            f"edge in one direction"
        )


def model_of(x: FloatArray, guess: Guess, extra: bool = False) -> Model:
    """Error function with parameters (x0 in w, ln w, offset, power), all relative to the guess.

    With ``extra`` two more: the third and fourth derivative of a Gaussian's edge, as of a skewed or a
    flat-topped profile.
    """

    def model(params: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        w = guess.w * math.exp(float(np.clip(params[1], -6, 6)))
        u = 2 * (x - guess.centre - guess.w * params[0]) / w  # in standard deviations of the intensity
        edge = 0.5 * (1 + guess.sign * scipy.special.erf(u / _SQRT2))
        density = guess.sign * params[3] * np.exp(-0.5 * np.minimum(u * u, 200.0)) / math.sqrt(2 * math.pi)
        slope = density * 2 / w
        columns = [-slope * guess.w, -density * u, np.ones_like(x), edge]
        mean = params[2] + params[3] * edge
        if extra:
            columns += [density * (u**2 - 1), density * (u**3 - 3 * u)]
            mean = mean + columns[4] * params[4] + columns[5] * params[5]
        return mean, np.column_stack(columns), slope

    return model


LEAST_ON_SLOPE = 4
"""Points between 5 and 95 % of the power: fewer do not tell a radius from a step."""
PLATEAU = 0.02
"""The scan must reach within this part of the power of both ends, 1.03 radii from the centre."""
MOST_SCATTER = 0.08
MISFIT = 0.01
"""Departure from the error function, over the power, beyond which the profile is flagged as not Gaussian."""
_SURE = 3.3  # one in a thousand by luck


@dataclass(frozen=True, slots=True)
class KnifeFit:
    """A fitted scan. Standard errors are such that 1.96 of them make the 95 % interval.

    :param w_um: 1/e2 radius; ``w_sigma_um`` its statistical error, ``w_scale_um`` that of the length scale.
    :param power_w: power of the whole beam over what the covered sensor shows, ``offset_w``.
    :param rising: the power rises with the position.
    :param misfit_rel: largest amplitude, over the power, of a skewed or flat-topped part of the profile;
        ``misfit_sigma_rel`` its standard error; None when the scan cannot tell.
    :param flags: "not_gaussian" where the profile departs from a Gaussian beyond chance and 1 %.
    """

    w_um: float
    w_sigma_um: float
    w_scale_um: float
    centre_um: float
    centre_sigma_um: float
    power_w: float
    power_sigma_w: float
    offset_w: float
    rising: bool
    points: int
    points_on_slope: int
    scatter_rel: float
    misfit_rel: float | None
    misfit_sigma_rel: float | None
    chi2: float | None
    freedom: int
    flags: tuple[str, ...]
    posterior: Posterior = field(repr=False, compare=False)

    def power_at(self, position_um: ArrayLike) -> FloatArray:
        """Return the fitted curve, W, shape of ``position_um``."""
        z = _SQRT2 * (np.asarray(position_um, dtype=np.float64) - self.centre_um) / self.w_um
        return np.asarray(
            self.offset_w + 0.5 * self.power_w * (1 + (1 if self.rising else -1) * scipy.special.erf(z))
        )


@dataclass(frozen=True, slots=True)
class Ellipticity:
    """Smaller over larger radius, 0 to 1, and its standard error; ``round`` when 1 is within two of them.

    Errors of a length scale common to both axes divide out.
    """

    value: float
    sigma: float
    round: bool


def ellipticity(x: KnifeFit, y: KnifeFit) -> Ellipticity:
    """Compare the radii of two scans."""
    small, large = sorted((x, y), key=lambda scan: scan.w_um)
    value = small.w_um / large.w_um
    sigma = value * math.hypot(small.w_sigma_um / small.w_um, large.w_sigma_um / large.w_um)
    return Ellipticity(value, sigma, 1 - value < 2 * sigma)


def fit_knife_edge(
    position_um: ArrayLike,
    power_w: ArrayLike,
    power_sigma_w: ArrayLike | None = None,
    *,
    position_sigma_um: float | None = 0.0,
    position_scale_rel: float = 0.0,
    time_s: ArrayLike | None = None,
    readings: int | None = None,
) -> KnifeFit:
    """Fit a knife-edge scan, in the order in which it was measured.

    :param position_um: of the blade, shape ``(n,)``, n >= 8; ``power_w`` the zeroed power there.
    :param power_sigma_w: standard errors of the readings, shape ``(n,)``; None: from the residuals. What the
        laser does between readings is always found from them.
    :param position_sigma_um: standard error of setting or reading a position; None: from the residuals.
    :param position_scale_rel: relative standard error of the screw's or stage's length scale.
    :param time_s: when each point was measured; None: equally spaced.
    :param readings: how many readings each standard error was found from; None: they are exact.
    :raises CalibrationRefused: the scan cannot give a radius; says what is missing.
    """
    found = noisefit.columns(
        LEAST_POINTS, ("position_um", position_um), ("power_w", power_w), ("power_sigma_w", power_sigma_w),
        ("time_s", time_s),
    )  # fmt: skip
    x, y = noisefit.column(found[0]), noisefit.column(found[1])
    sigma = noisefit.errors("power_sigma_w", found[2])
    blur_um = _check_errors(position_sigma_um, position_scale_rel)
    if sigma is not None and readings is not None:
        sigma = pooled_sigma(y, sigma, max(int(readings), 2), prior_weight=18.0)
    guess = guess_edge(x, y)
    top = guess.power
    noise = Noise(
        None if sigma is None else sigma / top,
        blur_um,
        0.02 * guess.w,
        0.003,
        0.005,
        0.001,
        found[3],
    )
    start = np.array([0.0, 0.0, guess.offset / top, 1.0])
    posterior = fit(model_of(x, guess), start, y / top, noise, what="a knife edge", wary=True)
    return _result(x, posterior, guess, noise, y / top, position_scale_rel)


def _check_errors(position_sigma_um: float | None, position_scale_rel: float) -> float | None:
    """Return the positions' standard error."""
    if position_sigma_um is not None and not 0 <= position_sigma_um <= 1e6:
        raise CalibrationRefused(f"a position error of {position_sigma_um} um is not valid")
    if not 0 <= position_scale_rel <= 0.5:
        raise CalibrationRefused(f"a length scale known to {position_scale_rel:.0%} measures nothing")
    return None if position_sigma_um is None else float(position_sigma_um)


def _result(
    x: FloatArray, posterior: Posterior, guess: Guess, noise: Noise, y: FloatArray, scale_rel: float
) -> KnifeFit:
    params = posterior.params
    seen, centre = guess.w * math.exp(float(params[1])), guess.centre + guess.w * float(params[0])
    w = _without_blur(seen, noise)
    scatter = float(np.sqrt(np.mean(posterior.residuals**2))) / max(abs(float(params[3])), 1e-9)
    _refuse_incomplete(x, centre, w, guess.sign, scatter, float(params[3]))
    misfit, misfit_sigma = _misfit(x, posterior, guess, noise, y)
    sigmas = posterior.sigma(np.eye(4))
    odd = misfit is not None and misfit_sigma is not None and misfit > max(MISFIT, _SURE * misfit_sigma)
    return KnifeFit(
        w_um=w,
        w_sigma_um=seen**2 / w * float(sigmas[1]),
        w_scale_um=w * scale_rel,
        centre_um=centre,
        centre_sigma_um=guess.w * float(sigmas[0]),
        power_w=float(params[3]) * guess.power,
        power_sigma_w=float(sigmas[3]) * guess.power,
        offset_w=float(params[2]) * guess.power,
        rising=guess.sign > 0,
        points=x.size,
        points_on_slope=_on_slope(x, centre, w),
        scatter_rel=scatter,
        misfit_rel=misfit,
        misfit_sigma_rel=misfit_sigma,
        chi2=posterior.chi2,
        freedom=posterior.freedom,
        flags=("not_gaussian",) if odd else (),
        posterior=posterior,
    )


def _without_blur(w_um: float, noise: Noise) -> float:
    """Take out what errors of the positions add: an edge seen through their spread s has w^2 + (2 s)^2."""
    blur = 2 * noise.x_sigma if isinstance(noise.x_sigma, float) else 0.0
    if blur > 0.7 * w_um:
        raise CalibrationRefused(
            f"positions known to {blur / 2:g} um cannot measure a radius of about {w_um:.3g} um"
        )
    return math.sqrt(w_um**2 - blur**2)


def _on_slope(x: FloatArray, centre: float, w: float) -> int:
    return int(np.count_nonzero(np.abs(x - centre) < 0.5 * w * float(scipy.special.ndtri(0.95))))


def _refuse_incomplete(
    x: FloatArray, centre: float, w: float, sign: float, scatter: float, power: float
) -> None:
    if not power > 0:
        raise CalibrationRefused("no edge is found: the power does not go from one level to another")
    reach = -0.5 * float(scipy.special.ndtri(PLATEAU)) * w
    lacking = []
    if float(np.min(x)) > centre - reach:
        lacking.append(f"the {'covered' if sign > 0 else 'free'} beam below {centre - reach:.4g} um")
    if float(np.max(x)) < centre + reach:
        lacking.append(f"the {'free' if sign > 0 else 'covered'} beam above {centre + reach:.4g} um")
    if lacking:
        raise CalibrationRefused(
            f"the scan from {noisefit.spread(x)} um misses part of the edge: it lacks {' and '.join(lacking)}"
        )
    if _on_slope(x, centre, w) < LEAST_ON_SLOPE:
        raise CalibrationRefused(
            f"only {_on_slope(x, centre, w)} points lie on the slope around {centre:.4g} um: "
            f"{LEAST_ON_SLOPE} are needed between {centre - 0.8 * w:.4g} and {centre + 0.8 * w:.4g} um"
        )
    if scatter > MOST_SCATTER:
        raise CalibrationRefused(
            f"the powers scatter by {scatter:.1%} of the beam about a single edge: two edges, a beam far "
            f"from Gaussian, or an unstable laser"
        )


def _misfit(
    x: FloatArray, posterior: Posterior, guess: Guess, noise: Noise, y: FloatArray
) -> tuple[float | None, float | None]:
    """Amplitude of what a skewed or flat-topped profile adds, over the power, and its standard error."""
    if x.size < 10 or _on_slope(x, guess.centre, guess.w) < 5:
        return None, None
    start = np.concatenate([posterior.params, [0.0, 0.0]])
    try:
        wider = fit(model_of(x, guess, extra=True), start, y, noise, what="another profile", wary=True)
    except CalibrationRefused:
        return None, None
    size = np.array([0.4, 0.55])  # largest value of each added term for an amplitude of 1
    found, sigma = wider.params[4:] * size, wider.sigma(np.eye(6)[4:]) * size
    worst = int(np.argmax(np.abs(found) / sigma))
    return float(abs(found[worst])), float(sigma[worst])
