"""Bases for adapters: an instrument that somebody else's driver talks to, in one of labctl's roles.

An adapter derives from the base of its role and says how the other driver is opened and asked; a page of the
documentation shows one. The base does the rest: what the other driver raises becomes an ``InstrumentError``,
waits have a deadline and hear a stop, a connection that fails is opened again once and must lead to the same
device, closing never raises. A call into the other driver cannot be interrupted from within its process:
therefore an adapter is ``isolated`` unless the bench file says otherwise, and a call that never returns costs
one restart of that process.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import numpy as np

from drivers.registry import DriverConfig, DriverSpec, RoleName
from drivers.support.exposures import ExposureBounds
from drivers.support.failures import not_connected
from labctl.model.clock import SLICE_S, Clock, Stop, check_stop
from labctl.model.errors import (
    Aborted,
    InstrumentError,
    InstrumentFault,
    InstrumentTimeout,
    NotConnected,
    ProtocolError,
)
from labctl.model.records import FloatArray, Identity, PowerReading, SpectrometerInfo, Spectrum
from labctl.model.roles import SensorKind, has_read

__all__ = [
    "DriverSpec",
    "ForeignAttenuator",
    "ForeignConfig",
    "ForeignMeter",
    "ForeignShutter",
    "ForeignSpectrometer",
    "ForeignStage",
    "ForeignThermometer",
]

LOST = "check cable and power, then connect again"


class ForeignConfig(DriverConfig):
    """The table of an adapter in the bench file; a subclass names its ``driver`` and adds its own keys."""

    isolated: bool = True


class Foreign:
    """What adapters of all roles have in common.

    :param config: the table of the bench file.
    :param clock: of the bench.
    :raises NotConnected: the other driver cannot open it, or it does not say who it is.
    """

    role: ClassVar[RoleName]

    def __init__(self, config: DriverConfig, clock: Clock) -> None:
        self.config, self.clock = config, clock
        self.lock = threading.RLock()
        self._library: Any = None
        self._known: Identity | None = None
        self._closed = self._failed = False
        try:
            self._connect()
        except NotConnected:
            self.close()
            raise
        except InstrumentError as exc:
            self.close()
            reason, hint = exc.message.removeprefix(f"{self.name}: "), exc.hint or "check address and power"
            raise not_connected(self.role, config.resource, reason, hint) from exc

    # -- what an adapter says ----------------------------------------------------------------------

    def connect(self) -> Any:
        """Open the other driver at ``self.config.resource`` and return its object."""
        raise NotImplementedError

    def who(self, library: Any) -> Identity:
        """Ask the device who it is, through the other driver's object.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def set_up(self, library: Any) -> None:
        """Make settings that the device must have after each opening; none by default.

        :param library: what ``connect`` returned.
        """

    def disconnect(self, library: Any) -> None:
        """Release the device; by default the object's own ``close()``.

        :param library: what ``connect`` returned.
        """
        library.close()

    # -- what it gets ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Role and address."""
        return f"{self.role} {self.config.resource}"

    def identity(self) -> Identity:
        """Ask the device who it is."""
        with self.using("its identity") as library:
            return self.who(library)

    def close(self) -> None:
        """Release the connection. Never raises, may be called twice."""
        self._closed = True
        self._disconnect()

    def _disconnect(self) -> None:
        library, self._library = self._library, None
        if library is not None:
            with suppress(Exception):
                self.disconnect(library)

    def _connect(self) -> None:
        with self._translated("opening it"):
            self._library = self.connect()
            found = self.who(self._library)
            if self._known is not None and found != self._known:
                raise InstrumentFault(self.name, f"{found} answers instead of {self._known}")
            self._known = found
            self._ready(self._library)
        self._failed = False

    def _ready(self, library: Any) -> None:
        self.set_up(library)

    @contextmanager
    def using(self, doing: str) -> Iterator[Any]:
        """Lend the other driver's object; what is raised in the block becomes an ``InstrumentError``.

        After a failure the next block begins with a new connection to the same device.

        :param doing: a few words for the error, such as "a reading".
        :raises InstrumentError: it is closed, or the other driver failed.
        """
        with self.lock:
            if self._closed:
                raise InstrumentError(self.name, "is closed")
            if self._failed:
                self._disconnect()
                self._connect()
            with self._translated(doing):
                yield self._library

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (InstrumentFault, Aborted):
            raise
        except InstrumentError:
            self._failed = True
            raise
        except Exception as exc:
            self._failed = True
            text = f"{doing}: {type(exc).__name__}: {' '.join(str(exc).split())}"
            if isinstance(exc, TimeoutError) or "timeout" in type(exc).__name__.lower():
                raise InstrumentTimeout(self.name, text, LOST) from exc
            if isinstance(exc, OSError):
                raise InstrumentError(self.name, text, LOST) from exc
            if isinstance(exc, ValueError | LookupError | TypeError):
                raise ProtocolError(self.name, text) from exc
            raise InstrumentError(self.name, text, LOST) from exc


class ForeignMeter(Foreign):
    """A power meter.

    :cvar sensor: kind of the head. :cvar settling_s: until a reading is within 0.1 % of a changed power, s.
    :cvar noise_w: standard deviation of one reading in the dark, W. Measure these two on the bench.
    """

    role = "power_meter"
    sensor: SensorKind = "photodiode"
    settling_s: float = 1.0
    noise_w: float = 1e-9

    def set_wavelength(self, library: Any, wavelength_nm: float) -> float:
        """Set unit, range and wavelength; return the wavelength that the device confirms, nm.

        :param library: what ``connect`` returned.
        :param wavelength_nm: of the light, nm.
        """
        raise NotImplementedError

    def power_w(self, library: Any) -> float:
        """Take one averaged reading, W.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def prepare(self, wavelength_nm: float) -> None:
        """Set the wavelength, verified.

        :param wavelength_nm: of the light, nm.
        :raises InstrumentFault: it keeps another.
        """
        with self.using("the wavelength") as library:
            kept_nm = float(self.set_wavelength(library, wavelength_nm))
        if not abs(kept_nm - wavelength_nm) <= 0.5:
            raise InstrumentFault(self.name, f"keeps {kept_nm:g} nm instead of {wavelength_nm:g} nm")

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        """Take readings, each heard of as it comes.

        :param count: how many, 1 or more.
        :param stop: ends the wait: anything with ``is_set()``.
        :raises InstrumentFault: one is not a finite number, or so large that the head is over range.
        """
        start_s, values = self.clock.now_s(), []
        for _ in range(max(count, 1)):
            check_stop(stop)
            with self.using("a reading") as library:
                values.append(float(self.power_w(library)))
            if not abs(values[-1]) < 1e30:
                hint = "choose a higher range, or send less light to it"
                raise InstrumentFault(self.name, f"the power {values[-1]:g} W is out of range", hint)
            has_read(values[-1])
        scatter_w = statistics.stdev(values) if len(values) > 1 else 0.0
        sigma_w = max(scatter_w, self.noise_w) / math.sqrt(len(values))
        return PowerReading(statistics.fmean(values), sigma_w, len(values), start_s, self.clock.now_s())


class ForeignMotor(Foreign):
    """What a mount and a stage have in common; positions are in the role's unit.

    :cvar tolerance: how far from its goal a motion may end. :cvar unit: the word for the unit.
    :cvar motion_s: wall time within which any motion must have ended.
    """

    unit: ClassVar[str]
    tolerance: float
    motion_s: float = 120.0

    def limits(self) -> tuple[float, float]:
        """Return the lowest and the highest position that may be asked for."""
        raise NotImplementedError

    def position(self, library: Any) -> float:
        """Read the present position.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def start(self, library: Any, position: float) -> None:
        """Begin to move. A driver that waits for the end here is good as well.

        :param library: what ``connect`` returned.
        :param position: where to, deg of a mount and um of a stage.
        """
        raise NotImplementedError

    def start_home(self, library: Any) -> None:
        """Begin to look for the reference.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def is_moving(self, library: Any) -> bool:
        """Ask whether it moves.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def is_homed(self, library: Any) -> bool:
        """Ask whether the position can be trusted.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def halt(self, library: Any) -> None:
        """Stop a motion.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted (homed since power-up)."""
        with self.using("its reference") as library:
            return bool(self.is_homed(library))

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference.

        :param stop: ends the wait: anything with ``is_set()``.
        :raises InstrumentFault: it says that it has none afterwards.
        """
        check_stop(stop)
        with self.using("homing") as library:
            self.start_home(library)
        self._await_end(stop)
        if not self.is_referenced():
            raise InstrumentFault(self.name, "did not find its reference", "look at the controller, home it")

    def move_to(self, position: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the position read back.

        :param position: where to, deg of a mount and um of a stage.
        :param stop: ends the wait: anything with ``is_set()``.
        :raises InstrumentFault: outside of the range, or it ended elsewhere.
        """
        check_stop(stop)
        low, high = self.limits()
        if not low <= position <= high:
            raise InstrumentFault(self.name, f"{position:g} {self.unit} is outside {low:g} to {high:g}")
        with self.using("a motion") as library:
            self.start(library, position)
        self._await_end(stop)
        reached = self._where()
        if not abs(reached - position) <= self.tolerance:
            text = f"sent to {position:.3f} {self.unit}, reached {reached:.3f}"
            raise InstrumentFault(self.name, text, "home it; it may be blocked")
        return reached

    def _where(self) -> float:
        with self.using("its position") as library:
            return float(self.position(library))

    def _await_end(self, stop: Stop | None) -> None:
        end = time.monotonic() + self.motion_s
        while True:
            with self.using("its motion") as library:
                if not self.is_moving(library):
                    return
                stopped, late = stop is not None and stop.is_set(), time.monotonic() > end
                if stopped or late:
                    self.halt(library)
            if late:
                raise InstrumentTimeout(
                    self.name, f"still moves after {self.motion_s:g} s; it was told to stop"
                )
            self.clock.sleep(SLICE_S, stop)


class ForeignAttenuator(ForeignMotor):
    """A rotation mount."""

    role = "attenuator"
    unit = "deg"
    tolerance = 0.1

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for, degrees."""
        return self.limits()

    def angle_deg(self) -> float:
        """Read the present angle, degrees."""
        return self._where()


class ForeignStage(ForeignMotor):
    """A linear stage."""

    role = "stage"
    unit = "um"
    tolerance = 2.0

    @property
    def range_um(self) -> tuple[float, float]:
        """Lowest and highest position that may be asked for, um."""
        return self.limits()

    def position_um(self) -> float:
        """Read the present position, um."""
        return self._where()


class ForeignShutter(Foreign):
    """A shutter with read-back; safe to call from two threads.

    :cvar travel_s: longest time from a command to the blade's end position, s.
    """

    role = "shutter"
    travel_s: float = 0.1
    confirm_s: ClassVar[float] = 0.5
    """Wall time beside the travel within which the device must confirm."""

    def command(self, library: Any, *, opening: bool) -> None:
        """Tell the blade to open or to close; the same command twice must do no harm.

        :param library: what ``connect`` returned.
        :param opening: whether to open.
        """
        raise NotImplementedError

    def reports_closed(self, library: Any) -> bool:
        """Ask the device whether the blade is closed.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def is_open(self) -> bool:
        """Ask the device; anything but a confirmed "closed" counts as open."""
        with self.using("its state") as library:
            return self.reports_closed(library) is not True

    def open(self) -> None:
        """Open and return once the device confirms it."""
        self._go(opening=True)

    def close_beam(self) -> None:
        """Close and return once the device confirms it.

        :raises InstrumentFault: it does not.
        """
        self._go(opening=False)

    def _go(self, *, opening: bool) -> None:
        word = "open" if opening else "close"
        with self.lock:
            with self.using(f"to {word}") as library:
                self.command(library, opening=opening)
            end = time.monotonic() + self.travel_s + self.confirm_s
            while self.is_open() is not opening:
                if time.monotonic() > end:
                    raise InstrumentFault(self.name, f"does not {word}", "check the shutter blade")
                self.clock.sleep(0.005)


class ForeignSpectrometer(Foreign):
    """A spectrometer that delivers raw counts."""

    role = "spectrometer"
    _integration_s: float | None = None

    def describe(self, library: Any, identity: Identity) -> SpectrometerInfo:
        """Return pixels, wavelengths and limits of the device.

        :param library: what ``connect`` returned.
        :param identity: what ``who`` returned.
        """
        raise NotImplementedError

    def set_time(self, library: Any, seconds: float) -> float:
        """Set the integration time; return the one the device confirms, s.

        :param library: what ``connect`` returned.
        :param seconds: integration time, s.
        """
        raise NotImplementedError

    def counts(self, library: Any) -> FloatArray:
        """Return the raw counts of the next exposure, shape ``(pixel,)``.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def detector_c(self, library: Any) -> float | None:
        """Return the temperature of the detector, degrees Celsius; None where the device cannot tell.

        :param library: what ``connect`` returned.
        """
        del library
        return None

    def _ready(self, library: Any) -> None:
        """Ask for what never changes, and set the integration time again after a new connection."""
        super()._ready(library)
        assert self._known is not None
        self._info = self.describe(library, self._known)
        self._bounds = ExposureBounds(self._integration_s)
        if self._integration_s is not None:
            self.set_time(library, self._integration_s)

    @property
    def info(self) -> SpectrometerInfo:
        """Pixels, wavelengths and limits."""
        return self._info

    def set_integration(self, seconds: float) -> float:
        """Set the integration time; return the one the device confirms, s.

        :param seconds: integration time, s.
        :raises InstrumentFault: outside of the device's limits, or it keeps another.
        """
        low_s, high_s = self._info.integration_min_s, self._info.integration_max_s
        if not low_s <= seconds <= high_s:
            raise InstrumentFault(self.name, f"{seconds:g} s is outside {low_s:g} to {high_s:g} s")
        with self.using("the integration time") as library:
            kept_s = float(self.set_time(library, seconds))
        if not abs(kept_s - seconds) <= 0.2 * seconds:
            raise InstrumentFault(self.name, f"keeps {kept_s:g} s instead of {seconds:g} s")
        self._integration_s = kept_s
        self._bounds.changed(kept_s)
        return kept_s

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure; it may have begun before it was asked for.

        :param stop: ends the wait: anything with ``is_set()``.
        :raises InstrumentFault: no integration time was set yet.
        :raises ProtocolError: the spectrum has another number of pixels.
        """
        check_stop(stop)
        if self._integration_s is None:
            raise InstrumentFault(self.name, "no integration time was set", "call set_integration first")
        request_s = self.clock.now_s()
        with self.using("a spectrum") as library:
            counts = np.asarray(self.counts(library), dtype=np.float64)
            if counts.shape != self._info.wavelength_nm.shape:
                raise ProtocolError(
                    self.name, f"{counts.size} pixels instead of {self._info.wavelength_nm.size}"
                )
        reply_s = self.clock.now_s()
        start_s = self._bounds.earliest_start_s(request_s, reply_s)
        return Spectrum(counts, self._integration_s, start_s, reply_s)

    def temperature_c(self) -> float | None:
        """Detector temperature, degrees Celsius; None where the device cannot tell."""
        with self.using("its temperature") as library:
            return self.detector_c(library)


class ForeignThermometer(Foreign):
    """A thermometer at the sample or in the room."""

    role = "thermometer"

    def celsius(self, library: Any) -> float:
        """Read the temperature, degrees Celsius.

        :param library: what ``connect`` returned.
        """
        raise NotImplementedError

    def temperature_c(self) -> float:
        """Read the temperature, degrees Celsius.

        :raises InstrumentFault: it is not a finite number: the sensor is open.
        """
        with self.using("the temperature") as library:
            found_c = float(self.celsius(library))
        if not math.isfinite(found_c):
            raise InstrumentFault(self.name, "reads no temperature", "check the sensor")
        return found_c
