"""How long pulses are AT THE SAMPLE: measured there, computed from the glass before it, or unknown."""

from __future__ import annotations

import math

from labctl.analysis.calibration.glass import Piece, pulse_at_sample
from labctl.model.errors import ConfigError
from procedures.calibration.options import EnergyOptions
from procedures.calibration.record import Findings

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
            raise ConfigError("glasses without the width before them", key="glass", hint="--pulse-fs 35")
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
