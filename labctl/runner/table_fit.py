"""A table fitted: its pump in its own quantity and unit, its photon order as far as that is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.evaluation import evaluate_curve
from labctl.analysis.light_light import LightLight
from labctl.data.tables.choosing import NOTHING_ASKED, Asked
from labctl.data.tables.errors import LeftOut
from labctl.data.tables.table import UNIT_UJ_CM2, Table, read_table
from labctl.model.records import FloatArray
from labctl.model.results.sweep import NO_EDITS, BandThreshold, Edits, Interval, SweepResult, Threshold
from labctl.model.results.verdict import HEADLINES
from labctl.model.run import RunFacts
from labctl.runner.report import RunReport, TableColumns, Tally

T = TypeVar("T")

ORDERS = (1, 2, 3, 4)
_UNBOUNDED, _SLACK = 2, 0.1
"""Highest order tried where the points do not bound the exponent; how far off an exponent may be."""
PHOTON_ORDER = "photon_order"
"""Flag of a table whose result hangs on a photon order that nobody stated."""
MOST_POINTS, _GROUPS = 200, 48
"""A table with more rows is averaged over neighbouring pumps; into how many groups."""
_FEW_LINES = 6
_NEAR = 0.5


def refit_table(path: Path, photon_order: int | None = None, asked: Asked = NOTHING_ASKED) -> RunReport:
    """Read a table and fit it.

    :param photon_order: see :func:`evaluate_table`.
    :param asked: columns and unit that the user names.
    :raises TableUnclear: two readings of it are possible.
    :raises DataError: it cannot be read, or is not a curve of pump against signal.
    """
    table = read_table(path, asked)
    size = int(table.signal.size)
    grouped = () if _usable(table).sum() <= MOST_POINTS else (_grouped_said(table),)
    return RunReport(
        sample=path.stem,
        status="finished",
        csv=path,
        h5=None,
        points=size,
        result=evaluate_table(table, photon_order=photon_order),
        notes=(
            f"columns {', '.join(table.taken)}",
            *table.said,
            *grouped,
            *_spectra_of(table),
            *left_out_lines(table),
        ),
        counted=Tally(size, usable=table.usable),
        columns=TableColumns(
            names=table.taken,
            quantity=table.quantity,
            unit=table.unit,
            unit_stated=table.unit_stated,
            convention=table.convention,
            signal_unit=table.signal_unit,
            rows=size,
            used=table.usable,
            said=table.said,
            left_out=table.left_out,
        ),
    )


def evaluate_table(table: Table, edits: Edits = NO_EDITS, photon_order: int | None = None) -> SweepResult:
    """Fit a table, and whatever of the spectra it holds.

    The numbers of the result are in the table's own unit, which its thresholds carry.

    :param photon_order: 1 to 4; where it is not stated, every order is fitted that the exponent allows, and
        where these disagree the result is undecided.
    """
    curve, facts = _curve(table, edits)

    def fitted(order: int) -> SweepResult:
        return evaluate_curve(curve, replace(facts, photon_order=order))

    if photon_order is not None:
        return _in_own_unit(fitted(photon_order), table)
    orders = ORDERS if curve.signal.size == table.signal.size else _likely(fitted(2).threshold)
    return _in_own_unit(_together({n: fitted(n) for n in orders}), table)


def _likely(threshold: Threshold) -> tuple[int, ...]:
    """Return the orders worth a fit of many rows: those near the exponent that a first fit finds."""
    if threshold.exponent_ci95 is None:
        return ORDERS
    low, high = threshold.exponent_ci95
    return tuple(n for n in ORDERS if low - _NEAR <= n <= high + _NEAR) or ORDERS


def _curve(table: Table, edits: Edits) -> tuple[LightLight, RunFacts]:
    size = table.signal.size
    unknown = np.full(size, np.nan)
    curve = LightLight(
        fluence_uj_cm2=table.pump,
        fluence_set_uj_cm2=table.pump,
        fluence_sigma_rel=unknown if table.pump_sigma_rel is None else table.pump_sigma_rel,
        signal=table.signal,
        signal_sigma=unknown if table.signal_sigma is None else table.signal_sigma,
        dose_uj_cm2=np.zeros(size),
        reference=np.zeros(size, dtype=np.bool_),
        fwhm_nm=table.fwhm_nm,
        peak_count=table.peak_count,
        exposures=table.exposures,
        stated_sigma=table.signal_sigma is not None and table.exposures is None,
    )
    facts = RunFacts(convention=table.convention, edits=edits)
    if _usable(table).sum() <= MOST_POINTS:
        return curve, facts
    out = np.isin(np.arange(size), sorted(edits.left_out))
    return _grouped(replace(curve, signal=np.where(out, np.nan, curve.signal))), replace(
        facts, edits=NO_EDITS
    )


def _usable(table: Table) -> NDArray[np.bool_]:
    return np.isfinite(table.pump) & np.isfinite(table.signal)


def _grouped(curve: LightLight) -> LightLight:
    """Average neighbouring pumps, of as many points each: a fit of thousands of points takes minutes."""
    good = np.flatnonzero(np.isfinite(curve.fluence_uj_cm2) & np.isfinite(curve.signal))
    order = good[np.argsort(curve.fluence_uj_cm2[good], kind="stable")]
    parts = np.array_split(order, _GROUPS)

    def mean(values: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            return np.array(
                [float(np.nanmean(values[p])) if np.isfinite(values[p]).any() else np.nan for p in parts]
            )

    pump = mean(curve.fluence_uj_cm2)
    count = np.array([p.size for p in parts], dtype=np.float64)
    sigma = np.array([float(np.std(_straight(curve, p), ddof=1)) for p in parts]) / np.sqrt(count)
    zeros = np.zeros(pump.size)
    return LightLight(
        fluence_uj_cm2=pump,
        fluence_set_uj_cm2=pump,
        fluence_sigma_rel=np.full(pump.size, np.nan),
        signal=mean(curve.signal),
        signal_sigma=sigma,
        dose_uj_cm2=zeros,
        reference=np.zeros(pump.size, dtype=np.bool_),
        fwhm_nm=None if curve.fwhm_nm is None else mean(curve.fwhm_nm),
        peak_count=None if curve.peak_count is None else mean(curve.peak_count),
        exposures=count,
    )


def _straight(curve: LightLight, part: NDArray[np.intp]) -> FloatArray:
    """Signals of one group without what the pump inside of it explains."""
    x, y = curve.fluence_uj_cm2[part], curve.signal[part]
    x = x - x.mean()
    slope = float(x @ y / (x @ x)) if np.ptp(x) > 0 else 0.0
    return np.asarray(y - slope * x)


def _grouped_said(table: Table) -> str:
    return f"{table.usable} rows, averaged over neighbouring pumps to {_GROUPS} points for the fit"


# --- photon order ----------------------------------------------------------------------------------


def _together(results: Mapping[int, SweepResult]) -> SweepResult:
    """Choose among the results of each photon order, or say that nothing can be said without it."""
    found = [n for n in results if results[n].threshold.status == "found"] or list(results)
    nearest = min(found, key=lambda n: _off(results[n].threshold, n))
    ci95 = results[nearest].threshold.exponent_ci95
    low, high = (1.0, float(_UNBOUNDED)) if ci95 is None else ci95
    allowed = tuple(n for n in results if low - _SLACK <= n <= high + _SLACK) or (nearest,)
    chosen = results[nearest if nearest in allowed else allowed[0]]
    threshold = replace(chosen.threshold, orders_allowed=allowed)
    fits = [results[n].threshold for n in allowed]
    values = [f.threshold_uj_cm2 for f in fits if f.threshold_uj_cm2 is not None]
    held = [f.ci95 for f in fits if f.ci95 is not None]
    if not values:
        return replace(chosen, threshold=threshold)
    if len(values) == len(fits) and all(a <= v <= b for a, b in held for v in values):
        return replace(chosen, threshold=_over_orders(threshold, held))
    said = "; ".join(f"N = {n}: {results[n].threshold.reason or 'none'}" for n in allowed)
    reason = f"the photon order is not stated, and the fits differ: {said}"
    undecided = replace(
        threshold,
        status="not_found",
        reason=reason,
        threshold_uj_cm2=None,
        ci95=None,
        statistical_ci95=None,
        systematic_rel=None,
        flags=(*threshold.flags, PHOTON_ORDER),
    )
    verdict = None
    if chosen.verdict is not None:
        sentence = "the photon order decides: state it (--photon-order)"
        headline = HEADLINES["undecided"]
        verdict = replace(chosen.verdict, status="undecided", headline=headline, sentence=sentence)
    return replace(chosen, threshold=undecided, verdict=verdict, definitions=())


def _over_orders(threshold: BandThreshold, held: Sequence[Interval]) -> BandThreshold:
    """Widen the interval to those of all orders that are allowed."""
    ends = (min(low for low, _ in held), max(high for _, high in held))
    if ends == threshold.ci95:
        return threshold
    reason = (
        f"threshold {threshold.threshold_uj_cm2:.4g} uJ/cm2, 95 % interval {ends[0]:.4g} to {ends[1]:.4g}, "
        "over the photon orders that the exponent allows"
    )
    return replace(threshold, ci95=ends, reason=reason)


def _off(threshold: Threshold, order: int) -> float:
    return abs(order - (2.0 if threshold.exponent is None else threshold.exponent))


# --- own unit --------------------------------------------------------------------------------------

_PLURALS = {
    "pulse energy": "pulse energies",
    "intensity": "intensities",
    "carrier density": "carrier densities",
}


@dataclass(frozen=True, slots=True)
class _Words:
    """How a table names its pump."""

    quantity: str
    unit: str

    def of(self, text: str) -> str:
        """Write a sentence on fluences as one on this pump."""
        text = text.replace(UNIT_UJ_CM2, self.unit)
        if self.quantity == "fluence":
            return text
        plural = _PLURALS.get(self.quantity, f"{self.quantity}s")
        text = re.sub(r"\bfluences\b", plural, text)
        return re.sub(r"\bfluence\b", self.quantity, text)


def _in_own_unit(found: SweepResult, table: Table) -> SweepResult:
    """Say in a result of which quantity and unit its numbers are."""
    said = {"quantity": table.quantity, "unit": table.unit, "unit_stated": table.unit_stated}
    if table.unit != UNIT_UJ_CM2:
        found = _reworded(found, _Words(table.quantity, table.unit))
    return replace(
        found,
        threshold=replace(found.threshold, **said),  # type: ignore[arg-type]
        threshold_lasing=replace(found.threshold_lasing, **said),  # type: ignore[arg-type]
    )


def _reworded(value: T, words: _Words) -> T:
    made: Any = value
    if isinstance(value, str):
        made = words.of(value)
    elif is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: _reworded(getattr(value, f.name), words) for f in fields(value)}
        made = replace(value, **changed)
    elif isinstance(value, tuple):
        made = tuple(_reworded(item, words) for item in value)
    elif isinstance(value, Mapping):
        made = {key: _reworded(item, words) for key, item in value.items()}
    return made  # type: ignore[no-any-return]


# --- what is said of it ----------------------------------------------------------------------------


def _spectra_of(table: Table) -> tuple[str, ...]:
    given = {"FWHM": table.fwhm_nm, "peak count": table.peak_count}
    known = [name for name, values in given.items() if values is not None]
    return (f"from the spectra: {', '.join(known)}",) if known else ()


def left_out_lines(table: Table) -> list[str]:
    """Say of every line of the file that gives no point which it is, and why."""
    if not table.left_out:
        return []
    total = len(table.left_out)
    plural = "line" if total == 1 else "lines"
    reasons = sorted(table.left_out, key=lambda one: _kind_of(one))
    said = []
    for why, own in groupby(reasons, key=_kind_of):
        places = [one.line for one in own]
        said.append(f"{_places(places)}: {why}")
    return [f"{total} {plural} skipped: {'; '.join(said)}"]


def _kind_of(one: LeftOut) -> str:
    return one.why


def _places(lines: Sequence[int]) -> str:
    """Write line numbers short: "lines 3, 7 to 12"."""
    runs: list[list[int]] = []
    for line in sorted(lines):
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    shown = parts if len(parts) <= _FEW_LINES else [*parts[:_FEW_LINES], f"... ({len(lines)} in all)"]
    return f"{'line' if len(lines) == 1 else 'lines'} {', '.join(shown)}"
