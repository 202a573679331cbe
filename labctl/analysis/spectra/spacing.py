"""Do lines lie as those of a cavity do? Combs against irregular places, and the power Fourier transform.

The modes of a cavity are equally spaced in wavenumber, up to dispersion and the error of their places; some
may be missing, and two polarisations or transverse families make two combs of about one period. Lines are
irregular when they fit one comb and two combs no better than irregular sets of as many lines do by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.model.results.modes import Regularity

Floats = NDArray[np.float64]

LEAST_LINES = 6
MOST_LINES = 32
"""Of more lines the middle ones are taken: combs show in fewer, and the search for two grows fast."""
# Misfits, in periods, that 2 % (of one comb) and 4 % (of two) of irregular sets stay below, for the kind that
# fits best (600 sets a count; benchmarks.accuracy.randomness --limits); one comb is capped at 0.07.
COUNTS = (6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 16.0)
ONE_COMB = (0.041, 0.052, 0.058, 0.070, 0.070, 0.070, 0.070)
TWO_COMBS = (0.015, 0.020, 0.027, 0.033, 0.037, 0.046, 0.055)
DOUBT_FEW, DOUBT_MANY = 1.25, 1.05
"""Misfits up to so many times those, and not below them, are undecided: up to 10 lines, and of more."""
FILLED_ONE, FILLED_TWO = 0.42, 0.4
"""Least part of a comb's places that hold a line."""
_TRIED_ONE, _TRIED_TWO = 400, 300


@dataclass(frozen=True, slots=True)
class Spacing:
    """How lines lie; see :class:`labctl.model.results.modes.Randomness` for the fields of the same names.

    :param period_cm: of the best comb, 1/cm; None where there is none.
    """

    verdict: Regularity
    lines: int
    spacing_nm: float | None = None
    spacing_cv: float | None = None
    comb_misfit: float | None = None
    two_comb_misfit: float | None = None
    period_cm: float | None = None

    @property
    def n_group_length_um(self) -> float | None:
        """Group index times length of a Fabry-Perot cavity with these lines, um."""
        return None if self.period_cm is None else 1e4 / (2.0 * self.period_cm)


def spacing_of(wavelength_nm: Sequence[float]) -> Spacing:
    """Tell combs from irregular places.

    :param wavelength_nm: of the lines of one spectrum, in vacuum or in air, nm, in any order.

    >>> spacing_of([1e7 / (18000 + 40 * k) for k in (0, 1, 2, 4, 5, 7, 8)]).verdict
    'comb'
    >>> spacing_of([540.0, 541.0, 543.0]).verdict
    'too few lines'
    """
    at_nm = np.sort(np.asarray(wavelength_nm, dtype=np.float64))
    count = int(at_nm.size)
    if count > MOST_LINES:
        at_nm = at_nm[(count - MOST_LINES) // 2 :][:MOST_LINES]
    at_cm = np.sort(1e7 / at_nm)
    gaps = np.diff(at_cm)
    mean_nm = float(np.mean(np.diff(at_nm))) if count > 1 else None
    cv = float(np.std(gaps, ddof=1) / np.mean(gaps)) if count > 2 and gaps.mean() > 0 else None
    if count < LEAST_LINES or cv is None:
        return Spacing("too few lines", count, mean_nm, cv)
    one, period = comb_misfit(at_cm)
    two, period_of_two = two_comb_misfit(at_cm)
    size = min(count, COUNTS[-1])
    limits = float(np.interp(size, COUNTS, ONE_COMB)), float(np.interp(size, COUNTS, TWO_COMBS))
    ratios, doubt = (one / limits[0], two / limits[1]), DOUBT_FEW if count <= 10 else DOUBT_MANY
    verdict: Regularity = "irregular" if min(ratios) > doubt else "undecided"
    if min(ratios) <= 1.0:
        plain = ratios[0] <= 1.0 and ratios[0] <= 2.0 * ratios[1] + 0.1
        verdict, period = ("comb", period) if plain else ("two combs", period_of_two)
    regular = verdict in ("comb", "two combs")
    return Spacing(verdict, count, mean_nm, cv, one, two, period if regular else None)


def comb_misfit(position: Floats) -> tuple[float, float]:
    """Return the rms distance from the best comb over its period, and the period.

    :param position: rising, shape ``(line,)``, at least 3; the period has its unit.
    """
    lines, span = position.size, float(position[-1] - position[0])
    periods = span / np.linspace(0.93 * (lines - 1), (lines - 1) / FILLED_ONE, _TRIED_ONE)
    phase = (position - position[0]) / periods[:, None]
    off = phase - (np.angle(np.exp(2j * np.pi * phase).mean(axis=1)) / (2 * np.pi))[:, None]
    off -= np.round(off)
    return _best(np.sqrt(off.var(axis=1)), periods)


def two_comb_misfit(position: Floats) -> tuple[float, float]:
    """Return the same for two combs of one period, neither with under 0.6 of its share of the lines.

    Their phases part the circle in two arcs; every way to part it is tried.
    """
    lines, span = position.size, float(position[-1] - position[0])
    periods = span / np.linspace(0.93 * (lines / 2 - 1), lines / 2 / FILLED_TWO, _TRIED_TWO)
    phase = np.sort(((position - position[0]) / periods[:, None]) % 1.0, axis=1)
    twice = np.concatenate([phase, phase + 1.0], axis=1)
    start = np.zeros((periods.size, 1))
    sums = np.concatenate([start, np.cumsum(twice, axis=1)], axis=1)
    squares = np.concatenate([start, np.cumsum(twice**2, axis=1)], axis=1)
    first = np.arange(lines)
    least = np.full(periods.size, np.inf)
    for size in range(max(3, int(0.3 * lines)), lines // 2 + 1):
        parted = _scatter(sums, squares, first, first + size) + _scatter(
            sums, squares, first + size, first + lines
        )
        least = np.minimum(least, parted.min(axis=1))
    return _best(np.sqrt(np.maximum(least, 0.0) / lines), periods)


def _best(misfit: Floats, periods: Floats) -> tuple[float, float]:
    """Return the least misfit, and the longest period that fits about as well: half of it fits too."""
    least = float(misfit.min())
    good = misfit <= max(1.5 * least, 0.03)
    first = int(np.argmax(good))
    last = first + int(np.argmin(np.append(good[first:], False)))
    return least, float(periods[first + int(np.argmin(misfit[first:last]))])


def _scatter(sums: Floats, squares: Floats, low: NDArray[np.intp], high: NDArray[np.intp]) -> Floats:
    """Sum of squares about the mean of each arc, shape ``(period, arc)``."""
    return np.asarray(squares[:, high] - squares[:, low] - (sums[:, high] - sums[:, low]) ** 2 / (high - low))


def in_common(one_nm: Sequence[float], other_nm: Sequence[float], within_nm: float) -> tuple[float, float]:
    """Return which share of the lines of one spectrum recurs in another, and which share would by chance.

    :param one_nm: wavelengths, nm, of the lines at one spot; ``other_nm`` at another. Neither is empty.
    :param within_nm: how far a line may be off, nm.

    >>> in_common([530.0, 540.0], [540.02, 550.0], 0.1)
    (0.5, 0.02)
    """
    one, other = np.asarray(one_nm, dtype=np.float64), np.asarray(other_nm, dtype=np.float64)
    shared = float(np.mean(np.abs(one[:, None] - other).min(axis=1) <= within_nm))
    span = max(float(max(one.max(), other.max()) - min(one.min(), other.min())), 2.0 * within_nm)
    return shared, round(float(-np.expm1(-2.0 * within_nm * other.size / span)), 3)


def power_transform(wavelength_nm: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return optical lengths n L, um, and the power of a spectrum's Fourier transform there, largest 1.

    A comb of period P (1/cm) has maxima at n L = 1/(2 P) and its multiples; of irregular lines none stands
    out. Lengths below those of a fifth of the band are left out: they are the band's own shape.

    :param wavelength_nm: rising, shape ``(pixel,)``; ``counts`` are free of the smooth luminescence.
    """
    wavenumber = 1e7 / wavelength_nm[::-1]
    even = np.linspace(wavenumber[0], wavenumber[-1], wavelength_nm.size)
    light = np.interp(even, wavenumber, counts[::-1])
    window = np.hanning(light.size)
    light = (light - float(np.average(light, weights=window))) * window
    power = np.abs(np.fft.rfft(light, 4 * light.size)) ** 2
    length = np.fft.rfftfreq(4 * light.size, float(even[1] - even[0])) * 1e4 / 2.0
    kept = length >= 2.5e4 / float(even[-1] - even[0])
    length, power = length[kept], power[kept]
    half = length.size // 2  # beyond, a period has fewer than four pixels
    top = float(power[:half].max()) if half else 0.0
    scaled = power[:half] / (top if top > 0 else 1.0)
    return np.asarray(length[:half], dtype=np.float64), np.asarray(scaled, dtype=np.float64)
