"""Random-laser modes: where they are, how wide, and how they share the light from shot to shot."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from labctl.model.records import FloatArray
from simulators.scene.chance import Blocks, Stream, Wander, generator
from simulators.scene.laser import Pulses
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
