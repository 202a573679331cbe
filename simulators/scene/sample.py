"""The film: luminescence and lasing of every pulse, and what the pump does to it for good.

Size of the signals, and why: with 580 counts per pulse at threshold and contrast 12, the brightest peak
stands near 40000 counts at 2.5 thresholds in 0.1 s on the fine spectrometer (0.44 nm over 0.03 nm pixels, a
quarter of the lasing light), fits 16 bits at 3 thresholds, and at a quarter of the threshold one second
brings 36000 counts in the band against some 430 counts of read noise.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labctl.model.records import FloatArray
from simulators.scene.chance import Blocks, Stream, Wander, generator
from simulators.scene.laser import Pulses
from simulators.scene.optics import Beam
from simulators.scene.sensors import ROOM_C, Plate
from simulators.scene.settings import SampleSettings

BLOCK = 256
GAP_NM = 1.2
"""Neighbouring modes repel each other; closer ones would be one peak to any spectrometer here."""
BRIGHTEST = 0.26
"""Mean share of the brightest mode: well above the next, so that the peak of largest area stays the same."""
LATEST = 0.15
"""The last mode to lase begins this far above the first, in thresholds."""
RISE = 0.15
"""A mode comes to its full share within this many thresholds above its onset."""
CHAOS_NM = 3.5
"""Standard deviation of a mode's place when every shot draws it anew."""


@dataclass(frozen=True, slots=True)
class ModeSet:
    """The modes of one spot; arrays of shape ``(mode,)``, the brightest first.

    ``onset`` in units of the film's threshold: the brightest mode begins at 1.
    """

    wavelength_nm: FloatArray
    fwhm_nm: FloatArray
    share: FloatArray
    onset: FloatArray
    slope_nm: FloatArray


def place_index(sample: SampleSettings) -> int:
    """Return a number that belongs to this spot of this film alone."""
    return (zlib.crc32(sample.name.encode()) << 24) + sample.spot


def draw_modes(sample: SampleSettings, seed: int) -> ModeSet:
    """Draw the modes of a spot, irregularly spaced on the long-wavelength side of the band."""
    rng = generator(seed, Stream.MODES, place_index(sample))
    n = sample.modes
    centre = sample.centre_nm + rng.uniform(-1.5, 1.5)
    gaps = GAP_NM + np.minimum(rng.exponential(0.9, n), 2.5)
    below = (n - 1) // 2
    offsets = np.concatenate([np.cumsum(gaps[1 + below :]), -np.cumsum(gaps[1 : 1 + below])])
    wavelength = np.concatenate([[centre], centre + rng.permutation(offsets)])
    share = rng.uniform(0.5, 1.5, n)
    share *= (1.0 - BRIGHTEST) / max(float(share[1:].sum()), 1e-9)
    share[0] = BRIGHTEST
    q = sample.q * np.clip(1.0 + 0.05 * rng.standard_normal(n), 0.85, 1.15)
    q[0] = sample.q
    onset = 1.0 + rng.uniform(0.0, LATEST, n)
    onset[0] = 1.0
    slope = -sample.shift_nm * (1.0 + 0.4 * rng.standard_normal(n))
    return ModeSet(wavelength, wavelength / q, share, onset, slope)


class Modes:
    """The modes at work: shares per shot, positions at a time and a fluence."""

    def __init__(self, sample: SampleSettings, seed: int) -> None:
        self.settings, self._seed = sample, seed
        self.set = draw_modes(sample, seed)
        self._wander = Wander(
            sample.wander_nm, 300.0, generator(seed, Stream.MODE_SLOW, place_index(sample)), sample.modes
        )
        self._blocks = Blocks(self._make, 24)

    def shared(self, pulses: Pulses, u: FloatArray, lasing: FloatArray) -> FloatArray:
        """Return the light of every mode in every pulse, shape ``(pulse, mode)``.

        The shares of one shot add up to one: modes compete for the same inversion.
        """
        weight = self._weights(pulses.first, u.size)
        # Modes of higher onset join in as the fluence grows; just above threshold there is the first alone.
        active = -np.expm1(np.minimum(self.set.onset - u[:, None], 0.0) * (1.0 / RISE))
        active[:, 0] += 1e-9
        share = weight[:, : self.settings.modes] * active
        total = lasing * weight[:, self.settings.modes] / share.sum(axis=1)
        shared: FloatArray = share * total[:, None]
        return shared

    def positions_nm(self, at_s: float, u: float) -> FloatArray:
        """Return where the modes are, shape ``(mode,)``: walking in time, shifting with the fluence."""
        here = self.set.wavelength_nm + self.set.slope_nm * (u - 1.0)
        return here + self._wander.all_at(at_s) if self.settings.wander_nm else here

    def positions_each_nm(self, times_s: FloatArray, u: FloatArray) -> FloatArray:
        """Return where the modes are at several times, each with its own u, shape ``(time, mode)``."""
        here: FloatArray = self.set.wavelength_nm + self.set.slope_nm * (u[:, None] - 1.0)
        return here + self._wander.all_over(times_s) if self.settings.wander_nm else here

    def chaotic_positions_nm(self, pulses: Pulses) -> FloatArray:
        """Return new positions for every shot, shape ``(pulse, mode)``."""
        places = self._weights(pulses.first, pulses.times_s.size)[:, self.settings.modes + 1 :]
        return self.settings.centre_nm + CHAOS_NM * places

    def _weights(self, first: int, count: int) -> FloatArray:
        stop, parts = first + count, []
        for block in range(first // BLOCK, (stop - 1) // BLOCK + 1):
            begin = block * BLOCK
            parts.append(self._blocks[block][max(first - begin, 0) : stop - begin])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _make(self, block: int) -> FloatArray:
        """Return shares, the shot's brightness and, if chaotic, a place for every mode, a row per pulse."""
        s, n = self.settings, self.settings.modes
        rng = generator(self._seed, Stream.WEIGHTS, block)
        table = rng.standard_normal((BLOCK, n + 1 + (n if s.chaotic else 0)))
        table[:, :n] = self.set.share * np.exp(s.weight_sigma * table[:, :n])
        table[:, n] = np.maximum(1.0 + s.lasing_cv * table[:, n], 0.0)
        return table


U_MAX = 14.0


def left_over(r: FloatArray) -> FloatArray:
    """Return the inversion x < 1 that an impulse leaves of r > 1: x exp(-x) = r exp(-r).

    Newton's method on ln x - x from the left, where it never overshoots; -x is Lambert's W0(-r exp(-r)).
    """
    goal = np.log(r) - r
    x = np.exp(goal)
    for _ in range(64):
        slope = np.maximum(1.0 / np.maximum(x, 1e-300) - 1.0, 1e-9)
        x = np.minimum(x - (np.log(np.maximum(x, 1e-300)) - x - goal) / slope, 1.0)
    return x


def _impulsive(u: FloatArray, _: SampleSettings) -> tuple[FloatArray, FloatArray]:
    r = u * u
    rest = np.where(r > 1.0, left_over(np.maximum(r, 1.0)), r)
    return rest, 0.25 * (r - rest)


def _clamped(shape: Callable[[FloatArray], FloatArray]) -> Callable[..., tuple[FloatArray, FloatArray]]:
    return lambda u, _: (np.minimum(u * u, 1.0), shape(np.maximum(u, 1.0)))


def _s_curve(u: FloatArray, sample: SampleSettings) -> tuple[FloatArray, FloatArray]:
    r = u * u
    root = np.sqrt((r - 1.0) ** 2 + 4.0 * sample.beta * r)
    # Below threshold the difference of two nearly equal numbers is avoided by the other form of the root.
    light = np.where(
        r > 1.0, 0.5 * (r - 1.0 + root), 2.0 * sample.beta * r / np.maximum(1.0 - r + root, 1e-12)
    )
    photons = light / sample.beta
    luminescence = photons / (1.0 + photons)
    return luminescence, ((1.0 + sample.contrast) * light - r + luminescence) / (2.0 * sample.contrast)


LAWS: dict[str, Callable[[FloatArray, SampleSettings], tuple[FloatArray, FloatArray]]] = {
    "impulsive": _impulsive,
    "hinge": _clamped(lambda u: u - 1.0),
    "rollover": _clamped(lambda u: (u - 1.0) / (1.0 + (u - 1.0) / 3.0)),
    "quadratic": _clamped(lambda u: 0.5 * (u * u - 1.0)),
    "s-curve": _s_curve,
    "none": lambda u, _: (u * u, np.zeros_like(u)),
}


@dataclass(frozen=True, slots=True)
class Response:
    """Tables of luminescence and lasing light over u^2 against u, with a node exactly at the onset."""

    u: FloatArray
    luminescence: FloatArray
    lasing: FloatArray

    def at(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return luminescence and lasing light at u, both in units of the luminescence at threshold."""
        r = u * u
        return r * np.interp(u, self.u, self.luminescence), r * np.interp(u, self.u, self.lasing)


def response(sample: SampleSettings) -> Response:
    """Tabulate the sample's law, for the spot's centre or integrated over the whole Gaussian spot.

    Rings of a Gaussian spot of peak u hold 2 y(v)/v dv each (normalised so that the luminescence of both
    ways of collecting is the same): the kink at u = 1 becomes round.
    """
    u = np.concatenate(
        [np.linspace(0.0, 1.0, 501), 1.0 + (U_MAX - 1.0) * np.linspace(0.0, 1.0, 1501)[1:] ** 2]
    )
    luminescence, shape = LAWS[sample.law](u, sample)
    excess = 2.0 * sample.contrast * shape / (1.0 + shape / sample.saturation)
    lasing = excess + u * u - luminescence if sample.law != "none" else excess
    if sample.collection == "whole":
        luminescence, lasing = _over_spot(u, luminescence), _over_spot(u, lasing)
    with np.errstate(invalid="ignore", divide="ignore"):
        tables = [y / (u * u) for y in (luminescence, lasing)]
    for table in tables:
        table[0] = table[1]
    return Response(u, np.maximum(tables[0], 0.0), np.maximum(tables[1], 0.0))


def _over_spot(u: FloatArray, light: FloatArray) -> FloatArray:
    density = np.zeros_like(u)
    density[1:] = 2.0 * light[1:] / u[1:]
    steps = 0.5 * (density[1:] + density[:-1]) * np.diff(u)
    return np.concatenate([[0.0], np.cumsum(steps)])


MOST_KEPT = 20_000
"""Times remembered of one spot."""


class Bleaching:
    """Keeps the dose of one spot, and remembers it."""

    def __init__(self, settings: SampleSettings) -> None:
        self.settings = settings
        self._lasting = self._passing = 0.0
        self._times, self._alive = [-1e30], [1.0]

    @property
    def alive(self) -> float:
        """Part of the emitters not bleached now."""
        if self.settings.bleach_law == "recovering":
            return math.exp(-self._lasting - self._passing)
        return surviving(self.settings, self._lasting)

    def give(self, span_s: float, rate: float) -> None:
        """Let time pass, with a dose of ``rate`` per second."""
        s = self.settings
        if s.bleach_law != "recovering":
            self._lasting += rate * span_s
            return
        fade = math.exp(-span_s / s.bleach_recovery_s)
        self._lasting += (1.0 - s.bleach_recovers) * rate * span_s
        self._passing = self._passing * fade + s.bleach_recovers * rate * s.bleach_recovery_s * (1.0 - fade)

    def note(self, at_s: float) -> None:
        """Remember what is alive at a time; every other memory goes when there are too many."""
        self._times.append(at_s)
        self._alive.append(self.alive)
        if len(self._times) > MOST_KEPT:
            del self._times[1:-1:2], self._alive[1:-1:2]

    def alive_at(self, at_s: float) -> float:
        """Return what was alive at a past time, between the two times noted round it."""
        return float(np.interp(at_s, self._times, self._alive))

    def alive_after(self, span_s: float, rate: float) -> float:
        """Return what an even dose of ``rate`` per second leaves of a fresh spot."""
        fresh = Bleaching(self.settings)
        fresh.give(span_s, rate)
        return fresh.alive


def surviving(s: SampleSettings, dose: float) -> float:
    """Return the part of the emitters that a dose leaves, by a law without recovery."""
    if s.bleach_law == "double":
        return s.bleach_fast * math.exp(-s.bleach_ratio * dose) + (1.0 - s.bleach_fast) * math.exp(-dose)
    if s.bleach_law == "stretched":
        return math.exp(-(dose**s.bleach_beta))
    return math.exp(-dose)


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


@dataclass(frozen=True, slots=True)
class Emissions:
    """Light of several exposures of one pulse each, as :class:`Emission`.

    ``luminescence`` and ``pump_uj_cm2`` have shape ``(shot,)``, ``lines_nm`` and ``lines`` ``(shot, mode)``.
    """

    luminescence: FloatArray
    lines_nm: FloatArray
    lines: FloatArray
    pump_uj_cm2: FloatArray


class Sample:
    """One spot of a film under the beam."""

    def __init__(self, settings: SampleSettings, seed: int, beam: Beam, plate: Plate | None = None) -> None:
        self.settings, self._beam, self._plate = settings, beam, plate
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
        u, luminescence, lasing, fluence = self._excited(pulses)
        scale = self._scale(pulses)
        lines_nm, lines = self._lines(pulses, u, lasing)
        pump, squared = float(fluence.sum()), float(np.dot(fluence, fluence))
        return Emission(scale * float(luminescence.sum()), lines_nm, scale * lines, pump, squared)

    def emit_each(self, pulses: Pulses) -> Emissions:
        """Return the light of each pulse by itself; the modes of a shot stay where they are in the next."""
        u, luminescence, lasing, fluence = self._excited(pulses)
        scale = self._scale(pulses)
        lines = self.modes.shared(pulses, u, lasing)
        lines_nm = self.modes.positions_each_nm(pulses.times_s, u)
        return Emissions(scale * luminescence, lines_nm, scale * lines, fluence)

    def _excited(self, pulses: Pulses) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return each pulse's u, luminescence and lasing light in units of one threshold, and fluence."""
        fluence = self._beam.at_sample(pulses) * self._beam.peak_uj_cm2_per_j
        local = fluence
        if self.settings.collection == "centre":
            local = fluence * np.exp(-self._beam.off_axis(pulses))
        alive = self._alive(pulses)
        u = local * np.sqrt(alive) / self.threshold_uj_cm2
        luminescence, lasing = self._response.at(u)
        there = self._beam.on_film(pulses)
        return u, luminescence * there, lasing * there, fluence * there

    def _scale(self, pulses: Pulses) -> float:
        """Return the counts that a unit of light stands for."""
        return self._counts * (self.settings.damage_factor if self.damaged else 1.0) * self._quenched(pulses)

    def _quenched(self, pulses: Pulses) -> float:
        """Return the part of its light that a warm film gives, over that in a room of 22 C."""
        if self._plate is None or not pulses.times_s.size:
            return 1.0
        warm = self._plate.sample_c(float(pulses.times_s[0])) - ROOM_C
        return math.exp(-self.settings.quenching_per_c * warm)

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
