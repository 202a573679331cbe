"""Shorthand for the error every driver raises when it cannot reach its instrument."""

from __future__ import annotations

from labctl.model.errors import ConnectionFailure, InstrumentError, NotConnected


class ConnectionLost(InstrumentError):  # noqa: N818
    """The line was cut; the next command connects anew and checks who is there."""


class ConnectionHangs(InstrumentError):  # noqa: N818
    """A call did not come back, and its connection was given up; the next command tries a new one.

    Not repeated at once like what was merely lost: whoever waits for it has waited long enough.
    """


def not_connected(role: str, resource: str, reason: str, hint: str) -> NotConnected:
    """Return the error for one instrument that could not be reached."""
    return NotConnected((ConnectionFailure(role, resource, reason, hint),))
