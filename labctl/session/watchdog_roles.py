"""The roles of a bench, wrapped so that working with them is a sign of life and light is announced first."""

from __future__ import annotations

from collections.abc import Callable

from labctl.model.clock import Clock, Stop
from labctl.model.errors import Aborted
from labctl.model.records import PowerReading, SpectrometerInfo, Spectrum
from labctl.model.roles import Attenuator, PowerMeter, Roles, SensorKind, Shutter, Spectrometer
from labctl.session.watchdog_calls import CALL_S, End, Life, Polled, Watched
from labctl.session.watchdog_optional import WatchedStage, WatchedThermometer


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
        stage=roles.stage and WatchedStage(roles.stage, life, end),
        thermometer=roles.thermometer and WatchedThermometer(roles.thermometer, life, end),
    )


class WatchedClock:
    """A clock; to wait on it is a sign of life, again and again."""

    def __init__(self, clock: Clock, life: Life, end: Stop) -> None:
        self._clock, self._life, self._end = clock, life, end

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""
        return self._clock.now_s()

    def sleep(self, seconds: float, stop: Stop | None = None) -> None:
        """Wait; raises :class:`Aborted` when ``stop`` is set."""
        self._clock.sleep(seconds, Polled(stop, self._life, self._end))


class WatchedAttenuator(Watched):
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
        with self.busy():
            known = self._mount.is_referenced()
        self._life.referenced(known)
        return known

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference."""
        self._life.referenced(False)
        with self.busy():
            self._mount.home(self.polled(stop))

    def angle_deg(self) -> float:
        """Read the present angle."""
        with self.busy():
            return self._mount.angle_deg()

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move, and return the angle read back."""
        with self.busy():
            return self._mount.move_to(angle_deg, self.polled(stop))


BEYOND_METER = frozenset({"zero", "set_range", "frequency_hz", "pulse_energy_j"})
"""What :mod:`labctl.model.meters` describes."""


class WatchedPowerMeter(Watched):
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
        with self.busy():
            self._meter.prepare(wavelength_nm)

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        """Take ``count`` averaged readings."""
        with self.busy():
            return self._meter.read(count, self.polled(stop))

    def __getattr__(self, name: str) -> Callable[..., float]:
        """Let through what some meters can beyond their role, each call a sign of life."""
        if name not in BEYOND_METER:
            raise AttributeError(name)
        method = getattr(self._meter, name)

        def call(*arguments: object) -> float:
            with self.busy():
                return float(method(*arguments))

        return call


class WatchedSpectrometer(Watched):
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
        with self.busy():
            return self._spectrometer.set_integration(seconds)

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure."""
        with self.busy():
            return self._spectrometer.acquire(self.polled(stop))

    def temperature_c(self) -> float | None:
        """Detector temperature, None where the device cannot tell."""
        with self.busy():
            return self._spectrometer.temperature_c()


class WatchedShutter(Watched):
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
        with self.busy():
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
        with self.busy():
            self._shutter.close_beam()
        self._life.dark()
