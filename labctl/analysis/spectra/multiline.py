"""Several overlapping lines on a smooth background, fitted together.

The parameters of line k are its area (counts nm), its centre (nm) and the logarithm of its width (nm): the
Lorentzian part of a Voigt profile whose Gaussian part is the instrument's slit, or the whole FWHM of a Gaussian. The
background is a polynomial. Derivatives are exact, so that ten exposures are fitted in tens of milliseconds.

Lines of one sample are of similar width, which is told to the fit softly: each logarithm of a width costs
((its deviation from their mean) / 0.35)^2, and a centre that leaves its start by half a width costs 1. A strong line
does not feel it; a weak one in the flank of a strong one would otherwise trade width with it, or run away.
"""

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
    """What is fitted. ``shape`` is "gaussian" or "voigt" (Lorentzian behind a Gaussian slit of ``slit_nm``)."""

    shape: profiles.LineShape
    slit_nm: float
    background_order: int = 2

    def profile(self, offset_nm: Floats, width_nm: float) -> tuple[Floats, Floats, Floats]:
        """Unit-area profile and its derivatives by centre and width."""
        if self.shape == "gaussian":
            return profiles.gaussian(offset_nm, width_nm)
        return profiles.voigt(offset_nm, width_nm, self.slit_nm)

    def measured_fwhm_nm(self, width_nm: float) -> float:
        """FWHM as the instrument shows it."""
        return width_nm if self.shape == "gaussian" else profiles.voigt_fwhm(width_nm, self.slit_nm)


@dataclass(frozen=True, slots=True)
class Lines:
    """Areas (counts nm), centres (nm) and model widths (nm), each of shape ``(line,)``, and the background."""

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
        value = model.profile(wavelength_nm - self.centre_nm[k], float(self.width_nm[k]))[0]
        return np.asarray(self.area[k] * value, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class MultiFit:
    """A fit: the lines, the standard errors of their widths, chi-square and what it is to be compared with."""

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
        return self.chi2 + self.n_parameters * float(np.log(self.window.counts.size))


def fit_lines(
    window: Window, model: LineModel, start: Lines, *, held: Bools | None = None
) -> MultiFit | None:
    """Fit all lines at once by least squares; None when it does not converge to positive widths.

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
            ftol=1e-7,
            xtol=1e-6,
        )
    if not np.isfinite(found).all() or status not in (1, 2, 3, 4, 5):
        return None
    return problem.result(np.asarray(found, dtype=np.float64), covariance)


def solve_areas(window: Window, model: LineModel, centre_nm: Floats, width_nm: Floats) -> Lines:
    """Lines of given centres and widths with the areas and the background that fit best; no area is negative."""
    columns = [
        model.profile(window.wavelength_nm - c, float(w))[0] for c, w in zip(centre_nm, width_nm, strict=True)
    ]
    columns += list(np.vander(window.unit_x, model.background_order + 1, increasing=True).T)
    design = np.array(columns).T
    scale = np.linalg.norm(design, axis=0) + 1e-300
    solved = np.linalg.lstsq(design / scale, window.counts, rcond=1e-8)[0] / scale
    areas = solved[: centre_nm.size]
    floor = 1e-3 * float(np.max(np.abs(areas), initial=1e-12))
    return Lines(np.maximum(areas, floor), centre_nm.copy(), width_nm.copy(), solved[centre_nm.size :])


class _Problem:
    """Parameters laid out as areas, background, then centre and log-width of the free lines."""

    def __init__(self, window: Window, model: LineModel, start: Lines, held: Bools | None) -> None:
        self._window, self._model, self._start = window, model, start
        self._n = start.area.size
        self._free = np.flatnonzero(~held) if held is not None else np.arange(self._n)
        self._scale = max(float(np.ptp(window.counts)), 1e-9)
        self._inverse_noise = 1.0 / window.noise
        self._powers = np.vander(window.unit_x, model.background_order + 1, increasing=True).T
        self._powers = self._powers * (self._scale * self._inverse_noise)
        self._ties = self._soft_ties()
        self._last: tuple[Floats, Floats, Floats] | None = None

    def _soft_ties(self) -> Floats:
        """Rows that act on the centres and logarithms of widths of the free lines, see the module."""
        n = self._free.size
        widths = [self._model.measured_fwhm_nm(float(self._start.width_nm[k])) for k in self._free]
        ties = np.zeros((2 * n, 2 * n))
        ties[:n, :n] = np.diag(1.0 / (_CENTRE_SCATTER * np.array(widths))) if n else 0.0
        ties[n:, n:] = (np.eye(n) - 1.0 / max(n, 1)) / _WIDTH_SCATTER
        return ties

    @property
    def start(self) -> Floats:
        s, free = self._start, self._free
        head = [s.area / self._scale, s.background / self._scale]
        return np.concatenate([*head, s.centre_nm[free], np.log(s.width_nm[free])])

    @property
    def n_parameters(self) -> int:
        return self._n + self._powers.shape[0] + 2 * self._free.size

    def lines(self, p: Floats) -> Lines:
        n, m, f = self._n, self._n + self._powers.shape[0], self._free
        centre, width = self._start.centre_nm.copy(), self._start.width_nm.copy()
        centre[f] = p[m : m + f.size]
        width[f] = np.exp(np.clip(p[m + f.size :], -9.0, 4.0))
        return Lines(p[:n] * self._scale, centre, width, p[n:m] * self._scale)

    def _evaluate(self, p: Floats) -> tuple[Floats, Floats]:
        if self._last is not None and np.array_equal(self._last[0], p):
            return self._last[1], self._last[2]
        n, order, f = self._n, self._powers.shape[0], self._free
        lines = self.lines(p)
        n_pixels = self._window.counts.size
        full = np.zeros((self.n_parameters, n_pixels + len(self._ties)))
        full[n + order :, n_pixels:] = self._ties.T
        jacobian = full[:, :n_pixels]
        jacobian[n : n + order] = self._powers
        column = {int(k): i for i, k in enumerate(f)}
        for k in range(n):
            offset = self._window.wavelength_nm - lines.centre_nm[k]
            value, by_centre, by_width = self._model.profile(offset, float(lines.width_nm[k]))
            jacobian[k] = value * (self._scale * self._inverse_noise)
            if k in column:
                weight = lines.area[k] * self._inverse_noise
                jacobian[n + order + column[k]] = by_centre * weight
                jacobian[n + order + f.size + column[k]] = by_width * (weight * lines.width_nm[k])
        curve = p[: n + order] @ jacobian[: n + order]
        misfit = curve - self._window.counts * self._inverse_noise
        away = p[n + order :].copy()
        away[: f.size] -= self._start.centre_nm[f]
        residual = np.concatenate([misfit, self._ties @ away])
        self._last = (p.copy(), residual, full)
        return residual, full

    def residual(self, p: Floats) -> Floats:
        return self._evaluate(p)[0]

    def jacobian(self, p: Floats) -> Floats:
        return self._evaluate(p)[1]

    def result(self, p: Floats, covariance: Floats | None) -> MultiFit:
        lines = self.lines(p)
        sigma = np.full(self._n, np.nan)
        if covariance is not None:
            first = self._n + self._powers.shape[0] + self._free.size
            sigma[self._free] = np.sqrt(np.diag(covariance)[first:]) * lines.width_nm[self._free]
        chi2 = float(np.sum(self._evaluate(p)[0][: self._window.counts.size] ** 2))
        return MultiFit(lines, self._model, self._window, sigma, chi2, self.n_parameters)


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
