"""What the bench's thread does for each command."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from labctl.gui.service.messages import (
    Align,
    AlignEnded,
    AlignTold,
    Busy,
    Command,
    Home,
    Job,
    JobEnded,
    JobTold,
    Jog,
    MoveShutter,
    Said,
    SetAngle,
    SetExposure,
    SetFluence,
    Stream,
    TakeDark,
)
from labctl.gui.service.observed import Sight
from labctl.model.clock import Stop
from labctl.model.errors import Aborted, InstrumentError, LabctlError
from labctl.runner.report import RunReport
from labctl.runner.run import RunFailed, run_sweep
from labctl.session import Bench
from procedures.alignment import Finished, align
from procedures.manual import ManualBench
from procedures.pump import PumpState

log = logging.getLogger(__name__)

LOOK_S = 0.4
DEFAULT_EXPOSURE_S = 0.1


class LostInstrument(Exception):  # noqa: N818
    """An instrument failed in a run: the bench is opened anew for what comes next."""


class Work:
    """Carries out commands on an open bench.

    :param interrupted: set when something else waits to be done; ends an exposure of the stream early.
    """

    def __init__(
        self,
        bench: Bench,
        sight: Sight,
        tell: Callable[[object], None],
        stop: threading.Event,
        interrupted: Stop,
    ) -> None:
        self._bench, self._sight, self._tell = bench, sight, tell
        self._stop, self._interrupted = stop, interrupted
        self._hand = ManualBench(bench.roles, bench.pump)
        self.streaming = False
        self._exposure_s = DEFAULT_EXPOSURE_S
        self._looked_s = 0.0

    def do(self, command: Command) -> None:
        """Carry out one command.

        :raises SafetyStop: a limit was hit; the shutter is closed.
        :raises Aborted: it was stopped.
        :raises LostInstrument: the bench must be opened anew.
        """
        if isinstance(command, Job):
            self._run(command)
        elif isinstance(command, Align):
            self._align(command)
        elif isinstance(command, Stream):
            self.streaming = command.on
        elif isinstance(command, SetExposure):
            self._exposure_s = command.seconds
        elif isinstance(command, TakeDark):
            self._dark(command.count)
        else:
            self._move(command)

    def _move(self, command: Command) -> None:
        hand, stop = self._hand, self._stop
        if isinstance(command, SetFluence):
            self._tell(Busy(f"setting {command.fluence_uj_cm2:.4g} µJ/cm²"))
            self._reached(hand.set_fluence(command.fluence_uj_cm2, stop))
        elif isinstance(command, SetAngle):
            self._tell(Busy(f"turning to {command.angle_deg:.3f}°"))
            self._reached(hand.set_angle(command.angle_deg, stop))
        elif isinstance(command, Jog):
            self._reached(hand.jog(command.by_deg, stop))
        elif isinstance(command, Home):
            self._tell(Busy("searching the reference"))
            hand.home(stop)
            self._tell(Said("the mount is referenced; attenuator at its minimum"))
        elif isinstance(command, MoveShutter):
            if command.open_it:
                hand.open()
            else:
                hand.close()
        self._looked_s = 0.0

    def _reached(self, state: PumpState) -> None:
        self._sight.note(
            angle_deg=state.angle_deg,
            pulse_energy_j=state.pulse_energy_j,
            fluence_uj_cm2=state.fluence_uj_cm2,
            power_w=state.reading.power_w,
        )
        self._tell(Said(f"set: {state.fluence_uj_cm2:.4g} µJ/cm² at {state.angle_deg:.3f}°"))

    def _dark(self, count: int) -> None:
        self._tell(Busy(f"taking a dark, {count} × {self._exposure_s:g} s"))
        counts = self._hand.dark(self._exposure_s, count, self._stop)
        self._sight.dark(self._exposure_s, counts)
        self._tell(Said(f"dark taken: {count} × {self._exposure_s:g} s"))

    # --- when nothing is asked for -----------------------------------------------------------------

    def idle(self) -> None:
        """Take the next spectrum of the stream; look at the instruments now and then.

        :raises InstrumentError: one of them does not answer any more.
        """
        if self.streaming:
            try:
                self._hand.expose(self._exposure_s, self._interrupted)
            except Aborted:
                return
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        try:
            now = self._hand.reading(self._interrupted)
        except Aborted:
            return
        self._sight.note(
            angle_deg=now.angle_deg,
            referenced=now.referenced,
            shutter_open=now.shutter_open,
            power_w=now.power_w,
            pulse_energy_j=now.pulse_energy_j,
            fluence_uj_cm2=now.fluence_uj_cm2,
            dose_uj_cm2=now.dose_uj_cm2,
        )
        self._looked_s = time.monotonic()

    def make_safe(self) -> list[Exception]:
        """Close the shutter, take the least light; stop the stream."""
        self.streaming = False
        failures = self._bench.pump.safe()
        self._looked_s = 0.0
        return failures

    # --- runs --------------------------------------------------------------------------------------

    def _run(self, job: Job) -> None:
        """Run one sweep; how it ended is told, and never raised, unless the bench must be opened anew."""
        self.streaming = False
        self._hand.forget_meter()
        self._tell(Busy(f"sweep {job.number}: {job.request.sample}"))
        status: Literal["finished", "aborted", "failed"]
        report: RunReport | None = None
        failure: BaseException | None = None
        try:
            report = run_sweep(
                self._bench.config,
                job.plan,
                job.request,
                stop=self._stop,
                on_event=lambda event: self._tell(JobTold(job.number, event)),
                clock=self._bench.roles.clock,
                pause=job.pause,
                bench=self._bench,
            )
            status = "aborted" if report.status == "aborted" else "finished"
        except RunFailed as failed:
            status, report, failure = "failed", failed.report, failed.error
        except Aborted:
            status = "aborted"
        except (LabctlError, OSError) as exc:
            status, failure = "failed", exc
        message = _said(failure)
        self._tell(JobEnded(job.number, status, report, message))
        if isinstance(failure, InstrumentError):
            raise LostInstrument(message)

    def _align(self, command: Align) -> None:
        self.streaming = False
        self._hand.forget_meter()
        self._tell(Busy("alignment"))
        bench, message, wrong = self._bench, "stopped", False
        try:
            for event in align(command.plan, bench.roles, bench.pump, bench.bands, stop=self._stop):
                if isinstance(event, Finished):
                    message = event.reason
                else:
                    self._tell(AlignTold(event))
        except Aborted:
            pass
        except InstrumentError as exc:
            self._tell(AlignEnded(str(exc), wrong=True))
            raise
        except LabctlError as exc:
            message, wrong = str(exc), True
        self._tell(AlignEnded(message, wrong))


def _said(failure: BaseException | None) -> str:
    if failure is None:
        return ""
    notes = [note for note in getattr(failure, "__notes__", ()) if not note.startswith("log: ")]
    return "; ".join([str(failure) or type(failure).__name__, *notes])
