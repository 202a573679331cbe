"""The first screen: what is missing for each thing one can do, and the planned sweep before it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gui_bench import LONG_MS, Gate, bench_window
from pytestqt.qtbot import QtBot

from labctl.config import BenchConfig, RoleName
from labctl.gui.base.benchstate import NOTHING, lamp
from labctl.gui.base.guide import Situation, cards
from labctl.model.clock import Clock, Stop
from labctl.model.plan import SweepPlan
from labctl.model.records import Identity
from labctl.service.observed import Seen
from labctl.session.opening import Opened, open_all
from procedures.plan import fluences

CONNECTED = Situation(
    link="connected", seen=Seen(referenced=True), scale="scale uncertainty: ± 5 % (k = 1)", scale_known=True,
    planned="24 points, about 47 s",
)  # fmt: skip


@pytest.mark.parametrize(
    ("now", "card", "text", "label"),
    [
        (Situation(), 0, "Not connected", "Connect"),
        (Situation("connecting", (2, 4)), 0, "Connecting … 2 of 4 instruments answer", "Connect"),
        (Situation("failed", failed={"power_meter": "late"}), 0, "Meter does not answer", "Connect again"),
        (replace(CONNECTED, seen=Seen(referenced=False)), 0, "The mount is not homed", "Home"),
        (replace(CONNECTED, scale="not stated", scale_known=False), 0, "Not stated", "Calibrate"),
        (Situation(), 1, "The bench is not connected", "Start sweep"),
        (replace(CONNECTED, refused="Stop fluence: too high"), 1, "Stop fluence: too high", "Show the field"),
        (CONNECTED, 1, "24 points, about 47 s", "Start sweep"),
        (replace(CONNECTED, aligned="to: above the limit"), 2, "to: above the limit", "Show the fields"),
        (CONNECTED, 3, "No run is open; a bench is not needed", "Open…"),
        (replace(CONNECTED, opened=2), 3, "2 runs are open", "Open…"),
    ],
)
def test_each_card_says_the_one_thing_that_is_missing(
    now: Situation, card: int, text: str, label: str
) -> None:
    shown = cards(now)[card]
    assert (shown.text, shown.label) == (text, label)


def test_a_sweep_cannot_be_started_from_its_card_before_the_bench_is_there() -> None:
    assert not cards(Situation())[1].possible
    assert cards(CONNECTED)[1].possible
    assert cards(replace(CONNECTED, refused="x"))[1].act == "field"


def test_the_bench_is_seen_to_connect_and_the_first_screen_leads_to_a_sweep(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, gate = threading.Event(), Gate(monkeypatch, before_point=1)

    def slow(config: BenchConfig, clock: Clock, stop: Stop | None, met: Callable[..., None]) -> Opened:
        def told(role: RoleName, who: Identity) -> None:
            met(role, who)
            if role != "shutter":
                assert go_on.wait(LONG_MS / 1000)

        return open_all(config, clock, stop, told)

    monkeypatch.setattr("labctl.session.bench.open_all", slow)
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        first = window.live.cards.cards
        qtbot.waitUntil(lambda: "2 of 4 instruments answer" in first[0].text.text(), timeout=LONG_MS)
        assert window.strip.words.text() == "CONNECTING … 2 of 4 instruments answer"
        assert lamp("shutter", "connecting", NOTHING, (), "SC10").tone == "good"
        assert lamp("power_meter", "connecting", NOTHING, (), "").tone == "warn"
        go_on.set()
        qtbot.waitUntil(lambda: first[0].text.text() == "The mount is not homed", timeout=LONG_MS)
        first[0].button.click()
        qtbot.waitUntil(lambda: "not stated (6 of 6 links)" in first[0].text.text(), timeout=LONG_MS)
        # a field that is refused is shown where it is
        window.panels.setCurrentIndex(2)
        window.sweep.fields["stop"].fill("9000")
        qtbot.waitUntil(lambda: first[1].text.text().startswith("Stop fluence: "), timeout=LONG_MS)
        assert window.live.view.lightlight._planned is None
        first[1].button.click()
        assert window.sweep.isVisible()
        assert window.sweep.fields["stop"].edit.hasFocus()
        # the plan is drawn before it runs
        window.sweep.fields["stop"].fill("180")
        window.sweep.fields["points"].fill("9")
        plot = window.live.view.lightlight
        assert plot.isVisible()
        assert plot._ticks.xvals == pytest.approx(np.log10(fluences(SweepPlan(20, 180, 9))))
        low, high = plot._plot.vb.viewRange()[0]
        assert low < np.log10(20)
        assert high > np.log10(180)
        note = plot._note.toPlainText()
        assert "9 points" in note
        assert "dose " in note
        assert "highest fluence 180 µJ/cm²" in note
        assert plot._plot.getAxis("bottom").style["showValues"]
        assert not plot._plot.getAxis("left").style["showValues"]  # nothing was measured yet
        assert window.sweep.start_button.text() == "Start sweep: 9 points"
        window.sweep.fields["spacing"].fill("linear")
        assert plot._ticks.xvals[1] == pytest.approx(40.0)  # on linear axes
        # and while it runs
        qtbot.waitUntil(lambda: first[1].button.text() == "Start sweep", timeout=LONG_MS)
        first[1].button.click()
        qtbot.waitUntil(lambda: window.live.run is not None, timeout=LONG_MS)
        assert window.live.view.head.currentWidget() is window.live.view.strip
        assert window.panels.tabText(2) == "Queue (1)"
        assert window.sweep.start_button.text() == "Start sweep after this one: 9 points"
        window.sweep.fields["points"].fill("30")
        assert len(plot._ticks.xvals) == 9
        gate.open()
        qtbot.waitUntil(lambda: window.queue.running is None, timeout=LONG_MS)
        qtbot.waitUntil(lambda: window.panels.tabText(2) == "Queue", timeout=LONG_MS)
        assert plot._plot.getAxis("left").style["showValues"]
        assert plot._note.toPlainText() == ""
