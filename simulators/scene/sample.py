"""The film: luminescence and lasing of every pulse, and what the pump does to it for good.

Size of the signals, and why: with 580 counts per pulse at threshold and contrast 12, the brightest peak
stands near 40000 counts at 2.5 thresholds in 0.1 s on the fine spectrometer (0.44 nm over 0.03 nm pixels, a
quarter of the lasing light), fits 16 bits at 3 thresholds, and at a quarter of the threshold one second
brings 36000 counts in the band against some 430 counts of read noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labctl.model.records import FloatArray
from simulators.scene.bleaching import Bleaching
from simulators.scene.chance import Stream, generator
from simulators.scene.laser import Pulses
from simulators.scene.laws import response
from simulators.scene.modes import Modes, place_index
from simulators.scene.optics import Beam
from simulators.scene.settings import SampleSettings

NODES = 9
"""Of the quadrature over the pulses' energies."""


@dataclass(frozen=True, slots=True)
class Emission:
    """Light of one exposure, in counts at throughput 1, not yet spread over pixels.

    ``lines_nm`` and ``lines`` have shape ``(mode,)``, or ``(pulse, mode)`` when every shot has its own.
    ``pump_uj_cm2`` and ``pump_squared`` are sums over the pulses of the fluence and of its square.
    """

    luminescence: float
    lines_nm: FloatArray
    lines: FloatArray
    pump_uj_cm2: float
    pump_squared: float


class Sample:
    """One spot of a film under the beam."""

    def __init__(self, settings: SampleSettings, seed: int, beam: Beam) -> None:
        self.settings, self._beam = settings, beam
        rng = generator(seed, Stream.SPOT, place_index(settings))
        spread = settings.spot_spread if settings.spot else 0.0
        self.threshold_uj_cm2 = settings.threshold_uj_cm2 * math.exp(spread * float(rng.standard_normal()))
        self._counts = settings.luminescence_counts * math.exp(spread * float(rng.standard_normal()))
        self._response = response(settings)
        self.modes = Modes(settings, seed)
        self._aged_s = -math.inf
        self.bleaching = Bleaching(settings)
        self.damaged = False

    def emit(self, pulses: Pulses) -> Emission:
        """Return the light that these pulses excite."""
        fluence = self._beam.at_sample(pulses) * self._beam.peak_uj_cm2_per_j
        local = fluence
        if self.settings.collection == "centre":
            local = fluence * np.exp(-self._beam.off_axis(pulses))
        alive = self._alive(pulses)
        u = local * np.sqrt(alive) / self.threshold_uj_cm2
        luminescence, lasing = self._response.at(u)
        there = self._beam.on_film(pulses)
        luminescence, lasing, fluence = luminescence * there, lasing * there, fluence * there
        scale = self._counts * (self.settings.damage_factor if self.damaged else 1.0)
        lines_nm, lines = self._lines(pulses, u, lasing)
        pump, squared = float(fluence.sum()), float(np.dot(fluence, fluence))
        return Emission(scale * float(luminescence.sum()), lines_nm, scale * lines, pump, squared)

    def _lines(self, pulses: Pulses, u: FloatArray, lasing: FloatArray) -> tuple[FloatArray, FloatArray]:
        total = float(lasing.sum())
        if total <= 0.0:
            return np.empty(0), np.empty(0)
        shared = self.modes.shared(pulses, u, lasing)
        if self.settings.chaotic:
            return self.modes.chaotic_positions_nm(pulses), shared
        mean_u = float(np.dot(u, lasing)) / total
        return self.modes.positions_nm(float(pulses.times_s[0]), mean_u), shared.sum(axis=0)

    def _alive(self, pulses: Pulses) -> FloatArray | float:
        """Return the part of the emitters still at work, per pulse, between the exposure's two ends."""
        s = self.settings
        if math.isinf(s.bleach_pulses) and math.isinf(s.damage_uj_cm2):
            return 1.0
        if not pulses.times_s.size:
            return 1.0
        self.age(float(pulses.times_s[0]))
        before = self.alive
        self.age(float(pulses.times_s[-1]))
        return np.linspace(before, self.alive, pulses.times_s.size)

    @property
    def alive(self) -> float:
        """Part of the emitters not bleached, at the latest time asked about."""
        return self.bleaching.alive

    def age(self, until_s: float) -> None:
        """Bleach, recover and suffer damage up to a time; earlier times change nothing."""
        if until_s <= self._aged_s:
            return
        start, self._aged_s = self._aged_s, until_s
        s, beam = self.settings, self._beam
        if math.isinf(s.bleach_pulses) and math.isinf(s.damage_uj_cm2):
            return
        mean = beam.mean_power(max(start, until_s - 1e7), until_s, "sample")
        laser = beam.laser.settings
        fluence = mean.power_w / laser.repetition_rate_hz * beam.peak_uj_cm2_per_j
        self.damaged = self.damaged or bool((fluence > s.damage_uj_cm2).any())
        for end, span, f in zip(mean.edges_s[1:], np.diff(mean.edges_s), fluence, strict=True):
            self.bleaching.give(float(span), self.bleach_rate(float(f)))
            self.bleaching.note(float(end))

    def bleach_rate(self, fluence_uj_cm2: float) -> float:
        """Return the dose per second that pulses of a mean fluence give."""
        laser = self._beam.laser.settings
        squared = (fluence_uj_cm2 / self.threshold_uj_cm2) ** 2 * (1 + laser.pulse_cv**2)
        return squared * laser.repetition_rate_hz / self.settings.bleach_pulses

    def brightness(self, fluence_uj_cm2: float, alive: float, luminescence_share: float = 1.0) -> float:
        """Return the mean light of one pulse without any noise but the pulses' own, in arbitrary units.

        :param luminescence_share: the part of the luminescence, not of the lasing light, that is seen.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        pulses = np.maximum(1.0 + self._beam.laser.settings.pulse_cv * nodes, 0.0)
        u = fluence_uj_cm2 * pulses * math.sqrt(alive) / self.threshold_uj_cm2
        luminescence, lasing = self._response.at(u)
        light = luminescence_share * luminescence + lasing
        return float(np.dot(weights, light) / weights.sum())
