"""What a running sweep tells whoever watches: typed, frozen, in order; what it tells is on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labctl.model.records import SweepPoint
from labctl.model.results.sweep import SweepResult


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run is stored; all paths are absolute."""

    csv: Path
    h5: Path
    log: Path


@dataclass(frozen=True, slots=True)
class Connected:
    """Every instrument answered; ``identities`` by role."""

    identities: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Started:
    """The files exist, and ``total`` points are planned."""

    sample: str
    files: RunFiles
    total: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The run's files have lost their names, and the whole run is in others now; ``text`` says it."""

    files: RunFiles
    text: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A point is on disk. ``left_s`` estimates the wall time to the end."""

    number: int
    total: int
    point: SweepPoint
    left_s: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What the first ``points`` points say; a threshold that is provisional may well be overturned."""

    points: int
    result: SweepResult


@dataclass(frozen=True, slots=True)
class Message:
    """One line for the user."""

    text: str


Event = Connected | Started | Moved | Measured | Evaluated | Message
OnEvent = Callable[[Event], None]
