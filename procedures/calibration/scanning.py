"""Going through angles: the order in which light rises, and the steps shown on the way."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from labctl.model.errors import CalibrationRefused
from procedures.calibration.context import CalStep
from procedures.calibration.filters import look_filtered
from procedures.calibration.foresight import Look
from procedures.calibration.law import Law, first_law
from procedures.calibration.placing import MeteredBeam

PERIOD_DEG = 90.0
OVERLAP_DEG = 10.0
COARSE_DEG = 7.5
LEAST_STEP_DEG = 1.0
APPROACH_DEG = 4.0
"""Longer than any play of a mount."""
ALMOST = 1.15
"""Room below the highest power that is allowed."""

Sided = tuple[Look, int]
"""A look, and whether its angle was approached from below (+1) or from above (-1)."""


def step_of(look: Look, what: str, progress: float) -> CalStep:
    """Show one look."""
    text = f"{look.angle_deg:8.3f} deg  {look.power_w * 1e6:10.5g} uW"
    return CalStep(what, text, look.angle_deg, look.power_w, "W", "deg", look.sigma_w, progress)


def coarse(beam: MeteredBeam, progress: tuple[float, float]) -> Generator[CalStep, None, list[Sided]]:
    """Go out from the darkest angle known to both sides, over one period of the plate and a little more.

    Steps are as long as what was seen so far allows; a side ends where it may become too bright.
    """
    start = min(max(beam.guessed_dark_deg, beam.low_deg), beam.high_deg)
    first = beam.look(start, from_deg=_from(beam, start, 1))
    yield step_of(first, "scan", progress[0])
    sided: list[Sided] = [(first, 1)]
    edges = {-1: first, 1: first}
    while edges:
        for way in tuple(edges):
            angle = _further(beam, edges[way], way, start)
            if angle is None:
                del edges[way]
                continue
            side = -1 if len(sided) % 2 else 1
            edges[way] = look_filtered(beam, angle, _from(beam, angle, side))
            sided.append((edges[way], side))
            part = progress[0] + (progress[1] - progress[0]) * min(len(sided) / 16, 1.0)
            yield step_of(edges[way], "scan", part)
    return sided


def _further(beam: MeteredBeam, edge: Look, way: int, start: float) -> float | None:
    """Return the next angle on one side; None where the side ends."""
    step = beam.step_deg(edge, COARSE_DEG)
    half = (PERIOD_DEG + OVERLAP_DEG) / 2
    room_low = max(half, PERIOD_DEG + OVERLAP_DEG - (beam.high_deg - start))
    room_high = max(half, PERIOD_DEG + OVERLAP_DEG - (start - beam.low_deg))
    end = min(start + room_high, beam.high_deg) if way > 0 else max(start - room_low, beam.low_deg)
    left = (end - edge.angle_deg) * way
    if step < LEAST_STEP_DEG or left < LEAST_STEP_DEG:
        return None
    return edge.angle_deg + way * min(step, left)


def survey(
    beam: MeteredBeam, progress: tuple[float, float]
) -> Generator[CalStep, None, tuple[list[Sided], Law]]:
    """Scan coarsely and find a first law; where limits ended the scan early, look as high as they allow.

    :raises CalibrationRefused: the sensor stands in the wrong place, or there is no law.
    """
    low, high = progress
    sided = yield from coarse(beam, (low, low + 0.8 * (high - low)))
    beam.refuse_wrong_place(max((look for look, _ in sided), key=lambda look: look.power_w))
    law = first_law([look for look, _ in sided])
    beam.expect = law.power_w
    brightest = max(look.power_w for look, _ in sided)
    if brightest > 0.9 * law.highest_w:
        return sided, law
    top = min(beam.ceiling_w / ALMOST / law.highest_w, 1.0)
    parts = [part for part in (top, 0.85 * top) if part * law.highest_w > brightest]
    ends = [end + side * law.away_deg(part) for part in parts for end in _tops(law) for side in (-1.0, 1.0)]
    near = sorted((a for a in ends if beam.allowed(a)), key=lambda a: abs(a - beam.guessed_dark_deg))
    sided += yield from through(
        beam, [(a, 1 if i % 2 else -1) for i, a in enumerate(near[:4])], "scan", (high, high)
    )
    law = first_law([look for look, _ in sided])
    beam.expect = law.power_w
    return sided, law


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


def brightest_deg(beam: MeteredBeam, law: Law) -> float:
    """Return the brightest angle that sensor, limits and mount allow by a law.

    :raises CalibrationRefused: none is.
    """
    low, high = beam.low_deg, beam.high_deg
    middle = beam.guessed_dark_deg
    part = min(beam.ceiling_w / (ALMOST * law.highest_w), 1.0)
    away = law.away_deg(part)
    angles = [top + side * away for top in _tops(law) for side in (-1.0, 1.0)]
    allowed = [angle for angle in angles if low <= angle <= high and beam.allowed(angle)]
    if not allowed:
        raise CalibrationRefused(
            "no angle with enough light is allowed",
            "raise angle_range_deg, the sensor's limit or max_average_power",
        )
    return min(allowed, key=lambda angle: abs(angle - middle))


def _tops(law: Law) -> list[float]:
    return [law.zero_deg + PERIOD_DEG * k for k in range(-6, 7)]
