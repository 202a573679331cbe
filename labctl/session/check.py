"""``labctl check``: who answers, what each reads, what failed with what to try, and is there light enough."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import cast

from labctl.analysis.spectra.reduce import polynomial_problem
from labctl.config import BenchConfig, RoleName
from labctl.model.clock import Clock, SteppedClock, Stop, hearing
from labctl.model.errors import ConnectionFailure, InstrumentError
from labctl.model.records import Identity
from labctl.model.roles import (
    Attenuator,
    Device,
    Heater,
    PowerMeter,
    Shutter,
    Spectrometer,
    Stage,
    Thermometer,
    confirms,
)
from labctl.session.bench import open_bench
from labctl.session.opening import (
    bench_clock,
    measured_info,
    open_all,
    refuse_limits,
    remarks_on_identity,
    remarks_on_time,
)
from labctl.session.watchdog.parent import alone
from procedures.calibration.attenuator import recheck_attenuator
from procedures.gate.attenuator import make_curve
from procedures.gate.fluence import make_beam

log = logging.getLogger(__name__)

NOISE_MARGIN = 20.0
"""Readings below this multiple of the meter's noise are told to the user before a sweep rests on them."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One instrument: who it is and what it reads, or why it failed."""

    role: RoleName
    resource: str
    driver: str
    identity: str = ""
    reading: str = ""
    failure: ConnectionFailure | None = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All instruments, in the order of the bench file, and what to think about before a sweep.

    :param recheck: what the attenuator's calibration is found to be worth, where that was asked for.
    """

    instruments: tuple[Checked, ...]
    warnings: tuple[str, ...]
    recheck: str = ""

    @property
    def failures(self) -> tuple[ConnectionFailure, ...]:
        """Why instruments failed; empty when all is well."""
        return tuple(c.failure for c in self.instruments if c.failure is not None)


def check_bench(
    config: BenchConfig,
    lowest_uj_cm2: float | None = None,
    clock: Clock | None = None,
    stop: Stop | None = None,
) -> CheckReport:
    """Connect to every instrument and take one reading of each; nothing moves and no shutter opens.

    :param lowest_uj_cm2: the lowest fluence planned; without one it is said where light enough begins.
    :raises ConfigError: a limit is missing, or contradicts another; nothing was connected to.
    :raises SafetyStop: another program that lives has the bench open; nothing was connected to.
    :raises Aborted: ``stop`` was set.
    """
    refuse_limits(config)
    clock = clock or bench_clock(config)
    with nullcontext() if isinstance(clock, SteppedClock) else alone(config, log.warning, stop):
        return _looked_at(config, lowest_uj_cm2, clock, stop)


def _looked_at(
    config: BenchConfig, lowest_uj_cm2: float | None, clock: Clock, stop: Stop | None
) -> CheckReport:
    opened = open_all(config, clock, stop)
    failed = {f.role: f for f in opened.failures}
    checked: list[Checked] = []
    warnings: list[str] = []
    try:
        for role in config.roles:
            device = opened.devices.get(role)
            if device is None or role in failed:
                checked.append(_entry(config, role, failure=failed[role]))
                continue
            with hearing(stop):
                checked.append(_reading(config, role, device, str(opened.identities[role]), stop))
        warnings += _warnings(config, checked, opened.devices, lowest_uj_cm2)
        warnings += _on_calibrations(config, opened.identities)
    finally:
        opened.close()
    return CheckReport(tuple(checked), tuple(warnings))


def recheck_bench(
    config: BenchConfig, report: CheckReport, clock: Clock | None = None, stop: Stop | None = None
) -> CheckReport:
    """Compare the attenuator with its calibration at a few angles; the plate moves, the shutter stays closed.

    :param report: of :func:`check_bench`; what is found is added to it.
    :raises LabctlError: the bench cannot be opened, a calibration of it is refused, or an instrument failed.
    """
    named = config.calibrations.attenuator if config.calibrations else None
    if named is None:
        said = "not checked again: the bench file names no attenuator calibration"
        return replace(report, recheck=said)
    with open_bench(config, clock, stop) as bench:
        found = recheck_attenuator(
            named.calibration, bench.roles, bench.pump.settings, bench.pump.limits, stop=stop
        )
        bench.pump.adopt(found.dark_deg, "", "")
    drifted = tuple(f"attenuator: {text}" for text in found.warnings)
    return replace(report, warnings=(*report.warnings, *drifted), recheck=found.text)


def _on_calibrations(config: BenchConfig, identities: Mapping[RoleName, Identity]) -> list[str]:
    remarks = (*remarks_on_time(config), *remarks_on_identity(config, identities))
    return [f"{remark}{': a sweep would be refused' if remark.refuses else ''}" for remark in remarks]


def _entry(
    config: BenchConfig,
    role: RoleName,
    identity: str = "",
    reading: str = "",
    failure: ConnectionFailure | None = None,
) -> Checked:
    table = config.driver(role)
    return Checked(role, table.resource, table.driver, identity, reading, failure)


def _reading(
    config: BenchConfig, role: RoleName, device: Device, identity: str, stop: Stop | None
) -> Checked:
    readers: dict[RoleName, Callable[[], str]] = {
        "attenuator": lambda: _read_attenuator(cast("Attenuator", device)),
        "power_meter": lambda: _read_meter(cast("PowerMeter", device), config.pump.wavelength_nm, stop),
        "spectrometer": lambda: _read_spectrometer(config, cast("Spectrometer", device), stop),
        "shutter": lambda: _read_shutter(cast("Shutter", device)),
        "stage": lambda: f"{cast('Stage', device).position_um():.1f} um",
        "thermometer": lambda: f"{cast('Thermometer', device).temperature_c():.2f} C",
        "heater": lambda: _read_heater(cast("Heater", device)),
    }
    try:
        return _entry(config, role, identity, readers[role]())
    except InstrumentError as exc:
        reason = exc.message.removeprefix(f"{exc.instrument}: ")
        failure = ConnectionFailure(role, config.driver(role).resource, reason, exc.hint)
        return _entry(config, role, identity, failure=failure)


def _read_heater(heater: Heater) -> str:
    heating = "heating" if heater.is_heating() else "off"
    return f"{heater.temperature_c():.1f} C, {heating}, {heater.temperature_range_c[1]:g} C at most"


def _read_shutter(shutter: Shutter) -> str:
    state = "open" if shutter.is_open() else "closed"
    return state if confirms(shutter) else f"{state} (commanded, not confirmed by a sensor)"


def _read_attenuator(mount: Attenuator) -> str:
    state = "" if mount.is_referenced() else ", not homed: a sweep homes it with the shutter closed"
    return f"{mount.angle_deg():.3f} deg{state}"


def _read_meter(meter: PowerMeter, wavelength_nm: float, stop: Stop | None) -> str:
    meter.prepare(wavelength_nm)
    reading = meter.read(1, stop)
    return f"{reading.power_w * 1e6:.4g} uW ({meter.sensor}, noise {meter.noise_w * 1e9:.3g} nW)"


def _read_spectrometer(config: BenchConfig, spectrometer: Spectrometer, stop: Stop | None) -> str:
    info = measured_info(spectrometer.info, config) or spectrometer.info
    spectrometer.set_integration(max(info.integration_min_s, min(0.1, info.integration_max_s)))
    spectrum = spectrometer.acquire(stop)
    axis = info.wavelength_nm
    resolution = "unknown" if info.resolution_nm is None else f"{info.resolution_nm:g} nm"
    return (
        f"{axis.size} pixels, {axis[0]:.1f} to {axis[-1]:.1f} nm, resolution {resolution}, "
        f"highest {spectrum.counts.max():.0f} of {info.max_counts:.0f} counts"
    )


def _warnings(
    config: BenchConfig, checked: list[Checked], devices: object, lowest_uj_cm2: float | None
) -> list[str]:
    found = [
        f"{c.role}: {hint}"
        for c in checked
        if c.role == "spectrometer" and c.failure is None
        for hint in _resolution_hint(config)
    ]
    opened = cast("dict[RoleName, Device]", devices)
    found += [f"spectrometer: {text}" for text in _on_exposures(config, opened.get("spectrometer"))]
    meter = opened.get("power_meter")
    if meter is not None and any(c.role == "power_meter" and c.failure is None for c in checked):
        noise_w = cast("PowerMeter", meter).noise_w
        weak = _too_weak_below(config, noise_w)
        weak = weak if lowest_uj_cm2 is None else weak_light(config, noise_w, lowest_uj_cm2)
        found += [f"power_meter: {weak}"] if weak else []
    return found


def _on_exposures(config: BenchConfig, device: Device | None) -> list[str]:
    """Return what another program left on in the spectrometer, and what its counts are not corrected for."""
    if device is None:
        return []
    own = cast("Spectrometer", device).info
    found = [*getattr(device, "remarks", ())]
    if problem := polynomial_problem(own.nonlinearity or (), own.max_counts):
        found.append(problem)
    elif (measured_info(own, config) or own).nonlinearity is None:
        found.append(
            "no nonlinearity is known, from it or from this backend of seabreeze: "
            "labctl calibrate spectrometer measures it"
        )
    return found


def _too_weak_below(config: BenchConfig, noise_w: float) -> str:
    """Say from which fluence on the meter reads well enough, where the attenuator can make less."""
    if lowest_power_w(config) >= NOISE_MARGIN * noise_w:
        return ""
    one_w = lowest_power_w(config, 1.0)
    return (
        f"below {NOISE_MARGIN * noise_w / one_w:.2g} uJ/cm2 the power at the meter is less than "
        f"{NOISE_MARGIN:.0f} times its noise of {noise_w * 1e9:.3g} nW: start a sweep above that"
    )


def weak_light(config: BenchConfig, noise_w: float, lowest_uj_cm2: float) -> str:
    """Say that the lowest power planned is too near the meter's noise; an empty string when it is not."""
    power_w = lowest_power_w(config, lowest_uj_cm2)
    if power_w >= NOISE_MARGIN * noise_w:
        return ""
    return (
        f"the lowest planned power, {power_w * 1e9:.3g} nW at the meter, lies under {NOISE_MARGIN:.0f} times "
        f"its noise of {noise_w * 1e9:.3g} nW: start higher, average longer, or send more light to the meter"
    )


def _resolution_hint(config: BenchConfig) -> list[str]:
    if config.calibrations and config.calibrations.spectrometer:
        return []
    if getattr(config.spectrometer, "resolution_nm", None) is None:
        return ["resolution_nm is not set: Q is only a lower bound"]
    return []


def lowest_power_w(config: BenchConfig, lowest_uj_cm2: float | None = None) -> float:
    """Return the lowest power at the meter that a sweep from this fluence needs."""
    settings, limits = config.pump_settings(), config.limit_settings()
    if lowest_uj_cm2 is not None:
        energy_j = make_beam(settings, limits).energy_j(lowest_uj_cm2)
    else:
        curve = make_curve(settings.curve, limits.angle_range_deg or (-360.0, 360.0))
        energy_j = settings.max_pulse_energy_j * curve.reach[0]
    return energy_j * settings.repetition_rate_hz / settings.pickoff_ratio
