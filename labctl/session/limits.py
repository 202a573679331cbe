"""The limits of a bench, looked at before anybody connects to it: none missing, none against another."""

from __future__ import annotations

import math

from labctl.config import BenchConfig
from labctl.model.errors import ConfigError
from procedures.gate.attenuator import allowed_angles, make_curve, off_branch
from procedures.gate.fluence import make_beam

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
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not stated, and without them no "
            "bench is connected to",
            key="limits",
            hint='write them beside max_fluence_uj_cm2, e.g. max_pulse_energy = "150 nJ", '
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
            f"{allowed[0]:g} to {allowed[1]:g} deg lie outside the mount's own {low:g} to {high:g} deg",
            key="limits.angle_range_deg",
            hint="see min_angle_deg and max_angle_deg in [attenuator]",
        )
    return both
