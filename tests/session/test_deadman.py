"""Unwatched light is ended from a thread of its own; time is stepped here, and the thread is us."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from labctl.model.errors import Aborted, InstrumentFault, LightUnwatched, SafetyStop
from labctl.session.unwatched_light import FIRST_READING_S, UNWATCHED_S, DeadMan, SignsOfLife

METER, SPECTROMETER = "power_meter FAKE", "spectrometer FAKE"


class Bench(SignsOfLife):
    """A shutter, a wall clock that is stepped, and what was said."""

    def __init__(self, speed: float = 1.0) -> None:
        self.wall_s, self.closings, self.said, self.why = 100.0, 0, list[str](), ""
        self.failures: list[Exception] = []
        self.events: list[str] = []
        self.deadman = DeadMan(self, self._told, speed=speed, now_s=lambda: self.wall_s)

    def _told(self, line: str) -> None:
        self.said.append(line)
        self.events.append("told")

    def trouble(self) -> str:
        return self.why

    def close(self) -> None:
        self.closings += 1
        if self.failures:
            raise self.failures.pop()
        self.events.append("closed")
        self.deadman.dark()

    def wait(self, seconds: float) -> None:
        """Let wall time pass; the thread looks every tenth of a second."""
        for _ in range(round(seconds / 0.1)):
            self.wall_s += 0.1
            self.deadman.check()

    def lit(self) -> DeadMan:
        self.deadman._close = self.close
        self.deadman.consent()
        self.deadman.light()
        return self.deadman


def silent_reading(bench: Bench, until: Callable[[], bool]) -> None:
    with bench.deadman.reading(METER, 1):
        while not until():
            bench.wait(0.1)
        raise Aborted  # as a driver that looks at its stop flag


def silent_exposure(bench: Bench, integration_s: float) -> None:
    with bench.deadman.exposing(SPECTROMETER, integration_s):
        while not bench.deadman.is_set():
            bench.wait(0.1)
        raise Aborted


def test_a_reading_that_does_not_come_closes_first_and_says_it_then() -> None:
    bench = Bench()
    deadman = bench.lit()
    began_s = bench.wall_s
    with pytest.raises(
        LightUnwatched, match=r"power_meter FAKE: no reading for 2\.\d s in the light"
    ) as told:
        silent_reading(bench, deadman.is_set)
    assert bench.wall_s - began_s == pytest.approx(FIRST_READING_S + UNWATCHED_S, abs=0.11)
    assert bench.events == ["closed", "told"]
    assert told.value.announced
    assert told.value.exit_code == 3


def test_a_readings_own_duration_is_learned() -> None:
    bench = Bench()
    deadman = bench.lit()
    for _ in range(3):
        with deadman.reading(METER, 2):
            bench.wall_s += 0.6
    began_s = bench.wall_s
    with pytest.raises(LightUnwatched):
        silent_reading(bench, deadman.is_set)
    assert bench.wall_s - began_s == pytest.approx(0.3 + UNWATCHED_S, abs=0.11)


def test_of_an_average_each_reading_is_owed_in_its_own_time() -> None:
    """Six that are averaged take 1.8 s together; the fault is noticed as if there were one."""
    bench = Bench()
    deadman = bench.lit()

    def average(number: int) -> None:
        with deadman.reading(METER, 6) as came:
            for _ in range(number):
                bench.wait(0.3)
                came()
            if number < 6:
                while not deadman.is_set():
                    bench.wait(0.1)
                raise Aborted

    average(6)
    average(6)
    began_s = bench.wall_s
    with pytest.raises(LightUnwatched, match=r"no reading for 1\.[89] s in the light"):
        average(2)
    assert bench.wall_s - began_s == pytest.approx(0.6 + 0.3 + UNWATCHED_S, abs=0.21)
    assert bench.events == ["closed", "told"]


def test_in_the_dark_nothing_is_owed() -> None:
    bench = Bench()
    deadman = bench.lit()
    deadman.hold(METER)
    deadman.dark()
    with deadman.reading(METER, 1):
        bench.wait(60.0)
    bench.wait(60.0)
    assert bench.closings == 0


def test_held_light_wants_reading_after_reading() -> None:
    bench = Bench()
    deadman = bench.lit()
    bench.wait(10.0)  # a sweep's light: its exposures are owed, and no readings between them
    assert bench.closings == 0
    deadman.hold(METER)
    for _ in range(10):
        with deadman.reading(METER, 1):
            bench.wait(0.3)
        bench.wait(1.0)
    assert bench.closings == 0
    bench.wait(UNWATCHED_S + 0.4)
    assert bench.closings == 1
    assert "no reading for" in bench.said[0]
    with pytest.raises(LightUnwatched, match=METER):
        deadman.require()
    deadman.require()  # said once


def test_the_gate_at_work_owes_no_readings_but_its_own() -> None:
    bench = Bench()
    deadman = bench.lit()
    deadman.hold(METER)
    deadman.release()
    bench.wait(10.0)
    assert bench.closings == 0


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_an_exposure_has_its_own_time_and_then_the_meter_is_due(speed: float) -> None:
    bench = Bench(speed)
    deadman = bench.lit()
    with deadman.reading(METER, 1):
        bench.wait(0.2)
    deadman.hold(METER)
    with deadman.exposing(SPECTROMETER, 3.0 * speed):
        bench.wait(5.5)
    assert bench.closings == 0
    bench.wait(UNWATCHED_S + 0.3)
    assert bench.closings == 1


def test_an_exposure_that_does_not_come_ends_a_sweeps_light() -> None:
    bench = Bench()
    bench.lit()
    began_s = bench.wall_s
    with pytest.raises(LightUnwatched, match="spectrometer FAKE: no exposure"):
        silent_exposure(bench, 0.5)
    assert bench.wall_s - began_s == pytest.approx(1.0 + UNWATCHED_S, abs=0.11)


def test_what_comes_too_late_was_not_taken_in_the_light() -> None:
    bench = Bench()
    deadman = bench.lit()
    with pytest.raises(LightUnwatched), deadman.reading(METER, 1):
        bench.wait(5.0)
    assert bench.closings == 1


def test_a_watchdog_that_stands_still_ends_the_light() -> None:
    bench = Bench()
    deadman = bench.lit()
    bench.wait(1.0)
    bench.why = "the watchdog (process 7) does not respond"
    bench.wait(0.1)
    assert bench.events == ["closed", "told"]
    assert bench.said == ["the watchdog (process 7) does not respond: the shutter was closed"]
    assert deadman.is_set()
    with pytest.raises(SafetyStop, match="does not respond") as told:
        deadman.require()
    assert told.value.exit_code == 4


def test_a_process_that_stood_still_itself_accuses_nobody() -> None:
    bench = Bench()
    deadman = bench.lit()
    deadman.hold(METER)
    bench.wall_s += 60.0
    bench.why = "no answer for 60 s"
    deadman.check(forgive=True)
    assert bench.closings == 0
    bench.why = ""
    bench.wait(UNWATCHED_S - 0.2)
    assert bench.closings == 0
    bench.wait(0.3)
    assert bench.closings == 1


def test_a_shutter_that_fails_is_named_at_once_and_tried_again() -> None:
    bench = Bench()
    deadman = bench.lit()
    bench.failures = [InstrumentFault("shutter SC10", "no answer to 'ens?'")]
    deadman.hold(METER)
    bench.wait(FIRST_READING_S + UNWATCHED_S + 0.1)
    assert bench.closings == 2
    assert "shutter SC10: no answer to 'ens?'" in bench.said[0]
    assert bench.said[1].endswith("the shutter was closed")


def test_a_shutter_that_never_closes_is_said_and_left_to_who_can_turn_the_plate() -> None:
    bench = Bench()
    deadman = bench.lit()
    bench.failures = [InstrumentFault("shutter SC10", "no answer to 'ens?'") for _ in range(20)]
    deadman.hold(METER)
    bench.wait(10.0)
    assert bench.said[-1].endswith("Block the beam manually")
    assert bench.closings == 4


def test_only_the_thread_that_waits_hears_of_it() -> None:
    bench = Bench()
    deadman = bench.lit()
    deadman.hold(METER)
    bench.wait(10.0)
    heard: list[bool] = []
    other = threading.Thread(target=lambda: heard.append(deadman.is_set()))
    other.start()
    other.join()
    assert heard == [False]  # whoever makes safe must not be stopped
    assert deadman.is_set()
