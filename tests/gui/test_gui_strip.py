"""The state strip, the messages below the pages and the log: nothing that is said moves a page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from gui_bench import bench_window, forget, keep_settings_in
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from labctl.gui.base import theme
from labctl.gui.base.benchstate import BLOCK, Shown, sign
from labctl.gui.shell.app import make_application
from labctl.gui.shell.benchwindow import BenchWindow
from labctl.gui.shell.state_strip import LEAST_PT, StateStrip
from labctl.gui.shell.window import MainWindow
from labctl.model.errors import ConnectionFailure
from labctl.runner.events import Message
from labctl.service.messages import Asked, Differences, JobTold, Link
from labctl.service.observed import Seen


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    make_application()
    keep_settings_in(tmp_path)
    made = MainWindow()
    made.resize(1280, 680)
    made.show()
    yield made
    made.close()
    forget(made)


def luminance(colour: str) -> float:
    """Of sRGB, 0 to 1, as WCAG 2 defines it."""
    made = QColor(colour)
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
              for c in (made.redF(), made.greenF(), made.blueF())]  # fmt: skip
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_on_the_strip_can_be_read_and_light_is_told_without_colour() -> None:
    for ground, text in theme.STATES.values():
        dark, bright = sorted((luminance(ground), luminance(text)))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5
    grounds = {tone: luminance(ground) for tone, (ground, _text) in theme.STATES.items()}
    others = [value for tone, value in grounds.items() if tone != "light"]
    assert (grounds["light"] + 0.05) / (max(others) + 0.05) >= 3.0  # WCAG's for signs without text


def test_an_open_shutter_fills_the_strip_and_danger_comes_first(qtbot: QtBot) -> None:
    make_application()
    strip = StateStrip()
    qtbot.addWidget(strip)
    strip.resize(1200, strip.height())
    strip.show()
    height = strip.height()
    strip.show_state(Shown("READY", "good"), sign(Seen(shutter_open=False)))
    assert not strip.sign.isVisible()
    strip.show_state(Shown("MANUAL, light on", "light"), sign(Seen(shutter_open=True)))
    assert strip.sign.text() == "SHUTTER OPEN"
    amber = QColor(theme.STATES["light"][0])
    picture = strip.grab().toImage()
    ratio = picture.width() / strip.width()
    for x in (2, 600, 1197):  # over the whole width
        assert picture.pixelColor(round(x * ratio), 3) == amber
    strip.show_state(Shown(f"{BLOCK} Shutter does not answer. " + "And more of it. " * 5, "danger"))
    qtbot.wait(20)
    assert strip.grab().toImage().pixelColor(2, 3) == QColor(theme.STATES["danger"][0])
    words = strip.words
    assert words.fontMetrics().horizontalAdvance(words.text()) <= words.width()
    assert words.font().pointSize() >= LEAST_PT
    assert strip.height() == height
    assert sign(Seen(shutter_open=True, unseen=True)) == "SHUTTER OPEN?"
    assert sign(Seen(shutter_open=True, lost={"shutter": "no answer"})) == ""


def test_nothing_that_is_said_or_asked_moves_a_page(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        window.mailbox._timer.stop()  # the bench that connects meanwhile says nothing in between
        qtbot.wait(20)
        before = (window.tabs.geometry(), window.panels.geometry(), window.size())

        def moved() -> bool:
            qtbot.wait(20)
            return before != (window.tabs.geometry(), window.panels.geometry(), window.size())

        window.say("one line")
        assert not moved()
        window.say("a failure with very many words; " * 25, wrong=True)
        assert not moved()
        failures = tuple(ConnectionFailure(r, "TCPIP::x", "no answer", "switch it on") for r in "abcd")
        window.handle(Link("failed", failures=failures))
        assert window.connection.isVisible()
        assert not moved()
        window.handle(Asked(1, Differences(("the meter is another one",) * 12)))
        assert window.agree.isVisible()
        assert window.agree.y() >= window.connection.height()  # neither hides the other
        assert not moved()
        window.handle(Asked(1, Differences(("the rate is another one",))))
        window.connection.setVisible(False)
        assert not moved()
        assert window.cover.height() < 300
        window.agree.leave.click()
        assert not window.cover.isVisible()
        window.mailbox._timer.start()


def test_errors_stay_until_they_are_acknowledged_and_the_log_keeps_everything(
    qtbot: QtBot, window: MainWindow
) -> None:
    window.say("set: 60 µJ/cm²")
    window.say("the meter does not answer", wrong=True)
    window.say("something else")
    window.notices._hush.timeout.emit()
    assert "the meter does not answer" in window.message.text()
    assert "something else" not in window.message.text()
    logging.getLogger("labctl.any").warning("a %s of the log", "warning")
    qtbot.waitUntil(lambda: any("a warning of the log" in line for line in window.log.lines()))
    window.notices.acknowledge_button.click()
    assert window.message.text() == ""
    levels = [line.split("  ")[1] for line in window.log.lines()]
    assert levels == ["info", "error", "info", "warning"]
    window.log.level.setCurrentIndex(2)
    assert [line.split("  ")[2] for line in window.log.lines()] == ["the meter does not answer"]
    assert not window.log.isVisible()
    window.notices.log_button.click()
    assert window.log.isVisible()
    assert window.notices.log_button.isChecked()
    window.log.close()
    assert not window.notices.log_button.isChecked()


def test_what_a_run_says_stands_in_the_log(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        told(window, "warning: 5 points are too few")
        told(window, "point 3 is repeated")
        assert [line.split("  ")[1] for line in window.log.lines()[-2:]] == ["warning", "info"]


def told(window: BenchWindow, text: str) -> None:
    window.handle(JobTold(1, Message(text)))
