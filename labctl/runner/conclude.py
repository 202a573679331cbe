"""How a run ends: both bands fitted, Q taken, and what is stored of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from labctl.analysis.budget import fluence_budget
from labctl.analysis.light_light import is_reference, light_light
from labctl.analysis.threshold import ThresholdResult
from labctl.runner.facts import BenchFacts
from labctl.runner.fitting import threshold_mapping
from labctl.runner.keeper import Keeper
from labctl.runner.quality import quality, quality_mapping
from labctl.runner.report import plain, with_scale
from labctl.runner.verdict import Design, Verdict, adaptive_mapping, judge
from procedures.sources import Ending

log = logging.getLogger(__name__)

T = TypeVar("T")


def conclude(
    keeper: Keeper,
    facts: BenchFacts,
    plan: Mapping[str, object] | None = None,
    ending: Ending | None = None,
    *,
    doubt: str = "",
) -> dict[str, object]:
    """Return the result of a run as plain values: ``threshold``, ``threshold_lasing``, ``q`` and ``budget``.

    ``adaptive``, ``bleaching`` and ``hysteresis`` as well, where the sweep was made to show them.
    Never raises: what cannot be computed is refused with the reason, because the points are worth more.

    :param plan: as it is stored.
    :param ending: why the sweep asked for no more points; None if it was broken off.
    :param doubt: why nothing that was measured says anything of the sample; empty if it does.
    """
    design = Design.of(plan or {}, facts.photon_order, ending.cause if ending else None)
    verdict = _nothing(doubt) if doubt else _tried(lambda: _judge(keeper, design), _nothing)
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
    q = (
        None
        if doubt
        else _tried(
            lambda: quality(
                keeper.brightest, keeper.darks, facts.info, facts.bands.lasing_nm, verdict.emission
            ),
            lambda _reason: None,
        )
    )
    result: dict[str, object] = {
        "threshold": mapped["emission"],
        "threshold_lasing": mapped["lasing"],
        "q": quality_mapping(q, facts.info),
        "budget": {**budgets["emission"].to_mapping(), "warnings": facts.warnings},
    }
    if design.target_rel is not None:
        own = sum(not is_reference(p) for p in keeper.points)
        reason = ending.reason if ending else "broken off"
        result["adaptive"] = adaptive_mapping(verdict.emission, design, reason, own)
    result |= shown_by_design(verdict, design)
    return {key: plain(value) for key, value in result.items()}


def shown_by_design(verdict: Verdict, design: Design) -> dict[str, object]:
    """Return ``bleaching`` and ``hysteresis`` as plain values, each where it was measured."""
    found: dict[str, object] = {}
    if verdict.bleaching is not None:
        found["bleaching"] = {**verdict.bleaching.to_mapping(), "corrected": design.correction}
    if verdict.hysteresis is not None:
        found["hysteresis"] = verdict.hysteresis.to_mapping()
    return found


def _judge(keeper: Keeper, design: Design) -> Verdict:
    return judge(light_light(keeper.points), light_light(keeper.points, "lasing"), design)


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
