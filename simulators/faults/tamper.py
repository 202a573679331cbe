"""Sits in the link of one instrument and lets its faults happen to whole messages.

Everything runs in the thread of the instrument's server, so a delay holds up all that comes after it, as on
a slow line.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from simulators.faults import mangle
from simulators.faults.armed import Armed
from simulators.faults.framing import Framer
from simulators.faults.log import FaultLog
from simulators.faults.plan import Fault
from simulators.link import Link

MOST_ANSWERS = 32
MOST_LATE = 64

Parts = list[bytes]


class Line(Protocol):
    """The server of an instrument, as far as faults need it."""

    link: Link

    def pause(self, wall_s: float) -> None:
        """Let everything wait."""

    def hang_up(self, wall_s: float = 0.0) -> None:
        """Part from the client, and turn away others for so long."""

    def call(self, action: Callable[[], None]) -> None:
        """Do something soon, in the server's thread."""


class Tamper:
    """All faults of one instrument.

    :param strike: lets a fault of the device or of the optical table happen; it may replace the wire.
    """

    def __init__(
        self,
        armed: Sequence[Armed],
        line: Line,
        framer: Framer,
        log: FaultLog,
        now_s: Callable[[], float],
        strike: Callable[[Fault], None],
    ) -> None:
        self._armed, self._line, self._framer = tuple(armed), line, framer
        self._log, self._now_s, self._strike = log, now_s, strike
        self._remembers = any(item.fault.kind == "stale-answer" for item in armed)
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self._request = b""
        self._ahead: Parts = []
        self._late: set[threading.Timer] = set()
        self._client = 0
        self._actions: dict[str, Callable[[Armed, Parts], Parts]] = {
            "drop": self._drop,
            "delay": self._wait,
            "stall": self._wait,
            "garble": lambda item, parts: [mangle.garbled(p, item.fault.bytes, item.rng) for p in parts],
            "truncate": lambda item, parts: [mangle.truncated(p, item.fault.bytes) for p in parts],
            "duplicate": lambda item, parts: parts * (1 + item.fault.copies),
            "short-frame": lambda item, parts: [mangle.shortened(p, item.fault.bytes or 0) for p in parts],
            "stale-answer": lambda _, parts: [self._answers.get(self._request, p) for p in parts],
            "late-answer": self._be_late,
            "disconnect": self._disconnect,
        }

    def new_client(self) -> None:
        """Forget half a request, and answers to somebody who has left."""
        self._client += 1
        self._framer.clear()
        self._ahead.clear()

    def requests(self, data: bytes) -> Iterator[bytes]:
        """Yield what reaches the instrument, one message at a time."""
        client = self._client
        for message in self._framer.feed(data):
            if client != self._client:
                return  # the line was cut by an earlier message
            self._request = message
            yield from self._pass("request", message)

    def replies(self, data: bytes) -> Iterator[bytes]:
        """Yield what reaches the client of one answer."""
        ahead, self._ahead = self._ahead, []
        yield from ahead
        parts = self._pass("reply", data)
        if self._remembers:
            self._remember(data)
        yield from parts

    @property
    def remembered(self) -> int:
        """How many answers are kept for stale ones."""
        return len(self._answers)

    def close(self) -> None:
        """Forget every answer that is still under way."""
        for timer in tuple(self._late):
            timer.cancel()

    def _pass(self, direction: str, message: bytes) -> Parts:
        label = self._framer.label(self._request)
        parts = [message]
        for item in self._armed:
            now_s = self._now_s()
            if item.strikes(direction, label, now_s):
                self._log.note(item.fault, now_s, item.seen, label)
                parts = self._act(item, parts)
        return parts

    def _act(self, item: Armed, parts: Parts) -> Parts:
        action = self._actions.get(item.fault.kind)
        if action is not None:
            return action(item, parts)
        self._strike(item.fault)
        return parts

    def _drop(self, _: Armed, parts: Parts) -> Parts:
        return parts[:0]

    def _wait(self, item: Armed, parts: Parts) -> Parts:
        self._line.pause(item.fault.wall_s or 0.0)
        return parts

    def _disconnect(self, item: Armed, _: Parts) -> Parts:
        self.new_client()
        self._line.hang_up(item.fault.wall_s or 0.0)
        return []

    def _be_late(self, item: Armed, parts: Parts) -> Parts:
        """Hold an answer back until its time has come, or until just before the next one."""
        if item.fault.wall_s is None:
            self._ahead += parts[: MOST_LATE - len(self._ahead)]
        elif len(self._late) < MOST_LATE:
            self._deliver_later(item.fault.wall_s, parts)
        return []

    def _deliver_later(self, wall_s: float, parts: Parts) -> None:
        client = self._client

        def deliver() -> None:
            self._late.discard(timer)
            if client == self._client:
                for part in parts:
                    self._line.link.deliver(part)

        timer = threading.Timer(wall_s, lambda: self._line.call(deliver))
        timer.daemon = True
        self._late.add(timer)
        timer.start()

    def _remember(self, data: bytes) -> None:
        self._answers[self._request] = data
        self._answers.move_to_end(self._request)
        if len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)
