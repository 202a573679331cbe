"""What an instrument's bytes pass through: the wire (bytes in, bytes out) and the link in front of it.

A wire owns no socket, no thread and no wait. It is told what arrived, it may send at any moment, and it
says when it wants to be woken; the server in front of it does the waiting. So a wire answers while its
motor turns, and the same wire runs on a real clock, a fast one or one that is stepped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from labctl.model.clock import Clock

Send = Callable[[bytes], None]

DUE_TOLERANCE_S = 1e-9
"""Rounding of a clock that is stepped by differences: something due this soon is due now."""


def _nobody(data: bytes) -> None:
    """Swallow bytes sent while nobody is connected."""


class Wire:
    """One instrument as seen from its connector. Every method runs in the thread of its server.

    :param clock: the scene's clock; all times are its seconds.
    """

    framing = ""
    """How its requests are told apart, where that is not the way of its driver key; see simulators.faults."""
    baud_rate = 9600
    """Serial speed the instrument listens at; only a serial server looks at it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._send: Send = _nobody

    def attach(self, send: Send) -> None:
        """Say where bytes for the client go.

        :param send: called with the bytes.
        """
        self._send = send

    def new_client(self) -> None:
        """Forget what an earlier client left half said; settings stay."""

    def receive(self, data: bytes) -> None:
        """Take bytes from the client.

        :param data: a piece of any size.
        """
        raise NotImplementedError

    def due_s(self) -> float | None:
        """Return the clock time at which :meth:`wake` is wanted, or None."""
        return None

    def wake(self) -> None:
        """Do what was due. Called once the clock has reached :meth:`due_s`."""


class Filter(Protocol):
    """Something on the cable: noise, a wrong baud rate, a fault to be injected."""

    def to_instrument(self, data: bytes) -> bytes:
        """Return what the instrument sees of ``data``."""

    def to_client(self, data: bytes) -> bytes:
        """Return what the client sees of ``data``."""


class Tamper(Protocol):
    """What goes wrong with whole messages: it knows where one ends, and what happened before."""

    def new_client(self) -> None:
        """Forget what belonged to the client that has left."""

    def requests(self, data: bytes) -> Iterator[bytes]:
        """Yield what reaches the instrument, one message at a time."""

    def replies(self, data: bytes) -> Iterator[bytes]:
        """Yield what reaches the client of one answer."""


class Link:
    """The one place all bytes of an instrument pass, in both directions.

    The filters are the cable; ``tamper``, if there is one, sits between it and the instrument.

    :param transmit: hands bytes to whoever is connected.
    """

    def __init__(self, wire: Wire, transmit: Send) -> None:
        self.filters: list[Filter] = []
        self.tamper: Tamper | None = None
        self._transmit = transmit
        self.plug(wire)

    def plug(self, wire: Wire) -> None:
        """Put an instrument at the end of the cable, in place of the one that was there."""
        self.wire = wire
        wire.attach(self.to_client)

    def new_client(self) -> None:
        """Tell everybody on the way that somebody else talks now."""
        self.wire.new_client()
        if self.tamper is not None:
            self.tamper.new_client()

    def to_instrument(self, data: bytes) -> None:
        """Carry bytes from the client to the wire."""
        for item in self.filters:
            data = item.to_instrument(data)
        for part in (data,) if self.tamper is None else self.tamper.requests(data):
            if part:
                self.wire.receive(part)

    def to_client(self, data: bytes) -> None:
        """Carry bytes from the wire to the client."""
        for part in (data,) if self.tamper is None else self.tamper.replies(data):
            self.deliver(part)

    def deliver(self, data: bytes) -> None:
        """Carry bytes through the cable to the client."""
        for item in reversed(self.filters):
            data = item.to_client(data)
        if data:
            self._transmit(data)
