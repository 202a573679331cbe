"""A run in which the shutter lied: the window says of it what ``labctl fit`` says, and no more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from gui_bench import LONG_MS, bench_window, forget, keep_settings_in, shared_fits
from pytestqt.qtbot import QtBot
from test_gui_sweep import queue_sweep

from labctl.gui.analysis_child import answer
from labctl.gui.app import make_application
from labctl.gui.exporting import write_curve, write_spectra
from labctl.gui.files import open_file
from labctl.gui.fits import threshold_question
from labctl.gui.rundata import RunData, RunFacts
from labctl.gui.window import MainWindow
from labctl.runner.conclude import DOUBT
from labctl.runner.refit import refit

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
    with shared_fits():
        made = MainWindow()
    made.show()
    yield made
    made.close()
    forget(made)


def test_the_fitting_process_refuses_in_the_words_of_the_terminal(doubted: Path) -> None:
    told = refit(doubted)
    assert told.doubt == DOUBT
    for which in ("emission", "lasing"):
        found = json.loads(answer(json.dumps(threshold_question(open_file(doubted), which))))
        assert found["status"] == told.threshold["status"] == "refused"
        assert found["reason"] == told.threshold["reason"] == DOUBT
        assert found["threshold_uj_cm2"] is found["curve"] is None
        assert not any(found["cross_checks"].values())


def test_a_stability_run_is_not_fitted_either() -> None:
    sound = open_file(EXAMPLE)
    plan = {"every_s": 1.0}
    facts = RunFacts(**{n: getattr(sound.facts, n) for n in RunFacts.__dataclass_fields__} | {"plan": plan})
    run = RunData(facts, sound.arrays, {"signal": sound.column("signal")}, ((),) * len(sound))
    assert "stability run" in run.not_fitted
    assert json.loads(answer(json.dumps(threshold_question(run, "emission"))))["reason"] == run.not_fitted
    assert sound.not_fitted == ""


def test_a_stored_run_with_a_doubt_shows_no_threshold_anywhere(
    qtbot: QtBot, window: MainWindow, doubted: Path, tmp_path: Path
) -> None:
    window.open_files([EXAMPLE, doubted])
    view, key = window.runs.view, str(doubted.resolve())
    qtbot.waitUntil(lambda: len(view.found) == 2 and window.analyst.idle, timeout=LONG_MS)
    run = view.runs[key]
    assert (view.found[key]["reason"], view.fits[key]) == (DOUBT, None)
    view.set_current(key)
    assert DOUBT in view.strip.details.text()
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
    qtbot.waitUntil(lambda: window.analyst.idle, timeout=LONG_MS)
    assert len(view.spectrum._marks.data) == 0
    # Left out, taken in, summed over other light: it stays so.
    view.toggle_selected()
    view.set_which("lasing")
    qtbot.waitUntil(lambda: window.analyst.idle and len(view.fits) == 2, timeout=LONG_MS)
    assert view.found[key]["reason"] == DOUBT
    assert DOUBT in view.strip.details.text()
    # Tables go out with the sentence, for whoever fits them elsewhere.
    for write in (write_curve, write_spectra):
        write(run, tmp_path / "table.csv")
        assert DOUBT in (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()[0]


def test_a_running_sweep_whose_shutter_lied_takes_its_threshold_back(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, faults=LIES) as (window, _simulated):
        number = queue_sweep(window, 12)
        qtbot.waitUntil(lambda: window.queue.status(number) == "failed", timeout=LONG_MS)
        view = window.live.view
        qtbot.waitUntil(lambda: DOUBT in view.strip.details.text(), timeout=LONG_MS)
        assert view.strip.value.text().startswith("failed after ")
        assert window.queue.threshold is None
        assert window.live.run is not None
        assert window.live.run.doubt == DOUBT
        assert view.fits[window.live.run.facts.key] is None
        stored = window.runs.view
        qtbot.waitUntil(lambda: DOUBT in stored.strip.details.text(), timeout=LONG_MS)
