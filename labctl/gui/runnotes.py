"""What is said of a run beside its plots, and in which order its rows are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labctl.gui.rundata import RunData, Signal
from labctl.gui.wording import UNIT, digits, duration, pretty, scale
from labctl.model.results import BandThreshold, SweepResult
from labctl.runner.outcome import Outcome, Tally, more_lines, outcome, tally


def signal_label(which: Signal) -> str:
    """Return the label of the axis of signals."""
    return f"{'Whole emission' if which == 'emission' else 'Light in lasing peaks'} (counts per pulse)"


def title_of(run: RunData) -> str:
    """Return the name of a run, with its status where it did not simply finish."""
    status = "paused" if run.paused and run.status == "running" else run.status
    return run.facts.title if status == "finished" else f"{run.facts.title}  –  {status}"


def counted(run: RunData) -> Tally:
    """Count the points of a run."""
    columns = (run.column(name) for name in ("saturated_exposures", "exposures", "integration_s"))
    out = sum(not one for one in run.clipped()[list(run.excluded)])
    return tally(*columns, planned=run.facts.planned, left_out=out)


def outcome_of(run: RunData, found: BandThreshold | None) -> Outcome:
    """Say what came of a run.

    :param found: the fitted threshold, None before there is one.
    """
    if found is None and not counted(run).all_saturated and run.status in ("running", "finished"):
        return Outcome("", "", "plain")
    return outcome(found or BandThreshold(), run.status, counted(run))


def notes_of(run: RunData, result: SweepResult | None, which: Signal = "emission") -> str:
    """Return one line: why it ended, how many points, what was changed by hand, what else its plan showed.

    :param result: what was said of it last, None before there is anything.
    """
    notes = [run.reason, "1 point" if len(run) == 1 else f"{len(run)} points"]
    if run.excluded:
        notes.append(f"{len(run.excluded)} left out by you")
    if run.moved:
        notes.append("bands moved")
    if result is not None:
        notes += [pretty(line) for line in more_lines(result)]
    return "  ·  ".join(part for part in (*notes, _scale(result, which)) if part)


def _scale(result: SweepResult | None, which: Signal) -> str:
    """Say how well the fluences themselves are known; the interval in large digits does not hold that."""
    text = scale(None if result is None else result.budget)
    total = None if result is None else result.of(which).total_ci95
    if total is not None:
        text += f", 95 % with it {digits(total[0])} – {digits(total[1])} {UNIT}"
    return text


def waterfall_rows(run: RunData, *, by_time: bool) -> tuple[NDArray[np.intp], list[str], str]:
    """Return the order of the points as rows, a label for each, and that of the axis."""
    fluence, elapsed = run.column("fluence_uj_cm2"), run.column("elapsed_s")
    if by_time:
        order = np.arange(len(run))
        return order, [duration(elapsed[i]) for i in order], "Time since the start"
    order = np.argsort(fluence, kind="stable")
    return order, [digits(fluence[i], 3) for i in order], f"Fluence, {run.facts.convention} ({UNIT})"
