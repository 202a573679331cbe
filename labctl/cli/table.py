"""The table at the end of a run, on stdout; and the JSON in its place."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from labctl.runner.report import RunReport, dump_json


def print_result(
    runs: Sequence[RunReport], *, as_json: bool, extra: Mapping[str, object] | None = None
) -> None:
    """Print the table of several runs, or with ``as_json`` the document and nothing else."""
    if as_json:
        sys.stdout.write(dump_json(runs, extra) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(title="Lasing threshold", title_style="bold", caption_justify="left")
    nominal = any(run.nominal_uj_cm2 is not None for run in runs)
    for heading in (
        "sample",
        "points",
        "threshold (uJ/cm2)",
        "95 % interval",
        *(("paper",) if nominal else ()),
    ):
        table.add_column(heading)
    table.add_column("Q (resolution)")
    for run in runs:
        paper = ("-" if run.nominal_uj_cm2 is None else f"{run.nominal_uj_cm2:.2f}",) if nominal else ()
        table.add_row(_name(run), _points(run), *threshold_cells(run.threshold), *paper, q_cell(run.q))
    console.print(table)
    for run in runs:
        for line in _below(run):
            console.print(line, markup=False, soft_wrap=True)


def threshold_cells(threshold: Mapping[str, object]) -> tuple[str, str]:
    """Return a threshold and its interval, or its status."""
    value, interval = threshold.get("threshold_uj_cm2"), threshold.get("ci95")
    if not isinstance(value, (int, float)):
        return str(threshold.get("status", "refused")).replace("_", " "), "-"
    shown = f"{value:.2f} ({threshold.get('convention', '')})"
    if not isinstance(interval, (list, tuple)):
        return shown, "-"
    return shown, f"{interval[0]:.2f} to {interval[1]:.2f}"


def q_cell(q: Mapping[str, object]) -> str:
    """Return Q with its error and the spectrometer's resolution beside it."""
    value, resolution = q.get("value"), q.get("resolution_nm")
    if not isinstance(value, (int, float)):
        return "-"
    sigma = q.get("sigma")
    spread = f" +- {sigma:.0f}" if isinstance(sigma, (int, float)) else ""
    slit = f"{resolution:.2f} nm" if isinstance(resolution, (int, float)) else "unknown"
    return f">= {value:.0f} ({slit})" if q.get("lower_bound") else f"{value:.0f}{spread} ({slit})"


def _name(run: RunReport) -> str:
    return f"{run.sample}, spot {run.spot}" if run.spot else run.sample


def _points(run: RunReport) -> str:
    return str(run.points) if run.status == "finished" else f"{run.points} ({run.status})"


def _below(run: RunReport) -> list[str]:
    reason = str(run.threshold.get("reason") or "")
    files = [path for path in (run.csv, run.h5, *run.figures) if path is not None]
    lines = [f"{_name(run)}: {reason}"] if reason else []
    return [*lines, *(f"{_name(run)}: {note}" for note in run.notes), *(f"    {path}" for path in files)]
