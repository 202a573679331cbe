"""Shorthand for the error every driver raises when it cannot reach its instrument."""

from __future__ import annotations

from labctl.model.errors import ConnectionFailure, NotConnected


def not_connected(role: str, resource: str, reason: str, hint: str) -> NotConnected:
    """Return the error for one instrument that could not be reached."""
    return NotConnected((ConnectionFailure(role, resource, reason, hint),))
