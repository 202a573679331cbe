"""Elliptec modules as they are: other mounts than the ELL14, and what their firmware answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from drivers_stub import NoSleep, stub
from pymeasure.test import expected_protocol

from drivers.attenuators.thorlabs_ell14 import ThorlabsELL14
from labctl.model.clock import ScaledClock
from labctl.model.errors import NotConnected
from simulators.attenuators.ell14 import Ell14Bus, Module
from simulators.presets import scene
from simulators.scene import Scene
from simulators.servers import TcpServer

PULSES = 143360
INFO = "0E1140042120231701016800023000"
HELLO = ("0in", f"0IN{INFO}\r\n")
SPEED = 50.0


@contextmanager
def mounted(speed: float = SPEED, **module: int) -> Iterator[tuple[ThorlabsELL14, Module]]:
    """Return a driver and the simulated module at the other end; bench time runs fast."""
    clock = ScaledClock(speed)
    here = Module(clock, Scene(scene("ola", "ideal", seed=2), clock).mount, **module)  # type: ignore[arg-type]
    server = TcpServer(Ell14Bus(clock, [here]), clock)
    server.start()
    mount = ThorlabsELL14(server.resource, clock=clock)
    try:
        yield mount, here
    finally:
        mount.close()
        server.stop()


@pytest.mark.parametrize(
    ("type_", "pulses", "name"),
    [(0x0E, 143360, "ELL14"), (0x12, 143360, "ELL18"), (0x10, 143360, "ELL16"), (0x08, 262144, "ELL8"),
     (0x15, 143360, "ELL21")],
)  # fmt: skip
def test_rotation_mounts_that_speak_the_same_are_taken(type_: int, pulses: int, name: str) -> None:
    with mounted(kind=type_, pulses_per_turn=pulses) as (mount, _):
        assert mount.identity().model == name
        assert mount.move_to(30.0) == pytest.approx(30.0, abs=0.5)


def test_a_slider_is_named_by_its_type_though_it_announces_no_pulses() -> None:
    """The answer of a real ELL9."""
    with (
        pytest.raises(NotConnected, match="of type 09 answered, not an ELL14"),
        expected_protocol(ThorlabsELL14, [("0in", f"0IN09{INFO[2:22]}00000000\r\n")]),
    ):
        pass


def test_a_mount_that_announces_no_pulses_has_no_scale() -> None:
    with (
        pytest.raises(NotConnected, match="ELL14 announces no pulses"),
        expected_protocol(ThorlabsELL14, [("0in", f"0IN{INFO[:22]}00000000\r\n")]),
    ):
        pass


def test_firmware_that_says_busy_while_it_moves_is_waited_for() -> None:
    """In real time: the motion still goes on when it is asked, and no question is answered before its end."""
    with mounted(1.0) as (mount, module):
        module.says_busy = True
        assert mount.move_to(200.0) == pytest.approx(200.0, abs=0.5)
        assert mount.move_to(20.0) == pytest.approx(20.0, abs=0.5)


def test_firmware_that_says_busy_is_homed() -> None:
    with mounted() as (mount, module):
        module.says_busy = True
        mount.home()
        assert mount.is_referenced()


def test_a_search_is_made_even_when_an_older_motion_ends_at_the_reference() -> None:
    """Busy with a motion of before, to 0: its end is no reference found."""
    talk = [
        HELLO, ("0ho0", "0GS09\r\n"), ("0gs", "0PO00000000\r\n"), (None, "0GS00\r\n"),
        ("0ho0", "0PO00000000\r\n"),
    ]  # fmt: skip
    with expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount:
        mount.home()


def test_lower_case_numbers_are_read() -> None:
    with mounted() as (mount, module):
        module.lower_case = True
        assert mount.move_to(100.5) == pytest.approx(100.5, abs=0.5)
        assert mount.identity().model == "ELL14"


@pytest.mark.parametrize("noise", ["1GS09", "1PO00", "1GS09?", "2PO0000zz", "1BS00"])
def test_a_busy_neighbour_is_skipped(noise: str) -> None:

    talk = [HELLO, ("0gp", f"{noise}\r\n"), (None, f"{noise}\r\n"), (None, "0PO00008C00\r\n")]
    with expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount:
        assert mount.angle_deg() == pytest.approx(90.0)


def test_a_wrong_address_names_a_neighbour_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.support.elliptec.SLICE_S", 0.05)
    with (
        stub(lambda data: b"3GS09\r\n" if data == b"3in" else b"") as server,
        pytest.raises(NotConnected, match='address = "3"'),
    ):
        ThorlabsELL14(server.resource, "7")
