"""Finding the strongest laser line in repeated exposures, and fitting it in each of them."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.decompose import Decomposition, completed, cut_window, decompose, line_places
from labctl.analysis.spectra.multiline import LineModel, MultiFit, fit_lines
from labctl.analysis.spectra.noise import NoiseModel, noise_model
from labctl.analysis.spectra.peaks import Peak, find_peaks
from labctl.analysis.spectra.profiles import LineShape

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_STABLE_SHARE = 0.3  # of the narrow structure's power that two exposures share if positions hold still
_MOST_TRIED = 4  # peaks, from the largest down, until one is fitted well
_RIVAL_SHARE = 0.7  # of the largest area as found: with less, a fit will not make a peak the largest


class LineSearch:
    """The exposures, and the ways to find the chosen line in them."""

    def __init__(
        self,
        wavelength_nm: Floats,
        frames: Floats,
        clipped: Bools,
        resolution_nm: float,
        shape: LineShape | None,
    ) -> None:
        self.wavelength_nm, self.frames, self.clipped = wavelength_nm, frames, clipped
        self.resolution_nm = resolution_nm
        share = {None: 0.5, "gaussian": 0.0, "lorentzian": 1.0, "voigt": 1.0}[shape]
        self.model = LineModel(resolution_nm, share, eta_is_free=shape is None)
        self.noise: NoiseModel = noise_model(frames)
        self.reference: Decomposition | None = None
        self.positions_hold = self._positions_hold()
        self.peaks: tuple[Peak, ...] = ()

    def exposures(self) -> list[Decomposition]:
        """Fits of the chosen line, one for each exposure in which it succeeds."""
        if self.positions_hold:
            mean = self.frames.mean(axis=0)
            self.reference, self.peaks = self._largest(
                mean, len(self.frames), self.clipped.mean(axis=0) > 0.5
            )
            if self.reference is None:
                return []
            if len(self.frames) == 1:
                return [self.reference]
            again = [self._again(i, self.reference) for i in range(len(self.frames))]
            return [d for d in again if d is not None]
        return self._each_alone()

    def _each_alone(self) -> list[Decomposition]:
        found = []
        for frame, clipped in zip(self.frames, self.clipped, strict=True):
            own, peaks = self._largest(frame, 1, clipped)
            if own is not None:
                found.append(own)
                self.peaks = max(self.peaks, peaks, key=len)
                self.reference = max(self.reference or own, own, key=lambda d: d.area)
        return found

    def _positions_hold(self) -> bool:
        """Tell whether two exposures share their narrow structure; True where noise hides the answer.

        Second differences, because lines that are elsewhere at every shot add up to a hump whose flanks every
        exposure shares.
        """
        n = len(self.frames)
        if n < 2:
            return True
        pitch = float(self.wavelength_nm[-1] - self.wavelength_nm[0]) / (self.wavelength_nm.size - 1)
        lag = max(round(self.resolution_nm / pitch), 1)
        steps = self.frames[:, 2 * lag :] - 2.0 * self.frames[:, lag:-lag] + self.frames[:, : -2 * lag]
        noise2 = 6.0 * float(np.mean(self.noise.sigma(self.frames) ** 2))
        power, power_of_mean = float(np.mean(steps**2)), float(np.mean(steps.mean(axis=0) ** 2))
        shared = (n * power_of_mean - power) / (n - 1)  # of two different exposures: free of noise
        own = power - noise2
        return own < 0.3 * noise2 or shared > _STABLE_SHARE * own

    def _largest(
        self, counts: Floats, n_averaged: int, clipped: Bools
    ) -> tuple[Decomposition | None, tuple[Peak, ...]]:
        """Largest-area line of one spectrum, and all peaks found in it."""
        sigma = self.noise.sigma(counts) / math.sqrt(n_averaged)
        peaks = find_peaks(self.wavelength_nm, counts, resolution_nm=self.resolution_nm, noise=sigma)
        sound = [p for p in peaks if not _clipped_near(self.wavelength_nm, clipped, p)]
        ranked = sorted(sound, key=lambda p: p.area_counts, reverse=True)[:_MOST_TRIED]
        tried: list[Decomposition] = []
        for peak in ranked:
            good = [d for d in tried if d.is_good]
            if good and peak.area_counts < _RIVAL_SHARE * ranked[0].area_counts:
                break
            if any(abs(d.centre_nm - peak.wavelength_nm) < 0.3 * peak.fwhm_nm for d in good):
                continue
            fitted = self._around(counts, sigma, peak, peaks)
            if fitted is not None:
                tried.append(fitted)
        if tried and not any(d.is_good for d in tried):
            more = completed(min(tried, key=lambda d: d.fit.reduced_chi2))
            tried += [more] if more is not None else []
        return max(tried, key=lambda d: (d.is_good, d.area), default=None), peaks

    def _around(
        self, counts: Floats, sigma: Floats, peak: Peak, peaks: tuple[Peak, ...]
    ) -> Decomposition | None:
        """Largest line of the window around one peak."""
        typical = max(_typical_fwhm(peaks), 1.05 * self.resolution_nm)
        window = cut_window(self.wavelength_nm, counts, sigma, peak.wavelength_nm, 5.0 * typical)
        guesses = [
            (line_places(self.wavelength_nm, counts, sigma, width), width)
            for width in np.maximum([typical, 0.7 * typical, 0.5 * typical], 1.05 * self.resolution_nm)
        ]
        return decompose(window, guesses, self.model)

    def _again(self, exposure: int, seed: Decomposition) -> Decomposition | None:
        """Fit one exposure from the lines of the mean; weak lines keep their place and width."""
        lines, centre, width = seed.fit.lines, seed.centre_nm, seed.measured_fwhm_nm
        x = seed.fit.window.wavelength_nm
        start = int(np.searchsorted(self.wavelength_nm, x[0]))
        cut = slice(start, start + x.size)
        near = np.abs(x - centre) < width
        if self.clipped[exposure, cut][near].any():
            return None
        counts = self.frames[exposure]
        window = cut_window(
            self.wavelength_nm, counts, self.noise.sigma(counts), 0.5 * (x[0] + x[-1]), 0.5 * np.ptp(x)
        )
        beside = np.abs(lines.centre_nm - centre) < 3.0 * width
        held = ~(beside & (lines.area > 0.15 * seed.area))
        held[seed.target] = False
        model = replace(
            seed.fit.model, eta_is_free=False
        )  # one exposure cannot tell the shape as well as the mean
        fit = fit_lines(window, model, lines, held=held)
        return Decomposition(fit, seed.target) if fit is not None and _same_line(fit, seed) else None


def _typical_fwhm(peaks: tuple[Peak, ...]) -> float:
    """Median FWHM of the peaks that hold half of the light; weak ones in flanks look too narrow."""
    ranked = sorted(peaks, key=lambda p: p.area_counts, reverse=True)
    light = np.cumsum([p.area_counts for p in ranked])
    strong = ranked[: int(np.searchsorted(light, 0.5 * light[-1])) + 1]
    all_median = float(np.median([p.fwhm_nm for p in peaks]))
    return min(float(np.median([p.fwhm_nm for p in strong])), 1.5 * all_median)


def _clipped_near(wavelength_nm: Floats, clipped: Bools, peak: Peak) -> bool:
    return bool(clipped[np.abs(wavelength_nm - peak.wavelength_nm) < peak.fwhm_nm].any())


def _same_line(fit: MultiFit, seed: Decomposition) -> bool:
    k = seed.target
    moved = abs(float(fit.lines.centre_nm[k]) - seed.centre_nm)
    ratio = fit.model.measured_fwhm_nm(float(fit.lines.width_nm[k])) / seed.measured_fwhm_nm
    return bool(fit.lines.area[k] > 0 and moved < seed.measured_fwhm_nm and 0.3 < ratio < 3.0)
