"""``labctl align``: the alignment of the window, in the terminal."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import BenchFile, warn
from labctl.cli.output import write_lines
from labctl.cli.plan_options import with_options
from labctl.model.options import options
from labctl.model.plan import SweepPlan, sweep_plan

if TYPE_CHECKING:
    from labctl.model.pump import PumpSettings
    from procedures.alignment import AlignmentEvent


_SWEPT = options(SweepPlan)
_REFERENCE = (
    replace(_SWEPT["start"], help="Lowest fluence of the reference sweep.", default=...),
    replace(_SWEPT["stop"], help="Highest fluence of the reference sweep.", default=...),
    replace(_SWEPT["points"], help="Fluences of the reference sweep.", default=16),
    replace(_SWEPT["average"], help="Exposures at each fluence.", default=3),
)


@with_options(_REFERENCE)
def align(
    bench: BenchFile,
    given: dict[str, Any],
    max_dose: Annotated[
        float | None,
        typer.Option(help="Maximum dose (sum of fluence x pulses), uJ/cm2.", show_default="no extra limit"),
    ] = None,
    readouts: Annotated[
        int | None,
        typer.Option(min=1, help="Number of readouts.", show_default="until Ctrl-C"),
    ] = None,
) -> int:
    """Measure a reference, then follow the threshold while you align.

    One line a readout; Ctrl-C closes the shutter and ends it.
    """
    from labctl.cli.signals import stop_on_signals

    with stop_on_signals() as asked:
        from labctl.config import load_bench
        from labctl.model.errors import Aborted
        from labctl.session import open_bench
        from procedures.alignment import AlignmentPlan
        from procedures.alignment import align as following

        usual = {option.name: option.default for option in _REFERENCE}
        reference = sweep_plan(usual | given)
        plan = AlignmentPlan(reference=reference, max_dose_uj_cm2=max_dose, max_readouts=readouts)
        config = load_bench(bench)
        opening = open_bench(config, stop=asked, tell=warn, over=_say)
        with contextlib.suppress(Aborted), opening as opened:
            _say(_scale(opened.pump.settings))
            for event in following(plan, opened.roles, opened.pump, opened.bands, stop=asked):
                _say(line(event, config.pump.convention))
    return 0


def _scale(settings: PumpSettings) -> str:
    """Say what the intervals to come hold of the scale of all fluences."""
    from labctl.analysis.budget import fluence_budget, scale_statement

    budget = fluence_budget(settings)
    only = "statistical only" if budget.combined_rel is None else "for this calibration"
    return f"the intervals are {only}; {scale_statement(budget.record())}"


def line(event: AlignmentEvent, convention: str) -> str:
    """Return one line for an event of the alignment."""
    from procedures.alignment import Finished, Readout, Reference

    if isinstance(event, Finished):
        return event.reason
    if isinstance(event, Reference):
        return f"reference: {event.result.reason} ({convention}); tracking it"
    if isinstance(event, Readout):
        result = event.result
        if result.threshold_uj_cm2 is None or result.ci95 is None:
            return f"{event.number}: {result.reason}"
        best = event.best_uj_cm2 or result.threshold_uj_cm2
        width = "no width" if event.fwhm_nm is None else f"FWHM {event.fwhm_nm:.2f} nm"
        parts = [
            f"{event.number}: {result.threshold_uj_cm2:.4g} uJ/cm2 {convention} "
            f"(95 %: {result.ci95[0]:.4g} to {result.ci95[1]:.4g})",
            f"best {best:.4g}",
            f"signal {event.signal:.4g}",
            width,
            f"every {event.took_s:.1f} s",
            f"dose {event.dose_uj_cm2:.3g} uJ/cm2",
        ]
        return "; ".join([*parts, "JUMPED"] if "step" in result.flags else parts)
    return f"reference {event.number}/{event.total}: {event.point.fluence_uj_cm2:.4g} uJ/cm2"


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        write_lines([text])
