"""Keeps every shot at one fluence or several, in a run file of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from labctl.config import BenchConfig
from labctl.data import RunWriter
from labctl.model.clock import Clock
from labctl.model.errors import Aborted, DataError, is_noticed_stop
from labctl.model.plan import ShotsPlan
from labctl.model.run import RunStop
from labctl.model.shots import ShotsSummary, ShotTally
from labctl.runner.events import Connected, Message
from labctl.runner.facts import RunRequest, now_utc, run_start
from labctl.runner.run import run_log, status_of
from labctl.session import Bench, open_bench
from procedures.shots import measure_shots

log = logging.getLogger(__name__)

PROCEDURE_ID = "shots/1"


@dataclass(frozen=True, slots=True)
class Shot:
    """So many shots in the light are stored at a point, counted from 0."""

    point: int
    light: int
    planned: int
    tally: ShotTally


OnShotEvent = Callable[[Connected | Message | Shot], None]


@dataclass(frozen=True, slots=True)
class ShotsReport:
    """A burst, finished or not.

    :param h5: the run file.
    :param status: "finished", "aborted" or "failed".
    :param points: what each fluence gave; empty where it did not come to its end.
    """

    h5: Path
    status: str
    points: tuple[ShotsSummary, ...]


def run_shots(
    config: BenchConfig,
    plan: ShotsPlan,
    request: RunRequest,
    *,
    stop: threading.Event,
    on_event: OnShotEvent,
    clock: Clock | None = None,
) -> ShotsReport:
    """Open the bench, keep every shot, and leave it safe; the file holds what came until the end.

    :param config: the bench.
    :param plan: what is to be measured.
    :param request: name of the sample, and where the file goes.
    :param stop: ends it, the shutter first.
    :param on_event: told who answered, remarks, and how many shots there are; called in this thread.
    :raises ConfigError: the bench cannot do it; nothing has moved.
    :raises LabctlError: it failed; what came until then is in the file that the log names.
    """
    plan = replace(plan, triggered=config.triggered)

    def over(line: str) -> None:
        log.info("%s", line)
        on_event(Message(line))

    def tell(line: str) -> None:
        log.warning("%s", line)
        on_event(Message(line))

    with RunWriter(request.output, request.stem()) as writer, run_log(_log_of(writer)) as log_file:

        def moved(line: str) -> None:
            log_file.go_on_in(_log_of(writer))
            tell(line)

        writer.on_move = moved
        began, points = False, tuple[ShotsSummary, ...]()
        failure: BaseException | None = None
        try:
            with open_bench(config, clock, stop, log_file=_log_of(writer), tell=tell, over=over) as bench:
                on_event(Connected({role: str(who) for role, who in bench.identities.items()}))
                writer.begin(run_start(bench, plan, request, PROCEDURE_ID))
                began = True
                points = _measured(bench, plan, writer, stop, on_event)
        except BaseException as exc:  # noqa: BLE001  raised again once the file says how it ended
            failure = Aborted() if is_noticed_stop(exc, stop.is_set()) else exc
        status = end_run(writer, failure) if began else status_of(failure)[0]
    if failure is not None and not (began and isinstance(failure, Aborted)):
        if began:
            failure.add_note(f"what came until then: {writer.paths.h5}")
        raise failure
    return ShotsReport(writer.paths.h5, status, points)


def _measured(
    bench: Bench, plan: ShotsPlan, writer: RunWriter, stop: threading.Event, on_event: OnShotEvent
) -> tuple[ShotsSummary, ...]:
    def on_shots(point: int, light: int, tally: ShotTally) -> None:
        on_event(Shot(point, light, plan.shots, tally))

    points = measure_shots(
        plan, bench.roles, bench.pump, bench.bands, sink=writer, stop=stop, on_shots=on_shots
    )
    for summary in points:
        log.info("%s", said(summary))
        writer.event(bench.roles.clock.now_s(), said(summary))
    return points


def end_run(writer: RunWriter, failure: BaseException | None) -> str:
    """Say in the file how a run ended, and return its status; the failure that comes first is to be told.

    :param writer: of the run, which has begun.
    :param failure: that ended it; None for a good end.
    :raises DataError: a good end cannot be written.
    """
    status, reason = status_of(failure)
    try:
        writer.end(RunStop(status, reason, now_utc()))
    except DataError as exc:
        if failure is None:
            raise
        log.warning("%s", exc)
    return status


def _log_of(writer: RunWriter) -> Path:
    return writer.paths.h5.with_suffix(".log")


def said(summary: ShotsSummary) -> str:
    """Return a burst in one sentence.

    :param summary: what it gave.
    """
    tally = summary.tally
    lost = "no shot is missing"
    if tally.lost:
        parts = {
            "lost in the buffer": tally.lost_in_buffer,
            "without a trigger or a pulse": tally.lost_triggers,
        }
        named = ", ".join(f"{number} {words}" for words, number in parts.items() if number)
        lost = f"{tally.lost} of {tally.kept + tally.lost} shots are missing ({named})"
    clipped = f"; {summary.clipped} shots are saturated" if summary.clipped else ""
    return (
        f"{summary.light} shots in the light at {summary.fluence_uj_cm2:.4g} uJ/cm2 (mean of the meter, not "
        f"shot by shot); {lost}; mean "
        f"{summary.mean_counts:.4g} counts a shot, CV {summary.cv:.2%} (of which the detector's noise is "
        f"{summary.dark_cv:.2%}){clipped}"
    )
