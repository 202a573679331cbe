"""In what order a bench is opened, and that no light can fall on the sample meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from patience import PATIENCE_S

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import NotConnected
from labctl.session import open_bench
from labctl.session.opening import open_all
from simulators.bench import SimulatedBench
from simulators.presets import scene

HOMES = "[attenuator]\nhome_at_connect = true"


@pytest.fixture
def simulated() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "ideal", 3), SteppedClock()) as bench:
        yield bench


def left_open(simulated: SimulatedBench) -> None:
    """Open the shutter as a program that crashed has left it."""
    import socket

    port = int(simulated.resources["shutter"].split("::")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(b"ens\r")
        assert client.recv(100).startswith(b"ens")
    simulated.scene.clock.sleep(0.1)
    assert not simulated.scene.shutter.closed_switch()


def test_a_shutter_left_open_is_closed_before_the_mount_turns(
    simulated: SimulatedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open(simulated)
    closed_when_homed: list[bool] = []
    mount, shutter = simulated.scene.mount, simulated.scene.shutter
    home = mount.home

    def watched_home() -> float:
        closed_when_homed.append(shutter.closed_switch())
        return home()

    monkeypatch.setattr(mount, "home", watched_home)
    config = parse_bench(simulated.bench_toml(1.0).replace("[attenuator]", HOMES))
    opened = open_all(config, simulated.scene.clock)
    opened.close()
    assert opened.failures == ()
    assert closed_when_homed == [True]
    assert shutter.closed_switch()


def test_a_blade_that_does_not_close_is_the_shutters_failure_and_no_mount_turns(
    simulated: SimulatedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open(simulated)
    monkeypatch.setattr(simulated.scene.shutter, "command", lambda open_: simulated.scene.clock.now_s())
    config = parse_bench(simulated.bench_toml(1.0).replace("[attenuator]", HOMES))
    with pytest.raises(NotConnected) as told, open_bench(config, simulated.scene.clock):
        pytest.fail("a bench whose shutter stays open is not opened")
    (failure,) = told.value.failures
    assert failure.role == "shutter"
    assert "does not close" in failure.reason
    assert failure.hint
    assert not simulated.scene.mount.referenced


def test_without_a_shutter_no_mount_turns_and_the_others_are_still_asked(simulated: SimulatedBench) -> None:
    text = simulated.bench_toml(1.0).replace("[attenuator]", HOMES)
    text = text.replace(simulated.resources["shutter"], "TCPIP::127.0.0.1::9::SOCKET")
    text = text.replace(simulated.resources["power_meter"], "TCPIP::127.0.0.1::9::SOCKET")
    opened = open_all(parse_bench(text), simulated.scene.clock)
    opened.close()
    assert [failure.role for failure in opened.failures] == ["power_meter", "shutter"]
    assert set(opened.identities) == {"attenuator", "spectrometer"}
    assert not simulated.scene.mount.referenced
