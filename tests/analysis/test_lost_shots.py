"""Lost shots are counted exactly, by cause, and no pulse is ever taken for its neighbour."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.analysis.lost_shots import COUNTS, Numbered, ShotCounter
from labctl.model.errors import DataError
from labctl.model.shots import Gap, IntArray, ShotTally


def burst(
    pulses: int,
    *,
    unseen: Collection[int] = (),
    lost: Collection[int] = (),
    ppm: float = 0.0,
    jitter_us: int = 0,
    first_count: int = 100,
) -> tuple[IntArray, IntArray, IntArray]:
    """Return device times, spectrum counts and true pulse numbers of the shots that were kept."""
    rng = np.random.default_rng(5)
    exposed = [n for n in range(pulses) if n not in unseen]
    counts = {pulse: (first_count + place) % COUNTS for place, pulse in enumerate(exposed)}
    kept = [n for n in exposed if n not in lost]
    times = [round(n * 1000 * (1 + 1e-6 * ppm)) + int(rng.integers(0, jitter_us + 1)) for n in kept]
    return np.array(times), np.array([counts[n] for n in kept]), np.array(kept)


def added(counter: ShotCounter, times: IntArray, counts: IntArray, cuts: list[int]) -> Numbered:
    """Add the shots in batches that begin at the cuts."""
    edges = [0, *sorted({c for c in cuts if 0 < c < times.size}), times.size]
    parts = [counter.add(times[a:b], counts[a:b]) for a, b in pairwise(edges)]
    return Numbered(np.concatenate([p.pulse for p in parts]), tuple(g for p in parts for g in p.gaps))


def test_nothing_lost_is_nothing_flagged() -> None:
    counter = ShotCounter(1000.0)
    times, counts, pulse = burst(500, jitter_us=3)
    found = added(counter, times, counts, [15, 30, 300])
    assert found.pulse.tolist() == pulse.tolist()
    assert found.gaps == ()
    assert counter.tally == ShotTally(kept=500)
    assert counter.tally.flags == ()


def test_each_cause_is_named_and_counted() -> None:
    counter = ShotCounter(1000.0)
    times, counts, pulse = burst(400, unseen={50, 51, 200}, lost={100, 101, 102, 201})
    found = added(counter, times, counts, [100])
    assert found.pulse.tolist() == pulse.tolist()
    assert found.gaps == (
        Gap(50, 2, "trigger"),
        Gap(100, 3, "buffer"),
        Gap(200, 1, "buffer"),
        Gap(201, 1, "trigger"),
    )
    assert counter.tally == ShotTally(kept=393, lost_in_buffer=4, lost_triggers=3)
    assert counter.tally.flags == ("shots_lost_in_buffer", "shots_without_trigger")


@settings(max_examples=200, deadline=None)
@given(
    unseen=st.sets(st.integers(1, 298), max_size=60),
    lost=st.sets(st.integers(1, 298), max_size=60),
    cuts=st.lists(st.integers(1, 299), max_size=6),
    ppm=st.floats(-100, 100),
    first_count=st.sampled_from([0, 7, COUNTS - 150, COUNTS - 1]),
)
def test_whatever_is_lost_every_kept_shot_has_its_own_pulse(
    unseen: set[int], lost: set[int], cuts: list[int], ppm: float, first_count: int
) -> None:
    counter = ShotCounter(1000.0)
    times, counts, pulse = burst(300, unseen=unseen, lost=lost, ppm=ppm, jitter_us=5, first_count=first_count)
    found = added(counter, times, counts, cuts)
    assert found.pulse.tolist() == pulse.tolist()
    tally = counter.tally
    assert tally.kept + tally.lost == 300
    assert tally.lost_triggers == len(unseen)
    assert tally.lost_in_buffer == len(lost - unseen)
    assert sum(gap.lost for gap in found.gaps) == tally.lost


def test_a_gap_of_a_minute_is_counted_by_the_period_that_the_device_shows() -> None:
    counter = ShotCounter(1000.0)
    times, counts, pulse = burst(61_000, lost=set(range(400, 60_400)), ppm=80.0)
    found = added(counter, times, counts, [])
    assert found.pulse.tolist() == pulse.tolist()
    assert counter.tally.lost_in_buffer == 60_000
    assert counter.period_us == pytest.approx(1000.08, abs=0.01)


def test_a_clock_that_does_not_step_by_periods_is_flagged() -> None:
    counter = ShotCounter(1000.0)
    counter.add(np.arange(0, 50_000, 1000), np.arange(50))
    counter.add(np.array([50_500, 51_500]), np.array([50, 51]))
    assert counter.tally.irregular == 1
    assert counter.tally.flags == ("shots_without_trigger", "irregular_shots")


def test_more_exposures_than_pulses_are_flagged() -> None:
    counter = ShotCounter(1000.0)
    found = counter.add(np.array([0, 1000, 2000, 3000]), np.array([5, 6, 9, 10]))
    assert found.pulse.tolist() == [0, 1, 4, 5]
    assert counter.tally.irregular == 1
    assert counter.tally.lost_in_buffer == 2


@pytest.mark.parametrize(
    ("times", "counts"), [([0, 1000, 500], [1, 2, 3]), ([0, 1000, 2000], [5, 6, 6]), ([0, 1000], [9, 3])]
)
def test_what_comes_twice_or_begins_again_is_refused(times: list[int], counts: list[int]) -> None:
    with pytest.raises(DataError, match="do not follow each other"):
        ShotCounter(1000.0).add(np.array(times), np.array(counts))
