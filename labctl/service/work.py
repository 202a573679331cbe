"""What the bench's thread does for each command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from labctl.model.clock import Stop
from labctl.model.errors import (
    Aborted,
    CalibrationRefused,
    ConfigError,
    InstrumentError,
    LabctlError,
    is_noticed_stop,
)
from labctl.model.roles import Operator, Request
from labctl.runner.calibrate import run_calibration
from labctl.runner.events import Event
from labctl.runner.fit_process import Fits
from labctl.runner.report import RunReport
from labctl.runner.resume import resume_run
from labctl.runner.run import RunFailed, run_sweep
from labctl.runner.rundata import open_file
from labctl.service.messages import (
    Align,
    AlignEnded,
    AlignTold,
    Asking,
    Busy,
    CalEnded,
    Calibrate,
    CalTold,
    Command,
    Differences,
    HandTold,
    Home,
    Insert,
    Job,
    JobEnded,
    JobGoesOn,
    JobTold,
    Jog,
    MoveShutter,
    Recheck,
    Said,
    SetAngle,
    SetExposure,
    SetFluence,
    Stream,
    TakeDark,
)
from labctl.service.observed import BenchState
from labctl.session import Bench
from labctl.session.bench import over_said
from labctl.session.operator import SimulatedOperator
from procedures.alignment import Finished, align
from procedures.calibration.attenuator import recheck_attenuator
from procedures.gate.pump import PumpState
from procedures.gate.shutter import SafeReport
from procedures.manual import ManualBench

NOT_AGREED = "the differences were not accepted: the run is unchanged"


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


HOME: tuple[Request, ...] = (
    Request("knife", "remove the knife edge from the beam", {"position_um": None}),
    Request("filter", "remove the filter", {"name": "", "transmission": 1.0}),
    Request("lamp", "remove the lamp", {"name": ""}),
    Request("meter", "put the sensor back at the pick-off", {"place": "pick-off"}),
    Request("sample", "put the sample back", {"in": True}),
    Request("beam", "unblock the pump", {"blocked": False}),
)
"""How everything stands for a sweep; what a calibration has moved away from it is put back in this order."""


class Refusal:
    """The answer of somebody who will not do it."""


class WindowOperator:
    """Whoever stands at the window, or the simulated bench's own hands, which are shown.

    :param simulated: hands of a simulated bench, None at a real one.
    :param by_hand: set while the person answers all the same.
    """

    def __init__(
        self,
        asking: Asking,
        tell: Callable[[object], None],
        simulated: Operator | None,
        by_hand: threading.Event,
    ) -> None:
        self._asking, self._tell = asking, tell
        self._simulated, self._by_hand = simulated, by_hand
        self._moved: dict[str, Request] = {}

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Return once it is done.

        :raises Aborted: it was refused, or ``stop`` was set meanwhile.
        """
        number: float | None = None
        if self._simulated is None or self._by_hand.is_set():
            answer = self._asking.ask(request, stop)
            if isinstance(answer, Refusal):
                raise Aborted
            if isinstance(answer, (int, float)) and not isinstance(answer, bool):
                number = float(answer)
            if self._simulated is not None:
                self._simulated.do(_as_read(request, number), stop)
        else:
            self._tell(HandTold(request))
            number = self._simulated.do(request, stop)
            self._tell(HandTold(request, done=True))
        self._moved[request.action] = request
        return number if request.number else None

    def put_back(self) -> tuple[str, ...]:
        """Have the simulated bench put everything back; return what a person has to, in words."""
        left = [home for home in HOME if _is_away(self._moved.get(home.action), home)]
        return tuple(home.text for home in left if not self._put_back(home))

    def _put_back(self, home: Request) -> bool:
        """Have one thing put back; return whether nobody has to be told."""
        if self._simulated is None:
            return False
        try:
            self._simulated.do(home)  # whoever practises on a simulated bench cannot do it
        except LabctlError:
            return False
        return not self._by_hand.is_set()


def _as_read(request: Request, number: float | None) -> Request:
    """Return a request for what a person says was done, so that the simulated bench does the same."""
    if number is None or "position_um" not in request.values:
        return request
    return replace(request, values={**request.values, "position_um": number})


def _is_away(last: Request | None, home: Request) -> bool:
    """Whether what was asked for last left a thing elsewhere than at home."""
    if last is None:
        return False
    key = next(iter(home.values))
    return last.values.get(key) != home.values[key]


def run_calibrating(room: Room, command: Calibrate) -> None:
    """Measure; how it ended is told, and never raised, unless the bench must be opened anew.

    :raises InstrumentError: an instrument failed.
    """
    address = room.bench.config.bench.hand
    operator = WindowOperator(
        room.asking, room.tell, SimulatedOperator(address) if address else None, command.by_hand
    )
    failure: BaseException | None = None
    try:
        calibration, path = run_calibration(
            room.bench.config,
            command.kind,
            command.options,
            operator=operator,
            stop=room.stop,
            on_event=lambda event: room.tell(CalTold(event)),
            clock=room.bench.roles.clock,
            output=command.output,
            bench=room.bench,
        )
    except (Aborted, LabctlError) as exc:
        failure = exc
    if failure is None:
        room.tell(CalEnded(command.kind, "stored", "", calibration, path))
        return
    status, message = _ended(failure, room.stop)
    room.tell(CalEnded(command.kind, status, message, left=operator.put_back()))
    if isinstance(failure, InstrumentError) and status == "failed":
        raise failure


def recheck(room: Room) -> None:
    """Compare the attenuator with its calibration, and say what was found.

    :raises LabctlError: an instrument failed, or the bench file names no calibration of it.
    """
    bench = room.bench
    named = bench.config.calibrations.attenuator if bench.config.calibrations else None
    if named is None:
        raise ConfigError("the bench file names no attenuator calibration", hint="calibrate it first")
    room.tell(Busy("checking the attenuator"))
    try:
        found = recheck_attenuator(
            named.calibration, bench.roles, bench.pump.settings, bench.pump.limits, stop=room.stop
        )
        bench.pump.adopt(found.dark_deg, "", "")
    finally:
        with suppress(LabctlError):
            bench.pump.safe()
    room.tell(Said("; ".join((found.text, *found.warnings)), wrong=bool(found.warnings)))


def _ended(
    failure: BaseException, stop: threading.Event
) -> tuple[Literal["refused", "aborted", "failed"], str]:
    """Say how it ended; SAFE closes the shutter, which a reading may notice before the stop."""
    if isinstance(failure, Aborted) or is_noticed_stop(failure, stop.is_set()):
        return "aborted", "stopped: nothing was stored"
    notes = [note for note in getattr(failure, "__notes__", ()) if not note.startswith("log: ")]
    message = "; ".join([str(failure) or type(failure).__name__, *notes])
    return ("refused" if isinstance(failure, CalibrationRefused) else "failed"), message


LOOK_S = 0.4
DEFAULT_EXPOSURE_S = 0.1


class Work:
    """Carries out commands on an open bench.

    :param interrupted: set when something else waits to be done; ends an exposure of the stream early.
    """

    def __init__(self, room: Room, state: BenchState, interrupted: Stop) -> None:
        self._room, self._bench, self._tell, self._stop = room, room.bench, room.tell, room.stop
        self._state, self._interrupted = state, interrupted
        self._hand = ManualBench(self._bench.roles, self._bench.pump)
        self._exposure_s = DEFAULT_EXPOSURE_S
        self._looked_s = 0.0

    @property
    def streaming(self) -> bool:
        """Whether spectra are taken one after another."""
        return self._state.seen.streaming

    @streaming.setter
    def streaming(self, on: bool) -> None:
        self._state.note(streaming=on)

    def do(self, command: Command) -> None:
        """Carry out one command.

        :raises SafetyStop: a limit was hit; the shutter is closed.
        :raises Aborted: it was stopped.
        :raises LostInstrument: the bench must be opened anew.
        """
        if isinstance(command, (Job, Align, Calibrate, Recheck)):
            self.streaming = False
            self._state.note(unseen=False)
            self._hand.forget_meter()
            if isinstance(command, Recheck):  # opens nothing, and has a result to say
                recheck(self._room)
            else:
                with over_said(self._bench.pump, lambda line: self._tell(Said(line))):
                    self._work(command)
        elif isinstance(command, Stream):
            self.streaming = command.on
        elif isinstance(command, SetExposure):
            self._exposure_s = command.seconds
        elif isinstance(command, TakeDark):
            self._dark(command.count)
        else:
            self._move(command)

    def _work(self, command: Job | Align | Calibrate) -> None:
        if isinstance(command, Job):
            run_job(self._room, command)
        elif isinstance(command, Align):
            run_alignment(self._room, command)
        else:
            self._calibrate(command)

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
            self._tell(Busy("homing the mount"))
            hand.home(stop)
            self._tell(Said("the mount is homed; attenuator at its minimum"))
        elif isinstance(command, MoveShutter):
            if command.open_it:
                hand.open(stop)
            else:
                hand.close()
        self._looked_s = 0.0

    def _calibrate(self, command: Calibrate) -> None:
        """Calibrate. Meanwhile a power is no fluence: nobody knows where the sensor stands."""
        self._tell(Busy(f"calibration: {command.kind}"))
        optics, self._state.optics = self._state.optics, None
        self._state.note(pulse_energy_j=None, fluence_uj_cm2=None)
        try:
            run_calibrating(self._room, command)
        finally:
            self._state.optics = optics
            self._looked_s = 0.0

    def _reached(self, state: PumpState) -> None:
        self._state.note(
            angle_deg=state.angle_deg,
            pulse_energy_j=state.pulse_energy_j,
            fluence_uj_cm2=state.fluence_uj_cm2,
            power_w=state.reading.power_w,
            computed=False,
        )
        self._tell(Said(f"set: {state.fluence_uj_cm2:.4g} µJ/cm² at {state.angle_deg:.3f}°"))

    def _dark(self, count: int) -> None:
        self._tell(Busy(f"taking a dark, {count} × {self._exposure_s:g} s"))
        counts = self._hand.dark(self._exposure_s, count, self._stop)
        self._state.dark(self._exposure_s, counts)
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
        self._state.note(
            angle_deg=now.angle_deg,
            referenced=now.referenced,
            shutter_open=now.shutter_open,
            power_w=now.power_w,
            pulse_energy_j=now.pulse_energy_j,
            fluence_uj_cm2=now.fluence_uj_cm2,
            dose_uj_cm2=now.dose_uj_cm2,
            computed=False,
            unseen=now.unseen,
        )
        self._looked_s = time.monotonic()

    def make_safe(self) -> SafeReport:
        """Close the shutter, take the least light; stop the stream."""
        self.streaming = False
        self._looked_s = 0.0
        return self._bench.pump.safe()
