"""``labctl sweep``: from the options to a plan, through the runner, to a table or JSON."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import BenchFile, Json, Note, SampleName, Spot, Who
from labctl.cli.output import write_json, write_lines
from labctl.cli.plan_options import with_options
from labctl.cli.signals import stop_on_signals
from labctl.model.errors import Aborted
from labctl.model.plan import SweepPlan, sweep_options, sweep_plan

if TYPE_CHECKING:
    from labctl.cli.progress import Progress
    from labctl.runner.facts import RunRequest
    from labctl.runner.report import RunReport

_OPTIONS = dict(sweep_options())
for _end in ("start", "stop"):  # which a terminal has no defaults for
    _OPTIONS[_end] = replace(_OPTIONS[_end], default=None)


@with_options(_OPTIONS.values())
def sweep(
    bench: BenchFile,
    sample: SampleName,
    given: dict[str, Any],
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Choose each fluence from the points measured so far.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Directory of the files.")] = Path(),
    operator: Who = "",
    spot: Spot = "",
    note: Note = "",
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figures as PNG at the end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the plan needs of time and light; open nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Sweep the pump fluence; state the lasing threshold.

    Each point is on disk before it is shown. Ctrl-C closes the shutter and keeps every point.
    """
    from labctl.runner.facts import RunRequest

    plan = sweep_plan(given, adaptive=adaptive)
    if dry_run:
        return _dry_run(bench, plan, as_json=as_json)
    labels = RunRequest(output=output, sample=sample, operator=operator, spot=spot, note=note)
    return run_sweep_command(bench, plan, labels, figures=figures, as_json=as_json)


def _dry_run(bench: Path, plan: SweepPlan, *, as_json: bool) -> int:
    """Check the plan against the bench file alone, and print what it asks for."""
    from labctl.config import load_bench
    from labctl.model.mapping import plain
    from procedures.forecast import forecast
    from procedures.plan import validate

    config = load_bench(bench)
    plan = replace(plan, triggered=config.triggered)
    validate(plan, config.pump_settings(), config.limit_settings())
    found = forecast(plan, config.pump_settings(), config.limit_settings())
    if as_json:
        write_json(plain(found))
    else:
        write_lines([found.text, *found.warnings])
    return 0


def run_sweep_command(
    bench: Path, plan: SweepPlan, labels: RunRequest, *, figures: bool, as_json: bool
) -> int:
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
                report = sweep_once(bench, plan, labels, stop, progress, figures=figures)
        except RunFailed as failed:
            if as_json or failed.report.points:
                print_result([failed.report], as_json=as_json)
            raise failed.error from None
        print_result([report], as_json=as_json)
    if report.status == "aborted":
        aborted = Aborted()
        if report.points:
            aborted.add_note(f'labctl resume "{report.h5}" --bench "{bench}" measures the rest')
        raise aborted
    return 0


def sweep_once(
    bench: Path,
    plan: SweepPlan,
    labels: RunRequest,
    stop: threading.Event,
    progress: Progress,
    *,
    figures: bool,
) -> RunReport:
    """Run one sweep and draw its figures if they were asked for: the path of ``sweep`` and of ``demo``."""
    from labctl.cli.terminal_operator import make_insert
    from labctl.config import load_bench
    from labctl.runner.events import Message
    from labctl.runner.run import run_sweep

    config = load_bench(bench)
    insert = make_insert(stop, lambda text: progress(Message(text)))
    report = run_sweep(config, plan, labels, stop=stop, on_event=progress, insert=insert)
    return with_figures(report) if figures else report


def with_compared(reports: Sequence[RunReport]) -> list[RunReport]:
    """Draw the runs of several samples together; the figures are listed with the first of them."""
    from labctl.runner.figures.compared import draw_compared

    files = [report.h5 for report in reports if report.h5 is not None and report.points]
    first = reports[0]
    try:
        first = replace(first, figures=(*first.figures, *draw_compared(files)))
    except Exception as exc:
        logging.getLogger(__name__).exception("drawing %s together", files)
        first = replace(first, notes=(*first.notes, f"no joint figure: {type(exc).__name__}: {exc}"))
    return [first, *reports[1:]]


def with_figures(report: RunReport) -> RunReport:
    """Draw the figures beside the files; a figure that cannot be drawn is a note, not an end."""
    from labctl.runner.figures.stability import draw_stability
    from labctl.runner.figures.sweep import draw_run, draw_table

    if report.points == 0:
        return report
    try:
        if report.h5 is None:
            unit = "" if report.columns is None else report.columns.signal_unit
            figure = None if report.csv is None else draw_table(report.csv, report.result, unit)
            return replace(report, figures=() if figure is None else (figure,))
        stable = report.result.stability is not None
        drawn = [draw_stability(report.h5)] if stable else draw_run(report.h5, result=report.result)
        return replace(report, figures=tuple(drawn))
    except Exception as exc:
        logging.getLogger(__name__).exception("drawing the figures of %s", report.h5)
        return replace(report, notes=(*report.notes, f"no figures: {type(exc).__name__}: {exc}"))
