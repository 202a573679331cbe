"""The real window on a real run: what it says is what the file says, live, at the end, and opened again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gui_bench import LONG_MS, bench_window
from pytestqt.qtbot import QtBot

from labctl.data import read_run
from labctl.data.edits import edits_of
from labctl.model.mapping import plain
from labctl.model.plan import AdaptivePlan, SweepPlan
from labctl.model.pump import Bands
from labctl.runner.facts import RunRequest
from labctl.runner.refit import refit

CORRECTED: dict[str, Any] = {"reference_every": 3, "correct_bleaching": "excitation"}
PLANS = {
    "corrected": SweepPlan(start_uj_cm2=30, stop_uj_cm2=180, points=14, average=4, **CORRECTED),
    "both ways": SweepPlan(
        start_uj_cm2=30, stop_uj_cm2=180, points=7, average=2, direction="up-down", reference_every=0
    ),
    "adaptive": AdaptivePlan(start_uj_cm2=30, stop_uj_cm2=170, average=2, target_rel=0.2),
}
SHOWN = {
    "corrected": "in the fit as the data have it",
    "both ways": "down-sweep relative to up-sweep",
    "adaptive": "ended by target",
}


@pytest.mark.parametrize("kind", PLANS)
def test_the_window_says_what_the_file_says(qtbot: QtBot, tmp_path: Path, kind: str) -> None:
    with bench_window(qtbot, tmp_path) as (window, _simulated):
        window.add_sweep(PLANS[kind], RunRequest(tmp_path, "OLA"))
        number = window.queue._count
        qtbot.waitUntil(lambda: window.queue.status(number) == "finished", timeout=LONG_MS)
        run, stored_view = window.live.run, window.runs.view
        assert run is not None
        assert run.facts.path is not None
        stored = read_run(run.facts.path)
        assert plain(run.result) == plain(stored.result)
        qtbot.waitUntil(lambda: bool(stored_view.runs) and window.fits.idle, timeout=LONG_MS)
        (opened,) = stored_view.runs.values()
        qtbot.waitUntil(lambda: opened.result is not None, timeout=LONG_MS)
        assert plain(opened.result) == plain(stored.result)
        for view in (window.live.view, stored_view):
            assert SHOWN[kind] in view.words.toPlainText()
            assert f"{stored.result.threshold.threshold_uj_cm2:.2f}" in view.strip.value.text()
        assert window.queue.threshold == stored.result.threshold.threshold_uj_cm2


def test_bands_that_are_moved_stay_moved_for_everybody(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, _simulated):
        window.add_sweep(replace(PLANS["corrected"], points=8), RunRequest(tmp_path, "OLA"))
        number = window.queue._count
        qtbot.waitUntil(lambda: window.queue.status(number) == "finished", timeout=LONG_MS)
        view = window.runs.view
        qtbot.waitUntil(lambda: bool(view.runs) and window.fits.idle, timeout=LONG_MS)
        (run,) = view.runs.values()
        path, moved = run.facts.path, Bands((520.0, 558.0), (532.0, 552.0))
        assert path is not None
        view.spectrum._emission.setRegion(moved.emission_nm)
        view.spectrum._lasing.setRegion(moved.lasing_nm)
        qtbot.waitUntil(lambda: edits_of(read_run(path)).bands == moved, timeout=LONG_MS)
        qtbot.waitUntil(lambda: run.points("emission") is not None, timeout=LONG_MS)
        assert plain(run.result) == plain(refit(path).result)
        # The live view shows the same run, and follows.
        live = window.live.run
        assert live is not None
        assert live.bands == moved
        qtbot.waitUntil(lambda: live.points("emission") is not None, timeout=LONG_MS)
        assert plain(live.result) == plain(run.result)
        while window.undo.canUndo():
            window.undo.undo()
        qtbot.waitUntil(lambda: edits_of(read_run(path)).bands is None, timeout=LONG_MS)
