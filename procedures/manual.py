"""A hand on the bench: one setting at a time, through the same gate and the same limits as a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labctl.model.clock import Stop
from labctl.model.errors import InstrumentError
from labctl.model.records import FloatArray, Spectrum
from labctl.model.roles import Roles
from procedures.gate.pump import Pump, PumpState
from procedures.point.light_witness import DARK_LOOK_S, LightWitness, shows_light
from procedures.point.stale_frames import StaleFrameFilter

GLANCES_S, GLANCE_PULSES = (0.05, 0.5), 20
"""Exposures of a glance at the light, at least; the longer one where the shorter shows nothing."""
LOOK_AGAIN_S = 2.0
"""From one glance to the next while no light is seen."""
UNSEEN = (
    "the shutter was commanded open and reports open, but the spectrometer sees no more light than before: "
    "either the shutter did not move, or nothing on the stage emits"
)
SEEN_NOW = "the spectrometer now sees light"
LIGHT_AHEAD_S = 1.0
"""Light that is asked for in advance, again and again, while the shutter stands open."""


@dataclass(frozen=True, slots=True)
class BenchReading:
    """What the bench shows now.

    :param angle_deg: of the attenuator, read back, degrees.
    :param referenced: whether that angle can be trusted.
    :param shutter_open: what the shutter's sensor says.
    :param dose_uj_cm2: sum of fluence x pulses on the sample so far, uJ/cm2.
    :param power_w: at the meter; None where it was not read.
    :param pulse_energy_j: on the sample, or what would reach it with the shutter open; None where the meter
        sees nothing because the shutter is closed.
    :param fluence_uj_cm2: that energy's fluence, in the bench's convention.
    :param unseen: whether only the shutter itself reports open: nothing behind it sees light. Energy and
        fluence are then what reaches the sample at most.
    """

    angle_deg: float
    referenced: bool
    shutter_open: bool
    power_w: float | None
    pulse_energy_j: float | None
    fluence_uj_cm2: float | None
    dose_uj_cm2: float
    unseen: bool = False


class ManualBench:
    """Manual work on an open bench; belongs to the thread that owns the bench.

    :param roles: the instruments of the bench.
    :param pump: its gate for light.
    """

    def __init__(self, roles: Roles, pump: Pump) -> None:
        self.roles, self.pump = roles, pump
        self._fresh = StaleFrameFilter(
            roles.spectrometer, roles.clock, lambda: pump.changed_at_s, self._allow
        )
        pump.eye = self._eye = LightWitness(self._fresh, pump, roles.clock)
        self._meter_ready = False
        self._looked_s = self._glanced_s = roles.clock.now_s()
        self._before: dict[float, FloatArray] = {}
        self._unseen = False

    def _allow(self, seconds: float) -> None:
        self.pump.allow(seconds)

    def set_fluence(self, fluence_uj_cm2: float, stop: Stop | None = None) -> PumpState:
        """Set a fluence; a shutter that was open is open again afterwards.

        :param fluence_uj_cm2: on the sample, uJ/cm2, in the bench's convention.
        :param stop: ends waiting and moving.
        :raises SafetyStop: a limit, or what the meter or the mount says; the shutter is closed.
        """
        self._prepare_meter(stop)
        lit = self.pump.light.lit
        state = self.pump.set_fluence(fluence_uj_cm2, stop, keep_open=lit)
        self._restore(lit, stop)
        return state

    def set_angle(self, angle_deg: float, stop: Stop | None = None) -> PumpState:
        """Turn the plate to an angle; otherwise as :meth:`set_fluence`.

        :param angle_deg: degrees, within the mount's range.
        :param stop: ends waiting and moving.
        """
        self._prepare_meter(stop)
        lit = self.pump.light.lit
        state = self.pump.set_angle(angle_deg, stop)
        self._restore(lit, stop)
        return state

    def jog(self, by_deg: float, stop: Stop | None = None) -> PumpState:
        """Turn the plate a little further.

        :param by_deg: degrees; negative turns back.
        :param stop: ends waiting and moving.
        """
        return self.set_angle(self.roles.attenuator.angle_deg() + by_deg, stop)

    def home(self, stop: Stop | None = None) -> None:
        """Home the mount with the shutter closed.

        :param stop: ends the search.
        """
        self.pump.home(stop)

    def open(self, stop: Stop | None = None) -> None:
        """Open the shutter onto the last verified setting; a message follows if no light is seen then.

        :param stop: ends waiting.
        :raises SafetyStop: there is none: set a fluence first.
        """
        if self.pump.meter_in_front and self.pump.verified is not None and not self.pump.light.lit:
            self._glance_before(stop)
        self.pump.open(LIGHT_AHEAD_S, timed=False, stop=stop)
        self._glance(stop)

    def _glances(self) -> list[float]:
        least_s = GLANCE_PULSES / self.pump.settings.repetition_rate_hz
        return [max(seconds, least_s) for seconds in GLANCES_S]

    def _glance_before(self, stop: Stop | None) -> None:
        """See what there is to be seen before the shutter opens: the dark, and the light of the room."""
        self._before.clear()
        try:
            for seconds in self._glances():
                self._before[seconds] = self.expose(seconds, stop).counts
        except InstrumentError:
            return  # it is told after the opening

    def _glance(self, stop: Stop | None) -> None:
        """Let the spectrometer see the light.

        It can tell after the closing whether that is gone, and now whether there is any: a shutter that stays
        closed and says that it is open is seen by no meter in front of it.
        """
        in_front = self.pump.meter_in_front
        if not self.pump.light.lit or (not in_front and self._eye.knows()):
            return
        was_unseen, self._unseen = self._unseen, in_front
        try:
            for seconds in self._glances() if in_front else self._glances()[:1]:
                spectrum, before = self.expose(seconds, stop), self._before.get(seconds)
                if before is not None and shows_light(spectrum.counts, before):
                    self._unseen = False
                    break
        except InstrumentError as exc:
            self.pump.tell(
                f"the spectrometer can check neither the light nor the closing of the shutter: {exc.message}"
            )
            return
        finally:
            self._glanced_s = self.roles.clock.now_s()
        if self._unseen is not was_unseen:
            self.pump.tell(UNSEEN if self._unseen else SEEN_NOW)

    def _glance_again(self, stop: Stop | None) -> None:
        """Look whether there is light by now, where none was seen: a sample came, or the blade moved."""
        if not self.pump.light.lit:
            self._unseen = False
        elif self._unseen and self.roles.clock.now_s() - self._glanced_s > LOOK_AGAIN_S:
            self._glance(stop)

    def close(self) -> None:
        """Close the shutter; a meter behind it must see that the light is gone."""
        self.pump.shut()

    def expose(self, integration_s: float, stop: Stop | None = None) -> Spectrum:
        """Take one exposure that began after the last change.

        :param integration_s: exposure time, s.
        :param stop: ends the wait.
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
        """Close the shutter and return the median of some exposures, raw counts, shape ``(pixel,)``.

        :param integration_s: exposure time, s.
        :param count: number of exposures, 1 or more.
        :param stop: ends the wait.
        """
        self.pump.shut(stop)
        frames = [self.expose(integration_s, stop).counts for _ in range(count)]
        return np.asarray(np.median(np.stack(frames), axis=0))

    def reading(self, stop: Stop | None = None, *, meter: bool = True) -> BenchReading:
        """Read mount, shutter and, if wanted, the meter; ask for the light of the next moments.

        :param stop: ends the wait.
        :param meter: whether the meter is read.
        :raises SafetyStop: the dose would exceed its limit, or in the light the pulse energy jumped, was lost
            or passed a limit, or the shutter was opened from outside; it is closed.
        """
        self.pump.allow(LIGHT_AHEAD_S)
        angle = self.roles.attenuator.angle_deg()
        self._look_at_dark(stop)
        self._glance_again(stop)
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
            unseen=is_open and self._unseen,
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
            self.pump.tell(f"nothing confirms that the shutter is still closed: {exc.message}")

    def forget_meter(self) -> None:
        """Configure the meter again before its next reading: another part has used it."""
        self._meter_ready = False

    def _prepare_meter(self, stop: Stop | None) -> None:
        if not self._meter_ready:
            self.pump.prepare_meter(stop)
            self._meter_ready = True

    def _restore(self, lit: bool, stop: Stop | None) -> None:
        if lit:
            self.open(stop)
        elif not self.pump.meter_in_front:  # it was opened for the meter only
            self.pump.shut()
