"""Every sentence of the shown window is true in every state of the bench and of a run."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gui_bench import LONG_MS, Gate, bench_window
from pytestqt.qtbot import QtBot
from test_gui_sweep import queue_sweep

from labctl.gui.base import benchstate, theme
from labctl.gui.base.benchstate import BLOCK, BenchNow, RunNow, danger, progress, sentence
from labctl.gui.plots.spectrum import _table
from labctl.gui.shell.benchwindow import BenchWindow
from labctl.model.errors import InstrumentTimeout
from labctl.model.results.sweep import Threshold
from labctl.runner.fit_child import peak_marks
from labctl.runner.fit_process import PeaksQuestion
from labctl.runner.report import Tally, outcome
from labctl.service.observed import BenchState, Seen
from labctl.session import open_bench

RUN = RunNow("film", done=6, total=24, left_s=70.0, begun=True)
CLOSED = Seen(angle_deg=57.0, referenced=True, fluence_uj_cm2=61.7, pulse_energy_j=1e-8, shutter_open=False)
BOTH = {"shutter": "", "attenuator": ""}


class Read:
    """What somebody reads in the window."""

    def __init__(self, window: BenchWindow) -> None:
        self._window = window

    def __getattr__(self, name: str) -> str:
        window = self._window
        bar, strip = window.bar, window.live.view.strip
        return {
            "state": window.strip.words,
            "message": window.notices.message,
            "shutter": bar.shutter.value,
            "fluence": bar.fluence.value,
            "verdict": strip.value,
            "title": strip.title,
            "point": window.live.view.point_label,
            "queue": window.queue.text,
        }[name].text()

    @property
    def details(self) -> str:
        return self._window.live.view.words.toPlainText()

    @property
    def banner(self) -> str:
        return self._window.notices.danger

    @property
    def progress(self) -> str:
        return self._window.queue.bar.format()

    def struck(self, name: str) -> bool:
        return "line-through" in getattr(self._window.bar, name).value.styleSheet()

    def light(self, role: str) -> str:
        text = self._window.bar._lights[role].text()
        found = {"#ff6b6d": "red", theme.GOOD: "green", theme.WARN: "amber", theme.DIM: "grey"}
        return next(name for colour, name in found.items() if f"color:{colour}" in text.split("●")[0])


def until(qtbot: QtBot, true: object) -> None:
    qtbot.waitUntil(true, timeout=LONG_MS)  # type: ignore[arg-type]


# --- the one place that derives them ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (BenchNow("connecting"), "CONNECTING …"),
        (BenchNow("failed"), "NOT CONNECTED"),
        (BenchNow("connected", Seen(referenced=False)), "READY: the attenuator is not homed"),
        (BenchNow("connected", CLOSED), "READY"),
        (BenchNow("connected", Seen(shutter_open=True)), "MANUAL, light on"),
        (BenchNow("connected", Seen(shutter_open=True), aligning=True), "ALIGNING, light on"),
        (BenchNow("connected", CLOSED, calibrating=True, stopping=True), "STOPPING …"),
        (BenchNow("connected", CLOSED, run=RunNow("S")), "SWEEP, preparing: S"),
        (BenchNow("connected", CLOSED, run=RUN), "SWEEP 6 of 24, 1 min 10 s left: film"),
        (BenchNow("disconnected", Seen(lost={"shutter": "gone"})), f"LOST: Shutter. {BLOCK}"),
        (BenchNow("connected", Seen(lost={"power_meter": "gone"})), "LOST: Meter"),
        (
            BenchNow("connected", Seen(lost={"shutter": "", "attenuator": ""})),
            f"LOST: Attenuator, shutter. {BLOCK}",
        ),
    ],
)
def test_the_sentence_on_the_bench_follows_from_its_state(now: BenchNow, said: str) -> None:
    assert sentence(now).text == said


def test_a_lost_instrument_has_no_value_and_an_unknown_shutter_is_unknown() -> None:
    lost = replace(CLOSED, lost={"power_meter": "no answer"})
    assert benchstate.fluence(lost).struck
    assert benchstate.pulse_energy(lost).struck
    assert not benchstate.angle(lost).struck
    assert benchstate.shutter(lost).text == "closed"
    elsewhere = replace(CLOSED, lost={"power_meter": "x"}, doubtful=frozenset({"shutter"}))
    for seen in (replace(CLOSED, lost={"shutter": "x"}), elsewhere):
        unknown = benchstate.shutter(seen)
        assert (unknown.text, unknown.tone) == ("unknown", "danger")
    assert benchstate.lamp("shutter", "connected", lost, (), "SC10").tone == "good"
    assert benchstate.lamp("power_meter", "connected", lost, (), "PM100").text == "no answer"


def test_the_banner_names_who_does_not_answer() -> None:
    assert danger({}) == ""
    assert danger({"power_meter": "x"}) == ""
    assert danger({"shutter": "x"}) == f"{BLOCK} Shutter does not answer."
    assert danger({"shutter": "", "power_meter": ""}) == f"{BLOCK} Meter, shutter do not answer."
    assert danger({}, ["it failed; NOT MADE SAFE: mount"]) == f"{BLOCK} The bench was not made safe."


def test_the_first_call_that_fails_is_seen_and_the_first_that_does_not() -> None:
    state = BenchState()
    state.answered("shutter")
    with pytest.raises(InstrumentTimeout), state.calling("power_meter"):
        raise InstrumentTimeout("power_meter", "late")
    assert state.look().lost == {"power_meter": "power_meter: late"}
    assert state.look().doubtful == {"shutter"}
    with state.calling("shutter", patience_s=-1.0):
        assert set(state.look().lost) == {"power_meter", "shutter"}  # silent while it owes an answer
    assert state.look().doubtful == frozenset()
    with state.calling("power_meter"):
        pass
    assert state.look() == state.seen == Seen()


def test_a_pause_is_called_one_when_it_stands() -> None:
    assert progress(None) == "nothing runs"
    assert progress(RUN) == "6 of 24  ·  1 min 10 s left"
    wanted = RunNow("S", 6, 24, begun=True, wanted=True)
    assert progress(wanted) == "pausing …"
    standing = RunNow("S", 6, 24, begun=True, wanted=True, standing=True)
    assert progress(standing) == "paused: the shutter is closed"
    assert "PAUSED, shutter closed, 6 of 24" in sentence(BenchNow("connected", CLOSED, run=standing)).text
    assert progress(RunNow("S", 6, 24, begun=True, stopping=True)) == "stopping …"


@pytest.mark.parametrize(
    ("status", "tally", "headline"),
    [
        ("running", Tally(3, 24, usable=3), "not yet"),
        ("finished", Tally(5, 5, usable=5), "no threshold: 5 points, at least 7 needed"),
        ("aborted", Tally(2, 24, usable=2), "aborted after 2 of 24 points"),
        ("failed", Tally(2, 24, usable=2), "failed after 2 of 24 points"),
        ("failed", Tally(0, 24), "failed before the first point"),
        ("killed", Tally(5, usable=5), "killed after 5 points"),
        ("finished", Tally(8, 8, saturated=8, shortest_s=0.1), "8 of 8 points saturated"),
    ],
)
def test_a_run_that_is_over_is_never_not_yet(status: str, tally: Tally, headline: str) -> None:
    said = outcome(Threshold("refused", "too few"), status, tally)
    assert said.headline == headline
    if tally.saturated:
        assert said.tone == "danger"
        assert "could not go below 0.1 s; lower the fluence, or insert an ND filter" in said.reason


def test_a_clipped_peak_has_neither_width_nor_q() -> None:
    axis = np.linspace(520.0, 560.0, 800)
    line = 9000.0 / (1 + ((axis - 540.0) / 0.4) ** 2) + np.random.default_rng(1).normal(0, 10, axis.size)
    clipped = PeaksQuestion(axis, np.minimum(line, 4000.0), line > 4000.0, (525.0, 555.0), 0.1)
    (mark,) = peak_marks(clipped)
    assert (mark.fwhm_nm, mark.q) == (None, None)
    assert "clipped" in _table([mark])
    (whole,) = peak_marks(replace(clipped, counts=line, clipped=line < 0))
    assert whole.q is not None


# --- the walk through the window -------------------------------------------------------------------------


def test_the_walk_of_a_sweep_paused_resumed_stopped_and_another(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, before_point=2)
    with bench_window(qtbot, tmp_path) as (window, simulated):
        read = Read(window)
        until(qtbot, lambda: read.state == "READY: the attenuator is not homed")
        assert (read.shutter, read.light("shutter"), read.progress) == ("closed", "green", "nothing runs")
        assert read.title == "No run yet"
        assert "Connect" not in read.details
        assert "statistical only; scale uncertainty: not stated" in window.align.scale.text()
        assert "not stated (6 of 6 links)" in window.calibrate.budget.sum.text()
        assert "0 %" not in window.calibrate.budget.sum.text()
        words = window.strip.words
        assert words.width() >= words.fontMetrics().horizontalAdvance(words.text())
        # by hand
        window.manual.fluence.set_text("60")
        window.manual.set_fluence.click()
        until(qtbot, lambda: read.state == "READY")
        window.manual.open.click()
        until(qtbot, lambda: (read.state, read.shutter) == ("MANUAL, light on", "OPEN"))
        assert float(read.fluence) == pytest.approx(60.0, rel=0.05)
        window.manual.stream.click()
        until(qtbot, lambda: "counts" in read.verdict)
        assert read.title == "Free run"
        window.manual.stream.click()
        until(qtbot, lambda: read.title == "No run yet")
        # sweeping, pausing, paused
        first = queue_sweep(window, 40, "first")
        until(qtbot, lambda: window.live.run is not None and len(window.live.run) == 2)
        until(qtbot, lambda: read.state.startswith("SWEEP 2 of 40, ") and read.state.endswith(" left: first"))
        window.queue.pause.click()
        assert read.progress == "pausing …"
        until(qtbot, lambda: read.state.startswith("PAUSING after this point"))
        gate.open()
        job = window.queue.running
        assert job is not None
        until(qtbot, lambda: job.pause.standing)
        until(qtbot, lambda: read.progress == "paused: the shutter is closed")
        assert read.state == "PAUSED, shutter closed, 3 of 40: first"
        assert read.shutter == "closed"
        least = simulated.scene.settings.optics.t_min * 2000.0
        until(qtbot, lambda: read.fluence.startswith("≈ ") and float(read.fluence[2:]) < 10.0)
        assert least < 10.0
        # resumed
        window.queue.pause.click()
        assert read.progress.startswith("3 of 40")
        until(qtbot, lambda: len(window.live.run) > 3)  # type: ignore[arg-type]
        # stopping, aborted
        window.make_safe()
        until(qtbot, lambda: window.queue.status(first) == "aborted")
        until(qtbot, lambda: read.state == "READY")
        assert read.queue == ""
        assert read.progress == "nothing runs"
        assert read.verdict.startswith("aborted after ")
        assert read.verdict.endswith(" of 40 points")
        assert "aborted after" in window.queue.reason(first)
        # few points, and nothing of the old run under the new one
        second = queue_sweep(window, 5, "second")
        assert read.queue == ""
        until(qtbot, lambda: window.live.run is not None and window.live.run.facts.sample == "second")
        if len(window.live.run) == 0:  # type: ignore[arg-type]
            assert read.point == ""
        until(qtbot, lambda: window.queue.status(second) == "finished")
        until(qtbot, lambda: read.verdict == "no threshold: 5 points, at least 7 needed")
        assert read.queue == ""  # "too few points" belonged to the run
        assert window.live.view.spectrum._shown is not None
        assert not window.live.view.spectrum._shown.is_dark
        assert "no threshold: 5 points" in window.queue.reason(second)


def test_all_points_saturated_is_said_in_red(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, _):
        read, panel = Read(window), window.sweep
        panel.fields["start"].fill("300")
        panel.fields["stop"].fill("600")
        panel.fields["points"].fill("8")
        panel.fields["average"].fill("2")
        panel.fields["reference_every"].fill("0")
        panel.sample.set_text("OLA")
        panel.start_button.click()
        until(qtbot, lambda: window.queue.status(1) == "finished")
        until(qtbot, lambda: read.verdict == "8 of 8 points saturated")
        assert "lower the fluence, or insert an ND filter" in read.details
        assert "#ff6b6d" in window.live.view.strip.value.styleSheet()
        assert window.queue.reason(1) == "finished, nothing usable: 8 of 8 points saturated"
        run = window.live.run
        assert run is not None
        assert np.isnan(run.column("fwhm_nm")).all()
        assert "FWHM clipped" in run.describe(0)


def test_a_run_without_a_threshold_says_where_there_is_none(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, _):
        read, panel = Read(window), window.sweep
        panel.fields["start"].fill("20")
        panel.fields["stop"].fill("60")
        panel.fields["points"].fill("9")
        panel.fields["average"].fill("3")
        panel.sample.set_text("OLA")
        panel.start_button.click()
        until(qtbot, lambda: window.queue.status(1) == "finished")
        until(qtbot, lambda: read.verdict.startswith("> "))
        assert float(read.verdict.split()[1]) < 79.81
        assert window.live.view.strip.headline.text() == "no threshold in the scan"
        assert "no significant threshold" in read.details or "no threshold below" in read.details
        assert "lasing" not in read.verdict
        assert window.queue.reason(1).startswith("finished: no threshold in the scan; no threshold below ")
        assert (read.shutter, read.state) == ("closed", "READY")


@pytest.mark.parametrize("running", [False, True])
def test_the_whole_bench_is_lost(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    gate = Gate(monkeypatch, before_point=1)
    with bench_window(qtbot, tmp_path, silence=True) as (window, simulated):
        read = Read(window)
        until(qtbot, lambda: read.shutter == "closed")
        if running:
            queue_sweep(window, 40)
            until(qtbot, lambda: window.live.run is not None and len(window.live.run) == 1)
        for role in ("attenuator", "power_meter", "spectrometer", "shutter"):
            simulated.server(role).stop()
        gate.open()
        until(qtbot, lambda: read.state.startswith(("LOST: ", BLOCK)))
        assert any(read.light(role) == "red" for role in window.bar._lights)
        until(qtbot, lambda: read.banner != "" and read.state == read.banner)
        assert read.banner.startswith(BLOCK)
        until(qtbot, lambda: not window.connected and "NOT MADE SAFE" in read.message)
        assert read.shutter in ("unknown", "–")
        assert read.light("shutter") == "red"
        place = window.tabs.geometry()
        window.notices._hush.timeout.emit()  # no time makes it go
        assert read.banner.startswith(BLOCK)
        window.notices.acknowledge_button.click()
        assert read.banner == ""
        assert read.message == ""
        until(qtbot, lambda: read.state.startswith("LOST: ") and read.state.endswith(BLOCK))
        assert window.tabs.geometry() == place
        if running:
            assert window.queue.status(1) == "failed"
            until(qtbot, lambda: read.verdict.startswith("failed after "))
            assert read.verdict.endswith(" of 40 points")


def test_an_idle_instrument_that_is_lost_goes_red_alone(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, silence=True) as (window, simulated):
        read = Read(window)
        until(qtbot, lambda: read.fluence not in ("–", ""))
        simulated.server("power_meter").stop()
        until(qtbot, lambda: read.light("power_meter") == "red")
        assert "no answer" in window.bar._lights["power_meter"].text()
        until(qtbot, lambda: not window.connected)
        assert read.light("power_meter") == "red"
        assert read.light("shutter") == "grey"
        assert "power_meter" in read.message
        assert read.banner == ""


def test_a_long_message_lies_over_the_pages_and_is_whole(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        qtbot.wait(200)  # the first layout of a window just shown is over
        before = window.tabs.geometry()
        window.say("a failure with very many words; " * 25, wrong=True)
        qtbot.wait(50)
        assert window.tabs.geometry() == before
        label = window.notices.message
        assert label.height() >= label.heightForWidth(label.width())
        assert window.notices.sheet.height() > window.notices.height()


def test_while_it_connects_nothing_is_claimed(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = threading.Event()

    def held(*arguments: Any, **more: Any) -> Any:
        assert opening.wait(LONG_MS / 1000)
        return open_bench(*arguments, **more)

    monkeypatch.setattr("labctl.service.service.open_bench", held)
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        read = Read(window)
        until(qtbot, lambda: read.state == "CONNECTING …")
        until(qtbot, lambda: {read.light(role) for role in window.bar._lights} == {"amber"})
        assert (read.shutter, read.fluence, read.progress) == ("–", "–", "nothing runs")
        assert (read.title, read.verdict, read.banner) == ("No run yet", "–", "")
        assert not window.manual.open.isEnabled()
        opening.set()
        until(qtbot, lambda: read.state == "READY: the attenuator is not homed")
        until(qtbot, lambda: {read.light(role) for role in window.bar._lights} == {"green"})
        assert read.shutter == "closed"
