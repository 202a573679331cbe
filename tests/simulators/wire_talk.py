"""Helpers of the wire tests: a conversation without a server, and scene parts that are simple on purpose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.model.clock import Clock, SteppedClock
from simulators.link import Wire


class Talk:
    """Says bytes to a wire and notes what it answers, stepping the clock only when told to."""

    def __init__(self, wire: Wire, clock: SteppedClock) -> None:
        self.wire, self.clock = wire, clock
        self._heard: list[bytes] = []
        wire.attach(self._heard.append)

    def heard(self) -> bytes:
        """Return what the wire sent since the last look."""
        data = b"".join(self._heard)
        self._heard.clear()
        return data

    def say(self, data: bytes) -> bytes:
        """Send and return what is answered at once."""
        self.wire.receive(data)
        return self.heard()

    def wait(self, limit_s: float = 100.0) -> bytes:
        """Step from due time to due time until nothing is due any more; return what was sent."""
        end_s = self.clock.now_s() + limit_s
        while (due_s := self.wire.due_s()) is not None and due_s <= end_s:
            self.clock.sleep(due_s - self.clock.now_s())
            self.wire.wake()
        return self.heard()

    def ask(self, data: bytes) -> bytes:
        """Send, let time pass until nothing is due, and return all that was answered."""
        return self.say(data) + self.wait()


class PlainBlade:
    """A shutter that moves in 10 ms and notes every command with its time."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self.commands: list[tuple[float, bool]] = []

    def command(self, open_: bool) -> float:
        self.commands.append((round(self._clock.now_s(), 6), open_))
        return self._clock.now_s() + 0.01

    def closed_switch(self) -> bool:
        if not self.commands:
            return True
        at_s, open_ = self.commands[-1]
        return not open_ and self._clock.now_s() - at_s >= 0.01


class PlainHead:
    """A head that shows what the test put there; it notes how it was asked."""

    time_constant_s = 0.0

    def __init__(self, kind: str = "photodiode", watts: float = 1e-5) -> None:
        self.kind = kind
        self.name, self.serial = (
            {"photodiode": "S130C", "thermal": "S401C", "pyro": "ES111C"}[kind],
            "17050001",
        )
        self.wavelength_limits_nm = (400.0, 1100.0)
        self.watts, self.joules, self.hertz = watts, 1e-6, 1000.0
        self.asked: list[Mapping[str, float]] = []

    def power_w(
        self,
        stop_s: float,
        samples: int,
        sample_period_s: float,
        wavelength_set_nm: float,
        zero_offset_w: float,
        range_w: float,
    ) -> float:
        self.asked.append(
            {"stop_s": stop_s, "samples": samples, "wavelength": wavelength_set_nm, "range_w": range_w}
        )
        return self.watts - zero_offset_w

    def pulse_energy_j(self, stop_s: float, wavelength_set_nm: float) -> float | None:
        return self.joules

    def repetition_hz(self, stop_s: float) -> float:
        return self.hertz


class PlainCamera:
    """A camera whose pixels tell which exposure they are of: start in ms, integration in ms, then zeros."""

    pixels = 2136
    wavelength_coefficients = (500.0, 0.03, -1e-7, 0.0)
    nonlinearity = (1.0, 0.0, -7e-12, 0.0, 0.0, 0.0, 0.0, 0.0)
    serial = "FLMX00042"
    max_counts = 65535
    integration_min_us = 10
    integration_max_us = 10_000_000

    def expose(self, start_s: float, integration_s: float) -> NDArray[np.uint16]:
        counts = np.zeros(self.pixels, np.uint16)
        counts[:2] = round(start_s * 1e3), round(integration_s * 1e3)
        return counts

    def expose_each(self, starts_s: NDArray[np.float64], integration_s: float) -> NDArray[np.uint16]:
        return np.stack([self.expose(start, integration_s) for start in starts_s.tolist()])

    def temperature_c(self, at_s: float) -> float:
        return 25.5


class IdleMount:
    """A mount outside the beam, so that a bus can carry more than one: it turns at one speed."""

    SPEED_DEG_S = 200.0
    speed_rel = 1.0

    def __init__(self, clock: Clock, angle_deg: float = 0.0) -> None:
        self._clock = clock
        self._from_deg = self._to_deg = angle_deg
        self._from_s = self.arrival_s = clock.now_s()

    def moving(self) -> bool:
        """Return whether it turns now."""
        return self._clock.now_s() < self.arrival_s

    def encoder_deg(self) -> float:
        """Return where it is now."""
        if not self.moving():
            return self._to_deg
        part = (self._clock.now_s() - self._from_s) / (self.arrival_s - self._from_s)
        return self._from_deg + part * (self._to_deg - self._from_deg)

    def move_to(self, angle_deg: float) -> float:
        """Start a motion; return its end."""
        self._from_deg, self._to_deg, self._from_s = self.encoder_deg(), angle_deg, self._clock.now_s()
        self.arrival_s = self._from_s + abs(angle_deg - self._from_deg) / (self.SPEED_DEG_S * self.speed_rel)
        return self.arrival_s

    def home(self) -> float:
        """Turn to zero; return the end."""
        return self.move_to(0.0)

    def stop(self) -> None:
        """Stop where it is."""
        self._to_deg, self.arrival_s = self.encoder_deg(), self._clock.now_s()
