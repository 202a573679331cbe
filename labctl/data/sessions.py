"""The sessions of a run: one, and another for each time it was resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from labctl.data import layout
from labctl.data.guard import GuardedFile
from labctl.model.records import Identity
from labctl.model.run import RunStart

SESSIONS = f"{layout.RECORD}/sessions"


@dataclass(frozen=True, slots=True)
class Session:
    """One stretch of measuring, from a connection to its end.

    :param first_point: number of points that were in the file when it began.
    :param first_event: number of the run's log lines then; bench times start anew with each session.
    :param differences: what differed from the session before, as it was shown.
    :param dose_uj_cm2: dose that the sessions before it are charged with.
    :param ended: "aborted", "failed" or "killed"; empty for the last session, see the run's own status.
    :param ended_utc: when; for a killed one when the file was last written.
    """

    started_utc: str
    identities: Mapping[str, Identity]
    versions: Mapping[str, str]
    config: Mapping[str, object]
    first_point: int = 0
    first_event: int = 0
    differences: tuple[str, ...] = ()
    ended: str = ""
    ended_utc: str = ""
    reason: str = ""
    dose_uj_cm2: float = 0.0
    writer: Mapping[str, object] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, object]:
        """Return the plain values that go into the file."""
        return asdict(self)


def first_session(start: RunStart) -> Session:
    """Return the session that a run began with."""
    return Session(start.started_utc, start.identities, start.versions, start.config)


def read_sessions(file: GuardedFile, start: RunStart) -> tuple[Session, ...]:
    """Read the sessions of a run; a run that was never resumed has one.

    :raises DataError: they are not what labctl writes.
    """
    if not file.has(SESSIONS):
        return (first_session(start),)
    stored = file.mapping(SESSIONS).get("sessions")
    if not isinstance(stored, list) or not stored or not all(isinstance(one, dict) for one in stored):
        raise file.refusal("its sessions are not the list they should be")
    return tuple(_session(one) for one in stored)


def _session(stored: Mapping[str, object]) -> Session:
    differences = stored.get("differences")
    return Session(
        started_utc=str(stored.get("started_utc", "")),
        first_point=_count(stored, "first_point"),
        first_event=_count(stored, "first_event"),
        dose_uj_cm2=_dose(stored.get("dose_uj_cm2")),
        ended=str(stored.get("ended", "")),
        ended_utc=str(stored.get("ended_utc", "")),
        reason=str(stored.get("reason", "")),
        identities={role: identity(who) for role, who in _mapping(stored, "identities").items()},
        versions={name: str(version) for name, version in _mapping(stored, "versions").items()},
        config=_mapping(stored, "config"),
        differences=tuple(map(str, differences)) if isinstance(differences, list) else (),
        writer=_mapping(stored, "writer"),
    )


def _count(stored: Mapping[str, object], name: str) -> int:
    value = stored.get(name)
    return value if isinstance(value, int) and value >= 0 else 0


def _dose(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else 0.0


def identity(stored: object) -> Identity:
    """Return a stored identity, with empty texts for what it lacks."""
    words: Mapping[str, object] = stored if isinstance(stored, dict) else {}
    return Identity(*(str(words.get(name, "")) for name in ("vendor", "model", "serial", "firmware")))


def _mapping(stored: Mapping[str, object], name: str) -> dict[str, object]:
    value = stored.get(name)
    return value if isinstance(value, dict) else {}
