"""What is said of a run when it is over: the same plain values for the JSON, the table and the file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.budget import UNKNOWN_PULSE_WIDTH, scale_statement
from labctl.analysis.threshold import START_LOWER
from labctl.analysis.threshold.fit import MIN_POINTS
from labctl.data.tables.errors import LeftOut
from labctl.model.mapping import plain
from labctl.model.results.comparison import Comparison, RetainedDifference, SampleRun, ThresholdRatio
from labctl.model.results.shot_statistics import ShotStatistics
from labctl.model.results.sweep import (
    AdaptiveEnding,
    BandThreshold,
    BleachingResult,
    Hysteresis,
    Interval,
    StabilityResult,
    SweepResult,
    Threshold,
)
from labctl.runner.meaning import sentences

Tone = Literal["good", "plain", "warn", "danger"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What of a run can be counted.

    :param planned: points that were wanted, at most; None where nobody knows.
    :param saturated: points all exposures of which were saturated.
    :param shortest_s: the shortest exposure of those; None where there are none.
    :param usable: points that take part in the fit.
    """

    points: int
    planned: int | None = None
    saturated: int = 0
    shortest_s: float | None = None
    usable: int = 0

    @property
    def all_saturated(self) -> bool:
        """Whether not one point can be used, for too much light."""
        return 0 < self.points == self.saturated


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said of a run's threshold.

    :param headline: a few words instead of a number; empty where there is a number or a bound.
    :param reason: one sentence or more; fluences in uJ/cm2.
    """

    headline: str
    reason: str
    tone: Tone


def tally(
    saturated_exposures: ArrayLike,
    exposures: ArrayLike,
    integration_s: ArrayLike,
    *,
    planned: int | None = None,
    left_out: int = 0,
) -> Tally:
    """Count the points of a run; the arrays have shape ``(n,)``, nan where a table has no such column.

    :param left_out: of the points that are not saturated.
    """
    bad, all_of, seconds = (
        np.asarray(values, dtype=np.float64) for values in (saturated_exposures, exposures, integration_s)
    )
    clipped = is_clipped(bad, all_of)
    count = int(clipped.sum())
    shortest = float(np.nanmin(seconds[clipped])) if count and np.isfinite(seconds[clipped]).any() else None
    return Tally(bad.size, planned, count, shortest, bad.size - count - left_out)


def is_clipped(saturated_exposures: ArrayLike, exposures: ArrayLike) -> NDArray[np.bool_]:
    """Whether each point has not one unsaturated exposure: its peaks have neither height, width nor Q."""
    bad, all_of = np.asarray(saturated_exposures), np.asarray(exposures)
    return np.asarray((bad >= all_of) & (all_of > 0), dtype=np.bool_)


def outcome(threshold: Threshold, status: str, counted: Tally) -> Outcome:
    """Say what is known of a run's threshold, or why nothing is.

    :param status: "running", or how the run ended.
    """
    reason = threshold.reason
    if counted.all_saturated:
        return Outcome(saturation(counted).partition(":")[0], saturation(counted), "danger")
    broken_off = "" if status in ("running", "finished") else ended(status, counted)
    reason = "; ".join(part for part in (broken_off, saturation(counted), reason) if part)
    if threshold.threshold_uj_cm2 is not None:
        return Outcome("", reason, "good")
    found = threshold.status
    if START_LOWER in threshold.flags:
        return Outcome("start lower", reason, "warn")
    if status == "running":
        return Outcome({"refused": "not yet", "not_found": "none found"}.get(found, ""), reason, "plain")
    if broken_off and found in ("refused", "not_found"):
        return Outcome(broken_off, reason, "warn")
    if found != "refused":
        return Outcome(found.replace("_", " "), reason, "warn")
    few = 0 < counted.usable < MIN_POINTS
    none = f"no threshold: {_points(counted.usable)}, at least {MIN_POINTS} needed" if few else "no threshold"
    return Outcome(none, reason, "warn")


def ended(status: str, counted: Tally) -> str:
    """Say how a run ended and how far it had come.

    >>> ended("aborted", Tally(2, 24)), ended("failed", Tally(0, 24))
    ('aborted after 2 of 24 points', 'failed before the first point')
    """
    if status == "finished":
        return f"finished: {_points(counted.points)}"
    if not counted.points:
        return f"{status} before the first point"
    of = f"{counted.points} of {_points(counted.planned)}" if counted.planned else _points(counted.points)
    return f"{status} after {of}"


def saturation(counted: Tally) -> str:
    """Say how many points were saturated throughout, and what to do; empty where none was."""
    if not counted.saturated:
        return ""
    share = f"{counted.saturated} of {_points(counted.points)} saturated"
    if not counted.all_saturated:
        return f"{share} and left out"
    floor = "the light was too bright"
    if counted.shortest_s is not None and math.isfinite(counted.shortest_s):
        floor = f"the exposure could not go below {counted.shortest_s:g} s"
    return f"{share}: {floor}; lower the fluence, or insert an ND filter"


def decimals(value: float) -> str:
    """Return two decimals, or four digits of a small or a large number.

    >>> decimals(79.628), decimals(0.079628)
    ('79.63', '0.07963')
    """
    return f"{value:.2f}" if 1 <= abs(value) < 1e6 else f"{value:.4g}"


def _points(count: int | None) -> str:
    return "1 point" if count == 1 else f"{count} points"


def headline_of(result: SweepResult) -> str:
    """Say in a few words what kink, linewidth and lines show together; empty where nothing was fitted."""
    return "" if result.verdict is None else result.verdict.headline


def verdict_lines(result: SweepResult) -> list[str]:
    """Say the same with what follows from it, then why: one clause for each witness."""
    verdict = result.verdict
    if verdict is None:
        return []
    return [f"{verdict.headline}: {verdict.sentence}", "; ".join(w.reason for w in verdict.witnesses)]


PHOTONS = {1: "one-photon", 2: "two-photon", 3: "three-photon", 4: "four-photon"}
_OFF = 0.1
"""An exponent this far off is still that of a whole number of photons: no luminescence is a pure power."""
_SHIFTS = "saturation, baseline and bleaching shift it, bimolecular recombination doubles it"


def exponent_line(threshold: Threshold) -> str:
    """Say with which power the luminescence grows, what that is consistent with, and what was fitted."""
    order, exponent, ci95 = threshold.photon_order, threshold.exponent, threshold.exponent_ci95
    if order is None:
        return ""
    if exponent is None or ci95 is None:
        said = "the exponent of the luminescence is not determined"
    else:
        where = "below the onset" if threshold.threshold_uj_cm2 is not None else "over the scan"
        fits = [name for n, name in PHOTONS.items() if ci95[0] - _OFF <= n <= ci95[1] + _OFF]
        power = f"F^{exponent:.2f} (95 %: {ci95[0]:.2f} to {ci95[1]:.2f})"
        means = f"consistent with {' and '.join(fits)} pumping" if fits else "no whole number of photons"
        proof = "; no proof" if fits else ""
        said = f"{where} the luminescence grows as {power}: {means}{proof} ({_SHIFTS})"
    allowed = threshold.orders_allowed
    if not allowed:
        return f"{said}; fitted as {PHOTONS[order]} pumping (photon_order = {order})"
    names = " and ".join(PHOTONS[n] for n in allowed)
    return f"{said}; the photon order is not stated, {names} pumping fitted (--photon-order states it)"


def definition_lines(result: SweepResult) -> list[str]:
    """Say what each definition of the threshold in use gives, one line each, in the unit of the threshold."""
    unit = result.threshold.unit
    return [
        f"{d.label}: not defined here: {d.reason}"
        if d.value_uj_cm2 is None
        else f"{d.label}: {d.value_uj_cm2:.4g}"
        + (f" ({d.ci95[0]:.4g} to {d.ci95[1]:.4g}) {unit}" if d.ci95 else f" {unit}")
        + (f"; {d.note}" if d.note else "")
        for d in result.definitions
    ]


_NUMBER = re.compile(
    r"^threshold [\d.e+-]+ \S+(?: \S+){0,2}?(?: \(onset\))?, 95 % interval [\d.e+-]+ to [\d.e+-]+[;,]? ?"
)


def beside_number(reason: str) -> str:
    """Return what a reason says beside the number and the interval, for where these are shown already.

    >>> beside_number("threshold 79.6 uJ/cm2 (onset), 95 % interval 78.9 to 80.4; provisional")
    'provisional'
    """
    return _NUMBER.sub("", reason)


def more_lines(result: SweepResult) -> list[str]:
    """Say how light grows, what lines, reference and way back show, how it faded, how a sweep ended."""
    exponent = exponent_line(result.threshold)
    return [
        *([exponent] if exponent and result.stability is None else []),
        *([] if result.modes is None or not result.modes.modes else [result.modes.text]),
        *([] if result.randomness is None else [result.randomness.text]),
        *([_shots_line(result.shots)] if result.shots else []),
        *([] if result.adaptive is None else [_adaptive_line(result.adaptive)]),
        *([] if result.bleaching is None else [_bleaching_line(result.bleaching)]),
        *([] if result.hysteresis is None else [_hysteresis_line(result.hysteresis)]),
        *([] if result.stability is None else [stability_verdict(result.stability)]),
        *([] if result.energy_step is None else [f"warning: {result.energy_step.text}"]),
    ]


_MOST_LISTED = 4


def _shots_line(found: Sequence[ShotStatistics]) -> str:
    """Say in one sentence what the single shots of a sweep show over its fluences."""
    shots = sorted(one.moments.n for one in found)
    count = f"{shots[0]}" if shots[0] == shots[-1] else f"{shots[0]} to {shots[-1]}"
    return f"single shots ({count} a point): {_tails(found)}; {_structure(found)}"


def _tails(found: Sequence[ShotStatistics]) -> str:
    heavy = [one.fluence_uj_cm2 for one in found if one.tail.status == "heavy"]
    stated = sum(one.tail.status != "not_stated" for one in found)
    if heavy:
        return f"a heavy tail at {_listed(heavy)} uJ/cm2, of {stated} fluences where one can be stated"
    if stated:
        return f"no heavy tail at the {stated} fluences where one can be stated"
    return "a heavy tail cannot be stated at any fluence"


def _structure(found: Sequence[ShotStatistics]) -> str:
    above = [one.fluence_uj_cm2 for one in found if one.overlap is not None and one.overlap.above_floor]
    if not above:
        return "noise explains the overlap of their spectra"
    return f"their spectra share structure beyond noise at {_listed(above)} uJ/cm2"


def _listed(fluences_uj_cm2: Sequence[float]) -> str:
    different = [f"{fluence:.4g}" for fluence in sorted(set(fluences_uj_cm2))]
    if len(different) > _MOST_LISTED:
        return f"{len(different)} fluences from {different[0]} to {different[-1]}"
    return ", ".join(different)


def stability_verdict(stability: StabilityResult, convention: str = "") -> str:
    """Say in one line what is left and how it went; ``convention`` of the fluence."""
    retained, bound = stability.retained, stability.lifetime_above_s
    if retained is None:
        return f"no result: {stability.reason or 'nothing was fitted'}"
    left = (
        f"{percent(retained.value, retained.sigma)} of the emission remains after "
        f"{duration(_known(stability.duration_s))} at {_known(stability.fluence_uj_cm2):.4g} uJ/cm2"
        f"{f' ({convention})' if convention else ''}, {_known(stability.dose_uj_cm2) / 1e6:.3g} J/cm2 in all"
    )
    if stability.misfit_rel is not None:
        missed = misfit_said(stability.misfit_rel, stability.misfit_sigma)
        return f"{left}, by the first and last points alone; {missed}"
    if stability.status != "decay":
        seen = "the emission increased" if "brightening" in stability.flags else "no significant decay"
        above = f"; lifetime above {duration(bound)} (95 %)" if bound is not None else ""
        return f"{left}; {seen}{above}"
    lifetimes = {
        "amplitude-weighted": stability.amplitude_weighted_lifetime_s,
        "intensity-weighted": stability.intensity_weighted_lifetime_s,
    }
    means = [
        f"{name} mean lifetime {duration(value.value, value.sigma)}"
        for name, value in lifetimes.items()
        if value is not None
    ]
    if "no_mixture" in stability.flags:
        means = [f"no lifetime is given: {NO_MIXTURE}"]
    beyond = " (beyond the measured time)" if "extrapolated" in stability.flags else ""
    return f"{left}; {stability.model} exponential, {', '.join(means)}{beyond}"


NO_MIXTURE = "the light begins to fade late, as no mixture of decays does"


def misfit_said(typical_rel: float, most_sigma: float | None) -> str:
    """Say that no decay follows the points, and by how much the best one misses them.

    :param typical_rel: of the light at the start.
    :param most_sigma: largest residual in standard errors.
    """
    most = "" if most_sigma is None else f" and up to {most_sigma:.0f} standard errors"
    return (
        f"no decay that was tried fits: the best one misses the points by {100 * typical_rel:.2g} % of the "
        f"start{most}, neighbours alike; no lifetime is given"
    )


def percent(value: float, sigma: float) -> str:
    """Return a share and its standard error in per cent; below one per cent with a place more.

    >>> percent(0.3541, 0.0021), percent(0.00063, 0.00147)
    ('35.4 +- 0.2 %', '0.06 +- 0.15 %')
    """
    places = 2 if abs(value) < 0.01 else 1
    return f"{100 * value:.{places}f} +- {100 * sigma:.{places}f} %"


def duration(seconds: float, sigma: float | None = None) -> str:
    """Return a time as people say it, with its standard error.

    >>> duration(95.0), duration(5400.0), duration(720000.0, 3600.0)
    ('95 s', '90 min', '200 +- 1 h')
    """
    if not math.isfinite(seconds):
        return "unknown"
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("min", 60.0)) if seconds < 120.0 * s), ("h", 3600.0))
    spread = "" if sigma is None else f" +- {sigma / size:.2g}"
    return f"{seconds / size:.3g}{spread} {unit}"


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def _adaptive_line(adaptive: AdaptiveEnding) -> str:
    met = "met" if adaptive.target_met else "not met"
    reached = adaptive.half_width_rel
    width = "no interval" if reached is None else f"+-{100 * reached:.2g} %"
    return (
        f"adaptive sweep, ended by {adaptive.ended or 'a stop'}: {adaptive.reason}. "
        f"Final interval {width} after {adaptive.points} points, target {met}"
    )


def _bleaching_line(bleaching: BleachingResult) -> str:
    seen = "bleaching" if bleaching.flags == ("bleaching",) else "reference"
    treated = _treated(bleaching)
    return (
        f"{seen}: the emission at {bleaching.fluence_uj_cm2:.4g} uJ/cm2 changed during the run by "
        f"{100 * bleaching.change_rel:+.2g} +- {100 * bleaching.change_sigma_rel:.2g} % "
        f"({100 * bleaching.change_per_j_cm2:+.2g} +- "
        f"{100 * bleaching.change_per_j_cm2_sigma:.2g} % per J/cm2 of dose), {treated}"
    )


def _treated(bleaching: BleachingResult) -> str:
    """Say what of it is in the fit."""
    if bleaching.corrected == "off":
        return "not corrected in the fit"
    if not bleaching.laws:
        return "corrected in the fit"
    likeliest = max(bleaching.laws, key=lambda name: bleaching.laws[name])
    chance = f"{100 * bleaching.laws[likeliest]:.0f} %"
    return f"in the fit as the data have it: {likeliest} ({chance})"


def _hysteresis_line(hysteresis: Hysteresis) -> str:
    seen = "hysteresis" if hysteresis.flags else "no significant hysteresis"
    line = (
        f"{seen}: down-sweep relative to up-sweep, signal "
        f"{100 * hysteresis.signal_change_rel:+.2g} +- {100 * hysteresis.signal_change_sigma_rel:.2g} %"
    )
    if hysteresis.threshold_change_rel is None:
        return line
    return (
        f"{line}, threshold {100 * hysteresis.threshold_change_rel:+.2g} +- "
        f"{100 * (hysteresis.threshold_change_sigma_rel or math.nan):.2g} %"
    )


def comparison_lines(comparison: Comparison) -> list[str]:
    """Say what several runs say together, a line for each pair of samples and one for what it rests on."""
    return [
        *(line for ratio in comparison.ratios for line in _ratio_lines(ratio)),
        *map(_retained_line, comparison.retained),
    ]


def _ratio_lines(found: ThresholdRatio) -> list[str]:
    pair = f"{found.sample} / {found.over}"
    if found.ratio is None or found.ci95 is None:
        return [f"ratio of thresholds {pair}: none: {found.reason}"]
    low, high = found.ci95
    line = f"ratio of thresholds {pair}: {found.ratio:.3g}, 95 % interval {low:.3g} to {high:.3g}"
    said = [*_fraction_said(high), *found.conditions, _places_said(found)]
    parts = (
        ("cancels", found.cancelled),
        ("added", found.added),
        ("not in the interval, for it is not stated", found.unstated),
    )
    rests = [f"{what}: {', '.join(links)}" for what, links in parts if links]
    return [f"{line}; {'; '.join(said)}", *([f"of the scales, {'; '.join(rests)}"] if rests else [])]


_FRACTIONS = {10: "a tenth", 5: "a fifth", 4: "a quarter", 3: "a third", 2: "half"}


def _fraction_said(high: float) -> list[str]:
    """Return what a paper would say of a ratio whose whole interval lies below a simple fraction.

    >>> _fraction_said(0.313), _fraction_said(0.97)
    (['less than a third'], [])
    """
    return [f"less than {name}" for parts, name in _FRACTIONS.items() if high < 1 / parts][:1]


def _places_said(found: ThresholdRatio) -> str:
    """Say how far the places of a sample differ, or that nobody knows."""
    if found.spots == (1, 1):
        return "of these two spots, not of the materials"
    named = zip((found.sample, found.over), found.spots, found.between_spots_rel, strict=True)
    said = [
        f"{sample}: {spots} spots, {100 * scatter:.2g} % from spot to spot"
        if scatter is not None
        else f"{sample}: one spot, not the material"
        for sample, spots, scatter in named
    ]
    return "; ".join(said)


def _retained_line(found: RetainedDifference) -> str:
    difference = found.difference
    low, high = (f"{100 * end:.2g}" for end in (difference.low, difference.high))
    more = "more of its light than" if difference.low > 0 else "as much of its light, within the errors, as"
    line = (
        f"{found.sample} keeps {more} {found.over}: {100 * difference.value:.2g} points of a hundred, "
        f"95 % interval {low} to {high}"
    )
    return "; ".join((line, *found.conditions, "of these two spots, not of the materials"))


THRESHOLD_KEYS = {
    "status": "status",
    "reason": "reason",
    "bound": "bound",
    "bound_condition": "bound_condition",
    "value": "threshold_uj_cm2",
    "quantity": "quantity",
    "unit": "unit",
    "unit_stated": "unit_stated",
    "ci95": "ci95",
    "statistical_ci95": "statistical_ci95",
    "systematic": "systematic_rel",
    "definition": "definition",
    "shape": "shape",
    "photon_order": "photon_order",
    "orders_allowed": "orders_allowed",
    "exponent": "exponent",
    "exponent_ci95": "exponent_ci95",
    "convention": "convention",
    "band": "band",
    "scale_rel": "scale_rel",
    "total_ci95": "total_ci95",
    "statistical_rel95": "statistical_rel95",
    "model_rel95": "model_rel95",
    "scale_rel95": "scale_rel95",
    "total_rel95": "total_rel95",
    "budget": "budget",
    "flags": "flags",
    "used": "used",
}
"""Keys of a threshold in the JSON, and the names they have in a run file's result."""

Q_KEYS = {
    "value": "value",
    "sigma": "sigma",
    "wavelength_nm": "wavelength_nm",
    "fwhm_nm": "fwhm_nm",
    "resolution_nm": "resolution_nm",
    "resolution_sigma_nm": "resolution_sigma_nm",
    "lower_bound": "lower_bound",
}

MORE_KEYS = (
    *("verdict", "definitions", "modes", "randomness"),
    *("adaptive", "bleaching", "hysteresis", "stability", "energy_step"),
)


@dataclass(frozen=True, slots=True)
class TableColumns:
    """What was understood of a table.

    :param names: columns of pump, signal and, if any, errors of the signal.
    :param quantity: of the pump, e.g. "fluence", "pulse energy".
    :param unit: in which the pump stands in the result; ``unit_stated`` whether file or user say it.
    :param convention: of the fluence; None where it is not stated, or there is none.
    :param signal_unit: empty where it is not stated.
    :param rows: that were read, and ``used`` for the fit.
    :param said: the same in sentences.
    :param left_out: lines of the file that give no point, each with why.
    """

    names: tuple[str, ...]
    quantity: str
    unit: str
    unit_stated: bool
    convention: str | None
    signal_unit: str
    rows: int
    used: int
    said: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run, finished or not.

    :param sample: its name; ``spot`` the place on it.
    :param spot: empty where none was named.
    :param status: "finished", "aborted" or "failed".
    :param csv: pymeasure's file; None where it was not begun.
    :param h5: the run file, with all spectra; None where it was not begun.
    :param points: stored, references included.
    :param result: what came of it.
    :param figures: PNG files.
    :param nominal_uj_cm2: what the paper states, for the demonstration's table.
    :param notes: remarks on the run, one sentence each.
    :param counted: its points: how many were planned, saturated, usable.
    :param table: of a stability run, beside its files.
    :param meter: serial number of the power meter; empty where it is not known.
    :param columns: of a table: what was taken for what; None for a run.
    """

    sample: str
    status: str
    csv: Path | None
    h5: Path | None
    points: int
    result: SweepResult
    figures: tuple[Path, ...] = ()
    spot: str = ""
    nominal_uj_cm2: float | None = None
    notes: tuple[str, ...] = field(default=())
    counted: Tally | None = None
    table: Path | None = None
    meter: str = ""
    columns: TableColumns | None = None

    @property
    def compared(self) -> SampleRun:
        """The run, as a comparison with others sees it."""
        result = self.result
        return SampleRun(
            self.sample, self.spot, self.meter, result.threshold, result.budget, result.stability
        )

    @property
    def threshold(self) -> BandThreshold:
        """The threshold of the whole emission."""
        return self.result.threshold

    @property
    def outcome(self) -> Outcome:
        """What is said of its threshold, or why there is none."""
        return outcome(self.threshold, self.status, self.counted or Tally(self.points, usable=self.points))

    def to_json(self) -> dict[str, object]:
        """Return the run as the documented JSON object; absent numbers are None, paths absolute.

        ``result`` is all that came of it, as a run file holds it; the other keys show parts of that.
        """
        result = plain(self.result)
        stated, q = {**result["threshold"], "budget": result["budget"]}, result["q"] or {}
        if self.threshold.on_area:
            stated["convention"] = self.threshold.convention or "not stated"
        more = {key: result[key] for key in MORE_KEYS if result[key]}
        if self.table is not None and "stability" in more:
            more["stability"] = {**more["stability"], "table": _absolute(self.table)}
        shown = {
            "sample": self.sample,
            "status": self.status,
            "files": {
                "csv": _absolute(self.csv),
                "h5": _absolute(self.h5),
                "figures": [_absolute(f) for f in self.figures],
            },
            "points": self.points,
            "saturated_points": None if self.counted is None else self.counted.saturated,
            "result": result,
            "threshold": {key: stated[name] for key, name in THRESHOLD_KEYS.items()},
            "meaning": list(sentences(self.threshold.flags)),
            "q": {key: q.get(name) for key, name in Q_KEYS.items()},
            **more,
            **({} if self.columns is None else {"columns": plain(self.columns)}),
        }
        return shown if self.threshold.unit == "uJ/cm2" else _keyed_by(shown, self.threshold.unit)


def _keyed_by(value: Any, unit: str) -> Any:
    """Name numbers by the unit they are in: ``threshold_nj`` where a table is in nJ."""
    if isinstance(value, dict):
        suffix = "_" + re.sub(r"[^a-z0-9]+", "_", unit.lower()).strip("_")
        return {re.sub(r"_uj_cm2$", suffix, key): _keyed_by(item, unit) for key, item in value.items()}
    return [_keyed_by(item, unit) for item in value] if isinstance(value, list) else value


def uncertainty_lines(run: RunReport) -> list[str]:
    """Take the uncertainty of a threshold apart, and say what nobody stated or knows of the light."""
    stated, budget = run.threshold, run.result.budget
    lines = []
    if stated.total_ci95 is not None and stated.total_rel95 is not None and run.threshold.scale_rel:
        halves = (stated.statistical_rel95, stated.model_rel95, stated.scale_rel95)
        parts = (
            f"{part} +-{100 * _known(half):.2g} %"
            for part, half in zip(("statistical", "model", "scale"), halves, strict=True)
        )
        whole = _to(stated.total_ci95)
        lines.append(
            f"at 95 %: {', '.join(parts)}; all together {whole} (labctl budget shows the calibration)"
        )
    if stated.threshold_uj_cm2 is not None:
        only = "" if run.threshold.scale_rel else "the interval is statistical only; "
        lines.append(f"{only}{scale_statement(budget)}{': see labctl budget' if budget else ''}")
    if budget is None:
        return lines
    if budget.pulse_width_fs is None and (budget.photon_order or 0) > 1:
        lines.append(f"pulse width at the sample {UNKNOWN_PULSE_WIDTH}")
    return [*lines, *(f"warning: {w}" for w in budget.warnings)]


def _to(interval: Interval) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"


def dump_json(runs: Sequence[RunReport], extra: Mapping[str, object] | None = None) -> str:
    """Return the document of ``demo``, ``sweep`` and ``fit``: valid JSON, ASCII, never NaN."""
    document = {"runs": [run.to_json() for run in runs], **(extra or {})}
    return json.dumps(plain(document), indent=2, allow_nan=False)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
