"""``labctl sweep``: from the options to a plan, through the runner, to a table or JSON."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.cli.adaptive import AdaptiveWords, with_adaptive
from labctl.cli.signals import stop_on_signals
from labctl.model.errors import Aborted

if TYPE_CHECKING:
    from labctl.cli.progress import Progress
    from labctl.model.plan import SweepPlan
    from labctl.runner.report import RunReport


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A sweep as the command line says it; fluences in uJ/cm2, ``None`` where the option was left out."""

    bench: Path
    output: Path
    sample: str
    start_uj_cm2: float | None
    stop_uj_cm2: float | None
    operator: str = ""
    spot: str = ""
    note: str = ""
    points: int | None = None
    spacing: str = "log"
    fluences: str = ""
    direction: str = "up"
    average: int = 10
    background: str = "dark"
    keep_open: bool = False
    seed: int = 0
    figures: bool = False
    reference_every: int = 0
    reference_uj_cm2: float | None = None
    correct_bleaching: str = "off"
    adaptive: AdaptiveWords = field(default_factory=AdaptiveWords)


def run_sweep_command(request: SweepRequest, *, as_json: bool) -> int:
    """Sweep, print the result, and return the exit code.

    :raises LabctlError: whatever ended the sweep; the points shown before are in the file.
    :raises Aborted: it was stopped; what there is has been printed.
    """
    with stop_on_signals() as stop:
        from labctl.cli.progress import make_progress
        from labctl.cli.table import print_result
        from labctl.runner.run import RunFailed

        try:
            with make_progress() as progress:
                report = sweep_once(request, stop, progress)
        except RunFailed as failed:
            if as_json or failed.report.points:
                print_result([failed.report], as_json=as_json)
            raise failed.error from None
        print_result([report], as_json=as_json)
    if report.status == "aborted":
        aborted = Aborted()
        if report.points:
            aborted.add_note(f'labctl resume "{report.h5}" --bench "{request.bench}" measures the rest')
        raise aborted
    return 0


def sweep_once(request: SweepRequest, stop: threading.Event, progress: Progress) -> RunReport:
    """Run one sweep and draw its figures if they were asked for: the path of ``sweep`` and of ``demo``."""
    from labctl.cli.insert import make_insert
    from labctl.config import load_bench
    from labctl.runner.events import Message
    from labctl.runner.run import RunRequest, run_sweep

    config = load_bench(request.bench)
    labels = RunRequest(
        output=request.output,
        sample=request.sample,
        operator=request.operator,
        spot=request.spot,
        note=request.note,
    )
    insert = make_insert(stop, lambda text: progress(Message(text)))
    report = run_sweep(config, plan_of(request), labels, stop=stop, on_event=progress, insert=insert)
    return with_figures(report) if request.figures else report


def plan_of(request: SweepRequest) -> SweepPlan:
    """Translate the options into a plan.

    :raises ConfigError: an option is missing, or the list of fluences is no list of numbers.
    """
    from labctl.model.errors import ConfigError
    from labctl.model.plan import SweepPlan

    wanted: dict[str, Any] = {}
    ends = (("start", request.start_uj_cm2), ("stop", request.stop_uj_cm2))
    if request.spacing == "list":
        wanted["fluences_uj_cm2"] = _numbers(request.fluences)
        for name, value in (*ends, ("points", request.points)):
            if value is not None:
                raise ConfigError("the list says it all", key=f"--{name}", hint="leave it or --fluences out")
    else:
        for name, value in ends:
            if value is None:
                raise ConfigError("missing", key=f"--{name}", hint="a fluence in uJ/cm2")
            wanted[f"{name}_uj_cm2"] = value
    words: dict[str, Any] = {"spacing": request.spacing, "direction": request.direction}
    words["background"] = request.background
    words["correct_bleaching"] = request.correct_bleaching
    if request.points is not None:
        wanted["points"] = request.points
    plan = SweepPlan(
        reference_every=request.reference_every,
        reference_uj_cm2=request.reference_uj_cm2,
        average=request.average,
        keep_open=request.keep_open,
        seed=request.seed,
        **words,
        **wanted,
    )
    return with_adaptive(plan, request.adaptive, request.points)


def with_figures(report: RunReport) -> RunReport:
    """Draw the figures beside the files; a figure that cannot be drawn is a note, not an end."""
    import dataclasses

    from labctl.runner.figures import draw_run

    if report.points == 0:
        return report
    if report.h5 is None:
        note = "no figures: they are drawn from the spectra of a run file (.h5)"
        return dataclasses.replace(report, notes=(*report.notes, note))
    try:
        return dataclasses.replace(report, figures=tuple(draw_run(report.h5)))
    except Exception as exc:
        logging.getLogger(__name__).exception("drawing the figures of %s", report.h5)
        return dataclasses.replace(report, notes=(*report.notes, f"no figures: {type(exc).__name__}: {exc}"))


def _numbers(text: str) -> tuple[float, ...]:
    from labctl.model.errors import ConfigError

    try:
        return tuple(float(part) for part in text.replace(";", ",").split(",") if part.strip())
    except ValueError as exc:
        raise ConfigError(f"{text!r} is no list of numbers", key="--fluences", hint="20,30,45") from exc
