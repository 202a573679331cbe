"""A meter put into its place by hand, its zero read, and refused where it stands wrong."""

from __future__ import annotations

import math

import numpy as np

from labctl.model.errors import CalibrationRefused, SafetyStop
from labctl.model.records import FloatArray
from labctl.model.roles import LIGHT, Request
from procedures.calibration.beam import UncalibratedBeam, power_text
from procedures.calibration.context import CalContext
from procedures.calibration.worst import UNKNOWN, Law, Look, Parked
from procedures.point.stale_frames import StaleFrameFilter

EXPOSURE_S = 0.2
FRAMES = 3
"""Exposures that are averaged for the dark."""
SURE = 8.0
LEAST_COUNTS = 3.0
"""Emission below this, in counts a pixel, is none."""
LEAST_PIXELS = 20


class Witness:
    """Compares the emission band with the rest of the axis, and with what it was in the dark."""

    def __init__(self, context: CalContext) -> None:
        roles = context.roles
        self._stop, self._clock, bands = context.stop, roles.clock, context.bands
        self._changed_s = self._clock.now_s()
        info = roles.spectrometer.info
        self._fresh = StaleFrameFilter(roles.spectrometer, self._clock, lambda: self._changed_s)
        self._seconds = min(max(EXPOSURE_S, info.integration_min_s), info.integration_max_s)
        axis = info.wavelength_nm
        low, high = (math.inf, -math.inf) if bands is None else bands.emission_nm
        self._inside = (axis >= low) & (axis <= high)
        self._able = min(int(self._inside.sum()), int((~self._inside).sum())) >= LEAST_PIXELS
        self._dark: FloatArray | None = None

    def learn(self) -> None:
        """Take the dark, behind the closed shutter and at the least transmission known."""
        if self._able:
            frames = [self._frame() for _ in range(FRAMES)]
            self._dark = np.median(np.stack(frames), axis=0)

    def refuse_leak(self) -> None:
        """Look whether the closed shutter leaks onto the sample.

        :raises SafetyStop: it does.
        """
        if seen := self._emission():
            raise SafetyStop(
                f"the shutter reports closed, but the spectrometer sees {seen:.3g} counts a pixel of "
                "emission more than in the dark",
                "block the beam manually, then check the shutter blade and its sensor",
            )

    def refuse_sample(self) -> None:
        """Look, in the light, whether the sample emits that should be out.

        :raises CalibrationRefused: it does.
        """
        if seen := self._emission():
            raise CalibrationRefused(
                f"the spectrometer sees {seen:.3g} counts a pixel of emission: the sample is still in place",
                "remove the sample when asked, then start again",
            )

    def _frame(self) -> FloatArray:
        self._changed_s = self._clock.now_s()
        self._fresh.set_integration(self._seconds)
        return self._fresh.acquire(self._stop).counts

    def _emission(self) -> float:
        """Return how far the band stands over the rest, in counts a pixel; 0 within chance."""
        if self._dark is None:
            return 0.0
        change = self._frame() - self._dark
        inside, outside = change[self._inside], change[~self._inside]
        level = float(np.median(inside) - np.median(outside))
        noise = 1.4826 * float(np.median(np.abs(outside - np.median(outside))))
        sigma = 1.25 * noise * math.sqrt(1 / inside.size + 1 / outside.size)
        if level > max(SURE * sigma, LEAST_COUNTS):
            return level
        lines = inside - float(np.median(outside)) > SURE * max(noise, LEAST_COUNTS)  # of a laser, or a spike
        return float(np.mean(inside) - np.median(outside)) if int(lines.sum()) >= LEAST_PIXELS else 0.0


SHUT_PART = 0.02
"""Part of the open beam's power that a sensor behind a closed shutter may show at most."""
ZERO_READINGS = 24
LIGHT_SIGMAS = 8.0
"""Light is what lies so many standard errors above the zero."""
STRAY_PART = 0.002
"""Part of the pick-off's full power that may stray onto a sensor elsewhere."""
BRIGHTER_DEG = (0.7, 1.5, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 45.0)
"""How far from the darkest angle the plate turns behind the closed shutter, to see where the sensor is."""
DIM_PART = 0.3
"""Less than this part of the nominal power at the sample position is a sensor at the pick-off."""


class MeteredBeam(UncalibratedBeam):
    """A bare beam with the meter in it."""

    def place_meter(self) -> None:
        """Have the sample taken out, where light may reach it, and the sensor put into its place; set it up.

        :raises CalibrationRefused: hands refused.
        """
        if self.behind:
            self.worst.refuse(self.dark_deg)
        if self.course.parked is None:
            self.turn(self.dark_deg)
        if self.behind:
            text = "Remove the sample: light will reach its position."
            self.ask(Request("sample", text, {"in": False}, word=LIGHT))
        where = "at the sample position" if self.place == "sample" else "at the pick-off"
        text = f"Put the power meter's sensor {where}. Next: the shutter {self._next()}; {self._expected()}"
        self.ask(Request("meter", text, {"place": self.place}, word=LIGHT if self.behind else ""))
        self.gauge.prepare()
        self.placed = True

    def take_law(self, law: Law) -> None:
        """Take a law that was seen here with the shutter closed for the rest of the calibration."""
        self.course.law, self.course.dark_deg = law, self.nearest_dark_deg(law)
        self.worst.saw(law)

    def park(self, look: Look, part: float, sigma_rel: float) -> None:
        """Leave the plate where it is, behind the closed shutter, until the sensor is elsewhere."""
        self.course.parked = Parked(look.angle_deg, part, sigma_rel, look.power_w)
        self.stays = True

    def restore(self) -> None:
        """Have the sensor put back to the pick-off, and the sample in, as a sweep wants them."""
        self.finish()
        if self.place == "sample":
            text = "Put the sensor back at the pick-off, where a sweep reads it."
            self.ask(Request("meter", text, {"place": "pick-off"}))
        if self.behind:
            self.restore_sample()

    def restore_sample(self) -> None:
        """Have the sample put back."""
        self.finish()
        self.ask(Request("sample", "Put the sample back. The shutter stays closed.", {"in": True}))

    def finish(self) -> None:
        """Close the shutter and turn to the darkest angle known."""
        self.close()
        self.turn(self.dark_deg)

    def _next(self) -> str:
        return "opens at the lowest known transmission" if self.behind else "stays closed"

    def _expected(self) -> str:
        limit = self.context.options.sensor_limit_w
        stated = (
            "no damage threshold of the sensor was given"
            if limit is None
            else f"the sensor's limit is {power_text(limit)}"
        )
        most_w = self.full_w / UNKNOWN
        if self.place == "sample":
            most_w = min(most_w, self.worst.ceiling_w)
        return f"up to {power_text(most_w)} may reach the sensor ({stated})."

    def learn_zero(self) -> None:
        """Read the meter with the pump blocked: by the shutter, else by hand; then where the sensor stands.

        :raises CalibrationRefused: light falls onto the sensor that should be dark.
        """
        if self.behind:
            self.read_zero()
            if self.place == "sample" and self._pickoff_in_front:
                self._refuse_pickoff()
            return
        text = "Block the pump upstream of the pick-off. Next: the meter zero is read."
        self.ask(Request("beam", text, {"blocked": True}))
        self.read_zero()
        if self._plate_in_front:
            self._refuse_free_pump()
        self.ask(Request("beam", "Unblock the pump.", {"blocked": False}))

    @property
    def _pickoff_in_front(self) -> bool:
        """Whether the pick-off has light with the shutter closed."""
        order = self.context.settings.order
        return order.index("pick-off") < order.index("shutter")

    @property
    def _plate_in_front(self) -> bool:
        """Whether the attenuator dims the pick-off."""
        order = self.context.settings.order
        return order.index("attenuator") < order.index("pick-off")

    def _refuse_pickoff(self) -> None:
        """Look for light behind the closed shutter, darkest angle first: there is some at the pick-off alone.

        Where the plate waits at a setting that was read at the pick-off just now, it is looked for there.

        :raises CalibrationRefused: there is; nothing has reached the sample.
        """
        if (parked := self.course.parked) is not None:
            if self.zero_w > max(LIGHT_SIGMAS * self.zero_sigma_w, SHUT_PART * parked.power_w):
                raise self._at_the_pickoff(self.zero_w)
            return
        expected_w = self.full_w / self.context.settings.pickoff_ratio / UNKNOWN
        noise_w = LIGHT_SIGMAS * max(self.zero_sigma_w, self.gauge.meter.noise_w)
        least_w = max(noise_w, STRAY_PART * expected_w)
        if not self._plate_in_front:  # the plate dims nothing there: the zero itself is the light
            if self.zero_w > max(least_w, SHUT_PART * expected_w):
                raise self._at_the_pickoff(self.zero_w)
            return
        witness = self.witness()
        for angle in self._brighter():
            self.turn(angle)
            with self.guard():
                witness.refuse_leak()
            reading = self.gauge.read(self.moved_s, angle, pulses=False, readings=2)
            if reading.power_w - self.zero_w > max(least_w, LIGHT_SIGMAS * reading.sigma_w):
                light_w = reading.power_w - self.zero_w
                self.turn(self.dark_deg)
                raise self._at_the_pickoff(light_w)
        self.turn(self.dark_deg)

    def _brighter(self) -> list[float]:
        """Return angles from the darkest known towards more light, over a quarter of a turn of the light."""
        dark = self.dark_deg
        ways = [[dark + way * step for step in BRIGHTER_DEG] for way in (1.0, -1.0)]
        inside = [[a for a in angles if self.low_deg <= a <= self.high_deg] for angles in ways]
        return max(inside, key=len)

    def _at_the_pickoff(self, light_w: float) -> CalibrationRefused:
        return CalibrationRefused(
            f"the meter shows {power_text(light_w)} with the shutter closed: the sensor is still at the "
            f"pick-off (or the shutter leaks). The shutter was not opened",
            "put the sensor at the sample position when asked, then start again",
        )

    def _refuse_free_pump(self) -> None:
        """Turn the plate while the pump should be blocked: a zero does not follow it.

        :raises CalibrationRefused: it does.
        """
        for angle in self._brighter():
            self.turn(angle)
            reading = self.gauge.read(self.moved_s, angle, pulses=False, readings=2)
            light_w = reading.power_w - self.zero_w
            if abs(light_w) > LIGHT_SIGMAS * max(
                reading.sigma_w, self.zero_sigma_w, self.gauge.meter.noise_w
            ):
                raise CalibrationRefused(
                    f"the meter shows {power_text(self.zero_w)} and {power_text(reading.power_w)} at two "
                    f"angles of the wave plate: the pump was not blocked",
                    "block the pump upstream of the pick-off when asked, then start again",
                )
        self.turn(self.dark_deg)

    def take_zero_from(self, other: MeteredBeam) -> None:
        """Use the zero that was read at the same place a little earlier."""
        self.zero_w, self.zero_sigma_w, self.noise_w = other.zero_w, other.zero_sigma_w, other.noise_w

    def refuse_wrong_place(self, brightest: Look) -> None:
        """Make sure that the sensor stands where it should, once the beam was seen at its brightest.

        :raises CalibrationRefused: it sees no light, or light through a closed shutter, or the pump was not
            blocked while its zero was read.
        """
        seen_w = brightest.power_w * self.filter_transmission
        if seen_w < 20 * self.gauge.meter.noise_w:
            raise CalibrationRefused(
                f"the meter shows {power_text(seen_w)} at most, not above its noise: it is not at the "
                f"{self.place}, or there is no light",
                "check the laser and the position of the sensor",
            )
        if abs(self.zero_w) > SHUT_PART * seen_w:
            where = "the shutter closed: it is not behind the shutter" if self.behind else "the pump blocked"
            raise CalibrationRefused(
                f"the meter showed {power_text(self.zero_w)} with {where}, {power_text(seen_w)} now",
                f"put the sensor at the {self.place}, and block the pump when asked",
            )
        if self.behind and (shut_w := self._read_shut(brightest)) > SHUT_PART * seen_w:
            raise CalibrationRefused(
                f"the meter shows {power_text(shut_w)} behind the closed shutter: it is not at the "
                f"{self.place}",
                f"put the sensor at the {self.place}",
            )

    def refuse_dark(self, first: Look) -> None:
        """Make sure that the first light, the least there is, was seen.

        :raises CalibrationRefused: it was not, and should have been.
        """
        s, noise_w = self.context.settings, self.gauge.meter.noise_w
        nominal_w = s.max_pulse_energy_j * s.repetition_rate_hz
        nominal_w *= self.worst.law.power_w(first.angle_deg) if self.worst.law is not None else 0.0
        nominal_w /= 1.0 if self.place == "sample" else s.pickoff_ratio
        if nominal_w * DIM_PART > 50 * noise_w and first.power_w < 5 * noise_w:
            raise CalibrationRefused(
                f"the meter shows {power_text(first.power_w)} with the shutter open, not above its noise: "
                f"it is not at the {self.place}, or there is no light",
                f"check the laser, and put the sensor at the {self.place} when asked",
            )

    def witness(self) -> Witness:
        """Return the spectrometer with what it sees now, in the dark."""
        with self.guard():
            self._shut()
            witness = Witness(self.context)
            witness.learn()
            return witness

    def refuse_sample(self, brightest: Look) -> None:
        """Look whether the sample, which should be out, emits at the brightest setting seen.

        :raises CalibrationRefused: it does.
        """
        witness = self.witness()
        self.look(brightest.angle_deg, keep_open=True)
        with self.guard():
            witness.refuse_sample()
            self._shut()

    def refuse_dim(self, full_w: float) -> None:
        """Make sure that what was seen at the sample position is not the power of the pick-off.

        :param full_w: power at full transmission, as it was seen.
        :raises CalibrationRefused: it is far less than the bench file says.
        """
        s = self.context.settings
        nominal_w = s.max_pulse_energy_j * s.repetition_rate_hz
        if self.place == "sample" and full_w < DIM_PART * nominal_w:
            raise CalibrationRefused(
                f"the meter shows {power_text(full_w)} at full transmission, {power_text(nominal_w)} are "
                f"expected at the sample position: the sensor may still be at the pick-off, or a knife edge "
                f"or filter in the beam",
                "put the sensor at the sample position and remove whatever attenuates the beam; otherwise "
                "correct max_pulse_energy in the bench file",
            )

    def _read_shut(self, brightest: Look) -> float:
        with self.guard():
            self._shut()
            self.turn(brightest.angle_deg)
            return self.gauge.read(self.clock.now_s(), math.inf, pulses=False).power_w - self.zero_w

    def read_zero(self) -> None:
        """Read the meter behind the closed shutter, or with the pump blocked."""
        with self.guard():
            self.blade.close()
            since_s = self.clock.now_s()
            reading = self.gauge.read(since_s, math.nan, pulses=False, readings=ZERO_READINGS)
            self.zero_w, self.zero_sigma_w = reading.power_w, reading.sigma_w
            self.noise_w = reading.sigma_w * math.sqrt(reading.n)
