"""Pulses: how many per second, how much energy each holds, and how much that varies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import scipy
from numpy.typing import ArrayLike

from labctl.analysis.calibration import noisefit
from labctl.analysis.calibration.noisefit import NORMAL_95
from labctl.analysis.fluence import mean_square_factor, stretched_pulse_fs
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

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
    raise CalibrationRefused(f"unknown dispersion of {str(name)!r:.60}; known: {', '.join(GLASSES)}")


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

    :param gdd_fs2: group-delay dispersion of all pieces.
    """

    width_fs: float
    sigma_fs: float
    gdd_fs2: float
    gdd_sigma_fs2: float


def pulse_at_sample(
    source_fs: float,
    pieces: Sequence[Piece],
    wavelength_nm: float,
    *,
    source_sigma_fs: float = 0.0,
) -> PulseWidth:
    """Compute the pulse width behind glass.

    :param source_fs: width of the unchirped pulse, FWHM.
    :raises CalibrationRefused: an unknown glass, a wavelength beyond its data, or numbers that make no sense.
    """
    numbers = [source_fs, source_sigma_fs]
    numbers += [x for piece in pieces for x in (piece.thickness_mm, piece.sigma_mm)]
    if not all(math.isfinite(x) and abs(x) < 1e9 for x in numbers) or not source_fs > 0:
        raise CalibrationRefused(
            "pulse width, thicknesses and dispersion must be numbers, the width positive"
        )
    if min(numbers) < 0:
        raise CalibrationRefused("a thickness or a standard error is negative")
    gvd = [gvd_fs2_mm(piece.glass, wavelength_nm) for piece in pieces]
    parts = tuple(g * piece.thickness_mm for g, piece in zip(gvd, pieces, strict=True))
    errors = [g * piece.sigma_mm for g, piece in zip(gvd, pieces, strict=True)]
    gdd, gdd_sigma = sum(parts), math.hypot(*errors)
    width = stretched_pulse_fs(source_fs, gdd)
    by_source = _change(
        lambda d: stretched_pulse_fs(max(source_fs + d, 0.1 * source_fs), gdd), source_sigma_fs
    )
    by_gdd = _change(lambda d: stretched_pulse_fs(source_fs, gdd + d), gdd_sigma)
    return PulseWidth(width, math.hypot(by_source, by_gdd), gdd, gdd_sigma)


def _change(width: Callable[[float], float], sigma: float) -> float:
    """Rms change by a quantity one standard error up and down: right where the slope alone is zero, too."""
    middle = width(0.0)
    return math.sqrt(((width(sigma) - middle) ** 2 + (width(-sigma) - middle) ** 2) / 2)


LEAST_PULSES = 20
MOST_CV = 0.5
_SURE = 3.3


@dataclass(frozen=True, slots=True)
class PulseStatistics:
    """Energies of single pulses; each with its standard error, the 95 % interval over 3.92.

    :param pulse_cv: standard deviation over mean, the meter's noise taken out, drift included.
    :param fast_cv: the same from one pulse to the next, slow drift left out.
    :param two_photon_factor: <F^2> / <F>^2 = 1 + CV^2.
    :param flags: "drift" where slow changes are beyond chance; "noise" where the meter's noise is more than
        half of the variance, so that the CV is an upper limit rather than a number.
    """

    mean_j: float
    mean_sigma_j: float
    pulse_cv: float
    pulse_cv_sigma: float
    fast_cv: float
    two_photon_factor: float
    two_photon_factor_sigma: float
    n: int
    flags: tuple[str, ...]


def pulse_statistics(
    energy_j: ArrayLike, *, noise_j: float = 0.0, noise_sigma_rel: float = 0.1
) -> PulseStatistics:
    """Describe the energies of consecutive single pulses.

    :param energy_j: shape ``(n,)``, n >= 20, in order of time.
    :param noise_j: standard deviation of one reading without light; ``noise_sigma_rel`` how well it is known.
    :raises CalibrationRefused: too few pulses, no light, or energies that jump as those of no laser do.
    """
    energy = noisefit.column(noisefit.columns(LEAST_PULSES, ("energy_j", energy_j))[0])
    if not (0 <= noise_j < math.inf and 0 <= noise_sigma_rel < 1):
        raise CalibrationRefused(f"a noise of {noise_j} J is not valid")
    n, mean = energy.size, float(np.mean(energy))
    if not mean > _SURE * noise_j / math.sqrt(n) or not mean > 0:
        raise CalibrationRefused("no pulse energy above the meter's noise: the beam does not reach the head")
    rest = energy / mean - 1
    total, noise = float(np.mean(rest**2)) * n / (n - 1), (noise_j / mean) ** 2
    fast = float(np.mean(np.diff(rest) ** 2)) / 2
    if total > MOST_CV**2:
        raise CalibrationRefused(
            f"the pulses vary by {math.sqrt(total):.0%}: the trigger counts noise or misses pulses"
        )
    variance = max(total - noise, 0.0)
    spread = math.hypot(_variance_error(rest), 2 * noise * noise_sigma_rel)
    cv = math.sqrt(variance)
    flags = ["drift"] if total - fast > _SURE * fast * math.sqrt(2 / n) else []
    if noise > 0.5 * total:
        flags.append("noise")
    return PulseStatistics(
        mean_j=mean,
        mean_sigma_j=_mean_error(energy) * float(scipy.stats.t.ppf(0.975, n - 1)) / NORMAL_95,
        pulse_cv=cv,
        pulse_cv_sigma=min(spread / (2 * cv) if cv > 0 else math.inf, math.sqrt(spread)),
        fast_cv=math.sqrt(max(fast - noise, 0.0)),
        two_photon_factor=mean_square_factor(cv),
        two_photon_factor_sigma=spread,
        n=n,
        flags=tuple(flags),
    )


def _variance_error(rest: FloatArray) -> float:
    """Standard error of a variance from the fourth moment: pulses need not be normal."""
    second, fourth = float(np.mean(rest**2)), float(np.mean(rest**4))
    return math.sqrt(max(fourth - second**2, 2 * second**2) / rest.size)


def _mean_error(energy: FloatArray) -> float:
    """Standard error of a mean, neighbours that belong together counted once: by blocks as far as needed."""
    best, size = 0.0, 1
    while energy.size // size >= 16:
        blocks = energy[: energy.size // size * size].reshape(-1, size).mean(axis=1)
        error = float(np.std(blocks, ddof=1)) / math.sqrt(blocks.size)
        if size == 1 or error > best * (1 + _SURE / math.sqrt(2 * blocks.size)):
            best = error
        size *= 2
    return best or float(np.std(energy, ddof=1)) / math.sqrt(energy.size)
