"""How long pulses are AT THE SAMPLE: measured there, computed from the glass before it, or unknown."""

from __future__ import annotations

import math

from labctl.model.errors import ConfigError
from procedures.calibration.options import EnergyOptions
from procedures.calibration.record import Findings


def add_pulse_width(found: Findings, options: EnergyOptions) -> None:
    """Add the width at the sample, or say that it is unknown.

    :raises ConfigError: glasses without a pulse, or numbers that make no sense.
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
    raise NotImplementedError


def _refuse(key: str, width_fs: float) -> None:
    if not (math.isfinite(width_fs) and width_fs > 0):
        raise ConfigError(f"must be a positive number of fs, not {width_fs:g}", key=key)
