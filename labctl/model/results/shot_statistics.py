"""What the single shots of one fluence say: scatter, tails, lines that go together, overlaps, Q of a shot.

Absent numbers are None. Fluences are in uJ/cm2 in the run's convention, light in counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from labctl.model.records import FloatArray

Interval = tuple[float, float]
TailStatus = Literal["heavy", "not_heavy", "not_stated"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its standard error; both None where the shots do not give it.

    :param value: dimensionless, or in the unit of the light.
    :param sigma: standard error, likewise.
    """

    value: float | None = None
    sigma: float | None = None


@dataclass(frozen=True, slots=True)
class Moments:
    """Scatter of the light of single shots.

    :param n: shots used.
    :param mean: counts a shot.
    :param cv: standard deviation over mean, the detector's noise included; None with a mean below three of
        its standard errors.
    :param own_cv: the same, the detector's noise taken out; None where noise explains it, within two of
        its errors.
    :param skewness: third central moment over the cube of the standard deviation.
    """

    n: int
    mean: Estimate
    cv: Estimate
    own_cv: Estimate
    skewness: Estimate


@dataclass(frozen=True, slots=True)
class HeavyTail:
    """Tail of the light of single shots: exponent of an alpha-stable law seen through noise and clipping.

    :param status: "heavy", "not_heavy", or "not_stated" with the reason.
    :param reason: one sentence.
    :param alpha: stability exponent, 0 to 2; 2 is a normal law, below 2 the variance does not exist.
    :param ci95: its 95 % interval.
    :param beta: skewness of the law, -1 to 1; 1 has a tail towards bright shots alone.
    :param n: shots used.
    :param clipped: how many of them are known only to be as bright as their value, or brighter.
    :param over_light_tailed: natural log of the likelihood over that of the better of a normal and a
        log-normal law.
    """

    status: TailStatus
    reason: str
    alpha: float | None = None
    ci95: Interval | None = None
    beta: float | None = None
    n: int = 0
    clipped: int = 0
    over_light_tailed: float | None = None


@dataclass(frozen=True, slots=True)
class LineCorrelation:
    """Which lines of a spectrum brighten together from shot to shot; arrays of shape ``(line, line)``.

    :param wavelength_nm: of the lines, nm, shape ``(line,)``.
    :param together: correlation of their light, -1 to 1, noise included.
    :param share: correlation, -1 to 1, of their shares of the light of all lines: what is common to all is
        gone. Shares add to 1, so lines that are independent of each other show about -1/(lines - 1).
    :param chance: correlation that independent lines exceed in 5 % of all cases, for one pair.
    """

    wavelength_nm: FloatArray
    together: FloatArray
    share: FloatArray
    chance: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """Distribution of the overlap q of pairs of shots (Parisi), beside that of surrogates.

    :param edges: of the bins of q, -1 to 1, shape ``(bin + 1,)``.
    :param density: of q, spectra freed of common brightness, shape ``(bin,)``; it integrates to 1.
    :param raw: density of the spectra less their mean alone; it integrates to 1.
    :param floor: mean density of the surrogates; it integrates to 1.
    :param rms: root of the mean square of q, 0 to 1.
    :param raw_rms: the same of the raw spectra, 0 to 1.
    :param floor_rms: the same of the surrogates, 0 to 1.
    :param floor_sigma: its standard deviation among the surrogates.
    :param above_floor: whether shots have more in common than noise explains.
    :param reason: one sentence.
    :param shots: shots compared with each other.
    """

    edges: FloatArray = field(repr=False)
    density: FloatArray = field(repr=False)
    raw: FloatArray = field(repr=False)
    floor: FloatArray = field(repr=False)
    rms: float
    raw_rms: float
    floor_rms: float
    floor_sigma: float
    above_floor: bool
    reason: str
    shots: int


@dataclass(frozen=True, slots=True)
class ShotQ:
    """Q of the brightest line, shot by shot, the spectrometer's resolution taken out.

    :param q: of each shot that shows a resolved line, Q known to 10 %, shape ``(k,)``.
    :param wavelength_nm: where that line was, nm, shape ``(k,)``.
    :param median: Q, and the standard error of the median.
    :param shots: shots that were searched.
    """

    q: FloatArray = field(repr=False)
    wavelength_nm: FloatArray = field(repr=False)
    median: Estimate
    shots: int


@dataclass(frozen=True, slots=True)
class ShotStatistics:
    """All that the shots of one fluence say.

    :param fluence_uj_cm2: mean of the shots, uJ/cm2.
    :param moments: scatter of the light in the whole emission.
    :param tail: of the light in the lasing band.
    :param overlap: of the spectra; None with too few shots.
    :param lines: which lines go together; None with fewer than two.
    :param q: of single shots; None without a line.
    """

    fluence_uj_cm2: float
    moments: Moments
    tail: HeavyTail
    overlap: Overlap | None = None
    lines: LineCorrelation | None = None
    q: ShotQ | None = None
