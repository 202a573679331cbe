"""Connections that cannot be opened, or end: one line that says which, why and what to try."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading

import pytest
from drivers_stub import closed_port, stub
from patience import PATIENCE_S

from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from drivers.shutters.thorlabs_sc10 import ThorlabsSC10
from drivers.support.failures import opening_hint, silence_hint
from labctl.model.errors import InstrumentError, InstrumentTimeout, NotConnected, ProtocolError

IDN = b"THORLABS,PM100D,P0012345,2.4.0\n"
SENSOR = b'"S130C","1","2-JUN-2021",1,18,33\n'


def console(data: bytes) -> bytes:
    return {b"*IDN?\n": IDN, b"SYST:SENS:IDN?\n": SENSOR}.get(data, b"")


def test_a_closed_port_names_role_address_and_reason() -> None:
    resource = f"TCPIP::127.0.0.1::{closed_port()}::SOCKET"
    with pytest.raises(NotConnected) as caught:
        ThorlabsSC10(resource)
    (failure,) = caught.value.failures
    assert (failure.role, failure.resource) == ("shutter", resource)
    assert "refused" in failure.reason
    assert "host and port" in failure.hint


def test_a_missing_serial_port_is_not_connected() -> None:
    with pytest.raises(NotConnected, match="check the name of the port"):
        ThorlabsSC10("ASRL/dev/labctl-no-such-port::INSTR")


def test_a_senseless_resource_is_not_connected() -> None:
    with pytest.raises(NotConnected):
        ThorlabsSC10("not a resource")


def test_silence_is_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThorlabsPM100, "port", dataclasses.replace(ThorlabsPM100.port, timeout_s=0.3))
    with stub(lambda data: b"") as server, pytest.raises(NotConnected, match="no answer to"):
        ThorlabsPM100(server.resource)


def test_the_wrong_device_is_named() -> None:
    with (
        stub(lambda data: b"ACME,VOA-100,1,2\n") as server,
        pytest.raises(NotConnected, match="ACME,VOA-100"),
    ):
        ThorlabsPM100(server.resource)


def test_bytes_that_are_no_text_are_an_error_with_both_directions() -> None:
    broken = False

    def noisy(data: bytes) -> bytes:
        return b"\xff\xfe\x80\n" if broken else console(data)

    with stub(noisy) as server:
        meter = ThorlabsPM100(server.resource)
        broken = True
        with pytest.raises((ProtocolError, InstrumentTimeout)):
            meter.averages  # noqa: B018  reading it is the test
        meter.close()


def test_a_peer_that_closes_is_an_error() -> None:
    gone = False
    with stub(lambda data: None if gone else console(data)) as server:
        meter = ThorlabsPM100(server.resource)
        gone = True
        meter._set_timeout(0.3)  # it is not noticed before
        with pytest.raises(InstrumentError, match="power_meter TCPIP"):
            meter.averages  # noqa: B018  reading it is the test
        meter.close()


def test_using_a_closed_connection_is_an_error() -> None:
    with stub(console) as server:
        meter = ThorlabsPM100(server.resource)
        meter.close()
        with pytest.raises(InstrumentError):
            meter.read()


def test_answers_of_two_threads_do_not_mix() -> None:
    values = {b"SENS:AVER?\n": b"100\n", b"SENS:CORR:WAV?\n": b"800\n"}
    with stub(lambda data: values.get(data) or console(data)) as server:
        meter = ThorlabsPM100(server.resource)
        wrong: list[float] = []

        def ask(name: str, expected: float) -> None:
            wrong.extend(value for _ in range(100) if (value := getattr(meter, name)) != expected)

        threads = [
            threading.Thread(target=ask, args=args) for args in (("averages", 100), ("wavelength_nm", 800))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert wrong == []
        meter.close()


if sys.platform != "win32":  # pseudo-terminals are POSIX
    import tty

    def test_a_serial_port_held_by_another_is_refused() -> None:
        import serial

        controller, terminal = os.openpty()
        tty.setraw(terminal)
        path = os.ttyname(terminal)
        with (
            serial.Serial(path, exclusive=True),
            pytest.raises(NotConnected, match="close the vendor's software"),
        ):
            ThorlabsSC10(f"ASRL{path}::INSTR")
        os.close(controller)
        os.close(terminal)

    def test_a_serial_line_that_is_unplugged_is_an_error() -> None:
        controller, terminal = os.openpty()
        tty.setraw(terminal)

        def answer() -> None:
            for reply in (b"id?\rTHORLABS SC10 VERSION 1.07\r> ", b"mode?\r1\r> ", b"trig?\r0\r> "):
                os.read(controller, 100)
                os.write(controller, reply)

        thread = threading.Thread(target=answer)
        thread.start()
        shutter = ThorlabsSC10(f"ASRL{os.ttyname(terminal)}::INSTR")
        thread.join(PATIENCE_S)
        os.close(terminal)
        os.close(controller)
        for action in (shutter.is_open, shutter.close_beam, shutter.identity):
            with pytest.raises(InstrumentError, match=r"shutter (at )?ASRL"):
                action()
        shutter.close()


@pytest.mark.parametrize(
    ("resource", "error", "advice"),
    [
        ("ASRL/dev/ttyUSB0::INSTR", PermissionError(13, "Permission denied"), "dialout"),
        ("USB0::0x1313::0x8078::P1::INSTR", ValueError("No backend available"), "libusb-package"),
        ("USB0::0x1313::0x8078::P1::INSTR", PermissionError(13, "Access denied"), "udev"),
        ("ASRL3::INSTR", OSError("Access is denied."), "vendor's software"),
        ("TCPIP::10.0.0.1::5::SOCKET", TimeoutError(), "host and port"),
        ("USB0::0x1313::0x8078::P1::INSTR", OSError("Could not open VISA library:"), "visa_library"),
    ],
)
def test_hints(resource: str, error: Exception, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert advice in opening_hint(resource, error)


def test_hints_for_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "baud rate (this driver uses 9600)" in silence_hint("ASRL3::INSTR", 9600)
    monkeypatch.setattr(sys, "platform", "win32")
    assert "TLPM" in silence_hint("USB0::0x1313::0x8078::P1::INSTR", 115200)
