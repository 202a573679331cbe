"""A reference with dark points: the curve drawn from it may fall below zero, and tracking must bear it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labctl.analysis.threshold import ThresholdTracker, fit_threshold

FLUENCE = (29.8, 36.9, 44.5, 55.2, 65.9, 81.2, 99.1, 121.0, 147.5, 179.3)
SIGNAL = (-0.8, -0.2, 167.4, 266.8, 377.7, 805.2, 4047.8, 7978.1, 13021.1, 19432.0)
"""The shutter let the light through two points late."""


def test_a_tracked_threshold_is_a_number_or_none() -> None:
    tracker = ThresholdTracker(fit_threshold(FLUENCE, SIGNAL, photon_order=2), noise_rel=0.14, keep=1)
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        found = tracker.add((61.2, 92.1, 129.7), (323.4, 2798.9, 9677.2))
    assert found.status == "found"
    assert found.threshold_uj_cm2 == pytest.approx(80.0, rel=0.05)
    assert found.ci95 is not None
    assert found.ci95[0] < 80.0 < found.ci95[1]


@pytest.mark.parametrize("signal", [(0.0, 0.0, 0.0), (-5.0, -3.0, -9.0)])
def test_a_readout_in_the_dark_holds_no_threshold(signal: tuple[float, ...]) -> None:
    tracker = ThresholdTracker(fit_threshold(FLUENCE, SIGNAL, photon_order=2), noise_rel=0.14)
    found = tracker.add((61.2, 92.1, 129.7), signal)
    assert found.status == "not_found"
    assert found.threshold_uj_cm2 is None
    again = tracker.add((61.2, 92.1, 129.7), (323.4, 2798.9, 9677.2))
    assert again.threshold_uj_cm2 is None or math.isfinite(again.threshold_uj_cm2)
