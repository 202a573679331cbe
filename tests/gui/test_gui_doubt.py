"""A run in which the shutter lied: the window says of it what ``labctl fit`` says, and no more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from gui_bench import LONG_MS, bench_window, forget, keep_settings_in
from pytestqt.qtbot import QtBot
from test_gui_sweep import queue_sweep

from labctl.analysis.evaluation import evaluate
from labctl.data import read_run
from labctl.gui.plots.light_light import run_question
from labctl.gui.runs.runs_page import write_curve, write_spectra
from labctl.gui.shell.app import make_application
from labctl.gui.shell.window import MainWindow
from labctl.model.plan import StabilityPlan
from labctl.model.results.sweep import DOUBT
from labctl.runner.fit_child import evaluate_file
from labctl.runner.refit import refit
from labctl.runner.rundata import open_file

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"
LIES = (
    '[[fault]]\nkind = "failed-shutter"\ninstrument = "shutter"\nmatch = "^ens$"\nnth = 8\n'
    'readback = "commanded"\n'
)


@pytest.fixture
def doubted(tmp_path: Path) -> Path:
    """A run that has a threshold by its points, and a doubt in its file."""
    path = tmp_path / "doubted.h5"
    shutil.copy(EXAMPLE, path)
    with h5py.File(path, "r+") as file:
        stored = file["entry/record/result"]
        result = json.loads(bytes(np.asarray(stored[:])).decode()) | {"doubt": DOUBT}
        del file["entry/record/result"]
        data = np.frombuffer(json.dumps(result).encode(), dtype=np.uint8)
        file["entry/record"].create_dataset("result", data=data)
    return path


@pytest.fixture
def window(tmp_path: Path) -> Iterator[MainWindow]:
    make_application()
    keep_settings_in(tmp_path)
    made = MainWindow()
    made.show()
    yield made
    made.close()
    forget(made)


def test_the_fitting_process_refuses_in_the_words_of_the_terminal(doubted: Path) -> None:
    told = refit(doubted).result
    assert told.doubt == DOUBT
    said = evaluate_file(run_question(open_file(doubted)))
    for found in (said.threshold, said.threshold_lasing):
        assert found.status == told.threshold.status == "refused"
        assert found.reason == told.threshold.reason == DOUBT
        assert found.threshold_uj_cm2 is None
        assert found.curve is None
        assert not any(found.cross_checks.values())


def test_a_stability_run_is_not_fitted_either() -> None:
    run = read_run(EXAMPLE)
    said = evaluate(run, StabilityPlan(), run.facts)
    assert "stability run" in said.threshold.reason
    assert said.threshold_lasing.reason == said.threshold.reason


def test_a_stored_run_with_a_doubt_shows_no_threshold_anywhere(
    qtbot: QtBot, window: MainWindow, doubted: Path, tmp_path: Path
) -> None:
    window.open_files([EXAMPLE, doubted])
    view, key = window.runs.view, str(doubted.resolve())
    qtbot.waitUntil(lambda: len(view.runs) == 2 and window.fits.idle, timeout=LONG_MS)
    run = view.runs[key]
    assert run.result is not None
    assert (run.result.threshold.reason, run.result.threshold.curve) == (DOUBT, None)
    view.set_current(key)
    assert DOUBT in view.words.toPlainText()
    assert view.strip.interval.text() == ""
    assert "µJ" not in view.strip.value.text()
    # In the list and in the comparison the sound run has its threshold, this one has none.
    listed = [window.runs.list.item(at).text() for at in range(2)]
    assert ["µJ/cm²" in text for text in listed] == [True, False]
    sound, other = (view.lightlight._series[str(path.resolve())] for path in (EXAMPLE, doubted))
    assert sound.fit is not None
    assert other.fit is None
    # No peak of it has a width and a Q, wherever one clicks.
    view.select(key, len(run) - 1)
    qtbot.waitUntil(lambda: window.fits.idle, timeout=LONG_MS)
    assert len(view.spectrum._marks.data) == 0
    # Left out, taken in, summed over other light: it stays so.
    view.toggle_selected()
    view.set_which("lasing")
    qtbot.waitUntil(
        lambda: window.fits.idle and run.result is not None and bool(run.result.edits.left_out),
        timeout=LONG_MS,
    )
    assert run.result.threshold_lasing.reason == DOUBT
    assert DOUBT in view.words.toPlainText()
    # Tables go out with the sentence, for whoever fits them elsewhere.
    for write in (write_curve, write_spectra):
        write(run, tmp_path / "table.csv")
        assert DOUBT in (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()[0]


def test_a_running_sweep_whose_shutter_lied_takes_its_threshold_back(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, faults=LIES) as (window, _simulated):
        number = queue_sweep(window, 12)
        qtbot.waitUntil(lambda: window.queue.status(number) == "failed", timeout=LONG_MS)
        view = window.live.view
        qtbot.waitUntil(lambda: DOUBT in view.words.toPlainText(), timeout=LONG_MS)
        assert view.strip.value.text().startswith("failed after ")
        assert window.queue.threshold is None
        assert window.live.run is not None
        assert window.live.run.doubt == DOUBT
        assert window.live.run.result is not None
        assert window.live.run.result.threshold.curve is None
        stored = window.runs.view
        qtbot.waitUntil(lambda: DOUBT in stored.words.toPlainText(), timeout=LONG_MS)
