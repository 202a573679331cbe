"""The uncertainty budget of the fluence as people read it: a row for each link, and what stands below."""

from __future__ import annotations

from collections.abc import Sequence

from labctl.analysis.budget import UNSTATED, scale_rel, scale_statement
from labctl.model.results.sweep import BudgetTerm, FluenceBudget

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))
_CONVENTIONS = {
    "peak": "peak, in the centre of the spot (2E/(pi wx wy) for a Gaussian, E/area for a flat top)",
    "average": "average over the 1/e2 ellipse (E/(pi wx wy) for a Gaussian, E/area for a flat top)",
}


def budget_lines(budget: FluenceBudget) -> list[str]:
    """Return the table and what stands below it."""
    return [
        "P x ratio / rate x cos(incidence) / area, P: meter reading minus its zero. Standard",
        f"uncertainties (k = 1) common to all points (systematic), at {budget.fluence_uj_cm2 or 0:.4g} "
        f"uJ/cm2",
        "",
        *_aligned(budget_rows(budget)),
        "",
        *budget_remarks(budget),
    ]


def budget_rows(budget: FluenceBudget) -> list[tuple[str, ...]]:
    """Return the table, its heading first: a row for each link, and two for all of them together."""
    rows: list[tuple[str, ...]] = [
        ("link", "value", "uncertainty", "sensitivity", "of the fluence", "source")
    ]
    rows += [_row(term) for term in budget.terms]
    combined = scale_rel(budget)
    expanded = None if combined is None else 2 * combined
    rows += [
        ("combined, k = 1", "", "", "", _percent(combined), ""),
        ("expanded, k = 2", "", "", "", _percent(expanded), "" if combined is None else "about 95 %"),
    ]
    return rows


def budget_remarks(budget: FluenceBudget) -> list[str]:
    """Return what stands below the table."""
    convention = str(budget.convention)
    lines = [f"fluence:      {_CONVENTIONS.get(convention, convention)}"]
    width, source = budget.pulse_width_fs, budget.pulse_width_source
    if width is not None:
        sigma = budget.pulse_width_sigma_fs
        spread = f" +- {sigma:.2g} fs" if sigma else ""
        lines.append(f"pulse width:  {width:.3g} fs{spread} at the sample ({source})")
    else:
        lines.append(f"pulse width:  {source}")
    factor = budget.two_photon_factor
    if factor is not None:
        cv = _percent(budget.pulse_cv or 0.0)
        lines.append(f"pulse noise:  {cv} from pulse to pulse, <F^2>/<F>^2 = {factor:.5g}")
    else:
        lines.append("pulse noise:  unknown, <F^2>/<F>^2 = 1 is assumed")
    if budget.absorptance is not None:
        sigma = budget.absorptance_sigma or 0.0
        lines.append(f"absorptance:  {budget.absorptance:.3g} +- {sigma:.2g}; fluences are incident fluences")
    lines.append(scale_statement(budget))
    if budget.unstated:
        lines.append(f"not stated:   {', '.join(budget.unstated)}")
    return [*lines, *(f"warning: {text}" for text in budget.warnings)]


def _row(term: BudgetTerm) -> tuple[str, ...]:
    unit, sensitivity = term.unit, term.sensitivity + 0.0
    relative = term.uncertainty_unit == "1" and unit != "1"
    stated = term.uncertainty is not None and term.source != UNSTATED  # an older labctl stored 0
    note = f" ({term.note})" if term.note else ""
    return (
        term.name,
        "" if term.value is None else _with_unit(term.value, unit),
        _shown(term.uncertainty, "" if relative else unit) if stated else UNSTATED,
        f"{sensitivity:+.3g}" if relative or unit in ("", "1") else f"{sensitivity:+.3g} / {unit}",
        (_percent(term.contribution_rel) if stated else UNSTATED) if sensitivity else "-",
        f"{term.source}{note}",
    )


def _with_unit(value: float, unit: str) -> str:
    if unit in ("", "1"):
        return f"{value:.4g}"
    if unit not in ("W", "J") or value == 0:
        return f"{value:.5g} {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), _PREFIXES[-1])
    return f"{value / scale:.4g} {prefix}{unit}"


def _shown(sigma: float | None, unit: str) -> str:
    return _with_unit(sigma, unit) if unit and sigma is not None else _percent(sigma)


def _percent(relative: float | None) -> str:
    return UNSTATED if relative is None else f"{100 * relative:.3g} %"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    rule = "-" * min(max(map(len, lines)), 110)
    return [lines[0], rule, *lines[1:-2], rule, *lines[-2:]]
