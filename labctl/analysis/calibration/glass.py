"""Dispersion of usual glasses from their Sellmeier coefficients, and what it does to a short pulse.

n^2 = 1 + sum B_i L^2 / (L^2 - C_i), L the wavelength in um, C in um^2. Group-velocity dispersion:
GVD = L^3 / (2 pi c^2) d2n/dL2, fs^2/mm. Third order is left out: below 20 fs, or behind centimetres of heavy
flint, a pulse is longer and less symmetric than this says.

Sources: fused silica, I. H. Malitson, J. Opt. Soc. Am. 55, 1205 (1965); CaF2, I. H. Malitson, Appl. Opt. 2,
1103 (1963); sapphire (ordinary ray), I. H. Malitson and M. J. Dodge, J. Opt. Soc. Am. 62, 1405 (1972); N-BK7,
N-SF10, N-SF11, SF10, SF11, F2: Schott's catalogue of optical glass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from labctl.analysis.fluence import stretched_pulse_fs
from labctl.model.errors import CalibrationRefused

_C_UM_FS = 0.299792458


@dataclass(frozen=True, slots=True)
class Glass:
    """Sellmeier coefficients, and the wavelengths in um between which they hold."""

    b: tuple[float, float, float]
    c_um2: tuple[float, float, float]
    range_um: tuple[float, float]


GLASSES = MappingProxyType(
    {
        "fused silica": Glass(
            (0.6961663, 0.4079426, 0.8974794), (0.0684043**2, 0.1162414**2, 9.896161**2), (0.21, 3.71)
        ),
        "N-BK7": Glass(
            (1.03961212, 0.231792344, 1.01046945), (0.00600069867, 0.0200179144, 103.560653), (0.3, 2.5)
        ),
        "N-SF10": Glass(
            (1.62153902, 0.256287842, 1.64447552), (0.0122241457, 0.0595736775, 147.468793), (0.38, 2.5)
        ),
        "N-SF11": Glass(
            (1.73759695, 0.313747346, 1.89878101), (0.013188707, 0.0623068142, 155.23629), (0.37, 2.5)
        ),
        "SF10": Glass(
            (1.61625977, 0.259229334, 1.07762317), (0.0127534559, 0.0581983954, 116.60768), (0.38, 2.5)
        ),
        "SF11": Glass(
            (1.73848403, 0.311168974, 1.17490871), (0.0136068604, 0.0615960463, 121.922711), (0.37, 2.5)
        ),
        "F2": Glass(
            (1.34533359, 0.209073176, 0.937357162), (0.00997743871, 0.0470450767, 111.886764), (0.32, 2.5)
        ),
        "sapphire": Glass(
            (1.4313493, 0.65054713, 5.3414021), (0.0726631**2, 0.1193242**2, 18.028251**2), (0.2, 5.5)
        ),
        "CaF2": Glass(
            (0.5675888, 0.4710914, 3.8484723), (0.050263605**2, 0.1003909**2, 34.64904**2), (0.23, 9.7)
        ),
    }
)
_OTHER_NAMES = {"silica": "fused silica", "bk7": "N-BK7"}


def find_glass(name: str) -> Glass:
    """Return a glass by its name, in any case; BK7 stands for its present kind.

    :raises CalibrationRefused: it is not in the table.
    """
    key = str(name).strip().lower()
    key = _OTHER_NAMES.get(key, key).lower()
    for known, glass in GLASSES.items():
        if known.lower() == key:
            return glass
    raise CalibrationRefused(f"no dispersion of {str(name)!r:.60} is known; known are {', '.join(GLASSES)}")


def refractive_index(name: str, wavelength_nm: float) -> float:
    """Return the refractive index.

    :raises CalibrationRefused: an unknown glass, or a wavelength beyond its coefficients.
    """
    return _index(find_glass(name), _um(name, wavelength_nm))[0]


def gvd_fs2_mm(name: str, wavelength_nm: float) -> float:
    """Return the group-velocity dispersion, fs^2 per mm.

    :raises CalibrationRefused: an unknown glass, or a wavelength beyond its coefficients.

    >>> round(gvd_fs2_mm("fused silica", 800.0), 1)
    36.2
    """
    um = _um(name, wavelength_nm)
    curvature = _index(find_glass(name), um)[1]
    return um**3 / (2 * math.pi * _C_UM_FS**2) * curvature * 1e3


def _um(name: str, wavelength_nm: float) -> float:
    low, high = find_glass(name).range_um
    um = wavelength_nm / 1e3
    if not low <= um <= high:
        raise CalibrationRefused(
            f"the dispersion of {name} is known from {low * 1e3:g} to {high * 1e3:g} nm, not at "
            f"{wavelength_nm:g}"
        )
    return um


def _index(glass: Glass, um: float) -> tuple[float, float]:
    """Index and its second derivative by the wavelength, 1/um^2."""
    square, first, second = 1.0, 0.0, 0.0
    for b, c in zip(glass.b, glass.c_um2, strict=True):
        away = um**2 - c
        square += b * um**2 / away
        first += -2 * b * c * um / away**2
        second += 2 * b * c * (3 * um**2 + c) / away**3
    n = math.sqrt(square)
    slope = first / (2 * n)
    return n, second / (2 * n) - slope**2 / n


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of glass in the beam and how well its thickness is known."""

    glass: str
    thickness_mm: float
    sigma_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class PulseWidth:
    """Width at the sample, FWHM of a Gaussian pulse, and the dispersion it comes from; with standard errors.

    :param gdd_fs2: total; ``of_pieces_fs2`` that of each piece in turn.
    """

    width_fs: float
    sigma_fs: float
    gdd_fs2: float
    gdd_sigma_fs2: float
    of_pieces_fs2: tuple[float, ...]


def pulse_at_sample(
    source_fs: float,
    pieces: Sequence[Piece],
    wavelength_nm: float,
    *,
    source_sigma_fs: float = 0.0,
    other_gdd_fs2: float = 0.0,
    other_gdd_sigma_fs2: float = 0.0,
) -> PulseWidth:
    """Compute the pulse width behind glass.

    :param source_fs: width of the unchirped pulse, FWHM.
    :param other_gdd_fs2: of mirrors, a compressor (negative) or an objective, with its standard error.
    :raises CalibrationRefused: an unknown glass, a wavelength beyond its data, or numbers that make no sense.
    """
    numbers = [source_fs, source_sigma_fs, other_gdd_fs2, other_gdd_sigma_fs2]
    numbers += [x for piece in pieces for x in (piece.thickness_mm, piece.sigma_mm)]
    if not all(math.isfinite(x) and abs(x) < 1e9 for x in numbers) or not source_fs > 0:
        raise CalibrationRefused(
            "pulse width, thicknesses and dispersion must be numbers, the width positive"
        )
    if (
        min(
            [source_sigma_fs, other_gdd_sigma_fs2, *(x for p in pieces for x in (p.thickness_mm, p.sigma_mm))]
        )
        < 0
    ):
        raise CalibrationRefused("a thickness or a standard error is negative")
    gvd = [gvd_fs2_mm(piece.glass, wavelength_nm) for piece in pieces]
    parts = tuple(g * piece.thickness_mm for g, piece in zip(gvd, pieces, strict=True))
    errors = [g * piece.sigma_mm for g, piece in zip(gvd, pieces, strict=True)]
    gdd, gdd_sigma = sum(parts) + other_gdd_fs2, math.hypot(other_gdd_sigma_fs2, *errors)
    width = stretched_pulse_fs(source_fs, gdd)
    by_source = _change(
        lambda d: stretched_pulse_fs(max(source_fs + d, 0.1 * source_fs), gdd), source_sigma_fs
    )
    by_gdd = _change(lambda d: stretched_pulse_fs(source_fs, gdd + d), gdd_sigma)
    return PulseWidth(width, math.hypot(by_source, by_gdd), gdd, gdd_sigma, parts)


def _change(width: Callable[[float], float], sigma: float) -> float:
    """Rms change by a quantity one standard error up and down: right where the slope alone is zero, too."""
    middle = width(0.0)
    return math.sqrt(((width(sigma) - middle) ** 2 + (width(-sigma) - middle) ** 2) / 2)
