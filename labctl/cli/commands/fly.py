"""``labctl fly``: a threshold from a second or two of light, while the attenuator's plate turns."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from labctl.cli.common import BenchFile, Json, Note, SampleName, Spot, Who
from labctl.cli.output import write_lines
from labctl.cli.plan_options import with_options
from labctl.cli.signals import stop_on_signals
from labctl.model.options import options
from labctl.model.plan import FlyPlan

_OPTIONS = options(FlyPlan)
_FLANK = (
    replace(_OPTIONS["start"], help="Lowest fluence of the flank.", default=...),
    replace(_OPTIONS["stop"], help="Highest fluence of the flank.", default=...),
    _OPTIONS["passes"],
)


@with_options(_FLANK)
def fly(
    bench: BenchFile,
    sample: SampleName,
    given: dict[str, Any],
    output: Annotated[Path, typer.Option(help="Directory of the files.")] = Path(),
    operator: Who = "",
    spot: Spot = "",
    note: Note = "",
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figures as PNG at the end.")] = False,
    as_json: Json = False,
) -> int:
    """Turn the plate forth and back in the light, keep every shot; state the lasing threshold.

    Needs a triggered spectrometer that keeps every shot, and limits that full transmission cannot exceed.
    Ctrl-C closes the shutter.
    """
    with stop_on_signals() as stop:
        from labctl.cli.commands.sweep import with_figures
        from labctl.cli.table import print_result
        from labctl.runner.facts import RunRequest
        from labctl.runner.single_shots.fly import run_fly

        plan = FlyPlan(**{_OPTIONS[name].field: value for name, value in given.items()})
        labels = RunRequest(output=output, sample=sample, operator=operator, spot=spot, note=note)
        report = run_fly(bench, plan, labels, stop=stop, tell=_say)
        print_result([with_figures(report) if figures else report], as_json=as_json)
    return 0


def _say(text: str) -> None:
    import sys

    with contextlib.suppress(OSError, ValueError):
        write_lines([text], sys.stderr)
