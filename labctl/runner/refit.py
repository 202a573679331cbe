"""``labctl fit``: a stored run, or anybody's CSV, fitted again; several spots of one sample compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labctl.analysis.evaluation import evaluate
from labctl.analysis.evaluation.comparison import compared
from labctl.analysis.evaluation.stability import Stability
from labctl.analysis.fading import DecayFit
from labctl.analysis.spectra.spacing import in_common
from labctl.data import read_run
from labctl.data.run import Run
from labctl.data.tables.choosing import NOTHING_ASKED, Asked
from labctl.data.tables.table import is_hdf5
from labctl.model.errors import CalibrationRefused, DataError
from labctl.model.plan import StabilityPlan
from labctl.model.results.comparison import Comparison
from labctl.model.results.sweep import Edits
from labctl.model.run import RunFacts
from labctl.runner.report import RunReport, decimals, tally
from labctl.runner.table_fit import refit_table

STABILITY_ID = "stability/1"
"""The procedure of a stability run."""


def refit(path: Path, photon_order: int | None = None, asked: Asked = NOTHING_ASKED) -> RunReport:
    """Fit one file again.

    :param photon_order: photons that excite the sample together; None: as the bench file of a run states.
    :param asked: columns and unit of a table that the user names.
    :raises TableUnclear: two readings of a table are possible.
    :raises DataError: unreadable, neither a run nor a table of pump and signal.
    """
    if not is_hdf5(path):
        return refit_table(path, photon_order, asked)
    return report_of(read_run(path), photon_order)


def refit_stability(run: Run) -> tuple[Stability, DecayFit]:
    """Fit a stored stability run again, as it was fitted then.

    :raises DataError: it is none.
    :raises CalibrationRefused: nothing can be fitted.
    """
    if run.start.procedure != STABILITY_ID:
        raise DataError(f"{run.path} is a run of {run.start.procedure}, not a stability run")
    plan, facts = run.plan, run.facts
    if facts.doubt:
        raise CalibrationRefused(facts.doubt)
    assert isinstance(plan, StabilityPlan)
    scalars = [run.scalars(n) for n in range(len(run))]
    measured = Stability.of(scalars, facts.photon_order, facts.edits.left_out | facts.damaged)
    return measured, measured.fit(plan.model, constant=plan.constant)


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


@dataclass(frozen=True, slots=True)
class SpotSpread:
    """How far the spots of one sample differ, in ``unit``.

    :param spots: how many there are; ``named`` whether the runs name them, else each run counts as one.
    :param sd: standard deviation of their thresholds over spots, ``rel`` the same over their ``mean``.
    :param interval_rel: typical relative half-width of one spot's own 95 % interval, to be held against it.
    :param lines_shared: share of the lines that recur at another spot, mean over pairs; None without lines.
    :param lines_by_chance: share that would recur if the places did not know of each other.
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
    lines_shared: float | None = None
    lines_by_chance: float | None = None


SAME_LINE_NM = 0.15
"""How far a line may be off at another spot to count as the same."""


def _lines_shared(runs: Sequence[RunReport]) -> tuple[float | None, float | None]:
    """Compare the lines of every two spots."""
    found = [run.result.randomness for run in runs]
    lines = [one.wavelength_nm for one in found if one is not None and one.wavelength_nm]
    pairs = [
        in_common(a, b, SAME_LINE_NM) for i, a in enumerate(lines) for j, b in enumerate(lines) if i != j
    ]
    if not pairs:
        return None, None
    shared, chance = np.mean(pairs, axis=0)
    return float(shared), float(chance)


def spot_spread(runs: Sequence[RunReport]) -> list[SpotSpread]:
    """Return, for each sample with thresholds of two or more spots, their spread from spot to spot.

    Runs whose pumps differ in quantity, unit or convention are not taken together. Runs of one spot count
    once, by their mean. Where any run names its spot, those that name none are left
    out: nobody knows where they were measured.
    """
    spread: list[SpotSpread] = []
    kinds = [(r.sample, r.threshold.quantity, r.threshold.unit, r.threshold.convention) for r in runs]
    for kind in dict.fromkeys(kinds):
        sample, _, unit, _ = kind
        own_kind = [run for run, k in zip(runs, kinds, strict=True) if k == kind]
        every = [run for run in own_kind if run.threshold.threshold_uj_cm2 is not None]
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
        one_each = {run.spot if named else str(number): run for number, run in enumerate(found)}
        made = SpotSpread(sample, values.size, named, mean, sd, sd / mean, low, high, own, unit)
        shared, chance = _lines_shared(list(one_each.values()))
        spread.append(replace(made, lines_shared=shared, lines_by_chance=chance))
    return spread


def spread_line(spread: SpotSpread) -> str:
    """Say how far spots of one sample differ, beside what one spot's interval covers."""
    own = spread.interval_rel
    of = "spots" if spread.named else "runs without spot names"
    beside = "" if own is None else f"; one spot's own 95 % interval is +-{100 * own:.1f} %"
    lines = ""
    if spread.lines_shared is not None and spread.lines_by_chance is not None:
        lines = (
            f"; {spread.lines_shared:.0%} of the lines recur at another spot, "
            f"{spread.lines_by_chance:.0%} would by chance"
        )
    return (
        f"{spread.sample}: {spread.spots} {of}, mean {decimals(spread.mean)} {spread.unit}, "
        f"from spot to spot {decimals(spread.sd)} {spread.unit} "
        f"({100 * spread.rel:.1f} %, one standard deviation){beside}{lines}"
    )


def report_of(run: Run, photon_order: int | None = None) -> RunReport:
    """Return what is said of a stored run, evaluated anew.

    :param photon_order: instead of what its bench file states.
    """
    facts = run.facts if photon_order is None else replace(run.facts, photon_order=photon_order)
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


def _value(run: RunReport) -> float:
    value = run.threshold.threshold_uj_cm2
    return math.nan if value is None else value


def _half_width(run: RunReport) -> float | None:
    value, interval = run.threshold.threshold_uj_cm2, run.threshold.ci95
    return None if value is None or interval is None else (interval[1] - interval[0]) / 2 / value
