"""The power meter's head, a temperature sensor beside the sample, and a plate that warms it."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Steps, Stream, Wander, generator
from simulators.scene.optics import Beam
from simulators.scene.settings import HeaterSettings, MeterKind, MeterSettings, ThermometerSettings


@dataclass(frozen=True, slots=True)
class Model:
    """What is fixed by the kind of head; ``time_constant_s`` is that of its answer to a step."""

    name: str
    wavelength_limits_nm: tuple[float, float]
    time_constant_s: float


MODELS: dict[MeterKind, Model] = {
    "photodiode": Model("S130C", (400.0, 1100.0), 0.015),
    "thermal": Model("S401C", (190.0, 20000.0), 1.1),
    "pyro": Model("ES111C", (185.0, 25000.0), 0.0005),
}

SILICON_NM = (400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 950.0, 1000.0, 1050.0, 1100.0)
SILICON_A_W = (0.11, 0.24, 0.35, 0.44, 0.53, 0.59, 0.60, 0.55, 0.35, 0.16)
"""Generic silicon: nearly proportional to the wavelength up to 900 nm, falling at the band edge."""


def responsivity(kind: MeterKind, wavelength_nm: float) -> float:
    """Return the head's responsivity; black absorbers of the thermal kinds are flat to a per cent."""
    if kind == "photodiode":
        return float(np.interp(wavelength_nm, SILICON_NM, SILICON_A_W))
    return 1.0 - 0.00001 * (wavelength_nm - 800.0)


class Head:
    """Answers what the electronics would show; ranges and averaging are the electronics' own business."""

    def __init__(
        self, settings: MeterSettings, seed: int, beam: Beam, room: Steps, lock: threading.RLock
    ) -> None:
        self.settings, self._seed, self._lock = settings, seed, lock
        self._beam, self._room = beam, room
        self.kind: MeterKind = settings.kind
        model = MODELS[settings.kind]
        self.name, self.wavelength_limits_nm = model.name, model.wavelength_limits_nm
        self.time_constant_s = model.time_constant_s
        self.serial = f"{17_050_000 + seed % 10_000:08d}"

    def power_w(
        self,
        stop_s: float,
        samples: int,
        sample_period_s: float,
        wavelength_set_nm: float,
        zero_offset_w: float,
        range_w: float,
    ) -> float:
        """Return the mean of ``samples`` samples that end at ``stop_s``.

        :param zero_offset_w: what zeroing found; it is subtracted. The result may exceed ``range_w``.
        """
        with self._lock:
            s = self.settings
            start = stop_s - samples * sample_period_s
            light = self._smoothed_w(start, stop_s) + s.room_light_w * self._room.mean(start, stop_s)
            noise = math.hypot(s.noise_w, s.noise_range_rel * range_w) / math.sqrt(samples)
            chance = float(generator(self._seed, Stream.METER, round(stop_s * 1e6)).standard_normal())
            shown = light * self._scale(wavelength_set_nm) + s.zero_offset_w + noise * chance
            return shown - zero_offset_w

    def pulse_energy_j(self, stop_s: float, wavelength_set_nm: float = 800.0) -> float:
        """Return the energy of the last pulse before ``stop_s`` as a pyroelectric head shows it.

        0 without one: a pulse that does not rise above the noise does not trigger it.
        """
        with self._lock:
            rate = self._beam.laser.settings.repetition_rate_hz
            pulses = self._beam.laser.between(stop_s - 1.0 / rate, 1)
            energy = float(self._beam.at_meter(pulses)[0]) * self._scale(wavelength_set_nm)
            noise_j = self.settings.noise_w / rate
            if energy <= 3.0 * noise_j:
                return 0.0
            rng = generator(self._seed, Stream.METER, round(stop_s * 1e6))
            return energy + noise_j * float(rng.standard_normal())

    def repetition_hz(self, stop_s: float) -> float:
        """Return how fast pulses came in the second before ``stop_s``, timed from the first one to the last.

        A pulse that is missing, or too weak to be seen, is not counted.
        """
        with self._lock:
            rate = self._beam.laser.settings.repetition_rate_hz
            pulses = self._beam.laser.between(stop_s - 1.0, rate)
            seen = pulses.times_s[self._beam.at_meter(pulses) * rate > 3.0 * self.settings.noise_w]
            if seen.size < 2:
                return float(seen.size)
            return float((seen.size - 1) / (seen[-1] - seen[0]))

    def _scale(self, wavelength_set_nm: float) -> float:
        """Return shown over true power: the head is told a wavelength and believes it."""
        true_nm = self._beam.laser.settings.wavelength_nm
        told = responsivity(self.kind, true_nm) / responsivity(self.kind, wavelength_set_nm)
        return told * (1.0 + self.settings.scale_error)

    def _smoothed_w(self, start_s: float, stop_s: float) -> float:
        """Return the mean over the reading of a head that follows with its time constant.

        Recent pulses count one by one; the tail that a slow head still feels comes from mean powers.
        """
        tau = self.time_constant_s
        rate = self._beam.laser.settings.repetition_rate_hz
        recent_s = start_s - min(4.0 * tau, 0.25)
        pulses = self._beam.laser.between(recent_s, (stop_s - recent_s) * rate)
        energy, times = self._beam.at_meter(pulses), pulses.times_s
        span = stop_s - start_s
        felt = _answer(stop_s - times, tau) - _answer(start_s - times, tau)
        total = float(np.dot(energy, felt))
        past = self._beam.mean_power(recent_s - 16.0 * tau, recent_s, "pick-off")
        ramp = _ramp(stop_s - past.edges_s, tau) - _ramp(start_s - past.edges_s, tau)
        return (total + float(np.dot(past.power_w, ramp[:-1] - ramp[1:]))) / span


def _answer(delay_s: FloatArray, tau_s: float) -> FloatArray:
    """Return the part of a pulse's energy that has been shown after a delay."""
    answer: FloatArray = -np.expm1(-np.maximum(delay_s, 0.0) / tau_s)
    return answer


def _ramp(delay_s: FloatArray, tau_s: float) -> FloatArray:
    """Return the integral of the answer over the delay, s."""
    later = np.maximum(delay_s, 0.0)
    ramp: FloatArray = later + tau_s * np.expm1(-later / tau_s)
    return ramp


ROOM_C = 22.0


class Plate:
    """A heated plate that follows its controller with a first-order lag, and the sample on it after that.

    :ivar sensor_open: its sensor is broken; the controller sees that and switches off.
    """

    def __init__(self, settings: HeaterSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._seed, self._clock, self._lock = settings, seed, clock, lock
        self.sensor_open = False
        self._since_s, self._from_c, self._target_c = 0.0, (ROOM_C, ROOM_C), ROOM_C

    def heat(self, target_c: float | None) -> None:
        """Begin to hold a temperature; None: to cool down to the room's."""
        with self._lock:
            now = self._clock.now_s()
            self._from_c = (self.plate_c(now), self.sample_c(now))
            self._since_s, self._target_c = now, ROOM_C if target_c is None else target_c

    def plate_c(self, at_s: float) -> float:
        """Return the plate's temperature."""
        fade = math.exp(-max(at_s - self._since_s, 0.0) / self.settings.time_constant_s)
        return self._target_c + (self._from_c[0] - self._target_c) * fade

    def sample_c(self, at_s: float) -> float:
        """Return the sample's temperature: the plate's, a moment later."""
        t, tau, lag = max(at_s - self._since_s, 0.0), self.settings.time_constant_s, self.settings.lag_s
        plate, sample = (start - self._target_c for start in self._from_c)
        slow, fast = math.exp(-t / tau), math.exp(-t / lag)
        return self._target_c + sample * fast + plate * tau / (tau - lag) * (slow - fast)

    def read_c(self, at_s: float) -> float:
        """Return a reading of the plate's sensor; the same time gives the same reading."""
        rng = generator(self._seed, Stream.THERMOMETER, 2 + round(at_s * 1e6))
        return self.plate_c(at_s) + self.settings.noise_c * float(rng.standard_normal())


class Thermometer:
    """Shows the room's wandering temperature, or that of a heated sample, with the noise of one reading."""

    def __init__(self, settings: ThermometerSettings, seed: int, plate: Plate | None = None) -> None:
        self.settings, self._seed, self._plate = settings, seed, plate
        self.serial = f"T{seed % 100_000:05d}"
        rng = generator(seed, Stream.THERMOMETER)
        self._wander = Wander(settings.wander_c, settings.wander_s, rng)

    def true_c(self, at_s: float) -> float:
        """Return the temperature at a time."""
        warm = 0.0 if self._plate is None else self._plate.sample_c(at_s) - ROOM_C
        return self.settings.temperature_c + warm + self._wander.at(at_s)

    def read_c(self, at_s: float) -> float:
        """Return a reading; the same time gives the same reading."""
        rng = generator(self._seed, Stream.THERMOMETER, 1 + round(at_s * 1e6))
        return self.true_c(at_s) + self.settings.noise_c * float(rng.standard_normal())
