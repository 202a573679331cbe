"""What a Thorlabs console measures with its head: ranges, averaging, zeroing, one result at a time.

Source: vendor's PM101 and PM400 command references; PM100D manual (about 3 ms a sample). The steps of the
ranges and the time a zeroing takes are this simulator's.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

from simulators.link import DUE_TOLERANCE_S
from simulators.meters.pm100_scpi import ScpiError
from simulators.scene.sensors import responsivity

SAMPLE_S = 0.003
GAP_S = 0.02
"""No data for so long after a change of range (PM103 reference: at most 20 ms)."""
ZERO_S = 3.0
FREQUENCY_S = 0.1
HEAD_TEMPERATURE_C, HEAD_RESISTANCE_OHM = 24.0, 4900.0
"""Of the thermistor in the head; it takes no part in the scene."""
PYRO_TIMEOUT_S = 10.0
PEAK_FACTOR = 40.0
"""What a photodiode shows of a pulse train in peak mode: the top of its own answer, over the mean."""
BEAT_REL, BEAT_HZ = 0.05, 0.31
"""With full bandwidth the console's samples beat with the pulses: how much and how fast is a choice here."""
ABOVE_RANGE = 1.03
"""A reading this much above its range cannot be shown."""
UP, DOWN = 0.97, 0.087

Kind = Literal["photodiode", "thermal", "pyro"]

POWER_RANGES_W: dict[Kind, tuple[float, ...]] = {
    "photodiode": (50e-9, 500e-9, 5e-6, 50e-6, 500e-6, 5e-3, 50e-3, 500e-3),
    "thermal": (1e-3, 10e-3, 100e-3, 1.0, 10.0),
    "pyro": (),
}
ENERGY_RANGES_J = (200e-9, 2e-6, 20e-6, 200e-6, 2e-3, 20e-3)
DARK_LIMIT_W: dict[Kind, float] = {"photodiode": 500e-9, "thermal": 5e-3, "pyro": 0.0}
"""More light than this, and the console takes it for light: zeroing fails."""
VOLTS: dict[Kind, float] = {"thermal": 0.02, "pyro": 800.0}
"""V/W and V/J at 800 nm."""
QUANTITIES: dict[Kind, frozenset[str]] = {
    "photodiode": frozenset({"POW", "CURR", "POWDENS", "FREQ", "TEMP", "RES"}),
    "thermal": frozenset({"POW", "VOLT", "POWDENS"}),
    "pyro": frozenset({"ENER", "ENERDENS", "VOLT", "FREQ"}),
}


class Head(Protocol):
    """The part of the scene the light falls on."""

    @property
    def kind(self) -> Kind:
        """Kind of the head."""

    @property
    def name(self) -> str:
        """Model of the head."""

    @property
    def serial(self) -> str:
        """Serial number of the head."""

    @property
    def wavelength_limits_nm(self) -> tuple[float, float]:
        """Shortest and longest wavelength the head is calibrated for."""

    def power_w(
        self,
        stop_s: float,
        samples: int,
        sample_period_s: float,
        wavelength_set_nm: float,
        zero_offset_w: float,
        range_w: float,
    ) -> float:
        """Return the mean of ``samples`` samples that end at ``stop_s``."""

    def pulse_energy_j(self, stop_s: float, wavelength_set_nm: float) -> float | None:
        """Return the energy of the last pulse before ``stop_s``, or None when it was too weak to be seen."""

    def repetition_hz(self, stop_s: float) -> float:
        """Return the repetition rate; 0 when no pulses arrive."""


class Meter:
    """Settings and the measurement under way. All times are the scene's."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.ranges = POWER_RANGES_W[head.kind]
        self.zeroed_kinds: tuple[Kind, ...] = ("photodiode", "thermal")
        self.energy_auto = True
        self.reset()

    def reset(self) -> None:
        """Set every parameter to its default (``*RST``)."""
        low, high = self.head.wavelength_limits_nm
        self.wavelength_nm = min(max(1064.0 if self.head.kind == "thermal" else 635.0, low), high)
        self.range_w = self.ranges[-1] if self.ranges else 0.0
        self.energy_range_j = ENERGY_RANGES_J[-1]
        self.auto_range = self.head.kind != "pyro" or self.energy_auto
        self.averages = 1
        self.attenuation_db = 0.0
        self.decibel = False
        self.beam_mm = 9.5
        self.reference = 0.0
        self.relative = False
        self.peak_mode = False
        self.low_pass = True
        self.zero_w = 0.0
        self.quantity = "POW" if self.head.kind != "pyro" else "ENER"
        self._result: float | None = None
        self._repeat = False
        self.due_s: float | None = None
        self.ranging_until_s = -math.inf
        self._zero_end_s: float | None = None

    def configure(self, quantity: str) -> None:
        """Choose what the next measurement shall be.

        :raises ScpiError: -221, this head cannot.
        """
        if quantity not in QUANTITIES[self.head.kind]:
            raise ScpiError(-221)
        self.abort()
        self.quantity = quantity

    def abort(self) -> None:
        """Forget the measurement under way and its result."""
        self.due_s = self._result = None
        self._repeat = False

    def start(self, now_s: float, *, repeat: bool = False) -> None:
        """Begin a measurement, or one after another; the first is complete at ``due_s``."""
        begin_s = now_s if self._zero_end_s is None else max(now_s, self._zero_end_s)
        self._result, self._repeat = None, repeat
        gap_s = self._choose_range(begin_s) if self._electrical() and self.auto_range else 0.0
        self.ranging_until_s = begin_s + gap_s
        self.due_s = begin_s + max(self._duration_s(begin_s), gap_s)

    def complete(self, now_s: float) -> bool:
        """Return whether a result can be fetched."""
        return self._result is not None or (self.due_s is not None and self.due_s - now_s <= DUE_TOLERANCE_S)

    def fetch(self, now_s: float) -> float | None:
        """Return the last result, or None when the range had to be raised and the measurement began anew.

        :raises ScpiError: -230 nothing was measured, -365 no pulse came.
        """
        if self._repeat and self.due_s is not None:
            self._catch_up(self.due_s, now_s)
        if self._result is not None:
            return self._result
        if self.due_s is None:
            raise ScpiError(-230)
        if self.quantity in {"TEMP", "RES"}:
            self._result = HEAD_TEMPERATURE_C if self.quantity == "TEMP" else HEAD_RESISTANCE_OHM
            return self._result
        if not self._electrical():
            self._result = self._pulsed(self.due_s)
            return self._result
        value_w = self._power_w(self.due_s, 1 if self.peak_mode else self.averages)
        if self.auto_range and value_w > UP * self.range_w and self.range_w < self.ranges[-1]:
            self.range_w = self._range_for(value_w)
            self.ranging_until_s = self.due_s + GAP_S
            self.due_s += max(self.averages * SAMPLE_S, GAP_S)
            return None
        self._result = self._shown(value_w)
        return self._result

    def _catch_up(self, due_s: float, now_s: float) -> None:
        """Go on to the latest of the measurements that follow each other."""
        duration_s = self._duration_s(due_s)
        passed = math.floor((now_s - due_s + DUE_TOLERANCE_S) / duration_s)
        if passed > 0:
            self.due_s, self._result = due_s + passed * duration_s, None

    def set_range(self, power_w: float) -> None:
        """Take the smallest range that holds ``power_w``, and switch the automatic off."""
        if not self.ranges:
            raise ScpiError(-221)
        self.auto_range = False
        self.range_w = next((top for top in self.ranges if power_w <= top * 1.0000001), self.ranges[-1])

    @property
    def zeroing(self) -> bool:
        """Whether the zero is being looked for."""
        return self._zero_end_s is not None

    def start_zero(self, now_s: float) -> None:
        """Begin to look for the zero, in the background.

        :raises ScpiError: -221, there is none with this head.
        """
        if self.head.kind not in self.zeroed_kinds or self.peak_mode:
            raise ScpiError(-221)
        self._zero_end_s = now_s + ZERO_S

    def stop_zero(self) -> None:
        """Give up; the old zero stays."""
        self._zero_end_s = None

    def settle_zero(self, now_s: float) -> None:
        """Take the zero over when its time has come.

        :raises ScpiError: -200, there was light.
        """
        end_s = self._zero_end_s
        if end_s is None or end_s - now_s > DUE_TOLERANCE_S:
            return
        self._zero_end_s = None
        samples = round(ZERO_S / SAMPLE_S)
        dark_w = self.head.power_w(end_s, samples, SAMPLE_S, self.wavelength_nm, 0.0, self.range_w)
        if abs(dark_w) > DARK_LIMIT_W[self.head.kind]:
            raise ScpiError(-200)
        self.zero_w = dark_w

    def _electrical(self) -> bool:
        return self.quantity in {"POW", "CURR", "POWDENS"} or (
            self.quantity == "VOLT" and self.head.kind == "thermal"
        )

    def _duration_s(self, begin_s: float) -> float:
        if self._electrical():
            return self.averages * SAMPLE_S
        if self.quantity in {"TEMP", "RES"}:
            return SAMPLE_S
        rate_hz = self._pulses_hz(begin_s)
        if rate_hz < 0.5:
            return PYRO_TIMEOUT_S
        return FREQUENCY_S if self.quantity == "FREQ" else max(1.0 / rate_hz, SAMPLE_S)

    def _pulsed(self, stop_s: float) -> float:
        rate_hz = self._pulses_hz(stop_s)
        if self.quantity == "FREQ":
            return rate_hz
        energy_j = self.head.pulse_energy_j(stop_s, self.wavelength_nm)
        if rate_hz < 0.5 or energy_j is None:
            raise ScpiError(-365)
        if self.auto_range:
            self.energy_range_j = next(
                (top for top in ENERGY_RANGES_J if energy_j <= top), ENERGY_RANGES_J[-1]
            )
        if energy_j > ABOVE_RANGE * self.energy_range_j:
            return math.inf
        scale = {"ENER": 1.0, "ENERDENS": 1.0 / self.beam_cm2(), "VOLT": self.responsivity()}[self.quantity]
        return energy_j * 10 ** (self.attenuation_db / 10) * scale - self.reference * self.relative

    def _power_w(self, stop_s: float, samples: int) -> float:
        mean_w = self.head.power_w(stop_s, samples, SAMPLE_S, self.wavelength_nm, self.zero_w, self.range_w)
        if self.head.kind != "photodiode" or (self.low_pass and not self.peak_mode):
            return mean_w
        if self.peak_mode:
            return PEAK_FACTOR * mean_w
        return mean_w * (1.0 + BEAT_REL * math.sin(2.0 * math.pi * BEAT_HZ * stop_s))

    def _pulses_hz(self, at_s: float) -> float:
        """Return the rate of the pulses that pass the threshold: none of a photodiode's behind the filter."""
        hidden = self.head.kind == "photodiode" and self.low_pass
        return 0.0 if hidden else self.head.repetition_hz(at_s)

    def _choose_range(self, at_s: float) -> float:
        """Adapt the range to the light; return the time that costs."""
        here_w = abs(self._power_w(at_s, 1))
        if here_w > UP * self.range_w or (here_w < DOWN * self.range_w and self.range_w > self.ranges[0]):
            wanted_w = self._range_for(here_w)
            if wanted_w != self.range_w:
                self.range_w = wanted_w
                return GAP_S
        return 0.0

    def _range_for(self, power_w: float) -> float:
        return next((top for top in self.ranges if power_w <= UP * top), self.ranges[-1])

    def responsivity(self) -> float:
        """Return A/W, V/W or V/J at the wavelength set."""
        return VOLTS.get(self.head.kind, 1.0) * responsivity(self.head.kind, self.wavelength_nm)

    def beam_cm2(self) -> float:
        """Return the area of the beam, cm2."""
        return math.pi * (self.beam_mm / 20.0) ** 2

    def _shown(self, value_w: float) -> float:
        """Turn what the electronics saw into what is displayed; infinite above the range."""
        if value_w > ABOVE_RANGE * self.range_w:
            return math.inf
        if self.quantity in {"CURR", "VOLT"}:
            return value_w * self.responsivity()
        power_w = value_w * 10 ** (self.attenuation_db / 10)
        if self.quantity == "POWDENS":
            return power_w / self.beam_cm2()
        if self.relative:
            power_w -= self.reference
        if self.decibel:
            return 10 * math.log10(power_w / 1e-3) if power_w > 0 else -math.inf
        return power_w
