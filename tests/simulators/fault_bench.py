"""A simulated bench with a plan of faults, and clients as plain as they can be."""

from __future__ import annotations

import dataclasses
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

from patience import PATIENCE_S

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan, Firing
from simulators.scene import Scene

SPECTRUM, GET_INTEGRATION = 0x00101000, 0x00110000
SOON_S = 0.03
"""How long silence is listened to; nothing that must be heard has to come within it."""


def frame(message: int, payload: bytes = b"") -> bytes:
    """Return a request in the Ocean Binary Protocol, written down independently of the simulator."""
    head = struct.pack("<HHHHLL6sBB16sL", 0xC0C1, 0x1100, 0, 0, message, 0, b"", 0, len(payload), payload, 20)
    return head + bytes(16) + struct.pack("<L", 0xC2C3C4C5)


class WallClock:
    """What a server calls ``time``: it stands until the test moves it on, and counts who looks at it."""

    def __init__(self) -> None:
        self.now_s, self.looks = 1000.0, 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.now_s


class Faulty:
    """Serves an ideal scene on a stepped clock."""

    def __init__(self, plan: str, sample: str = "ola", level: str = "ideal", **parts: object) -> None:
        settings = presets.scene(sample, "typical" if level == "typical" else "ideal")
        if parts:
            settings = dataclasses.replace(settings, **parts)  # type: ignore[arg-type]
        self.clock = SteppedClock()
        self.bench = SimulatedBench(settings, self.clock, faults=FaultPlan.parse(plan))
        self.scene: Scene = self.bench.scene
        self._clients: list[Client] = []

    def __enter__(self) -> Self:
        self.bench.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        self.bench.stop()

    def fired(self) -> list[Firing]:
        return list(self.bench.fault_log)

    def client(self, role: str) -> Client:
        """Return a new client; closed with the bench at the latest."""
        resource = self.bench.resources[role]
        port = int(resource.rsplit(":", 1)[1] if role == "spectrometer" else resource.split("::")[2])
        self._clients.append(Client(port, END[role]))
        return self._clients[-1]


END = {
    "attenuator": b"\r\n", "power_meter": b"\n", "shutter": b"> ", "spectrometer": b"\xc5\xc4\xc3\xc2",
    "stage": b"\r\n", "thermometer": b"\n", "heater": b"> ",
}  # fmt: skip


class Client:
    """Says something and listens to what ends an answer."""

    def __init__(self, port: int, end: bytes) -> None:
        self._end, self._rest = end, b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def say(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self, data: bytes, wait_s: float = PATIENCE_S) -> bytes:
        """Return one answer with its end; b"" for silence; EOFError if the line was cut."""
        self.say(data)
        return self.hear(wait_s)

    def is_deaf_to(self, data: bytes) -> bool:
        """Ask, and return whether nothing was said for a while; a false alarm needs a wrong answer."""
        return self.ask(data, SOON_S) == b""

    def all_of(self, data: bytes, wait_s: float = PATIENCE_S, *, size: int = 1) -> bytes:
        """Ask, and return as many bytes as are expected, and what follows them within a while."""
        self.say(data)
        self._socket.settimeout(wait_s)
        answer = b""
        with suppress(TimeoutError):
            while more := self._socket.recv(65536):
                answer += more
                if len(answer) >= size:
                    self._socket.settimeout(SOON_S)
        return answer

    def hear(self, wait_s: float = PATIENCE_S) -> bytes:
        self._socket.settimeout(wait_s)
        while self._end not in self._rest:
            try:
                more = self._socket.recv(65536)
            except TimeoutError:
                answer, self._rest = self._rest, b""
                return answer
            except OSError as exc:
                raise EOFError from exc
            if not more:
                raise EOFError
            self._rest += more
        at = self._rest.index(self._end) + len(self._end)
        answer, self._rest = self._rest[:at], self._rest[at:]
        return answer
