"""Stored runs in the real window: opening, comparing, leaving out with undo, bands, exports; bad files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from gui_bench import LONG_MS, forget, keep_settings_in
from PySide6.QtCore import QPointF
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from labctl.data import read_run
from labctl.data.edits import edits_path, left_out
from labctl.gui.plots.verdict import words_of
from labctl.gui.runs.runs_page import EXPORTS
from labctl.gui.shell.app import make_application
from labctl.gui.shell.window import MainWindow
from labctl.model.pump import Bands
from labctl.model.results.sweep import BandThreshold, FluenceBudget, SweepResult
from labctl.runner.refit import refit
from labctl.runner.rundata import open_file

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "run" / "OLA-spot-1.h5"
OLD = ROOT / "tests" / "data" / "samples" / "schema-1.h5"


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    make_application()
    keep_settings_in(tmp_path)
    made = MainWindow()
    made.resize(1200, 760)
    made.show()
    yield made
    made.close()
    forget(made)


def open_and_fit(qtbot: QtBot, window: MainWindow, *paths: Path) -> None:
    window.open_files(list(paths))
    view = window.runs.view
    qtbot.waitUntil(
        lambda: (
            len([run for run in view.runs.values() if run.result is not None]) == len(paths)
            and window.fits.idle
        ),
        timeout=LONG_MS,
    )


def said_of_run(window: MainWindow, key: str) -> BandThreshold:
    """What the view on stored runs says of a run's emission."""
    result = window.runs.view.runs[key].result
    assert result is not None
    return result.threshold


def copy_of_example(folder: Path) -> Path:
    copy = folder / EXAMPLE.name
    copy.write_bytes(EXAMPLE.read_bytes())
    return copy


def said_of(window: MainWindow, name: str) -> bool:
    return name in window.message.text()


def test_leave_out_undo_redo_and_bands(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    open_and_fit(qtbot, window, copy_of_example(tmp_path))
    view = window.runs.view
    run = view.current
    assert run is not None
    key = run.facts.key
    whole = said_of_run(window, key)
    assert whole.threshold_uj_cm2 == pytest.approx(79.4, rel=0.02)
    fit = whole.curve
    assert fit is not None
    assert np.all(fit.low <= fit.signal)
    # A click on a point shows it; X leaves it out, off the Qt thread it is fitted again.
    place = view.lightlight.place_of(key, 3)
    assert view.lightlight.nearest(place) == (key, 3)
    assert view.lightlight.nearest(place + QPointF(300, 300)) is None
    view.lightlight.point_clicked.emit(key, 3)
    assert view.index == 3
    view.toggle_selected()
    assert run.excluded == {3}
    qtbot.waitUntil(lambda: said_of_run(window, key).n_points == len(run) - 1, timeout=LONG_MS)
    window.undo.undo()
    assert run.excluded == frozenset()
    qtbot.waitUntil(lambda: said_of_run(window, key).n_points == len(run), timeout=LONG_MS)
    assert said_of_run(window, key) == whole
    window.undo.redo()
    assert run.excluded == {3}
    window.undo.undo()
    # A dragged band changes the curve at once, and can be taken back.
    before = run.signal("emission")[0].copy()
    moved = Bands((530.0, 556.0), (535.0, 550.0))
    view.spectrum._emission.setRegion(moved.emission_nm)
    view.spectrum._lasing.setRegion(moved.lasing_nm)
    assert run.bands == moved
    assert np.all(run.signal("emission")[0][:6] < before[:6])
    assert view.lightlight._series[key].signal[0] == run.signal("emission")[0][0]
    rough = run.signal("lasing")[0]
    qtbot.waitUntil(lambda: run.points("lasing") is not None, timeout=LONG_MS)
    assert np.all(run.signal("lasing")[0] < rough)  # the luminescence under the peaks is no light in peaks
    assert view.lightlight._series[key].signal == pytest.approx(run.signal("emission")[0])
    while window.undo.canUndo():
        window.undo.undo()
    assert run.bands == run.facts.bands
    assert run.signal("emission")[0] == pytest.approx(before)


def test_compare_waterfall_and_switches(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    open_and_fit(qtbot, window, EXAMPLE, OLD)
    view = window.runs.view
    assert len(view.lightlight._series) == 2
    item = window.runs.list.item(1)
    item.setCheckState(item.checkState().Unchecked)
    assert len(view.lightlight._series) == 1
    view.set_current(str(EXAMPLE.resolve()))
    view.waterfall.row_clicked.emit(0)
    run = view.current
    assert run is not None
    assert view.index == int(np.argmin(run.column("fluence_uj_cm2")))
    view.step(1)
    assert view.index != int(np.argmin(run.column("fluence_uj_cm2")))
    for switch in (
        view.tools.log, view.tools.widths, view.tools.checks, view.tools.dark, view.tools.ghosts,
        view.tools.peaks, view.tools.colours, view.tools.time,
    ):  # fmt: skip
        switch.toggle()
        qtbot.wait(5)
    view.tools.all.click()
    view.tools.signal.setCurrentIndex(1)
    qtbot.waitUntil(lambda: window.fits.idle, timeout=LONG_MS)
    assert view.which == "lasing"
    window.copy_curve()
    copied = QGuiApplication.clipboard().text().splitlines()
    assert copied[0].split("\t")[0] == "Peak fluence (uJ/cm^2)"
    assert float(copied[1].split("\t")[0]) == run.column("fluence_uj_cm2")[0]
    assert len(copied) == len(run) + 1
    window.copy_picture()
    assert QGuiApplication.clipboard().image().width() >= view.width()
    # Every set of figures takes seconds: one of each width is drawn.
    made = {n: chosen for n, chosen in enumerate(EXPORTS) if "two columns as P" not in chosen}
    for number, chosen in made.items():
        window.runs.export(tmp_path / f"figure{number}", chosen)
    files = len(made) + 3 * sum(chosen.startswith("Figures") for chosen in made.values())  # four in a set
    qtbot.waitUntil(lambda: len(list(tmp_path.glob("figure*"))) == files, timeout=LONG_MS)
    qtbot.waitUntil(lambda: not any(t.name == "export" for t in threading.enumerate()), timeout=LONG_MS)
    assert (tmp_path / "figure0.png").read_bytes().startswith(b"\x89PNG")
    (pdf,) = tmp_path.glob("figure*_threshold.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
    (svg,) = tmp_path.glob("figure*_spectra.svg")
    assert b"<svg" in svg.read_bytes()[:400]
    (report,) = tmp_path.glob("figure*.html")
    assert "<html" in report.read_text(encoding="utf-8")[:400]
    table = (tmp_path / f"figure{EXPORTS.index('L-L curve as CSV (*.csv)')}.csv").read_text().splitlines()
    assert len(table) == len(run) + 2
    window.runs.export(tmp_path / "nowhere" / "x.csv", EXPORTS[-1])
    qtbot.waitUntil(lambda: "not exported" in window.message.text(), timeout=LONG_MS)
    window.runs.close_current()
    window.runs.close_current()
    assert not view.runs


def test_files_that_are_no_runs_get_a_message(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    junk = tmp_path / "junk.h5"
    junk.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 500)
    text = tmp_path / "readme.txt"
    text.write_text("nothing but words\n")
    for path in (junk, text, tmp_path / "missing.h5", tmp_path):
        window.open_files([path])
        qtbot.waitUntil(partial(said_of, window, path.name), timeout=LONG_MS)
        assert window.message.isVisible()
    assert not window.runs.view.runs


def test_a_table_of_numbers_is_a_run_without_spectra(
    qtbot: QtBot, window: MainWindow, tmp_path: Path
) -> None:
    table = tmp_path / "theirs.csv"
    fluence = np.linspace(20, 160, 16)
    signal = 5 + 0.01 * fluence**2 + np.where(fluence > 80, 20 * (fluence - 80), 0)
    table.write_text("fluence,signal\n" + "\n".join(f"{f},{s}" for f, s in zip(fluence, signal, strict=True)))
    open_and_fit(qtbot, window, table)
    found = said_of_run(window, str(table.resolve()))
    assert found.threshold_uj_cm2 == pytest.approx(80, rel=0.03)


def test_the_window_keeps_its_state(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    keep_settings_in(tmp_path)
    first = MainWindow()
    first.show()
    first.runs.view.splitter.setSizes([300, 700])
    kept = first.runs.view.splitter.saveState()
    first.close()
    assert list((tmp_path / "settings").rglob("*.ini"))
    second = MainWindow()
    assert second.runs.view.splitter.saveState() != kept
    second.restore()
    assert second.runs.view.splitter.saveState() == kept
    second.close()


def test_points_left_out_are_there_when_the_run_is_opened_again(
    qtbot: QtBot, window: MainWindow, tmp_path: Path
) -> None:
    copy = copy_of_example(tmp_path)
    open_and_fit(qtbot, window, copy)
    view, key = window.runs.view, str(copy.resolve())
    for point in (3, 5, 7):
        view.toggle_excluded(key, point)
    window.undo.undo()
    window.runs.close_current()
    qtbot.waitUntil(lambda: left_out(read_run(copy)) == {3, 5}, timeout=LONG_MS)
    assert copy.read_bytes() == EXAMPLE.read_bytes()
    open_and_fit(qtbot, window, copy)
    run = view.current
    assert run is not None
    assert run.excluded == {3, 5}
    assert "2 excluded by user" in window.message.text()
    qtbot.waitUntil(lambda: said_of_run(window, key).n_points == len(run) - 2, timeout=LONG_MS)
    # The same numbers from the terminal's fit.
    assert refit(copy).threshold.threshold_uj_cm2 == said_of_run(window, key).threshold_uj_cm2
    window.undo.undo()  # made before it was closed: it is taken back in the run that is open now
    assert run.excluded == {3}
    qtbot.waitUntil(lambda: "1 excluded by user" in view.words.toPlainText(), timeout=LONG_MS)
    # Damaged edits: the run is shown whole, and what is wrong is said.
    window.runs.close_current()
    window.keeper.close()
    edits_path(copy).write_text("nonsense\n\n")
    open_and_fit(qtbot, window, copy)
    assert view.current is not None
    assert view.current.excluded == frozenset()
    assert "edits.jsonl, line 1" in window.message.text()


def test_the_error_of_the_scale_is_said_beside_the_threshold() -> None:
    run = open_file(EXAMPLE)

    def words(result: SweepResult | None) -> str:
        run.result = result
        return "\n".join(line for section in words_of(run) for line in section.lines)

    threshold = BandThreshold("found", threshold_uj_cm2=80.0, ci95=(79.0, 81.0), scale_rel=0.03)
    known = SweepResult(threshold, budget=FluenceBudget(combined_rel=0.03, unstated=("repetition rate",)))
    said = "scale uncertainty: ± 3 % (k = 1), without repetition rate, 95 % with it 75.3"
    assert said in words(known)
    assert "with it" not in words(None)
    unstated = ("meter calibration", "repetition rate")
    threshold = replace(threshold, scale_rel=None)
    unknown = SweepResult(threshold, budget=FluenceBudget(combined_rel=0.0, links=9, unstated=unstated))
    assert "scale uncertainty: not stated (2 of 9 links)" in words(unknown)
    assert "0 %" not in words(unknown)
    assert "scale uncertainty: not stated" in words(SweepResult(threshold))


def test_ticked_runs_of_two_samples_have_a_ratio_beside_the_list(
    qtbot: QtBot, window: MainWindow, tmp_path: Path
) -> None:
    table = tmp_path / "OAm.csv"
    rows = read_run(EXAMPLE)
    values = zip(3.2 * rows.fluence_uj_cm2, rows.column("signal"), strict=True)
    table.write_text("fluence (uJ/cm2),signal\n" + "".join(f"{f:.5g},{s:.6g}\n" for f, s in values))
    open_and_fit(qtbot, window, EXAMPLE, table)
    page = window.runs
    qtbot.waitUntil(lambda: "ratio of thresholds OLA / OAm" in page.compared.text(), timeout=LONG_MS)
    assert "if their convention is the same" in page.compared.text()
    assert "of these two spots, not of the materials" in page.compared.text()
    page.list.item(1).setCheckState(page.list.item(1).checkState().Unchecked)
    assert page.compared.text() == ""
    assert page.compared.isHidden()
