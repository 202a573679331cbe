"""Several overlapping lines on a smooth background, fitted together.

A line is a share eta of a Lorentzian and 1 - eta of a Gaussian of the same FWHM, seen through a Gaussian
slit, which makes a Voigt profile of the one and a wider Gaussian of the other. So the width that is fitted is
the line's own, and eta, common to all lines, lets the data choose between Gaussian and Lorentzian without a
jump. The background is a polynomial. Derivatives are exact, so that ten exposures are fitted in tens of
milliseconds.

Lines of one sample are of similar width, which is told to the fit softly: each logarithm of a width costs
((its deviation from their mean) / 0.35)^2, and a centre that leaves its start by half a width costs 1. A
strong line does not feel it; a weak one in the flank of a strong one would otherwise trade width with it, or
run away.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from labctl.analysis.spectra import profiles

Floats = NDArray[np.float64]
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
        g, g_centre, g_seen = profiles.gaussian(offset_nm, seen)
        g_width = g_seen * (fwhm_nm / seen)
        if self.eta == 0.0 and not self.eta_is_free:
            return g, g_centre, g_width, np.zeros_like(g)
        v, v_centre, v_width = profiles.voigt(offset_nm, fwhm_nm, self.slit_nm)
        e, rest = self.eta, 1.0 - self.eta
        return e * v + rest * g, e * v_centre + rest * g_centre, e * v_width + rest * g_width, v - g

    def measured_fwhm_nm(self, fwhm_nm: float) -> float:
        """FWHM of a line as the instrument shows it, within about 1 %."""
        gauss, voigt = math.hypot(fwhm_nm, self.slit_nm), profiles.voigt_fwhm(fwhm_nm, self.slit_nm)
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
        found, covariance, _, _, status = optimize.leastsq(
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
