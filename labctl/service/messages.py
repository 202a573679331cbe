"""What the window asks of the bench's thread, and what that thread tells; all frozen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from labctl.config import BenchConfig
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.clock import Stop, check_stop
from labctl.model.errors import ConnectionFailure
from labctl.model.plan import SweepPlan
from labctl.model.records import SpectrometerInfo
from labctl.model.roles import Request
from labctl.runner.calibrate import CalEvent
from labctl.runner.events import Event
from labctl.runner.facts import RunRequest
from labctl.runner.report import RunReport
from labctl.runner.rundata import RunData
from procedures.alignment import AlignmentEvent, AlignmentPlan
from procedures.calibration import CalOptions
from procedures.fluence_sweep import Pause

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Asked:
    """A question waits for :meth:`Asking.answer`; ``what`` says what is asked."""

    number: int
    what: object


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Nobody waits for the answer to a question any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Differences:
    """How the bench differs from that of the run that shall go on, one line each; agree with True."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """What shall be put into the beam, by hand and in the dark; light follows. True: it is there."""

    what: Literal["blank", "sample"]


class Asking:
    """Holds one question at a time.

    :param tell: called with :class:`Asked` and :class:`Withdrawn`; must not wait.
    """

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._changed = threading.Condition()
        self._number = 0
        self._answers: dict[int, object] = {}

    def ask(self, what: object, stop: Stop | None) -> object:
        """Ask and wait; not called in Qt's thread.

        :raises Aborted: ``stop`` was set meanwhile.
        """
        with self._changed:
            self._number += 1
            number = self._number
            self._answers.clear()
        self._tell(Asked(number, what))
        try:
            with self._changed:
                while number not in self._answers:
                    check_stop(stop)
                    self._changed.wait(_POLL_S)
                return self._answers.pop(number)
        finally:
            self._tell(Withdrawn(number))

    def answer(self, number: int, value: object) -> None:
        """Answer a question; one that nobody waits for is ignored. Any thread, never waits."""
        with self._changed:
            if number == self._number:
                self._answers[number] = value
                self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Calibrate:
    """Measure a part of the bench.

    :param by_hand: set while a person does what is asked, even where a simulated bench could.
    """

    kind: CalibrationKind
    options: CalOptions
    output: Path
    by_hand: threading.Event


@dataclass(frozen=True, slots=True)
class Recheck:
    """Look whether the attenuator still is what its calibration says, behind the closed shutter."""


@dataclass(frozen=True, slots=True)
class CalTold:
    """Something new of the calibration."""

    event: CalEvent


@dataclass(frozen=True, slots=True)
class HandTold:
    """What the simulated bench's hands are doing by themselves; ``done`` when they have."""

    request: Request
    done: bool = False


@dataclass(frozen=True, slots=True)
class CalEnded:
    """The calibration has ended.

    :param status: only "stored" has a calibration and its file.
    :param left: what still stands elsewhere than a sweep wants it, in words.
    """

    kind: CalibrationKind
    status: Literal["stored", "refused", "aborted", "failed"]
    message: str = ""
    calibration: Calibration | None = None
    path: Path | None = None
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Connect:
    """Open every instrument.

    :param config: another bench file from now on; None keeps the one there is.
    """

    config: BenchConfig | None = None


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Make safe and release every instrument."""


@dataclass(frozen=True, slots=True)
class SetFluence:
    """Set a fluence, uJ/cm2."""

    fluence_uj_cm2: float


@dataclass(frozen=True, slots=True)
class SetAngle:
    """Turn the plate to an angle."""

    angle_deg: float


@dataclass(frozen=True, slots=True)
class Jog:
    """Turn the plate by an angle."""

    by_deg: float


@dataclass(frozen=True, slots=True)
class Home:
    """Search the mount's reference."""


@dataclass(frozen=True, slots=True)
class MoveShutter:
    """Open or close the shutter."""

    open_it: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """Take spectra one after another, or no more."""

    on: bool


@dataclass(frozen=True, slots=True)
class SetExposure:
    """Set the exposure time of manual spectra."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TakeDark:
    """Close the shutter and take a dark at the present exposure time."""

    count: int = 10


@dataclass(frozen=True, slots=True)
class Job:
    """A sweep in the queue; ``pause`` may be held by anybody.

    :param plan: None for one that goes on in its own file, ``resume``, which holds it.
    """

    number: int
    plan: SweepPlan | None
    request: RunRequest
    resume: Path | None = None
    pause: Pause = field(default_factory=Pause, compare=False)


@dataclass(frozen=True, slots=True)
class Align:
    """Follow the threshold until stopped."""

    plan: AlignmentPlan


@dataclass(frozen=True, slots=True)
class MakeSafe:
    """Least light and a closed shutter; the shutter itself is closed by the safety thread before this."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Make safe, release everything, end the thread."""


Command = (
    Connect | Disconnect | SetFluence | SetAngle | Jog | Home | MoveShutter | Stream | SetExposure | TakeDark
    | Job | Align | Calibrate | Recheck | MakeSafe | Quit
)  # fmt: skip

# --- told ----------------------------------------------------------------------------------------------

LinkState = Literal["disconnected", "connecting", "connected", "failed"]


@dataclass(frozen=True, slots=True)
class Link:
    """How the bench is connected.

    :param identities: who answered, by role, while connecting those so far; ``failures`` who did not, each
        with what to try.
    """

    state: LinkState
    identities: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[ConnectionFailure, ...] = ()
    message: str = ""
    info: SpectrometerInfo | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """One line for the user; ``wrong`` when something did not work."""

    text: str
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """What the bench's thread is doing; empty when it waits."""

    what: str


@dataclass(frozen=True, slots=True)
class JobTold:
    """An event of a running sweep."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class JobGoesOn:
    """A run is about to go on: what was measured before."""

    number: int
    run: RunData


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A sweep has ended; ``message`` says why it failed."""

    number: int
    status: Literal["finished", "aborted", "failed"]
    report: RunReport | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class AlignTold:
    """Something new of the alignment."""

    event: AlignmentEvent


@dataclass(frozen=True, slots=True)
class AlignEnded:
    """The alignment has ended; ``message`` says why."""

    message: str
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class SafeTold:
    """SAFE was carried out, or not: ``took_s`` is the time from the request to the confirmed closing."""

    closed: bool
    took_s: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The bench's thread has ended; nothing is open any more."""
