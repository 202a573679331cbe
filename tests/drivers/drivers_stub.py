"""Small devices for tests: a TCP server that answers by a function, with nobody's simulator behind it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[bytes], bytes | None]
"""Takes what arrived; returns what to send, b"" for nothing, None to close the connection."""


class Stub:
    """One loopback server; ``received`` keeps every byte, ``clients`` counts connections."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.received = b""
        self.clients = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def resource(self) -> str:
        return f"TCPIP::127.0.0.1::{self.port}::SOCKET"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.clients += 1
                self._open.append(client)
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while data := client.recv(65536):
                self.received += data
                # An empty line ahead of a question comes alone or with it, as the system likes.
                reply = self.answer(data.lstrip(b"\n") or data)
                if reply is None:
                    return
                client.sendall(reply)

    def send(self, data: bytes) -> None:
        """Send unasked to the latest client."""
        self._open[-1].sendall(data)

    def stop(self) -> None:
        for thing in (self._listener, *self._open):
            with suppress(OSError):
                thing.shutdown(socket.SHUT_RDWR)
            thing.close()
        for thread in self._threads:
            thread.join(2)


@contextmanager
def stub(answer: Answer) -> Iterator[Stub]:
    server = Stub(answer)
    try:
        yield server
    finally:
        server.stop()


def closed_port() -> int:
    """Return a loopback port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class NoSleep:
    """A clock that counts what is slept and never waits."""

    speed = 0.0

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, seconds: float, stop: object = None) -> None:
        del stop
        self.time_s += max(seconds, 0.0)
