"""Wavelength of every pixel, from lamp lines that are recognised starting from the device's own axis.

What is fitted is a correction to the device's axis, of an order that number and spread of the lines can bear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from labctl.analysis.calibration.lamp_lines import (
    TABLE_SIGMA_NM,
    FoundLine,
    LampLine,
    isolated_lines,
    pull_nm,
    resolved_lines,
)
from labctl.analysis.spectra.lines import FWHM_PER_SIGMA
from labctl.model.errors import CalibrationRefused

Floats = NDArray[np.float64]

_SHIFT_NM, _SHIFT_PIXELS, _STRETCH = 1.5, 8.0, 4e-3  # what is searched
_RIVAL = 0.8  # a second solution with this share of the best one's score makes the match ambiguous
_DECADES = 1.5  # how far a lamp's strengths may be from the table's, in decades, one sigma
_MISSING = 0.5  # what a strong line of the table that was not found costs, in bright lines
_EXPLAINED = 0.85  # of the lines' light: all of it for the right lamp, 0.8 at most for a wrong one
_THINKABLE = 0.1  # how likely a line is as strong as it is seen, of 1
_ABSENT = 0.5  # share of a lamp's strongest lines that may be missing: fibres and detectors swallow some
_CLIPPED = 2.0  # decades below the lamp's strongest that a line may be and yet saturate in a long exposure


@dataclass(frozen=True, slots=True)
class Match:
    """Pairs of ``found`` and ``table`` indices, and the shift and stretch (about the axis' middle) behind
    them."""

    found: tuple[int, ...]
    table: tuple[int, ...]
    shift_nm: float
    stretch: float
    score: float
    rival_score: float


def match_lines(
    found: Sequence[FoundLine], device_nm: Floats, lines: Sequence[LampLine], resolution_nm: float
) -> Match:
    """Recognise lamp lines.

    :raises CalibrationRefused: too few, none recognised, or ambiguous.
    """
    if not found:
        raise CalibrationRefused("no lamp line is detected", "check the lamp, the fibre and the exposure")
    pixel_nm = float(np.median(np.diff(device_nm)))
    span = max(_SHIFT_NM, _SHIFT_PIXELS * pixel_nm)
    near = [
        j
        for j, line in enumerate(lines)
        if device_nm[0] - 2 * span < line.wavelength_nm < device_nm[-1] + 2 * span
    ]
    if not near:
        raise CalibrationRefused("the lamp has no line in the range of this spectrometer", "another lamp")
    search = _Search(
        found, device_nm, [lines[j] for j in near], max(0.5 * resolution_nm, 0.8 * pixel_nm), span
    )
    best, rival, shift, stretch = search.best()
    if best <= 0:
        raise CalibrationRefused("the detected lines are not those of the lamp", "check which lamp it is")
    if rival > _RIVAL * best:
        raise CalibrationRefused(
            f"{len(found)} lines match the lamp's table in more than one way",
            "a longer exposure shows more lines; or add another lamp",
        )
    if (absent := search.absent(shift, stretch)) > _ABSENT:
        raise CalibrationRefused(
            f"the detected lines are not those of the lamp: {absent:.0%} of its strongest are missing",
            "check which lamp it is",
        )
    pairs, near_some = search.pairs(shift, stretch)
    if (explained := _explained(found, near_some)) < _EXPLAINED:
        raise CalibrationRefused(
            f"the detected lines are not those of the lamp: {explained:.0%} of their light is at its lines",
            "check which lamp it is, and that no other light enters",
        )
    return Match(tuple(i for i, _ in pairs), tuple(near[j] for _, j in pairs), shift, stretch, best, rival)


def _explained(found: Sequence[FoundLine], matched: Sequence[int]) -> float:
    """Part of the lines' light that is in some of them.

    Of a saturated line nobody knows it: it counts only, as one of equals, where all are saturated.
    """
    area = np.array([line.area_counts for line in found])
    finite = np.isfinite(area)
    area = np.where(finite, area, 0.0) if finite.any() else np.ones(area.size)
    return float(area[list(matched)].sum() / area.sum())


class _Search:
    """Scores of shifts and stretches of the device's axis."""

    def __init__(
        self,
        found: Sequence[FoundLine],
        device_nm: Floats,
        lines: Sequence[LampLine],
        tol_nm: float,
        span: float,
    ) -> None:
        self._tol, self._span = tol_nm, span
        pixel = np.array([line.pixel for line in found])
        self._at = np.interp(pixel, np.arange(device_nm.size), device_nm)
        self._middle = 0.5 * float(device_nm[0] + device_nm[-1])
        self._half = 0.5 * float(device_nm[-1] - device_nm[0])
        self._ends = float(device_nm[0]), float(device_nm[-1])
        self._known = np.array([line.wavelength_nm for line in lines])
        self._inside = (self._known > self._ends[0] + span) & (self._known < self._ends[1] - span)
        strength = np.array([float(line.strength) for line in lines])
        self._strong = strength >= strength.max()
        area = np.array([line.area_counts for line in found])
        finite = area[np.isfinite(area)]
        top = float(finite.max()) if finite.size else 1.0
        decade = np.log10(np.where(np.isfinite(area), area, 10 * top) / top) + strength.max()
        off = decade[:, None] - strength
        # A clipped line is as strong as it likes to be, but for the faintest ones.
        clipped = np.maximum(strength.max() - _CLIPPED - strength, 0.0)
        off = np.where(np.isfinite(area)[:, None], off, clipped)
        self._likely = np.exp(-0.5 * (off / _DECADES) ** 2)
        self._weight = np.clip(1.0 + (decade - decade.max()) / 4.0, 0.1, 1.0)

    def best(self) -> tuple[float, float, float, float]:
        """Best score, best score of a different solution, and the best one's shift and stretch."""
        step = 0.4 * self._tol
        shifts = np.arange(-self._span, self._span + step, step)
        stretches = np.arange(0.0, _STRETCH, step / self._half)
        stretches = np.concatenate([-stretches[:0:-1], stretches])
        scores = np.array([[self._score(a, b) for a in shifts] for b in stretches])
        row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
        moved = stretches[:, None, None] * (self._at - self._middle) + shifts[None, :, None]
        centre = stretches[row] * (self._at - self._middle) + shifts[column]
        # Another solution is one under which the bright lines lie elsewhere.
        apart = (np.abs(moved - centre) * self._weight).max(axis=2) > 3.0 * self._tol
        rival = float(scores[apart].max()) if apart.any() else 0.0
        return float(scores[row, column]), rival, float(shifts[column]), float(stretches[row])

    def _moved(self, shift: float, stretch: float) -> Floats:
        return np.asarray(self._at + shift + stretch * (self._at - self._middle))

    def _score(self, shift: float, stretch: float) -> float:
        at = self._moved(shift, stretch)
        off = (at[:, None] - self._known) / self._tol
        hits = np.exp(-0.5 * off * off)
        missing = float((1.0 - hits.max(axis=0))[self._strong & self._inside].sum())
        return float(self._weight @ (hits * self._likely).max(axis=1)) - _MISSING * missing

    def absent(self, shift: float, stretch: float) -> float:
        """Share of the lamp's strongest lines, of those that must be in the spectrum, near which none is."""
        due = self._known[self._strong & self._inside]
        if not due.size:
            return 0.0
        near = np.abs(due[:, None] - self._moved(shift, stretch)).min(axis=1)
        return float((near > 3.0 * self._tol).mean())

    def pairs(self, shift: float, stretch: float) -> tuple[list[tuple[int, int]], list[int]]:
        """Pairs of found and table lines near each other once the axis is moved; and which of the found ones,
        blends as well, lie within a resolution of a line of the table that may be so strong.
        """
        at, wide = self._moved(shift, stretch), 2.5
        for _ in range(3):
            off = (at[:, None] - self._known) / self._tol
            worth = np.where(np.abs(off) < wide, np.exp(-0.5 * off * off) * self._likely, 0.0)
            chosen = [(i, int(np.argmax(worth[i]))) for i in range(at.size) if worth[i].max() > 1e-3]
            rest = np.array([self._known[j] - at[i] for i, j in chosen])
            if len(chosen) < 3:
                break
            # What is left of stretch and curvature, robustly: a weighted line through the medians.
            x = np.array([at[i] for i, _ in chosen])
            weight = np.array([self._weight[i] for i, _ in chosen])
            at = at + _line_through(x, rest, weight, self._tol)(at)
            wide = max(0.6 * wide, 1.0)
        near = (np.abs(at[:, None] - self._known) < 2.0 * self._tol) & (self._likely > _THINKABLE)
        return chosen, [int(i) for i in np.flatnonzero(near.any(axis=1))]


def _line_through(x: Floats, y: Floats, weight: Floats, scale: float) -> Polynomial:
    """A straight line (a constant where they crowd) through points of which some are wrong."""
    order = 1 if np.ptp(x) > 30 * scale and x.size >= 4 else 0
    robust = np.ones(x.size)
    fitted = Polynomial([float(np.median(y))])
    for _ in range(8):
        robust = 1.0 / (1.0 + ((y - fitted(x)) / (0.3 * scale)) ** 2)
        fitted = Polynomial.fit(x, y, order, w=np.sqrt(robust * weight))
    return fitted.convert()


Ints = NDArray[np.intp]

SLOPE_SIGMA_REL = 1e-3
"""Standard uncertainty of the stretch of a device's own axis, where too few lines measure it."""

_OUTLIER = 4.0
_MEDIAN_OF_NORMAL = 0.6745  # of the absolute value, over the standard deviation


@dataclass(frozen=True, slots=True)
class WavelengthFit:
    """A wavelength axis with its errors; lists belong to the lines that were used, in order of pixels.

    :param coefficients: nm as a polynomial of the pixel, c0 first.
    :param order: of the correction to the device's axis.
    :param rms_nm: of the residuals.
    :param excess_nm: what the lines scatter beyond their own errors; ``freedom`` of the residuals.
    :param shift_nm: mean correction to the device's axis over the lines.
    """

    coefficients: tuple[float, ...]
    order: int
    rms_nm: float
    excess_nm: float
    freedom: int
    shift_nm: float
    line_nm: tuple[float, ...]
    line_pixel: tuple[float, ...]
    line_residual_nm: tuple[float, ...]
    line_sigma_nm: tuple[float, ...]
    pixels: int
    statistical: Floats
    table: Floats

    def axis_nm(self) -> Floats:
        """Wavelength of every pixel, shape ``(pixel,)``."""
        return np.asarray(
            np.polynomial.polynomial.polyval(np.arange(self.pixels, dtype=float), self.coefficients)
        )

    def at_nm(self, pixel: float) -> float:
        """Wavelength at one place, which may lie between pixels."""
        return float(np.polynomial.polynomial.polyval(pixel, self.coefficients))

    def sigma_nm(self, pixel: float) -> tuple[float, float]:
        """Standard errors at a place: statistical, and what the table and too low an order add, nm."""
        powers = _unit(np.array([pixel]), self.pixels)[:, None] ** np.arange(self.order + 1)
        statistical = math.sqrt(float((powers @ self.statistical @ powers.T)[0, 0]))
        table = float((powers @ self.table @ powers.T)[0, 0])
        unseen = 0.0
        if self.order == 0:  # nothing measured the stretch
            unseen = SLOPE_SIGMA_REL * (self.at_nm(pixel) - float(np.mean(self.line_nm)))
        return statistical, math.hypot(math.sqrt(table), unseen)


class LampSpectrum(NamedTuple):
    """What one lamp showed, and what its table says."""

    found: Sequence[FoundLine]
    lines: Sequence[LampLine]


def fit_wavelength(
    spectra: Sequence[LampSpectrum],
    device_nm: Floats,
    resolution_nm: float,
    *,
    exposure_s: float | None = None,
) -> WavelengthFit:
    """Fit the wavelength axis to the lines of one or several lamps.

    Saturated lines help to recognise a lamp and are not fitted, as are blends.

    :param device_nm: the device's own axis, rising, shape ``(pixel,)``.
    :param resolution_nm: about what it is, FWHM; that of the lines found decides on blends.
    :param exposure_s: the longest, for the advice where lines are saturated.
    :raises CalibrationRefused: no line of a lamp, only saturated ones, or more than one way to match them.
    """
    every, clean = [], []
    for found, lines in spectra:
        match = match_lines(found, device_nm, lines, resolution_nm)
        seen_nm = measured_resolution_nm(found, device_nm) or resolution_nm
        usable = set(resolved_lines(lines, seen_nm))
        pairs = [(found[i], lines[j]) for i, j in zip(match.found, match.table, strict=True)]
        single = _single_valued([(a, b) for a, b in pairs if b in usable and not a.saturated])
        every += pairs
        clean += [(line, known, pull_nm(known, lines, seen_nm)) for line, known in single]
    if not clean:
        raise _nothing_to_fit(every, exposure_s)
    clean.sort(key=lambda entry: entry[0].pixel)
    pixel = np.array([line.pixel for line, _, _ in clean])
    known_nm = np.array([known.wavelength_nm for _, known, _ in clean])
    dispersion = np.interp(pixel, np.arange(device_nm.size), np.gradient(device_nm))
    by_fit = np.array([line.pixel_sigma for line, _, _ in clean]) * dispersion
    sigma_nm = np.hypot(by_fit, [pull for _, _, pull in clean]) + 1e-7
    own_nm = Polynomial(_device_polynomial(device_nm))(pixel)
    return _fitted(_Lines(pixel, known_nm, known_nm - own_nm, sigma_nm), device_nm)


def measured_resolution_nm(found: Sequence[FoundLine], device_nm: Floats) -> float | None:
    """FWHM of the typical line that was found, on the device's own axis; None where none was fitted."""
    good = [line for line in found if not line.saturated and line.fwhm_sigma_pixels < 0.2 * line.fwhm_pixels]
    if not good:
        return None
    dispersion = np.interp([line.pixel for line in good], np.arange(device_nm.size), np.gradient(device_nm))
    return float(np.median(np.array([line.fwhm_pixels for line in good]) * dispersion))


def _nothing_to_fit(
    pairs: Sequence[tuple[FoundLine, LampLine]], exposure_s: float | None
) -> CalibrationRefused:
    if any(line.saturated for line, _ in pairs):
        shorter = "a shorter exposure" if exposure_s is None else f"an exposure of {exposure_s / 10:.2g} s"
        named = ", ".join(f"{known.wavelength_nm:.2f} nm" for line, known in pairs if line.saturated)
        return CalibrationRefused(
            f"every lamp line that could be used is saturated ({named})", f"{shorter}, or move the lamp away"
        )
    return CalibrationRefused(
        "every lamp line found is a blend at this resolution", "another lamp: hg-ar, ne or kr"
    )


def _single_valued(pairs: list[tuple[FoundLine, LampLine]]) -> list[tuple[FoundLine, LampLine]]:
    """Of exposures of different length each line is taken from the one that places it best."""
    best: dict[LampLine, FoundLine] = {}
    for line, known in pairs:
        if known not in best or line.pixel_sigma < best[known].pixel_sigma:
            best[known] = line
    return [(line, known) for known, line in best.items()]


def order_for(pixel: Floats, pixels: int) -> int:
    """Order of the correction that so many lines, so far spread, can bear: 0 to 3."""
    spread = float(np.ptp(pixel)) / (pixels - 1)
    for order, least, share in ((3, 8, 0.6), (2, 5, 0.4), (1, 3, 0.15)):
        if pixel.size >= least and spread >= share:
            return order
    return 0


def _fitted(lines: _Lines, device_nm: Floats) -> WavelengthFit:
    """Fit the correction; a line far off all others, a wrong match, is left out."""
    keep = np.ones(lines.pixel.size, np.bool_)
    most_wrong = int(0.4 * keep.size)
    for _ in range(most_wrong + 1):
        fit = _Correction(lines.only(keep), device_nm.size)
        rest = lines.off_nm - fit.at(lines.pixel)
        scatter = 1.4826 * float(np.median(np.abs(rest[keep])))
        far = np.where(
            keep, np.abs(rest) / np.maximum(np.hypot(lines.sigma_nm, TABLE_SIGMA_NM), scatter), 0.0
        )
        if far.max() < _OUTLIER or fit.freedom < 1 or keep.size - keep.sum() >= most_wrong:
            break
        keep[int(np.argmax(far))] = False
    used = lines.only(keep)
    return WavelengthFit(
        coefficients=_whole_axis(device_nm, fit.coefficients),
        order=fit.order,
        rms_nm=float(np.sqrt(np.mean(rest[keep] ** 2))),
        excess_nm=fit.excess_nm,
        freedom=fit.freedom,
        shift_nm=float(np.mean(used.off_nm)),
        line_nm=tuple(used.known_nm.tolist()),
        line_pixel=tuple(used.pixel.tolist()),
        line_residual_nm=tuple(rest[keep].tolist()),
        line_sigma_nm=tuple(used.sigma_nm.tolist()),
        pixels=device_nm.size,
        statistical=fit.covariance,
        table=fit.table,
    )


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines to fit; arrays of shape ``(line,)``. ``sigma_nm`` from fit and possible blends."""

    pixel: Floats
    known_nm: Floats
    off_nm: Floats
    sigma_nm: Floats

    def only(self, keep: NDArray[np.bool_]) -> _Lines:
        return _Lines(self.pixel[keep], self.known_nm[keep], self.off_nm[keep], self.sigma_nm[keep])


class _Correction:
    """A polynomial through the lines' corrections, with what they scatter beyond their own errors."""

    def __init__(self, lines: _Lines, pixels: int) -> None:
        self.order, self._pixels = order_for(lines.pixel, pixels), pixels
        self.freedom = lines.pixel.size - self.order - 1
        self._x, self._lines = self._powers(lines.pixel), lines
        self.excess_nm = self._excess()
        solve, _ = self._solved(self.excess_nm)
        self.coefficients = np.asarray(solve @ lines.off_nm, dtype=np.float64)
        self.covariance: Floats = (solve * (lines.sigma_nm**2 + self.excess_nm**2)) @ solve.T
        # What the lines' own scatter shows is not counted twice.
        unseen = max(TABLE_SIGMA_NM**2 - self.excess_nm**2, 0.0)
        self.table: Floats = (solve * unseen) @ solve.T

    def at(self, pixel: Floats) -> Floats:
        """Correction at pixels, nm."""
        return np.asarray(self._powers(pixel) @ self.coefficients)

    def _powers(self, pixel: Floats) -> Floats:
        return np.asarray(_unit(pixel, self._pixels)[:, None] ** np.arange(self.order + 1))

    def _solved(self, excess_nm: float) -> tuple[Floats, float]:
        """Matrix from corrections to coefficients, and the typical residual over its error, less its due."""
        sigma = np.hypot(self._lines.sigma_nm, excess_nm)
        solve = np.linalg.pinv(self._x / sigma[:, None]) / sigma
        rest = self._lines.off_nm - self._x @ (solve @ self._lines.off_nm)
        due = _MEDIAN_OF_NORMAL * math.sqrt(max(self.freedom, 0) / rest.size)
        return np.asarray(solve), float(np.median(np.abs(rest) / sigma)) - due

    def _excess(self) -> float:
        """Scatter beyond the lines' own errors, nm: unlisted neighbours, the table, a slit that varies.

        As Mandel and Paule (Anal. Chem. 42, 1194 (1970)), but by the median: one bad line is no scatter.
        """
        if self.freedom < 1 or self._solved(0.0)[1] <= 0:
            return 0.0
        high = 10.0 * float(np.ptp(self._lines.off_nm)) + TABLE_SIGMA_NM
        if self._solved(high)[1] > 0:
            return high
        return float(scipy.optimize.brentq(lambda s: self._solved(s)[1], 0.0, high, xtol=1e-7))


def _unit(pixel: Floats, pixels: int) -> Floats:
    """Pixels from -1 to 1."""
    return np.asarray(2.0 * pixel / (pixels - 1) - 1.0)


def _device_polynomial(device_nm: Floats) -> Floats:
    """Coefficients of the device's axis over pixels; a device stores it as a polynomial.

    :raises CalibrationRefused: it is none of degree five or less, within a hundredth of a pixel.
    """
    pixel = np.arange(device_nm.size, dtype=float)
    for degree in (3, 4, 5):
        fitted = Polynomial.fit(pixel, device_nm, degree)
        if np.abs(fitted(pixel) - device_nm).max() < 0.01 * abs(float(device_nm[1] - device_nm[0])):
            break
    else:
        raise CalibrationRefused("the device's own wavelength axis is not a smooth polynomial of the pixel")
    return np.asarray(fitted.convert().coef, dtype=np.float64)


def _whole_axis(device_nm: Floats, correction: Floats) -> tuple[float, ...]:
    """The device's polynomial and the correction, over -1 to 1, as one polynomial of the pixel."""
    scale = 2.0 / (device_nm.size - 1)
    moved = Polynomial(correction)(Polynomial([-1.0, scale]))
    whole = Polynomial(_device_polynomial(device_nm)) + moved
    return tuple(float(c) for c in np.atleast_1d(whole.coef))


_WIDEST_SIGMA_REL = 0.1  # a width known worse than this tells nothing
_WIDTH_OUTLIER = 3.5
_NEAR_NM = 0.5  # widths: how near a line lies to its place on the axis


@dataclass(frozen=True, slots=True)
class ResolutionFit:
    """FWHM of a narrow line, slit and pixel together, over wavelength.

    :param coefficients: nm as a polynomial of (wavelength - ``middle_nm``), c0 first.
    :param line_nm: lines it rests on; ``line_fwhm_nm`` their widths, ``line_sigma_nm`` standard errors.
    :param pixel_nm: width of a pixel in the middle of those lines.
    """

    coefficients: tuple[float, ...]
    middle_nm: float
    covariance: Floats
    line_nm: tuple[float, ...]
    line_fwhm_nm: tuple[float, ...]
    line_sigma_nm: tuple[float, ...]
    pixel_nm: float

    def at(self, wavelength_nm: float) -> tuple[float, float]:
        """FWHM at a wavelength and its standard error, nm. Outside of the lines the nearest line's."""
        inside = min(max(wavelength_nm, self.line_nm[0]), self.line_nm[-1])
        powers = (inside - self.middle_nm) ** np.arange(len(self.coefficients))
        value = float(powers @ np.array(self.coefficients))
        return value, math.sqrt(float(powers @ self.covariance @ powers))

    def slit_nm(self, wavelength_nm: float) -> float:
        """FWHM of the slit's image alone."""
        return math.sqrt(max(self.at(wavelength_nm)[0] ** 2 - _pixel_fwhm(self.pixel_nm) ** 2, 0.0))


def _pixel_fwhm(pixel_nm: float) -> float:
    """FWHM of the Gaussian whose variance is that of one pixel's width."""
    return FWHM_PER_SIGMA * pixel_nm / math.sqrt(12.0)


def fit_resolution(
    spectra: Sequence[LampSpectrum], axis: WavelengthFit, resolution_nm: float
) -> ResolutionFit:
    """Fit the resolution over the range.

    :param resolution_nm: about what it is, FWHM: says which lines stand alone.
    :raises CalibrationRefused: no line that stands alone and is not saturated.
    """
    entries = [
        entry
        for found, lines in spectra
        for entry in _widths(found, axis, isolated_lines(lines, resolution_nm))
    ]
    at_nm, fwhm, sigma, pixel = np.array(sorted(entries)).reshape(-1, 4).T
    if not at_nm.size:
        raise CalibrationRefused(
            "no unsaturated lamp line is isolated: the resolution cannot be determined",
            "another lamp, or a shorter exposure",
        )
    keep = np.ones(at_nm.size, np.bool_)
    for _ in range(4):
        order, middle = _order(at_nm[keep]), float(at_nm[keep].mean())
        x = (at_nm - middle)[:, None] ** np.arange(order + 1)
        # Neighbours nobody listed and a slit that is no Gaussian scatter more than counts do.
        own = np.hypot(sigma, 0.01 * fwhm)
        solve = np.linalg.pinv(x[keep] / own[keep, None]) / own[keep]
        rest = fwhm - x @ (solve @ fwhm[keep])
        scatter = 1.4826 * float(np.median(np.abs(rest[keep])))
        wrong = keep & (np.abs(rest) > _WIDTH_OUTLIER * np.maximum(own, scatter))
        if not wrong.any() or keep.sum() <= max(3, 0.6 * keep.size):
            break
        keep &= ~wrong
    return ResolutionFit(
        coefficients=tuple(float(c) for c in solve @ fwhm[keep]),
        middle_nm=middle,
        covariance=(solve * own[keep] ** 2) @ solve.T,
        line_nm=tuple(at_nm[keep].tolist()),
        line_fwhm_nm=tuple(fwhm[keep].tolist()),
        line_sigma_nm=tuple(sigma[keep].tolist()),
        pixel_nm=float(np.mean(pixel[keep])),
    )


def _order(at_nm: Floats) -> int:
    """A width changes slowly: a constant, a slope with 4 lines or more over a range, a bend with 8."""
    wide = np.ptp(at_nm) > 0.03 * float(at_nm.mean())
    return 0 if at_nm.size < 4 or not wide else 1 if at_nm.size < 8 else 2


def _widths(
    found: Sequence[FoundLine], axis: WavelengthFit, alone: Sequence[LampLine]
) -> list[tuple[float, float, float, float]]:
    """Place, FWHM with the pixel, its error, and the pixel's width, of each line that stands alone; nm."""
    axis_nm = axis.axis_nm()
    per_pixel = np.gradient(axis_nm)
    best: dict[float, tuple[float, float, float, float]] = {}
    for line in found:
        if line.saturated or not line.fwhm_sigma_pixels < _WIDEST_SIGMA_REL * line.fwhm_pixels:
            continue
        nm = axis.at_nm(line.pixel)
        pixel = float(np.interp(line.pixel, np.arange(axis_nm.size), per_pixel))
        own = [
            k.wavelength_nm for k in alone if abs(k.wavelength_nm - nm) < _NEAR_NM * line.fwhm_pixels * pixel
        ]
        if len(own) != 1:
            continue
        slit = line.fwhm_pixels * pixel
        fwhm = math.hypot(slit, _pixel_fwhm(pixel))
        entry = (own[0], fwhm, line.fwhm_sigma_pixels * pixel * slit / fwhm, pixel)
        if own[0] not in best or entry[2] < best[own[0]][2]:
            best[own[0]] = entry
    return list(best.values())
