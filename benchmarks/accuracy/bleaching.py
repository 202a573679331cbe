"""Does a default sweep cover the fresh sample's threshold while the sample bleaches, by laws it is not told?

    python -m benchmarks.accuracy.bleaching --trials 200 [--seed 1] [--noise 1] [--curve hinge]

Whole sweeps by the default plan, in memory: the product's own plan chooses fluences, references and repeats,
exposures get shorter where the sample is bright, and each point is given with its dose; then the one
evaluation of a run. Lost are emitters (their part q left: the threshold rises as q^-1/2) or signal alone, at
a rate ~ F, F^2 or F^4; or partly, for 0.4 recovers within 300 s; or emitters are gained.

The oracle has the same points, the same fit and the true law, but not its amount: it weighs amounts by the
references and the curve. "no lines" gives a table's evidence alone.
"""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.tables import Array, column, rms, share, show, table
from benchmarks.trials import found, parser
from labctl.analysis.evaluation import evaluate, fit_curve
from labctl.analysis.light_light import LightLight, light_light
from labctl.model.plan import SweepPlan
from labctl.model.records import SweepPoint
from labctl.model.run import RunFacts
from procedures.plan import Step, reference_fluence
from procedures.steps import PlannedSource, ReferencedSource, StepSource

ONSET, COUNTS, CONTRAST, SATURATION = 79.81, 580.0, 12.0, 25.0
ORDER, EXPOSURES, POINT_S, RECOVERY_S, RECOVERS = 2, 10, 6.5, 300.0, 0.4
LADDER = (500.0, 200.0, 100.0)


@dataclass(frozen=True, slots=True)
class Law:
    """What becomes of the sample: part lost over the run (negative: gained), rate ~ F^exponent."""

    name: str
    lost: float = 0.0
    exponent: float = 2.0
    signal: bool = False
    recovers: float = 0.0

    def ln_left(self, rate: float, dose: Array, at_s: Array) -> Array:
        """Logarithm of the part left after doses of the law's order, shape (n,), at times."""
        if not self.recovers:
            return -rate * dose
        passing, before, last_s = 0.0, 0.0, 0.0
        out = np.empty_like(dose)
        for i, (d, t) in enumerate(zip(dose, at_s, strict=True)):
            passing = passing * math.exp(-(t - last_s) / RECOVERY_S) + self.recovers * (d - before)
            out[i] = -rate * ((1 - self.recovers) * d + passing)
            before, last_s = d, t
        return out


def laws(lost: float) -> list[Law]:
    per = f"{100 * lost:.0f} %"
    return [
        *(Law(f"emitters, F^{m:g}, {per}", lost, m) for m in (1.0, 2.0, 4.0)),
        Law(f"emitters, F^2, part recovers, {per}", lost, recovers=RECOVERS),
        Law(f"emitters gained, F^1, {per}", -lost, 1.0),
        *(Law(f"signal, F^{m:g}, {per}", lost, m, signal=True) for m in (1.0, 2.0)),
    ]


@dataclass(frozen=True, slots=True)
class Case:
    law: Law
    seed: int
    noise: float
    curve: str
    lines: bool
    references: bool = True


def brightness(u: Array, curve: str) -> Array:
    """Counts per pulse at fluences over the onset."""
    over = np.maximum(u - 1, 0.0)
    if curve == "square":
        over = np.maximum(u**2 - 1, 0.0) / 2
    excess = over if curve == "hinge" else over / (1 + over / SATURATION)
    return np.asarray(COUNTS * (u**2 + CONTRAST * excess))


class Film:
    """One sweep over a sample that follows a law; the light so far is kept as dose of the law's order."""

    def __init__(self, case: Case, rate: float) -> None:
        self.case, self.rate = case, rate
        self.rng = np.random.default_rng([case.seed, round(1000 * case.noise)])
        self.dose: list[float] = []
        self.at_s: list[float] = []
        self.spent = self.given = 0.0

    def point(self, step: Step) -> SweepPoint:
        case, rng, law = self.case, self.rng, self.case.law
        true = step.fluence_uj_cm2 * (1 + 0.005 * rng.standard_normal())
        fresh = float(brightness(np.array([true / ONSET]), case.curve)[0])
        each = next((p for p in LADDER if fresh * p < 2e6), LADDER[-1])
        pulses = EXPOSURES * each + 120.0
        own = pulses * (true / ONSET) ** law.exponent
        self.dose.append(self.spent + own / 2)
        self.at_s.append(POINT_S * (len(self.at_s) + 0.5))
        self.spent += own
        self.given += pulses * true
        left = float(law.ln_left(self.rate, np.array(self.dose), np.array(self.at_s))[-1])
        excited = true / ONSET * (1.0 if law.signal else math.exp(left / ORDER))
        mean = float(brightness(np.array([excited]), case.curve)[0]) * (math.exp(left) if law.signal else 1.0)
        sigma = math.hypot(case.noise * mean, 0.5)
        told = sigma * math.sqrt(rng.chisquare(EXPOSURES - 1) / (EXPOSURES - 1))
        lases = case.lines and excited > 1.02
        return SweepPoint(
            index=step.index, direction=step.direction, fluence_set_uj_cm2=step.fluence_uj_cm2,
            fluence_uj_cm2=true * (1 + 0.0015 * rng.standard_normal()), fluence_sigma_rel=0.0015,
            pulse_energy_j=1e-8, angle_deg=0.0, power_before_w=1e-6, power_after_w=1e-6, power_sigma_w=1e-9,
            integration_s=each / 1000, exposures=EXPOSURES, pulses_per_exposure=each,
            signal=mean + sigma * rng.standard_normal(), signal_sigma=told,
            peaks_signal=math.nan, peaks_signal_sigma=math.nan,
            fwhm_nm=(0.5 if lases else 25.0) if case.lines else None, equivalent_width_nm=None,
            peak_count=3 if lases else 0, peak_wavelength_nm=None, exposure_cv=case.noise, saturation=0.5,
            saturated_exposures=0, spikes_removed=0, dark_number=0, blank_number=None, temperature_c=None,
            dose_uj_cm2=self.given, elapsed_s=self.at_s[-1], flags=("reference",) if step.reference else (),
            frames=np.empty((0, 0)), spectrum=np.empty(0),
        )  # fmt: skip


def measured(case: Case, rate: float) -> tuple[Film, list[SweepPoint], SweepPlan]:
    plan = SweepPlan() if case.references else SweepPlan(reference_every=0)
    fluence = reference_fluence(plan)
    own: StepSource = PlannedSource(plan)
    source = own if fluence is None else ReferencedSource(own, plan, fluence, ORDER)
    film = Film(case, rate)
    points: list[SweepPoint] = []
    while (step := source.next(points)) is not None:
        points.append(film.point(step))
    return film, points, plan


@dataclass(frozen=True, slots=True)
class Outcome:
    found: bool
    off: float
    covers: bool
    half: float
    oracle_off: float
    oracle_covers: bool
    oracle_half: float
    flagged: bool
    silent: bool
    seconds: float
    law: str
    lost: float


QUIET = {"bleaching_not_tested", "bleaching_not_measured", "bleaching", "brightening", "bleaching_corrected"}
LOUD = {"misfit", "outlier", "few_above", "drift", "exponent", *QUIET}


def run(case: Case) -> Outcome:
    rate = 0.0
    if case.law.lost:
        film, _, _ = measured(replace(case, law=replace(case.law, lost=0.0)), 0.0)
        at = np.array([*film.dose[:-1], film.spent])
        rate = math.log(1 - case.law.lost) / float(
            replace(case.law, lost=1.0).ln_left(1.0, at, np.array(film.at_s))[-1]
        )
        rate = rate if rate * case.law.lost > 0 else -rate
    film, points, plan = measured(case, rate)
    began = time.process_time()
    result = evaluate(points, plan, RunFacts(ORDER))
    seconds = time.process_time() - began
    t, b = result.threshold, result.bleaching
    low, high = t.ci95 or (math.nan, math.nan)
    covers = low <= ONSET <= high
    value, ends = oracle(film, light_light(points))
    return Outcome(
        found=t.status == "found",
        off=(t.threshold_uj_cm2 or math.nan) / ONSET - 1,
        covers=covers,
        half=(high - low) / 2 / ONSET,
        oracle_off=value / ONSET - 1,
        oracle_covers=ends[0] <= ONSET <= ends[1],
        oracle_half=(ends[1] - ends[0]) / 2 / ONSET,
        flagged=bool({"bleaching", "brightening"} & set(t.flags)),
        silent=t.status == "found" and not covers and not LOUD & set(t.flags),
        seconds=seconds,
        law="" if b is None or not b.laws else max(b.laws, key=lambda name: b.laws[name]),
        lost=math.nan if b is None else b.change_rel,
    )


def oracle(film: Film, curve: LightLight) -> tuple[float, tuple[float, float]]:
    """Weigh amounts of the true law: each by references and curve, with the exact noise."""
    case, law = film.case, film.case.law
    per = law.ln_left(1.0, np.array(film.dose), np.array(film.at_s))
    refs = curve.reference & (curve.fluence_set_uj_cm2 < 0.8 * ONSET)
    curve = replace(curve, reference=refs)
    if not refs.any():
        refs = curve.fluence_set_uj_cm2 < 0
    sigma = np.hypot(case.noise * curve.signal, 0.5)
    ln = np.log(curve.signal) - ORDER * np.log(curve.fluence_uj_cm2)
    error = np.hypot(sigma / curve.signal, ORDER * 0.0015)
    if not law.lost:
        per = np.zeros_like(per)
    x, y, w = per[refs], ln[refs], error[refs] ** -2
    dx = x - x @ w / max(w.sum(), 1e-9)
    around, spread = (0.0, 0.0)
    if law.lost:
        around, spread = float(dx * w @ y / (dx**2 @ w)), float((dx**2 @ w) ** -0.5)
    rows = []
    for z in np.linspace(-2, 2, 5) if law.lost else (0.0,):
        left = per * (around + z * spread)
        fresh = replace(curve, signal=curve.signal * np.exp(-left)) if law.signal else replace(
            curve, fluence_uj_cm2=curve.fluence_uj_cm2 * np.exp(left / ORDER)
        )  # fmt: skip
        r = fit_curve(fresh, ORDER)
        if r.ci95 is None or r.model is None or r.threshold_uj_cm2 is None:
            continue
        fitted = r.model.best(fresh.fluence_uj_cm2) * (np.exp(left) if law.signal else 1.0)
        rest = ((curve.signal - fitted) / np.hypot(sigma, ORDER * 0.0015 * curve.signal))[~refs]
        middle = math.log(r.threshold_uj_cm2)
        sides = [abs(math.log(end) - middle) / 1.96 for end in r.ci95]
        rows.append((-0.5 * z**2 - 0.5 * float(rest @ rest), middle, *sides))
    if not rows:
        return math.nan, (math.nan, math.nan)
    weight, middle, down, up = np.array(rows).T
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    z = np.linspace(-4, 4, 801)
    density = np.exp(-0.5 * z**2)
    values = np.where(z < 0, z * down[:, None], z * up[:, None]) + middle[:, None]
    order = np.argsort(values.ravel())
    chance = np.cumsum((weight[:, None] * density).ravel()[order])
    ends = np.interp((0.025, 0.975), chance / chance[-1], values.ravel()[order])
    return math.exp(weight @ middle), (math.exp(ends[0]), math.exp(ends[1]))


HEADS = (
    "law", "found %", "covers %", "bias %", "RMSE %", "half-width %", "oracle: covers", "bias",
    "half-width", "ratio", "flagged %", "silent %", "ms", "change seen %", "likeliest law",
)  # fmt: skip


def row(name: str, outcomes: list[Outcome]) -> tuple[object, ...]:
    half, theirs = (np.nanmedian(column(outcomes, k)) for k in ("half", "oracle_half"))
    names = [o.law for o in outcomes]
    best = max(set(names), key=names.count)
    return (
        name,
        f"{share(column(outcomes, 'found')):.0f}",
        f"{share([o.covers for o in outcomes if o.found]):.1f}",
        f"{100 * np.nanmean(column(outcomes, 'off')):+.2f}",
        f"{100 * rms(column(outcomes, 'off')):.2f}",
        f"{100 * half:.2f}",
        f"{share(column(outcomes, 'oracle_covers')):.1f}",
        f"{100 * np.nanmean(column(outcomes, 'oracle_off')):+.2f}",
        f"{100 * theirs:.2f}",
        f"{half / theirs:.2f}",
        f"{share(column(outcomes, 'flagged')):.0f}",
        f"{share(column(outcomes, 'silent')):.1f}",
        f"{1000 * np.median(column(outcomes, 'seconds')):.0f}",
        f"{100 * np.nanmedian(column(outcomes, 'lost')):+.1f}",
        f"{best or '-'} ({share([n == best for n in names]):.0f} %)",
    )


def _rows(wanted: Namespace) -> Iterator[tuple[object, ...]]:
    chosen = [Law("stable"), *laws(0.1), *laws(0.3)]
    lines = wanted.lines == "yes"

    def cell(name: str, law: Law, references: bool = True) -> tuple[object, ...]:
        seeds = range(100_000 * wanted.seed, 100_000 * wanted.seed + wanted.trials)
        cases = [Case(law, s, wanted.noise / 100, wanted.curve, lines, references) for s in seeds]
        return row(name, list(found(run, cases, wanted.jobs)))

    if not wanted.only:
        yield cell("stable, no references", Law("stable"), references=False)
    yield from (cell(law.name, law) for law in chosen if wanted.only in law.name)


def main() -> None:
    made = parser(__doc__, trials=200, seed=1, noise=1.0, curve="hinge", lines="yes", jobs=2, only="")
    show(table(HEADS, _rows(made.parse_args())))


if __name__ == "__main__":
    main()
