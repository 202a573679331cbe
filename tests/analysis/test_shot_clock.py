"""A shot's bench time lies between its bounds, however late batches come."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.analysis.shot_clock import DRIFT, ShotClock
from labctl.model.shots import ShotBatch

NO_FRAMES = np.zeros((0, 1), np.uint16)


def batch(device_s: list[float], received_s: float, after_s: float = -math.inf) -> ShotBatch:
    times = np.array([round(1e6 * s) for s in device_s])
    return ShotBatch(NO_FRAMES, times, np.arange(times.size), 0.9e-3, received_s, after_s)


def test_without_a_batch_nothing_is_known() -> None:
    clock = ShotClock()
    assert clock.width_s == math.inf
    clock.add(batch([5.0], 105.2))
    assert clock.width_s == math.inf
    assert clock.latest_us(105.0) == math.inf
    assert clock.earliest_us(105.2) == pytest.approx(5e6, abs=1000)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 3.0), st.floats(0.0, 0.5)), min_size=1, max_size=30
    ),
    drift=st.floats(-DRIFT, DRIFT),
    marks_end=st.booleans(),
)
def test_the_truth_is_never_outside(
    steps: list[tuple[float, float, float]], drift: float, marks_end: bool
) -> None:
    clock, bench_s, free_s = ShotClock(), 100.0, 0.0

    def device(at_s: float) -> float:
        return (at_s - 60.0) * (1 + drift) + 0.9e-3 * marks_end

    asked_s = bench_s
    for span_s, late_s, reply_s in steps:
        exposed = [asked_s + span_s * k / 4 for k in (1, 2, 3)]
        counted_s = max(exposed[-1] + 0.9e-3 + late_s, free_s)
        free_s = counted_s + reply_s
        clock.add(batch([device(at) for at in exposed], free_s, asked_s))
        asked_s = counted_s
        now_s = free_s
        assert clock.earliest_us(now_s) <= 1e6 * device(now_s) + 1 <= clock.latest_us(now_s) + 2
    assert clock.width_s >= 0


def test_prompt_batches_narrow_the_bounds_and_a_late_one_does_not_widen_them() -> None:
    clock = ShotClock()
    clock.add(batch([1.0, 1.01], 101.02, 100.995))
    width_s = clock.width_s
    assert width_s < 0.03
    clock.add(batch([1.02, 2.0], 105.0, 101.01))
    assert clock.width_s <= width_s + 2 * DRIFT * 4.0
