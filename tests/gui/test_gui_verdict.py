"""The strip with the threshold: what may still change is not shown like what is certain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytestqt.qtbot import QtBot

from labctl.gui.plots.verdict import VerdictStrip
from labctl.model.results.sweep import BandThreshold


@pytest.mark.parametrize("provisional", [True, False])
def test_a_number_that_may_be_overturned_says_so(qtbot: QtBot, provisional: bool) -> None:
    strip = VerdictStrip()
    qtbot.addWidget(strip)
    flags = ("few_above",) if provisional else ()
    found = BandThreshold("found", threshold_uj_cm2=79.81, ci95=(79.0, 80.5), flags=flags)
    strip.show_threshold("OLA", found)
    assert "79.8" in strip.value.text()
    assert ("provisional" in strip.interval.text()) is provisional


def test_a_bound_that_hangs_on_a_condition_is_no_number(qtbot: QtBot) -> None:
    strip = VerdictStrip()
    qtbot.addWidget(strip)
    told = "if the lowest points are luminescence, no threshold below 263 uJ/cm2"
    found = BandThreshold("not_found", told, bound=(263.1, None))
    strip.show_threshold("OLA", found)
    assert strip.value.text() == "> 263 µJ/cm²"
    strip.show_threshold("OLA", replace(found, bound_condition="if the lowest points are luminescence"))
    assert strip.value.text() == "none found"
    assert "if the lowest points are luminescence" in strip.details.toolTip()
