"""A meter put into its place by hand, its zero read, and refused where it stands wrong."""

from __future__ import annotations

import math

from labctl.model.errors import CalibrationRefused
from labctl.model.hands import Request
from procedures.calibration.beam import BareBeam
from procedures.calibration.foresight import UNKNOWN, Look, power_text

SHUT_PART = 0.02
"""Part of the open beam's power that a sensor behind a closed shutter may show at most."""
ZERO_READINGS = 24


class MeteredBeam(BareBeam):
    """A bare beam with the meter in it."""

    def place_meter(self) -> None:
        """Have the sample taken out, where light may reach it, and the sensor put into its place; set it up.

        :raises CalibrationRefused: hands refused.
        """
        self.turn(self.dark_deg)
        if self.behind:
            self.ask(Request("sample", "Take the sample out: light will reach its place.", {"in": False}))
        where = "at the sample's place" if self.place == "sample" else "at the pick-off"
        text = f"Put the power meter's sensor {where}. Next: the shutter {self._next()}; {self._expected()}"
        self.ask(Request("meter", text, {"place": self.place}))
        self.gauge.prepare()
        self.placed = True

    def restore(self) -> None:
        """Have the sensor put back to the pick-off, and the sample in, as a sweep wants them."""
        self.finish()
        if self.place == "sample":
            text = "Put the sensor back to the pick-off: that is where a sweep reads it."
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
        return "opens at the darkest angle known" if self.behind else "stays closed"

    def _expected(self) -> str:
        limit = self.context.options.sensor_limit_w
        stated = (
            "no limit of the sensor was stated"
            if limit is None
            else f"the sensor's limit is {power_text(limit)}"
        )
        return f"up to {power_text(self.full_w / UNKNOWN)} may reach the sensor ({stated})."

    def learn_zero(self) -> None:
        """Read the meter with the pump blocked: by the shutter, else by hand."""
        if self.behind:
            self._read_zero()
            return
        self.ask(
            Request(
                "beam",
                "Block the pump before the pick-off. Next: the meter's zero is read.",
                {"blocked": True},
            )
        )
        self._read_zero()
        self.ask(Request("beam", "Free the pump again.", {"blocked": False}))

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
                f"the meter shows {power_text(seen_w)} at most, no more than its noise: it does not stand "
                f"at the {self.place}, or there is no light",
                "check the laser and where the sensor stands",
            )
        if abs(self.zero_w) > SHUT_PART * seen_w:
            where = "the shutter closed: it does not stand behind it" if self.behind else "the pump blocked"
            raise CalibrationRefused(
                f"the meter shows {power_text(self.zero_w)} with {where}",
                f"put the sensor at the {self.place}",
            )
        if self.behind and (shut_w := self._read_shut(brightest)) > SHUT_PART * seen_w:
            raise CalibrationRefused(
                f"the meter shows {power_text(shut_w)} behind the closed shutter: it does not stand "
                f"at the {self.place}",
                f"put the sensor at the {self.place}",
            )

    def _read_shut(self, brightest: Look) -> float:
        with self.guard():
            self.blade.close()
            self.turn(brightest.angle_deg)
            return self.gauge.read(self.clock.now_s(), math.inf, pulses=False).power_w - self.zero_w

    def _read_zero(self) -> None:
        with self.guard():
            self.blade.close()
            since_s = self.clock.now_s()
            reading = self.gauge.read(since_s, math.nan, pulses=False, readings=ZERO_READINGS)
            self.zero_w, self.zero_sigma_w = reading.power_w, reading.sigma_w
            self.noise_w = reading.sigma_w * math.sqrt(reading.n)
