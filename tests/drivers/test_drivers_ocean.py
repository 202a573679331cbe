"""The spectrometer in its process: framing, deadlines, kills, refusals, and the device that comes back."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drivers_stub import Stub, closed_port, stub
from ocean_stub import PIXELS, Device
from patience import PATIENCE_S

from drivers.spectrometers.ocean import IsolatedSpectrometer
from drivers.spectrometers.ocean_child import OceanSpectrometer
from drivers.support.child import ROOT, BrokenFrame, Child, ChildDied, ChildHangs, read_frame, write_frame
from drivers.support.exposures import ExposureBounds
from drivers.support.ocean_cameras import usable
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, InstrumentError, InstrumentFault, InstrumentTimeout, NotConnected
from labctl.model.roles import Spectrometer

SILENCE_S = 0.8


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def server(device: Device) -> Iterator[Stub]:
    with stub(device) as running:
        yield running


@pytest.fixture
def isolated(server: Stub) -> Iterator[IsolatedSpectrometer]:
    spectrometer = IsolatedSpectrometer(f"FX@127.0.0.1:{server.port}", timeout_margin_s=PATIENCE_S)
    yield spectrometer
    spectrometer.close()


@pytest.fixture
def alone(server: Stub) -> Iterator[OceanSpectrometer]:
    spectrometer = direct(server)
    yield spectrometer
    spectrometer.close()


def direct(server: Stub, **options: object) -> OceanSpectrometer:
    return OceanSpectrometer(f"FX@127.0.0.1:{server.port}", **options)  # type: ignore[arg-type]


def test_the_two_forms_agree(
    alone: OceanSpectrometer, isolated: IsolatedSpectrometer, device: Device
) -> None:
    both: tuple[Spectrometer, ...] = (alone, isolated)
    for number, spectrometer in enumerate(both):
        info = spectrometer.info
        assert (info.identity.model, info.identity.serial) == ("FX", "FX1")
        assert info.wavelength_nm[[0, -1]] == pytest.approx([600.0, 813.5])
        assert info.nonlinearity == pytest.approx((1.0, -1e-6, 1e-11))
        assert (info.integration_min_s, info.integration_max_s) == (1e-5, 10.0)
        assert info.max_counts == 65535
        assert spectrometer.temperature_c() == 21.5
        assert spectrometer.identity() == info.identity
        with pytest.raises(InstrumentFault, match="set_integration first"):
            spectrometer.acquire()
        assert spectrometer.set_integration(0.0123) == 0.0123
        assert device.integration_us == 12_300
        spectrum = spectrometer.acquire()
        assert np.array_equal(spectrum.counts, np.arange(PIXELS) + number)
        assert spectrum.integration_s == 0.0123
    assert (alone.isolated, isolated.isolated) == (False, True)
    isolated.close()
    isolated.close()
    with pytest.raises(InstrumentError, match="is closed"):
        isolated.acquire()


def test_check_sums_are_checked(device: Device, server: Stub) -> None:
    device.md5 = True
    alone = direct(server)
    alone.set_integration(0.01)
    assert alone.acquire().counts[1] == 1
    alone.close()


def test_a_spectrum_that_was_there_before_is_asked_for_anew(alone: OceanSpectrometer, device: Device) -> None:
    alone.set_integration(0.01)
    first = alone.acquire()
    device.stale = [0]
    assert alone.acquire().counts[0] == first.counts[0] + 1
    device.stale = [0, 0]
    with pytest.raises(InstrumentFault, match="already returned"):
        alone.acquire()
    alone.close()


def test_spectra_are_labelled_with_the_time_the_device_has(
    isolated: IsolatedSpectrometer, device: Device
) -> None:
    isolated.set_integration(0.01)
    device.integration_us = 350_000  # it was switched off and on, and somebody else set it
    assert isolated.acquire().integration_s == 0.35


@pytest.mark.parametrize("seconds", [1e-6, 11.0])
def test_an_integration_time_outside_the_limits_is_a_fault(
    isolated: IsolatedSpectrometer, seconds: float
) -> None:
    with pytest.raises(InstrumentFault, match="outside"):
        isolated.set_integration(seconds)


def test_a_device_that_keeps_another_time_is_a_fault(alone: OceanSpectrometer, device: Device) -> None:
    device.keeps = 20_000
    with pytest.raises(InstrumentFault, match="keeps 20000 us instead of 10000 us"):
        alone.set_integration(0.01)


def test_a_refusal_and_a_stop_leave_the_connection_as_it_is(
    isolated: IsolatedSpectrometer, device: Device, server: Stub
) -> None:
    device.refused = {0x110010}
    with pytest.raises(InstrumentFault, match="Unknown message type"):
        isolated.set_integration(0.01)
    device.refused = set()
    assert isolated.set_integration(0.01) == 0.01
    assert server.clients == 1
    _stopped_while_waiting(isolated, device, server)


def test_what_a_device_does_not_know_is_none(device: Device, server: Stub) -> None:
    device.refused = {0x181100, 0x400001, 0x110001, 0x110002}
    alone = direct(server)
    assert alone.info.nonlinearity is None
    assert alone.info.integration_min_s == 0.006
    assert alone.temperature_c() is None
    alone.close()


def test_nonlinearity_can_be_left_out(server: Stub) -> None:
    alone = direct(server, nonlinearity="off")
    assert alone.info.nonlinearity is None
    alone.close()


def test_silence_kills_the_child_and_the_next_request_reopens(
    isolated: IsolatedSpectrometer, device: Device, server: Stub
) -> None:
    isolated.set_integration(0.05)
    device.silent_at, isolated._timeout_margin_s = 0x101000, SILENCE_S
    with pytest.raises(InstrumentTimeout, match="no answer to 'acquire'"):
        isolated.acquire()
    device.silent_at, isolated._timeout_margin_s = None, PATIENCE_S
    device.integration_us = 999
    assert isolated.acquire().counts[5] == 5
    assert device.integration_us == 50_000
    assert server.clients == 2


def test_it_is_reopened_once_and_then_given_up(
    isolated: IsolatedSpectrometer, device: Device, server: Stub
) -> None:
    isolated.set_integration(0.01)
    device.silent_at, isolated._timeout_margin_s = 0x101000, SILENCE_S
    for _ in range(2):
        with pytest.raises(InstrumentTimeout):
            isolated.acquire()
    with pytest.raises(InstrumentError, match="is lost"):
        isolated.acquire()
    assert server.clients == 2
    device.serial = b"FX2"
    with pytest.raises(InstrumentFault, match="FX2 answers instead of"):
        isolated.reopen()


def test_a_peer_that_closes_is_an_error_at_once(alone: OceanSpectrometer, server: Stub) -> None:
    alone.set_integration(0.01)
    server.answer = lambda data: None
    with pytest.raises(InstrumentError, match="connection is lost"):
        alone.acquire()


def test_nobody_there_is_not_connected() -> None:
    with pytest.raises(NotConnected, match="check host and port") as caught:
        IsolatedSpectrometer(f"FX@127.0.0.1:{closed_port()}")
    assert caught.value.failures[0].role == "spectrometer"


def test_a_model_without_network_is_not_connected() -> None:
    with pytest.raises(NotConnected, match="one of HDX, FX"):
        OceanSpectrometer("USB4000@127.0.0.1:1")


def test_no_usb_spectrometer_is_not_connected() -> None:
    with pytest.raises(NotConnected, match="labctl-none"):
        IsolatedSpectrometer("labctl-none")


def _stopped_while_waiting(isolated: IsolatedSpectrometer, device: Device, server: Stub) -> None:
    """A stop is noticed at once, and the answer still owed is not taken for the next one."""
    stop, gate = threading.Event(), threading.Event()

    def slow(data: bytes) -> bytes:
        if not gate.is_set():
            stop.set()
            gate.wait(PATIENCE_S)
        return device(data)

    server.answer = slow
    with pytest.raises(Aborted):
        isolated.acquire(stop)
    gate.set()
    assert isolated.temperature_c() == 21.5
    assert isolated.acquire().counts.size == PIXELS


def _child_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    (tmp_path / "labctl_test_child.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "labctl_test_child"


def test_what_a_library_prints_does_not_break_the_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import os, drivers.spectrometers.ocean_child as child\n"
        "def noisy(self):\n"
        "    print('chatter'); os.write(1, b'more chatter'); return {'fine': True}, b''\n"
        "child._Holder._do_noise = noisy\n"
        "child.main()\n"
    )
    child = Child(_child_module(tmp_path, monkeypatch, text))
    assert child.call("noise", {}, PATIENCE_S)[0]["fine"] is True
    assert child.call("noise", {}, PATIENCE_S)[0]["fine"] is True
    child.close()


def test_the_last_words_of_a_dying_child_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(_child_module(tmp_path, monkeypatch, "raise SystemExit('no such library')\n"))
    with pytest.raises(ChildDied, match="no such library"):
        child.call("open", {}, PATIENCE_S)
    child.close()


def test_a_child_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(_child_module(tmp_path, monkeypatch, "import threading; threading.Event().wait()\n"))
    with pytest.raises(ChildHangs):
        child.call("open", {}, 0.3)
    with pytest.raises(ChildDied):
        child.call("open", {}, 0.3)
    child.close()


def test_the_child_ends_with_its_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-m", "drivers.spectrometers.ocean_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a C function that sleeps with the lock held")
def test_a_hung_child_ends_without_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "import ctypes, drivers.spectrometers.ocean_child as child\n"
        f"child.GRACE_S = 0.6 - {PATIENCE_S}\n"
        "child._Holder._do_hang = lambda self: ctypes.PyDLL(None).sleep(60)\n"
        "child.main()\n"
    )
    child = Child(_child_module(tmp_path, monkeypatch, text))
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Aborted):
        child.call("hang", {}, PATIENCE_S, stop)
    process = child._process
    process.wait(PATIENCE_S)  # nobody killed it: its own watchdog ended it
    assert process.returncode == 1
    child.close()


def test_frames_survive_a_pipe_and_refuse_rubbish() -> None:
    pipe = io.BytesIO()
    write_frame(pipe, {"id": 1, "x": [1.5, None]}, b"\x00\xff\n")
    pipe.seek(0)
    assert read_frame(pipe) == ({"id": 1, "x": [1.5, None]}, b"\x00\xff\n")
    assert read_frame(pipe) is None
    assert read_frame(io.BytesIO(pipe.getvalue()[:-1])) is None
    with pytest.raises(BrokenFrame):
        read_frame(io.BytesIO(b"Traceback (most recent call last):"))


def test_unusable_coefficients_are_none() -> None:
    assert usable([0.0, 0.0]) is None
    assert usable([float("nan"), 1.0]) is None
    assert usable([]) is None
    assert usable((1.0, 0.5)) == (1.0, 0.5)


def test_an_exposure_follows_the_one_before() -> None:
    bounds = ExposureBounds(0.01)
    bounds.changed(0.1)
    assert bounds.earliest_start_s(1.0, 1.005) == pytest.approx(0.9)  # the old time or the new one
    assert bounds.earliest_start_s(1.005, 1.105) == 1.0
    assert bounds.earliest_start_s(1.105, 1.205) == 1.005


def test_an_exposure_that_came_too_soon_may_be_old() -> None:
    bounds = ExposureBounds(0.1)
    assert bounds.earliest_start_s(1.0, 1.08) == pytest.approx(0.9)
    assert bounds.earliest_start_s(5.0, 5.001) == 1.0
    assert bounds.earliest_start_s(5.001, 5.08) == pytest.approx(4.901)


def test_bench_time_stamps_use_the_bench_clock(server: Stub) -> None:
    clock = SteppedClock(100.0)
    alone = direct(server, clock=clock)
    alone.set_integration(0.01)
    assert alone.acquire().stop_s == 100.0
    alone.close()
