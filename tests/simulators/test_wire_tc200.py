"""The TC200 byte by byte, and the plate that it warms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from wire_talk import Talk

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.others.tc200 import Tc200
from simulators.scene import Scene
from simulators.scene.sensors import Plate
from simulators.scene.settings import HeaterSettings


@pytest.fixture
def plate_and_talk() -> tuple[Plate, Talk]:
    clock = SteppedClock()
    settings = replace(presets.scene("ola", "ideal"), heater=HeaterSettings(noise_c=0.0))
    scene = Scene(settings, clock)
    assert scene.plate is not None
    return scene.plate, Talk(Tc200(clock, scene.plate), clock)


def test_echo_answer_and_prompt(plate_and_talk: tuple[Plate, Talk]) -> None:
    talk = plate_and_talk[1]
    assert talk.say(b"id?\r") == b"id?\rTHORLABS TC200 VERSION 2.0\r> "
    assert talk.say(b"tact?\r") == b"tact?\r22.0 C\r> "
    assert talk.say(b"tset=60.0\r") == b"tset=60.0\r> "
    assert talk.say(b"tset?\r") == b"tset?\r60.0 Celsius\r> "


def test_the_status_comes_without_a_carriage_return_and_in_hexadecimal(
    plate_and_talk: tuple[Plate, Talk],
) -> None:
    talk = plate_and_talk[1]
    assert talk.say(b"stat?\r") == b"stat?\r10 > "
    talk.say(b"ens\r")
    assert talk.say(b"stat?\r") == b"stat?\r11 > "


@pytest.mark.parametrize("command", [b"tset=19.9", b"tset=201", b"tmax=206", b"tset=warm", b"tmax=nan"])
def test_what_is_out_of_range_is_refused(plate_and_talk: tuple[Plate, Talk], command: bytes) -> None:
    said = plate_and_talk[1].say(command + b"\r")
    assert said == command + b"\rCommand error CMD_ARG_RANGE_ERR\n\r> "


def test_a_limit_holds_for_set_points_that_come_later(plate_and_talk: tuple[Plate, Talk]) -> None:
    talk = plate_and_talk[1]
    talk.say(b"tmax=50\r")
    assert b"ARG_RANGE" in talk.say(b"tset=60\r")
    assert talk.say(b"tmax?\r") == b"tmax?\r50.0\r> "


def test_the_plate_follows_with_a_lag_and_the_sample_after_it(plate_and_talk: tuple[Plate, Talk]) -> None:
    plate, talk = plate_and_talk
    talk.say(b"tset=60\r")
    talk.say(b"ens\r")
    start = talk.clock.now_s()
    talk.clock.sleep(90.0)
    now = talk.clock.now_s()
    assert plate.plate_c(now) == pytest.approx(60 - 38 * 0.3679, abs=0.01)
    assert plate.sample_c(start) == 22.0
    assert 22.0 < plate.sample_c(now) < plate.plate_c(now)
    talk.clock.sleep(1800.0)
    assert talk.say(b"tact?\r") == b"tact?\r60.0 C\r> "
    talk.say(b"ens\r")
    talk.clock.sleep(1800.0)
    assert talk.say(b"tact?\r") == b"tact?\r22.0 C\r> "


def test_an_open_sensor_switches_the_output_off_and_keeps_it_off(plate_and_talk: tuple[Plate, Talk]) -> None:
    plate, talk = plate_and_talk
    talk.say(b"tset=60\r")
    talk.say(b"ens\r")
    plate.sensor_open = True
    assert talk.say(b"stat?\r") == b"stat?\r50 > "
    assert b"error" in talk.say(b"ens\r")


def test_a_warm_film_gives_less_light() -> None:
    clock = SteppedClock()
    scene = Scene(replace(presets.scene("ola", "ideal"), heater=HeaterSettings()), clock)
    assert scene.plate is not None
    pulses = scene.laser.between(0.0, 10)
    cold = scene.sample._quenched(pulses)
    scene.plate.heat(60.0)
    clock.sleep(3600.0)
    warm = scene.sample._quenched(scene.laser.between(3600.0, 10))
    assert cold == 1.0
    assert warm == pytest.approx(0.859, abs=0.001)
