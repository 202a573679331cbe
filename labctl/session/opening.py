"""Opens a bench: first its limits and calibrations are looked at, then its instruments are connected to.

No limit may be missing or contradict another; calibrations must be for these instruments, and in time. All
instruments are tried, and all that failed are told at once.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

import numpy as np

from drivers import registry
from labctl.analysis.spectra.reduce import polynomial_problem
from labctl.config import BenchConfig, RoleName
from labctl.config.calibrated import NamedCalibration
from labctl.data.calibrations import is_expired
from labctl.model.calibration import KINDS, Calibration, CalibrationKind
from labctl.model.clock import Clock, ScaledClock, Stop, check_stop, hearing
from labctl.model.errors import ConfigError, ConnectionFailure, InstrumentError, NotConnected
from labctl.model.pump import Bands
from labctl.model.records import Identity, SpectrometerInfo
from labctl.model.roles import (
    Attenuator,
    Device,
    Heater,
    PowerMeter,
    Roles,
    Shutter,
    Spectrometer,
    Stage,
    Thermometer,
)
from procedures.gate.attenuator import allowed_angles, make_curve, off_branch
from procedures.gate.fluence import make_beam

# --- limits ----------------------------------------------------------------------------------------

REQUIRED = ("max_pulse_energy", "max_average_power", "max_dose_uj_cm2")
"""Limits that a bench file must state beside ``max_fluence_uj_cm2``, which it cannot be read without.

A mount may be turned to any angle of its driver's own range where ``angle_range_deg`` is left out.
"""


def refuse_limits(config: BenchConfig) -> None:
    """Refuse a bench whose limits are not all stated, or contradict each other or the attenuator.

    A simulated bench is no exception: its file looks like any other, and a real laser may stand behind it.

    :raises ConfigError: names the keys and the reason; nothing has been connected to.
    """
    missing = [key for key in REQUIRED if getattr(config.limits, key) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not stated; labctl does not "
            "connect without them",
            key="limits",
            hint='add them next to max_fluence_uj_cm2, e.g. max_pulse_energy = "150 nJ", '
            'max_average_power = "0.15 mW", max_dose_uj_cm2 = 5e7 (fluence x pulses over one run)',
        )
    settings, limits = config.pump_settings(), config.limit_settings()
    curve = make_curve(settings.curve, _angles(config))
    make_beam(settings, limits).refuse_contradiction(curve.reach[0])


def refuse_angle(config: BenchConfig, angle_deg: float) -> None:
    """Refuse an angle that the bench file alone shows to be out of bounds.

    :raises ConfigError: names the angles allowed; nothing has been connected to.
    """
    curve = make_curve(config.pump_settings().curve, _angles(config))
    if reason := off_branch(curve, angle_deg):
        raise ConfigError(reason, key="--angle")


def _angles(config: BenchConfig) -> tuple[float, float]:
    """Return the angles that both the bench's limits and the mount's configuration allow."""
    low = float(getattr(config.attenuator, "min_angle_deg", -math.inf))
    high = float(getattr(config.attenuator, "max_angle_deg", math.inf))
    allowed = config.limits.angle_range_deg
    both = allowed_angles((low, high), allowed)
    if allowed is not None and both[0] >= both[1]:
        raise ConfigError(
            f"{allowed[0]:g} to {allowed[1]:g} deg are outside the mount's range, {low:g} to {high:g} deg",
            key="limits.angle_range_deg",
            hint="see min_angle_deg and max_angle_deg in [attenuator]",
        )
    return both


# --- calibrations ----------------------------------------------------------------------------------

_HINT = "measure it again with labctl calibrate, or name another file in [calibrations]"


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of one calibration; ``refuses`` where it may not be used."""

    kind: CalibrationKind
    text: str
    refuses: bool = False

    def __str__(self) -> str:
        return f"calibrations.{self.kind}: {self.text}"


def remarks_on_time(config: BenchConfig, now: datetime | None = None) -> tuple[Remark, ...]:
    """Return what has expired and what is missing, by the rules of the bench file.

    :param now: the present time by default.
    """
    table = config.calibrations
    if table is None:
        return ()
    named, now = table.named(), now or datetime.now(UTC)
    missing = [
        Remark(kind, "is required, but no file is named", True)
        for kind in KINDS
        if kind in table.required and kind not in named
    ]
    expired = [
        Remark(kind, f"{n.file} expired on {n.calibration.valid_until_utc[:10]}", table.expired == "refuse")
        for kind, n in named.items()
        if is_expired(n.calibration, now)
    ]
    return (*missing, *expired)


def remarks_on_identity(config: BenchConfig, identities: Mapping[RoleName, Identity]) -> tuple[Remark, ...]:
    """Return which calibrations are of other instruments than these, or cannot be told to be of them."""
    named = config.calibrations.named() if config.calibrations else {}
    return tuple(
        remark
        for kind, n in named.items()
        for role in n.calibration.bound_to
        if (remark := _foreign(kind, n, role, dict(identities).get(_role(role)))) is not None
    )


def refuse_calibrations(remarks: tuple[Remark, ...]) -> None:
    """Refuse a bench that its calibrations are not for.

    :raises ConfigError: names every such calibration.
    """
    refused = [remark for remark in remarks if remark.refuses]
    if len(refused) == 1:
        raise ConfigError(refused[0].text, key=f"calibrations.{refused[0].kind}", hint=_HINT)
    if refused:
        raise ConfigError("; ".join(map(str, refused)), hint=_HINT)


def measured_info(info: SpectrometerInfo, config: BenchConfig) -> SpectrometerInfo | None:
    """Return what a spectrometer says of itself, with what was measured in its place; None if nothing was.

    :raises ConfigError: that axis is none for this spectrometer.
    """
    named = config.calibrations.spectrometer if config.calibrations else None
    found = stated_info(info, config)
    if named is not None:
        found = calibrated_info(found, named, config.band_settings())
    return None if found is info else found


def stated_info(info: SpectrometerInfo, config: BenchConfig) -> SpectrometerInfo:
    """Return what a spectrometer says of itself, with what the bench file knows better in its place.

    A response polynomial that no detector has is left out; :func:`polynomial_problem` says why.
    """
    stated = config.spectrometer
    error_nm = getattr(stated, "resolution_sigma_nm", None)
    if error_nm is not None and info.resolution_nm is not None:
        info = replace(info, resolution_sigma_nm=float(error_nm))
    level = getattr(stated, "saturation_counts", None)
    if level is not None and level < info.max_counts:
        info = replace(info, max_counts=float(level))
    if polynomial_problem(info.nonlinearity or (), info.max_counts):
        info = replace(info, nonlinearity=None)
    return info


def calibrated_info(info: SpectrometerInfo, named: NamedCalibration, bands: Bands) -> SpectrometerInfo:
    """Return what a spectrometer says of itself, with what was measured in its place.

    :param bands: the resolution is that in the middle of the lasing band.
    :raises ConfigError: the wavelengths do not increase from pixel to pixel.
    """
    c = named.calibration
    wavelength_nm = info.wavelength_nm
    if coefficients := c.tables.get("wavelength_coefficients"):
        pixel = np.arange(info.wavelength_nm.size, dtype=np.float64)
        with np.errstate(all="ignore"):
            wavelength_nm = np.polynomial.polynomial.polyval(pixel, np.asarray(coefficients))
        if not (
            np.all(np.isfinite(wavelength_nm)) and wavelength_nm[0] > 0 and np.all(np.diff(wavelength_nm) > 0)
        ):
            raise ConfigError(
                f"the wavelengths of {named.file} do not increase over the {pixel.size} pixels of the "
                f"spectrometer",
                key="calibrations.spectrometer",
                hint=_HINT,
            )
    resolved = resolution_nm(c, sum(bands.lasing_nm) / 2)
    ours = c.tables.get("nonlinearity") if c.facts.get("nonlinearity_source") == "measured" else None
    return replace(
        info,
        wavelength_nm=wavelength_nm,
        nonlinearity=ours or info.nonlinearity,
        resolution_nm=resolved or info.resolution_nm,
        resolution_sigma_nm=info.resolution_sigma_nm if resolved is None else _slit_sigma_nm(c, resolved),
    )


def _slit_sigma_nm(calibration: Calibration, resolution_nm: float) -> float | None:
    """Return the error of a resolution that was measured; None where the calibration does not say."""
    stated = calibration.quantities.get("resolution")
    return stated.total_rel * resolution_nm if stated is not None and stated.value > 0 else None


def resolution_nm(calibration: Calibration, at_nm: float) -> float | None:
    """Return the width of the slit function, interpolated between the lines it was measured at."""
    where, width = (calibration.tables.get(name, ()) for name in ("resolution_at_nm", "resolution_nm"))
    if where and len(where) == len(width):
        order = np.argsort(where)
        found = float(np.interp(at_nm, np.asarray(where)[order], np.asarray(width)[order]))
    else:
        quantity = calibration.quantities.get("resolution")
        found = quantity.value if quantity else 0.0
    return found if found > 0 else None


def _role(name: str) -> RoleName:
    return name  # type: ignore[return-value]  # a role of another labctl is not among those of this bench


def _foreign(
    kind: CalibrationKind, named: NamedCalibration, role: str, present: Identity | None
) -> Remark | None:
    """Compare serial number and model (a meter's head is part of it) with what was calibrated."""
    then = named.calibration.instruments[role]
    if present is None:
        return Remark(kind, f"{named.file} is for a {role}that did not identify itself")
    told = bool(then.serial and present.serial)
    if (told and then.serial != present.serial) or then.model != present.model:
        return Remark(
            kind,
            f"{named.file} is for the {role} {_who(then)}, but this bench has {_who(present)}",
            refuses=True,
        )
    if not told:
        return Remark(kind, f"{named.file} cannot be assigned to this {role}, which has no serial number")
    return None


def _who(identity: Identity) -> str:
    return f"{identity.model} with serial number {identity.serial or 'unknown'}"


# --- instruments -----------------------------------------------------------------------------------

log = logging.getLogger(__name__)

_FIRST: RoleName = "shutter"
"""Whatever happens next, it can be closed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Every instrument that answered, who it is, and why the others did not."""

    devices: Mapping[RoleName, Device]
    identities: Mapping[RoleName, Identity]
    failures: tuple[ConnectionFailure, ...]

    def roles(self, clock: Clock) -> Roles:
        """Return the four roles, and the optional ones the bench has.

        :raises NotConnected: any of them is missing; all that are missing are named.
        """
        if self.failures:
            raise NotConnected(self.failures)
        return Roles(
            attenuator=cast("Attenuator", self.devices["attenuator"]),
            power_meter=cast("PowerMeter", self.devices["power_meter"]),
            spectrometer=cast("Spectrometer", self.devices["spectrometer"]),
            shutter=cast("Shutter", self.devices["shutter"]),
            clock=clock,
            stage=cast("Stage | None", self.devices.get("stage")),
            thermometer=cast("Thermometer | None", self.devices.get("thermometer")),
            heater=cast("Heater | None", self.devices.get("heater")),
        )

    def close(self) -> None:
        """Release every connection, whatever one of them does."""
        for role, device in reversed(list(self.devices.items())):
            try:
                device.close()
            except Exception:
                log.exception("while closing the %s", role)


def bench_clock(config: BenchConfig) -> Clock:
    """Return the clock of a bench: the wall's, or that of a simulated bench that runs faster."""
    return ScaledClock(config.bench.time_scale)


def open_all(
    config: BenchConfig,
    clock: Clock,
    stop: Stop | None = None,
    met: Callable[[RoleName, Identity], None] = lambda _role, _who: None,
) -> Opened:
    """Connect to every instrument and ask each who it is; the shutter is closed before any other is opened.

    A blade that is not confirmed closed is a failure of the shutter, and then no mount is homed at connect.

    :param met: told of each instrument as it answers.
    :raises Aborted: ``stop`` was set in between; what was open is closed again.
    """
    devices: dict[RoleName, Device] = {}
    identities: dict[RoleName, Identity] = {}
    failures: dict[RoleName, ConnectionFailure] = {}
    try:
        for role in (_FIRST, *(role for role in config.roles if role != _FIRST)):
            check_stop(stop)
            with _collected(role, config, failures):
                with hearing(stop):
                    devices[role] = _open(role, config, clock, may_move="shutter" not in failures)
                    identities[role] = devices[role].identity()
                log.info("%s: %s at %s", role, identities[role], config.driver(role).resource)
                met(role, identities[role])
                if role == "shutter":
                    cast("Shutter", devices[role]).close_beam()
    except BaseException:
        Opened(devices, identities, ()).close()
        raise
    return Opened(devices, identities, tuple(failures[role] for role in config.roles if role in failures))


def _open(role: RoleName, config: BenchConfig, clock: Clock, *, may_move: bool) -> Device:
    table = config.driver(role)
    if not may_move and getattr(table, "home_at_connect", False):
        table = table.model_copy(update={"home_at_connect": False})
    return cast("Device", registry.connect(role, table, clock))


@contextlib.contextmanager
def _collected(
    role: RoleName, config: BenchConfig, failures: dict[RoleName, ConnectionFailure]
) -> Iterator[None]:
    try:
        yield
    except NotConnected as exc:
        log.warning("%s", exc)
        failures[role] = exc.failures[0]
    except InstrumentError as exc:
        log.warning("%s", exc)
        resource = config.driver(role).resource
        reason = exc.message.removeprefix(f"{exc.instrument}: ")
        failures[role] = ConnectionFailure(role, resource, reason, exc.hint)
