"""Do narrow lines stand above the luminescence, point by point, and are they light of the sample's own lines?

A peak counts as a line only where it is as narrow as one, grows faster than the luminescence under it (an
interference fringe multiplies that, and does not) or stands high above it, is absent from dark and blank,
lies at no wavelength of the pump or its harmonics, and is there in more than one exposure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.spectra.background import fit_continuum, spectrum_noise
from labctl.analysis.spectra.bands import Band, band_slice
from labctl.analysis.spectra.peaks import Peak, find_peaks

Floats = NDArray[np.float64]
Cause = Literal["wide", "pump", "dark", "fringe", "one exposure"]

CAUSES: dict[Cause, str] = {
    "wide": "too wide for a line",
    "pump": "at a wavelength of the pump or its harmonics",
    "dark": "in the dark or the blank as well",
    "fringe": "grow no faster than the luminescence, as interference fringes do",
    "one exposure": "in a single exposure alone",
}
"""Why a peak does not count, in words."""

LINE_NM = 1.2
"""A line is at most this wide, or 1.6 times the resolution if more; amplified luminescence is wider."""
_WIDEST_NM = 2.5
_SLITS = 1.6
_HIGH = 3.0
"""Over the luminescence, a peak that stands so high is no fringe."""
_FASTER = 3.0
"""By how much the contrast of a peak exceeds that of any structure at low fluence, if it grows faster."""
_NEAR_NM = 2.0
_BY_CHANCE = 5.0
"""Standard errors from the lowest to the highest of the noise within that distance."""
_ORDERS = (1.0, 1 / 2, 1 / 3, 2 / 3)
"""Pump, second and third harmonic, and the latter in the grating's second order."""
_PUMP_REL = 0.003
_DARK_SHARE = 0.1
_STEADY_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Spectra:
    """The spectra of a sweep, in any order, and what is known beside them.

    :param wavelength_nm: rising, shape ``(pixel,)``.
    :param counts: of each point, counts per pulse, shape ``(pixel,)``; empty where there is none to use.
    :param fluence_uj_cm2: shape ``(n,)``.
    :param band: where peaks are looked for.
    :param whole: the whole emission, which the luminescence is fitted to.
    :param resolution_nm: FWHM of the slit; None when unknown.
    :param dark: counts per pulse of dark and blank at each point, shape ``(pixel,)`` each, or None.
    :param pump_nm: wavelength of the pump; None when unknown.
    :param exposures: returns the exposures of a point, ``(exposure, pixel)``, in any one unit, the dark's
        smooth part in them or not; fewer than two where they are not known.
    """

    wavelength_nm: Floats
    counts: Sequence[Floats]
    fluence_uj_cm2: Floats
    band: Band
    whole: Band
    resolution_nm: float | None = None
    dark: Sequence[Floats | None] = ()
    pump_nm: float | None = None
    exposures: Callable[[int], Floats] | None = None

    @property
    def line_nm(self) -> float:
        """Widest that a line may be."""
        return min(max(LINE_NM, _SLITS * (self.resolution_nm or 0.0)), _WIDEST_NM)


@dataclass(frozen=True, slots=True)
class NarrowLines:
    """The lines of each point.

    :ivar lines: those that count, in order of wavelength; empty where there is no spectrum.
    :ivar count: how many, shape ``(n,)``, nan where there is no spectrum.
    :ivar contrast: height of the highest over the luminescence there, 0 without a line, shape ``(n,)``.
    :ivar doubtful: whether a peak was taken for a fringe, shape ``(n,)``.
    :ivar dropped: how many peaks did not count, by cause.
    """

    lines: tuple[tuple[Peak, ...], ...]
    count: Floats
    contrast: Floats
    doubtful: NDArray[np.bool_]
    dropped: dict[Cause, int]

    def for_fit(self, peak_count: Floats | None) -> Floats:
        """Return the number of lines of each point as the threshold's fit takes it.

        A point whose peaks may be fringes, or lines of a scan above threshold, shows neither of both: nan.
        """
        counted = np.where(np.isfinite(self.count), self.count, np.nan if peak_count is None else peak_count)
        return np.where((self.count == 0) & self.doubtful, np.nan, counted)

    def only(self, chosen: NDArray[np.bool_]) -> NarrowLines:
        """Return the chosen points; ``chosen`` has shape ``(n,)``."""
        lines = tuple(own for own, kept in zip(self.lines, chosen, strict=True) if kept)
        return replace(
            self,
            lines=lines,
            count=self.count[chosen],
            contrast=self.contrast[chosen],
            doubtful=self.doubtful[chosen],
        )

    @property
    def said(self) -> str:
        """Why peaks did not count, in words; empty where all did."""
        causes = sorted(self.dropped, key=lambda cause: -self.dropped[cause])
        return "; ".join(
            f"{self.dropped[c]} peaks are {CAUSES[c]}"
            if c != "fringe"
            else f"{self.dropped[c]} peaks {CAUSES[c]}"
            for c in causes
        )


def narrow_lines(spectra: Spectra, candidates: NDArray[np.bool_]) -> NarrowLines:
    """Decide for each point of a sweep which of its peaks are lines.

    :param candidates: the points at which peaks were found when they were reduced, shape ``(n,)``; the others
        have no lines.
    """
    inside = band_slice(spectra.wavelength_nm, spectra.whole)
    at_nm = spectra.wavelength_nm[inside]
    low = _LowEnd(spectra, inside)
    dropped: Counter[Cause] = Counter()
    lines: list[tuple[Peak, ...]] = []
    contrast = np.zeros(len(spectra.counts))
    doubtful = np.zeros(len(spectra.counts), dtype=np.bool_)
    for i, counts in enumerate(spectra.counts):
        if not counts.size or not candidates[i]:
            lines.append(())
            continue
        band = np.ascontiguousarray(counts[inside])
        noise = spectrum_noise(band)
        continuum = fit_continuum(at_nm, band, noise).counts
        found = find_peaks(at_nm, band, noise=noise, continuum=continuum, resolution_nm=spectra.resolution_nm)
        kept = []
        for peak in found:
            if not spectra.band.low_nm <= peak.wavelength_nm <= spectra.band.high_nm:
                continue
            under = max(float(continuum[peak.index]), float(noise[peak.index]))
            cause = _cause(spectra, low, i, peak, inside.start, peak.height_counts / under)
            if cause is None:
                kept.append(peak)
                contrast[i] = max(contrast[i], peak.height_counts / under)
            else:
                dropped[cause] += 1
                doubtful[i] |= cause == "fringe"
        lines.append(tuple(kept))
    known = np.array([counts.size > 0 for counts in spectra.counts], dtype=np.bool_)
    count = np.where(known, [float(len(own)) for own in lines], np.nan)
    return NarrowLines(tuple(lines), count, contrast, doubtful, dict(dropped))


def _cause(spectra: Spectra, low: _LowEnd, i: int, peak: Peak, start: int, contrast: float) -> Cause | None:
    """Why a peak of the ``i``-th point does not count; None where it does."""
    if peak.fwhm_nm > spectra.line_nm:
        return "wide"
    if _of_the_pump(spectra.pump_nm, peak.wavelength_nm):
        return "pump"
    dark = spectra.dark[i] if spectra.dark else None
    if dark is not None and _stands_in(dark, start + peak.index, peak.height_counts):
        return "dark"
    if contrast < _HIGH and contrast < _FASTER * low.contrast(i, peak.wavelength_nm):
        return "fringe"
    return None if _in_more_than_one(spectra, i, start + peak.index) else "one exposure"


def _of_the_pump(pump_nm: float | None, at_nm: float) -> bool:
    return pump_nm is not None and any(abs(at_nm / (pump_nm * o) - 1.0) < _PUMP_REL for o in _ORDERS)


def _stands_in(dark: Floats, pixel: int, height: float) -> bool:
    """Whether a dark or blank stands out where a peak does, by a share of its height."""
    low, high = max(pixel - 40, 0), pixel + 41
    around = dark[low:high]
    rest = around - float(np.median(around))
    sigma = 1.4826 * float(np.median(np.abs(rest)))
    here = float(rest[max(pixel - 1 - low, 0) : pixel + 2 - low].max())
    return here > max(8.0 * sigma, _DARK_SHARE * height)


def _in_more_than_one(spectra: Spectra, i: int, pixel: int) -> bool:
    """Whether a peak is there without the exposure that shows it best."""
    frames = spectra.exposures(i) if spectra.exposures is not None else np.empty((0, 0))
    if len(frames) < 2:
        return True
    pitch = float(np.median(np.diff(spectra.wavelength_nm)))
    far = max(round(2.0 * spectra.line_nm / pitch), 6)
    around = frames[:, max(pixel - far, 0) : pixel + far + 1]
    height = frames[:, max(pixel - 1, 0) : pixel + 2].mean(axis=1) - np.median(around, axis=1)
    rest = np.sort(height)[:-1]
    return float(rest.mean()) > _STEADY_SHARE * float(height.mean())


class _LowEnd:
    """The narrow structure that the emission has at low fluence already: fringes, or nothing but noise."""

    def __init__(self, spectra: Spectra, inside: slice) -> None:
        usable = np.array([c.size > 0 for c in spectra.counts], dtype=np.bool_)
        order = [int(i) for i in np.argsort(spectra.fluence_uj_cm2, kind="stable") if usable[i]]
        self._points = order[: max(2, len(order) // 4)]
        self._fluence = spectra.fluence_uj_cm2
        self._at_nm = spectra.wavelength_nm[inside]
        self._structure: Floats | None = None
        if len(order) > len(self._points):
            self._structure = self._read(spectra, inside)

    def _read(self, spectra: Spectra, inside: slice) -> Floats:
        """Return height of the structure over the luminescence at each pixel, its noise included."""
        total = np.zeros(self._at_nm.size)
        for i in self._points:
            band = spectra.counts[i][inside]
            total += band / max(float(np.median(spectrum_noise(band))) ** 2, 1e-300)
        noise = spectrum_noise(total)
        continuum = fit_continuum(self._at_nm, total, noise).counts
        pitch = float(self._at_nm[-1] - self._at_nm[0]) / (self._at_nm.size - 1)
        width = max(round(0.5 * spectra.line_nm / pitch / 2), 1)
        above = scipy.ndimage.uniform_filter1d(total - continuum, width, mode="nearest")
        left = noise / np.sqrt(width)
        # Luminescence that is lost in the noise cannot show that a line grew faster than it.
        contrast = np.maximum(above, left) / np.maximum(continuum, 3.0 * left)
        near = max(round(2 * _NEAR_NM / pitch), 3)
        # A brighter spectrum of the same fringes has its smooth part at their feet: they are compared so too.
        smooth = scipy.ndimage.uniform_filter1d(total, width, mode="nearest")
        feet = scipy.ndimage.minimum_filter1d(smooth, near)
        tops = scipy.ndimage.maximum_filter1d(smooth, near)
        fringes = (tops - feet - _BY_CHANCE * left) / np.maximum(feet, 3.0 * left)
        return np.asarray(np.maximum(scipy.ndimage.maximum_filter1d(contrast, near), fringes))

    def contrast(self, i: int, at_nm: float) -> float:
        """Return the contrast of the low end around a wavelength; infinite for a point that belongs to it."""
        if self._structure is None or i in self._points:
            return float("inf")
        return float(self._structure[int(np.argmin(np.abs(self._at_nm - at_nm)))])
