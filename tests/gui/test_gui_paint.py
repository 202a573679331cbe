"""Thousands of signals and repaints: a binding that loses references ends here, not at the bench."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
from gui_bench import keep_settings_in
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from labctl.gui.plots.axes import make_plot
from labctl.gui.plots.spectrum import COLUMNS, ROWS, Ghosts, SpectrumPlot, Waterfall, columns_of, traced
from labctl.gui.shell.app import make_application
from labctl.model.pump import Bands
from labctl.runner.rundata import Exposure

EMITS, CURVES, FRAMES = 20_000, 3_000, 150


class Emitter(QObject):
    said = Signal(object)


def test_emits_and_repaints_lose_no_reference(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    keep_settings_in(tmp_path)
    gc.collect()  # what earlier windows left behind would be counted as lost
    none_before, true_before = sys.getrefcount(None), sys.getrefcount(True)
    emitter, heard = Emitter(), [0]
    emitter.said.connect(lambda _thing: heard.__setitem__(0, heard[0] + 1))
    for number in range(EMITS):
        emitter.said.emit(number)
    assert heard[0] == EMITS
    plot = SpectrumPlot()
    qtbot.addWidget(plot)
    plot.resize(220, 160)
    axis = np.linspace(500, 560, 128)
    plot.set_axis(axis, 65535.0)
    plot.set_bands(Bands((505.0, 555.0), (530.0, 550.0)))
    plot.show()
    rng = np.random.default_rng(1)
    dark = np.full(axis.size, 1000.0)
    shots = [(dark + rng.poisson(3000.0, axis.size)).astype(np.float64) for _ in range(8)]
    for number in range(CURVES):
        plot._curve.setData(axis, shots[number % 8])
        plot._curve.update()
    for number in range(FRAMES):
        plot.show_exposure(Exposure(shots[number % 8], dark, 0.1))
        plot.repaint()
        QApplication.processEvents()
    # A call that lost one reference each would have cost thousands of them.
    assert sys.getrefcount(None) > none_before - 500
    assert sys.getrefcount(True) > true_before - 500


def test_ghosts_are_one_image(qtbot: QtBot) -> None:
    places = np.linspace(500.0, 560.0, 2048)
    line = np.where((places > 529.9) & (places < 530.1), 900.0, 100.0)
    bottom, top = columns_of(places, line, 500.0, 560.0)
    assert top.max() == 900.0  # a line narrower than a column is not lost
    image = traced(bottom, top, 0.0, 1000.0)
    assert image.shape == (ROWS, COLUMNS)
    assert set(np.unique(image)) == {0.0, 1.0} or image.max() >= 1.0
    assert image[:, COLUMNS // 2].sum() > 0.7 * ROWS * 0.8
    ghosts = Ghosts()
    for _ in range(50):
        ghosts.add((bottom, top))
    assert ghosts.image(0.0, 1000.0).max() == 255
    assert ghosts.image(2000.0, 3000.0).max() == 0


def test_a_waterfall_scales_itself(qtbot: QtBot) -> None:
    make_application()
    view = Waterfall()
    qtbot.addWidget(view)
    assert not shows_scales(view)
    axis = np.linspace(500, 560, 300)
    rows = np.outer(np.array([1.0, 10.0, 1000.0]), np.exp(-0.5 * ((axis - 530) / 3) ** 2))
    view.set_rows(axis, rows, (505.0, 555.0), ["1", "2", "3"], "Fluence")
    assert view._image.image.dtype == np.uint8
    assert view._image.image[2].max() == 255
    assert view._image.image[0].max() < view._image.image[1].max() < 255
    assert shows_scales(view)
    view.set_rows(axis, rows[:0], (505.0, 555.0), [], "Fluence")
    assert not shows_scales(view)


def shows_scales(view: Waterfall) -> bool:
    """Whether it shows wavelengths, rows and colours; half of them would be an error."""
    axes = [view._plot.getAxis(name).style["showValues"] for name in ("bottom", "left")]
    shown = {*axes, view._bar.isVisible()}
    assert len(shown) == 1
    return bool(shown.pop())


def test_the_topmost_number_of_an_axis_is_not_cut(qtbot: QtBot) -> None:
    make_application()
    plot = make_plot("x", "y")
    qtbot.addWidget(plot)
    plot.resize(300, 200)
    plot.getPlotItem().setRange(yRange=(0.0, 1.0), padding=0)
    with qtbot.waitExposed(plot):
        plot.show()
    QApplication.processEvents()
    font = plot.getPlotItem().getAxis("left").style["tickFont"]
    top = plot.getPlotItem().vb.sceneBoundingRect().top()
    assert top >= QFontMetrics(font).ascent() / 2
