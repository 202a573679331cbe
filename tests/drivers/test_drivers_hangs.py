"""Calls into VISA that never come back: every one ends by our own deadline, and holds nobody else up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drivers_stub import stub
from patience import PATIENCE_S, until
from usb_stand_in import RESOURCE, UsbStandIn, put_in_place

from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from drivers.shutters.thorlabs_sc10 import ThorlabsSC10
from drivers.support.session import VisaSession
from labctl.model.clock import ScaledClock, hearing
from labctl.model.errors import Aborted, InstrumentError, NotConnected
from simulators import presets
from simulators.meters.pm100 import Pm100
from simulators.scene import Scene

HERE = Path(__file__).parent
SPEED = 20.0


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[UsbStandIn]:
    clock = ScaledClock(SPEED)
    backend = UsbStandIn(Pm100(clock, Scene(presets.scene("ola", seed=1), clock).meter))
    put_in_place(backend, monkeypatch)
    yield backend
    backend.let_go()


def ends(act: Callable[[], object]) -> BaseException | None:
    """Act in a thread, which must come to an end; return what it raised."""
    told: list[BaseException | None] = []

    def run() -> None:
        try:
            act()
        except BaseException as exc:  # noqa: BLE001  handed to the test
            told.append(exc)
        else:
            told.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert told, "it has not come to an end"
    return told[0]


def test_a_meter_on_usb_is_opened_prepared_and_read(bus: UsbStandIn) -> None:
    meter = ThorlabsPM100(RESOURCE, clock=bus.clock)
    meter.prepare(800.0)
    asked, questions = len(bus.messages), bus.questions
    meter.prepare(800.0)
    assert meter.read(2).power_w > 0
    assert meter.altered() == ""
    # Each read belongs to a question: to ask for an answer that is not there is an error to the console.
    assert bus.questions - questions == sum("?" in message for message in bus.messages[asked:])
    meter.close()


@pytest.mark.parametrize(
    "call", ["open_device", "ctrl_transfer", "bulk_write", "bulk_read", "enumerate_devices"]
)
def test_usb_that_never_comes_back_is_not_connected(bus: UsbStandIn, call: str) -> None:
    bus.hangs.add(call)
    error = ends(lambda: ThorlabsPM100(RESOURCE, clock=bus.clock))
    assert isinstance(error, NotConnected)
    assert "unplug the instrument and plug it in again" in str(error)
    assert bus.stuck == [call]


def test_a_close_that_never_comes_back_holds_nobody_up(bus: UsbStandIn) -> None:
    meter = ThorlabsPM100(RESOURCE, clock=bus.clock)
    bus.hangs |= {"release_interface", "close_device"}
    assert ends(meter.close) is None
    assert bus.stuck


@pytest.mark.parametrize("call", ["bulk_write", "bulk_read"])
def test_what_hangs_is_told_with_what_was_sent_and_never_used_again(bus: UsbStandIn, call: str) -> None:
    meter = ThorlabsPM100(RESOURCE, clock=bus.clock)
    meter.identity()
    bus.hangs.add(call)
    error = ends(lambda: meter.averages)
    assert isinstance(error, InstrumentError)
    assert "'SENS:AVER?'" in str(error)
    assert "unplug the instrument and plug it in again" in str(error)
    sent, stuck = len(bus.messages), len(bus.stuck)
    # The device holds on to the first connection: a second cannot have it.
    again = ends(lambda: meter.averages)
    assert isinstance(again, NotConnected)
    assert "'SENS:AVER?'" in str(again)
    assert "Resource busy" in str(again)
    assert (len(bus.messages), len(bus.stuck)) == (sent, stuck)
    meter.close()


def test_after_it_was_plugged_in_again_the_next_command_connects_anew(bus: UsbStandIn) -> None:
    meter = ThorlabsPM100(RESOURCE, clock=bus.clock)
    meter.identity()
    meter.prepare(800.0)
    bus.hangs.add("bulk_read")
    assert isinstance(ends(lambda: meter.averages), InstrumentError)
    bus.hangs.clear()
    bus.free_claim()
    assert meter.averages == 100
    assert meter.altered() == ""
    meter.close()


def test_what_hangs_again_is_left_alone_for_a_while(bus: UsbStandIn) -> None:
    """Who makes a bench safe asks several times, and must not wait each time."""
    meter = ThorlabsPM100(RESOURCE, clock=bus.clock)
    meter.identity()
    bus.hangs |= {"bulk_read", "open_device"}
    assert isinstance(ends(lambda: meter.averages), InstrumentError)
    assert isinstance(ends(lambda: meter.averages), NotConnected)
    stuck = list(bus.stuck)
    for _ in range(20):
        assert isinstance(ends(lambda: meter.averages), NotConnected)
    assert bus.stuck == stuck == ["bulk_read", "open_device"]
    meter.close()


def test_a_hanging_meter_holds_up_no_shutter(bus: UsbStandIn) -> None:
    answers = {
        b"ens?": b"0",
        b"closed?": b"1",
        b"mode?": b"1",
        b"trig?": b"0",
        b"id?": b"THORLABS SC10 VERSION 1.07",
    }

    def sc10(data: bytes) -> bytes:
        asked = data.strip()
        return b"".join((asked, b"\r", answers.get(asked, b""), b"\r> "))

    meter = ThorlabsPM100(RESOURCE, clock=bus.clock)
    bus.hangs.add("bulk_read")
    waiting = threading.Thread(target=lambda: ends(lambda: meter.averages), daemon=True)
    waiting.start()
    until(lambda: bus.stuck)
    with stub(sc10) as server:
        shutter = ThorlabsSC10(server.resource)
        shutter.close_beam()
        assert not shutter.is_open()
        shutter.close()
    waiting.join(PATIENCE_S)
    meter.close()


def test_a_bus_that_hangs_while_it_is_listed_holds_up_no_other_line() -> None:
    """In a process of its own, for pyvisa-py looks at the bus when it is imported."""
    script = """
from usb_stand_in import *
import threading
backend = UsbStandIn()
backend.hangs.add("enumerate_devices")
put_in_place(backend)
from drivers_stub import stub
from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from drivers.shutters.thorlabs_sc10 import ThorlabsSC10
from labctl.model.errors import NotConnected
from patience import until
def meter():
    try:
        ThorlabsPM100(RESOURCE)
    except NotConnected as exc:
        print(exc)
thread = threading.Thread(target=meter)
thread.start()
until(lambda: backend.stuck)
answers = {b"ens?": b"0", b"closed?": b"1", b"mode?": b"1", b"trig?": b"0"}
answers[b"id?"] = b"THORLABS SC10 VERSION 1.07"
with stub(lambda data: data.strip() + b"\\r" + answers.get(data.strip(), b"") + b"\\r> ") as server:
    shutter = ThorlabsSC10(server.resource)
    print("closed" if not shutter.is_open() else "open")
thread.join()
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("closed\n")
    assert "unplug the instrument" in done.stdout


def test_a_stop_is_heard_in_a_long_reading_on_usb(bus: UsbStandIn) -> None:
    meter = ThorlabsPM100(RESOURCE, clock=bus.clock)
    meter.prepare(800.0)
    bus.hangs.add("bulk_read")
    stop = threading.Event()
    told: list[BaseException | None] = []
    reading = threading.Thread(target=lambda: told.append(ends(lambda: meter.read(1, stop))), daemon=True)
    reading.start()
    until(lambda: bus.stuck)
    stop.set()
    reading.join(PATIENCE_S)
    assert isinstance(told[0], Aborted)
    # The call is still there: it was left, not waited for.
    assert bus.stuck == ["bulk_read"]
    meter.close()


def test_after_a_stop_the_next_answer_belongs_to_the_next_question(bus: UsbStandIn) -> None:
    meter = ThorlabsPM100(RESOURCE, average_count=100, clock=bus.clock)
    meter.prepare(800.0)
    stop = threading.Event()
    stop.set()
    meter.write("MEAS:POW?")
    with pytest.raises(Aborted):
        meter.await_reply(2.0, stop)
    assert meter.averages == 100
    meter.wavelength_nm = 790.0  # no error of the interrupted question is left to be taken for its own
    assert meter.wavelength_nm == pytest.approx(790.0)
    meter.close()


def test_long_averaging_on_usb_keeps_the_line_free(bus: UsbStandIn) -> None:
    meter = ThorlabsPM100(RESOURCE, average_count=3000, clock=bus.clock)
    meter.prepare(800.0)
    assert meter.read(1).power_w > 0
    assert "MEAS:POW?" not in bus.messages
    assert "FETC:STAT?" in bus.messages
    meter.close()


def test_a_stop_is_heard_while_an_instrument_is_opened(bus: UsbStandIn) -> None:
    bus.hangs.add("open_device")
    stop = threading.Event()
    told: list[BaseException | None] = []

    def connect() -> None:
        with hearing(stop):
            ThorlabsPM100(RESOURCE, clock=bus.clock)

    thread = threading.Thread(target=lambda: told.append(ends(connect)), daemon=True)
    thread.start()
    until(lambda: bus.stuck)
    stop.set()
    thread.join(PATIENCE_S)
    assert isinstance(told[0], Aborted)


# -- other lines -------------------------------------------------------------------------------------


def test_a_name_that_nobody_resolves_is_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    def looks_up(line: socket.socket, address: object) -> int:
        let_go.wait()
        line.close()
        raise OSError("no such host")

    monkeypatch.setattr(socket.socket, "connect_ex", looks_up)
    error = ends(lambda: ThorlabsSC10("TCPIP::lab-shutter.example::4001::SOCKET"))
    assert isinstance(error, NotConnected)
    assert "opening it has not ended" in str(error)
    assert "check the network" in str(error)
    let_go.set()


def test_a_socket_that_takes_nothing_ends_by_our_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {b"id?": b"SC10", b"trig?": b"0"}
    with stub(lambda data: b"%b\r%b\r> " % (asked := data.strip(), answers.get(asked, b"1"))) as server:
        shutter = ThorlabsSC10(server.resource)
        let_go = threading.Event()
        monkeypatch.setattr("pyvisa_py.tcpip.TCPIPSocketSession.write", lambda *_: let_go.wait())
        error = ends(shutter.is_open)
        assert isinstance(error, InstrumentError)
        assert "'closed?'" in str(error)
        monkeypatch.undo()
        assert shutter.is_open() is False  # over a new connection
        let_go.set()
        shutter.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is a POSIX thing")
def test_a_serial_port_that_does_not_open_ends_by_our_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    def stuck(*_: object, **__: object) -> object:
        let_go.wait()
        raise OSError("no such port")

    monkeypatch.setattr("serial.serial_for_url", stuck)
    error = ends(lambda: ThorlabsSC10("ASRL/dev/ttyUSB7::INSTR"))
    assert isinstance(error, NotConnected)
    assert "unplug the instrument" in str(error)
    let_go.set()


def test_a_program_that_stood_still_has_not_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time in which nothing ran, as after a suspend, is nobody's time-out."""
    session = VisaSession("TCPIP::nowhere::1::SOCKET", 0.1)
    jumps = iter(range(0, 10**9, 3600))
    monkeypatch.setattr("time.monotonic", lambda: float(next(jumps)))
    assert session.call(lambda: threading.Event().wait(0.05), 0.5) is False
    session.close()


# -- the program's end -------------------------------------------------------------------------------


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, timeout=PATIENCE_S
    )


def environment() -> dict[str, str]:
    paths = [str(HERE), str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.mark.parametrize("call", ["bulk_read", "open_device", "ctrl_transfer", "release_interface"])
def test_the_interpreter_ends_although_a_call_hangs(call: str) -> None:
    """pyvisa and pyusb close what is open when the interpreter ends; what hangs must be left out."""
    done = run(f"""
from usb_stand_in import *
from labctl.model.errors import InstrumentError
from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from labctl.model.clock import ScaledClock
from simulators import presets
from simulators.meters.pm100 import Pm100
from simulators.scene import Scene
clock = ScaledClock(20)
backend = UsbStandIn(Pm100(clock, Scene(presets.scene("ola", seed=1), clock).meter))
put_in_place(backend)
meter = ThorlabsPM100(RESOURCE, clock=clock) if {call!r} in ("bulk_read", "release_interface") else None
backend.hangs |= {{{call!r}, "close_device", "release_interface"}}
try:
    if {call!r} == "release_interface":
        meter.close()
    elif meter is None:
        ThorlabsPM100(RESOURCE, clock=clock)
    else:
        meter.averages
except InstrumentError as exc:
    print(exc)
print("the end")
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the end\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to another process is a POSIX thing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_check_with_a_hanging_meter_hears_the_signals(tmp_path: Path, number: signal.Signals) -> None:
    script = f"""
import sys
from usb_stand_in import *
from drivers_stub import stub
import threading
backend = UsbStandIn()
backend.hangs.add("bulk_read")
put_in_place(backend)
import drivers.support.session
drivers.support.session.OPEN_S = 3600.0
from drivers.support import session
session.GRACE_S = 3600.0  # only the signal can end it
from labctl.model.clock import ScaledClock
from simulators import presets
from simulators.bench import SimulatedBench
from labctl.cli import main
from pathlib import Path
with SimulatedBench(presets.scene("ola", seed=1), ScaledClock(20)) as bench:
    toml = bench.bench_toml(20).replace(bench.resources["power_meter"], RESOURCE)
    Path({str(tmp_path / "bench.toml")!r}).write_text(toml)
    def tell():
        while not backend.stuck:
            threading.Event().wait(0.01)
        print("stuck", flush=True)
    threading.Thread(target=tell, daemon=True).start()
    sys.argv = ["labctl", "check", "--bench", {str(tmp_path / "bench.toml")!r}]
    sys.exit(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck\n", process.communicate(timeout=PATIENCE_S)[1]
        process.send_signal(number)
        _, told = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130, told
