"""An interrupted run goes on from the window: differences are shown and agreed to, or it stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from gui_bench import LONG_MS, Gate, bench_window, is_safe
from pytestqt.qtbot import QtBot
from test_gui_sweep import queue_sweep

from labctl.data import read_run
from labctl.data.edits import left_out


def test_an_aborted_run_goes_on_once_differences_are_agreed_to(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, before_point=3)
    with bench_window(qtbot, tmp_path) as (window, simulated):
        first = queue_sweep(window, 8, average=2)
        live = window.live
        qtbot.waitUntil(lambda: live.run is not None and len(live.run) >= 3, timeout=LONG_MS)
        assert live.run is not None
        path = live.run.facts.path
        assert path is not None
        live.view.toggle_excluded(live.run.facts.key, 1)  # while it is being measured
        window.queue.abort_button.click()
        gate.open()
        qtbot.waitUntil(lambda: window.queue.status(first) == "aborted", timeout=LONG_MS)
        qtbot.waitUntil(lambda: window.runs.resume.isEnabled(), timeout=LONG_MS)
        assert not simulated.scene.shutter.is_open()
        aborted = read_run(path)
        assert aborted.status == "aborted"
        assert left_out(aborted) == {1}

        # The same bench with another number of readings: told, and refused.
        pump = window.service.config.pump.model_copy(update={"repetition_rate_hz": 1000.5})
        window.service.config = window.service.config.model_copy(update={"pump": pump})
        window.bar.connect_button.click()
        qtbot.waitUntil(lambda: not window.connected, timeout=LONG_MS)
        window.bar.connect_button.click()
        qtbot.waitUntil(lambda: window.connected, timeout=LONG_MS)
        light: list[bool] = []
        command = simulated.scene.shutter.command

        def counted(open_: bool) -> float:
            light.append(open_)
            return command(open_)

        monkeypatch.setattr(simulated.scene.shutter, "command", counted)
        window.runs.resume.click()
        qtbot.waitUntil(lambda: window.agree.isVisible(), timeout=LONG_MS)
        assert "repetition_rate_hz" in window.agree.text.text()
        window.agree.leave.click()
        number = window.queue._count
        qtbot.waitUntil(lambda: window.queue.status(number) == "aborted", timeout=LONG_MS)
        assert "not accepted" in window.queue.reason(number)
        assert not any(light)
        assert read_run(path).status == "aborted"

        # Agreed to: it goes on, and all points are on the screen.
        qtbot.waitUntil(lambda: window.runs.resume.isEnabled(), timeout=LONG_MS)
        window.runs.resume.click()
        qtbot.waitUntil(lambda: window.agree.isVisible(), timeout=LONG_MS)
        window.agree.agree.click()
        number = window.queue._count
        qtbot.waitUntil(lambda: window.queue.status(number) == "finished", timeout=LONG_MS)
        stored = read_run(path)
        assert (stored.status, len(stored)) == ("finished", 8)
        assert live.run is not None
        assert live.run.column("signal") == pytest.approx(stored.signal)
        assert live.run.excluded == {1}
        assert live.run.arrays.exposure(0) is not None
        assert live.run.arrays.spectra().shape == stored.spectra.shape
        assert is_safe(simulated)
        qtbot.waitUntil(lambda: not window.runs.resume.isEnabled(), timeout=LONG_MS)
        # What has finished does not go on, and says so.
        number = window.queue.add_rest(path, "film").number
        qtbot.waitUntil(lambda: window.queue.status(number) == "failed", timeout=LONG_MS)
        assert "has finished" in window.queue.reason(number)
