"""``labctl fit``: a stored run, or anybody's CSV, fitted again; several spots of one sample compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labctl.analysis.evaluation import evaluate, evaluate_curve
from labctl.analysis.evaluation.comparison import compared
from labctl.analysis.light_light import LightLight
from labctl.data import read_run, read_table
from labctl.data.run import Run
from labctl.data.table import Table, is_hdf5
from labctl.model.comparison import Comparison
from labctl.model.results import NO_EDITS, Edits, SweepResult
from labctl.model.run import RunFacts
from labctl.runner.report import RunReport, Tally, tally


def refit(path: Path) -> RunReport:
    """Fit one file again.

    :raises DataError: unreadable, neither a run nor a CSV with two numeric columns.
    """
    return report_of(read_run(path)) if is_hdf5(path) else _refit_table(path)


def compare(*files: Path | str) -> Comparison:
    """Compare the samples of several files: the ratio of their thresholds, and what of their light they kept.

    Links of the chain that both runs share cancel in the ratio; the others are added, and named.

    :param files: runs, or tables, which are named after their sample; of two samples or more.
    :raises DataError: one is unreadable, or neither a run nor a table.

    >>> from labctl import compare                                       # doctest: +SKIP
    >>> compare("OLA.h5", "OAm.h5").ratios[0].ci95                       # doctest: +SKIP
    (0.306, 0.312)
    """
    return compared([refit(Path(file)).compared for file in files])


def evaluate_table(table: Table, edits: Edits = NO_EDITS) -> SweepResult:
    """Fit a table: two photons, and whatever of the spectra it holds."""
    size = table.signal.size
    unknown = np.full(size, np.nan)
    sigma = unknown if table.fluence_sigma_rel is None else table.fluence_sigma_rel
    curve = LightLight(
        fluence_uj_cm2=table.fluence_uj_cm2,
        fluence_set_uj_cm2=table.fluence_uj_cm2,
        fluence_sigma_rel=sigma,
        signal=table.signal,
        signal_sigma=unknown if table.signal_sigma is None else table.signal_sigma,
        dose_uj_cm2=np.zeros(size),
        reference=np.zeros(size, dtype=np.bool_),
        fwhm_nm=table.fwhm_nm,
        peak_count=table.peak_count,
    )
    return evaluate_curve(curve, RunFacts(convention=table.convention, edits=edits))


@dataclass(frozen=True, slots=True)
class SpotSpread:
    """How far the spots of one sample differ, fluences in uJ/cm2.

    :param spots: how many there are; ``named`` whether the runs name them, else each run counts as one.
    :param sd: standard deviation of their thresholds over spots, ``rel`` the same over their ``mean``.
    :param interval_rel: typical relative half-width of one spot's own 95 % interval, to be held against it.
    """

    sample: str
    spots: int
    named: bool
    mean: float
    sd: float
    rel: float
    lowest: float
    highest: float
    interval_rel: float | None
    unit: str = "uJ/cm2"


def spot_spread(runs: Sequence[RunReport]) -> list[SpotSpread]:
    """Return, for each sample with thresholds of two or more spots, their spread from spot to spot.

    Runs of one spot count once, by their mean. Where any run names its spot, those that name none are left
    out: nobody knows where they were measured.
    """
    spread: list[SpotSpread] = []
    for sample in dict.fromkeys(run.sample for run in runs):
        every = [run for run in runs if run.sample == sample and run.threshold.threshold_uj_cm2 is not None]
        found = [run for run in every if run.spot] or every
        named = any(run.spot for run in found)
        places: dict[str, list[float]] = {}
        for number, run in enumerate(found):
            places.setdefault(run.spot if named else str(number), []).append(_value(run))
        values = np.array([np.mean(own) for own in places.values()], dtype=np.float64)
        if values.size < 2:
            continue
        mean, sd = float(values.mean()), float(values.std(ddof=1))
        half = [width for run in found if (width := _half_width(run)) is not None]
        own = float(np.median(half)) if half else None
        low, high = float(values.min()), float(values.max())
        spread.append(SpotSpread(sample, values.size, named, mean, sd, sd / mean, low, high, own))
    return spread


def report_of(run: Run) -> RunReport:
    """Return what is said of a stored run, evaluated anew."""
    facts = run.facts
    meter = run.start.identities.get("power_meter")
    return RunReport(
        sample=run.start.sample,
        meter="" if meter is None else meter.serial,
        status=run.status,
        csv=run.csv_path if run.csv_path.exists() else None,
        h5=run.path,
        points=len(run),
        result=evaluate(run, run.plan, facts),
        spot=run.start.spot,
        notes=(
            *((f"{run.status}: {run.reason}",) if run.reason else ()),
            *_by_hand(facts.edits),
            *_said_of_damage(facts),
            *_said_of_unjudged(facts),
        ),
        counted=tally(
            run.column("saturated_exposures"),
            run.column("exposures"),
            run.column("integration_s"),
            planned=facts.planned,
            left_out=len(facts.edits.left_out | facts.damaged),
        ),
    )


def _said_of_damage(facts: RunFacts) -> tuple[str, ...]:
    bad = sorted(facts.damaged)
    told = f"damaged and excluded: point{'s' if len(bad) > 1 else ''} {', '.join(str(i + 1) for i in bad)}"
    return (f"{told} (labctl verify)",) if bad else ()


def _said_of_unjudged(facts: RunFacts) -> tuple[str, ...]:
    if not facts.unjudged:
        return ()
    since = f"points from {min(facts.unjudged) + 1} on are excluded"
    return (f"{since}: the run was killed before the shutter was checked after them",)


def _by_hand(edits: Edits) -> tuple[str, ...]:
    out, bands = sorted(edits.left_out), edits.bands
    plural = "s" if len(out) > 1 else ""
    said = [f"{len(out)} point{plural} excluded by user: {', '.join(str(i + 1) for i in out)}"] if out else []
    if bands is not None:
        ends = (f"{low:.4g} to {high:.4g} nm" for low, high in (bands.emission_nm, bands.lasing_nm))
        said.append("bands changed by user: emission {}, lasing {}".format(*ends))
    return tuple(said)


def _refit_table(path: Path) -> RunReport:
    table = read_table(path)
    size = int(table.signal.size)
    return RunReport(
        sample=path.stem,
        status="finished",
        csv=path,
        h5=None,
        points=size,
        result=evaluate_table(table),
        notes=(f"columns {', '.join(table.taken)}", *_spectra_of(table), *_not_numbers(table)),
        counted=Tally(size, usable=size - _lost(table)),
    )


def _spectra_of(table: Table) -> tuple[str, ...]:
    given = {"FWHM": table.fwhm_nm, "peak count": table.peak_count}
    known = [name for name, values in given.items() if values is not None]
    return (f"from the spectra: {', '.join(known)}",) if known else ()


def _not_numbers(table: Table) -> tuple[str, ...]:
    lost = _lost(table)
    return (f"{lost} of {table.signal.size} rows skipped: not two numbers",) if lost else ()


def _lost(table: Table) -> int:
    return int((~np.isfinite(table.fluence_uj_cm2) | ~np.isfinite(table.signal)).sum())


def _value(run: RunReport) -> float:
    value = run.threshold.threshold_uj_cm2
    return math.nan if value is None else value


def _half_width(run: RunReport) -> float | None:
    value, interval = run.threshold.threshold_uj_cm2, run.threshold.ci95
    return None if value is None or interval is None else (interval[1] - interval[0]) / 2 / value
