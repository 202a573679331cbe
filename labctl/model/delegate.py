"""Instruments that pass every call on to another one: what wraps an instrument changes the calls it means.

Two hooks hold for every call: :meth:`Delegate.around` is entered round it, and :meth:`Delegate.flag` is what
the instrument gets in place of a stop flag.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from labctl.model.clock import Stop
from labctl.model.records import Identity, PowerReading, SpectrometerInfo, Spectrum
from labctl.model.roles import (
    Attenuator,
    Device,
    Heard,
    PowerMeter,
    SelfClosing,
    SensorKind,
    Shutter,
    Spectrometer,
    Stage,
    Thermometer,
)

D = TypeVar("D", bound=Device)
M = TypeVar("M", Attenuator, Stage)


class Delegate(Generic[D]):
    """What all of them have in common.

    :param device: the instrument that does the work.
    """

    def __init__(self, device: D) -> None:
        self._device = device

    def around(self) -> AbstractContextManager[None]:
        """Return what is entered round a call; nothing by default."""
        return nullcontext()

    def flag(self, stop: Stop | None) -> Stop | None:
        """Return the stop flag that the instrument gets."""
        return stop

    @property
    def name(self) -> str:
        """Role and address."""
        return self._device.name

    def identity(self) -> Identity:
        """Ask the device who it is."""
        with self.around():
            return self._device.identity()

    def close(self) -> None:
        """Release the connection."""
        self._device.close()


class DelegateMotor(Delegate[M]):
    """What a mount and a stage have in common."""

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted."""
        with self.around():
            return self._device.is_referenced()

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference."""
        with self.around():
            self._device.home(self.flag(stop))


class DelegateAttenuator(DelegateMotor[Attenuator]):
    """A mount."""

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for."""
        return self._device.angle_range_deg

    def angle_deg(self) -> float:
        """Read the present angle."""
        with self.around():
            return self._device.angle_deg()

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move and return the angle read back."""
        with self.around():
            return self._device.move_to(angle_deg, self.flag(stop))


BEYOND_METER = frozenset({"zero", "set_range", "frequency_hz", "pulse_energy_j"})
"""What :mod:`labctl.model.meters` describes."""


class DelegatePowerMeter(Delegate[PowerMeter]):
    """A power meter; what some can beyond their role is let through."""

    @property
    def sensor(self) -> SensorKind:
        """Kind of the head."""
        return self._device.sensor

    @property
    def settling_s(self) -> float:
        """Time until a reading follows a change of power."""
        return self._device.settling_s

    @property
    def noise_w(self) -> float:
        """Standard deviation of one averaged reading in the dark."""
        return self._device.noise_w

    def prepare(self, wavelength_nm: float) -> None:
        """Set unit, wavelength, range and averaging."""
        with self.around():
            self._device.prepare(wavelength_nm)

    def read(self, count: int = 1, stop: Stop | None = None, heard: Heard | None = None) -> PowerReading:
        """Take ``count`` averaged readings."""
        with self.around():
            return self._device.read(count, self.flag(stop), heard)

    def __getattr__(self, name: str) -> Callable[..., float]:
        """Return what the meter can beyond its role, each call like any other."""
        if name not in BEYOND_METER:
            raise AttributeError(name)
        method = getattr(self._device, name)

        def call(*arguments: object) -> float:
            with self.around():
                return float(method(*arguments))

        return call


class DelegateSpectrometer(Delegate[Spectrometer]):
    """A spectrometer."""

    @property
    def info(self) -> SpectrometerInfo:
        """Pixels, wavelengths and limits."""
        return self._device.info

    def set_integration(self, seconds: float) -> float:
        """Set the integration time; return the one the device confirms."""
        with self.around():
            return self._device.set_integration(seconds)

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure."""
        with self.around():
            return self._device.acquire(self.flag(stop))

    def temperature_c(self) -> float | None:
        """Detector temperature, None where the device cannot tell."""
        with self.around():
            return self._device.temperature_c()


class DelegateShutter(Delegate[Shutter]):
    """A shutter; whether it can close itself is passed on too."""

    @property
    def travel_s(self) -> float:
        """Longest time from a command to the blade's end position."""
        return self._device.travel_s

    @property
    def self_closing(self) -> bool:
        """Whether it closes itself when told for how long to open."""
        return bool(getattr(self._device, "self_closing", False))

    def is_open(self) -> bool:
        """Ask the device."""
        with self.around():
            return self._device.is_open()

    def open(self, within_s: float | None = None) -> None:
        """Open and return once the device confirms it."""
        if within_s is not None and isinstance(self._device, SelfClosing) and self.self_closing:
            self._device.open(within_s)
        else:
            self._device.open()

    def close_beam(self) -> None:
        """Close and return once the device confirms it."""
        with self.around():
            self._device.close_beam()


class DelegateStage(DelegateMotor[Stage]):
    """A linear stage."""

    @property
    def range_um(self) -> tuple[float, float]:
        """Lowest and highest position that may be asked for."""
        return self._device.range_um

    def position_um(self) -> float:
        """Read the present position."""
        with self.around():
            return self._device.position_um()

    def move_to(self, position_um: float, stop: Stop | None = None) -> float:
        """Move, and return the position read back."""
        with self.around():
            return self._device.move_to(position_um, self.flag(stop))


class DelegateThermometer(Delegate[Thermometer]):
    """A thermometer."""

    def temperature_c(self) -> float:
        """Read the temperature."""
        with self.around():
            return self._device.temperature_c()
