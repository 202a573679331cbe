"""A step of the pulse energy in the midst of a run: laser or meter, the points alone do not say which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from labctl.analysis.threshold import ThresholdResult
from labctl.model.records import FloatArray

FLAG = "energy_step"
LEAST_REL = 0.08
"""A step smaller than this is a drift, which the meter follows."""
FAR_REL = 0.1
"""Energies farther than this from the stated one are remarked on."""
_WINDOW = 4
_OF_THE_STEP = 1.03
"""How well a step is known: the drift within its windows, and the readings."""


@dataclass(frozen=True, slots=True)
class EnergyStep:
    """The energy at full transmission is ``change_rel`` higher from a point on; ``place`` counts from 0."""

    place: int
    change_rel: float

    @property
    def text(self) -> str:
        """What it is, in words; points are counted from 1."""
        return (
            f"the pulse energy stepped by {self.change_rel:+.0%} between points {self.place} and "
            f"{self.place + 1}: the laser, or the meter that tells of it"
        )

    def to_mapping(self) -> dict[str, object]:
        """Return it as plain values; the place counted from 1."""
        return {"change_rel": self.change_rel, "before_point": self.place + 1, "text": self.text}


def find_step(full_j: FloatArray) -> EnergyStep | None:
    """Find the largest step in energies at full transmission, shape ``(n,)`` in order of time, nan for none.

    It is one if both sides of it are quiet beside it, and if it happens from one point to the next, or
    between the two readings of the point in between.

    >>> find_step(np.array([1.0, 1.01, 0.99, 1.0, 1.15, 1.16, 1.14])).place
    4
    """
    places = np.flatnonzero(np.isfinite(full_j) & (full_j > 0))
    logs = np.log(full_j[places])
    best: tuple[float, int] | None = None
    for k in range(3, places.size - 1):
        before, after = logs[max(k - 1 - _WINDOW, 0) : k - 1], logs[k : k + _WINDOW]
        height = float(np.median(after) - np.median(before))
        scatter = max(float(np.ptp(before)), float(np.ptp(after)))
        at_once = max(abs(float(logs[k] - logs[k - 1])), abs(float(logs[k] - logs[k - 2])))
        sharp = at_once > 0.6 * abs(height) > scatter
        if sharp and (best is None or abs(height) > abs(best[0])):
            best = height, k
    if best is None or abs(np.expm1(best[0])) < LEAST_REL:
        return None
    return EnergyStep(int(places[best[1]]), float(np.expm1(best[0])))


def stored_step(result: Mapping[str, object]) -> EnergyStep | None:
    """Return the step that a run's result holds."""
    found = result.get(FLAG)
    if not isinstance(found, Mapping):
        return None
    change, place = found.get("change_rel"), found.get("before_point")
    if isinstance(change, (int, float)) and isinstance(place, int):
        return EnergyStep(place - 1, float(change))
    return None


def with_step(stability: Mapping[str, object], text: str) -> dict[str, object]:
    """Flag what a stability run says; a decay that a step of the meter would make is none.

    :param stability: as plain values. :param text: the step in words.
    """
    flags = stability.get("flags")
    found = {**stability, "flags": [*(flags if isinstance(flags, list) else []), FLAG]}
    if stability.get("status") != "decay":
        return found
    reason = f"{text}; what the emission did cannot be told from that"
    kept = {"points", "flags", "sample_temperature_c"} & set(found)
    refused: dict[str, object] = {"status": "refused", "reason": reason}
    return refused | {key: found[key] for key in kept}


def far_off(full_j: FloatArray, stated_j: float) -> str:
    """Say that energies at full transmission, shape ``(n,)``, are far from the stated one; or ""."""
    known = full_j[np.isfinite(full_j)]
    if not known.size:
        return ""
    off = float(np.median(known)) / stated_j - 1
    if abs(off) <= FAR_REL:
        return ""
    return (
        f"energies are {abs(off):.0%} {'above' if off > 0 else 'below'} the stated max_pulse_energy: check "
        "meter, pick-off ratio and laser"
    )


def widened(result: ThresholdResult, step: EnergyStep) -> ThresholdResult:
    """Flag a threshold, and widen interval and bounds by the step, both ways: either side may err."""
    factor = max(1 + step.change_rel, 1 / (1 + step.change_rel)) * _OF_THE_STEP
    interval, bound, reason = result.ci95, result.bound, result.reason
    if interval is not None:
        before, interval = interval, (interval[0] / factor, interval[1] * factor)
        was, now = (f"{low:.4g} to {high:.4g}" for low, high in (before, interval))
        reason = reason.replace(was, now)
    if bound is not None:
        low, high = bound
        bound = (None if low is None else low / factor, None if high is None else high * factor)
        for old, new in zip((low, high), bound, strict=True):
            reason = reason.replace(f"below {old or 0:.4g} uJ/cm2", f"below {new or 0:.4g} uJ/cm2")
    flags = (*result.flags, FLAG) if FLAG not in result.flags else result.flags
    return replace(result, ci95=interval, bound=bound, flags=flags, reason=f"{reason}; {step.text}")
