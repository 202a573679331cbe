"""A temperature sensor beside the sample."""

from __future__ import annotations

from simulators.scene.chance import Stream, Wander, generator
from simulators.scene.settings import ThermometerSettings


class Thermometer:
    """Shows the room's wandering temperature with the noise of one reading."""

    def __init__(self, settings: ThermometerSettings, seed: int) -> None:
        self.settings, self._seed = settings, seed
        self.serial = f"T{seed % 100_000:05d}"
        rng = generator(seed, Stream.THERMOMETER)
        self._wander = Wander(settings.wander_c, settings.wander_s, rng)

    def true_c(self, at_s: float) -> float:
        """Return the temperature at a time."""
        return self.settings.temperature_c + self._wander.at(at_s)

    def read_c(self, at_s: float) -> float:
        """Return a reading; the same time gives the same reading."""
        rng = generator(self._seed, Stream.THERMOMETER, 1 + round(at_s * 1e6))
        return self.true_c(at_s) + self.settings.noise_c * float(rng.standard_normal())
