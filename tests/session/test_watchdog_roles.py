"""The wrapped roles of a bench: who gives signs of life when, and no light before somebody watches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from labctl.config import parse_bench
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.errors import Aborted, InstrumentError, InstrumentFault, SafetyStop
from labctl.model.roles import Attenuator, PowerMeter, Roles, Shutter, Spectrometer
from labctl.session import Bench, SweepPlan, open_bench, sweep
from labctl.session.exits import ExitHandler
from labctl.session.opening import open_all
from labctl.session.unwatched_light import CALL_S, REOPEN_S, SignsOfLife, WatchedClock
from labctl.session.unwatched_light import watched as attached
from procedures.gate.hooks import Hooks, hooked
from simulators.bench import SimulatedBench
from simulators.presets import scene


class Diary(SignsOfLife):
    """Writes down what the watchdog would hear."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.words: list[str] = []
        self.announced: list[float] = []
        self._refuses, self.gone = refuses, False

    def require(self) -> None:
        if self.gone:
            raise SafetyStop("the watchdog has ended")

    def beat(self, busy_s: float = 0.0) -> None:
        self.announced.append(busy_s)

    def consent(self, busy_s: float = 0.0) -> None:
        self.words.append("consent")
        if self._refuses:
            raise SafetyStop("nobody watches")

    def light(self) -> None:
        self.words.append("light")

    def dark(self) -> None:
        self.words.append("dark")

    def referenced(self, known: bool) -> None:
        self.words.append(f"referenced {known}")

    def trouble(self) -> str:
        return "nobody watches" if self.gone else ""

    def forgive(self) -> None:
        self.words.append("forgive")


@pytest.fixture
def simulated() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "ideal", 3), SteppedClock()) as bench:
        yield bench


@pytest.fixture
def plain(simulated: SimulatedBench) -> Iterator[Roles]:
    config = parse_bench(simulated.bench_toml(1.0))
    opened = open_all(config, simulated.scene.clock)
    yield opened.roles(simulated.scene.clock)
    opened.close()


def watched(plain: Roles, life: SignsOfLife, end: ExitHandler) -> Roles:
    hooks = Hooks()
    return attached(hooked(plain, hooks), hooks, life, end)


def test_wrapped_instruments_fill_their_roles(plain: Roles) -> None:
    roles = watched(plain, Diary(), ExitHandler())
    for role, kind in zip(
        (roles.attenuator, roles.power_meter, roles.spectrometer, roles.shutter),
        (Attenuator, PowerMeter, Spectrometer, Shutter),
        strict=True,
    ):
        assert isinstance(role, kind)
    assert roles.shutter.name == plain.shutter.name
    assert roles.spectrometer.info is plain.spectrometer.info
    assert roles.power_meter.noise_w == plain.power_meter.noise_w


def test_light_is_asked_for_told_and_taken_back(plain: Roles) -> None:
    diary = Diary()
    shutter = watched(plain, diary, ExitHandler()).shutter
    shutter.open()
    assert plain.shutter.is_open()
    shutter.close_beam()
    assert diary.words == ["consent", "light", "dark"]


def test_without_consent_the_shutter_stays_closed(plain: Roles, simulated: SimulatedBench) -> None:
    shutter = watched(plain, Diary(refuses=True), ExitHandler()).shutter
    with pytest.raises(SafetyStop, match="nobody watches"):
        shutter.open()
    assert simulated.scene.shutter.closed_switch()


def test_light_that_nobody_watches_any_more_is_ended_and_can_be(plain: Roles) -> None:
    diary = Diary()
    roles = watched(plain, diary, ExitHandler())
    roles.shutter.open()
    diary.gone = True
    work: list[Callable[[], object]] = [
        lambda: roles.clock.sleep(1.0),
        roles.power_meter.read,
        roles.spectrometer.acquire,
    ]
    for what in work:
        with pytest.raises(SafetyStop, match="has ended"):
            what()
    roles.shutter.close_beam()
    roles.attenuator.move_to(10.0)
    assert not plain.shutter.is_open()


def test_darkness_is_told_only_when_it_is_confirmed(plain: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck() -> None:
        raise InstrumentFault("shutter", "the blade does not close")

    diary = Diary()
    shutter = watched(plain, diary, ExitHandler()).shutter
    shutter.open()
    with monkeypatch.context() as patched:
        patched.setattr(plain.shutter, "close_beam", stuck)
        with pytest.raises(InstrumentFault):
            shutter.close_beam()
    assert diary.words == ["consent", "light"]
    shutter.close_beam()
    assert diary.words[-1] == "dark"


def test_the_mount_counts_as_lost_from_the_start_of_homing(plain: Roles) -> None:
    diary = Diary()
    mount = watched(plain, diary, ExitHandler()).attenuator
    mount.is_referenced()
    mount.home()
    mount.is_referenced()
    assert diary.words == ["referenced False", "referenced False", "referenced True"]


def test_every_look_at_a_stop_flag_is_a_sign_of_life(plain: Roles) -> None:
    diary = Diary()
    roles = watched(plain, diary, ExitHandler())
    roles.attenuator.move_to(10.0)
    assert diary.announced[0] == CALL_S
    assert diary.announced.count(0.0) >= 2
    diary.announced.clear()
    roles.clock.sleep(1.0)
    assert diary.announced


def test_after_a_failure_more_time_is_announced(plain: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(seconds: float) -> float:
        raise InstrumentError("spectrometer", "is lost")

    diary = Diary()
    spectrometer = watched(plain, diary, ExitHandler()).spectrometer
    with monkeypatch.context() as patched:
        patched.setattr(plain.spectrometer, "set_integration", lost)
        with pytest.raises(InstrumentError):
            spectrometer.set_integration(0.1)
    spectrometer.set_integration(0.1)
    spectrometer.set_integration(0.2)
    assert [a for a in diary.announced if a] == [CALL_S, REOPEN_S, CALL_S]


def test_the_programs_end_stops_the_loop_once_and_opens_no_shutter(plain: Roles) -> None:
    way = ExitHandler()
    way.left.set()
    roles = watched(plain, Diary(), way)
    threading.Thread(target=way.leave).start()
    while not way.asked:
        plain.clock.sleep(0.01)
    with pytest.raises(Aborted):
        roles.clock.sleep(1.0)
    roles.clock.sleep(1.0)  # making safe, after the loop has stopped, is not stopped again
    with pytest.raises(Aborted):
        roles.shutter.open()
    assert not plain.shutter.is_open()


def test_at_the_programs_end_its_own_thread_makes_safe_itself() -> None:
    done: list[str] = []
    way = ExitHandler()
    way._make_safe = lambda: [InstrumentFault("shutter", "stuck")]
    way._release = lambda: done.append("released")
    way.leave()
    assert done == []  # what failed is left to the watchdog
    way._make_safe = list
    way.leave()
    assert done == ["released"]


def opened(simulated: SimulatedBench) -> Bench:
    with open_bench(parse_bench(simulated.bench_toml(1.0)), simulated.scene.clock) as bench:
        points = list(sweep(bench, SweepPlan(start_uj_cm2=30, stop_uj_cm2=60, points=2, average=2)))
        assert len(points) == 2
    return bench


def test_on_a_stepped_clock_there_is_no_second_process(simulated: SimulatedBench) -> None:
    bench = opened(simulated)
    assert bench.watchdog is None
    assert isinstance(bench.roles.clock, WatchedClock)
    assert simulated.scene.shutter.closed_switch()


def test_a_clock_that_is_watched_says_how_fast_it_is() -> None:
    assert WatchedClock(ScaledClock(20.0), cast(Any, None), threading.Event()).speed == 20.0
