"""How a run ends: both bands fitted, Q taken, and what is stored of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from labctl.analysis.threshold import ThresholdResult
from labctl.runner.facts import BenchFacts
from labctl.runner.fitting import BandName, curve_of, fit_curve, threshold_mapping
from labctl.runner.keeper import Keeper
from labctl.runner.quality import quality, quality_mapping
from labctl.runner.report import plain

log = logging.getLogger(__name__)

T = TypeVar("T")


def conclude(keeper: Keeper, facts: BenchFacts) -> dict[str, object]:
    """Return the result of a run as plain values: ``threshold``, ``threshold_lasing`` and ``q``.

    Never raises: what cannot be computed is refused with the reason, because the points are worth more.
    """
    curve = curve_of(keeper.points, facts.photon_order)
    bands: tuple[BandName, ...] = ("emission", "lasing")
    fits = {band: _tried(partial(fit_curve, curve, band), _refused) for band in bands}
    mapped = {
        band: threshold_mapping(fit, convention=facts.convention, band=band, scale_rel=facts.scale_rel)
        for band, fit in fits.items()
    }
    q = _tried(
        lambda: quality(keeper.brightest, keeper.darks, facts.info, facts.bands.lasing_nm, fits["emission"]),
        lambda _reason: None,
    )
    result = {
        "threshold": mapped["emission"],
        "threshold_lasing": mapped["lasing"],
        "q": quality_mapping(q, facts.info),
    }
    return {key: plain(value) for key, value in result.items()}


def _refused(reason: str) -> ThresholdResult:
    return ThresholdResult("refused", reason, 0)


def _tried(compute: Callable[[], T], otherwise: Callable[[str], T]) -> T:
    try:
        return compute()
    except Exception as exc:
        log.exception("while concluding the run")
        return otherwise(f"{type(exc).__name__}: {exc}")
