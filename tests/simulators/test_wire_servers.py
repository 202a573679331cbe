"""Sockets and pseudo-terminals in front of a wire: clients that come, leave, break off and speak too fast."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from patience import PATIENCE_S, until
from wire_talk import IdleMount

from labctl.model.clock import ScaledClock, SteppedClock
from simulators.attenuators.ell14 import Ell14Bus, Module
from simulators.link import Wire
from simulators.servers import PtyServer, TcpServer


class Echo(Wire):
    """Says everything back, and "tick" a second after it was asked to."""

    def __init__(self, clock: SteppedClock | ScaledClock) -> None:
        super().__init__(clock)
        self.clients = 0
        self.at_s: float | None = None

    def new_client(self) -> None:
        self.clients += 1

    def receive(self, data: bytes) -> None:
        if data == b"late":
            self.at_s = self.clock.now_s() + 1.0
            self._send(b"wait")
        elif data == b"fail":
            raise RuntimeError("a wire that fails")
        else:
            self._send(data)

    def due_s(self) -> float | None:
        return self.at_s

    def wake(self) -> None:
        self.at_s = None
        self._send(b"tick")


@pytest.fixture
def served() -> Iterator[TcpServer]:
    clock = SteppedClock()
    server = TcpServer(Echo(clock), clock)
    server.start()
    yield server
    server.stop()


@contextmanager
def serving(clock: ScaledClock) -> Iterator[TcpServer]:
    server = TcpServer(Echo(clock), clock)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connect(server: TcpServer) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def test_one_client_after_another(served: TcpServer) -> None:
    for word in (b"one", b"two", b"three"):
        with connect(served) as client:
            client.sendall(word)
            assert client.recv(100) == word


def test_the_next_client_gets_in_after_an_abrupt_reset(
    served: TcpServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        client = connect(served)
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    with connect(served) as client:
        client.sendall(b"after")
        assert client.recv(100) == b"after"
    assert not caplog.records


def test_a_second_client_waits_until_the_first_has_left(served: TcpServer) -> None:
    with connect(served) as first:
        first.sendall(b"1")
        assert first.recv(1) == b"1"
        with connect(served) as second:
            second.sendall(b"2")
            second.settimeout(0.05)
            with pytest.raises(TimeoutError):
                second.recv(1)
            first.close()
            second.settimeout(PATIENCE_S)
            assert second.recv(1) == b"2"


def test_it_listens_on_loopback_alone(served: TcpServer) -> None:
    assert served._listener.getsockname()[0] == "127.0.0.1"


def test_a_stepped_clock_is_stepped_to_what_is_due(served: TcpServer) -> None:
    with connect(served) as client:
        client.sendall(b"late")
        assert client.recv(4) == b"wait"
        assert client.recv(4) == b"tick"
    assert served.clock.now_s() == pytest.approx(1.0)


def test_a_running_clock_is_waited_for() -> None:
    clock = ScaledClock(10.0)
    with serving(clock) as server, connect(server) as client:
        begin = time.perf_counter()
        client.sendall(b"late")
        assert client.recv(4) == b"wait"
        assert client.recv(4) == b"tick"
        assert time.perf_counter() - begin > 0.08


class HeldClock(ScaledClock):
    """Runs, as far as a server can see, but only when the test moves it on."""

    at_s = 0.0

    def now_s(self) -> float:
        return self.at_s


def test_bytes_get_through_while_something_is_waited_for() -> None:
    clock = HeldClock(10.0)
    with serving(clock) as server, connect(server) as client:
        client.sendall(b"late")
        assert client.recv(100) == b"wait"
        client.sendall(b"meanwhile")
        assert client.recv(100) == b"meanwhile"
        clock.at_s = 1.0
        assert client.recv(100) == b"tick"


def test_actions_run_in_the_servers_thread(served: TcpServer) -> None:
    names: list[str] = []
    done = threading.Event()

    def note() -> None:
        names.append(threading.current_thread().name)
        done.set()

    served.call(note)
    assert done.wait(PATIENCE_S)
    assert names == ["Echo"]


def test_a_failing_wire_loses_its_client_and_goes_on(
    served: TcpServer, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(served) as client:
        client.sendall(b"fail")
        assert client.recv(100) == b""
    with connect(served) as client:
        client.sendall(b"again")
        assert client.recv(100) == b"again"
    assert "a wire that fails" in caplog.text


def test_filters_of_the_link_see_both_directions(served: TcpServer) -> None:
    class Shout:
        def to_instrument(self, data: bytes) -> bytes:
            return data.upper()

        def to_client(self, data: bytes) -> bytes:
            return data.replace(b"B", b"")

    served.link.filters.append(Shout())
    with connect(served) as client:
        client.sendall(b"abc")
        assert client.recv(100) == b"AC"


def test_stopping_closes_everything_and_may_be_repeated() -> None:
    clock = SteppedClock()
    server = TcpServer(Echo(clock), clock)
    server.start()
    port = server.port
    with connect(server) as client:
        server.stop()
        server.stop()
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def test_stopping_does_not_wait_for_what_is_due() -> None:
    clock = ScaledClock(0.001)
    server = TcpServer(Echo(clock), clock)
    server.start()
    with connect(server) as client:
        client.sendall(b"late")
        assert client.recv(4) == b"wait"
        server.stop()
    assert clock.now_s() < 1.0  # a second of this clock is a quarter of an hour


def test_a_server_that_never_started_can_be_stopped() -> None:
    clock = SteppedClock()
    TcpServer(Echo(clock), clock).stop()


def test_a_small_query_costs_little() -> None:
    """By calls, not by time: what a call takes is the computer's business."""
    clock = SteppedClock()
    calls = [0]

    def count(_frame: object, event: str, _arg: object) -> None:
        calls[0] += event in ("call", "c_call")

    server = TcpServer(Ell14Bus(clock, [Module(clock, IdleMount(clock))]), clock)
    threading.setprofile(count)
    try:
        server.start()
        with connect(server) as client:
            for _ in range(200):
                client.sendall(b"0gs")
                assert client.recv(100) == b"0GS00\r\n"
    finally:
        threading.setprofile(None)
        server.stop()
    assert 10 < calls[0] / 200 < 100


posix = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals exist on POSIX only")


@pytest.fixture
def terminal() -> Iterator[PtyServer]:
    clock = SteppedClock()
    server = PtyServer(Ell14Bus(clock, [Module(clock, IdleMount(clock))]), clock)
    server.start()
    yield server
    server.stop()


@posix
def test_a_serial_port_opened_again_and_again(terminal: PtyServer) -> None:
    import serial

    for _ in range(3):
        with serial.Serial(terminal.path, 9600, timeout=PATIENCE_S) as port:
            port.write(b"0gs")
            assert port.read_until(b"\r\n") == b"0GS00\r\n"


class Heard:
    """What came out at the instrument's end of the cable."""

    def __init__(self) -> None:
        self.data = b""

    def to_instrument(self, data: bytes) -> bytes:
        self.data += data
        return data

    def to_client(self, data: bytes) -> bytes:
        return data


@posix
def test_the_wrong_baud_rate_gets_no_sense(terminal: PtyServer) -> None:
    import serial

    heard = Heard()
    terminal.link.filters.append(heard)
    with serial.Serial(terminal.path, 115200, timeout=0.1) as port:
        port.write(b"0gs0gs0gs")
        until(lambda: len(heard.data) >= 5)
        assert b"gs" not in heard.data
        assert b"GS" not in port.read(100)
        port.baudrate, port.timeout = 9600, PATIENCE_S
        port.write(b"\r\n0gs")
        assert port.read_until(b"\r\n") == b"0GS00\r\n"


@posix
def test_bytes_take_their_time_on_a_serial_line(terminal: PtyServer) -> None:
    import serial

    with serial.Serial(terminal.path, 9600, timeout=PATIENCE_S) as port:
        port.write(b"0in")
        assert len(port.read_until(b"\r\n")) == 35
    assert terminal.clock.now_s() == pytest.approx(35 * 10 / 9600)


@posix
def test_control_characters_pass_a_pseudo_terminal_unchanged() -> None:
    import serial

    clock = SteppedClock()
    server = PtyServer(Echo(clock), clock)
    server.start()
    try:
        with serial.Serial(server.path, 9600, timeout=PATIENCE_S) as port:
            for byte in range(256):
                port.write(bytes([byte]))
                assert port.read(1) == bytes([byte])
    finally:
        server.stop()


def test_no_thread_survives() -> None:
    makers: list[Callable[[], TcpServer]] = [lambda: TcpServer(Echo(SteppedClock()), SteppedClock())] * 3
    servers = [make() for make in makers]
    for server in servers:
        server.start()
    assert all(server._thread.is_alive() for server in servers)
    for server in servers:
        server.stop()
    assert not any(server._thread.is_alive() for server in servers)
