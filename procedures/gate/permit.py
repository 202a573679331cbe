"""Instruments as a session hands them out: they can be looked at, but light comes through the gate alone.

A shutter opens, and a mount turns in the light, only for :class:`procedures.pump.Pump` and for a calibration,
which know what that makes of the light. What is refused here is a slip, not an attack.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from labctl.model.errors import SafetyStop
from labctl.model.roles import Roles, Shutter
from procedures.gate.hooks import Call, Hooks, hooked
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
    hooks = Hooks()
    found = hooked(roles, hooks)
    hooks.attach(Permit(found.shutter))
    return found


class Permit:
    """A hook: anybody may close the shutter, and turn the mount in the dark.

    :param shutter: asked whether it is dark.
    """

    def __init__(self, shutter: Shutter) -> None:
        self._shutter = shutter

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        """Let a call pass.

        :raises SafetyStop: it would let light through, and it is not the gate that asks.
        """
        if not holds_key():
            if call.role == "shutter" and call.name == "open":
                raise SafetyStop(
                    f"{call.instrument} opens only onto a fluence that the gate has verified", _HINT
                )
            if call.role == "attenuator" and call.name in _TURNING and retried(self._shutter.is_open):
                raise SafetyStop(
                    f"{call.instrument} {_TURNING[call.name]} only behind the closed shutter", _HINT
                )
        yield


_TURNING = {"home": "searches its reference", "move_to": "turns"}
