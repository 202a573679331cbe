"""Going through angles: the order in which light rises, and the steps shown on the way."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import numpy as np

from labctl.model.errors import CalibrationRefused
from labctl.model.roles import LIGHT, Request
from procedures.calibration.beam import SEEN_TIMES, THERE_DEG
from procedures.calibration.context import CalContext, CalStep
from procedures.calibration.gauge import TooMuchLight
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.worst import Law, Look, first_law

DECADE = 0.1
MOST_TRANSMISSION, LEAST_TRANSMISSION = 0.9, 1e-4
WEAK = 30.0
"""With a filter in, a reading below this multiple of the noise is taken again without it."""


def look_filtered(beam: MeteredBeam, angle_deg: float, from_deg: float | None = None) -> Look:
    """Look at an angle; have a filter put before the sensor, or taken away, where its range is left.

    :raises CalibrationRefused: what was put in is no filter.
    """
    try:
        look = beam.look(angle_deg, from_deg=from_deg)
    except TooMuchLight:
        put_in(beam)
        look = beam.look(angle_deg, from_deg=from_deg)
    seen_w = look.power_w * beam.filter_transmission
    if beam.filter_transmission == 1.0 or seen_w >= WEAK * beam.gauge.meter.noise_w:
        return look
    take_out(beam)
    return beam.look(angle_deg, from_deg=from_deg)


def put_in(beam: MeteredBeam) -> None:
    """Have a filter put in; measure it where both with and without it there is light enough."""
    overlap = beam.brightest(beam.filter_transmission)
    if overlap is None:
        raise CalibrationRefused(
            "even the lowest known transmission exceeds the meter's range",
            "put a filter into the beam and start again",
        )
    without = beam.look(overlap.angle_deg)
    name = f"ND {len(beam.filters) + 1}"
    text = (
        "The meter's highest range is exceeded. Put a filter of about 10 % in front of the sensor. Next: it "
        f"is measured at {overlap.angle_deg:.2f} deg, where the light was in range without it."
    )
    word = LIGHT if beam.behind else ""
    beam.ask(Request("filter", text, {"name": name, "transmission": DECADE}, word=word))
    behind = beam.look(overlap.angle_deg)
    ratio = behind.power_w / without.power_w
    if not LEAST_TRANSMISSION < ratio < MOST_TRANSMISSION:
        raise CalibrationRefused(
            f"the filter in front of the sensor transmits {ratio:.3g}: not a 10 % filter"
        )
    sigma = ratio * math.hypot(behind.sigma_w / behind.power_w, without.sigma_w / without.power_w)
    beam.filters.append((name, ratio, sigma))
    beam.set_filter(beam.filter_transmission * ratio)


def take_out(beam: MeteredBeam) -> None:
    """Have the filter taken away again."""
    text = "There is too little light behind the filter. Remove it from the sensor."
    word = LIGHT if beam.behind else ""
    beam.ask(Request("filter", text, {"name": "", "transmission": 1.0}, word=word))
    beam.set_filter(1.0)


def leave(beam: MeteredBeam) -> None:
    """Have a filter taken away at the end."""
    if beam.filter_transmission != 1.0:
        beam.finish()
        text = "Remove the filter from the sensor: the measurement is finished."
        beam.ask(Request("filter", text, {"name": "", "transmission": 1.0}))
        beam.set_filter(1.0)


PERIOD_DEG = 90.0
OVERLAP_DEG = 10.0
COARSE_DEG = 7.5
LEAST_STEP_DEG = 1.0
APPROACH_DEG = 4.0
"""Longer than any play of a mount."""
ALMOST = 1.15
"""Room below the highest power that is allowed."""
ALIKE = 0.98
UNSURE = 1.5
"""The bench file's ratio may be this much too low when powers at the sample are foreseen."""
LASER_REL = 0.001
"""A sound laser changes by this within seconds."""
SHORTER = 0.7
FINE_DEG = 0.1
HALF_DEG = 45.0
CLIMB = (0.3, 0.6, 1.0)
"""Where it is looked at between the darkest angle and the brightest allowed."""
OFF_LAW = 0.25
"""Disagreement of powers with a known curve, at the brightest of them."""

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
    witness = None if beam.behind else beam.witness()
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
            if witness is not None:
                with beam.guard():
                    witness.refuse_leak()
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
    step = min(step, (end - edge.angle_deg) * way)
    while beam.behind and step >= LEAST_STEP_DEG and not beam.worst.allows(edge.angle_deg + way * step):
        step *= SHORTER
    return edge.angle_deg + way * step if step >= LEAST_STEP_DEG else None


def scan_in_front(
    context: CalContext, progress: tuple[float, float], *, park: bool = False
) -> Generator[CalStep, None, None]:
    """Scan the plate before anybody moves the sensor, where its pick-off has light with the shutter closed.

    What it transmits is known then without any light on the sample. A sensor that is not there yet shows
    nothing, and the calibrated curve has to do.

    :param park: leave the plate at the brightest angle allowed at the sample position, compared with the
        brightest of all.
    """
    order = context.settings.order
    if not order.index("attenuator") < order.index("pick-off") < order.index("shutter"):
        return
    with MeteredBeam(context, "pick-off") as beam:
        beam.gauge.prepare()
        yield CalStep("note", "scanning the wave plate at the pick-off, shutter closed")
        sided = yield from coarse(beam, progress)
        law = _law_or_none([look for look, _ in sided], beam)
        if law is None:
            text = "no light at the pick-off: using the curve of the bench file"
            yield CalStep("note", text, progress=progress[1])
            return
        beam.take_law(law)
        if park and beam.filter_transmission == 1.0:
            yield from _park(beam, law)


def _park(beam: MeteredBeam, law: Law) -> Generator[CalStep, None, None]:
    """Read full transmission, then the brightest setting that the sample position may see, and stay there."""
    tops = [a for a in _tops(law) if beam.low_deg <= a <= beam.high_deg and beam.allowed(a)]
    angle = brightest_at_sample(beam, law)
    if not tops or angle is None:
        return
    top = min(tops, key=lambda a: abs(a - beam.dark_deg))
    full = [beam.look(top) for _ in range(2)]
    look = beam.look(angle)
    yield step_of(look, "scan", 0.05)
    full_w = sum(each.power_w for each in full) / len(full)
    noise = max(beam.gauge.meter.noise_w, look.sigma_w) / look.power_w
    sigma_rel = math.hypot(noise, look.sigma_w / look.power_w, full[0].sigma_w / full_w, LASER_REL)
    beam.park(look, look.power_w / full_w, sigma_rel)


def brightest_at_sample(beam: MeteredBeam, law: Law) -> float | None:
    """Return the brightest angle that is allowed at the sample position too; None where none is.

    :param law: of the powers at the pick-off.
    """
    limit = beam.context.options.sensor_limit_w
    ratio = 1.0 if beam.place == "sample" else beam.context.settings.pickoff_ratio * UNSURE
    room_w = math.inf if limit is None else limit / ratio
    angles = np.arange(beam.low_deg, beam.high_deg + FINE_DEG / 2, FINE_DEG).tolist()
    bright = [
        (law.power_w(a), a)
        for a in angles
        if beam.allowed(a) and beam.worst.allows(a) and law.power_w(a) <= room_w
    ]
    if not bright:
        return None
    return _nearest_bright(bright, beam.dark_deg)


def _nearest_bright(bright: Sequence[tuple[float, float]], dark_deg: float) -> float:
    """Return the angle of the highest power, of equals the one nearest to the dark."""
    most = max(power for power, _ in bright)
    angles = [angle for power, angle in bright if power > ALIKE * most]
    return min(angles, key=lambda angle: abs(angle - dark_deg))


def _law_or_none(looks: Sequence[Look], beam: MeteredBeam) -> Law | None:
    if max(look.power_w for look in looks) < SEEN_TIMES * beam.gauge.meter.noise_w:
        return None
    try:
        return first_law(looks)
    except CalibrationRefused:
        return None


def survey(
    beam: MeteredBeam, progress: tuple[float, float]
) -> Generator[CalStep, None, tuple[list[Sided], Law]]:
    """Find the law of the powers at this place.

    Where the shutter opens for it and the plate's law is known, only few angles are looked at, on both sides
    of the darkest as far as the limits allow; else the plate is scanned coarsely.

    :raises CalibrationRefused: the sensor stands in the wrong place, or there is no law.
    """
    high = progress[1]
    if (parked := beam.course.parked) is not None and beam.worst.law is not None:
        look = beam.look(parked.angle_deg)
        yield step_of(look, "scan", high)
        beam.refuse_dark(look)
        beam.refuse_wrong_place(look)
        sided, law = [(look, 1)], scaled_to(beam.worst.law, look.power_w / parked.part)
    elif beam.behind and beam.worst.law is not None:
        sided = yield from _climb(beam, progress)
        law = _scaled(beam.worst.law, [look for look, _ in sided])
    else:
        sided = yield from coarse(beam, progress)
        beam.refuse_wrong_place(max((look for look, _ in sided), key=lambda look: look.power_w))
        law = first_law([look for look, _ in sided])
    beam.expect = law.power_w
    beam.refuse_dim(law.highest_w)
    if beam.behind:
        beam.refuse_sample(max((look for look, _ in sided), key=lambda look: look.power_w))
    return sided, law


def _climb(beam: MeteredBeam, progress: tuple[float, float]) -> Generator[CalStep, None, list[Sided]]:
    """Look at the darkest angle, then farther and farther out to both sides, as the worst allows."""
    dark = beam.dark_deg
    looks: list[Sided] = []
    first = beam.look(dark)
    yield step_of(first, "scan", progress[0])
    beam.refuse_dark(first)
    ends = {way: _end(beam, dark, way) for way in (1, -1)}
    for part in CLIMB:
        for way, end in ends.items():
            angle = dark + part * (end - dark)
            if abs(angle - dark) < THERE_DEG or not beam.allowed(angle):
                continue
            looks.append((beam.look(angle, from_deg=dark), way))
            yield step_of(looks[-1][0], "scan", progress[0] + (progress[1] - progress[0]) * part)
    looks = looks or [(first, 1)]
    beam.refuse_wrong_place(max((look for look, _ in looks), key=lambda look: look.power_w))
    return looks


def _end(beam: MeteredBeam, dark_deg: float, way: int) -> float:
    """Return the brightest angle on one side of the darkest that the worst allows, and the sensor's limit."""
    angle = dark_deg
    while abs(angle - dark_deg) < HALF_DEG and beam.allowed(angle + way * FINE_DEG):
        angle += way * FINE_DEG
    return angle


def _scaled(unit: Law, looks: Sequence[Look]) -> Law:
    """Return the law with the power at this place, which the looks must bear out.

    :raises CalibrationRefused: they do not.
    """
    full = np.array([look.power_w / unit.power_w(look.angle_deg) for look in looks])
    weight = np.array([unit.power_w(look.angle_deg) for look in looks])
    highest = float(np.average(full, weights=weight))
    if float(np.max(np.abs(full / highest - 1) * np.sqrt(weight / weight.max()))) > OFF_LAW:
        raise CalibrationRefused(
            "the powers at this position do not follow the attenuator's curve (they differ by "
            f"{float(np.ptp(full)) / highest:.0%})",
            "calibrate the attenuator again: labctl calibrate attenuator --use",
        )
    return scaled_to(unit, highest)


def scaled_to(unit: Law, highest_w: float) -> Law:
    """Return the law with another highest power."""
    return Law(unit.zero_deg, unit.lowest_w * highest_w, highest_w, unit.sigma_rel)


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
    """Return the brightest angle that sensor, limits and mount allow by a law, of equals the nearest.

    :raises CalibrationRefused: none is.
    """
    return brightest_pair(beam, law)[0]


def brightest_pair(beam: MeteredBeam, law: Law) -> list[float]:
    """Return the brightest angle allowed, and its like beyond the minimum where that is allowed too.

    :raises CalibrationRefused: none is.
    """
    dark, room = beam.dark_deg, beam.ceiling_w / ALMOST
    angles = np.arange(beam.low_deg, beam.high_deg + FINE_DEG / 2, FINE_DEG).tolist() + _tops(law)
    bright = [(law.power_w(a), a) for a in angles if beam.allowed(a) and law.power_w(a) <= room]
    if not bright:
        raise CalibrationRefused(
            "no angle with enough light is allowed",
            "raise angle_range_deg, the sensor's limit or the limits in the bench file",
        )
    best = _nearest_bright(bright, dark)
    other = 2 * dark - best
    return [best, other] if abs(other - best) > FINE_DEG and beam.allowed(other) else [best]


def arrivals(
    beam: MeteredBeam, law: Law, count: int, what: str, progress: tuple[float, float]
) -> Generator[CalStep, None, list[Look]]:
    """Come to the brightest setting allowed again and again, beyond the minimum too, and from both sides.

    An error of the zero and the play of the mount cancel in the mean, its repeatability is averaged.
    """
    pair = brightest_pair(beam, law)
    angles = [(pair[i % len(pair)], 1 if i // len(pair) % 2 else -1) for i in range(count)]
    looks = yield from through(beam, angles, what, progress)
    return [look for look, _ in looks]


def _tops(law: Law) -> list[float]:
    return [law.zero_deg + PERIOD_DEG * k for k in range(-6, 7)]
