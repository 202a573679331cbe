"""Whole sweeps driven through the real window: queue, pause, abort, failures, the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from gui_bench import LONG_MS, Gate, bench_window, is_safe
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QDialog, QMessageBox
from pytestqt.qtbot import QtBot

from labctl.config import BenchConfig
from labctl.data import read_run
from labctl.gui.shell.benchwindow import BenchWindow
from procedures.gate.pump import Pump


def queue_sweep(window: BenchWindow, points: int, name: str = "OLA film", average: int = 3) -> int:
    panel = window.sweep
    for field, text in (
        (panel.fields["start"], "30"),
        (panel.fields["stop"], "170"),
        (panel.fields["points"], str(points)),
        (panel.fields["average"], str(average)),
        (panel.fields["reference_every"], "0"),
    ):
        field.fill(text)
    panel.sample.set_text(name)
    panel.start_button.click()
    return window.queue._count


def test_a_whole_sweep(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, simulated):
        number = queue_sweep(window, 12, average=2)
        qtbot.waitUntil(lambda: window.queue.status(number) != "running", timeout=LONG_MS)
        assert window.queue.status(number) == "finished"
        run = window.live.run
        assert run is not None
        assert (len(run), run.status) == (12, "finished")
        assert is_safe(simulated)
        qtbot.waitUntil(lambda: window.fits.idle and bool(window.runs.view.runs), timeout=LONG_MS)
        truth = simulated.scene.truth.threshold_uj_cm2
        assert window.queue.threshold == pytest.approx(truth, rel=0.04)
        qtbot.waitUntil(lambda: "µJ" in window.live.view.strip.value.text(), timeout=LONG_MS)
        assert run.facts.path is not None
        stored = read_run(run.facts.path)
        assert (stored.status, len(stored)) == ("finished", 12)
        assert run.column("signal") == pytest.approx(stored.signal)
        assert list(window.runs.view.runs) == [str(run.facts.path.resolve())]
        # What is exported is the run on the screen.
        assert window.tabs.currentWidget() is window.live
        window.export_shown()
        assert window.tabs.currentWidget() is window.live
        assert window.runs._exported is run
        window.close_dialogs()
        # Refined round the threshold: a second run, denser there.
        window.queue.refine.click()
        again = window.queue._count
        assert again == number + 1
        job = window.queue.running
        assert job is not None
        assert job.plan is not None
        assert sum(abs(f / truth - 1) < 0.2 for f in job.plan.fluences_uj_cm2) >= 8
        window.queue.abort_button.click()
        qtbot.waitUntil(lambda: window.queue.status(again) == "aborted", timeout=LONG_MS)


def test_a_blank_is_asked_for_and_then_the_sample(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, simulated):
        window.sweep.fields["background"].fill("blank")
        number = queue_sweep(window, 3, average=2)
        for what in ("blank", "sample"):
            qtbot.waitUntil(lambda what=what: what in window.agree.text.text(), timeout=LONG_MS)  # type: ignore[misc]
            assert window.agree.isVisible()
            assert simulated.scene.shutter.closed_switch()
            assert not window.agree.agree.isEnabled()  # light follows: a word is typed
            window.agree.word.set_text("light")
            window.agree.agree.click()
        qtbot.waitUntil(lambda: window.queue.status(number) == "finished", timeout=LONG_MS)
        assert window.live.run is not None
        assert window.live.run.facts.path is not None
        stored = read_run(window.live.run.facts.path)
        assert (len(stored), stored.plan.background) == (3, "blank")
        # Who says that it is not there ends the run in the dark.
        second = queue_sweep(window, 3, average=2)
        qtbot.waitUntil(lambda: window.agree.isVisible(), timeout=LONG_MS)
        window.agree.leave.click()
        qtbot.waitUntil(lambda: window.queue.status(second) == "aborted", timeout=LONG_MS)
        assert window.queue.reason(second) == "aborted before the first point"
        assert is_safe(simulated)


def test_pause_resume_abort_and_the_next_begins(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, before_point=2)
    with bench_window(qtbot, tmp_path) as (window, simulated):
        first = queue_sweep(window, 40, "first")
        second = queue_sweep(window, 2, "second")
        assert window.queue.status(second) == "waiting"
        qtbot.waitUntil(lambda: window.live.run is not None and len(window.live.run) == 2, timeout=LONG_MS)
        window.queue.pause.click()
        job = window.queue.running
        assert job is not None
        gate.open()
        qtbot.waitUntil(lambda: job.pause.standing, timeout=LONG_MS)
        assert simulated.scene.shutter.closed_switch()
        run = window.live.run
        assert run is not None
        qtbot.waitUntil(lambda: len(run) == 3, timeout=LONG_MS)  # the point that was under way
        qtbot.wait(200)
        assert len(run) == 3
        assert window.queue.pause.text() == "Resume"
        window.queue.pause.click()
        qtbot.waitUntil(lambda: len(run) > 3, timeout=LONG_MS)
        window.queue.abort_button.click()
        qtbot.waitUntil(lambda: window.queue.status(first) == "aborted", timeout=LONG_MS)
        qtbot.waitUntil(lambda: window.queue.status(second) == "finished", timeout=LONG_MS)
        assert run.facts.path is not None
        assert read_run(run.facts.path).status == "aborted"
        assert is_safe(simulated)


def test_a_failing_instrument_is_told_and_stalls_nothing(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, before_point=2)
    with bench_window(qtbot, tmp_path, silence=True) as (window, simulated):
        first = queue_sweep(window, 40, "first")
        second = queue_sweep(window, 2, "second")
        qtbot.waitUntil(lambda: window.live.run is not None and len(window.live.run) >= 2, timeout=LONG_MS)
        simulated.server("power_meter").stop()
        gate.open()
        qtbot.waitUntil(lambda: window.queue.status(first) == "failed", timeout=LONG_MS)
        assert "power_meter" in window.queue.reason(first)
        qtbot.waitUntil(lambda: window.queue.status(second) == "failed", timeout=LONG_MS)
        assert "power_meter" in window.queue.reason(second)
        qtbot.waitUntil(lambda: window.connection.isVisible(), timeout=LONG_MS)
        assert "power_meter" in window.connection.text.text()
        assert "try:" in window.connection.text.text()
        assert is_safe(simulated)


def test_all_that_do_not_answer_are_listed(qtbot: QtBot, tmp_path: Path) -> None:
    def broken(config: BenchConfig) -> BenchConfig:
        nobody = {"resource": "TCPIP::127.0.0.1::9::SOCKET"}
        changes = {r: getattr(config, r).model_copy(update=nobody) for r in ("attenuator", "shutter")}
        return config.model_copy(update=changes)

    with bench_window(qtbot, tmp_path, edit=broken, connected=False) as (window, _):
        qtbot.waitUntil(lambda: window.connection.isVisible(), timeout=LONG_MS)
        text = window.connection.text.text()
        assert "attenuator" in text
        assert "shutter" in text
        assert text.count("try:") == 2
        assert not window.manual.set_fluence.isEnabled()


def asking(window: BenchWindow) -> QDialog | None:
    return window._leaving


def button(box: QMessageBox, text: str) -> QAbstractButton:
    return next(one for one in box.buttons() if one.text() == text)


def test_closing_in_a_run_asks_and_ends_it_and_leaves_a_safe_bench(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, before_point=1)
    with bench_window(qtbot, tmp_path) as (window, simulated):
        queue_sweep(window, 40)
        qtbot.waitUntil(lambda: window.live.run is not None and len(window.live.run) >= 1, timeout=LONG_MS)
        run = window.live.run
        ended: list[bool] = []
        window.ended.connect(lambda: ended.append(True))
        window.close()
        assert window.isVisible()  # a question comes first
        asked = asking(window)
        assert isinstance(asked, QMessageBox)
        assert not asked.isModal()
        assert asked.text() == (
            "The sweep is still running. Every point so far is kept, and the run can be resumed."
        )
        QTest.mouseClick(button(asked, "Let it run"), Qt.MouseButton.LeftButton)
        assert asking(window) is None
        assert not window.service.stop.is_set()
        window.close()
        asked = asking(window)
        assert isinstance(asked, QMessageBox)
        QTest.mouseClick(button(asked, "End it and quit"), Qt.MouseButton.LeftButton)
        gate.open()
        assert not window.isVisible()
        qtbot.waitUntil(lambda: bool(ended), timeout=LONG_MS)
        assert is_safe(simulated)
        assert run is not None
        assert run.facts.path is not None
        assert read_run(run.facts.path).status == "aborted"


def test_fields_refuse_while_typing_and_say_why(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        panel = window.sweep
        edit = panel.fields["stop"].edit
        edit.setFocus()
        edit.selectAll()
        QTest.keyClicks(edit, "5000")
        assert "above the limit" in panel.fields["stop"].reason.text()
        assert not panel.start_button.isEnabled()
        assert panel.start_button.text() == "Start sweep"
        assert panel.forecast.isHidden()
        QTest.keyClick(edit, Qt.Key.Key_Backspace)
        assert panel.fields["stop"].reason.text() == ""
        assert "highest fluence 500 µJ/cm²" in panel.forecast.text()
        assert panel.start_button.isEnabled()
        panel.fields["start"].fill("600")
        assert "below stop" in panel.fields["start"].reason.text()
        panel.fields["start"].fill("abc")
        assert "not a number" in panel.fields["start"].reason.text()
        panel.fields["start"].fill("30")
        panel.fields["points"].fill("2.5")
        assert panel.fields["points"].reason.text() == "'2.5' is not a whole number"
        panel.fields["points"].fill("12")
        panel.sample.set_text("")
        assert not panel.start_button.isEnabled()
        panel.sample.set_text("film")
        panel.apply_preset("Adaptive to 3 %")
        plan = panel.plan()
        assert plan is not None
        assert type(plan).__name__ == "AdaptivePlan"
        panel.adaptive.setChecked(False)
        panel.fields["spacing"].fill("list")
        panel.fields["fluences"].fill("20, 30, 9000")
        assert "above the limit" in panel.fields["fluences"].reason.text()
        panel.fields["fluences"].fill("20 30; 40")
        plan = panel.plan()
        assert plan is not None
        assert plan.fluences_uj_cm2 == (20.0, 30.0, 40.0)
        panel.keep_preset("mine")
        assert panel.presets.findText("mine") > 0
        panel.output = Path()
        panel._show_folder()
        assert panel.folder.text() not in ("into .", "into ")
        assert panel.folder.toolTip().endswith(str(Path.cwd()))


def test_safe_between_the_light_and_its_check_aborts_and_does_not_fail(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blade is closed by SAFE where a point is about to check that it is open."""
    checked, calls = Pump.require_open, [0]

    with bench_window(qtbot, tmp_path) as (window, simulated):

        def safe_first(pump: Pump) -> None:
            calls[0] += 1
            if calls[0] == 2:
                window.service.safe()
                while not simulated.scene.shutter.closed_switch():
                    simulated.scene.clock.sleep(0.01)
            checked(pump)

        monkeypatch.setattr(Pump, "require_open", safe_first)
        number = queue_sweep(window, 12, average=2)
        qtbot.waitUntil(lambda: window.queue.status(number) != "running", timeout=LONG_MS)
        assert window.queue.status(number) == "aborted"
        assert window.live.run is not None
        assert window.live.run.facts.path is not None
        stored = read_run(window.live.run.facts.path)
        assert (stored.status, stored.reason, len(stored)) == ("aborted", "stopped by the user", 1)
        qtbot.waitUntil(lambda: is_safe(simulated), timeout=LONG_MS)
