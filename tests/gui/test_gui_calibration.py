"""The guided calibration in the real window: prompts, refusals, SAFE, the result in the bench file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from gui_bench import LONG_MS, bench_window
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from labctl.config import BenchConfig, load_bench
from labctl.data.calibrations import calibrations_in
from labctl.gui.calibration.kinds import make_form, named_numbers
from labctl.gui.calibration.page import CalibratePage, PromptPanel
from labctl.gui.calibration.plot import CalPlot, scaled
from labctl.gui.shell.benchwindow import BenchWindow
from labctl.gui.sweep.queue import QueuePanel
from labctl.model.calibration import KINDS
from labctl.model.clock import Stop
from labctl.model.errors import Aborted
from labctl.model.plan import SweepPlan
from labctl.model.roles import LIGHT, Request
from labctl.runner.facts import RunRequest
from labctl.service.messages import Asked, Asking, HandTold, Withdrawn
from labctl.service.work import WindowOperator
from procedures.calibration import OPTIONS, CalStep
from simulators.scene.chance import Spell


def quick(window: BenchWindow, place: int = 2) -> None:
    """Few readings: what the numbers are worth is tested elsewhere."""
    form = window.calibrate.form_of("attenuator")
    for key, text in (("points", "16"), ("pairs", "4"), ("readings", "3")):
        form.fields[key].set_text(text)  # type: ignore[union-attr]
    form.fields["place"].box.setCurrentIndex(place)  # type: ignore[union-attr]  # 1 pick-off, 2 sample
    window.tabs.setCurrentWidget(window.calibrate)


def agree(page: CalibratePage) -> None:
    """Do as a person who types what has to be typed."""
    if page.prompt.waiting is not None:
        if page.prompt.number.isVisible() and not page.prompt.number.text:
            page.prompt.number.set_text(LIGHT)
        page.prompt.done.click()


def roomy(config: BenchConfig) -> BenchConfig:
    """Limits that allow light where nobody knows the curve: the sample is out."""
    limits = {"max_fluence_uj_cm2": 1e4, "max_pulse_energy": 1e-6, "max_average_power": 1e-3}
    return config.model_copy(update={"limits": config.limits.model_copy(update=limits)})


def test_a_calibration_is_guided_stored_and_used(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, unknown=True) as (window, simulated):
        page = window.calibrate
        quick(window, place=1)
        page.hand.setChecked(True)
        qtbot.waitUntil(lambda: page.go.isEnabled(), timeout=LONG_MS)
        assert not page.result.isVisible()
        page.go.click()
        # By hand: asked in words, and nothing goes on until it is done.
        qtbot.waitUntil(lambda: page.prompt.done.isVisible(), timeout=LONG_MS)
        assert "sensor at the pick-off" in page.prompt.text.text()
        assert " µW may reach" in page.prompt.text.text()
        assert simulated.scene.shutter.closed_switch()
        assert not window.manual.set_fluence.isEnabled()
        qtbot.waitUntil(lambda: window.bar.fluence.value.text() == "–", timeout=LONG_MS)
        qtbot.wait(150)
        assert not page.plot.pages
        page.hand.setChecked(False)  # the simulated hand does the rest
        QTest.keyClick(page.prompt.done, Qt.Key.Key_Space)
        qtbot.waitUntil(lambda: page.running is None, timeout=LONG_MS)
        assert "stored" in page.prompt.text.text()
        assert page.stored is not None
        calibration, path = page.stored
        assert calibration.kind == "attenuator"
        away = calibration.quantities["zero_deg"].value - simulated.scene.settings.optics.zero_deg
        assert abs((away + 45.0) % 90.0 - 45.0) < 0.2
        assert path.parent == tmp_path / "calibrations"
        assert page.plot.pages["scan"].curve is not None
        assert len(page.plot.pages["scan"].readings["scan"]) >= 8
        assert "angle of maximum transmission" in page.found.text()
        assert "±" in page.found.text()
        assert simulated.scene.hand.now.sample
        assert simulated.scene.shutter.closed_switch()
        # Named in the bench file, and connected with it.
        page.use.click()
        qtbot.waitUntil(lambda: window.connected and page.go.isEnabled(), timeout=LONG_MS)
        named = load_bench(tmp_path / "bench.toml").calibrations
        assert named is not None
        assert named.attenuator is not None
        assert named.attenuator.calibration == calibration
        assert window.service.config.calibrations is not None
        assert "valid" in page.kinds.button(0).text()
        states = [page.budget.files.item(row, 1) for row in (0, 3)]
        assert [item.text() for item in states if item is not None] == ["valid", "not measured"]
        assert "not stated" in page.budget.sum.text()  # pick-off and spot: no sum of what nobody knows
        # Some time later the mount has slipped: a quick look says so.
        page.budget.recheck.click()
        qtbot.waitUntil(lambda: "zero moved by" in window.message.text(), timeout=LONG_MS)
        assert "calibrate it again" not in window.message.text()
        simulated.scene.mount.slips.add(Spell(simulated.scene.clock.now_s(), value=3.0))
        page.budget.recheck.click()
        qtbot.waitUntil(lambda: "calibrate it again" in window.message.text(), timeout=LONG_MS)
        assert simulated.scene.shutter.closed_switch()


def test_refusing_safe_and_putting_back(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Callable[[], bool]] = []
    with bench_window(qtbot, tmp_path, unknown=True, edit=roomy) as (window, simulated):
        page, shutter = window.calibrate, simulated.scene.shutter
        closed.append(shutter.closed_switch)
        quick(window)
        page.hand.setChecked(True)
        qtbot.waitUntil(lambda: page.go.isEnabled(), timeout=LONG_MS)
        page.go.click()
        qtbot.waitUntil(lambda: page.prompt.waiting is not None, timeout=LONG_MS)
        page.prompt.refuse.click()
        qtbot.waitUntil(lambda: page.running is None, timeout=LONG_MS)
        assert "refused" in page.prompt.text.text()
        # SAFE while light passes: dark at once, a stop and no failure, and what was moved is asked back.
        qtbot.waitUntil(lambda: page.go.isEnabled(), timeout=LONG_MS)
        page.go.click()
        qtbot.waitUntil(lambda: page.prompt.waiting is not None, timeout=LONG_MS)
        command = shutter.command

        def safe_in_the_light(open_: bool) -> float:
            arrival = command(open_)
            if open_:
                window.service.safe()
            return arrival

        monkeypatch.setattr(shutter, "command", safe_in_the_light)

        def agree_until_it_ends() -> bool:
            agree(page)
            return page.running is None

        qtbot.waitUntil(agree_until_it_ends, timeout=LONG_MS)
        assert shutter.closed_switch()
        monkeypatch.undo()
        assert "aborted" in page.prompt.text.text()
        assert "put the sample back" in page.prompt.text.text()
        assert [page.go.isEnabled(), window.manual.set_fluence.isEnabled()] == [False, False]
        page.prompt.done.click()
        qtbot.waitUntil(lambda: window.manual.set_fluence.isEnabled(), timeout=LONG_MS)
        assert simulated.scene.hand.now.plain
        assert simulated.scene.hand.now.meter == "pick-off"
        assert calibrations_in(tmp_path / "calibrations") == []
        # The window is closed while somebody is asked: it ends, and everything is safe.
        page.go.click()
        qtbot.waitUntil(lambda: page.prompt.waiting is not None, timeout=LONG_MS)
    assert closed[0]()


def test_a_sensor_in_the_wrong_place_is_refused_and_said(qtbot: QtBot, tmp_path: Path) -> None:
    def nobody(config: BenchConfig) -> BenchConfig:  # hands that say done and do nothing
        return roomy(config).model_copy(update={"bench": config.bench.model_copy(update={"hand": ""})})

    with bench_window(qtbot, tmp_path, unknown=True, edit=nobody) as (window, simulated):
        page = window.calibrate
        quick(window)
        assert not page.hand.isVisible()
        simulated.scene.hand.do("meter", {"place": ""})
        qtbot.waitUntil(lambda: page.go.isEnabled(), timeout=LONG_MS)
        page.go.click()

        def agree_until_it_ends() -> bool:
            agree(page)
            return page.running is None

        qtbot.waitUntil(agree_until_it_ends, timeout=LONG_MS)
        assert "refused" in page.prompt.text.text()
        assert "it is not at the" in page.prompt.text.text()
        assert calibrations_in(tmp_path / "calibrations") == []
        assert simulated.scene.shutter.closed_switch()


def test_where_light_follows_the_window_wants_its_word_and_a_position_as_read(qtbot: QtBot) -> None:
    answers: list[tuple[int, object]] = []
    panel = PromptPanel(lambda number, answer: answers.append((number, answer)))
    qtbot.addWidget(panel)
    panel.show()
    panel.ask(Asked(1, Request("sample", "Take the sample out.", {"in": False}, word=LIGHT)))
    assert not panel.done.isEnabled()
    QTest.keyClick(panel.number.edit, Qt.Key.Key_Return)
    QTest.keyClicks(panel.number.edit, "yes")
    QTest.keyClick(panel.number.edit, Qt.Key.Key_Return)
    assert answers == []
    assert "type this word" in panel.number.reason.text()
    panel.number.set_text("Light")
    panel.done.click()
    assert answers == [(1, True)]
    blade = Request("knife", "Set the blade.", {"position_um": 5156.0}, "um", suggested=5156.0)
    panel.ask(Asked(2, blade))
    assert panel.number.text == "5156"
    panel.done.click()
    panel.ask(Asked(3, blade))
    panel.number.set_text("5 mm")
    QTest.keyClick(panel.number.edit, Qt.Key.Key_Return)
    panel.ask(Asked(4, blade))
    panel.number.set_text("five")
    assert not panel.done.isEnabled()
    panel.ask(Asked(5, Request("meter", "Put the sensor at the pick-off.", {"place": "pick-off"})))
    assert not panel.number.isVisible()
    panel.done.click()
    assert answers[1:] == [(2, 5156.0), (3, 5000.0), (5, True)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_makes_its_options(qtbot: QtBot, kind: str, tmp_path: Path) -> None:
    form = make_form(kind)  # type: ignore[arg-type]
    qtbot.addWidget(form)
    options = form.options()
    assert type(options) is OPTIONS[kind]  # type: ignore[index]
    for name, value in vars(OPTIONS[kind]()).items():  # type: ignore[index]
        if name != "operator":
            assert getattr(options, name) == value, name
    form.fields["valid_days"].set_text("-3")  # type: ignore[union-attr]
    assert form.options() is None


def test_forms_say_why_they_refuse(qtbot: QtBot, tmp_path: Path) -> None:
    form = make_form("pickoff")
    qtbot.addWidget(form)
    form.fields["filters"].set_text("ND1")  # type: ignore[union-attr]
    assert form.options() is None
    assert "name:number" in form.fields["filters"].reason.text()  # type: ignore[union-attr]
    assert named_numbers("ND1:0.1, lens: 0.92") == {"ND1": 0.1, "lens": 0.92}
    spot = make_form("spot")
    qtbot.addWidget(spot)
    spot.fields["absorption"].set_text(str(tmp_path / "none.csv"))  # type: ignore[union-attr]
    assert spot.options() is None
    lamps = make_form("spectrometer")
    qtbot.addWidget(lamps)
    lamps.fields["hg-ar"].setChecked(False)  # type: ignore[union-attr]
    assert lamps.options() is None


def test_the_plot_pairs_places_and_scales_units(qtbot: QtBot) -> None:
    plot = CalPlot()
    qtbot.addWidget(plot)
    for angle, here in ((10.0, 1e-6), (20.0, 2e-6)):
        for what, factor in (("pick-off", 1.0), ("sample", 20.0)):
            plot.take(CalStep(what, "", angle, factor * here, "W", "deg", 1e-9))
    curve = ((1e-6, 2e-6), (2e-5, 4e-5))
    plot.take(CalStep("fit", "", unit="W", x_unit="W", series="sample", curve=curve))
    pairs = plot.pages["ratio"].readings["sample over pick-off"]
    assert [pair[0] for pair in pairs] == pytest.approx([1e-6, 2e-6])
    assert [pair[1] for pair in pairs] == pytest.approx([2e-5, 4e-5])
    assert plot._item.getAxis("left").labelText == "Power at the sample (µW)"
    plot.choose("power")
    plot.take(CalStep("drift", "", 1.0, 1e-6, "W", "s"))
    assert plot.shown == "power"  # what somebody chose stays
    assert scaled("W", 2e-4) == (1e6, "µW")
    assert scaled("um", 5.0) == (1.0, "µm")
    plot.clear()
    assert not plot.pages


def test_no_sweep_begins_while_something_else_has_the_bench(qtbot: QtBot, tmp_path: Path) -> None:
    posted: list[object] = []
    queue = QueuePanel(posted.append, lambda: None)
    qtbot.addWidget(queue)
    queue.hold_back(True)
    job = queue.add(SweepPlan(), RunRequest(tmp_path, "film"))
    assert (queue.status(job.number), posted) == ("waiting", [])
    queue.hold_back(True)
    assert posted == []
    queue.hold_back(False)
    assert posted == [job]


def test_what_is_asked_back_is_what_was_moved() -> None:
    done: list[Request] = []

    class Simulated:
        def do(self, request: Request, stop: Stop | None = None) -> float | None:
            done.append(request)
            return 4321.0

    by_hand, told = threading.Event(), list[object]()
    hands = WindowOperator(Asking(told.append), told.append, Simulated(), by_hand)
    hands.do(Request("meter", "", {"place": "sample"}))
    hands.do(Request("sample", "", {"in": False}))
    hands.do(Request("knife", "", {"axis": "x", "position_um": 10.0}))
    assert hands.do(Request("knife", "", {"position_um": None}, number="um")) == 4321.0
    assert hands.put_back() == ()
    assert [request.action for request in done[-2:]] == ["meter", "sample"]
    by_hand.set()  # a person is told instead
    assert hands.put_back() == ("put the sensor back at the pick-off", "put the sample back")
    assert sum(isinstance(thing, HandTold) for thing in told) == 8
    stop = threading.Event()
    stop.set()
    with pytest.raises(Aborted):
        hands.do(Request("confirm", "agree?"), stop)
    assert isinstance(told[-1], Withdrawn)
