"""Both themes can be read, by people who confuse colours too; the theme and the size of the text are kept."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gui_bench import forget, keep_settings_in
from patience import PATIENCE_S
from PySide6.QtGui import QAction, QColor
from pytestqt.qtbot import QtBot
from test_gui_strip import luminance

from labctl.gui.base import theme
from labctl.gui.base.fields import remembered
from labctl.gui.shell.app import make_application
from labctl.gui.shell.window import MainWindow
from labctl.model.records import FloatArray

# Machado, Oliveira and Fernandes, IEEE Trans. Vis. Comput. Graph. 15, 1291 (2009), severity 1
SEEN = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}


def lab(colour: str, eye: str = "") -> FloatArray:
    """Return CIELAB of an sRGB colour, as an eye sees it."""
    made = QColor(colour)
    rgb = np.array([made.redF(), made.greenF(), made.blueF()])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if eye:
        linear = np.clip(np.array(SEEN[eye]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.fixture(params=theme.THEMES)
def palette(request: pytest.FixtureRequest) -> Iterator[str]:
    theme.use(request.param)
    yield request.param
    theme.use("dark")


def test_every_word_has_contrast(palette: str) -> None:
    for ground in (theme.PANEL, theme.BACKGROUND, theme.FIELD):
        for text in (theme.TEXT, theme.DIM, theme.ACCENT, *theme.TONES.values()):
            dark, bright = sorted((luminance(ground), luminance(text)))
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (ground, text)
    for ground in (theme.WRONG_GROUND, theme.ASK_GROUND, theme.CHOSEN, theme.RAISED):
        text = theme.WRONG_TEXT if ground == theme.WRONG_GROUND else theme.TEXT
        dark, bright = sorted((luminance(ground), luminance(text)))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, ground


@pytest.mark.parametrize("eye", SEEN)
def test_runs_and_meanings_are_told_apart_by_everybody(palette: str, eye: str) -> None:
    first = theme.RUNS[:4]
    for one, other in itertools.combinations(first, 2):
        assert np.linalg.norm(lab(one, eye) - lab(other, eye)) > 11.0, (one, other)  # 2.3 is just noticed
    for one, other in itertools.combinations((theme.GOOD, theme.WRONG, theme.ACCENT), 2):
        assert np.linalg.norm(lab(one, eye) - lab(other, eye)) > 11.0, (one, other)


def test_a_window_of_the_light_theme_is_light(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    keep_settings_in(tmp_path)
    theme.use("light")
    try:
        window = MainWindow()
        assert QColor(theme.BACKGROUND).lightnessF() > 0.9
        strip = window.runs.view.strip
        assert theme.PANEL in strip.styleSheet()
        window.close()
        forget(window)
    finally:
        theme.use("dark")
    assert QColor(theme.BACKGROUND).lightnessF() < 0.2


def test_the_look_that_is_chosen_holds_from_the_next_start(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    keep_settings_in(tmp_path)
    window = MainWindow()
    actions = {action.text(): action for action in window.view_menu.actions()}
    assert actions["Dark theme"].isChecked()
    assert actions["Text 100 %"].isChecked()
    chosen: list[QAction] = [actions["Light theme"], actions["Text 150 %"]]
    for action in chosen:
        action.trigger()
    assert "next start" in window.message.text()
    assert (remembered(theme.THEME), remembered(theme.TEXT_SIZE)) == ("light", "150")
    window.close()
    forget(window)
    program = (
        "import sys; from pathlib import Path; from PySide6.QtCore import QSettings; "
        "QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, sys.argv[1]); "
        "from labctl.gui.shell.app import make_application; application = make_application(); "
        "from labctl.gui.base import theme; "
        "print(theme.BACKGROUND, application.primaryScreen().devicePixelRatio())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "settings")],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.stdout.split() == [str(theme.PALETTES["light"]["BACKGROUND"]), "1.5"], done.stderr
