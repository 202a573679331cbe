"""Distribution of the overlap of single-shot spectra (Parisi), beside the floor that noise alone makes.

q of two shots is the correlation of what their spectra have beyond the mean spectrum (N. Ghofraniha et al.,
Nat. Commun. 6, 6058, 2015). Common brightness correlates all pixels and looks like order: each spectrum is
therefore freed of its own multiple of the mean spectrum. Of the rest, read and shot noise correlate by chance
in as many ways as there are pixels: the floor is that of surrogates, the same spectra with the rest of each
pixel dealt out again among the shots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.model.results.shot_statistics import Overlap

Array = NDArray[np.float64]

LEAST_SHOTS = 20
MOST_SHOTS = 400
"""Shots that are compared, evenly chosen: pairs grow as the square, and a floor costs as much again."""
SURROGATES = 12
BINS = 81
# What the overlap must exceed the floor by: standard deviations of the surrogates, and a part of the floor
# that slow changes of the detector may add.
_SIGMAS, _SHARE = 4.0, 0.1


def overlap(
    light: ArrayLike, *, read_noise: ArrayLike = 0.0, counts_per_electron: float = 0.0, seed: int = 0
) -> Overlap | None:
    """Compare shots of one fluence with each other; None with fewer than 20 of them.

    :param light: spectra of the shots inside the band, dark subtracted and linear, counts, shape
        ``(shot, pixel)``; saturated shots left out.
    :param read_noise: standard deviation of the noise of a pixel in the dark, counts, shape ``(pixel,)`` or
        one number.
    :param counts_per_electron: shot noise of N counts has the variance N x this; 0 where it is unknown.
    :param seed: of the surrogates.
    :raises ValueError: ``light`` is not of shape ``(shot, pixel)``.
    """
    spectra = np.asarray(light, dtype=np.float64)
    if spectra.ndim != 2:
        raise ValueError(f"light must have the shape (shot, pixel), not {spectra.shape}")
    spectra = spectra[np.isfinite(spectra).all(axis=1)]
    count = spectra.shape[0]
    if count < LEAST_SHOTS or spectra.shape[1] < 2:
        return None
    if count > MOST_SHOTS:
        spectra = spectra[np.linspace(0, count - 1, MOST_SHOTS).astype(np.intp)]
    edges = np.linspace(-1.0, 1.0, BINS + 1)
    own = _Freed.of(spectra)
    q = _pairs(own.rest)
    raw = _pairs(spectra - spectra.mean(axis=0))
    rng = np.random.default_rng(seed)
    noise = _noise(own, np.asarray(read_noise, dtype=np.float64), counts_per_electron)
    floors = [_pairs(_Freed.of(own.dealt(noise, rng)).rest) for _ in range(SURROGATES)]
    each = np.array([_rms(floor) for floor in floors])
    floor, sigma = float(each.mean()), float(each.std(ddof=1))
    above = _rms(q) > floor + max(_SIGMAS * sigma, _SHARE * floor)
    return Overlap(
        edges,
        _density(q, edges),
        _density(raw, edges),
        np.mean([_density(f, edges) for f in floors], axis=0),
        rms=_rms(q),
        raw_rms=_rms(raw),
        floor_rms=floor,
        floor_sigma=sigma,
        above_floor=above,
        reason=_said(_rms(q), floor, above),
        shots=spectra.shape[0],
    )


def _said(rms: float, floor: float, above: bool) -> str:
    numbers = f"overlap {rms:.3g} (rms) against a floor of {floor:.3g}"
    return f"{numbers}: {'shots share structure beyond noise' if above else 'noise explains it'}"


@dataclass(frozen=True, slots=True)
class _Freed:
    """Spectra taken apart: shape ``(shot, 1)`` brightness, ``(pixel,)`` mean spectrum, and what is left."""

    brightness: Array
    mean: Array
    rest: Array

    @classmethod
    def of(cls, spectra: Array) -> _Freed:
        """Take its multiple of the mean spectrum out of every shot, and what all still share."""
        mean = spectra.mean(axis=0)
        brightness = (spectra @ mean / max(float(mean @ mean), 1e-300))[:, None]
        rest = spectra - brightness * mean
        return cls(brightness, mean, rest - rest.mean(axis=0))

    def dealt(self, noise: Array, rng: np.random.Generator) -> Array:
        """Return surrogates: the rest of every pixel, in units of its noise, dealt out among the shots."""
        units = rng.permuted(self.rest / noise, axis=0)
        return np.asarray(self.brightness * self.mean + units * noise)


def _noise(own: _Freed, read: Array, counts_per_electron: float) -> Array:
    """Return the noise to expect of each pixel of each shot, up to a factor per pixel."""
    light = np.maximum(own.brightness * own.mean, 0.0)
    variance = np.broadcast_to(read**2, own.mean.shape) + counts_per_electron * light
    return (
        np.sqrt(np.maximum(variance, 1e-12 * max(float(variance.max()), 1e-300)))
        if variance.any()
        else np.ones_like(own.rest)
    )


def _pairs(rest: Array) -> Array:
    """Return q of every pair, shape ``(pair,)``."""
    unit = rest / np.maximum(np.linalg.norm(rest, axis=1), 1e-300)[:, None]
    return np.asarray((unit @ unit.T)[np.triu_indices(len(unit), 1)])


def _rms(q: Array) -> float:
    return float(np.sqrt(np.mean(q**2)))


def _density(q: Array, edges: Array) -> Array:
    return np.asarray(np.histogram(np.clip(q, -1.0, 1.0), edges, density=True)[0], dtype=np.float64)
