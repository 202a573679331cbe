"""Shorthand for the error every driver raises when it cannot reach its instrument."""

from __future__ import annotations

from labctl.model.errors import ConnectionFailure, InstrumentError, NotConnected


class ConnectionLost(InstrumentError):  # noqa: N818
    """The line was cut; the next command connects anew and checks who is there."""


def not_connected(role: str, resource: str, reason: str, hint: str) -> NotConnected:
    """Return the error for one instrument that could not be reached."""
    return NotConnected((ConnectionFailure(role, resource, reason, hint),))
