"""What the shots of a stored run say, fluence by fluence: numbers, and sentences for people."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.evaluation import evaluate
from labctl.analysis.shots.statistics import statistics_of_raw
from labctl.analysis.spectra.bands import bands_of
from labctl.data.run import Run
from labctl.data.shots import StoredShots
from labctl.model.errors import DataError
from labctl.model.results.shot_statistics import Estimate, ShotStatistics

MOST_SHOTS, _BLOCK = 2000, 100
"""Shots of a fluence that are looked at, in blocks of so many in a row, evenly chosen."""
LEAST_Q = 10
"""Shots of known Q that make a median."""


def statistics_of(run: Run) -> tuple[ShotStatistics, ...]:
    """Return what the shots say, one record a fluence whose shots are all there.

    Of a sweep it is what was said at its end, unless the user has changed something since. Without a
    threshold, a mean spectrum without a narrow line counts as below it: no tail is stated then.

    :param run: that keeps every shot.
    :raises DataError: it keeps none, or what it says of its spectrometer is missing.
    """
    shots, info = run.shots, run.facts.spectrometer
    if shots is None or info is None:
        raise DataError(f"{run.path}: keeps no single shots")
    if len(run):
        said = run.result.shots if run.edits == run.result.edits else ()
        return said or evaluate(run, run.plan, run.facts).shots
    bands, found = bands_of(run.bands), []
    for row in shots.points:
        raw = _frames(shots, int(row["point"]))
        if len(raw) < 3:
            continue
        dark, fluence = run.darks[int(row["point"])].counts, float(row["fluence_uj_cm2"])
        found.append(statistics_of_raw(raw, dark, info, fluence, bands=bands, below_threshold=None))
    return tuple(found)


def _frames(shots: StoredShots, point: int) -> NDArray[np.float64]:
    """Read raw counts of shots in the light of a point, shape ``(shot, pixel)``."""
    places = shots.where("light", point)
    if places.size > MOST_SHOTS:
        starts = np.linspace(0, places.size - _BLOCK, MOST_SHOTS // _BLOCK).astype(np.intp)
        blocks = [places[start : start + _BLOCK] for start in starts]
    else:
        blocks = [places]
    pieces = [piece for block in blocks for piece in shots.pieces(block)]
    return np.concatenate(pieces).astype(np.float64) if pieces else np.empty((0, shots.pixels))


def lines_of(found: ShotStatistics) -> Iterator[str]:
    """Yield what the shots of a fluence say, one sentence each, without a full stop.

    >>> from labctl.model.results.shot_statistics import HeavyTail, Moments
    >>> moments = Moments(400, Estimate(8e3, 20.0), Estimate(0.12, 0.004), Estimate(), Estimate(0.3, 0.1))
    >>> for line in lines_of(ShotStatistics(120.0, moments, HeavyTail("not_stated", "too few shots"))):
    ...     print(line)
    400 shots at 120 uJ/cm2: CV 12.0 +- 0.4 %, skewness 0.30 +- 0.10
    too few shots
    """
    moments = found.moments
    own = (
        "" if moments.own_cv.value is None else f" ({_percent(moments.own_cv)} without the detector's noise)"
    )
    yield (
        f"{moments.n} shots at {found.fluence_uj_cm2:.4g} uJ/cm2: CV {_percent(moments.cv)}{own}, skewness "
        f"{_number(moments.skewness)}"
    )
    yield found.tail.reason
    if found.overlap is not None:
        yield found.overlap.reason
    if found.q is not None and found.q.q.size >= LEAST_Q:
        median = found.q.median
        yield (
            f"Q of a shot: {median.value:.0f} +- {median.sigma:.0f}, median of the {found.q.q.size} of "
            f"{found.q.shots} shots whose Q is known to 10 %"
        )


def _percent(estimate: Estimate) -> str:
    if estimate.value is None or estimate.sigma is None:
        return "not known"
    return f"{100 * estimate.value:.1f} +- {100 * estimate.sigma:.1f} %"


def _number(estimate: Estimate) -> str:
    if estimate.value is None or estimate.sigma is None:
        return "not known"
    return f"{estimate.value:.2f} +- {estimate.sigma:.2f}"
