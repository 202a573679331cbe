"""What a plan asks of a bench: fluences within reach and limits, a dose that suffices, exposure times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from labctl.model.errors import ConfigError
from labctl.model.pump import Bands, Limits, PumpSettings
from labctl.model.records import SpectrometerInfo
from procedures.gate.attenuator import allowed_angles, make_curve
from procedures.gate.fluence import make_beam

LEAST_PIXELS = 3
_ROUNDING = 1 + 1e-9


class Exposures(Protocol):
    """The part of a plan that says how long light falls on the sample."""

    @property
    def average(self) -> int:
        """Exposures at each point."""

    @property
    def min_pulses(self) -> int:
        """Least number of laser pulses in an exposure that is not triggered."""

    @property
    def triggered(self) -> bool:
        """Whether exposures begin with a pulse."""

    @property
    def integration_s(self) -> tuple[float, ...]:
        """Exposure times that may be used; empty: a ladder is made."""

    @property
    def max_integration_s(self) -> float:
        """Longest exposure time of that ladder."""


def check_light(
    fluences_uj_cm2: Sequence[float],
    reference_uj_cm2: float | None,
    settings: PumpSettings,
    limits: Limits,
    *,
    angle_range_deg: tuple[float, float],
) -> None:
    """Refuse fluences above a limit or out of the attenuator's reach.

    :param fluences_uj_cm2: all that are planned, rising.
    :param angle_range_deg: the mount's own range.
    :raises ConfigError: one of them is; of several above a limit the highest, which was typed, is told.
    """
    beam = make_beam(settings, limits)
    reach = make_curve(settings.curve, allowed_angles(angle_range_deg, limits.angle_range_deg)).reach
    lowest, highest = (beam.fluence_uj_cm2(settings.max_pulse_energy_j * t) for t in reach)
    for wanted in reversed(fluences_uj_cm2):
        if reason := beam.forbidden(wanted):
            key = "reference" if wanted == reference_uj_cm2 else "stop"
            raise ConfigError(reason, key=key, hint="ask for less, or change [limits]")
        if not lowest <= wanted * _ROUNDING or not wanted <= highest * _ROUNDING:
            raise ConfigError(
                f"{wanted:.4g} uJ/cm2 is out of reach of the attenuator ({lowest:.4g} to {highest:.4g})",
                key="start" if wanted < lowest else "stop",
                hint="check max_pulse_energy, the spot and the attenuator's curve in [pump]",
            )


def check_dose(
    plan: Exposures, fluences_uj_cm2: Sequence[float], settings: PumpSettings, limits: Limits
) -> None:
    """Refuse a plan whose shortest exposures alone would pass the dose that is allowed.

    :param fluences_uj_cm2: of every point, in any order.
    :raises ConfigError: they would.
    """
    limit = limits.max_dose_uj_cm2
    if limit is None:
        return
    least = 1.0 if plan.triggered else float(plan.min_pulses)
    if plan.integration_s:
        least = max(least, min(plan.integration_s) * settings.repetition_rate_hz)
    dose = math.fsum(fluences_uj_cm2) * plan.average * least
    if dose > limit:
        raise ConfigError(
            f"the dose would pass its limit of {limit:.4g} uJ/cm2: the plan asks for at least {dose:.4g}",
            key="average",
            hint="fewer points or exposures, lower fluences, or another limits.max_dose_uj_cm2",
        )


def check_bands(bands: Bands, spectrometer: SpectrometerInfo) -> None:
    """Refuse bands of which the spectrometer sees too little.

    :raises ConfigError: fewer than ``LEAST_PIXELS`` of its pixels lie in one of them.
    """
    axis = spectrometer.wavelength_nm
    for key, (low, high) in (("emission_nm", bands.emission_nm), ("lasing_nm", bands.lasing_nm)):
        pixels = int(((axis >= low) & (axis <= high)).sum())
        if pixels < LEAST_PIXELS:
            raise ConfigError(
                f"{low:g} to {high:g} nm hold {pixels} pixels of the spectrometer, which sees "
                f"{axis[0]:.1f} to {axis[-1]:.1f} nm",
                key=f"bands.{key}",
                hint="where the emission is looked for must be where the spectrometer looks",
            )


def check_exposure(plan: Exposures, rate_hz: float, spectrometer: SpectrometerInfo) -> None:
    """Refuse exposure times that the spectrometer does not have, or that hold too few pulses.

    :raises ConfigError: they are.
    """
    shortest = spectrometer.integration_min_s
    longest = spectrometer.integration_max_s
    if (
        not plan.triggered
        and plan.min_pulses / rate_hz > min(plan.max_integration_s, longest)
        and not plan.integration_s
    ):
        raise ConfigError(
            f"{plan.min_pulses} pulses at {rate_hz:g} Hz last {plan.min_pulses / rate_hz:g} s, "
            f"longer than the longest exposure of {min(plan.max_integration_s, longest):g} s",
            key="max_integration_s",
        )
    for value in plan.integration_s:
        if not shortest <= value <= longest:
            raise ConfigError(f"{value:g} s is outside {shortest:g} to {longest:g} s", key="integration_s")
        if not plan.triggered and value * rate_hz < plan.min_pulses * (1 - 1e-9):
            raise ConfigError(
                f"{value:g} s hold {value * rate_hz:.3g} pulses, fewer than {plan.min_pulses}",
                key="integration_s",
                hint="an exposure that is not locked to the laser miscounts pulses by up to one",
            )
