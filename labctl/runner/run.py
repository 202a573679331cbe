"""Runs one sweep from the first connection to the last byte: events out, a stop flag in, a safe bench always.

The acquisition thread opens, owns and closes instruments and files. The caller's thread only hands on events.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labctl.analysis.evaluation import evaluate, unfitted
from labctl.config import BenchConfig, load_bench
from labctl.data import RunWriter
from labctl.model.clock import Clock
from labctl.model.errors import Aborted, ConfigError, DataError, LabctlError, ShutterLied, is_noticed_stop
from labctl.model.plan import Ending, SweepPlan
from labctl.model.results.sweep import DOUBT, SweepResult
from labctl.model.run import PointList, RunFacts, RunStop
from labctl.model.untrusted import PrintableFormatter
from labctl.runner.csv_worker import NewRun, Origin, PointBuffer, measure
from labctl.runner.events import (
    Connected,
    Evaluated,
    Event,
    Measured,
    Message,
    Moved,
    OnEvent,
    RunFiles,
    Started,
)
from labctl.runner.facts import PROCEDURE_ID, RunRequest, now_utc, run_start
from labctl.runner.fit_process import Answer, FileQuestion, FitFailed, Fits
from labctl.runner.report import RunReport, tally
from labctl.session import Bench, open_bench
from labctl.session.bench import over_said
from labctl.session.check import weak_light
from procedures.fluence_sweep import Insert, Pause
from procedures.forecast import forecast
from procedures.plan import all_fluences, validate
from procedures.steps import make_source


def _unseen(_bench: Bench, _buffer: PointBuffer) -> None:
    """Nothing is read beside a point."""


def _unknown(_buffer: PointBuffer) -> tuple[float | None, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class RunKind:
    """A kind of run.

    :param procedure: what the run file says of itself.
    :param live: whether it is evaluated while it goes on.
    :param seen: called in the acquisition thread once a point is stored.
    :param temperature_c: of the sample at each point, where it was read; called once, at the end.
    """

    procedure: str = PROCEDURE_ID
    live: bool = True
    seen: Callable[[Bench, PointBuffer], None] = _unseen
    temperature_c: Callable[[PointBuffer], tuple[float | None, ...]] = _unknown


SWEEP = RunKind()


_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(threadName)s %(name)s: %(message)s"


class RunLog(logging.FileHandler):
    """A full disk must not end a run because its log cannot grow."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing."""

    def go_on_in(self, path: Path) -> None:
        """Write what follows into another file, where the run is now."""
        self.acquire()
        try:
            self.close()
            self.baseFilename = str(path)
            with suppress(OSError):
                self.stream = self._open()
        finally:
            self.release()


@contextmanager
def run_log(path: Path) -> Iterator[RunLog]:
    """Send all logging of level INFO and above to ``path`` while inside.

    :raises DataError: the file cannot be written.
    """
    try:
        handler = RunLog(path, encoding="utf-8", errors="backslashreplace")
    except OSError as exc:
        raise DataError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
    handler.setFormatter(PrintableFormatter(_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Fits that may fail before the sweep goes on without a running threshold."""
SUBJECT = ("the run in progress",)


class LiveFit:
    """A context manager; :meth:`offer` never blocks, results come through ``on_result`` in another thread.

    :param question: what to ask of the run's file as it then is.
    :param fits: where it is asked.
    """

    def __init__(
        self, question: Callable[[], FileQuestion], on_result: Callable[[Evaluated], None], fits: Fits
    ) -> None:
        self._question, self._on_result, self._fits = question, on_result, fits
        self._left = ATTEMPTS
        self._closing = False

    def __enter__(self) -> LiveFit:
        return self

    def __exit__(self, *_: object) -> None:
        """Ask nothing more, and wait for nothing: the bench is not safe yet."""
        self._closing = True
        self._fits.forget(SUBJECT)

    def offer(self) -> None:
        """Say that there is one more point in the file; what was not evaluated yet is forgotten."""
        if self._left and not self._closing:
            self._fits.ask(SUBJECT, self._question, self._take)

    def _take(self, answer: Answer) -> None:
        if self._closing:
            return
        if isinstance(answer.found, SweepResult):
            points = answer.found.threshold.points
            self._on_result(Evaluated(0 if points is None else points.signal.size, answer.found))
        else:
            self._left -= 1
            log.warning("the running fit %s", answer.problem)


__all__ = ["RunFailed", "RunRequest", "run_sweep"]


_POLL_S = 0.1
LONGEST_FIT_S = 120.0
LONGEST_STOPPED_FIT_S = 2.0
"""Wall times for the fits at the end; the second after a stop, when somebody waits for the program's end."""
LONGEST_SHOTS_S = 10.0
"""Wall time more for what the single shots of a point say."""
STOPPING = "stopping: closing the shutter and making the bench safe"
BREAKING_OFF = "stopping: the bench is already released; the fit is cancelled"


def _unheard(_event: Event) -> None:
    """Nobody listens."""


class RunFailed(Exception):  # noqa: N818  it carries the error and what was measured before
    """A run that has points failed: ``error`` says why, ``report`` what there is."""

    def __init__(self, error: BaseException, report: RunReport) -> None:
        super().__init__(str(error))
        self.error, self.report = error, report


def run_sweep(
    bench: Bench | BenchConfig | Path | str,
    plan: SweepPlan,
    request: RunRequest | None = None,
    *,
    sample: str = "",
    output: Path | str = ".",
    stop: threading.Event | None = None,
    on_event: OnEvent = _unheard,
    clock: Clock | None = None,
    insert: Insert | None = None,
    origin: Origin | None = None,
    pause: Pause | None = None,
    kind: RunKind = SWEEP,
    fits: Fits | None = None,
) -> RunReport:
    """Run a sweep, store it and return what came of it; the bench is safe and every file closed in any case.

    :param bench: an open one, which is used, made safe and left open (the caller waits here meanwhile); or a
        bench file or its configuration, which is opened for this sweep alone.
    :param plan: what to measure.
    :param request: the names and the folder of the run's files; by default ``sample`` and ``output`` alone.
    :param sample: name of the sample.
    :param output: folder of the run's files; made where it is missing.
    :param stop: set it to abort; the report then says "aborted".
    :param on_event: called in this thread, in order.
    :param clock: of a bench that is opened here; made from the configuration by default.
    :param insert: asks the user for a blank, called in the acquisition thread.
    :param origin: a new run by default; :mod:`labctl.runner.resume` goes on with one.
    :param pause: while it is set, the sweep stands still between two points, in the dark.
    :param kind: type of run; default: a plain sweep.
    :param fits: where it is evaluated, and what it stays open for; a process of its own by default.
    :raises ConfigError: no sample is named, or the plan is impossible on this bench; nothing has been opened.
    :raises LabctlError: it failed before its file existed; ``Aborted`` likewise.
    :raises RunFailed: it failed later.
    """
    if request is None:
        if not sample.strip():
            raise ConfigError("the sample has no name", key="sample", hint='give it: sample="film 3"')
        request = RunRequest(Path(output), sample)
    opened = bench if isinstance(bench, Bench) else None
    config = bench.config if isinstance(bench, Bench) else load_bench(bench)
    stop = stop or threading.Event()
    plan = dataclasses.replace(plan, triggered=config.triggered)
    validate(plan, config.pump_settings(), config.limit_settings())
    if plan.background == "blank" and insert is None:
        raise ConfigError("a blank needs an operator to put it into the beam", key="background")
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    run = _Acquisition(config, plan, request, stop, events.put, clock, insert)
    run.origin, run.pause, run.bench, run.kind = origin or run.origin, pause, opened, kind
    run.fits = fits
    thread = threading.Thread(target=run.main, args=(lambda: events.put(None),), name="acquisition")
    thread.start()
    try:
        _hand_on(events, on_event, stop, run.bench_left)
    except BaseException:
        stop.set()  # whoever listens has failed; the bench is made safe before that is heard
        raise
    finally:
        _join(thread, stop)
    return run.outcome()


def _hand_on(
    events: queue.SimpleQueue[Event | None],
    on_event: OnEvent,
    stop: threading.Event,
    bench_left: threading.Event,
) -> None:
    told = False
    while True:
        if stop.is_set() and not told:
            told = True
            on_event(Message(BREAKING_OFF if bench_left.is_set() else STOPPING))
        try:
            event = events.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        except KeyboardInterrupt:  # a notebook, where nobody catches the signal
            stop.set()
            continue
        if event is None:
            return
        on_event(event)


def _join(thread: threading.Thread, stop: threading.Event) -> None:
    while thread.is_alive():
        try:
            thread.join(_POLL_S)
        except KeyboardInterrupt:
            stop.set()


class _Acquisition:
    """One run, in its own thread."""

    def __init__(
        self,
        config: BenchConfig,
        plan: SweepPlan,
        request: RunRequest,
        stop: threading.Event,
        tell: OnEvent,
        clock: Clock | None,
        insert: Insert | None,
    ) -> None:
        self._config, self._plan, self._request = config, plan, request
        self._stop, self._tell, self._clock, self._insert = stop, tell, clock, insert
        self._total = make_source(plan, config.pump_settings(), config.limit_settings()).most
        self.origin: Origin = NewRun(request)
        self.pause: Pause | None = None
        self.bench: Bench | None = None
        self.kind = SWEEP
        self.bench_left = threading.Event()
        self.fits: Fits | None = None
        self._fits: Fits
        self._dose_uj_cm2 = 0.0
        self._ending: Ending | None = None
        self._report: RunReport | None = None
        self._failure: BaseException | None = None
        self._files: RunFiles | None = None
        self._writer: RunWriter | None = None
        self._remarks: tuple[str, ...] = ()
        self._meter = ""
        self._now_s: Callable[[], float] | None = None
        self._lied = False

    def outcome(self) -> RunReport:
        """Return the report of a run that finished or was aborted.

        :raises RunFailed: it failed, and there is a file; else the failure itself.
        """
        failure, report = self._failure, self._report
        if failure is not None and self._files is not None and not isinstance(failure, Aborted):
            failure.add_note(f"log: {self._files.log}")
        if report is None:
            assert failure is not None
            raise failure
        if failure is not None and not isinstance(failure, Aborted):
            raise RunFailed(failure, report) from failure
        return report

    def main(self, done: Callable[[], None]) -> None:
        """Run to the end; nothing leaves the thread but :meth:`outcome`."""
        try:
            with self.origin.writer() as writer:
                self._writer, self._files = writer, _files_of(writer)
                buffer, is_new = PointBuffer(writer), not self._files.log.exists()
                fits = Fits() if self.fits is None else nullcontext(self.fits)
                with run_log(self._files.log) as log_file, fits as self._fits:
                    writer.on_move = lambda line: self._moved(buffer, log_file, line)
                    self._measure_and_end(buffer, self._files)
                if is_new and not buffer.began and isinstance(self._failure, Aborted):
                    with suppress(OSError):  # there is no run for it to be the log of
                        self._files.log.unlink()
        except BaseException as exc:  # noqa: BLE001  raised again in the caller's thread
            self._failure = self._failure or exc
        finally:
            done()

    def _measure_and_end(self, buffer: PointBuffer, files: RunFiles) -> None:
        facts: RunFacts | None = None
        try:
            with self._open(buffer, files) as bench:
                facts = bench.facts
                bench.pump.on_lie = lambda reason: self._doubt(buffer, reason)
                try:
                    self._sweep(bench, buffer, files)
                finally:
                    self._dose_uj_cm2 = bench.pump.dose_uj_cm2
                    self._remarks = (*self._remarks, *filter(None, [bench.pump.energy_remark]))
        except BaseException as exc:
            self._failure = exc = Aborted() if is_noticed_stop(exc, self._stop.is_set()) else exc
            if isinstance(exc, Aborted):
                log.info("stopped by the user")
            else:
                log.exception("the sweep failed")
        self.bench_left.set()
        if buffer.began and facts is not None:
            self._end(buffer, facts)

    def _open(self, buffer: PointBuffer, files: RunFiles) -> AbstractContextManager[Bench]:
        def over(line: str) -> None:
            self._over(buffer, line)

        if self.bench is not None:
            return self._telling(self.bench, over)
        return open_bench(
            self._config, self._clock, self._stop, log_file=files.log, tell=self._say, over=over
        )

    @contextmanager
    def _telling(self, bench: Bench, over: Callable[[str], None]) -> Iterator[Bench]:
        """Use a bench that is open; what its pump has to tell meanwhile belongs to this run."""
        told, bench.pump.tell = bench.pump.tell, self._say
        on_lie = bench.pump.on_lie
        try:
            with over_said(bench.pump, over):
                yield bench
        finally:
            bench.pump.tell, bench.pump.on_lie = told, on_lie

    def _over(self, buffer: PointBuffer, line: str) -> None:
        """Say how the bench was left, in the run's own log as well."""
        log.info("%s", line)
        self._tell(Message(line))
        if self._now_s is not None and buffer.began:
            with suppress(DataError):  # a file that fails here fails again at the run's end, which tells it
                buffer.event(self._now_s(), line)

    def _doubt(self, buffer: PointBuffer, reason: str) -> None:
        """Have the file say at once, whatever becomes of this process, that nothing is said of the sample."""
        self._lied = True
        if self._now_s is not None and buffer.began:
            try:
                buffer.event(self._now_s(), f"{DOUBT} ({reason})")
            except Exception:
                log.exception("while noting that the shutter lied")

    def _say(self, line: str) -> None:
        log.warning("%s", line)
        self._tell(Message(line))

    def _moved(self, buffer: PointBuffer, log_file: RunLog, line: str) -> None:
        """Say where the run is now, at once and at the end, and have the log go on beside it."""
        assert self._writer is not None
        self._files, self._remarks = _files_of(self._writer), (*self._remarks, line)
        log_file.go_on_in(self._files.log)
        log.warning("%s", line)
        self._tell(Moved(self._files, line))
        if self._now_s is not None:
            buffer.event(self._now_s(), line)

    def _sweep(self, bench: Bench, buffer: PointBuffer, files: RunFiles) -> None:
        self._now_s = bench.roles.clock.now_s
        self._tell(Connected({role: str(who) for role, who in bench.identities.items()}))
        self._meter = bench.identities["power_meter"].serial
        start = run_start(bench, self._plan, self._request)
        self.origin.begin(bench, buffer, dataclasses.replace(start, procedure=self.kind.procedure))
        if warning := weak_light(
            self._config, bench.roles.power_meter.noise_w, min(all_fluences(self._plan))
        ):
            log.warning("%s", warning)
            self._tell(Message(f"warning: {warning}"))
        asked = forecast(self._plan, self._config.pump_settings(), self._config.limit_settings())
        for remark in (*asked.warnings, *bench.warnings):
            self._tell(Message(f"warning: {remark}"))
        self._tell(Started(self._request.sample, files, self._total))
        fit = LiveFit(self._question, self._tell, self._fits) if self.kind.live else nullcontext()
        with fit as live:
            pace = _Pace(self._total, len(buffer.points))

            def on_row() -> None:
                number = len(buffer.points)
                self._tell(Measured(number, self._total, buffer.latest, pace.left_s(number)))
                self.kind.seen(bench, buffer)
                if live is not None:
                    live.offer()

            self._ending = measure(
                bench,
                self._plan,
                self._request,
                buffer,
                files.csv,
                stop=self._stop,
                on_row=on_row,
                insert=self._insert,
                origin=self.origin,
                pause=self.pause,
                stored=self._writer,
            )

    def _end(self, buffer: PointBuffer, facts: RunFacts) -> None:
        status, reason = status_of(self._failure)
        result = self._evaluated(buffer, facts)
        try:
            buffer.end(RunStop(status, reason, now_utc(), result))
        except DataError as exc:
            log.exception("while ending the file")
            self._failure, status = self._failure or exc, "failed"
        files = self._files
        assert files is not None
        self._report = RunReport(
            sample=self._request.sample,
            status=status,
            csv=files.csv if files.csv.exists() else None,
            h5=files.h5,
            points=len(buffer.points),
            result=result,
            spot=self._request.spot,
            meter=self._meter,
            notes=self._remarks,
            counted=tally(
                [p.saturated_exposures for p in buffer.points],
                [p.exposures for p in buffer.points],
                [p.integration_s for p in buffer.points],
                planned=self._total,
            ),
        )
        if self._failure is not None and not isinstance(self._failure, Aborted):
            notes = (*self._report.notes, f"{status}: {reason}")
            self._report = dataclasses.replace(self._report, notes=notes)

    def _question(self, temperatures: tuple[float | None, ...] = ()) -> FileQuestion:
        """Ask what the run's file says, which does not hold its end yet."""
        assert self._files is not None
        return FileQuestion(
            str(self._files.h5),
            ending=self._ending,
            planned=self._total,
            dose_uj_cm2=self._dose_uj_cm2,
            sample_temperature_c=temperatures,
        )

    def _evaluated(self, buffer: PointBuffer, facts: RunFacts) -> SweepResult:
        """Have the run evaluated in the process that can be ended; the bench was left before."""
        lied = self._lied or isinstance(self._failure, ShutterLied)
        temperatures = self.kind.temperature_c(buffer)
        facts = dataclasses.replace(
            facts,
            ending=self._ending,
            doubt=DOUBT if lied else "",
            planned=self._total,
            dose_uj_cm2=self._dose_uj_cm2,
            sample_temperature_c=temperatures,
        )
        points = PointList(buffer.points)
        if lied or not buffer.points:  # there is nothing to fit, and nobody shall wait for that
            return evaluate(points, self._plan, facts)
        stopped = self._stop.is_set()
        longest_s = LONGEST_FIT_S + (LONGEST_SHOTS_S * len(buffer.points) if self._plan.shots else 0.0)
        within_s, stop = (LONGEST_STOPPED_FIT_S, None) if stopped else (longest_s, self._stop)
        try:
            question = dataclasses.replace(self._question(temperatures), shots=not stopped)
            return self._fits.evaluate(question, within_s, stop)
        except FitFailed as exc:
            assert self._files is not None
            later = f": labctl fit {self._files.h5} computes it later" if self.kind.live else ""
            text = f"the fit {exc}{later}"
            self._say(text)
            return unfitted(points, self._plan, facts, text)


def _files_of(writer: RunWriter) -> RunFiles:
    return RunFiles(writer.paths.csv, writer.paths.h5, writer.paths.h5.with_suffix(".log"))


class _Pace:
    """Estimates the wall time left; the first point, which homes the plate, counts for none after it."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done, self._from = total, done, (time.monotonic(), done)

    def left_s(self, number: int) -> float:
        """Return the time left after point ``number``, counted from 1."""
        now = time.monotonic()
        start, before = self._from
        if before == self._done:
            self._from = (now, number)
        return (now - start) / max(number - before, 1) * max(self._total - number, 0)


def status_of(failure: BaseException | None) -> tuple[Literal["finished", "aborted", "failed"], str]:
    """Return how a run file says that a run ended, and why."""
    if failure is None:
        return "finished", ""
    if isinstance(failure, Aborted):
        return "aborted", "stopped by the user"
    reason = failure.message if isinstance(failure, LabctlError) else f"{type(failure).__name__}: {failure}"
    return "failed", reason
