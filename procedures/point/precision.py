"""How many exposures a point needs, and of which time: by a variance that is predicted before them.

Nothing that an exposure shows decides whether it, or another one after it, counts: a series that ends when it
looks good is biased, the more the heavier the tail of the shots. The points before tell what to expect.

An exposure of t seconds has the relative variance (C t + R) / (C t)^2 + k / (f t): C counts per second in the
emission's band, each taken for one photoelectron; R the noise of the detector in it, counts squared; k the
relative variance of a pulse's light, f the laser's rate.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from labctl.model.plan import LEAST_EXPOSURES, MOST_EXPOSURES, SweepPlan
from labctl.model.records import SweepPoint

_NEAREST = 3
"""In fluence: points from which the scatter of the pulses is known, by the median: each shows it badly."""
_OF_MEDIAN = 1.0 / 0.69
"""Mean of a variance of three over its median."""
_OF_FLUENCE = 0.5
"""Part of what the fluence's error makes of a signal, below which the exposures' own error is of no use."""
_LONGEST_ONES = 11
"""Of the longest exposures, one of them thrown away, make the light of a point at most."""
_LEAST_DARKS = 8
_STEEPEST = 6.0
"""Largest local exponent of the light that is believed."""
_MOST_KNOWN = 64
_SAME = 1.02
"""Fluences nearer to each other than this are one."""
FIRST_PULSE_CV = 0.1
"""Scatter of a pulse's light until one was seen."""


@dataclass(frozen=True, slots=True)
class Lit:
    """What one point tells of the next ones.

    :param counts_per_s: in the emission's band, less the dark.
    :param noise_counts2: variance of the dark in the band, one exposure.
    :param pulse_variance: relative, of one pulse's light.
    :param fluence_sigma_rel: point-to-point standard error of the fluence.
    """

    fluence_uj_cm2: float
    counts_per_s: float
    noise_counts2: float
    pulse_variance: float
    fluence_sigma_rel: float


def light_budget_s(plan: SweepPlan) -> float:
    """Return the light of a point at most, s, where a precision decides how many exposures it takes."""
    return min(plan.max_light_s, _LONGEST_ONES * plan.max_integration_s)


class Exposures:
    """Chooses time and number of a point's exposures.

    :param plan: with a fixed number of exposures, that is it, at the longest time that suits.
    :param photon_order: below threshold the light grows with this power of the fluence.
    """

    def __init__(self, plan: SweepPlan, photon_order: int, repetition_rate_hz: float) -> None:
        self._plan, self._order, self._rate_hz = plan, float(photon_order), repetition_rate_hz
        self._budget_s = light_budget_s(plan)
        self._known: deque[Lit] = deque(maxlen=_MOST_KNOWN)
        self._guessed = False

    @property
    def knows(self) -> bool:
        """Whether number and time can be said before any exposure of this fluence."""
        return self._plan.average is not None or bool(self._known)

    def guess(self, lit: Lit) -> None:
        """Take in what an exposure that is thrown away shows, until there is a point."""
        self._guessed = True
        if lit.counts_per_s > 0:
            self._known.append(lit)

    def learn_point(self, point: SweepPoint, noise_counts2: float) -> None:
        """Take in a point that was reduced.

        :param noise_counts2: variance of its dark in the emission's band, one exposure.
        """
        counts = point.signal * point.pulses_per_exposure
        if point.saturated_exposures == point.exposures or not (counts > 0 and point.fluence_uj_cm2 > 0):
            return
        noise = (counts + noise_counts2) / counts**2
        scatter = point.exposure_cv**2 if point.exposures > 1 else 0.0
        pulse_variance = max(scatter - noise, 0.0) * point.pulses_per_exposure
        rate = counts / point.integration_s
        self.take(Lit(point.fluence_uj_cm2, rate, noise_counts2, pulse_variance, point.fluence_sigma_rel))

    def take(self, lit: Lit) -> None:
        """Take in what a point shows; a guess is then forgotten."""
        if self._guessed:
            self._known.clear()
            self._guessed = False
        self._known.append(lit)

    def choose(self, fluence_uj_cm2: float, times_s: Sequence[float]) -> tuple[float, int]:
        """Return time and number of the exposures: the least light that reaches the precision.

        Where nothing does within the light of a point, what comes nearest.

        :param times_s: that suit the detector's range, rising; the longest where the number is fixed.
        """
        if self._plan.average is not None or not self._known:
            return times_s[-1], self._plan.least_exposures
        wanted = self._wanted_rel(fluence_uj_cm2) ** 2
        counts_per_s, pulse = self._expected_per_s(fluence_uj_cm2), self._pulse_variance(fluence_uj_cm2)
        ways = []
        for seconds in times_s:
            most = max(min(math.floor(self._budget_s / seconds) - 1, MOST_EXPOSURES), 1)
            variance = self._noise(counts_per_s * seconds) + pulse / (seconds * self._rate_hz)
            count = min(max(math.ceil(variance / wanted), min(LEAST_EXPOSURES, most)), most)
            missed = max(variance / count / wanted, 1.0)
            ways.append((missed, (count + 1) * seconds, seconds, count))
        _, _, seconds, count = min(ways)
        return seconds, count

    def darks(self, fluence_uj_cm2: float, seconds: float, count: int) -> int:
        """Return the exposures of a dark: its error is common to many points, and so less than their own.

        :param count: exposures of the point.
        """
        full = self._plan.dark_factor * count
        if self._plan.average is not None or not self._known:
            return full
        counts = self._expected_per_s(fluence_uj_cm2) * seconds
        share = self._known[-1].noise_counts2 / counts**2 / self._wanted_rel(fluence_uj_cm2) ** 2
        return min(max(math.ceil(self._plan.dark_factor * share), _LEAST_DARKS), max(full, _LEAST_DARKS))

    def _near(self, fluence_uj_cm2: float) -> list[Lit]:
        """Return the points nearest in fluence, of several at the same one the latest."""
        latest = list(reversed(self._known))
        return sorted(latest, key=lambda lit: _apart(lit, fluence_uj_cm2))[:_NEAREST]

    def _wanted_rel(self, fluence_uj_cm2: float) -> float:
        """Return the precision: not beyond what the fluence's own error makes useful."""
        of_fluence = self._order * max(lit.fluence_sigma_rel for lit in self._near(fluence_uj_cm2))
        return max(self._plan.precision, _OF_FLUENCE * of_fluence)

    def _expected_per_s(self, fluence_uj_cm2: float) -> float:
        """Predict from the nearest fluence below, by luminescence; else from above, as steep as seen."""
        latest = list(reversed(self._known))
        below = [lit for lit in latest if lit.fluence_uj_cm2 <= fluence_uj_cm2 * _SAME]
        near = min(below or latest, key=lambda lit: _apart(lit, fluence_uj_cm2))
        exponent = self._order
        above = [lit for lit in latest if lit.fluence_uj_cm2 > near.fluence_uj_cm2 * _SAME]
        if not below and above:
            next_ = min(above, key=lambda lit: _apart(lit, near.fluence_uj_cm2))
            steps = math.log(next_.counts_per_s / near.counts_per_s), _apart(next_, near.fluence_uj_cm2)
            exponent = min(max(steps[0] / steps[1], exponent), _STEEPEST)
        return float(near.counts_per_s * (fluence_uj_cm2 / near.fluence_uj_cm2) ** exponent)

    def _pulse_variance(self, fluence_uj_cm2: float) -> float:
        near = self._near(fluence_uj_cm2)
        return _OF_MEDIAN * statistics.median(lit.pulse_variance for lit in near)

    def _noise(self, counts: float) -> float:
        """Relative variance that detector and photoelectrons make in an exposure of so many counts."""
        return (counts + self._known[-1].noise_counts2) / counts**2


def _apart(lit: Lit, fluence_uj_cm2: float) -> float:
    return abs(math.log(lit.fluence_uj_cm2 / fluence_uj_cm2))
