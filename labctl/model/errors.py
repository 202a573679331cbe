"""Errors are part of the interface: what failed, what was sent and received, what to try.

Saturation, "no threshold in range" and a failed fit are values, not errors; an abort is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class Aborted(Exception):  # noqa: N818  an abort is not an error
    """The user asked to stop. Everything is made safe, the file is closed as aborted."""


class LabctlError(Exception):
    """Anything labctl tells its user in one line.

    :param message: what failed.
    :param hint: what to try.
    :ivar announced: whether the user was told in the moment it happened, before the bench was made safe.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.announced = False

    def __str__(self) -> str:
        return _with_hint(self.message, self.hint)


class ConfigError(LabctlError):
    """The command line or a configuration file asks for something impossible or unknown.

    :param reason: what is wrong.
    :param file: the file it stands in.
    :param key: the key, or the option.
    :param hint: what to try.
    """

    exit_code = 2

    def __init__(self, reason: str, *, file: Path | None = None, key: str = "", hint: str = "") -> None:
        where = ": ".join(part for part in (str(file) if file else "", key) if part)
        super().__init__(f"{where}: {reason}" if where else reason, hint)
        self.file, self.key, self.reason = file, key, reason


class InstrumentError(LabctlError):
    """An instrument did not do what it was asked.

    :param instrument: its role and address.
    :param message: what it did, or did not.
    :param hint: what to try.
    """

    exit_code = 3

    def __init__(self, instrument: str, message: str, hint: str = "") -> None:
        super().__init__(f"{instrument}: {message}", hint)
        self.instrument = instrument


class InstrumentTimeout(InstrumentError):  # noqa: N818
    """No answer in time. The command may be repeated once if it is idempotent."""


class LightUnwatched(InstrumentError):  # noqa: N818
    """An instrument that watches the light fell silent in it; the shutter was told to close first.

    No time-out, so that it is not asked again in the same place: whoever repeats makes it dark first.
    """


class ProtocolError(InstrumentError):
    """An answer that cannot be parsed; carries the bytes of both directions, where they are known.

    :param instrument: its role and address.
    :param message: what is wrong with it.
    :param sent: the bytes that asked.
    :param received: the bytes that came.
    """

    def __init__(self, instrument: str, message: str, *, sent: bytes = b"", received: bytes = b"") -> None:
        exchanged = f" (sent {sent!r}, received {received[:200]!r})" if sent or received else ""
        super().__init__(
            instrument,
            f"{message}{exchanged}",
            "check the address, the baud rate and that no other program talks to the device",
        )
        self.sent, self.received = sent, received


class InstrumentFault(InstrumentError):  # noqa: N818
    """The instrument itself reports a fault (interlock, mechanical time-out, over-range ...)."""


@dataclass(frozen=True, slots=True)
class ConnectionFailure:
    """Why one instrument could not be reached, and what to try.

    :param role: its role.
    :param resource: its address.
    :param reason: what happened.
    :param hint: what to try.
    """

    role: str
    resource: str
    reason: str
    hint: str


class NotConnected(InstrumentError):  # noqa: N818
    """One or more instruments could not be reached; the error names all of them.

    :param failures: one for each instrument.
    """

    def __init__(self, failures: tuple[ConnectionFailure, ...]) -> None:
        lines = "; ".join(_with_hint(f"{f.role} at {f.resource}: {f.reason}", f.hint) for f in failures)
        roles = ", ".join(f.role for f in failures)
        super().__init__(roles, f"not connected: {lines}")
        self.failures = failures


class SafetyStop(LabctlError):  # noqa: N818
    """A limit or a consistency check was hit; the shutter is closed and the reason is in the file."""

    exit_code = 4


class ShutterLied(SafetyStop):
    """The shutter reports closed, but a detector behind it sees light: darks are not dark."""


class NotMadeSafe(SafetyStop):
    """The shutter or the attenuator could not be set to a safe state: light may pass.

    :param failures: what failed, in the order in which it was tried.
    """

    def __init__(self, failures: Sequence[Exception]) -> None:
        reasons = "; ".join(str(failure) for failure in failures)
        super().__init__(f"NOT MADE SAFE: {reasons}", "block the beam manually")
        self.failures = tuple(failures)


def is_noticed_stop(error: BaseException, stopped: bool) -> bool:
    """Return whether a safety stop only shows a user's stop: SAFE closes the shutter during a reading.

    An error that leaves the bench unsafe is never one.
    """
    unsafe = isinstance(error, NotMadeSafe) or any(
        "NOT MADE SAFE" in n for n in getattr(error, "__notes__", ())
    )
    return stopped and isinstance(error, SafetyStop) and not unsafe


class CalibrationRefused(LabctlError):  # noqa: N818
    """A measurement does not suffice for a calibration; the error says why, and nothing is stored."""

    exit_code = 5


class DataError(LabctlError):
    """A file cannot be written, read or understood."""

    exit_code = 5


def _with_hint(message: str, hint: str) -> str:
    """Join message and hint as two sentences, whatever the message ends with."""
    if not hint:
        return message
    return f"{message}{'' if message.endswith(('.', '?', '!')) else '.'} Try: {hint}"
