"""Going through angles: the order in which light rises, and the steps shown on the way."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from procedures.calibration.beam import Look
from procedures.calibration.context import CalStep
from procedures.calibration.filters import look_filtered
from procedures.calibration.placing import MeteredBeam

PERIOD_DEG = 90.0
OVERLAP_DEG = 10.0
COARSE_DEG = 7.5
APPROACH_DEG = 4.0
"""Longer than any play of a mount."""

Sided = tuple[Look, int]
"""A look, and whether its angle was approached from below (+1) or from above (-1)."""


def step_of(look: Look, what: str, progress: float) -> CalStep:
    """Show one look."""
    text = f"{look.angle_deg:8.3f} deg  {look.power_w * 1e6:10.5g} uW"
    return CalStep(what, text, look.angle_deg, look.power_w, "W", "deg", look.sigma_w, progress)


def window(beam: MeteredBeam) -> tuple[float, float]:
    """Return a period of the plate and a little more, round the guessed dark angle if that is allowed."""
    half = (PERIOD_DEG + OVERLAP_DEG) / 2
    low, high = beam.low_deg, beam.high_deg
    if high - low <= 2 * half:
        return low, high
    centre = min(max(beam.guessed_dark_deg, low + half), high - half)
    return centre - half, centre + half


def coarse(beam: MeteredBeam, progress: tuple[float, float]) -> Generator[CalStep, None, list[Sided]]:
    """Look at one period of the plate, the angles next to the darkest one known first."""
    low, high = window(beam)
    angles = np.linspace(low, high, max(round((high - low) / COARSE_DEG) + 1, 8))
    start = min(max(beam.guessed_dark_deg, low), high)
    ordered = sorted((float(a) for a in angles), key=lambda a: abs(a - start))
    first = beam.look(ordered[0], from_deg=_from(beam, ordered[0], 1))
    yield step_of(first, "scan", progress[0])
    sided = [(angle, -1 if i % 2 else 1) for i, angle in enumerate(ordered[1:], start=1)]
    return [(first, 1), *(yield from through(beam, sided, "scan", progress))]


def through(
    beam: MeteredBeam, angles: Sequence[tuple[float, int]], what: str, progress: tuple[float, float]
) -> Generator[CalStep, None, list[Sided]]:
    """Look at angles, each approached from below (+1) or above (-1); too bright ones are left out."""
    looks: list[Sided] = []
    for i, (angle, side) in enumerate(angles):
        if not beam.allowed(angle):
            continue
        looks.append((look_filtered(beam, angle, _from(beam, angle, side)), side))
        part = progress[0] + (progress[1] - progress[0]) * (i + 1) / len(angles)
        yield step_of(looks[-1][0], what, part)
    return looks


def _from(beam: MeteredBeam, angle_deg: float, side: int) -> float:
    """Return where to come from: below the angle for +1, above it for -1, inside what is allowed."""
    return min(max(angle_deg - side * APPROACH_DEG, beam.low_deg), beam.high_deg)
