"""Calibrations on an open bench: for these instruments, in time, and put to use; before any light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from labctl.config import BenchConfig, RoleName
from labctl.config.calibrated import NamedCalibration
from labctl.data.calibrations import is_expired
from labctl.model.calibration import KINDS, Calibration, CalibrationKind
from labctl.model.errors import ConfigError
from labctl.model.pump import Bands
from labctl.model.records import Identity, SpectrometerInfo

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
        Remark(kind, "is required, and no file is named", True)
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


def refuse(remarks: tuple[Remark, ...]) -> None:
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
    return None if named is None else calibrated_info(info, named, config.band_settings())


def calibrated_info(info: SpectrometerInfo, named: NamedCalibration, bands: Bands) -> SpectrometerInfo:
    """Return what a spectrometer says of itself, with what was measured in its place.

    :param bands: the resolution is that in the middle of the lasing band.
    :raises ConfigError: the wavelengths do not rise from pixel to pixel.
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
                f"the wavelengths of {named.file} do not rise over the {pixel.size} pixels there are",
                key="calibrations.spectrometer",
                hint=_HINT,
            )
    ours = c.tables.get("nonlinearity") if c.facts.get("nonlinearity_source") == "measured" else None
    return replace(
        info,
        wavelength_nm=wavelength_nm,
        nonlinearity=ours or info.nonlinearity,
        resolution_nm=resolution_nm(c, sum(bands.lasing_nm) / 2) or info.resolution_nm,
    )


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
        return Remark(kind, f"{named.file} is for a {role}, which did not say who it is")
    told = bool(then.serial and present.serial)
    if (told and then.serial != present.serial) or then.model != present.model:
        return Remark(
            kind,
            f"{named.file} is for the {role} {_who(then)}, and this bench has {_who(present)}",
            refuses=True,
        )
    if not told:
        return Remark(kind, f"{named.file} cannot be told to be of this {role}, which has no serial number")
    return None


def _who(identity: Identity) -> str:
    return f"{identity.model} with serial number {identity.serial or 'unknown'}"
