"""What the single shots of a sweep say, at each of its fluences."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from labctl.analysis.shots.statistics import statistics_of_raw
from labctl.analysis.spectra.bands import bands_of
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.results.shot_statistics import ShotStatistics
from labctl.model.results.sweep import Threshold
from labctl.model.run import Points, RunFacts

LEAST, MOST = 3, 2000
"""Shots of a point that are looked at, evenly chosen."""
Q_SHOTS = 20
"""Shots of a point whose Q is fitted, evenly chosen: a fit takes some 20 ms, and a sweep has many points."""


def shots_of(
    points: Points,
    scalars: Sequence[SweepPoint],
    facts: RunFacts,
    threshold: Threshold,
    left_out: Set[int] = frozenset(),
) -> tuple[ShotStatistics, ...]:
    """Return what single shots say, one record a point of the run, in its order.

    No tail is stated of a fluence below the interval of the threshold; where none is known, of one whose mean
    spectrum shows no narrow line.

    :param points: whose exposures are single shots.
    :param scalars: of all points; those in ``left_out`` and those without frames or dark are passed over.
    """
    info, bands = facts.spectrometer, facts.edits.bands or facts.bands
    if info is None or bands is None:
        return ()
    darks, found = {dark.number: dark for dark in points.darks}, []
    for index, point in enumerate(scalars):
        dark = darks.get(point.dark_number)
        if index in left_out or dark is None:
            continue
        raw = thinned(points.point(index).frames, MOST)
        if len(raw) >= LEAST:
            found.append(
                statistics_of_raw(
                    raw,
                    dark.counts,
                    info,
                    point.fluence_uj_cm2,
                    bands=bands_of(bands),
                    below_threshold=is_below(point.fluence_uj_cm2, threshold),
                    q_shots=Q_SHOTS,
                )
            )
    return tuple(found)


def is_below(fluence_uj_cm2: float, threshold: Threshold) -> bool | None:
    """Return whether a fluence lies below the whole interval of the threshold, or below its lower bound.

    None where neither is known.
    """
    low = (threshold.ci95 or threshold.bound or (None,))[0]
    return None if low is None else fluence_uj_cm2 < low


def thinned(frames: FloatArray, most: int | None) -> FloatArray:
    """Return at most so many of some exposures, evenly chosen, or all; shape ``(exposure, pixel)``."""
    if most is None or len(frames) <= most:
        return frames
    return np.asarray(frames[np.linspace(0, len(frames) - 1, most).astype(np.intp)])
