"""The process that holds an isolated instrument: commands on stdin, answers on stdout, ends when stdin does.

Run as a module by :mod:`drivers.support.isolation`. Whatever a library prints goes to stderr, so that it
cannot get between the frames. If a call hangs and the parent is gone too, a watchdog of the interpreter's own
ends the process.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from drivers import registry
from drivers.support.child import (
    BrokenFrame,
    Frame,
    end_within,
    ends_itself,
    failure,
    private_stdout,
    read_frame,
    write_frame,
)
from drivers.support.isolation import DESCRIBED, LIVE
from drivers.support.packing import pack, unpack
from labctl.model.clock import Clock, ScaledClock
from labctl.model.errors import Aborted, InstrumentError
from labctl.model.roles import heard_by


class Inbox:
    """Commands, read in a thread of its own so that a stop is heard while one of them is carried out."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._stops: dict[int, threading.Event] = {}
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError, ValueError, BrokenFrame):
            while (frame := read_frame(self._stream)) is not None:
                if "stop" in frame[0]:
                    self._stops[frame[0]["stop"]].set()
                else:
                    self._stops[frame[0]["id"]] = threading.Event()
                    self._frames.put(frame)
        for stop in list(self._stops.values()):
            stop.set()
        self._frames.put(None)

    def next(self) -> Frame | None:
        """Return the next command, None at the end."""
        return self._frames.get()

    def stop_of(self, number: int) -> threading.Event:
        """Return the flag that is set when this command is to stop."""
        return self._stops[number]

    def done(self, number: int) -> None:
        """Forget the flag of a command."""
        with suppress(KeyError):
            del self._stops[number]


class Holder:
    """The instrument, and what may be asked of it."""

    def __init__(self) -> None:
        self._device: Any = None
        self._clock: Clock = ScaledClock()
        self._role = ""

    def answer(self, command: Mapping[str, Any], stop: threading.Event) -> Frame:
        """Carry out a command; whatever goes wrong is an answer, too."""
        try:
            if command["do"] == "connect":
                return self._connect(**command["arguments"])
            return self._call(command["do"], **command["arguments"], stop=stop)
        except Aborted:
            return {"error": "aborted", "text": "", "hint": ""}, b""
        except InstrumentError as exc:
            return failure(exc), b""
        except Exception as exc:  # noqa: BLE001  the parent must hear of it instead of losing us
            return {"error": "other", "text": f"{type(exc).__name__}: {exc}", "hint": ""}, b""

    def _connect(self, role: registry.RoleName, config: dict[str, Any], speed: float) -> Frame:
        self._role, self._clock = role, ScaledClock(speed)
        spec = registry.find(role, config["driver"])
        self._device = spec.open(spec.config.model_validate(config), self._clock)
        return self._answered(None, {name: self._get(name) for name in DESCRIBED[role]})

    def _call(self, name: str, given: list[Any], stoppable: bool, stop: threading.Event) -> Frame:
        began_s = self._clock.now_s()
        method = getattr(self._device, name)
        arguments = unpack(given, b"")
        value = method(*arguments, stop=stop) if stoppable else method(*arguments)
        return self._answered(value, {}, began_s)

    def _answered(self, value: object, described: Mapping[str, object], began_s: float = 0.0) -> Frame:
        live = {name: self._get(name) for name in LIVE.get(self._role, ())}
        plain, body = pack([value, list(described.values())])
        header = {
            "value": plain,
            "described": list(described),
            "live": {name: pack(found)[0] for name, found in live.items()},
            "began_s": began_s,
            "ended_s": self._clock.now_s(),
        }
        return header, body

    def _get(self, name: str) -> object:
        """Return a property; whether it has a method, for what only some instruments of a role can."""
        found = getattr(self._device, name, None)
        return True if callable(found) else found

    def close(self) -> None:
        """Release the instrument."""
        if self._device is not None:
            self._device.close()


def main() -> None:
    """Serve one parent until it closes our stdin."""
    answers = private_stdout()
    inbox, holder = Inbox(sys.stdin.buffer), Holder()
    while (frame := inbox.next()) is not None:
        command = frame[0]
        number, deadline_s = int(command["id"]), float(command["deadline_s"])

        def tell(power_w: float, number: int = number, deadline_s: float = deadline_s) -> None:
            write_frame(answers, {"id": number, "heard": power_w})
            end_within(deadline_s)

        try:
            with ends_itself(deadline_s), heard_by(tell):
                header, body = holder.answer(command, inbox.stop_of(number))
            inbox.done(number)
            write_frame(answers, {"id": number, **header}, body)
        except OSError:
            break
    holder.close()


if __name__ == "__main__":
    main()
