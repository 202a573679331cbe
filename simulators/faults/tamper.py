"""Sits in the link of one instrument and lets its faults happen to whole messages, each at its moment.

What fired is on record.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from simulators.faults.framing import Framer
from simulators.faults.plan import KINDS, Fault
from simulators.link import Link
from simulators.spectrometers.obp import Decoder, Frame, encode
from simulators.usb.device import Mishap


def matches(pattern: str, request: str) -> bool:
    """Return whether a request contains a text; ``^`` before and ``$`` behind it bind it to the ends.

    >>> matches("ens", "ens?"), matches("^ens$", "ens?"), matches("", "anything")
    (True, False, True)
    """
    begins, ends = pattern.startswith("^"), pattern.endswith("$")
    text = pattern[begins : len(pattern) - ends]
    if begins and ends:
        return request == text
    if begins or ends:
        return request.startswith(text) if begins else request.endswith(text)
    return text in request


class Armed:
    """Counts the messages of one fault. Used by one thread.

    Its chance is its own: it depends on the plan's seed, its number and how many messages it saw, and on
    nothing that happens elsewhere.
    """

    def __init__(self, fault: Fault, seed: int) -> None:
        self.fault = fault
        self.layer = KINDS[fault.kind].layer
        self.seen = 0
        self.rng = np.random.default_rng([seed, fault.number])
        self._hits = 0
        self._began_s: float | None = None

    def strikes(self, direction: str, request: str, now_s: float) -> bool:
        """Take notice of a message; return whether it is hit.

        :param request: label of the request it is, or answers.
        """
        fault = self.fault
        if direction != fault.direction or not matches(fault.match, request):
            return False
        self.seen += 1
        hit = self._by_chance() if fault.probability is not None else self._in_turn(now_s)
        self._hits += hit
        return hit

    def _by_chance(self) -> bool:
        chance = self.rng.random() < (self.fault.probability or 0.0)
        return chance and self._hits < (math.inf if self.fault.count is None else self.fault.count)

    def _in_turn(self, now_s: float) -> bool:
        fault = self.fault
        if self._began_s is None:
            if not (self.seen == fault.nth or (fault.at_s is not None and now_s >= fault.at_s)):
                return False
            self._began_s = now_s if fault.at_s is None else fault.at_s
        if self.layer != "bytes":
            return self._hits == 0
        if fault.duration_s is not None:
            return now_s < self._began_s + fault.duration_s
        return self._hits < (fault.count or 1)


log = logging.getLogger(__name__)

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Firing:
    """One time that one fault fired.

    :param fault: its number in the plan, from 1.
    :param message: how many matching messages there had been with this one; 0 if it fired by the clock.
    :param request: the request it hit, or the last one before it; as text, at most 80 characters.
    :param scene_s: on the scene's clock. :param wall_s: on ``time.monotonic``.
    """

    fault: int
    kind: str
    instrument: str | None
    message: int
    request: str
    scene_s: float
    wall_s: float


class FaultLog:
    """The latest 10,000 firings, oldest first; may be read while the bench runs."""

    def __init__(self) -> None:
        self._kept: deque[Firing] = deque(maxlen=MOST)
        self._lock = threading.Lock()
        self.total = 0

    def __iter__(self) -> Iterator[Firing]:
        with self._lock:
            return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of what fired, in order."""
        return tuple(firing.kind for firing in self)

    def note(self, fault: Fault, scene_s: float, message: int = 0, request: str = "") -> None:
        """Enter one firing."""
        firing = Firing(
            fault.number, fault.kind, fault.instrument, message, request[:80], scene_s, time.monotonic()
        )
        with self._lock:
            self._kept.append(firing)
            self.total += 1
        log.info("fault %d: %s at %.3f s, message %d", fault.number, fault.kind, scene_s, message)


def garbled(message: bytes, number: int | None, rng: np.random.Generator) -> bytes:
    """Return the message with ``number`` of its bytes changed, all of them for None.

    A changed byte is another byte for certain, and a line feed or a carriage return may be among the lost.
    """
    array = np.frombuffer(message, np.uint8).copy()
    places = rng.permutation(array.size)[:number]
    array[places] ^= rng.integers(1, 256, places.size, dtype=np.uint8)
    return array.tobytes()


def truncated(message: bytes, number: int | None) -> bytes:
    """Return the first ``number`` bytes, the first half for None; never the whole message."""
    keep = len(message) // 2 if number is None else number
    return message[: min(keep, len(message) - 1)]


def shortened(message: bytes, number: int) -> bytes:
    """Return a frame of the Ocean Binary Protocol that is sound, but whose payload lacks its last bytes.

    What is no frame comes back as it is.
    """
    frames = Decoder().feed(message)
    if len(frames) != 1 or frames[0].error:
        return message
    f = frames[0]
    payload = f.payload[: max(len(f.payload) - number, 0)]
    return encode(Frame(f.message, payload, f.flags, f.regarding, f.checksum))


MOST_ANSWERS = 32
MOST_LATE = 64

Parts = list[bytes]

MISHAPS = {
    "usb-short-packet": "short", "usb-stall": "halt", "usb-wrong-tag": "wrong tag",
    "usb-unread-answer": "unread", "usb-unplug": "pulled",
}  # fmt: skip
"""What befalls the transfer that carries an answer, by kind of fault."""


@runtime_checkable
class UsbLine(Protocol):
    """The server of an instrument on USB."""

    def be_mute(self, wall_s: float) -> None:
        """Answer by NAK for so long."""

    def be_taken(self, wall_s: float) -> None:
        """Belong to another program for so long."""

    def befall(self, mishap: Mishap, away_s: float) -> None:
        """Let something befall the next transfer to the host."""


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
            "garble": lambda item, parts: [garbled(p, item.fault.bytes, item.rng) for p in parts],
            "truncate": lambda item, parts: [truncated(p, item.fault.bytes) for p in parts],
            "duplicate": lambda item, parts: parts * (1 + item.fault.copies),
            "short-frame": lambda item, parts: [shortened(p, item.fault.bytes or 0) for p in parts],
            "stale-answer": lambda _, parts: [self._answers.get(self._request, p) for p in parts],
            "late-answer": self._be_late,
            "disconnect": self._disconnect,
            "usb-nak": self._say_nak,
            "usb-busy": self._be_taken,
            **dict.fromkeys(MISHAPS, self._mishap),
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

    def _say_nak(self, item: Armed, parts: Parts) -> Parts:
        assert isinstance(self._line, UsbLine)
        self._line.be_mute(item.fault.wall_s or 0.0)
        return parts

    def _be_taken(self, item: Armed, _: Parts) -> Parts:
        assert isinstance(self._line, UsbLine)
        self.new_client()
        self._line.be_taken(item.fault.wall_s or 0.0)
        return []

    def _mishap(self, item: Armed, parts: Parts) -> Parts:
        assert isinstance(self._line, UsbLine)
        fault = item.fault
        self._line.befall(Mishap(MISHAPS[fault.kind], fault.bytes), fault.wall_s or 0.0)
        return parts

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
