"""Sweeps, new ones and ones that go on, and the alignment, on a bench that the window has open."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from labctl.model.errors import Aborted, InstrumentError, LabctlError, is_noticed_stop
from labctl.runner.events import Event
from labctl.runner.fit_process import Fits
from labctl.runner.report import RunReport
from labctl.runner.resume import resume_run
from labctl.runner.run import RunFailed, run_sweep
from labctl.runner.rundata import open_file
from labctl.service.asking import Asking, Differences, Insert
from labctl.service.messages import (
    Align,
    AlignEnded,
    AlignTold,
    Busy,
    Job,
    JobEnded,
    JobGoesOn,
    JobTold,
)
from labctl.session import Bench
from procedures.alignment import Finished, align

NOT_AGREED = "the differences were not agreed to: the run is as it was"


class LostInstrument(Exception):  # noqa: N818
    """An instrument failed in a run: the bench is opened anew for what comes next."""


@dataclass(frozen=True, slots=True)
class Room:
    """What work on the bench needs: the bench, whom to tell and to ask, when to stop, and who evaluates."""

    bench: Bench
    tell: Callable[[object], None]
    stop: threading.Event
    asking: Asking
    fits: Fits | None = None


def run_job(room: Room, job: Job) -> None:
    """Run one sweep; how it ended is told, and never raised, unless the bench must be opened anew.

    :raises LostInstrument: an instrument failed.
    """
    room.tell(Busy(f"sweep {job.number}: {job.request.sample}"))
    status: Literal["finished", "aborted", "failed"]
    report: RunReport | None = None
    failure: BaseException | None = None
    message = ""
    try:
        report = _begun(room, job) if job.resume is None else _resumed(room, job)
        status = "aborted" if report.status == "aborted" else "finished"
    except RunFailed as failed:
        status, report, failure = "failed", failed.report, failed.error
    except Aborted as aborted:
        status, message = "aborted", str(aborted)
    except (LabctlError, OSError) as exc:
        status, failure = "failed", exc
    message = message or said_of(failure)
    room.tell(JobEnded(job.number, status, report, message))
    if isinstance(failure, InstrumentError):
        raise LostInstrument(message) from failure


def _begun(room: Room, job: Job) -> RunReport:
    assert job.plan is not None
    return run_sweep(
        room.bench,
        job.plan,
        job.request,
        stop=room.stop,
        on_event=_teller(room, job),
        clock=room.bench.roles.clock,
        pause=job.pause,
        insert=_inserting(room),
        fits=room.fits,
    )


def _inserting(room: Room) -> Callable[[Literal["blank", "sample"]], None]:
    """Return what has a blank, and the sample again, put into the beam."""

    def insert(what: Literal["blank", "sample"]) -> None:
        if room.asking.ask(Insert(what), room.stop) is not True:
            raise Aborted(f"the {what} was not put into the beam")

    return insert


def _resumed(room: Room, job: Job) -> RunReport:
    """Go on with a run; what differs from its bench is shown and agreed to before any light."""
    assert job.resume is not None
    room.tell(JobGoesOn(job.number, open_file(job.resume)))

    def confirm(lines: tuple[str, ...]) -> None:
        if room.asking.ask(Differences(lines), room.stop) is not True:
            raise Aborted(NOT_AGREED)

    return resume_run(
        job.resume,
        room.bench.config,
        stop=room.stop,
        on_event=_teller(room, job),
        confirm=confirm,
        insert=_inserting(room),
        clock=room.bench.roles.clock,
        pause=job.pause,
        opened=room.bench,
        fits=room.fits,
    )


def _teller(room: Room, job: Job) -> Callable[[Event], None]:
    return lambda event: room.tell(JobTold(job.number, event))


def run_alignment(room: Room, command: Align) -> None:
    """Follow the threshold until it ends or is stopped; how it ended is told.

    :raises InstrumentError: an instrument failed.
    """
    room.tell(Busy("alignment"))
    bench, message, wrong = room.bench, "stopped", False
    try:
        for event in align(command.plan, bench.roles, bench.pump, bench.bands, stop=room.stop):
            if isinstance(event, Finished):
                message = event.reason
            else:
                room.tell(AlignTold(event))
    except Aborted:
        pass
    except InstrumentError as exc:
        room.tell(AlignEnded(str(exc), wrong=True))
        raise
    except LabctlError as exc:
        # SAFE closes the shutter under a readout, which may notice that before it notices the stop.
        if not is_noticed_stop(exc, room.stop.is_set()):
            message, wrong = said_of(exc), True
    room.tell(AlignEnded(message, wrong))


def said_of(failure: BaseException | None) -> str:
    """Return an error in words, with what could not be made safe after it."""
    if failure is None:
        return ""
    notes = [note for note in getattr(failure, "__notes__", ()) if not note.startswith("log: ")]
    return "; ".join([str(failure) or type(failure).__name__, *notes])
