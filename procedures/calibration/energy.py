"""Energy of the pulses: their rate, their mean energy on the sample, how they vary, and how long they are."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import cast

import numpy as np

from labctl.analysis.calibration.pulses import Piece, pulse_at_sample, pulse_statistics
from labctl.model.calibration import Calibration
from labctl.model.errors import CalibrationRefused, ConfigError, InstrumentError, InstrumentFault
from labctl.model.roles import counting, pulsed, zeroed
from procedures.calibration import scanning
from procedures.calibration.context import CalContext, CalStep, EnergyOptions, Steps
from procedures.calibration.pickoff import NEARLY_ALL, full_power, part_sigma_rel
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import arrivals, brightest_deg, scan_in_front, survey
from procedures.calibration.worst import Law, Look
from procedures.gate.safe_state import retried

THICKNESS_REL = 0.02
"""How well a glass in the beam is known: its tolerance, and the beam's slant through it."""
_NAMES = {"fused-silica": "fused silica", "fusedsilica": "fused silica"}


def add_pulse_width(found: Findings, options: EnergyOptions, wavelength_nm: float) -> None:
    """Add the width at the sample, or say that it is unknown.

    :raises ConfigError: glasses without a pulse, or numbers that make no sense.
    :raises CalibrationRefused: a glass that nobody knows the dispersion of.
    """
    found.facts["pulse_width_source"] = "unknown"
    if options.pulse_width_fs is not None:
        _refuse("pulse_width_fs", options.pulse_width_fs)
        found.quantity("pulse_width", options.pulse_width_fs, "fs", 0.0, options.pulse_width_sigma_fs)
        found.facts["pulse_width_source"] = "measured"
        return
    if options.pulse_fs is None:
        if options.glasses:
            raise ConfigError(
                "dispersive glass, but no pulse width before it", key="glass", hint="--pulse-fs 35"
            )
        found.flags.append("pulse width at the sample unknown")
        return
    _refuse("pulse_fs", options.pulse_fs)
    pieces = [Piece(_NAMES.get(n.lower(), n), mm, THICKNESS_REL * mm) for n, mm in options.glasses.items()]
    width = pulse_at_sample(options.pulse_fs, pieces, wavelength_nm, source_sigma_fs=options.pulse_sigma_fs)
    found.quantity("pulse_width", width.width_fs, "fs", width.sigma_fs)
    found.facts["pulse_width_source"] = "computed"
    found.facts["glasses"] = ", ".join(f"{name}: {mm:g} mm" for name, mm in options.glasses.items()) or "none"
    found.facts |= {"pulse_before_fs": options.pulse_fs, "gdd_fs2": width.gdd_fs2}


def _refuse(key: str, width_fs: float) -> None:
    if not (math.isfinite(width_fs) and width_fs > 0):
        raise ConfigError(f"must be a positive number of fs, not {width_fs:g}", key=key)


COUNTS = 8
GATE_S = 1.0
"""A counter looks back about so far: counts closer together share a pulse that is missing."""
CLOCK_REL = 1e-4
"""A meter's time base."""
FACTOR = 1.5
"""A counted rate off the stated one by more than this is no rate of this laser."""
LEAST_PULSES = 50
ARRIVALS = 32
"""At the brightest setting, where limits keep the plate from full transmission."""
DRIFT_REL = 0.03
"""A change of the mean power within the watch that is worth a word."""


def calibrate_energy(context: CalContext) -> Steps:
    """Count the pulses, watch the power at full transmission, and read single pulses.

    :raises CalibrationRefused: no light, no rate, or pulses that are no pulses.
    """
    options = cast("EnergyOptions", context.options)
    if not 1 <= options.drift_s <= 24 * 3600:
        raise ConfigError(f"must be 1 s to one day, not {options.drift_s:g} s", key="drift_s")
    found = Findings()
    add_pulse_width(found, options, context.settings.wavelength_nm)  # refused before anybody moves a sensor
    yield from scan_in_front(context, (0.0, 0.05), park=True)
    with MeteredBeam(context, "sample") as beam:
        beam.place_meter()
        beam.learn_zero()  # where the sensor stands, before the console takes what it sees for zero
        found.facts["zeroed_w"] = _zero(beam)
        beam.read_zero()
        yield CalStep("note", f"zero read: {beam.zero_w * 1e9:.3g} nW", progress=0.05)
        _, law = yield from survey(beam, (0.05, 0.2))
        parked = context.course.parked
        top_deg = brightest_deg(beam, law) if parked is None else parked.angle_deg
        rate = _rate(found, beam, context, options, top_deg)
        yield CalStep(
            "note", f"repetition rate {rate:.6g} Hz ({found.facts['repetition_source']})", progress=0.25
        )
        looks = yield from _watch(beam, top_deg, options.drift_s)
        energies = yield from _single_pulses(beam, top_deg, options.pulses)
        level = yield from _level(beam, law, looks)
        yield CalStep("note", f"{len(looks)} powers and {len(energies)} single pulses read", progress=0.97)
        beam.refuse_wrong_place(looks[0])
        scanning.leave(beam)
        beam.restore()
    _energy(found, context, looks, level, rate=rate, law=law)
    if context.roles.power_meter.sensor == "thermal":
        found.facts["pulse_cv_source"] = "unknown"
        found.flags.append("pulse variation unknown: a thermal head averages over its time constant")
    else:
        _variation(found, looks, energies, rate, beam.noise_w)
    return _finished(found, context, beam)


def _zero(beam: MeteredBeam) -> float:
    """Zero the console itself behind the closed shutter, where it can; return the offset it found."""
    meter = zeroed(beam.gauge.meter)
    if meter is None:
        return 0.0
    with beam.guard():
        beam.blade.close()
        beam.gauge.settle(2.0)  # a slow head remembers where it stood before
        try:
            return meter.zero(beam.context.stop)
        except InstrumentFault:
            if zeroed(beam.gauge.meter) is not None:
                raise
            return 0.0  # the console has no zero for this head; its dark level is read next


def _rate(
    found: Findings, beam: MeteredBeam, context: CalContext, options: EnergyOptions, top_deg: float
) -> float:
    """Count the pulses where the head can, else take what is stated."""
    stated = options.rate_hz or context.settings.repetition_rate_hz
    counted = _counts(beam, top_deg)
    if not counted:
        sigma = options.rate_sigma_hz
        if not (math.isfinite(stated) and stated > 0 and sigma >= 0):
            raise CalibrationRefused("the repetition rate is neither counted nor stated", "--rate 1000Hz")
        found.quantity("repetition_rate", stated, "Hz", 0.0, sigma)
        found.facts["repetition_source"] = "stated"
        return stated
    rate = float(np.median(counted))
    if not 1 / FACTOR < rate / stated < FACTOR:
        raise CalibrationRefused(
            f"the head counts {rate:.6g} Hz, but the stated rate is {stated:.6g} Hz: pulses are lost, or "
            f"noise is counted as pulses",
            "check the trigger level of the head, or state the rate",
        )
    sigma = float(np.std(counted, ddof=1)) / math.sqrt(len(counted))
    found.quantity("repetition_rate", rate, "Hz", sigma, CLOCK_REL * rate)
    found.facts["repetition_source"] = "measured"
    return rate


def _counts(beam: MeteredBeam, top_deg: float) -> list[float]:
    """Return counted rates; none where the head cannot."""
    counter = counting(beam.gauge.meter)
    if counter is None:
        return []
    beam.look(top_deg, keep_open=True)
    with beam.guard():
        try:
            counted: list[float] = []
            for _ in range(COUNTS):
                counted.append(retried(lambda: counter.frequency_hz(beam.context.stop)))
                beam.clock.sleep(GATE_S, beam.context.stop)
            return counted
        except InstrumentError:
            return []


def _watch(beam: MeteredBeam, top_deg: float, seconds: float) -> Generator[CalStep, None, list[Look]]:
    """Watch the power at one setting."""
    looks = [beam.look(top_deg, keep_open=True)]
    while (passed := looks[-1].at_s - looks[0].at_s) < seconds or len(looks) < 5:
        looks.append(beam.look(top_deg, keep_open=True))
        text = f"{passed:6.1f} s  {looks[-1].power_w * 1e6:10.5g} uW"
        part = 0.25 + 0.5 * min(passed / seconds, 1.0)
        yield CalStep("drift", text, passed, looks[-1].power_w, "W", "s", looks[-1].sigma_w, part)
    beam.close()
    return looks


def _level(beam: MeteredBeam, law: Law, looks: Sequence[Look]) -> Generator[CalStep, None, Sequence[Look]]:
    """Come to the setting again and again, if it is not full transmission: the mount's error is averaged."""
    if beam.course.parked is not None or law.power_w(looks[0].angle_deg) > NEARLY_ALL * law.highest_w:
        return looks
    return (yield from arrivals(beam, law, ARRIVALS, "scan", (0.75, 0.9)))


def _single_pulses(beam: MeteredBeam, top_deg: float, pulses: int) -> Generator[CalStep, None, list[float]]:
    """Read single pulses, where the head sees them."""
    meter = pulsed(beam.gauge.meter)
    if meter is None or pulses < LEAST_PULSES:
        return []
    beam.look(top_deg, keep_open=True)
    energies: list[float] = []
    for i in range(pulses):
        with beam.guard():
            energies.append(meter.pulse_energy_j(beam.context.stop))
        if i % 50 == 0:
            text = f"pulse {i}: {energies[-1] * 1e9:.4g} nJ"
            yield CalStep("pulse", text, float(i), energies[-1], "J", "", None, 0.75 + 0.2 * i / pulses)
    beam.close()
    return energies


def _energy(
    found: Findings,
    context: CalContext,
    looks: Sequence[Look],
    level: Sequence[Look],
    *,
    rate: float,
    law: Law,
) -> None:
    """Mean energy at full transmission, and its drift.

    Where limits keep the plate from full transmission, what was read is divided by the law's transmission.
    """
    at = np.array([look.at_s - looks[0].at_s for look in looks])
    power = np.array([look.power_w for look in looks])
    mean = float(np.mean(power))
    # Successive readings of a laser that wanders belong together: half as many count as stand alone.
    own = float(np.std(power, ddof=1)) * math.sqrt(2.0 / power.size) / mean
    part, extrapolated = law.power_w(looks[0].angle_deg) / law.highest_w, 0.0
    if (parked := context.course.parked) is not None:
        part, extrapolated = parked.part, parked.sigma_rel
        full_w = mean / part
    elif level is looks:
        full_w = mean / part
    else:
        full_w, of_level = full_power(level, law)
        extrapolated = math.hypot(part_sigma_rel(context, law, part), of_level)
    scale = math.hypot(context.settings.meter_sigma_rel, found.quantities["repetition_rate"].total_rel)
    full_j = full_w / rate
    found.facts["transmission"] = part
    slope, _ = np.polyfit(at, power, 1)
    wander = abs(float(slope)) * float(np.ptp(at)) / mean / 2
    found.quantity(
        "pulse_energy", full_j, "J", math.hypot(own, extrapolated, wander) * full_j, scale * full_j
    )
    residual = power - np.polyval(np.polyfit(at, power, 1), at)
    error = float(np.sqrt(np.sum(residual**2) / (at.size - 2) / np.sum((at - at.mean()) ** 2)))
    drift, sigma = (float(k) * float(np.ptp(at)) / mean for k in (slope, error))
    found.quantity("drift", drift, "1", sigma)
    if abs(drift) > max(DRIFT_REL, 5 * sigma):
        found.flags.append(f"the laser drifts: {drift:+.1%} in {float(np.ptp(at)):.0f} s")
    found.table("raw_time_s", at.tolist())
    found.table("raw_power_w", power.tolist())
    found.table("raw_power_sigma_w", [look.sigma_w for look in looks])
    found.facts["watched_s"] = float(np.ptp(at))


def _variation(
    found: Findings, looks: Sequence[Look], energies: Sequence[float], rate: float, noise_w: float
) -> None:
    """Pulse-to-pulse variation: from single pulses, else from averages, if pulses are independent."""
    if energies:
        pulses = pulse_statistics(energies)  # in the dark such a head shows nothing: its noise is unknown
        found.table("raw_pulse_j", energies)
        found.facts["pulse_cv_source"] = "single pulses"
        found.flags += [f"pulses: {flag}" for flag in pulses.flags]
        found.quantity("pulse_cv", pulses.pulse_cv, "1", pulses.pulse_cv_sigma)
        found.quantity("two_photon_factor", pulses.two_photon_factor, "1", pulses.two_photon_factor_sigma)
        return
    powers = np.array([look.power_w for look in looks])
    spread = np.array([look.reading.sigma_w * math.sqrt(look.reading.n) for look in looks])
    single_s = np.array([(k.reading.stop_s - k.reading.start_s) / k.reading.n for k in looks])
    relative = (np.maximum(spread**2 - noise_w**2, 0.0) / powers**2) * single_s * rate
    variance, n = float(np.mean(relative)), sum(look.reading.n - 1 for look in looks)
    found.facts["pulse_cv_source"] = "averages"
    found.flags.append("pulse variation from averages, assuming independent pulses")
    cv = math.sqrt(max(variance, 0.0))
    sigma = cv / math.sqrt(2 * max(n, 2)) if cv else 0.0
    found.quantity("pulse_cv", cv, "1", sigma)
    found.quantity("two_photon_factor", 1 + cv**2, "1", 2 * cv * sigma)


def _finished(found: Findings, context: CalContext, beam: MeteredBeam) -> Calibration:
    found.facts |= {"wavelength_nm": context.settings.wavelength_nm, "zero_w": beam.zero_w}
    found.facts |= {
        "averages": float(context.options.readings),
        "place": "sample",
        "sensor": beam.gauge.meter.sensor,
    }
    found.filters(beam.filters)
    found.doubts(beam.gauge.doubts)
    return found.calibration("energy", context)
