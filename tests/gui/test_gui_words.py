"""What the view of a run says in words is what the terminal says; and what stands where the mouse is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gui_bench import LONG_MS, forget, keep_settings_in
from PySide6.QtCore import QPointF
from pytestqt.qtbot import QtBot

from labctl.gui.plots.light_light import LightLightPlot, Series, series_of
from labctl.gui.plots.runview import RunView
from labctl.gui.plots.verdict import STRIP_PX, words_of
from labctl.gui.shell.app import make_application
from labctl.gui.shell.window import MainWindow
from labctl.runner.meaning import flag_lines
from labctl.runner.refit import refit
from labctl.runner.report import beside_number, definition_lines, more_lines
from labctl.runner.rundata import open_file
from labctl.runner.wording import pretty

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"


@pytest.fixture
def view(qtbot: QtBot, tmp_path: Path) -> Iterator[RunView]:
    make_application()
    keep_settings_in(tmp_path)
    window = MainWindow()
    window.resize(1280, 680)
    window.show()
    window.open_files([EXAMPLE])
    shown = window.runs.view
    qtbot.waitUntil(lambda: bool(shown.runs) and window.fits.idle, timeout=LONG_MS)
    qtbot.waitUntil(lambda: shown.current is not None and shown.current.result is not None, timeout=LONG_MS)
    yield shown
    window.close()
    forget(window)


def test_every_line_of_the_terminal_stands_in_the_words() -> None:
    report = refit(EXAMPLE)
    result = report.result
    run = open_file(EXAMPLE)
    run.result = result
    sections = {section.title: section.lines for section in words_of(run)}
    said = [line for lines in sections.values() for line in lines]
    reason = beside_number(report.outcome.reason)
    assert result.verdict is not None
    assert sections["Verdict"][0] == pretty(f"{result.verdict.headline}: {result.verdict.sentence}")
    assert [line.split(":")[0] for line in sections["Verdict"][1:]] == [
        "yes, kink",
        "yes, linewidth",
        "yes, lines",
    ]
    assert sections["By each definition"] == tuple(pretty(line) for line in definition_lines(result))
    wanted = [reason, *flag_lines(result, reason=reason), *more_lines(result)]
    assert [line for line in wanted if line and pretty(line) not in said] == []
    assert result.modes is not None
    assert len(sections["Mode by mode"]) == len(result.modes.modes) > 1


def test_a_run_without_a_result_says_what_there_is() -> None:
    run = open_file(EXAMPLE)
    run.result = None
    titles = [section.title for section in words_of(run)]
    assert "Verdict" not in titles
    assert f"{len(run)} points" in words_of(run)[-1].lines


def test_the_strip_keeps_its_height_and_the_words_hold_the_rest(view: RunView) -> None:
    assert view.strip.height() == STRIP_PX
    assert view.strip.headline.text() == "consistent with lasing"
    view.pages.setCurrentWidget(view.words)
    shown = view.words.toPlainText()
    for title in ("Verdict", "Threshold", "By each definition", "Mode by mode", "What to know", "The run"):
        assert title in shown
    place = view.splitter.geometry()
    view.strip.show_threshold("a title", view.current.result.threshold)  # type: ignore[union-attr]
    view.strip._tell("very long words " * 60)
    assert view.splitter.geometry() == place
    assert view.strip.details.text().endswith("…")
    assert view.strip.details.toolTip() == "very long words " * 60


def test_every_plot_reads_what_stands_where_the_mouse_is(qtbot: QtBot, view: RunView) -> None:
    def read(plot: object, x: float, y: float) -> str:
        box = plot.widget.getPlotItem().vb  # type: ignore[attr-defined]
        plot.reader.move(box.mapViewToScene(QPointF(x, y)))  # type: ignore[attr-defined]
        return str(plot.reader.words.toPlainText()) if plot.reader.words.isVisible() else ""  # type: ignore[attr-defined]

    run = view.current
    assert run is not None
    curve = view.lightlight
    assert view.tools.log.isChecked()  # the example was swept in logarithmic steps
    text = read(curve, np.log10(60.0), np.log10(500.0))
    assert text.startswith("60.00 µJ/cm²   500.0 counts per pulse   ")
    assert text.endswith(" nm FWHM")
    assert read(view.spectrum, 540.0, 10.0).startswith("540.00 nm, 10 counts   spectrum ")
    row = view._rows[2]
    text = read(view.waterfall, 540.0, 2.5)
    value = np.interp(540.0, run.facts.wavelength_nm, run.arrays.spectra()[row])
    assert text.startswith("540.00 nm   ")
    assert text.endswith(" counts per pulse")
    assert float(text.split()[-4]) == pytest.approx(value, rel=0.2, abs=0.05)
    assert read(view.waterfall, 100.0, 2.5) == ""
    curve.reader.move(QPointF(-5, -5))
    assert not curve.reader.lines[0].isVisible()


def test_widths_that_lie_close_together_have_a_margin(qtbot: QtBot) -> None:
    make_application()
    run = open_file(EXAMPLE)
    plot = LightLightPlot()
    qtbot.addWidget(plot)
    series = series_of(run, "emission", "#ffffff")
    flat = np.full_like(series.fluence, 25.0) + 0.01 * np.arange(series.fluence.size)
    low = Series(
        "below",
        "#ffffff",
        series.fluence,
        series.fluence_sigma,
        series.signal,
        series.sigma,
        flat,
        series.state,
    )
    plot.set_series("a", low)
    _bottom, top = plot._right.viewRange()[1]
    assert top > 1.1 * flat.max()
