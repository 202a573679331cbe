"""A hand on the bench: one setting at a time, through the same gate and the same limits as a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labctl.model.clock import Stop
from labctl.model.errors import InstrumentError
from labctl.model.records import FloatArray, Spectrum
from labctl.model.roles import Roles
from procedures.eye import DARK_LOOK_S, Eye
from procedures.fresh import FreshSpectrometer
from procedures.pump import Pump, PumpState

GLANCE_S, GLANCE_PULSES = 0.05, 20
"""Exposure of a glance at the light, at least."""
LIGHT_AHEAD_S = 1.0
"""Light that is asked for in advance, again and again, while the shutter stands open."""


@dataclass(frozen=True, slots=True)
class BenchReading:
    """What the bench shows now.

    :param power_w: at the meter; None where it was not read.
    :param pulse_energy_j: on the sample, or what would reach it with the shutter open; None where the meter
        sees nothing because the shutter is closed.
    :param fluence_uj_cm2: that energy's fluence, in the bench's convention.
    """

    angle_deg: float
    referenced: bool
    shutter_open: bool
    power_w: float | None
    pulse_energy_j: float | None
    fluence_uj_cm2: float | None
    dose_uj_cm2: float


class ManualBench:
    """Manual work on an open bench; belongs to the thread that owns the bench."""

    def __init__(self, roles: Roles, pump: Pump) -> None:
        self.roles, self.pump = roles, pump
        self._fresh = FreshSpectrometer(
            roles.spectrometer, roles.clock, lambda: pump.changed_at_s, self._allow
        )
        pump.eye = self._eye = Eye(self._fresh, pump, roles.clock)
        self._meter_ready = False
        self._looked_s = roles.clock.now_s()

    def _allow(self, seconds: float) -> None:
        self.pump.allow(seconds)

    def set_fluence(self, fluence_uj_cm2: float, stop: Stop | None = None) -> PumpState:
        """Set a fluence; a shutter that was open is open again afterwards.

        :raises SafetyStop: a limit, or what the meter or the mount says; the shutter is closed.
        """
        self._prepare_meter(stop)
        lit = self.pump.light.lit
        state = self.pump.set_fluence(fluence_uj_cm2, stop, keep_open=lit)
        self._restore(lit)
        return state

    def set_angle(self, angle_deg: float, stop: Stop | None = None) -> PumpState:
        """Turn the plate to an angle; otherwise as :meth:`set_fluence`."""
        self._prepare_meter(stop)
        lit = self.pump.light.lit
        state = self.pump.set_angle(angle_deg, stop)
        self._restore(lit)
        return state

    def jog(self, by_deg: float, stop: Stop | None = None) -> PumpState:
        """Turn the plate a little further."""
        return self.set_angle(self.roles.attenuator.angle_deg() + by_deg, stop)

    def home(self, stop: Stop | None = None) -> None:
        """Search the mount's reference, behind the closed shutter."""
        self.pump.home(stop)

    def open(self) -> None:
        """Open the shutter onto the setting that was verified last.

        :raises SafetyStop: there is none: set a fluence first.
        """
        self.pump.open(LIGHT_AHEAD_S, timed=False)
        self._glance()

    def _glance(self) -> None:
        """Let the spectrometer see the light, so that it can tell after the closing whether that is gone."""
        if not self.pump.light.lit or self._eye.knows():
            return
        try:
            self.expose(max(GLANCE_S, GLANCE_PULSES / self.pump.settings.repetition_rate_hz))
        except InstrumentError as exc:
            self.pump.tell(f"the spectrometer will not see whether the shutter closes: {exc.message}")

    def close(self) -> None:
        """Close the shutter; a meter behind it must see that the light is gone."""
        self.pump.shut()

    def expose(self, integration_s: float, stop: Stop | None = None) -> Spectrum:
        """Take one exposure that began after the last change.

        :raises SafetyStop: the dose would pass its limit; the shutter is closed. Or that is what it says, and
            there is light.
        """
        self._fresh.set_integration(integration_s)
        spectrum = self._fresh.acquire(stop)
        if not self.pump.light.lit:
            self._refuse_light(spectrum.counts, integration_s, stop)
        return spectrum

    def _refuse_light(self, counts: FloatArray, integration_s: float, stop: Stop | None) -> None:
        found = self._eye.judged(counts, integration_s)
        if found.shown:
            self.pump.refute(self._eye.confirmed(found, integration_s, stop))

    def dark(self, integration_s: float, count: int, stop: Stop | None = None) -> FloatArray:
        """Close the shutter and return the median of ``count`` exposures, shape ``(pixel,)``."""
        self.pump.shut(stop)
        frames = [self.expose(integration_s, stop).counts for _ in range(count)]
        return np.asarray(np.median(np.stack(frames), axis=0))

    def reading(self, stop: Stop | None = None, *, meter: bool = True) -> BenchReading:
        """Read mount, shutter and, if wanted, the meter; ask for the light of the next moments.

        :raises SafetyStop: the dose would pass its limit, or in the light the pulse energy jumped, was lost
            or passed a limit, or nobody here has opened the shutter, which is open; it is closed.
        """
        self.pump.allow(LIGHT_AHEAD_S)
        angle = self.roles.attenuator.angle_deg()
        self._look_at_dark(stop)
        is_open = self.roles.shutter.is_open()
        power = energy = None
        if meter:
            self._prepare_meter(stop)
            power = self.pump.look(stop).power_w
            if self.pump.meter_in_front or is_open:
                energy = self.pump.energy_j(power, angle)
        return BenchReading(
            angle_deg=angle,
            referenced=self.roles.attenuator.is_referenced(),
            shutter_open=is_open,
            power_w=power,
            pulse_energy_j=energy,
            fluence_uj_cm2=None if energy is None else self.pump.beam.fluence_uj_cm2(energy),
            dose_uj_cm2=self.pump.dose_uj_cm2,
        )

    def _look_at_dark(self, stop: Stop | None) -> None:
        """Have the closed shutter looked at: by its sensor each time, by the others now and then."""
        self.pump.require_closed()
        now_s, seen = self.roles.clock.now_s(), self._eye.answers and self._eye.knows()
        if self.pump.light.lit or self.pump.verified is None or not (seen or not self.pump.meter_in_front):
            self._looked_s = now_s
        if now_s - self._looked_s < DARK_LOOK_S:
            return
        self._looked_s = now_s
        try:
            self.pump.still_dark(stop)
        except InstrumentError as exc:
            self.pump.tell(f"nobody sees whether the shutter is still closed: {exc.message}")

    def forget_meter(self) -> None:
        """Set the meter anew before it is read next: somebody else has used it."""
        self._meter_ready = False

    def _prepare_meter(self, stop: Stop | None) -> None:
        if not self._meter_ready:
            self.pump.prepare_meter(stop)
            self._meter_ready = True

    def _restore(self, lit: bool) -> None:
        if lit:
            self.open()
        elif not self.pump.meter_in_front:  # it was opened for the meter only
            self.pump.shut()
