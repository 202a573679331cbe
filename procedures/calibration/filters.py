"""Another filter before the sensor where its ranges end; what it transmits is measured, not read off it."""

from __future__ import annotations

import math

from labctl.model.errors import CalibrationRefused
from labctl.model.hands import LIGHT, Request
from procedures.calibration.foresight import Look
from procedures.calibration.gauge import TooMuchLight
from procedures.calibration.placing import MeteredBeam

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
            "even the darkest angle known is over the meter's range",
            "put a filter into the beam and start again",
        )
    without = beam.look(overlap.angle_deg)
    name = f"ND {len(beam.filters) + 1}"
    text = (
        "The meter's highest range is too small. Put a filter of about 10 % before the sensor. Next: it is "
        f"measured at {overlap.angle_deg:.2f} deg, where the light was in range without it."
    )
    word = LIGHT if beam.behind else ""
    beam.ask(Request("filter", text, {"name": name, "transmission": DECADE}, word=word))
    behind = beam.look(overlap.angle_deg)
    ratio = behind.power_w / without.power_w
    if not LEAST_TRANSMISSION < ratio < MOST_TRANSMISSION:
        raise CalibrationRefused(
            f"what was put before the sensor transmits {ratio:.3g}: it is no filter of 10 %"
        )
    sigma = ratio * math.hypot(behind.sigma_w / behind.power_w, without.sigma_w / without.power_w)
    beam.filters.append((name, ratio, sigma))
    beam.set_filter(beam.filter_transmission * ratio)


def take_out(beam: MeteredBeam) -> None:
    """Have the filter taken away again."""
    text = "There is too little light behind the filter. Take it away from the sensor."
    word = LIGHT if beam.behind else ""
    beam.ask(Request("filter", text, {"name": "", "transmission": 1.0}, word=word))
    beam.set_filter(1.0)


def leave(beam: MeteredBeam) -> None:
    """Have a filter taken away at the end."""
    if beam.filter_transmission != 1.0:
        beam.finish()
        text = "Take the filter away from the sensor: the measurement is done."
        beam.ask(Request("filter", text, {"name": "", "transmission": 1.0}))
        beam.set_filter(1.0)
