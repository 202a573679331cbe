"""A gradient wheel, or any attenuator that follows no law: a table over its monotone stretch."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from labctl.analysis.calibration.table import TableFit, fit_table
from labctl.model.calibration import Calibration
from labctl.model.errors import CalibrationRefused
from procedures.calibration import filters
from procedures.calibration.context import CalContext, CalStep, Place, Steps
from procedures.calibration.foresight import DECADE_DEG
from procedures.calibration.options import AttenuatorOptions
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import Sided, through

LONGEST_STEP_DEG = 12.0


def calibrate_wheel(context: CalContext, options: AttenuatorOptions, place: Place) -> Steps:
    """Go from the darkest angle known towards more light, step by step, then back over what was found; fit.

    :raises CalibrationRefused: what was seen is not monotone, or too short.
    """
    with MeteredBeam(context, place, smooth=False) as beam:
        beam.place_meter()
        beam.learn_zero()
        yield CalStep(
            "note", "the meter's zero is read; the wheel is followed towards more light", progress=0.05
        )
        first = yield from _follow(beam, options.points)
        stretch = _monotone(first)
        brightest = max((look for look, _ in stretch), key=lambda look: look.power_w)
        beam.refuse_wrong_place(brightest)
        back = [(look.angle_deg, -1) for look, _ in stretch][::-1]
        again = yield from through(beam, back, "scan", (0.55, 0.95))
        sided = [*stretch, *again]
        fit = _fit(sided)
        beam.course.dark_deg = float(fit.angle_deg[int(np.argmin(fit.transmission))])
        filters.leave(beam)
        beam.restore()
    curve = (tuple(fit.angle_deg.tolist()), tuple((fit.max_power_w * fit.transmission).tolist()))
    text = f"table of {fit.angle_deg.size} angles, transmission down to {fit.transmission.min():.3g}"
    yield CalStep("fit", text, unit="W", x_unit="deg", progress=0.98, series="scan", curve=curve)
    return _found(context, beam, fit, sided)


def _follow(beam: MeteredBeam, points: int) -> Generator[CalStep, None, list[Sided]]:
    """Scan the allowed range outwards from the darkest angle known, as far as light may grow."""
    start = min(max(beam.guessed_dark_deg, beam.low_deg), beam.high_deg)
    step = min((beam.high_deg - beam.low_deg) / max(points - 1, 1), LONGEST_STEP_DEG)
    up = list(np.arange(start, beam.high_deg + 1e-6, step))
    down = list(np.arange(start - step, beam.low_deg - 1e-6, -step))
    looks: list[Sided] = []
    for angles in (up, down):
        for angle in (float(a) for a in angles):
            if looks and not beam.allowed(angle):
                break
            found = yield from through(beam, [(angle, 1)], "scan", (0.05, 0.05))
            looks += found
    return sorted(looks, key=lambda sided: sided[0].angle_deg)


def _monotone(sided: Sequence[Sided]) -> list[Sided]:
    """Return the longest stretch, in decades of power, over which the power rises or falls throughout."""
    power = np.log(np.maximum([look.power_w for look, _ in sided], 1e-15))
    sigma = np.array([look.sigma_w / max(look.power_w, 1e-15) for look, _ in sided])
    angle = np.array([look.angle_deg for look, _ in sided])
    steps, noise = np.diff(power), 3 * np.hypot(sigma[1:], sigma[:-1]) + 0.01
    jumps = np.abs(steps) > np.log(10) * (np.diff(angle) + 1.0) / DECADE_DEG  # where a wheel begins anew
    best: tuple[float, int, int] = (0.0, 0, 0)
    for sign in (1.0, -1.0):
        begin = 0
        for i in range(1, power.size + 1):
            if i == power.size or jumps[i - 1] or sign * steps[i - 1] < -noise[i - 1]:
                best = max(best, (abs(float(power[i - 1] - power[begin])), begin, i))
                begin = i
    _, begin, end = best
    if end - begin < 8:
        raise CalibrationRefused(
            f"the longest monotone stretch has {end - begin} readings, 8 or more are needed: the scan is too "
            "short, or what turns is no gradient wheel"
        )
    return list(sided[begin:end])


def _fit(sided: Sequence[Sided]) -> TableFit:
    return fit_table(
        [look.angle_deg for look, _ in sided],
        [look.power_w for look, _ in sided],
        [look.sigma_w for look, _ in sided],
        angle_sigma_deg=None,
        time_s=[look.at_s for look, _ in sided],
    )


def _found(context: CalContext, beam: MeteredBeam, fit: TableFit, sided: Sequence[Sided]) -> Calibration:
    found = Findings()
    scale = context.settings.meter_sigma_rel
    found.quantity("max_power", fit.max_power_w, "W", fit.max_power_sigma_w, scale * fit.max_power_w)
    found.table("angle_deg", fit.angle_deg.tolist())
    found.table("transmission", fit.transmission.tolist())
    found.table("transmission_sigma_rel", fit.sigma_rel.tolist())
    looks = [look for look, _ in sided]
    found.looks("", looks, "angle_deg", [look.angle_deg for look in looks])
    found.table("raw_direction", [side for _, side in sided])
    found.facts |= {"form": "table", "branch": "-" if fit.falling else "+", "place": beam.place}
    found.facts |= {"wavelength_nm": context.settings.wavelength_nm, "zero_w": beam.zero_w}
    found.facts |= {"least_transmission": float(fit.transmission.min()), "highest_transmission": 1.0}
    found.filters(beam.filters)
    found.flags += fit.flags
    found.doubts(beam.gauge.doubts)
    return found.calibration("attenuator", context)
