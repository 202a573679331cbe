"""Pulses: how many per second, how much energy each holds, and how much that varies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from labctl.analysis.calibration import checks
from labctl.analysis.calibration.noisefit import NORMAL_95
from labctl.analysis.fluence import mean_square_factor
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

LEAST_PULSES = 20
LEAST_GATES = 3
MOST_CV = 0.5
MOST_DOUBTFUL = 1 / 3
_MISSING = 0.02  # of the pulses of a gate may be missing, or double, before a count is doubtful
_OFF = 0.1  # a rate farther from the stated one counts something else
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
    energy = checks.column(checks.columns(LEAST_PULSES, ("energy_j", energy_j))[0])
    if not (0 <= noise_j < math.inf and 0 <= noise_sigma_rel < 1):
        raise CalibrationRefused(f"a noise of {noise_j} J makes no sense")
    n, mean = energy.size, float(np.mean(energy))
    if not mean > _SURE * noise_j / math.sqrt(n) or not mean > 0:
        raise CalibrationRefused("no pulse energy above the meter's noise: the beam does not reach the head")
    rest = energy / mean - 1
    total, noise = float(np.mean(rest**2)) * n / (n - 1), (noise_j / mean) ** 2
    fast = float(np.mean(np.diff(rest) ** 2)) / 2
    if total > MOST_CV**2:
        raise CalibrationRefused(
            f"the pulses vary by {math.sqrt(total):.0%}: the trigger catches noise or misses pulses"
        )
    variance = max(total - noise, 0.0)
    spread = math.hypot(_variance_error(rest), 2 * noise * noise_sigma_rel)
    cv = math.sqrt(variance)
    flags = ["drift"] if total - fast > _SURE * fast * math.sqrt(2 / n) else []
    if noise > 0.5 * total:
        flags.append("noise")
    return PulseStatistics(
        mean_j=mean,
        mean_sigma_j=_mean_error(energy) * float(t.ppf(0.975, n - 1)) / NORMAL_95,
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


@dataclass(frozen=True, slots=True)
class RepetitionRate:
    """Pulses per second. ``doubtful`` are the numbers of the gates whose count was left out: repeat them.

    :param relative_to_stated: over the stated rate, where one was given.
    """

    rate_hz: float
    sigma_hz: float
    gates: int
    doubtful: tuple[int, ...]
    relative_to_stated: float | None = None


def repetition_rate(
    counts: ArrayLike, gate_s: ArrayLike, *, stated_hz: float | None = None
) -> RepetitionRate:
    """Find the rate from pulses counted in gates.

    A gate not locked to the laser holds floor or ceil of rate x time; counts that differ from the median by
    more than that and 2 % are doubtful: too few, the trigger lost pulses; too many, it caught noise.

    :param counts: pulses in each gate, shape ``(n,)``, n >= 3; ``gate_s`` the lengths, likewise or one.
    :raises CalibrationRefused: too few gates or pulses, a third doubtful, or far from the stated rate.
    """
    number = checks.column(checks.columns(LEAST_GATES, ("counts", counts))[0])
    try:
        lengths = np.broadcast_to(np.asarray(gate_s, dtype=np.float64), number.shape)
    except (TypeError, ValueError):
        raise CalibrationRefused("gate_s must be one length, or one for each count") from None
    if not (np.isfinite(lengths).all() and (lengths > 0).all() and (number >= 0).all()):
        raise CalibrationRefused("gates must have positive lengths, and counts must not be negative")
    rates = number / lengths
    middle = float(np.median(rates))
    if not middle * float(np.min(lengths)) >= 5:
        raise CalibrationRefused(
            f"about {middle * float(np.median(lengths)):.0f} pulses in a gate: no light, no trigger, "
            "or gates too short"
        )
    expected = middle * lengths
    bad = np.abs(number - expected) > np.maximum(1.5, _MISSING * expected)
    _refuse_doubtful(number, expected if stated_hz is None else stated_hz * lengths, bad)
    good = ~bad
    n = int(np.count_nonzero(good))
    total = float(np.sum(lengths[good]))
    rate = float(np.sum(number[good])) / total
    rest = number[good] - rate * lengths[good]
    spread = max(float(np.sum(rest**2)) / max(n - 1, 1), 1 / 12)  # a whole number is known to 1/sqrt(12)
    sigma = math.sqrt(spread * n) / total * float(t.ppf(0.975, max(n - 1, 2))) / NORMAL_95
    return RepetitionRate(
        rate, sigma, n, tuple(int(i) for i in np.flatnonzero(bad)), _stated(rate, stated_hz)
    )


def _refuse_doubtful(number: FloatArray, expected: FloatArray, bad: np.ndarray) -> None:
    if np.count_nonzero(bad) <= MOST_DOUBTFUL * bad.size:
        return
    few = int(np.count_nonzero(number < expected * (1 - _MISSING)))
    many = int(np.count_nonzero(number > expected * (1 + _MISSING)))
    cause = "the trigger loses pulses" if few > many else "the trigger catches noise"
    raise CalibrationRefused(
        f"{np.count_nonzero(bad)} of {bad.size} counts differ from the others by more than 2 %: "
        f"{cause}; set its level"
    )


def _stated(rate: float, stated_hz: float | None) -> float | None:
    if stated_hz is None:
        return None
    if not 0 < stated_hz < math.inf:
        raise CalibrationRefused(f"a stated rate of {stated_hz} Hz is not positive")
    off = rate / stated_hz
    if abs(off - 1) <= _OFF:
        return off
    whole = max(round(off), 1)
    cause = "a pulse picker or another rate"
    if off > 1 and abs(off - whole) < 0.05 * whole:
        cause = f"{whole} counts for each pulse, or a rate {whole} times as high"
    raise CalibrationRefused(
        f"{rate:.5g} pulses per second instead of {stated_hz:g}: {cause}; check the trigger"
    )
