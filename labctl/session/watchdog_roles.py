"""The roles of a bench, wrapped so that working with them is a sign of life and light is announced first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from labctl.model.clock import Clock, Stop
from labctl.model.errors import Aborted, InstrumentError
from labctl.model.records import Identity, PowerReading, SpectrometerInfo, Spectrum
from labctl.model.roles import (
    Attenuator,
    Device,
    PowerMeter,
    Roles,
    SensorKind,
    Shutter,
    Spectrometer,
)

CALL_S = 2.0
"""Announced for a call that looks at no stop flag; with the limit of silence it covers drivers' deadlines."""
REOPEN_S = 30.0
"""Wall time of the call after one that failed: a spectrometer may be opened anew in it."""


class Life(Protocol):
    """The part of the watchdog that is needed here."""

    def beat(self, busy_s: float = 0.0) -> None:
        """Give a sign of life."""

    def consent(self, busy_s: float = 0.0) -> None:
        """Ask whether the shutter may open."""

    def light(self) -> None:
        """Say that it is open."""

    def dark(self) -> None:
        """Say that it is confirmed closed."""

    def referenced(self, known: bool) -> None:
        """Say whether the mount's angle can be trusted."""


class Nobody:
    """The watchdog of a bench that has none."""

    def beat(self, busy_s: float = 0.0) -> None:
        """Ignore."""

    def consent(self, busy_s: float = 0.0) -> None:
        """Consent."""

    def light(self) -> None:
        """Ignore."""

    def dark(self) -> None:
        """Ignore."""

    def referenced(self, known: bool) -> None:
        """Ignore."""


class End(Stop, Protocol):
    """The end of the program, as a loop sees it."""

    @property
    def asked(self) -> bool:
        """Whether no shutter may open any more."""


def watched(roles: Roles, life: Life, end: End) -> Roles:
    """Return the same instruments and clock, wrapped.

    :param end: looked at wherever a stop flag is.
    """
    return Roles(
        attenuator=WatchedAttenuator(roles.attenuator, life, end),
        power_meter=WatchedPowerMeter(roles.power_meter, life, end),
        spectrometer=WatchedSpectrometer(roles.spectrometer, life, end),
        shutter=WatchedShutter(roles.shutter, life, end),
        clock=WatchedClock(roles.clock, life, end),
    )


@dataclass(frozen=True, slots=True)
class _Polled:
    """A stop flag; to look at it is a sign of life."""

    stop: Stop | None
    life: Life
    end: Stop

    def is_set(self) -> bool:
        """Return whether the user, or the program's end, asked to stop."""
        self.life.beat()
        return (self.stop is not None and self.stop.is_set()) or self.end.is_set()


class WatchedClock:
    """A clock; to wait on it is a sign of life, again and again."""

    def __init__(self, clock: Clock, life: Life, end: Stop) -> None:
        self._clock, self._life, self._end = clock, life, end

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""
        return self._clock.now_s()

    def sleep(self, seconds: float, stop: Stop | None = None) -> None:
        """Wait; raises :class:`Aborted` when ``stop`` is set."""
        self._clock.sleep(seconds, _Polled(stop, self._life, self._end))


class _Watched:
    """What the four have in common."""

    def __init__(self, device: Device, life: Life, end: End) -> None:
        self._device, self._life, self._end = device, life, end
        self._failed = False

    @property
    def name(self) -> str:
        """Role and address."""
        return self._device.name

    def identity(self) -> Identity:
        """Ask the device who it is."""
        with self._busy():
            return self._device.identity()

    def close(self) -> None:
        """Release the connection."""
        self._device.close()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._life.beat(REOPEN_S if self._failed else CALL_S)
        try:
            yield
        except InstrumentError:
            self._failed = True
            raise
        else:
            self._failed = False
        finally:
            self._life.beat()

    def _polled(self, stop: Stop | None) -> Stop:
        return _Polled(stop, self._life, self._end)


class WatchedAttenuator(_Watched):
    """An attenuator."""

    def __init__(self, device: Attenuator, life: Life, end: End) -> None:
        super().__init__(device, life, end)
        self._mount = device

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for."""
        return self._mount.angle_range_deg

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted, and let the watchdog know."""
        with self._busy():
            known = self._mount.is_referenced()
        self._life.referenced(known)
        return known

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference."""
        self._life.referenced(False)
        with self._busy():
            self._mount.home(self._polled(stop))

    def angle_deg(self) -> float:
        """Read the present angle."""
        with self._busy():
            return self._mount.angle_deg()

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move, and return the angle read back."""
        with self._busy():
            return self._mount.move_to(angle_deg, self._polled(stop))


class WatchedPowerMeter(_Watched):
    """A power meter."""

    def __init__(self, device: PowerMeter, life: Life, end: End) -> None:
        super().__init__(device, life, end)
        self._meter = device

    @property
    def sensor(self) -> SensorKind:
        """Kind of the head."""
        return self._meter.sensor

    @property
    def settling_s(self) -> float:
        """Time until a reading follows a change of power."""
        return self._meter.settling_s

    @property
    def noise_w(self) -> float:
        """Standard deviation of one averaged reading in the dark."""
        return self._meter.noise_w

    def prepare(self, wavelength_nm: float) -> None:
        """Set unit, wavelength, range and averaging."""
        with self._busy():
            self._meter.prepare(wavelength_nm)

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        """Take ``count`` averaged readings."""
        with self._busy():
            return self._meter.read(count, self._polled(stop))


class WatchedSpectrometer(_Watched):
    """A spectrometer."""

    def __init__(self, device: Spectrometer, life: Life, end: End) -> None:
        super().__init__(device, life, end)
        self._spectrometer = device

    @property
    def info(self) -> SpectrometerInfo:
        """Pixels, wavelengths and limits."""
        return self._spectrometer.info

    def set_integration(self, seconds: float) -> float:
        """Set the integration time; return the one the device confirms."""
        with self._busy():
            return self._spectrometer.set_integration(seconds)

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure."""
        with self._busy():
            return self._spectrometer.acquire(self._polled(stop))

    def temperature_c(self) -> float | None:
        """Detector temperature, None where the device cannot tell."""
        with self._busy():
            return self._spectrometer.temperature_c()


class WatchedShutter(_Watched):
    """A shutter that opens only while somebody watches. Its own driver keeps it safe for two threads."""

    def __init__(self, device: Shutter, life: Life, end: End) -> None:
        super().__init__(device, life, end)
        self._shutter = device

    @property
    def travel_s(self) -> float:
        """Longest time from a command to the blade's end position."""
        return self._shutter.travel_s

    def is_open(self) -> bool:
        """Ask the device."""
        with self._busy():
            return self._shutter.is_open()

    def open(self) -> None:
        """Open, once the watchdog has said that it watches.

        :raises SafetyStop: nobody watches.
        :raises Aborted: the program is ending.
        """
        if self._end.asked:
            raise Aborted
        self._life.consent(CALL_S)
        self._shutter.open()
        self._life.light()  # once more: another thread may have closed it in between

    def close_beam(self) -> None:
        """Close; once that is confirmed, no signs of life are owed."""
        with self._busy():
            self._shutter.close_beam()
        self._life.dark()
