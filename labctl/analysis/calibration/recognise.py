"""Which line of a lamp's table is which line of a spectrum, starting from the device's own axis.

Shifts and stretches of that axis are tried. The one is taken under which found lines, the bright ones most,
fall on lines of the table of about their strength. A second one that does nearly as well is an ambiguity, and
refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from labctl.analysis.calibration.lamps import LampLine
from labctl.analysis.calibration.lines import FoundLine
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
        raise CalibrationRefused("no line of a lamp is seen", "check the lamp, the fibre and the exposure")
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
        raise CalibrationRefused("the lines seen are not those of the lamp", "check which lamp it is")
    if rival > _RIVAL * best:
        raise CalibrationRefused(
            f"{len(found)} lines fit the lamp's table in more than one way",
            "a longer exposure shows more lines; or add another lamp",
        )
    if (absent := search.absent(shift, stretch)) > _ABSENT:
        raise CalibrationRefused(
            f"the lines seen are not those of the lamp: {absent:.0%} of its strongest are not among them",
            "check which lamp it is",
        )
    pairs, near_some = search.pairs(shift, stretch)
    if (explained := _explained(found, near_some)) < _EXPLAINED:
        raise CalibrationRefused(
            f"the lines seen are not those of the lamp: {explained:.0%} of their light falls on its lines",
            "check which lamp it is, and that no other light comes in with it",
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
