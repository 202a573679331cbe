"""``labctl budget``: the chain from the meter's reading to the fluence, link by link; of a bench or a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.output import write_json, write_lines

if TYPE_CHECKING:
    from labctl.config import BenchConfig
    from labctl.data.run import Run

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))
_CONVENTIONS = {
    "peak": "peak, in the centre of the spot (2E/(pi wx wy) for a Gaussian, E/area for a flat top)",
    "average": "average over the 1/e2 ellipse (E/(pi wx wy) for a Gaussian, E/area for a flat top)",
}


def budget(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run file (.h5), for the budget it was measured with.", show_default=False),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option("--bench", help="The bench file, TOML.", show_default=False),
    ] = None,
    fluence: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Where it is wanted, uJ/cm2: the meter's zero weighs more in weak light.",
            show_default="the run's threshold, or half of what the bench can make",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as JSON on stdout, and nothing else there.")
    ] = False,
) -> int:
    """Print the fluence's budget: each link of the chain, its uncertainty, and all of them together.

    Nothing is connected to.
    """
    from labctl.model.errors import ConfigError
    from labctl.runner.report import plain

    if (run is None) == (bench is None):
        raise ConfigError(
            "give a run file, or --bench with a bench file", hint="labctl budget --bench bench.toml"
        )
    if bench is not None:
        from labctl.config import load_bench

        source, found = bench, of_bench(load_bench(bench), fluence)
    else:
        from labctl.data import read_run

        assert run is not None
        source, found = run, of_run(read_run(run), fluence)
    if as_json:
        document = plain({"file": str(source.resolve()), **found})
        write_json(document)
    else:
        write_lines([f"Fluence budget of {source}", *budget_lines(found)])
    return 0


def of_bench(config: BenchConfig, fluence_uj_cm2: float | None = None) -> dict[str, object]:
    """Return the budget of a bench as plain values, with what is to be said of its calibrations.

    :raises ConfigError: there is none at this fluence.
    """
    from labctl.analysis.budget import fluence_budget
    from labctl.model.errors import ConfigError
    from labctl.session.calibrated import remarks_on_time

    try:
        found = fluence_budget(config.pump_settings(), fluence_uj_cm2)
    except ValueError as exc:
        raise ConfigError(str(exc), key="--fluence") from exc
    return {**found.to_mapping(), "warnings": [str(remark) for remark in remarks_on_time(config)]}


def of_run(run: Run, fluence_uj_cm2: float | None = None) -> dict[str, object]:
    """Return the budget that a run carries; of an older run, or at another fluence, that of its bench.

    :raises ConfigError: the run holds no bench that this labctl understands.
    """
    from labctl.config.stored import stored_bench

    stored = run.result.get("budget")
    if isinstance(stored, dict) and fluence_uj_cm2 is None:
        return stored
    found = of_bench(stored_bench(run.sessions[-1].config, run.path), fluence_uj_cm2 or _threshold(run))
    return {**found, "warnings": stored.get("warnings", []) if isinstance(stored, dict) else []}


def budget_lines(budget: Mapping[str, object]) -> list[str]:
    """Return the table and what stands below it."""
    from labctl.analysis.budget import scale_rel

    terms = [term for term in _list(budget, "terms") if isinstance(term, dict)]
    rows: list[tuple[str, ...]] = [
        ("link", "value", "uncertainty", "sensitivity", "of the fluence", "source")
    ]
    rows += [_row(term) for term in terms]
    combined, at = scale_rel(budget), _number(budget, "fluence_uj_cm2")
    expanded = None if combined is None else 2 * combined
    rows += [
        ("combined, k = 1", "", "", "", _percent(combined), ""),
        ("expanded, k = 2", "", "", "", _percent(expanded), "" if combined is None else "about 95 %"),
    ]
    return [
        "P x ratio / rate x cos(incidence) / area, with P the meter's reading less its zero. Standard",
        f"uncertainties (k = 1) of what is common to all points, at {at:.4g} uJ/cm2",
        "",
        *_aligned(rows),
        "",
        *_below(budget),
    ]


def _below(budget: Mapping[str, object]) -> list[str]:
    from labctl.analysis.budget import scale_statement

    convention = str(budget.get("convention"))
    lines = [f"fluence:      {_CONVENTIONS.get(convention, convention)}"]
    width, source = budget.get("pulse_width_fs"), budget.get("pulse_width_source")
    if isinstance(width, (int, float)):
        sigma = _number(budget, "pulse_width_sigma_fs")
        lines.append(
            f"pulse width:  {width:.3g} fs{f' +- {sigma:.2g} fs' if sigma else ''} at the sample ({source})"
        )
    else:
        lines.append(f"pulse width:  {source}")
    factor = budget.get("two_photon_factor")
    if isinstance(factor, (int, float)):
        cv = _number(budget, "pulse_cv")
        lines.append(f"pulse noise:  {_percent(cv)} from pulse to pulse, <F^2>/<F>^2 = {factor:.5g}")
    else:
        lines.append("pulse noise:  unknown, so that <F^2>/<F>^2 is taken for 1")
    absorbed = budget.get("absorptance")
    if isinstance(absorbed, (int, float)):
        sigma = _number(budget, "absorptance_sigma")
        lines.append(f"absorptance:  {absorbed:.3g} +- {sigma:.2g}; fluences here are incident ones")
    lines.append(scale_statement(budget))
    if unstated := _list(budget, "unstated"):
        lines.append(f"not stated:   {', '.join(map(str, unstated))}")
    return [*lines, *(f"warning: {text}" for text in _list(budget, "warnings"))]


def _row(term: Mapping[str, object]) -> tuple[str, ...]:
    from labctl.analysis.budget import UNSTATED

    unit, sensitivity = str(term.get("unit") or ""), _number(term, "sensitivity") + 0.0
    relative = term.get("uncertainty_unit") == "1" and unit != "1"
    value, sigma, part = term.get("value"), term.get("uncertainty"), term.get("contribution_rel")
    stated = isinstance(sigma, (int, float)) and term.get("source") != UNSTATED  # an older labctl stored 0
    note = f" ({term['note']})" if term.get("note") else ""
    return (
        str(term.get("name")),
        _with_unit(float(value), unit) if isinstance(value, (int, float)) else "",
        _shown(sigma, "" if relative else unit) if stated else UNSTATED,
        f"{sensitivity:+.3g}" if relative or unit in ("", "1") else f"{sensitivity:+.3g} / {unit}",
        (_percent(part) if stated else UNSTATED) if sensitivity else "-",
        f"{term.get('source')}{note}",
    )


def _with_unit(value: float, unit: str) -> str:
    if unit in ("", "1"):
        return f"{value:.4g}"
    if unit not in ("W", "J") or value == 0:
        return f"{value:.5g} {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), _PREFIXES[-1])
    return f"{value / scale:.4g} {prefix}{unit}"


def _shown(sigma: object, unit: str) -> str:
    return _with_unit(sigma, unit) if unit and isinstance(sigma, (int, float)) else _percent(sigma)


def _percent(relative: object) -> str:
    from labctl.analysis.budget import UNSTATED

    return f"{100 * relative:.3g} %" if isinstance(relative, (int, float)) else UNSTATED


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    rule = "-" * min(max(map(len, lines)), 110)
    return [lines[0], rule, *lines[1:-2], rule, *lines[-2:]]


def _threshold(run: Run) -> float | None:
    threshold = run.result.get("threshold")
    value = threshold.get("threshold_uj_cm2") if isinstance(threshold, dict) else None
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def _number(values: Mapping[str, object], key: str) -> float:
    value = values.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _list(values: Mapping[str, object], key: str) -> Sequence[object]:
    value = values.get(key)
    return value if isinstance(value, (list, tuple)) else ()
