"""The table at the end of a run, on stdout; and the JSON in its place."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from labctl.analysis.evaluation.comparison import compared
from labctl.cli.output import make_console, write_json, write_styled
from labctl.model.results.sweep import Interval, QResult
from labctl.runner.meaning import flag_lines
from labctl.runner.refit import spread_line
from labctl.runner.report import (
    RunReport,
    beside_number,
    comparison_lines,
    decimals,
    definition_lines,
    dump_json,
    duration,
    more_lines,
    uncertainty_lines,
    verdict_lines,
)

if TYPE_CHECKING:
    from rich.table import Table

    from labctl.runner.refit import SpotSpread


def print_result(
    runs: Sequence[RunReport],
    *,
    as_json: bool,
    spread: Sequence[SpotSpread] = (),
    definitions: bool = False,
) -> None:
    """Print the table of several runs, or with ``as_json`` the document and nothing else.

    :param definitions: print the threshold by each definition.
    :param spread: of several spots of one sample, as :func:`labctl.runner.refit.spot_spread` returns it.
    """
    comparison = compared([run.compared for run in runs])
    if as_json:
        found = {"spread": spread, "ratios": comparison.ratios, "retained": comparison.retained}
        write_json(dump_json(runs, {key: list(value) for key, value in found.items() if value}))
        return
    console = make_console(width=None if sys.stdout.isatty() else 120)
    with console.capture() as captured:
        stable = [run for run in runs if run.result.stability is not None]
        if len(stable) < len(runs):
            console.print(_table([r for r in runs if r not in stable], {s.sample: s for s in spread}))
        if stable:
            console.print(_stability_table(stable))
        for run in runs:
            defined = definition_lines(run.result) if definitions else []
            for line in (*_below(run), *(f"    {line}" for line in defined)):
                console.print(line, soft_wrap=True)
        for sample in spread:
            console.print(spread_line(sample), soft_wrap=True)
        for line in comparison_lines(comparison):
            console.print(line, soft_wrap=True)
    write_styled(captured.get())


def _table(runs: Sequence[RunReport], spread: Mapping[str, SpotSpread]) -> Table:
    from rich.table import Table

    table = Table(title="Light-light curves", title_style="bold")
    nominal = any(run.nominal_uj_cm2 is not None for run in runs)
    scaled = any(_scale(run) for run in runs)
    interval = "95 % interval" if scaled else "95 % interval, statistical only"
    units = {run.threshold.unit for run in runs}
    onset = f"onset ({next(iter(units))})" if len(units) == 1 else "onset"
    headings = ["sample", "points", onset, interval]
    headings += ["with scale"] if scaled else []
    headings += ["spot to spot"] if spread else []
    headings += ["paper"] if nominal else []
    for heading in (*headings, "Q (resolution)"):
        table.add_column(heading)
    for run in runs:
        cells = [_name(run), _points(run), *threshold_cells(run, with_unit=len(units) > 1)]
        cells += [_interval_cell(run.threshold.total_ci95)] if scaled else []
        cells += [_spread_cell(run, spread.get(run.sample))] if spread else []
        cells += ["-" if run.nominal_uj_cm2 is None else f"{run.nominal_uj_cm2:.2f}"] if nominal else []
        table.add_row(*cells, q_cell(run.result.q))
    return table


def _stability_table(runs: Sequence[RunReport]) -> Table:
    from rich.table import Table

    table = Table(title="Emission over time", title_style="bold")
    for heading in ("sample", "points", "remaining (%)", "95 % interval", "after", "uJ/cm2", "sample at (C)"):
        table.add_column(heading)
    for run in runs:
        found = run.result.stability
        assert found is not None
        left, known = found.retained, [t for t in found.sample_temperature_c if t is not None]
        table.add_row(
            _name(run),
            _points(run),
            "-" if left is None else f"{100 * left.value:.2f}",
            "-" if left is None else f"{100 * left.low:.2f} to {100 * left.high:.2f}",
            "-" if found.duration_s is None else duration(found.duration_s),
            "-" if found.fluence_uj_cm2 is None else f"{found.fluence_uj_cm2:.4g}",
            f"{sum(known) / len(known):.1f}" if known else "-",
        )
    return table


def _spread_cell(run: RunReport, spread: SpotSpread | None) -> str:
    counts = run.threshold.threshold_uj_cm2 is not None
    if spread is None or not counts or (spread.named and not run.spot):
        return "-"
    return f"+-{100 * spread.rel:.1f} %"


def threshold_cells(run: RunReport, *, with_unit: bool = False) -> tuple[str, str]:
    """Return a threshold and its interval, or in a few words why there is none."""
    threshold = run.threshold
    value, convention = threshold.threshold_uj_cm2, threshold.convention_said
    if value is None:
        return run.outcome.headline, "-"
    unit = f" {threshold.unit}" if with_unit else ""
    shown = f"{decimals(value)}{unit} ({convention})" if convention else f"{decimals(value)}{unit}"
    return shown, _interval_cell(threshold.ci95)


def _interval_cell(interval: Interval | None) -> str:
    return "-" if interval is None else f"{decimals(interval[0])} to {decimals(interval[1])}"


def _scale(run: RunReport) -> float:
    return run.threshold.scale_rel or 0.0


def q_cell(q: QResult | None) -> str:
    """Return Q with its error and the spectrometer's resolution beside it."""
    if q is None:
        return "-"
    spread = f" +- {q.sigma:.0f}" if math.isfinite(q.sigma) else ""
    slit = q.resolution_said
    return f">= {q.value:.0f} ({slit})" if q.lower_bound else f"{q.value:.0f}{spread} ({slit})"


def _name(run: RunReport) -> str:
    return f"{run.sample}, spot {run.spot}" if run.spot else run.sample


def _points(run: RunReport) -> str:
    return str(run.points) if run.status == "finished" else f"{run.points} ({run.status})"


def _below(run: RunReport) -> list[str]:
    reason = beside_number(run.outcome.reason)
    files = [path for path in (run.csv, run.h5, *run.figures) if path is not None]
    said = [*verdict_lines(run.result), *([reason] if reason else [])]
    lines = [f"{_name(run)}: {line}" for line in said]
    meant = flag_lines(run.result, reason=reason)
    notes = (*meant, *run.notes, *uncertainty_lines(run), *more_lines(run.result))
    return [*lines, *(f"{_name(run)}: {note}" for note in notes), *(f"    {path}" for path in files)]
