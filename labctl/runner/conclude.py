"""How a run ends: both bands fitted, Q taken, and what is stored of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from labctl.analysis.budget import fluence_budget
from labctl.analysis.energy_step import FLAG, find_step, with_step
from labctl.analysis.light_light import is_reference, light_light
from labctl.analysis.spectra.lineshape import QResult
from labctl.analysis.threshold import ThresholdResult
from labctl.data.run import Run
from labctl.runner.facts import BenchFacts, full_energies_j
from labctl.runner.fitting import threshold_mapping
from labctl.runner.keeper import Kept
from labctl.runner.quality import quality, quality_mapping
from labctl.runner.report import plain, with_scale
from labctl.runner.verdict import Design, Verdict, adaptive_mapping, judge
from procedures.sources import Ending

log = logging.getLogger(__name__)

T = TypeVar("T")

DOUBT = "the shutter was open when it said that it was closed: these points say nothing of the sample"
"""Why nothing is said of a run; stored as its result's ``doubt``, and at once in its log, for a kill."""


def stored_doubt(run: Run) -> str:
    """Return why nothing is said of a stored run; "" if something is."""
    doubt = run.result.get("doubt")
    if isinstance(doubt, str):
        return doubt
    return DOUBT if any(event.text.startswith(DOUBT) for event in run.events) else ""


def conclude(
    kept: Kept,
    facts: BenchFacts,
    plan: Mapping[str, object] | None = None,
    ending: Ending | None = None,
    decay: Mapping[str, object] | None = None,
    why_not: str = "",
) -> dict[str, object]:
    """Return the result of a run as plain values: ``threshold``, ``threshold_lasing``, ``q`` and ``budget``.

    ``adaptive``, ``bleaching``, ``hysteresis``, ``stability`` as well, where the run was made to show them.
    Never raises: what cannot be computed is refused with the reason, because the points are worth more.

    :param plan: as it is stored.
    :param ending: why the sweep asked for no more points; None if it was broken off.
    :param decay: how the decay of a stability run is fitted; None for another run.
    :param why_not: why nothing is fitted, for one that what was measured says nothing of the sample; empty
        if it is. What takes no fit is said all the same.
    """
    design = Design.of(plan or {}, facts.photon_order, ending.cause if ending else None)
    step = _tried(lambda: find_step(full_energies_j(kept.points, facts)), lambda _reason: None)
    design = replace(design, energy_step=step)
    verdict = _nothing(why_not) if why_not else _tried(lambda: _judge(kept, design), _nothing)
    fits = {"emission": verdict.emission, "lasing": verdict.lasing}
    budgets = {band: fluence_budget(facts.settings, fit.threshold_uj_cm2) for band, fit in fits.items()}
    mapped = {
        band: with_scale(
            threshold_mapping(
                fit, convention=facts.convention, band=band, scale_rel=budgets[band].combined_rel
            )
        )
        for band, fit in fits.items()
    }
    q = None if why_not else _tried(lambda: _quality(kept, facts, verdict), lambda _reason: None)
    result: dict[str, object] = {
        "threshold": mapped["emission"],
        "threshold_lasing": mapped["lasing"],
        "q": quality_mapping(q, facts.info),
        "budget": {**budgets["emission"].to_mapping(), "warnings": facts.warnings},
    }
    if design.target_rel is not None:
        own = sum(not is_reference(p) for p in kept.points)
        reason = ending.reason if ending else "broken off"
        result["adaptive"] = adaptive_mapping(verdict.emission, design, reason, own)
    result |= shown_by_design(verdict, design)
    if decay is not None:
        from labctl.runner.stability import decayed

        result["stability"] = decayed(kept.points, facts.photon_order, decay, why_not)
    if step is not None:
        result[FLAG] = step.to_mapping()
        if isinstance(said := result.get("stability"), dict):
            result["stability"] = with_step(said, step.text)
    return {key: plain(value) for key, value in result.items()}


def shown_by_design(verdict: Verdict, design: Design) -> dict[str, object]:
    """Return ``bleaching`` and ``hysteresis`` as plain values, each where it was measured."""
    found: dict[str, object] = {}
    if verdict.bleaching is not None:
        found["bleaching"] = {**verdict.bleaching.to_mapping(), "corrected": design.correction}
    if verdict.hysteresis is not None:
        found["hysteresis"] = verdict.hysteresis.to_mapping()
    return found


def _judge(kept: Kept, design: Design) -> Verdict:
    return judge(light_light(kept.points), light_light(kept.points, "lasing"), design)


def _quality(kept: Kept, facts: BenchFacts, verdict: Verdict) -> QResult | None:
    return quality(kept.brightest, kept.darks, facts.info, facts.bands.lasing_nm, verdict.emission)


def _nothing(reason: str) -> Verdict:
    return Verdict(_refused(reason), _refused(reason), light_light([]))


def _refused(reason: str) -> ThresholdResult:
    return ThresholdResult("refused", reason, 0)


def _tried(compute: Callable[[], T], otherwise: Callable[[str], T]) -> T:
    try:
        return compute()
    except Exception as exc:
        log.exception("while concluding the run")
        return otherwise(f"{type(exc).__name__}: {exc}")
