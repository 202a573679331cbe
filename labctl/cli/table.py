"""The table at the end of a run, on stdout; and the JSON in its place."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from labctl.analysis.budget import UNKNOWN_PULSE_WIDTH, scale_statement
from labctl.cli.output import make_console, write_json, write_styled
from labctl.runner.report import RunReport, dump_json, with_scale

if TYPE_CHECKING:
    from rich.table import Table


def print_result(
    runs: Sequence[RunReport],
    *,
    as_json: bool,
    spread: Sequence[Mapping[str, object]] = (),
) -> None:
    """Print the table of several runs, or with ``as_json`` the document and nothing else.

    :param spread: of several spots of one sample, as :func:`labctl.runner.refit.spot_spread` returns it.
    """
    if as_json:
        write_json(dump_json(runs, {"spread": list(spread)} if spread else None))
        return
    console = make_console(width=None if sys.stdout.isatty() else 120)
    with console.capture() as captured:
        console.print(_table(runs, {str(s["sample"]): s for s in spread}))
        for run in runs:
            for line in _below(run):
                console.print(line, soft_wrap=True)
        for sample in spread:
            console.print(spread_line(sample), soft_wrap=True)
    write_styled(captured.get())


def _table(runs: Sequence[RunReport], spread: Mapping[str, Mapping[str, object]]) -> Table:
    from rich.table import Table

    table = Table(title="Lasing threshold", title_style="bold")
    nominal = any(run.nominal_uj_cm2 is not None for run in runs)
    scaled = any(_scale(run) for run in runs)
    interval = "95 % interval" if scaled else "95 % interval, statistical only"
    headings = ["sample", "points", "threshold (uJ/cm2)", interval]
    headings += ["with scale"] if scaled else []
    headings += ["spot to spot"] if spread else []
    headings += ["paper"] if nominal else []
    for heading in (*headings, "Q (resolution)"):
        table.add_column(heading)
    for run in runs:
        cells = [_name(run), _points(run), *threshold_cells(run)]
        cells += [_interval_cell(with_scale(run.threshold)["total_ci95"])] if scaled else []
        cells += [_spread_cell(run, spread.get(run.sample))] if spread else []
        cells += ["-" if run.nominal_uj_cm2 is None else f"{run.nominal_uj_cm2:.2f}"] if nominal else []
        table.add_row(*cells, q_cell(run.q))
    return table


def spread_line(spread: Mapping[str, object]) -> str:
    """Say how far spots of one sample differ, beside what one spot's interval covers."""
    numbers = {key: value for key, value in spread.items() if isinstance(value, (int, float))}
    own = numbers.get("interval_rel")
    of = "spots" if spread.get("named", True) else "runs, whose spots are not named"
    beside = "" if own is None else f"; one spot's own 95 % interval is +-{100 * own:.1f} %"
    return (
        f"{spread['sample']}: {spread['spots']} {of}, mean {numbers['mean']:.2f} uJ/cm2, "
        f"from spot to spot {numbers['sd']:.2f} uJ/cm2 "
        f"({100 * numbers['rel']:.1f} %, one standard deviation){beside}"
    )


def _spread_cell(run: RunReport, spread: Mapping[str, object] | None) -> str:
    counts = run.threshold.get("threshold_uj_cm2") is not None
    if spread is None or not counts or (spread.get("named", True) and not run.spot):
        return "-"
    relative = spread["rel"]
    return f"+-{100 * relative:.1f} %" if isinstance(relative, float) else "-"


def threshold_cells(run: RunReport) -> tuple[str, str]:
    """Return a threshold and its interval, or in a few words why there is none."""
    threshold = run.threshold
    value, interval = threshold.get("threshold_uj_cm2"), threshold.get("ci95")
    if not isinstance(value, (int, float)):
        return run.outcome.headline, "-"
    convention = threshold.get("convention")
    shown = f"{value:.2f} ({convention})" if convention else f"{value:.2f}"
    return shown, _interval_cell(interval)


def _interval_cell(interval: object) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}" if isinstance(interval, (list, tuple)) else "-"


def _scale(run: RunReport) -> float:
    scale = run.threshold.get("scale_rel")
    return float(scale) if isinstance(scale, (int, float)) else 0.0


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
    reason = run.outcome.reason
    files = [path for path in (run.csv, run.h5, *run.figures) if path is not None]
    lines = [f"{_name(run)}: {reason}"] if reason else []
    notes = (*run.notes, *uncertainty_lines(run), *more_lines(run.more))
    return [*lines, *(f"{_name(run)}: {note}" for note in notes), *(f"    {path}" for path in files)]


def uncertainty_lines(run: RunReport) -> list[str]:
    """Take the uncertainty of a threshold apart, and say what nobody stated or knows of the light."""
    stated, budget = with_scale(run.threshold), run.more.get("budget")
    lines = []
    if isinstance(stated["total_rel95"], float) and _scale(run):
        parts = (
            f"{part} +-{100 * _n(stated, f'{part}_rel95'):.2g} %"
            for part in ("statistical", "model", "scale")
        )
        low, high = _interval_cell(stated["total_ci95"]).split(" to ")
        lines.append(
            f"at 95 %: {', '.join(parts)}; all together {low} to {high} (labctl budget shows the scale)"
        )
    budget = budget if isinstance(budget, Mapping) else {}
    if run.threshold.get("threshold_uj_cm2") is not None:
        only = "" if _scale(run) else "the interval is statistical only; "
        lines.append(f"{only}{scale_statement(budget)}{': see labctl budget' if budget else ''}")
    if budget and budget.get("pulse_width_fs") is None and _n(budget, "photon_order") > 1:
        lines.append(f"pulse width at the sample {UNKNOWN_PULSE_WIDTH}")
    warnings = budget.get("warnings")
    return [*lines, *(f"warning: {w}" for w in (warnings if isinstance(warnings, (list, tuple)) else ()))]


def more_lines(more: Mapping[str, object]) -> list[str]:
    """Say how a sweep that chose its fluences ended, what reference and way back show, how light faded."""
    makers = {
        "adaptive": _adaptive_line,
        "bleaching": _bleaching_line,
        "hysteresis": _hysteresis_line,
        "stability": _stability_line,
        "energy_step": _energy_step_line,
    }
    return [make(part) for key, make in makers.items() if isinstance(part := more.get(key), Mapping)]


def _energy_step_line(step: Mapping[str, object]) -> str:
    return f"careful: {step.get('text', 'the pulse energy stepped')}"


def _stability_line(stability: Mapping[str, object]) -> str:
    from labctl.runner.stability import verdict  # not needed for most runs, and heavy

    return verdict(stability)


def _adaptive_line(adaptive: Mapping[str, object]) -> str:
    met = "met" if adaptive.get("target_met") else "not met"
    reached = adaptive.get("half_width_rel")
    width = f"+-{100 * reached:.2g} %" if isinstance(reached, float) else "no interval"
    return (
        f"adaptive sweep, ended by {adaptive.get('ended') or 'a stop'}: {adaptive.get('reason')}. "
        f"In the end {width} after {adaptive.get('points')} points, target {met}"
    )


def _bleaching_line(bleaching: Mapping[str, object]) -> str:
    seen = "bleaching" if bleaching.get("flags") == ["bleaching"] else "reference"
    treated = {"off": "not corrected"}.get(str(bleaching.get("corrected")), "corrected")
    return (
        f"{seen}: the light at {_n(bleaching, 'fluence_uj_cm2'):.4g} uJ/cm2 changed over the run by "
        f"{100 * _n(bleaching, 'change_rel'):+.2g} +- {100 * _n(bleaching, 'change_sigma_rel'):.2g} % "
        f"({100 * _n(bleaching, 'change_per_j_cm2'):+.2g} +- "
        f"{100 * _n(bleaching, 'change_per_j_cm2_sigma'):.2g} % per J/cm2 of dose), {treated} in the fit"
    )


def _hysteresis_line(hysteresis: Mapping[str, object]) -> str:
    seen = "hysteresis" if hysteresis.get("flags") else "no hysteresis beyond chance"
    line = (
        f"{seen}: the way down against the way up, signal "
        f"{100 * _n(hysteresis, 'signal_change_rel'):+.2g} +- "
        f"{100 * _n(hysteresis, 'signal_change_sigma_rel'):.2g} %"
    )
    if hysteresis.get("threshold_change_rel") is None:
        return line
    return (
        f"{line}, threshold {100 * _n(hysteresis, 'threshold_change_rel'):+.2g} +- "
        f"{100 * _n(hysteresis, 'threshold_change_sigma_rel'):.2g} %"
    )


def _n(values: Mapping[str, object], key: str) -> float:
    value = values.get(key)
    return float(value) if isinstance(value, (int, float)) else float("nan")
