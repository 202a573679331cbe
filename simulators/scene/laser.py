"""The laser: pulse k comes at (k + phase)/f and its energy depends on (seed, k) alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labctl.model.records import FloatArray
from simulators.scene.chance import Blocks, Spells, Stream, Wander, generator
from simulators.scene.settings import LaserSettings

BLOCK = 1024
TURN_S = 8 * 3600.0
"""Period of the slow trend: over hours a laser comes back rather than running away."""
WINDOW_S = 100.0


@dataclass(frozen=True, slots=True)
class Pulses:
    """Consecutive pulses; every array has shape ``(pulse,)`` and is never written to.

    ``energy`` is relative to the nominal mean; ``x_um`` and ``y_um`` displace the spot on the sample.
    """

    first: int
    times_s: FloatArray
    energy: FloatArray
    x_um: FloatArray
    y_um: FloatArray


class Laser:
    """Pulse noise, correlated drift, pointing jitter, missing pulses and drop-outs.

    ``spells`` are factors on the energy of every pulse.
    """

    def __init__(self, settings: LaserSettings, seed: int) -> None:
        self.settings, self._seed = settings, seed
        self.spells = Spells()
        rng = generator(seed, Stream.PHASE)
        self.phase = float(rng.uniform())
        sign = float(rng.choice((-1.0, 1.0)))
        self._trend = sign * settings.drift_per_hour / 3600.0 * TURN_S / (2 * math.pi)
        self._slow = Wander(settings.slow_rel, settings.slow_time_s, generator(seed, Stream.LASER_SLOW))
        self._blocks = Blocks(self._make)
        self._dropouts = Blocks(self._draw_dropout, 16)

    def level(self, at_s: float) -> float:
        """Return the slowly varying mean pulse energy, relative to nominal."""
        return 1.0 + self._trend * math.sin(2 * math.pi * at_s / TURN_S) + self._slow.at(at_s)

    def between(self, start_s: float, periods: float) -> Pulses:
        """Return the pulses in ``periods`` pulse periods from ``start_s`` on.

        A whole number of periods holds exactly that many pulses whatever the phase; a broken one holds the
        next lower or the next higher number.
        """
        position = start_s * self.settings.repetition_rate_hz - self.phase
        first = math.ceil(position)
        whole = round(periods)
        if abs(periods - whole) < 1e-7:
            return self.slice(first, whole)
        return self.slice(first, max(math.ceil(periods - (first - position)), 0))

    def slice(self, first: int, count: int) -> Pulses:
        """Return ``count`` pulses beginning with number ``first``."""
        rate = self.settings.repetition_rate_hz
        times: FloatArray = (np.arange(first, first + count, dtype=float) + self.phase) / rate
        parts = []
        stop = first + count
        for block in range(first // BLOCK, (stop - 1) // BLOCK + 1):
            begin = block * BLOCK
            parts.append(self._blocks[block][:, max(first - begin, 0) : stop - begin])
        table = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty((3, 0))], axis=1)
        return Pulses(first, times, table[0] * self.spells.factor(times), table[1], table[2])

    def _make(self, block: int) -> FloatArray:
        """Return energy, x and y of one block, shape ``(3, BLOCK)``."""
        s = self.settings
        rng = generator(self._seed, Stream.PULSE, block)
        table = rng.standard_normal((3, BLOCK))
        table[1:] *= s.pointing_um
        start, stop = block * BLOCK / s.repetition_rate_hz, (block + 1) * BLOCK / s.repetition_rate_hz
        level = np.linspace(self.level(start), self.level(stop), BLOCK)
        table[0] = level * np.maximum(1.0 + s.pulse_cv * table[0], 0.0)
        if s.missing:
            table[0] *= rng.random(BLOCK) >= s.missing
        if s.dropouts_per_hour:
            table[0] *= self._dropout_factor(start, stop)
        return table

    def _draw_dropout(self, window: int) -> tuple[float, float, float] | None:
        """Return begin, end and remaining light of this window's drop-out, if it has one."""
        rng = generator(self._seed, Stream.DROPOUT, window)
        if rng.random() >= self.settings.dropouts_per_hour * WINDOW_S / 3600.0:
            return None
        begin = (window + float(rng.random())) * WINDOW_S
        return (
            begin,
            begin + min(float(rng.exponential(self.settings.dropout_s)), 5.0),
            float(rng.uniform(0, 0.6)),
        )

    def _dropout_factor(self, start_s: float, stop_s: float) -> FloatArray:
        times = np.linspace(start_s, stop_s, BLOCK, endpoint=False)
        factor = np.ones(BLOCK)
        for window in range(int((start_s - 5.0) // WINDOW_S), int(stop_s // WINDOW_S) + 1):
            if (drop := self._dropouts[window]) is not None:
                factor[(times >= drop[0]) & (times < drop[1])] = drop[2]
        return factor
