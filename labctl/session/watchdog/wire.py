"""What travels between labctl and its watchdog: one JSON object a line, bounded on both sides."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LONGEST_LINE = 1 << 20
"""Bytes: room for a table of 10,000 angles; a longer line is thrown away."""
LONGEST_BUSY_S = 3600.0
LONGEST_TABLE = 10_000


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the watchdog needs to make a bench safe without anybody's help.

    :param pid: of the main process.
    :param limit_s: wall seconds without a sign of life, beyond what was announced, while light may pass.
    :param shutter: the shutter's table of the bench file; ``attenuator`` likewise.
    :param curve: "kind" is "malus" or "table", the rest are the fields of that record in labctl.model.pump.
    :param angle_range_deg: limit of the bench for the mount, None for the mount's own.
    :param log: log file of the run; ``None`` when there is no run.
    """

    pid: int
    limit_s: float
    time_scale: float
    shutter: Mapping[str, object]
    attenuator: Mapping[str, object]
    curve: Mapping[str, object] = field(default_factory=dict)
    angle_range_deg: tuple[float, float] | None = None
    log: str | None = None

    def message(self) -> dict[str, object]:
        """Return it as the message that opens the conversation."""
        return {"say": "watch", **asdict(self)}


def assignment_of(message: Mapping[str, Any]) -> Assignment:
    """Check the opening message.

    :raises ValueError: it is none.
    """
    try:
        span = message["angle_range_deg"]
        log = message["log"]
        return Assignment(
            pid=_number(message["pid"]),
            limit_s=_positive(message["limit_s"]),
            time_scale=_positive(message["time_scale"]),
            shutter=dict(message["shutter"]),
            attenuator=dict(message["attenuator"]),
            curve=_curve(message["curve"]),
            angle_range_deg=None if span is None else (float(span[0]), float(span[1])),
            log=None if log is None else str(log),
        )
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as exc:
        raise ValueError(f"not an assignment: {type(exc).__name__}: {exc}") from exc


def _number(value: object) -> int:
    """Check a process number: what is at or below 1 means the system, or groups of processes."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 < value < 1 << 32:
        raise ValueError(f"{value!r} is not a process")
    return value


def _positive(value: object) -> float:
    number = float(value) if isinstance(value, int | float) else math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{value!r} is not a positive number")
    return number


def _curve(value: Mapping[str, Any]) -> dict[str, object]:
    if any(isinstance(v, list) and len(v) > LONGEST_TABLE for v in value.values()):
        raise ValueError("the table of the attenuator is too long")
    return dict(value)


def busy_s(message: Mapping[str, Any]) -> float:
    """Return the announced wall seconds of a sign of life; what is no sensible number counts as 0."""
    value = message.get("for_s", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return min(max(float(value), 0.0), LONGEST_BUSY_S)


def encode(message: Mapping[str, object]) -> bytes:
    """Return a message as one line."""
    return json.dumps(message, allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the message of a line, None where it holds none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and isinstance(message.get("say"), str) else None


class Lines:
    """Cuts a stream into lines, in bounded memory: a line that is too long is dropped whole."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._part = bytearray()
        self._dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the lines they complete, without their ends."""
        *ended, rest = data.split(b"\n")
        complete = []
        for piece in ended:
            self._grow(piece)
            if not self._dropping:
                complete.append(bytes(self._part))
            self._part.clear()
            self._dropping = False
        self._grow(rest)
        return complete

    def _grow(self, piece: bytes) -> None:
        if self._dropping or len(self._part) + len(piece) > self._longest:
            self._dropping = True
            self._part.clear()
        else:
            self._part += piece
