"""The bench's thread: it opens, owns and closes the instruments, and does one thing after another.

The window posts commands and reads what was seen; it never waits for this thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.config import BenchConfig
from labctl.model.clock import Clock
from labctl.model.errors import Aborted, InstrumentError, LabctlError, NotConnected, SafetyStop
from labctl.model.roles import Shutter
from labctl.runner.fit_process import Fits
from labctl.service.messages import (
    Align,
    AlignEnded,
    Asking,
    Busy,
    CalEnded,
    Calibrate,
    Command,
    Connect,
    Disconnect,
    Ended,
    Job,
    JobEnded,
    Link,
    MakeSafe,
    MoveShutter,
    Quit,
    SafeTold,
    Said,
    Stream,
)
from labctl.service.observed import BenchState, Observer, Optics
from labctl.service.work import LostInstrument, Room, Work, said_of
from labctl.session import Bench, open_bench
from procedures.gate.hooks import Call

log = logging.getLogger(__name__)

TRIES = 4


class SafetyLine:
    """Closes the shutter on request, and as a hook keeps it closed; any thread may ask, and never waits.

    :param tell: called in the safety thread once the shutter is confirmed closed, or could not be.
    """

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._shutter: Shutter | None = None
        self._wanted = threading.Event()
        self._latched = threading.Event()
        self._asked_s = 0.0
        self._ending = False
        self._thread = threading.Thread(target=self._main, name="safety", daemon=True)
        self._thread.start()

    def is_latched(self) -> bool:
        """Return whether the shutter must not open."""
        return self._latched.is_set()

    def adopt(self, shutter: Shutter) -> None:
        """Take charge of the shutter of an open bench, among whose hooks this object is."""
        self._shutter = shutter

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        """Let a call pass, but for one that opens the shutter once SAFE was asked for.

        :raises Aborted: SAFE was asked for, perhaps while it opened: it is closed again.
        """
        opening = call.role == "shutter" and call.name == "open"
        if opening and self.is_latched():
            raise Aborted
        yield
        if opening and self.is_latched():
            if self._shutter is not None:
                self._shutter.close_beam()
            raise Aborted

    def release(self) -> None:
        """The connection is about to be closed."""
        self._shutter = None

    def safe(self) -> None:
        """Close the shutter as soon as can be."""
        self._asked_s = time.monotonic()
        self._latched.set()
        self._wanted.set()

    def unlatch(self) -> None:
        """Everything is safe: the shutter may open again."""
        self._latched.clear()

    def end(self) -> None:
        """End the thread; does not wait."""
        self._ending = True
        self._wanted.set()

    def _main(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ending:
                return
            asked_s, shutter = self._asked_s, self._shutter
            if shutter is None:
                self._tell(SafeTold(False, 0.0, "no shutter is connected: block the beam manually"))
                continue
            problem = self._close(shutter)
            self._tell(SafeTold(not problem, time.monotonic() - asked_s, problem))

    def _close(self, shutter: Shutter) -> str:
        """Return an empty string, or why the shutter is not confirmed closed."""
        problem = ""
        for _ in range(TRIES):
            try:
                shutter.close_beam()
            except InstrumentError as exc:
                problem = str(exc)
                log.warning("SAFE: %s", exc)
            except Exception as exc:
                problem = f"{type(exc).__name__}: {exc}"
                log.exception("SAFE")
            else:
                return ""
        return f"{problem}. Block the beam manually"


IDLE_S = 0.4
"""Wall time between two looks at an idle bench."""


class BenchService:
    """One bench, driven by commands.

    :param tell: called from several threads with what happens; must not wait.
    :param clock: of the bench; made from the configuration by default.
    :param fits: where runs are evaluated; each has a process of its own by default.
    """

    def __init__(
        self,
        config: BenchConfig,
        tell: Callable[[object], None],
        clock: Clock | None = None,
        log_file: Path | None = None,
        fits: Fits | None = None,
    ) -> None:
        self.config, self._tell, self._fits = config, tell, fits
        self._clock, self._log_file = clock, log_file
        self.state = BenchState()
        self.safety = SafetyLine(self._safety_told)
        self.stop = threading.Event()
        self.asking = Asking(tell)
        self._commands: deque[Command] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._main, name="bench", daemon=True)
        self._thread.start()

    # --- asked for, from any thread ----------------------------------------------------------------

    def post(self, command: Command) -> None:
        """Ask for something; it is done in its turn."""
        with self._changed:
            self._commands.append(command)
            self._changed.notify()

    def safe(self) -> None:
        """Close the shutter now, stop what runs, forget what was asked for, take the least light."""
        self._dark_now(MakeSafe(), "SAFE was pressed before it started")

    def close_shutter(self) -> None:
        """Close the shutter now, stop what runs and forget what was asked for; the attenuator stays.

        A sweep, an alignment or a calibration that is stopped by SAFE takes the least light as it ends.
        """
        self._dark_now(MoveShutter(False), "Close was pressed before it started")

    def _dark_now(self, then: MakeSafe | MoveShutter, why: str) -> None:
        self.stop.set()  # before the blade moves: what runs sees a stop, not a shutter that closed by itself
        self.safety.safe()
        with self._changed:
            waiting = list(self._commands)
            kept = [c for c in waiting if isinstance(c, (Quit, Disconnect))]
            self._commands = deque([then, *kept])
            self.stop.set()
            self._changed.notify()
        self._not_begun(waiting, why)

    def abort(self) -> None:
        """Stop what runs, and runs that have not begun yet; what else waits is done."""
        with self._changed:
            waiting = [c for c in self._commands if isinstance(c, (Job, Align, Calibrate))]
            self._commands = deque(c for c in self._commands if c not in waiting)
            # Under the lock: a command that is taken clears the flag, and must not clear this one.
            self.stop.set()
        self._not_begun(waiting, "aborted before it started")

    def _not_begun(self, commands: Iterable[Command], why: str) -> None:
        for command in commands:
            if isinstance(command, Job):
                self._tell(JobEnded(command.number, "aborted", None, why))
            elif isinstance(command, Align):
                self._tell(AlignEnded(why))
            elif isinstance(command, Calibrate):
                self._tell(CalEnded(command.kind, "aborted", why))

    def quit(self) -> None:
        """Stop what runs and end; :class:`Ended` is told when everything is closed."""
        with self._changed:
            self._commands = deque([Quit()])
            self.stop.set()
            self._changed.notify()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def is_set(self) -> bool:
        """Whether an exposure of the stream shall end early: there is something else to do."""
        return self.stop.is_set() or bool(self._commands)

    # --- the thread --------------------------------------------------------------------------------

    def _take(self, timeout_s: float | None) -> Command | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._commands), timeout_s)
            if not self._commands:
                return None
            command = self._commands.popleft()
            # A stop that was asked for belongs to what ran before; a latched SAFE is ended by MakeSafe only.
            if not isinstance(command, MakeSafe):
                self.stop.clear()
            return command

    def _main(self) -> None:
        try:
            while True:
                command = self._take(None)
                if isinstance(command, Quit):
                    break
                if isinstance(command, (Connect, Job)):
                    if self._session(command):
                        break
                elif isinstance(command, MakeSafe) or command == MoveShutter(False):
                    self._unlatch()
                elif not isinstance(command, (Disconnect, Stream)) and command is not None:
                    self._tell(Said("connect the bench first", wrong=True))
        except BaseException:
            log.exception("the bench thread has ended")
            raise
        finally:
            self.safety.end()
            self._tell(Ended())

    def _session(self, first: Command) -> bool:
        """Work with the bench until it is disconnected or lost; return whether to quit."""
        self.state.forget(lost=True)
        self._tell(Link("connecting"))
        answered: dict[str, str] = {}

        def met(role: str, who: object) -> None:
            answered[role] = str(who)
            self._tell(Link("connecting", dict(answered)))

        if isinstance(first, Connect) and first.config is not None:
            self.config = first.config
        reason, quitting, connected = "", False, False
        bench: Bench | None = None
        job = first if isinstance(first, Job) else None
        try:
            with open_bench(
                self.config,
                self._clock,
                self.stop,
                log_file=self._log_file,
                tell=self._warn,
                hear=self._heard,
                met=met,
            ) as opened:
                bench = opened
                self._attend(bench)
                identities = {str(role): str(who) for role, who in bench.identities.items()}
                self._tell(Link("connected", identities, info=bench.roles.spectrometer.info))
                connected = True
                if bench.warnings:
                    self._tell(Said("; ".join(bench.warnings), wrong=True))
                quitting = self._serve(bench, job)
        except NotConnected as exc:
            self._tell(Link("failed", failures=exc.failures, message=str(exc)))
            self._failed(job, str(exc))
            return False
        except Aborted:
            reason = "stopped while connecting"
        except (LostInstrument, LabctlError) as exc:
            left = bench.pump.left if bench is not None else None
            self._note_lost(exc, exc.__cause__, *(left.failures if left is not None else ()))
            reason = said_of(exc)
            self._tell(Said(reason, wrong=True))
        except Exception as exc:
            log.exception("the bench session failed")
            reason = f"{type(exc).__name__}: {exc}"
            self._tell(Said(reason, wrong=True))
        finally:
            self.safety.release()
            self.state.forget()
            self._tell(Busy(""))
        if not connected:
            self._failed(job, reason)
        self._tell(Link("disconnected", message=reason))
        return quitting

    def _warn(self, line: str) -> None:
        """Tell what whoever works with the light should know at once."""
        log.warning("%s", line)
        self._tell(Said(line, wrong=True))

    def _note_lost(self, *failures: BaseException | None) -> None:
        """Take in who failed, also where somebody else than the window's own instruments noticed it."""
        for failure in failures:
            if isinstance(failure, InstrumentError):
                role = failure.instrument.partition(" ")[0]
                if role in self.config.roles:
                    self.state.failed(role, failure.message)

    def _heard(self, line: str) -> None:
        """Tell what the watchdog says, which a window without a terminal would hide."""
        self._tell(Said(f"watchdog: {line}", wrong=True))

    def _failed(self, job: Job | None, reason: str) -> None:
        if job is not None:
            self._tell(JobEnded(job.number, "failed", None, reason))

    def _attend(self, bench: Bench) -> None:
        """Let SAFE hold the shutter of a bench shut, and see everything that passes."""
        self.safety.adopt(bench.roles.shutter)
        bench.hooks.attach(self.safety)
        bench.hooks.attach(Observer(self.state))
        pump = bench.pump

        def light(energy_j: float) -> tuple[float, float]:
            return energy_j, pump.beam.fluence_uj_cm2(energy_j)

        self.state.optics = Optics(
            energy_of=lambda power_w, angle_deg: light(pump.energy_j(power_w, angle_deg)),
            energy_at=lambda angle_deg: light(pump.aim.energy_j(angle_deg)),
            in_front=pump.meter_in_front,
        )
        pump.close()

    def _serve(self, bench: Bench, first: Job | None) -> bool:
        """Do what is asked for; return True to quit, False to disconnect."""
        work = Work(Room(bench, self._tell, self.stop, self.asking, self._fits), self.state, self)
        command: Command | None = first
        while True:
            if isinstance(command, (Quit, Disconnect)):
                return isinstance(command, Quit)
            if isinstance(command, MakeSafe):
                self._make_safe(work)
            elif command == MoveShutter(False):
                try:
                    self._done(work, command)
                finally:
                    self._unlatch()
            elif command is not None:
                self._done(work, command)
            else:
                if not self.safety.is_latched():
                    self.stop.clear()  # it was meant for what has ended meanwhile
                try:
                    work.idle()
                except SafetyStop as exc:  # light by hand that is not what it was: it is dark now
                    self._tell(Said(str(exc), wrong=True))
            command = self._take(0.0 if work.streaming else IDLE_S)

    def _done(self, work: Work, command: Command) -> None:
        try:
            work.do(command)
        except Aborted:
            self._tell(Said("stopped"))
        except SafetyStop as exc:
            self._tell(Said(str(exc), wrong=True))
        except (InstrumentError, LostInstrument):
            raise
        except LabctlError as exc:
            self._tell(Said(str(exc), wrong=True))
        finally:
            self._tell(Busy(""))

    def _make_safe(self, work: Work) -> None:
        report = work.make_safe()
        self._unlatch()
        if report.failures:
            self._tell(Said(f"NOT MADE SAFE: {report}: {'; '.join(map(str, report.failures))}", wrong=True))
        else:
            kept_back = "NOT" in str(report)
            self._tell(Said(str(report) if kept_back else f"safe: {report}", wrong=kept_back))

    def _unlatch(self) -> None:
        self.stop.clear()
        self.safety.unlatch()

    def _safety_told(self, thing: object) -> None:
        if isinstance(thing, SafeTold) and thing.closed:
            self.state.answered("shutter")
            self.state.note(shutter_open=False)
        elif isinstance(thing, SafeTold):
            self.state.failed("shutter", thing.message)
        self._tell(thing)
