"""The manual panel, SAFE and the alignment, driven through the real window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gui_bench import LONG_MS, bench_window, is_safe
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from labctl.config import BenchConfig
from labctl.service.messages import SetFluence
from procedures.manual import UNSEEN

ENDLESS_EXPOSURE = """
[[fault]]
kind = "stall"
instrument = "spectrometer"
match = "00101000"  # a spectrum is asked for
nth = 20  # in the stream: the first ones look whether light comes with the opening
"""


def test_driving_by_hand(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, simulated):
        manual, state = window.manual, window.service.state
        manual.open.click()
        qtbot.waitUntil(lambda: "not verified" in window.message.text(), timeout=LONG_MS)
        assert simulated.scene.shutter.closed_switch()
        manual.fluence.set_text("9000")
        assert "above the limit" in manual.fluence.reason.text()
        manual.set_fluence.click()
        manual.fluence.set_text("95")
        QTest.keyClick(manual.fluence.edit, Qt.Key.Key_Return)
        qtbot.waitUntil(lambda: (state.seen.fluence_uj_cm2 or 0) > 85, timeout=LONG_MS)
        assert state.seen.fluence_uj_cm2 == pytest.approx(95, rel=0.05)
        qtbot.waitUntil(lambda: window.bar.fluence.value.text().startswith("9"), timeout=LONG_MS)
        assert window.bar.shutter.value.text() == "closed"
        manual.exposure.set_text("0.1")
        manual.dark.click()
        qtbot.waitUntil(lambda: "dark taken" in window.message.text(), timeout=LONG_MS)
        manual.open.click()
        qtbot.waitUntil(lambda: window.bar.shutter.value.text() == "OPEN", timeout=LONG_MS)
        manual.stream.click()
        qtbot.waitUntil(lambda: window.live.shown_at_s > 0, timeout=LONG_MS)
        shown = window.live.view.spectrum._shown
        assert shown is not None
        qtbot.waitUntil(lambda: _brightest(window.live.view.spectrum._shown) > 1000, timeout=LONG_MS)
        manual.stream.click()
        manual.close_button.click()
        qtbot.waitUntil(lambda: window.bar.shutter.value.text() == "closed", timeout=LONG_MS)
        before = state.seen.angle_deg
        assert before is not None
        manual._jog(-0.1)
        qtbot.waitUntil(lambda: abs((state.seen.angle_deg or 0) - before + 0.1) < 0.09, timeout=LONG_MS)
        manual.angle.set_text(f"{before - 1:.3f}")
        manual.set_angle.click()
        qtbot.waitUntil(lambda: abs((state.seen.angle_deg or 0) - before + 1) < 0.1, timeout=LONG_MS)
        manual.angle.set_text("3")
        manual.set_angle.click()
        qtbot.waitUntil(
            lambda: window.message.isVisible() and "deg" in window.message.text(), timeout=LONG_MS
        )


def _brightest(exposure: object) -> float:
    raw = getattr(exposure, "raw", np.zeros(1))
    return float(raw.max() - np.median(raw))


def test_safe_does_not_wait_for_an_exposure(qtbot: QtBot, tmp_path: Path) -> None:
    """The exposure never ends, and its deadline is further away than the test's: nothing here is a race."""

    def patient(config: BenchConfig) -> BenchConfig:
        spectrometer = config.spectrometer.model_copy(update={"timeout_margin_s": 600.0})
        return config.model_copy(update={"spectrometer": spectrometer})

    with bench_window(qtbot, tmp_path, edit=patient, faults=ENDLESS_EXPOSURE) as (window, simulated):
        window.post(SetFluence(60.0))
        state = window.service.state
        qtbot.waitUntil(lambda: (state.seen.fluence_uj_cm2 or 0) > 50, timeout=LONG_MS)
        window.manual.open.click()
        qtbot.waitUntil(lambda: not simulated.scene.shutter.closed_switch(), timeout=LONG_MS)
        window.manual.exposure.set_text("10")
        window.manual.stream.click()
        qtbot.waitUntil(lambda: bool(simulated.fault_log.kinds()), timeout=LONG_MS)  # it is under way
        QTest.keyClick(window, Qt.Key.Key_Escape)
        qtbot.waitUntil(simulated.scene.shutter.closed_switch, timeout=LONG_MS)
        qtbot.waitUntil(lambda: is_safe(simulated), timeout=LONG_MS)
        qtbot.waitUntil(lambda: not window.service.safety.is_latched(), timeout=LONG_MS)
        window.manual.open.click()  # nothing is verified any more: it stays closed
        qtbot.waitUntil(lambda: "not verified" in window.message.text(), timeout=LONG_MS)
        assert simulated.scene.shutter.closed_switch()


def test_alignment_follows_and_ends(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, simulated):
        page = window.align
        page.end.set_text("5000")
        assert not page.go.isEnabled()
        page.start.set_text("30")
        page.end.set_text("170")
        page.points.set_text("12")
        qtbot.waitUntil(lambda: page.go.isEnabled(), timeout=LONG_MS)
        page.go.click()
        qtbot.waitUntil(lambda: len(page._values) >= 4, timeout=LONG_MS)
        truth = simulated.scene.truth.threshold_uj_cm2
        assert np.median(page._values) == pytest.approx(truth, rel=0.04)
        assert float(page.digits.text()) == pytest.approx(truth, rel=0.06)
        assert page._cells["best"].text() != "–"
        assert "J/cm²" in page._cells["dose"].text()
        # SAFE in the middle of a readout: dark, told as a stop and not as a failure, and usable at once.
        qtbot.waitUntil(lambda: not simulated.scene.shutter.closed_switch(), timeout=LONG_MS)
        QTest.keyClick(window, Qt.Key.Key_Escape)
        qtbot.waitUntil(simulated.scene.shutter.closed_switch, timeout=LONG_MS)
        qtbot.waitUntil(lambda: not page.running, timeout=LONG_MS)
        qtbot.waitUntil(lambda: is_safe(simulated), timeout=LONG_MS)
        assert page.state.text() == "stopped"
        qtbot.waitUntil(lambda: not window.service.safety.is_latched(), timeout=LONG_MS)
        readouts = len(page._values)
        qtbot.wait(150)
        assert len(page._values) == readouts
        page.dose.set_text("0.01")
        qtbot.waitUntil(lambda: page.go.isEnabled(), timeout=LONG_MS)
        page.go.click()
        qtbot.waitUntil(lambda: not page.running, timeout=LONG_MS)
        assert "dose" in page.state.text()
        assert is_safe(simulated)


def test_an_instrument_lost_in_the_hand_is_told(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, silence=True) as (window, simulated):
        simulated.server("attenuator").stop()
        qtbot.waitUntil(lambda: not window.connected, timeout=LONG_MS)
        assert "attenuator" in window.message.text()
        window.bar.connect_button.click()
        qtbot.waitUntil(lambda: window.connection.isVisible(), timeout=LONG_MS)
        assert simulated.scene.shutter.closed_switch()


def test_safe_says_what_became_of_each_element(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, simulated):
        QTest.keyClick(window, Qt.Key.Key_Escape)
        qtbot.waitUntil(lambda: "NOT moved: it is not homed" in window.message.text(), timeout=LONG_MS)
        assert window.message.text().startswith("the shutter is closed (its sensor")
        qtbot.waitUntil(lambda: not window.service.safety.is_latched(), timeout=LONG_MS)
        window.post(SetFluence(60.0))
        qtbot.waitUntil(lambda: window.message.text().startswith("set: "), timeout=LONG_MS)
        QTest.mousePress(window.bar.safe, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: "lowest transmission" in window.message.text(), timeout=LONG_MS)
        assert window.message.text().startswith("safe: the shutter is closed (its sensor")
        assert is_safe(simulated)


STAYS_CLOSED = """
[[fault]]
kind = "failed-shutter"
instrument = "shutter"
match = "^ens$"  # open, or close
nth = 1
readback = "commanded"
"""


def test_a_shutter_that_stays_closed_is_not_shown_as_open_with_a_fluence(
    qtbot: QtBot, tmp_path: Path
) -> None:
    with bench_window(qtbot, tmp_path, faults=STAYS_CLOSED) as (window, _):
        window.post(SetFluence(100.0))
        bar = window.bar
        qtbot.waitUntil(lambda: (window.service.state.seen.fluence_uj_cm2 or 0) > 90, timeout=LONG_MS)
        window.manual.open.click()
        qtbot.waitUntil(lambda: bar.shutter.value.text() == "open?", timeout=LONG_MS)
        assert bar.fluence.value.text().startswith("≤ ")
        assert bar.energy.value.text().startswith("≤ ")
        qtbot.waitUntil(
            lambda: window.strip.words.text() == "MANUAL, no light seen: the shutter may be open",
            timeout=LONG_MS,
        )
        assert UNSEEN in window.message.text()
        window.manual.close_button.click()
        qtbot.waitUntil(lambda: bar.shutter.value.text() == "closed", timeout=LONG_MS)
        assert not bar.fluence.value.text().startswith("≤ ")
