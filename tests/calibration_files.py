"""Calibrations of a simulated bench, as they would have been measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from labctl.data.calibrations import write_calibration
from labctl.model.calibration import Calibration, CalibrationKind, Quantity
from labctl.model.records import Identity

MOUNT = Identity("Thorlabs", "ELL14", "11400123", "2.0")
METER = Identity("Thorlabs", "PM100D + S130C", "P0004711", "2.4.0")
CAMERA = Identity("Ocean Insight", "FX", "FXA1", "")
IDENTITIES = {"attenuator": MOUNT, "power_meter": METER, "spectrometer": CAMERA}

_BOUND: Mapping[CalibrationKind, tuple[str, ...]] = {
    "attenuator": ("attenuator",),
    "pickoff": ("power_meter",),
    "energy": ("power_meter",),
    "spot": (),
    "spectrometer": ("spectrometer",),
}
_QUANTITIES: Mapping[CalibrationKind, Mapping[str, Quantity]] = {
    "attenuator": {
        "zero_deg": Quantity(11.5, "deg", 0.02),
        "leakage": Quantity(0.003, "1", 2e-4),
        "max_power": Quantity(8e-6, "W", 1e-9, 2.4e-7),
        "repeatability": Quantity(0.03, "deg", 0.005),
        "backlash": Quantity(0.08, "deg", 0.01),
    },
    "pickoff": {"ratio": Quantity(25.0, "1", 0.05, 0.0), "nonlinearity": Quantity(0.001, "1", 0.002)},
    "energy": {
        "repetition_rate": Quantity(1000.5, "Hz", 0.01, 0.0),
        "pulse_energy": Quantity(210e-9, "J", 1e-10, 6e-9),
        "pulse_cv": Quantity(0.02, "1", 0.001),
        "drift": Quantity(-0.004, "1", 0.001),
        "pulse_width": Quantity(59.0, "fs", 0.0, 3.0),
    },
    "spot": {
        "x_um": Quantity(105.0, "um", 0.5, 0.105),
        "y_um": Quantity(95.0, "um", 0.4, 0.095),
        "ellipticity": Quantity(95 / 105, "1", 0.006),
        "incidence_deg": Quantity(10.0, "deg", 0.0, 0.5),
    },
    "spectrometer": {"resolution": Quantity(0.21, "nm", 0.005)},
}
_FACTS: Mapping[CalibrationKind, Mapping[str, str | float | bool]] = {
    "attenuator": {"form": "malus", "branch": "+", "wavelength_nm": 800.0},
    "pickoff": {"wavelength_nm": 800.0},
    "energy": {"wavelength_nm": 800.0, "pulse_width_source": "computed", "repetition_source": "measured"},
    "spot": {"shape": "gaussian", "method": "knife edge, manual"},
    "spectrometer": {"lamp": "hg-ar", "nonlinearity_source": "measured"},
}


def calibration(kind: CalibrationKind, **changes: Any) -> Calibration:
    """One calibration of each kind, in time until 2126."""
    made = Calibration(
        kind=kind,
        measured_utc="2026-11-23T10:15:00+00:00",
        valid_until_utc="2126-01-01T00:00:00+00:00",
        operator="me",
        instruments={role: IDENTITIES[role] for role in ("power_meter", *_BOUND[kind])},
        bound_to=_BOUND[kind],
        quantities=_QUANTITIES[kind],
        tables=_TABLES if kind == "spectrometer" else {"raw_y": (1.0, 2.0)},
        facts=_FACTS[kind],
        version="0.4",
    )
    return replace(made, **changes)


_TABLES = {
    "wavelength_coefficients": (500.2, 0.03, 1e-7),
    "nonlinearity": (1.0, -1e-7),
    "resolution_at_nm": (500.0, 600.0),
    "resolution_nm": (0.2, 0.3),
}


def stored(directory: Path, *calibrations: Calibration, rules: str = "") -> str:
    """Write the files, and return the block of a bench file that names them."""
    lines = [f'{c.kind} = "cal/{write_calibration(c, directory / "cal").name}"' for c in calibrations]
    return "\n".join(["", "[calibrations]", *lines, rules, ""])
