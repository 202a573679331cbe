"""Lines in a spectrum: profiles of unit area, one line alone, and several that overlap, fitted."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LineShape = Literal["gaussian", "lorentzian", "voigt"]

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

# Olivero and Longbothum, J. Quant. Spectrosc. Radiat. Transfer 17, 233 (1977): within 0.02 %.
_OLIVERO_A, _OLIVERO_B = 0.5346, 0.2166


def gaussian(offset_nm: Floats, fwhm_nm: float) -> tuple[Floats, Floats, Floats]:
    """Gaussian of unit area, and its derivatives by the centre and by the FWHM; per nm, shape of
    ``offset_nm``."""
    sigma = fwhm_nm / FWHM_PER_SIGMA
    z: Floats = np.clip(
        offset_nm / sigma, -30.0, 30.0
    )  # beyond, the profile is zero and its square overflows
    value: Floats = np.exp(-0.5 * z * z) / (sigma * math.sqrt(2.0 * math.pi))
    return value, value * z / sigma, value * (z * z - 1.0) / fwhm_nm


def voigt(offset_nm: Floats, lorentz_fwhm_nm: float, gauss_fwhm_nm: float) -> tuple[Floats, Floats, Floats]:
    """Voigt profile of unit area, and its derivatives by the centre and by the LORENTZIAN FWHM.

    Both widths must be positive. From the Faddeeva function w, with w' = -2 z w + 2i/sqrt(pi).
    """
    scale = gauss_fwhm_nm / FWHM_PER_SIGMA * math.sqrt(2.0)
    norm = 1.0 / (scale * math.sqrt(math.pi))
    z = (offset_nm + 0.5j * lorentz_fwhm_nm) / scale
    w = np.asarray(scipy.special.wofz(z), dtype=np.complex128)
    slope = 2j / math.sqrt(math.pi) - 2.0 * z * w
    return w.real * norm, -slope.real * norm / scale, -0.5 * slope.imag * norm / scale


def voigt_fwhm(lorentz_fwhm_nm: float, gauss_fwhm_nm: float) -> float:
    """FWHM of a Voigt profile, nm (Olivero and Longbothum 1977)."""
    return _OLIVERO_A * lorentz_fwhm_nm + math.sqrt(_OLIVERO_B * lorentz_fwhm_nm**2 + gauss_fwhm_nm**2)


def deconvolve_width(
    measured_fwhm_nm: float, sigma: float, resolution_fwhm_nm: float, shape: LineShape
) -> tuple[float, float]:
    """Take the instrument's resolution out of a measured width.

    "gaussian": quadrature. "lorentzian" or "voigt": the line is a Lorentzian and the slit a Gaussian, so the
    measured profile is a Voigt profile; the formula of Olivero and Longbothum is solved for the Lorentzian
    part.

    :param measured_fwhm_nm: FWHM as seen, > 0; ``sigma`` its standard error; the resolution is taken as
        exact.
    :param resolution_fwhm_nm: FWHM of the slit function, >= 0.
    :returns: true FWHM and its standard error, nm; (0, sigma) when the resolution is not below the measured
        width, where nothing but "narrower than the resolution" can be said.
    :raises ValueError: a width that is not positive, a negative resolution or an unknown shape.

    >>> [round(x, 6) for x in deconvolve_width(0.5, 0.01, 0.3, "gaussian")]
    [0.4, 0.0125]
    """
    if not measured_fwhm_nm > 0 or not resolution_fwhm_nm >= 0:
        raise ValueError(
            f"measured {measured_fwhm_nm} nm must be positive, resolution {resolution_fwhm_nm} nm not < 0"
        )
    if shape not in ("gaussian", "lorentzian", "voigt"):
        raise ValueError(f"unknown line shape {shape!r}; gaussian, lorentzian or voigt")
    v, g = measured_fwhm_nm, resolution_fwhm_nm
    if g >= v:
        return 0.0, sigma
    if shape == "gaussian":
        true = math.sqrt(v * v - g * g)
        return true, sigma * v / true
    # (v - a f)^2 = b f^2 + g^2, the smaller root of (a^2 - b) f^2 - 2 a v f + v^2 - g^2 = 0.
    c = _OLIVERO_A**2 - _OLIVERO_B
    root = math.sqrt((_OLIVERO_A * v) ** 2 - c * (v * v - g * g))
    true = (v * v - g * g) / (_OLIVERO_A * v + root)
    slope = (v - _OLIVERO_A * true) / (_OLIVERO_A * (v - _OLIVERO_A * true) + _OLIVERO_B * true)
    return true, sigma * slope


@dataclass(frozen=True, slots=True)
class LineFit:
    """Fit of one peak on a straight background.

    :param shape: gaussian, lorentzian or voigt.
    :param centre_nm: wavelength of the centre, nm.
    :param centre_sigma_nm: its standard error, nm.
    :param fwhm_nm: width as measured, resolution included, nm.
    :param fwhm_sigma_nm: its standard error, nm.
    :param area_counts_nm: area above the background, counts x nm.
    :param reduced_chi2: scatter about the fit over the noise; 1 where the noise was taken from the fit.
    """

    shape: LineShape
    centre_nm: float
    centre_sigma_nm: float
    fwhm_nm: float
    fwhm_sigma_nm: float
    area_counts_nm: float
    reduced_chi2: float


def fit_line(
    wavelength_nm: Floats,
    counts: Floats,
    shape: LineShape = "gaussian",
    *,
    noise: Floats | float | None = None,
) -> LineFit | None:
    """Fit one peak that stands alone in the given pixels; None when the fit fails.

    :param wavelength_nm: nm, shape ``(pixel,)``, cut to the peak and some background on both sides, at least
        8 pixels.
    :param counts: dark-subtracted counts, shape ``(pixel,)``.
    :param shape: gaussian, lorentzian or voigt.
    :param noise: one sigma of a pixel, counts. By default the scatter about the fit, with a constant part and
        one that grows with the counts, as shot noise does.
    :raises ValueError: an unknown shape or fewer than 8 pixels.
    """
    if counts.size < 8:
        raise ValueError(f"{counts.size} pixels are too few to fit a line, need 8")
    if shape not in _PROFILES:
        raise ValueError(f"unknown line shape {shape!r}; gaussian, lorentzian or voigt")
    # Never near zero: a solver that steps by a part of the value would not move a centre that starts there.
    origin = 2.0 * float(wavelength_nm[0]) - float(wavelength_nm[-1])
    x, start = wavelength_nm - origin, _start(wavelength_nm - origin, counts, shape)
    sigma = None if noise is None else np.broadcast_to(noise, counts.shape)
    try:
        found = _fit(x, counts, shape, start, sigma, absolute=noise is not None)
        for _ in range(0 if noise is not None else 2):
            scatter = _scatter(_curve(shape)(x, *found[0]), counts)
            found = _fit(x, counts, shape, found[0], scatter, absolute=False)
    except RuntimeError:  # no end within the solver's evaluations
        return None
    return _line_fit(*found, shape, origin)


def _lorentzian(offset_nm: Floats, fwhm_nm: float) -> Floats:
    return np.asarray(0.5 * fwhm_nm / math.pi / (offset_nm**2 + 0.25 * fwhm_nm**2), dtype=np.float64)


_PROFILES: Mapping[LineShape, Callable[..., Floats]] = {
    "gaussian": lambda offset, width: gaussian(offset, width)[0],
    "lorentzian": _lorentzian,
    "voigt": lambda offset, lorentz, gauss: voigt(offset, lorentz, gauss)[0],
}
"""Of unit area, by the distance from the centre and by one width, or Lorentzian and Gaussian width."""


def _curve(shape: LineShape) -> Callable[..., Floats]:
    def curve(x: Floats, area: float, centre: float, slope: float, level: float, *widths: float) -> Floats:
        sizes = (max(abs(width), 1e-9) for width in widths)
        return np.asarray(area * _PROFILES[shape](x - centre, *sizes) + slope * x + level, dtype=np.float64)

    return curve


def _start(x: Floats, counts: Floats, shape: LineShape) -> Floats:
    """Area, centre, slope and level of what lies under the line, and its width or widths."""
    light = counts - counts.min()
    width = float(np.count_nonzero(light > 0.5 * light.max()) * (x[-1] - x[0]) / (x.size - 1))
    widths = [0.6 * width, 0.6 * width] if shape == "voigt" else [width]
    return np.array([float(light.max()) * width, x[light.argmax()], 0.0, float(counts.min()), *widths])


def _fit(
    x: Floats, counts: Floats, shape: LineShape, start: Floats, sigma: Floats | None, *, absolute: bool
) -> tuple[Floats, Floats, float]:
    """Return parameters, their covariance and the reduced chi-square."""
    with warnings.catch_warnings():  # a covariance that cannot be told comes back infinite
        warnings.simplefilter("ignore", scipy.optimize.OptimizeWarning)
        values, covariance = scipy.optimize.curve_fit(
            _curve(shape), x, counts, start, sigma=sigma, absolute_sigma=absolute
        )
    pulls = (_curve(shape)(x, *values) - counts) / (1.0 if sigma is None else sigma)
    return values, covariance, float(pulls @ pulls) / (counts.size - values.size)


def _scatter(fitted: Floats, counts: Floats) -> Floats:
    """Sigma of each pixel from the residuals: a constant variance, and one in proportion to the light."""
    squares, light = (counts - fitted) ** 2, fitted - float(fitted.min())
    described = np.full(fitted.shape, max(float(np.mean(squares)), 1e-300))
    for _ in range(3):
        columns = np.column_stack([np.ones_like(light), light]) / described[:, None]
        constant, slope = scipy.optimize.nnls(columns, squares / described)[0]
        described = np.maximum(constant + slope * light, 1e-2 * described.mean())
    return np.asarray(np.sqrt(described), dtype=np.float64)


def _line_fit(
    values: Floats, covariance: Floats, chi2: float, shape: LineShape, origin_nm: float
) -> LineFit | None:
    if not np.isfinite(covariance).all():
        return None
    widths = np.abs(values[4:])
    if shape == "voigt":
        fwhm, (by_lorentz, by_gauss) = voigt_fwhm(widths[0], widths[1]), _voigt_slopes(*widths)
        slopes = np.array([by_lorentz, by_gauss]) * np.sign(values[4:])
    else:
        fwhm, slopes = float(widths[0]), np.ones(1)
    variance = float(slopes @ covariance[4:, 4:] @ slopes)
    if not (variance > 0 and fwhm > 0):
        return None
    return LineFit(
        shape=shape,
        centre_nm=float(values[1]) + origin_nm,
        centre_sigma_nm=math.sqrt(covariance[1, 1]),
        fwhm_nm=fwhm,
        fwhm_sigma_nm=math.sqrt(variance),
        area_counts_nm=float(values[0]),
        reduced_chi2=chi2,
    )


def _voigt_slopes(lorentz: float, gauss: float) -> tuple[float, float]:
    """Derivatives of the FWHM by both widths."""
    step = 1e-6 * (lorentz + gauss)
    return (
        (voigt_fwhm(lorentz + step, gauss) - voigt_fwhm(lorentz, gauss)) / step,
        (voigt_fwhm(lorentz, gauss + step) - voigt_fwhm(lorentz, gauss)) / step,
    )


Bools = NDArray[np.bool_]

_MAX_EVALUATIONS = 40
_WIDTH_SCATTER = 0.35  # of the logarithm
_CENTRE_SCATTER = 0.5  # of a FWHM
_LOG_WIDTH_RANGE = (-6.0, 3.0)  # 0.0025 nm to 20 nm


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of a spectrum to be fitted: wavelength, counts and noise, all of shape ``(pixel,)``."""

    wavelength_nm: Floats
    counts: Floats
    noise: Floats

    @property
    def unit_x(self) -> Floats:
        """Wavelength mapped to -1..1, for a background whose terms are nearly independent."""
        x = self.wavelength_nm
        return np.asarray(2.0 * (x - x[0]) / (x[-1] - x[0]) - 1.0, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class LineModel:
    """What is fitted: FWHM of the slit, the Lorentzian share ``eta`` (0 to 1) and whether it is free."""

    slit_nm: float
    eta: float = 0.5
    eta_is_free: bool = True
    background_order: int = 2

    def parts(self, offset_nm: Floats, fwhm_nm: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Unit-area profile at distances from the centre; its derivatives by centre, FWHM and eta."""
        seen = math.hypot(fwhm_nm, self.slit_nm)
        g, g_centre, g_seen = gaussian(offset_nm, seen)
        g_width = g_seen * (fwhm_nm / seen)
        if self.eta == 0.0 and not self.eta_is_free:
            return g, g_centre, g_width, np.zeros_like(g)
        v, v_centre, v_width = voigt(offset_nm, fwhm_nm, self.slit_nm)
        e, rest = self.eta, 1.0 - self.eta
        return e * v + rest * g, e * v_centre + rest * g_centre, e * v_width + rest * g_width, v - g

    def measured_fwhm_nm(self, fwhm_nm: float) -> float:
        """FWHM of a line as the instrument shows it, within about 1 %."""
        gauss, voigt = math.hypot(fwhm_nm, self.slit_nm), voigt_fwhm(fwhm_nm, self.slit_nm)
        return self.eta * voigt + (1.0 - self.eta) * gauss


@dataclass(frozen=True, slots=True)
class Lines:
    """Areas (counts nm), centres and own FWHM (nm), each of shape ``(line,)``, and the background."""

    area: Floats
    centre_nm: Floats
    width_nm: Floats
    background: Floats

    def curve(self, model: LineModel, window: Window) -> Floats:
        """Sum of the lines and the background at the pixels of the window."""
        total = np.polynomial.polynomial.polyval(window.unit_x, self.background)
        for k in range(self.area.size):
            total = total + self.single(model, window.wavelength_nm, k)
        return np.asarray(total, dtype=np.float64)

    def single(self, model: LineModel, wavelength_nm: Floats, k: int) -> Floats:
        """Line k alone."""
        value = model.parts(wavelength_nm - self.centre_nm[k], float(self.width_nm[k]))[0]
        return np.asarray(self.area[k] * value, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class MultiFit:
    """A fit: the lines, the standard errors of their widths, chi-square, number of parameters."""

    lines: Lines
    model: LineModel
    window: Window
    width_sigma_nm: Floats
    chi2: float
    n_parameters: int

    @property
    def reduced_chi2(self) -> float:
        """Chi-square per degree of freedom."""
        return self.chi2 / max(self.window.counts.size - self.n_parameters, 1)

    @property
    def bic(self) -> float:
        """Bayesian information criterion; the lower the better."""
        return self.chi2 + self.n_parameters * math.log(self.window.counts.size)

    @property
    def typical_fwhm_nm(self) -> float:
        """Median FWHM of the lines as seen; one and a half slits when there is none."""
        widths = self.lines.width_nm
        slit = self.model.slit_nm
        return self.model.measured_fwhm_nm(float(np.median(widths))) if widths.size else 1.5 * slit


def solve_areas(window: Window, model: LineModel, centre_nm: Floats, width_nm: Floats) -> Lines:
    """Lines of given centres and widths with the areas and background that fit best; no area is negative."""
    x = window.wavelength_nm
    columns = [model.parts(x - c, float(w))[0] for c, w in zip(centre_nm, width_nm, strict=True)]
    columns += list(np.vander(window.unit_x, model.background_order + 1, increasing=True).T)
    design = np.array(columns).T
    scale = np.sqrt(np.sum(design**2, axis=0)) + 1e-300
    solved = np.linalg.lstsq(design / scale, window.counts, rcond=1e-8)[0] / scale
    areas = solved[: centre_nm.size]
    floor = 1e-3 * float(np.max(np.abs(areas), initial=1e-12))
    return Lines(np.maximum(areas, floor), centre_nm.copy(), width_nm.copy(), solved[centre_nm.size :])


def fit_lines(
    window: Window, model: LineModel, start: Lines, *, held: Bools | None = None
) -> MultiFit | None:
    """Fit all lines at once by least squares; None when that does not converge or the pixels are too few.

    :param held: lines whose centre and width stay at their start (their area is free), shape ``(line,)``.
    """
    problem = _Problem(window, model, start, held)
    if problem.n_parameters >= window.counts.size:
        return None
    with np.errstate(all="ignore"):
        found, covariance, _, _, status = scipy.optimize.leastsq(
            problem.residual,
            problem.start,
            Dfun=problem.jacobian,
            col_deriv=True,
            full_output=True,
            maxfev=_MAX_EVALUATIONS,
            ftol=1e-6,
            xtol=1e-5,
        )
    if not np.isfinite(found).all() or status not in (1, 2, 3, 4, 5):
        return None
    return problem.result(np.asarray(found, dtype=np.float64), covariance)


class _Problem:
    """Parameters laid out as areas, background, centres and log-widths of the free lines, and the angle of
    eta.

    eta = (1 + sin angle) / 2 keeps eta between 0 and 1.
    """

    def __init__(self, window: Window, model: LineModel, start: Lines, held: Bools | None) -> None:
        self._window, self._model, self._start = window, model, start
        self._free = np.flatnonzero(~held) if held is not None else np.arange(start.area.size)
        self._scale = max(float(np.ptp(window.counts)), 1e-9)
        self._per_noise = 1.0 / window.noise
        self._powers = np.vander(window.unit_x, model.background_order + 1, increasing=True).T
        self._powers = self._powers * (self._scale * self._per_noise)
        self._n_lines, self._n_free = start.area.size, self._free.size
        self._first = self._n_lines + len(self._powers)  # of the centres
        self._ties = self._soft_ties()
        self._last: tuple[Floats, Floats, Floats] | None = None

    def _soft_ties(self) -> Floats:
        """Rows that act on the centres and logarithms of widths of the free lines, see the module."""
        n = self._n_free
        widths = [self._model.measured_fwhm_nm(float(self._start.width_nm[k])) for k in self._free]
        ties = np.zeros((2 * n, 2 * n))
        if n:
            ties[:n, :n] = np.diag(1.0 / (_CENTRE_SCATTER * np.array(widths)))
            ties[n:, n:] = (np.eye(n) - 1.0 / n) / _WIDTH_SCATTER
        return ties

    @property
    def start(self) -> Floats:
        s, free = self._start, self._free
        angle = [math.asin(min(max(2.0 * self._model.eta - 1.0, -0.95), 0.95))] * self._model.eta_is_free
        head = [s.area / self._scale, s.background / self._scale]
        return np.concatenate([*head, s.centre_nm[free], np.log(s.width_nm[free]), angle])

    @property
    def n_parameters(self) -> int:
        return self._first + 2 * self._n_free + int(self._model.eta_is_free)

    def _lines(self, p: Floats) -> Lines:
        n, m, free = self._n_lines, self._first, self._free
        centre, width = self._start.centre_nm.copy(), self._start.width_nm.copy()
        centre[free] = p[m : m + self._n_free]
        width[free] = np.exp(np.clip(p[m + self._n_free : m + 2 * self._n_free], *_LOG_WIDTH_RANGE))
        return Lines(p[:n] * self._scale, centre, width, p[n:m] * self._scale)

    def _model_at(self, p: Floats) -> LineModel:
        if not self._model.eta_is_free:
            return self._model
        return replace(self._model, eta=0.5 * (1.0 + math.sin(p[-1])))

    def _evaluate(self, p: Floats) -> tuple[Floats, Floats]:
        if self._last is not None and np.array_equal(self._last[0], p):
            return self._last[1], self._last[2]
        n_pixels, m, f = self._window.counts.size, self._first, self._n_free
        full = np.zeros((self.n_parameters, n_pixels + len(self._ties)))
        full[m : m + 2 * f, n_pixels:] = self._ties.T
        self._fill(p, full[:, :n_pixels])
        curve = p[:m] @ full[:m, :n_pixels]
        away = p[m : m + 2 * f].copy()
        away[:f] -= self._start.centre_nm[self._free]
        residual = np.concatenate([curve - self._window.counts * self._per_noise, self._ties @ away])
        self._last = (p.copy(), residual, full)
        return residual, full

    def _fill(self, p: Floats, jacobian: Floats) -> None:
        """Write the derivatives of the curve over the noise by every parameter, one row each."""
        n, m, f = self._n_lines, self._first, self._n_free
        lines, model = self._lines(p), self._model_at(p)
        jacobian[n:m] = self._powers
        row = dict(zip(self._free.tolist(), range(f), strict=True))
        for k in range(n):
            offset = self._window.wavelength_nm - lines.centre_nm[k]
            value, by_centre, by_width, by_eta = model.parts(offset, float(lines.width_nm[k]))
            jacobian[k] = value * (self._scale * self._per_noise)
            weight = lines.area[k] * self._per_noise
            if k in row:
                jacobian[m + row[k]] = by_centre * weight
                jacobian[m + f + row[k]] = by_width * (weight * lines.width_nm[k])
            if model.eta_is_free:
                jacobian[-1] += by_eta * (weight * (0.5 * math.cos(p[-1])))

    def residual(self, p: Floats) -> Floats:
        return self._evaluate(p)[0]

    def jacobian(self, p: Floats) -> Floats:
        return self._evaluate(p)[1]

    def result(self, p: Floats, covariance: Floats | None) -> MultiFit:
        lines = self._lines(p)
        sigma = np.full(self._n_lines, np.nan)
        if covariance is not None:
            first = self._first + self._n_free
            variances = np.diag(covariance)[first : first + self._n_free]
            sigma[self._free] = np.sqrt(variances) * lines.width_nm[self._free]
        chi2 = float(np.sum(self._evaluate(p)[0][: self._window.counts.size] ** 2))
        return MultiFit(lines, self._model_at(p), self._window, sigma, chi2, self.n_parameters)


def add_line(lines: Lines, centre_nm: float, area: float, width_nm: float) -> Lines:
    """Return the lines and one more."""
    return replace(
        lines,
        area=np.append(lines.area, area),
        centre_nm=np.append(lines.centre_nm, centre_nm),
        width_nm=np.append(lines.width_nm, width_nm),
    )


def drop_lines(lines: Lines, keep: Bools) -> Lines:
    """Return only the lines marked in ``keep``."""
    return replace(
        lines, area=lines.area[keep], centre_nm=lines.centre_nm[keep], width_nm=lines.width_nm[keep]
    )
