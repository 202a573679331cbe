"""Plan, facts and result of a stored run as records; of what an older labctl did not store, a guess."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labctl.model.mapping import record_of
from labctl.model.plan import AdaptivePlan, Ending, StabilityPlan, SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import FloatArray, Identity, SpectrometerInfo
from labctl.model.results import DOUBT, Edits, SweepResult
from labctl.model.run import RunFacts

if TYPE_CHECKING:
    from labctl.data.run import Run


def plan_of(stored: Mapping[str, object]) -> SweepPlan:
    """Return the plan that a file holds; what it lacks, or says in another way, has its default."""
    kind = AdaptivePlan if "target_rel" in stored else StabilityPlan if "every_s" in stored else SweepPlan
    return record_of(kind, stored)


def result_of(stored: Mapping[str, object]) -> SweepResult:
    """Return the result that a file holds; empty where there is none."""
    return record_of(SweepResult, stored)


def bench_facts(stored: Mapping[str, object], wavelength_nm: FloatArray, convention: str) -> RunFacts:
    """Return what a file says of the bench.

    :param wavelength_nm: of its spectrometer, which is stored once, as is the ``convention``.
    """
    facts = replace(record_of(RunFacts, stored), convention=convention)
    info = facts.spectrometer
    return facts if info is None else replace(facts, spectrometer=replace(info, wavelength_nm=wavelength_nm))


def facts_of(run: Run, edits: Edits) -> RunFacts:
    """Return what evaluating a stored run needs beside its points and its plan.

    :param edits: what was changed by hand since.
    """
    result = run.result
    bench = run.start.facts or _guessed(run)
    adaptive = result.adaptive
    ended = None if adaptive is None or adaptive.ended is None else adaptive
    stable = result.stability
    return replace(
        bench,
        edits=edits,
        damaged=frozenset(run.damaged),
        ending=None if ended is None or ended.ended is None else Ending(ended.ended, ended.reason),
        unjudged=frozenset(_unjudged(run)),
        doubt=doubt_of(run),
        planned=result.planned,
        dose_uj_cm2=result.dose_uj_cm2,
        sample_temperature_c=() if stable is None else stable.sample_temperature_c,
        stored_budget=result.budget,
        stored_q=result.q,
        stored_step=result.energy_step,
    )


def doubt_of(run: Run) -> str:
    """Return why nothing is said of a stored run; "" if something is."""
    logged = any(event.text.startswith(DOUBT) for event in run.events)
    return run.result.doubt or (DOUBT if logged else "")


def _unjudged(run: Run) -> range:
    """Return the places of the points that a killed run took since its last closing was looked at.

    Its shutter was kept open between them; nobody knows what a next closing would have shown. A new dark is
    taken, and looked at, right after the first point that it belongs to.
    """
    if run.status != "killed" or not run.plan.keep_open:
        return range(0)
    last = max((dark.number for dark in run.darks if dark.kind == "dark"), default=0)
    since = np.flatnonzero(run.column("dark_number") == last)
    return range(int(since[0]) + 1 if since.size else len(run), len(run))


def bands_of(run: Run) -> Bands:
    """Return the bands a run was measured with: those of its plan, else all that its spectrometer sees."""
    plan, axis = run.start.plan, run.wavelength_nm
    whole = _pair(plan.get("emission_nm")) or (float(axis[0]), float(axis[-1]))
    return Bands(whole, _pair(plan.get("lasing_nm")) or whole)


def _guessed(run: Run) -> RunFacts:
    """Return what an older file lets one know of its bench: no budget can be made of it, and no Q."""
    pump, camera = (_inner(run.start.config, name) for name in ("pump", "spectrometer"))
    order, resolution = pump.get("photon_order"), camera.get("resolution_nm")
    known = isinstance(resolution, (int, float)) and not isinstance(resolution, bool)
    return RunFacts(
        photon_order=order if isinstance(order, int) and 1 <= order <= 4 else 2,
        convention=run.start.convention,
        bands=bands_of(run),
        spectrometer=SpectrometerInfo(
            identity=run.start.identities.get("spectrometer", Identity("", "", "")),
            wavelength_nm=run.wavelength_nm,
            max_counts=_full_scale(run),
            integration_min_s=0.0,
            integration_max_s=math.inf,
            resolution_nm=float(resolution) if known else None,  # type: ignore[arg-type]
        ),
    )


def _full_scale(run: Run) -> float:
    """Return the detector's full scale, which the file holds only as a share: the saturation of a point."""
    shares = run.column("saturation")
    if not shares.size or not np.nanmax(shares) > 0:
        return math.inf
    brightest = int(np.nanargmax(shares))
    axis, margin, emission = run.wavelength_nm, run.plan.margin_nm, bands_of(run).emission_nm
    inside = (axis >= emission[0] - margin) & (axis <= emission[1] + margin)
    frames = run.frames(brightest)[:, inside]
    return float(frames.max() / shares[brightest]) if frames.size else math.inf


def _inner(config: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = config.get(key)
    return found if isinstance(found, Mapping) else {}


def _pair(value: object) -> tuple[float, float] | None:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        low, high = value
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high:
            return float(low), float(high)
    return None
