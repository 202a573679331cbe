"""Instruments as a session hands them out: they can be looked at, but light comes through the gate alone.

A shutter opens, and a mount turns in the light, only for :class:`procedures.pump.Pump` and for a calibration,
which know what that makes of the light. What is refused here is a slip, not an attack.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from labctl.model.clock import Stop
from labctl.model.delegate import DelegateAttenuator, DelegateShutter
from labctl.model.errors import SafetyStop
from labctl.model.roles import Attenuator, Roles, Shutter
from procedures.safe import retried

_HINT = "bench.pump.set_fluence(...) and bench.pump.open() know the limits"
_key = threading.local()


@contextmanager
def unlocked() -> Iterator[None]:
    """Let this thread open the shutter, or turn the plate in the light; for the gate alone."""
    before, _key.held = holds_key(), True
    try:
        yield
    finally:
        _key.held = before


def holds_key() -> bool:
    """Return whether this thread comes through the gate."""
    return bool(getattr(_key, "held", False))


def locked(roles: Roles) -> Roles:
    """Return the same instruments, with shutter and mount locked."""
    shutter = LockedShutter(roles.shutter)
    return replace(roles, shutter=shutter, attenuator=LockedMount(roles.attenuator, shutter))


class LockedShutter(DelegateShutter):
    """A shutter that anybody may close."""

    def open(self, within_s: float | None = None) -> None:
        """Open, for the gate.

        :raises SafetyStop: somebody else asks.
        """
        if not holds_key():
            raise SafetyStop(f"{self.name} opens only onto a fluence that the gate has verified", _HINT)
        super().open(within_s)


class LockedMount(DelegateAttenuator):
    """A mount that anybody may turn in the dark."""

    def __init__(self, device: Attenuator, shutter: Shutter) -> None:
        super().__init__(device)
        self._shutter = shutter

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference, in the dark.

        :raises SafetyStop: the shutter is not confirmed closed.
        """
        self._refuse_light("searches its reference")
        super().home(stop)

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move, in the dark or for the gate, and return the angle read back.

        :raises SafetyStop: the shutter is not confirmed closed, and it is not the gate that asks.
        """
        self._refuse_light("turns")
        return super().move_to(angle_deg, stop)

    def _refuse_light(self, what: str) -> None:
        if not holds_key() and retried(self._shutter.is_open):
            raise SafetyStop(f"{self.name} {what} only behind the closed shutter", _HINT)
