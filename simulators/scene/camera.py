"""The spectrometer: light per pixel, then what a detector and its converter make of it."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from labctl.model.records import FloatArray
from simulators.scene.chance import Chance, Spells, Steps, Stream, Wander, generator
from simulators.scene.hand import LAMPS, LINE_FWHM_NM, Hand
from simulators.scene.laser import Laser, Pulses
from simulators.scene.sample import Emission, Emissions, Sample
from simulators.scene.settings import CameraSettings, LineShape, SlitShape

LN2 = math.log(2.0)


def line(offset_nm: FloatArray, fwhm_nm: float, shape: LineShape) -> FloatArray:
    """Return a line of unit area: Gaussian, or half Gaussian and half Lorentzian of the same FWHM."""
    x = 2.0 * offset_nm / fwhm_nm
    gauss = np.exp(-LN2 * x * x) * (2.0 / fwhm_nm * math.sqrt(LN2 / math.pi))
    if shape == "gaussian":
        return gauss
    return 0.5 * gauss + 0.5 * (2.0 / (math.pi * fwhm_nm)) / (1.0 + x * x)


def slit(offset_nm: FloatArray, fwhm_nm: float, shape: SlitShape) -> FloatArray:
    """Return a slit function of the given FWHM, not normalised; "skewed" has a coma tail and a flat head."""
    x = 2.0 * offset_nm / fwhm_nm
    if shape == "gaussian":
        return np.exp(-LN2 * x * x)
    left, right = (
        np.exp(-LN2 * (np.abs(x) / 0.7) ** 3),
        0.85 * np.exp(-LN2 * (np.abs(x) / 1.3)) + 0.15 / (1 + x * x),
    )
    return np.where(x < 0.0, left, right)


class Profile:
    """A line as the detector sees it, tabulated against the distance from its centre.

    :param pixel_nm: width of a pixel; values are per nm, of unit area.
    """

    def __init__(
        self, fwhm_nm: float, shape: LineShape, slit_nm: float, slit_shape: SlitShape, pixel_nm: float
    ) -> None:
        n = 4096
        # Gaussians are over within a few widths; the wings of the other shapes are kept further out.
        widths = 4.0 if (shape, slit_shape) == ("gaussian", "gaussian") else 12.0
        reach = widths * math.hypot(fwhm_nm, slit_nm, pixel_nm)
        self.offset_nm = np.linspace(-reach, reach, n)
        step = self.offset_nm[1] - self.offset_nm[0]
        opening = slit(self.offset_nm, slit_nm, slit_shape)
        box = (np.abs(self.offset_nm) <= 0.5 * pixel_nm).astype(float)
        spectrum = np.fft.rfft(line(self.offset_nm, fwhm_nm, shape), 4 * n)
        for part in (opening / opening.sum(), box / box.sum()):
            spectrum *= np.fft.rfft(part, 4 * n)
        whole = np.fft.irfft(spectrum, 4 * n)
        # Three arrays centred at (n - 1)/2 each: the sum of the offsets is where the centre went.
        start = n - 1
        self.density = np.maximum(whole[start : start + n], 0.0)
        self.density /= self.density.sum() * step

    def at(self, offset_nm: FloatArray) -> FloatArray:
        """Return the density per nm at distances from the line's centre; zero beyond the table."""
        return np.interp(offset_nm, self.offset_nm, self.density, left=0.0, right=0.0)

    @property
    def reach_nm(self) -> float:
        """Distance beyond which the table ends."""
        return float(self.offset_nm[-1])


PUMP_FWHM_NM = 27.0
HARMONIC_FWHM_NM = 8.0
"""A 35 fs pulse at 800 nm is 27 nm wide; of its second harmonic the film's phase mismatch leaves less."""


class Camera:
    """A spectrometer whose exposures are not locked to the laser.

    ``flood`` spells light every pixel of an exposure they touch with so many full scales. In ``deaf`` ones
    the trigger input hears nothing.
    """

    max_counts = 65535
    integration_min_us = 6
    integration_max_us = 10_000_000

    def __init__(
        self,
        settings: CameraSettings,
        seed: int,
        laser: Laser,
        sample: Sample,
        room: Steps,
        hand: Hand,
        lock: threading.RLock,
    ) -> None:
        self.settings, self._lock = settings, lock
        self._chance = Chance(seed, Stream.CAMERA)
        self._laser, self._sample, self._room, self._hand = laser, sample, room, hand
        self._lamps: dict[str, FloatArray] = {}
        self.flood, self.deaf = Spells(), Spells()
        self.pixels = settings.pixels
        self.dark_pixels = settings.dark_pixels
        self.wavelength_coefficients = settings.stored or settings.coefficients
        self.serial = f"FX{seed % 100_000:05d}"
        droop = settings.nonlinearity / self.max_counts**2
        stored = (1.0, 0.0, -droop * (1.0 + settings.nonlinearity_error), 0.0, 0.0, 0.0, 0.0, 0.0)
        self.nonlinearity: tuple[float, ...] = stored if settings.nonlinearity_stored else ()
        self.true_nonlinearity = (1.0, 0.0, -droop)
        self._measured, self._linear = _droop_table(droop)
        pixel = np.arange(settings.pixels, dtype=float)
        self.wavelength_nm: FloatArray = np.polynomial.polynomial.polyval(pixel, settings.coefficients)
        self._per_pixel_nm = np.gradient(self.wavelength_nm)
        self._wander = Wander(settings.temperature_wander_c, 900.0, generator(seed, Stream.TEMPERATURE))
        self._shapes()
        self._pattern(generator(seed, Stream.CAMERA_PATTERN))

    def resolution_nm(self, wavelength_nm: float) -> float:
        """Return the FWHM of the slit function at a wavelength, without the pixel's own width."""
        low, high = float(self.wavelength_nm[0]), float(self.wavelength_nm[-1])
        place = 2.0 * (wavelength_nm - low) / (high - low) - 1.0
        return self.settings.resolution_nm * (
            1.0 + self.settings.resolution_tilt * min(max(place, -1.0), 1.0)
        )

    def luminescence_share(self, band_nm: tuple[float, float]) -> float:
        """Return the part of the luminescence whose wavelength lies in a band."""
        inside = (self.wavelength_nm >= band_nm[0]) & (self.wavelength_nm <= band_nm[1])
        return float(self._band[inside].sum())

    def temperature_c(self, at_s: float) -> float:
        """Return the detector's temperature, degrees Celsius: warming up, then wandering."""
        s = self.settings
        warming = s.warm_up_c * math.exp(-max(at_s, 0.0) / 1200.0)
        return s.temperature_c - warming + self._wander.at(at_s)

    def expose(self, start_s: float, integration_s: float) -> NDArray[np.uint16]:
        """Return the raw counts of one exposure, shape ``(pixel,)``.

        :param start_s: when the exposure began, scene time, on a clock that knows nothing of the laser's. Ask
            once it has ended, when all motions during it are known. Asking twice gives the same counts twice.
        """
        with self._lock:
            true_s = self._true_s(integration_s)
            pulses = self._pulses(start_s, true_s)
            dark = not pulses.times_s.size
            light = np.zeros(self.pixels) if dark else self._light(self._sample.emit(pulses))
            counts: NDArray[np.uint16] = self._detected(light[None, :], np.array([start_s]), true_s)[0]
            return counts

    def expose_each(self, starts_s: FloatArray, integration_s: float) -> NDArray[np.uint16]:
        """Return the raw counts of several exposures, shape ``(exposure, pixel)``.

        As :meth:`expose` does of each, and much faster where each holds one pulse, the next after the other.

        :param starts_s: rising, shape ``(exposure,)``.
        """
        with self._lock:
            true_s = self._true_s(integration_s)
            held = [self._pulses(start, true_s) for start in starts_s.tolist()]
            if self._sample.settings.chaotic or any(pulses.times_s.size != 1 for pulses in held):
                return np.stack([self.expose(start, integration_s) for start in starts_s.tolist()])
            first = np.array([pulses.first for pulses in held])
            cuts = (np.flatnonzero(np.diff(first) != 1) + 1).tolist()
            light = np.concatenate(
                [
                    self._lights(self._sample.emit_each(self._laser.slice(held[a].first, b - a)))
                    for a, b in zip([0, *cuts], [*cuts, len(held)], strict=True)
                ]
            )
            return self._detected(light, starts_s, true_s)

    def _true_s(self, integration_s: float) -> float:
        return integration_s * (1.0 + 1e-6 * self.settings.clock_ppm)

    def _pulses(self, start_s: float, true_s: float) -> Pulses:
        return self._laser.between(start_s, true_s * self._laser.settings.repetition_rate_hz)

    def _light(self, emission: Emission) -> FloatArray:
        """Spread the light over the pixels; counts."""
        light: FloatArray = emission.luminescence * self._band
        if emission.lines.ndim == 1:
            self._add_lines(light, emission)
        else:
            self._add_cloud(light, emission)
        lasing = float(emission.lines.sum())
        return self._with_pump(
            light, emission.luminescence, lasing, emission.pump_uj_cm2, emission.pump_squared
        )

    def _lights(self, emissions: Emissions) -> FloatArray:
        """Spread the light of each shot over the pixels; counts, shape ``(shot, pixel)``."""
        luminescence = emissions.luminescence[:, None]
        light = luminescence * self._band
        lasing = emissions.lines.sum(axis=1)
        if lasing.any():
            self._add_each_line(light, emissions)
        pump = emissions.pump_uj_cm2[:, None]
        return self._with_pump(light, luminescence, lasing[:, None], pump, pump * pump)

    def _with_pump(
        self,
        light: FloatArray,
        luminescence: FloatArray | float,
        lasing: FloatArray | float,
        pump_uj_cm2: FloatArray | float,
        pump_squared: FloatArray | float,
    ) -> FloatArray:
        """Add the scattered pump, its harmonic and stray light; what falls on shielded pixels is gone."""
        s = self.settings
        pump, squared = pump_uj_cm2 / 100.0, pump_squared / 100.0**2
        if s.pump_counts:
            light += s.pump_counts * pump * self._pump_line
            light += s.harmonic_counts * squared * self._harmonic_line
        if s.stray_rel or s.pedestal_counts:
            stray = s.stray_rel * (luminescence + lasing) + s.pedestal_counts * pump
            light += stray * self._stray
        light *= s.throughput
        self._shield(light)
        return light

    def _shield(self, light: FloatArray) -> None:
        for first, last in self.dark_pixels:
            light[..., first : last + 1] = 0.0

    def _lamp(self, name: str) -> FloatArray:
        """Return the counts per second that a lamp adds to each pixel; it knows nothing of laser and film."""
        if name not in self._lamps:
            light = np.zeros(self.pixels)
            pixel_nm = float(self._per_pixel_nm.mean())
            low_nm, high_nm = float(self.wavelength_nm[0]) - 5.0, float(self.wavelength_nm[-1]) + 5.0
            for line_nm, strength in LAMPS[name]:
                if low_nm < line_nm < high_nm:
                    slit_nm = self.resolution_nm(line_nm)
                    profile = Profile(LINE_FWHM_NM, "gaussian", slit_nm, self.settings.slit, pixel_nm)
                    light += strength * profile.at(self.wavelength_nm - line_nm) * self._per_pixel_nm
            total = float(light.sum())
            light *= self.settings.lamp_counts_s / max(float(light.max()), 1e-12)
            light += self.settings.stray_rel * float(light.sum()) * self._stray if total else 0.0
            self._shield(light)
            self._lamps[name] = light
        return self._lamps[name]

    def _add_lines(self, light: FloatArray, emission: Emission) -> None:
        """Add each mode where it is, in a window of pixels round it."""
        for centre, counts, profile in zip(emission.lines_nm, emission.lines, self._profiles, strict=False):
            reach = profile.reach_nm
            low, high = np.searchsorted(self.wavelength_nm, (centre - reach, centre + reach))
            part = profile.at(self.wavelength_nm[low:high] - centre)
            light[low:high] += counts * part * self._per_pixel_nm[low:high]

    def _add_each_line(self, light: FloatArray, emissions: Emissions) -> None:
        """Add each mode of each shot where it is, in one window of pixels that holds it in all of them."""
        for mode, profile in enumerate(self._profiles):
            centres, reach = emissions.lines_nm[:, mode], profile.reach_nm
            sides = (centres.min() - reach, centres.max() + reach)
            low, high = np.searchsorted(self.wavelength_nm, sides)
            part = profile.at(self.wavelength_nm[low:high] - centres[:, None])
            light[:, low:high] += emissions.lines[:, mode, None] * part * self._per_pixel_nm[low:high]

    def _add_cloud(self, light: FloatArray, emission: Emission) -> None:
        """Add lines that are elsewhere at every shot: deposit them on a fine axis, then blur once."""
        low, step = self.wavelength_nm[0] - 20.0, self._cloud_step_nm
        place = (emission.lines_nm.ravel() - low) / step
        cell = np.floor(place).astype(int)
        part, counts = place - cell, emission.lines.ravel()
        size = self._cloud_size
        inside = (cell >= 0) & (cell < size - 1)
        axis = np.bincount(cell[inside], (counts * (1 - part))[inside], size)
        axis += np.bincount(cell[inside] + 1, (counts * part)[inside], size)
        blurred = np.fft.irfft(np.fft.rfft(axis, 2 * size) * self._cloud_kernel, 2 * size)[:size]
        density = np.interp(self.wavelength_nm, low + step * np.arange(size), blurred)
        light += np.maximum(density, 0.0) * self._per_pixel_nm

    def _detected(self, light: FloatArray, begin_s: FloatArray, span_s: float) -> NDArray[np.uint16]:
        """Turn light into counts, shape ``(exposure, pixel)``: what else shines, noise, and the converter."""
        s = self.settings
        self._add_other_light(light, begin_s, span_s)
        temperature = np.array([self.temperature_c(begin + 0.5 * span_s) for begin in begin_s.tolist()])[
            :, None
        ]
        # Dark current doubles every 7 degrees, the usual figure for silicon.
        current = self._dark * (s.dark_counts_s * 2.0 ** ((temperature - 25.0) / 7.0))
        light += (current + self._hot) * span_s
        if s.room_counts_s:
            room = [self._room.mean(begin, begin + span_s) for begin in begin_s.tolist()]
            light += s.room_counts_s * span_s * np.array(room)[:, None] * self._room_shape
        noise = np.empty_like(light)
        for row, begin in enumerate(begin_s.tolist()):
            rng = self._chance.at(round(begin * 1e6))
            if s.spikes_per_s:
                self._add_spikes(light[row], span_s, rng)
            rng.standard_normal(out=noise[row])
        noise *= np.sqrt(s.read_counts**2 + light * (1.0 / s.electrons_per_count))
        light += noise
        if s.nonlinearity:
            light = np.interp(light, self._linear, self._measured)
        light += self._offset + s.offset_counts_per_c * (temperature - 25.0)
        return np.clip(np.rint(light, out=light), 0, self.max_counts, out=light).astype(np.uint16)

    def _add_other_light(self, light: FloatArray, begin_s: FloatArray, span_s: float) -> None:
        """Add lamps and floods to each exposure."""
        for row, begin in zip(light, begin_s.tolist(), strict=True):
            for since, until, placed in self._hand.between(begin, begin + span_s):
                if placed.lamp:
                    row += (until - since) * self._lamp(placed.lamp)
            for spell in self.flood.within(begin, begin + span_s):
                row += spell.value * self.max_counts

    def _add_spikes(self, light: FloatArray, span_s: float, rng: np.random.Generator) -> None:
        for _ in range(int(rng.poisson(self.settings.spikes_per_s * span_s))):
            pixel, counts = int(rng.integers(self.pixels - 1)), 300.0 + float(rng.exponential(3000.0))
            split = float(rng.choice((1.0, 1.0, 0.6)))
            light[pixel] += split * counts
            light[pixel + 1] += (1.0 - split) * counts

    def _shapes(self) -> None:
        """Prepare what every exposure adds: band, scattered pump, stray and room light, line profiles."""
        s, sample = self.settings, self._sample.settings
        wavelength, width = self.wavelength_nm, self._per_pixel_nm
        peak, left, right = sample.band_nm
        half = np.where(wavelength < peak, left, right)
        self._band = np.exp(-LN2 * ((wavelength - peak) / half) ** 2) * width
        self._band /= 0.5 * (left + right) * np.sqrt(np.pi / LN2)
        pump = self._laser.settings.wavelength_nm
        self._pump_line = _gauss(wavelength - pump, PUMP_FWHM_NM) * width
        self._harmonic_line = _gauss(wavelength - 0.5 * pump, HARMONIC_FWHM_NM) * width
        tilt = np.linspace(0.8, 1.2, s.pixels)
        self._stray = tilt / tilt.sum()
        lamp = _gauss(wavelength - 546.1, max(s.resolution_nm, 0.3)) + _gauss(wavelength - 611.6, 2.0)
        self._room_shape = 0.6 + 0.8 * np.exp(-(((wavelength - 560.0) / 90.0) ** 2)) + lamp
        self._shield(self._room_shape)
        fwhm = self._sample.modes.set.fwhm_nm
        pixel_nm = float(width.mean())
        centres = self._sample.modes.set.wavelength_nm
        self._profiles = [
            Profile(float(f), sample.line_shape, self.resolution_nm(float(centre)), s.slit, pixel_nm)
            for f, centre in zip(fwhm, centres, strict=True)
        ]
        if sample.chaotic:
            self._prepare_cloud(self._profiles[0], pixel_nm)

    def _prepare_cloud(self, profile: Profile, pixel_nm: float) -> None:
        step = self._cloud_step_nm = 0.5 * pixel_nm
        span = self.wavelength_nm[-1] - self.wavelength_nm[0] + 40.0
        # A power of two with room for the whole span twice, so that nothing wraps round.
        size = self._cloud_size = 1 << math.ceil(math.log2(span / step))
        centre = np.arange(2 * size, dtype=float)
        centre[size:] -= 2 * size
        self._cloud_kernel = np.fft.rfft(profile.at(centre * step))

    def _pattern(self, rng: np.random.Generator) -> None:
        """Draw what distinguishes pixels: offset, dark current, hot ones."""
        s = self.settings
        self._offset = s.offset_counts + 4.0 * rng.standard_normal(s.pixels)
        self._dark = np.maximum(1.0 + 0.2 * rng.standard_normal(s.pixels), 0.1)
        self._hot = np.zeros(s.pixels)
        places = rng.choice(s.pixels, s.hot_pixels, replace=False)
        self._hot[places] = np.exp(rng.uniform(np.log(100.0), np.log(4000.0), s.hot_pixels))


def _gauss(offset_nm: FloatArray, fwhm_nm: float) -> FloatArray:
    x = 2.0 * offset_nm / fwhm_nm
    density: FloatArray = np.exp(-LN2 * x * x) * (2.0 / fwhm_nm * np.sqrt(LN2 / np.pi))
    return density


def _droop_table(droop: float) -> tuple[FloatArray, FloatArray]:
    """Return measured counts and what they stand for: linear = measured / (1 - droop measured^2)."""
    measured = np.linspace(-1000.0, 90_000.0, 2001)
    linear = measured / (1.0 - droop * measured**2)
    return measured, linear
