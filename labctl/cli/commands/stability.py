"""``labctl stability``: emission against time at one fluence, and a one-line verdict."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import BenchFile, Json, Note, SampleName, Spot, Who
from labctl.cli.output import write_json, write_lines
from labctl.cli.plan_options import with_options
from labctl.cli.signals import stop_on_signals
from labctl.model.errors import Aborted
from labctl.model.options import options
from labctl.model.plan import StabilityPlan

if TYPE_CHECKING:
    from labctl.runner.report import RunReport


_OPTIONS = options(StabilityPlan)
_EVERY_POINT = replace(_OPTIONS["average"], help="Exposures at each point.", default=5)
"""Fewer than in a sweep: all of them are light on one spot."""
_FLUENCE = replace(_OPTIONS["start"], name="fluence", help="Fluence, in the bench's convention.", default=...)


_HEATING = ("temperature", "tolerance", "settle", "heating_limit", "end_temperature")
_OWN = ("every", "model", "constant", *_HEATING)


@with_options((_FLUENCE, _EVERY_POINT, *(_OPTIONS[name] for name in _OWN)))
def stability(
    bench: BenchFile,
    sample: SampleName,
    given: dict[str, Any],
    minutes: Annotated[
        float, typer.Option(help="Time from the first point to the last.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(help="Directory of the output files.")] = Path(),
    operator: Who = "",
    spot: Spot = "",
    note: Note = "",
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figure as PNG at the end.")] = False,
    as_json: Json = False,
) -> int:
    """Follow the emission at one fluence for minutes to hours; say what is left.

    The shutter is closed between points. Each point is on disk before it is shown. Ctrl-C closes the shutter
    and fits what there is; labctl resume goes on.
    """
    with stop_on_signals() as stop:
        from labctl.cli.progress import make_progress
        from labctl.config import load_bench
        from labctl.runner.run import RunFailed, RunRequest
        from labctl.runner.stability import run_stability
        from procedures.plan import stability_plan

        fluence, every_s = given.pop("fluence"), given.pop("every", _OPTIONS["every"].default)
        values = {_OPTIONS[name].field: value for name, value in given.items()}
        plan = stability_plan(fluence, 60.0 * minutes, every_s, **values)
        config = load_bench(bench)
        labels = RunRequest(output=output, sample=sample, operator=operator, spot=spot, note=note)
        try:
            with make_progress() as progress:
                report = run_stability(config, plan, labels, stop=stop, on_event=progress)
        except RunFailed as failed:
            if as_json or failed.report.points:
                _print(failed.report, config.pump.convention, as_json=as_json)
            raise failed.error from None
        _print(_drawn(report, figures=figures), config.pump.convention, as_json=as_json)
    if report.status == "aborted":
        raise Aborted
    return 0


def _drawn(report: RunReport, *, figures: bool) -> RunReport:
    """Write the table, and the figure if it was asked for; what fails is a note, not an end."""
    from labctl.runner.figures.stability import draw_stability
    from labctl.runner.stability import write_table

    if report.h5 is None or report.points == 0:
        return report
    try:
        table = write_table(report.h5)
        drawn = (draw_stability(report.h5),) if figures else ()
    except Exception as exc:
        logging.getLogger(__name__).exception("after the run %s", report.h5)
        note = f"no table or figure: {type(exc).__name__}: {exc}"
        return replace(report, notes=(*report.notes, note))
    return replace(report, figures=drawn, table=table)


def _print(report: RunReport, convention: str, *, as_json: bool) -> None:
    from labctl.runner.report import dump_json, stability_verdict

    if as_json:
        write_json(dump_json([report]))
        return
    said = report.result.stability
    lines = [
        f"{report.sample}:" if said is None else f"{report.sample}: {stability_verdict(said, convention)}"
    ]
    lines += [f"{report.sample}: {note}" for note in report.notes]
    files = (report.csv, report.h5, report.table, *report.figures)
    lines += [f"    {path}" for path in files if path is not None]
    write_lines(lines)
