"""Names and reasons that others wrote are shown by the window as they are, never as markup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gui_bench import LONG_MS, forget, keep_settings_in
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from labctl.gui.base.fields import PlainLabel, rich, tool_tip
from labctl.gui.shell.app import make_application
from labctl.gui.shell.benchbar import ConnectionPanel
from labctl.gui.shell.window import MainWindow
from labctl.model.errors import ConnectionFailure
from labctl.model.untrusted import printable
from labctl.runner.figures.base import in_figure
from labctl.service.messages import Link

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"
EVIL = "<b>EVIL<b> \x1b[31m\u202egpj.exe & co"


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    make_application()
    keep_settings_in(tmp_path)
    made = MainWindow()
    made.show()
    yield made
    made.close()
    forget(made)


def test_a_strangers_file_is_named_and_steers_nothing(
    qtbot: QtBot, window: MainWindow, tmp_path: Path
) -> None:
    run, bad = tmp_path / f"{EVIL}.h5", tmp_path / f"{EVIL}bad.h5"
    run.write_bytes(EXAMPLE.read_bytes())
    bad.write_bytes(b"nothing")
    window.open_files([run])
    qtbot.waitUntil(lambda: bool(window.runs.view.runs) and window.fits.idle, timeout=LONG_MS)
    window.open_files([bad])
    qtbot.waitUntil(lambda: "<b>EVIL<b>" in window.message.text(), timeout=LONG_MS)
    labels = window.findChildren(QLabel)
    shown = [label.text() for label in labels] + [window.windowTitle(), window.runs.list.item(0).text()]
    assert [text for text in shown if printable(text, keep="\n") != text] == []
    assert [
        label.text()
        for label in labels
        if "<b>EVIL<b>" in label.text() and label.textFormat() != Qt.TextFormat.PlainText
    ] == []
    assert "<b>" not in window.runs.list.item(0).toolTip().replace("&lt;b&gt;", "")


def test_instruments_reasons_are_escaped(qtbot: QtBot) -> None:
    panel = ConnectionPanel()
    qtbot.addWidget(panel)
    panel.show_link(Link("failed", failures=(ConnectionFailure("shutter", EVIL, EVIL, EVIL),)))
    assert "<b>EVIL" not in panel.text.text()
    assert "&lt;b&gt;EVIL&lt;b&gt; \\x1b[31m\\u202egpj.exe &amp; co" in panel.text.text()


def test_labels_tips_and_figures_take_texts_literally(qtbot: QtBot) -> None:
    label = PlainLabel(EVIL)
    qtbot.addWidget(label)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == "<b>EVIL<b> \\x1b[31m\\u202egpj.exe & co"
    assert tool_tip("a b") == "a b"
    assert tool_tip("<i>a</i>\nb") == "<qt>&lt;i&gt;a&lt;/i&gt;<br>b</qt>"
    assert rich("a\nb\x00") == "a<br>b\\x00"
    assert in_figure("$\\frac\x07$") == "\\$\\frac\\x07\\$"
