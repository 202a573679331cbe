"""``labctl fit``: a stored run, or anybody's CSV, fitted again; several spots of one sample compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from labctl.analysis.budget import scale_rel
from labctl.analysis.energy_step import stored_step
from labctl.analysis.light_light import REFERENCE_FLAG, BandName, LightLight, middle_dose
from labctl.analysis.threshold import ThresholdResult
from labctl.data import read_run, read_table
from labctl.data.edits import left_out
from labctl.data.reader import is_sound_row
from labctl.data.run import Run
from labctl.data.table import Table
from labctl.model.errors import DataError
from labctl.model.regular import open_regular
from labctl.runner.conclude import shown_by_design, stored_doubt
from labctl.runner.fitting import Curve, fit_curve, threshold_mapping, typical_sigma
from labctl.runner.outcome import Tally, not_fitted, planned, tally
from labctl.runner.report import RunReport, more_of, plain
from labctl.runner.verdict import Design, Verdict, adaptive_mapping, judge

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def refit(path: Path) -> RunReport:
    """Fit one file again.

    :raises DataError: unreadable, neither a run nor a CSV with two numeric columns.
    """
    return _refit_run(read_run(path)) if _is_hdf5(path) else _refit_table(path)


def run_curve(run: Run, band: BandName = "emission") -> LightLight:
    """Return one band of a stored run; points that were left out by hand, or are damaged, are nan.

    :raises DataError: what was left out cannot be read.
    """
    usable = run.column("saturated_exposures") < run.column("exposures")
    usable[[*left_out(run), *_damaged(run), *_unjudged(run)]] = False
    whole = band == "emission"
    return LightLight(
        fluence_uj_cm2=run.fluence_uj_cm2,
        fluence_set_uj_cm2=run.column("fluence_set_uj_cm2"),
        fluence_sigma_rel=run.fluence_sigma_rel,
        signal=np.where(usable, run.signal if whole else run.peaks_signal, np.nan),
        signal_sigma=run.signal_sigma if whole else run.peaks_signal_sigma,
        dose_uj_cm2=middle_dose(run.column("dose_uj_cm2")),
        reference=np.array([REFERENCE_FLAG in flags for flags in run.flags], dtype=np.bool_),
        fwhm_nm=run.fwhm_nm,
        peak_count=run.column("peak_count"),
    )


def judge_run(run: Run) -> Verdict:
    """Fit a stored run again, as its plan wants it; one that says nothing of its sample says it again."""
    if why := not_fitted(run.start.plan, stored_doubt(run)):
        refused = ThresholdResult("refused", why, 0)
        return Verdict(refused, refused, run_curve(run))
    return judge(run_curve(run), run_curve(run, "lasing"), _design(run))


def _design(run: Run) -> Design:
    adaptive = run.result.get("adaptive")
    ended = adaptive.get("ended") if isinstance(adaptive, Mapping) else None
    design = Design.of(run.start.plan, _photon_order(run), ended if isinstance(ended, str) else None)
    return replace(design, energy_step=stored_step(run.result))


def spot_spread(runs: Sequence[RunReport]) -> list[dict[str, object]]:
    """Return, for each sample with thresholds of two or more spots, their spread from spot to spot.

    Runs of one spot count once, by their mean. Where any run names its spot, those that name none are left
    out: nobody knows where they were measured. Where none does, each run counts, and ``named`` is False.
    ``sd`` is the standard deviation over spots, ``rel`` the same over their mean, ``interval_rel`` the
    typical relative half-width of one spot's own 95 % interval, to be held against it.
    """
    spread: list[dict[str, object]] = []
    for sample in dict.fromkeys(run.sample for run in runs):
        every = [run for run in runs if run.sample == sample and _value(run) is not None]
        found = [run for run in every if run.spot] or every
        named = any(run.spot for run in found)
        places: dict[str, list[float]] = {}
        for number, run in enumerate(found):
            places.setdefault(run.spot if named else str(number), []).append(_value(run) or math.nan)
        values = np.array([np.mean(own) for own in places.values()], dtype=np.float64)
        if values.size < 2:
            continue
        mean, sd = float(values.mean()), float(values.std(ddof=1))
        half = [_half_width(run) for run in found]
        spread.append(
            {
                "sample": sample,
                "spots": int(values.size),
                "named": named,
                "mean": mean,
                "sd": sd,
                "rel": sd / mean,
                "lowest": float(values.min()),
                "highest": float(values.max()),
                "interval_rel": float(np.median([h for h in half if h is not None])) if any(half) else None,
                "unit": "uJ/cm2",
            }
        )
    return spread


def _refit_run(run: Run) -> RunReport:
    stored, verdict = run.result, judge_run(run)
    budget = stored.get("budget")
    q = stored.get("q")
    return RunReport(
        sample=run.start.sample,
        status=run.status,
        csv=run.csv_path if run.csv_path.exists() else None,
        h5=run.path,
        points=len(run),
        threshold=threshold_mapping(
            verdict.emission,
            convention=run.start.convention,
            band="emission",
            scale_rel=scale_rel(budget) if isinstance(budget, Mapping) else None,
        ),
        q=q if isinstance(q, Mapping) else {},
        spot=run.start.spot,
        notes=(
            *((f"{run.status}: {run.reason}",) if run.reason else ()),
            *_by_hand(run),
            *_said_of_damage(run),
            *_said_of_unjudged(run),
        ),
        more=_more(run, verdict),
        counted=tally(
            run.column("saturated_exposures"),
            run.column("exposures"),
            run.column("integration_s"),
            planned=planned(run.result),
            left_out=len({*left_out(run), *_damaged(run)}),
        ),
        doubt=stored_doubt(run),
    )


def _damaged(run: Run) -> list[int]:
    """Return the places of points whose numbers do not match their checksum."""
    return [at for at, row in enumerate(run.points) if not is_sound_row(row)]


def _said_of_damage(run: Run) -> tuple[str, ...]:
    bad = _damaged(run)
    told = f"damaged, and left out: point{'s' if len(bad) > 1 else ''} {', '.join(str(i + 1) for i in bad)}"
    return (f"{told} (labctl verify)",) if bad else ()


def _unjudged(run: Run) -> range:
    """Return the places of the points that a killed run took since its last closing was looked at.

    Its shutter was kept open between them; nobody knows what a next closing would have shown. A new dark is
    taken, and looked at, right after the first point that it belongs to.
    """
    if run.status != "killed" or not run.start.plan.get("keep_open"):
        return range(0)
    last = max((dark.number for dark in run.darks if dark.kind == "dark"), default=0)
    since = np.flatnonzero(run.column("dark_number") == last)
    return range(int(since[0]) + 1 if since.size else len(run), len(run))


def _said_of_unjudged(run: Run) -> tuple[str, ...]:
    if not (places := _unjudged(run)):
        return ()
    since = f"points from {places[0] + 1} on are left out"
    return (f"{since}: the run was killed before the closing after them was looked at",)


def _by_hand(run: Run) -> tuple[str, ...]:
    out = sorted(left_out(run))
    plural = "s" if len(out) > 1 else ""
    return (
        (f"{len(out)} point{plural} left out by hand: {', '.join(str(i + 1) for i in out)}",) if out else ()
    )


def _more(run: Run, verdict: Verdict) -> dict[str, object]:
    design, more = _design(run), more_of(run.result)
    if design.target_rel is not None:
        before = more.get("adaptive")
        reason = str(before.get("reason", "")) if isinstance(before, Mapping) else "broken off"
        own = int((~verdict.shown.reference).sum())
        more["adaptive"] = adaptive_mapping(verdict.emission, design, reason, own)
    more |= shown_by_design(verdict, design)
    return {key: plain(value) for key, value in more.items()}


def _refit_table(path: Path) -> RunReport:
    table = read_table(path)
    sigma = np.empty(0) if table.fluence_sigma_rel is None else table.fluence_sigma_rel
    light = (table.fluence_uj_cm2, table.signal, table.signal)
    curve = Curve(*light, typical_sigma(sigma), 2, table.fwhm_nm, table.peak_count)
    return RunReport(
        sample=path.stem,
        status="finished",
        csv=path,
        h5=None,
        points=int(table.signal.size),
        threshold=threshold_mapping(
            fit_curve(curve), convention=table.convention, band="emission", scale_rel=None
        ),
        q={},
        notes=(f"columns {', '.join(table.taken)}", *_spectra_of(table), *_not_numbers(table)),
        counted=Tally(int(table.signal.size), usable=int(table.signal.size) - _lost(table)),
    )


def _spectra_of(table: Table) -> tuple[str, ...]:
    given = {"FWHM": table.fwhm_nm, "peak count": table.peak_count}
    known = [name for name, values in given.items() if values is not None]
    return (f"from the spectra: {', '.join(known)}",) if known else ()


def _not_numbers(table: Table) -> tuple[str, ...]:
    lost = _lost(table)
    return (f"{lost} of {table.signal.size} rows left out: not two numbers",) if lost else ()


def _lost(table: Table) -> int:
    return int((~np.isfinite(table.fluence_uj_cm2) | ~np.isfinite(table.signal)).sum())


def _photon_order(run: Run) -> int:
    pump = run.start.config.get("pump")
    order = pump.get("photon_order") if isinstance(pump, Mapping) else None
    return order if isinstance(order, int) and order > 0 else 2


def _is_hdf5(path: Path) -> bool:
    try:
        with open_regular(path) as stream:
            return stream.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _value(run: RunReport) -> float | None:
    value = run.threshold.get("threshold_uj_cm2")
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _half_width(run: RunReport) -> float | None:
    value, interval = _value(run), run.threshold.get("ci95")
    if value is None or not isinstance(interval, (list, tuple)):
        return None
    low, high = cast("Sequence[float]", interval)
    return (high - low) / 2 / value
