"""Any role's driver in a process of its own, which is ended when a call does not come back.

A library of somebody else's may block for ever, and some hold the interpreter's lock while they do: it would
freeze the whole program, SAFE included. Here every call has a deadline of wall time. Past it the process is
killed; the next request opens the instrument again, once, and gives it the settings that it had.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

from drivers.support.child import KINDS, Child, ChildDied, ChildHangs
from drivers.support.failures import ConnectionHangs, not_connected
from drivers.support.packing import pack, unpack
from drivers.support.spec import DriverConfig, RoleName
from labctl.model.clock import Clock, Stop
from labctl.model.errors import Aborted, InstrumentError, InstrumentFault, ProtocolError
from labctl.model.records import Identity, PowerReading, SpectrometerInfo, Spectrum
from labctl.model.roles import SensorKind, has_read
from labctl.model.shots import ShotBatch

CHILD_MODULE = "drivers.isolated_child"

OPEN_S = 30.0
"""For the start of a process, the imports of a library and the device's greeting."""
ANSWER_S = 5.0
SETTING_S = 20.0
READING_S = 15.0
"""One reading of a meter: a pyroelectric head waits 10 s for a pulse."""
MOTION_S = 180.0
EXPOSURE_MARGIN_S = 10.0
BLADE_S = 0.8
"""Beside the blade's travel: of a shutter's driver that hangs the attenuator is told within 1.5 s.

All of these are wall time.
"""

DESCRIBED: Mapping[str, tuple[str, ...]] = {
    "attenuator": ("angle_range_deg",),
    "power_meter": ("set_range", "zero", "frequency_hz", "pulse_energy_j"),
    "spectrometer": ("info", "buffer_shots"),
    "shutter": ("travel_s", "self_closing", "confirms"),
    "stage": ("range_um",),
    "thermometer": (),
    "heater": ("temperature_range_c",),
}
"""What is asked once, when the instrument was opened; a method here says whether there is one."""
LIVE: Mapping[str, tuple[str, ...]] = {"power_meter": ("sensor", "settling_s", "noise_w", "zeroes")}
"""What comes with every answer, because a call may change it."""


class Isolated:
    """An instrument in a child process; a subclass plays one role.

    :param config: its table of the bench file.
    :param clock: of the bench.
    :raises NotConnected: there is none, or it cannot be opened.
    """

    role: RoleName
    reopen_s = OPEN_S
    """Longest time for opening a device again after its process was lost, s."""

    def __init__(self, config: DriverConfig, clock: Clock) -> None:
        self.resource, self.clock = config.resource, clock
        self._config = config.model_dump(mode="json")
        self._child: Child | None = None
        self._settings: dict[str, tuple[object, ...]] = {}
        self._closed = self._tried_again = False
        self.described: dict[str, Any] = {}
        self.live: dict[str, Any] = {}
        self._known: Identity | None = None
        self._open()

    @property
    def name(self) -> str:
        """Role and address."""
        return f"{self.role} {self.resource}"

    def identity(self) -> Identity:
        """Ask the device who it is."""
        found: Identity = self._request("identity")
        self._known = self._known or found
        return found

    def close(self) -> None:
        """Release the device and end its process. Never raises, may be called twice."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()

    # -- opening, and opening again ----------------------------------------------------------------

    def _open(self, within_s: float = OPEN_S) -> None:
        try:
            self._child = Child(CHILD_MODULE)
        except OSError as exc:
            raise not_connected(self.role, self.resource, f"its process does not start: {exc}", "") from exc
        arguments = {"role": self.role, "config": self._config, "speed": self.clock.speed or 1.0}
        try:
            _, self.described, _ = self._ask("connect", arguments, within_s)
        except ConnectionHangs as exc:
            reason = f"it is not open after {within_s:g} s; its process was ended"
            hint = "check that it is powered and answers, then connect again"
            raise not_connected(self.role, self.resource, reason, hint) from exc
        except BaseException:
            self._drop()
            raise

    def _open_again(self) -> None:
        """Open the device after its process was lost, and set again what was set before.

        :raises NotConnected: it does not come back.
        :raises InstrumentFault: another device answers now.
        """
        self._open(self.reopen_s)
        try:
            if self._known is not None:
                found: Identity = self._carried_out("identity", (), ANSWER_S)
                if found != self._known:
                    raise InstrumentFault(self.name, f"{found} answers instead of {self._known}")
            for method, arguments in self._settings.items():
                self._carried_out(method, arguments, SETTING_S)
        except BaseException:
            self._drop()
            raise

    # -- calls -------------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        *arguments: object,
        deadline_s: float = ANSWER_S,
        stop: Stop | None = None,
        stoppable: bool = False,
        shift: Callable[[Any, float, float], Any] | None = None,
    ) -> Any:
        """Call a method, opening the device first if its process was lost; once, until it answers again."""
        if self._closed:
            raise InstrumentError(self.name, "is closed")
        self._settle()
        if self._child is None:
            if self._tried_again:
                raise InstrumentError(self.name, "is lost", "check cable and power, then connect again")
            self._tried_again = True
            self._open_again()
        try:
            return self._carried_out(method, arguments, deadline_s, stop, stoppable=stoppable, shift=shift)
        finally:
            if self._child is not None:  # it answered, if only with a refusal
                self._tried_again = False

    def _settle(self) -> None:
        """Have a call that was told to stop end, or its process: then the next one opens the device again."""
        try:
            if self._child is not None:
                self._child.settle()
        except (ChildHangs, ChildDied):
            self._drop()

    def _setting(self, method: str, *arguments: object) -> Any:
        """Call a method whose effect is to outlive a lost process."""
        value = self._request(method, *arguments, deadline_s=SETTING_S)
        self._settings[method] = arguments
        return value

    def _carried_out(
        self,
        method: str,
        arguments: tuple[object, ...],
        deadline_s: float,
        stop: Stop | None = None,
        *,
        stoppable: bool = False,
        shift: Callable[[Any, float, float], Any] | None = None,
    ) -> Any:
        request_s = self.clock.now_s()
        given = {"given": pack(arguments)[0], "stoppable": stoppable}
        value, _, header = self._ask(method, given, deadline_s, stop)
        if shift is None:
            return value
        reply_s = self.clock.now_s()
        began_s, ended_s = float(header["began_s"]), float(header["ended_s"])
        running = 1.0 if self.clock.speed else 0.0
        return shift(value, request_s - running * began_s, reply_s - running * ended_s)

    def _ask(
        self, do: str, arguments: dict[str, Any], deadline_s: float, stop: Stop | None = None
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        if self._child is None:
            raise InstrumentError(self.name, "is lost")
        try:
            header, body = self._child.call(do, arguments, deadline_s, stop, has_read)
        except ChildHangs:
            self._drop()
            raise self._hung(do, deadline_s) from None
        except ChildDied as exc:
            self._drop()
            raise InstrumentError(self.name, f"its process ended during {do!r}: {exc}") from exc
        if "error" in header:
            self._raise(header)
        try:
            value, described = unpack(header["value"], body)
        except ValueError as exc:
            self._drop()
            raise ProtocolError(self.name, f"its process answered {do!r} with something else: {exc}") from exc
        self.live = dict(header["live"])
        return value, dict(zip(header["described"], described, strict=True)), header

    def _hung(self, do: str, deadline_s: float) -> ConnectionHangs:
        text = f"no answer to {do!r} within {deadline_s:g} s; the process of its driver was ended"
        return ConnectionHangs(self.name, text, "check that it is powered and connected")

    def _raise(self, header: Mapping[str, Any]) -> NoReturn:
        kind, text, hint = str(header["error"]), str(header["text"]), str(header["hint"])
        if kind == "aborted":
            raise Aborted
        if kind == "not_connected":
            self._drop()
            raise not_connected(self.role, self.resource, text, hint)
        if kind == "protocol":
            raise ProtocolError(self.name, text)
        raise KINDS.get(kind, InstrumentError)(self.name, text, hint)


class IsolatedAttenuator(Isolated):
    """A mount."""

    role = "attenuator"

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for, degrees."""
        low, high = self.described["angle_range_deg"]
        return float(low), float(high)

    def angle_deg(self) -> float:
        """Read the present angle, degrees."""
        return float(self._request("angle_deg"))

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted."""
        return bool(self._request("is_referenced", deadline_s=MOTION_S))

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference."""
        self._request("home", deadline_s=MOTION_S, stop=stop, stoppable=True)

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the angle read back, degrees."""
        return float(self._request("move_to", angle_deg, deadline_s=MOTION_S, stop=stop, stoppable=True))


class IsolatedStage(Isolated):
    """A linear stage."""

    role = "stage"

    @property
    def range_um(self) -> tuple[float, float]:
        """Lowest and highest position that may be asked for, um."""
        low, high = self.described["range_um"]
        return float(low), float(high)

    def position_um(self) -> float:
        """Read the present position, um."""
        return float(self._request("position_um"))

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted."""
        return bool(self._request("is_referenced", deadline_s=MOTION_S))

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference."""
        self._request("home", deadline_s=MOTION_S, stop=stop, stoppable=True)

    def move_to(self, position_um: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the position read back, um."""
        return float(self._request("move_to", position_um, deadline_s=MOTION_S, stop=stop, stoppable=True))


BEYOND_METER = {
    "set_range": ANSWER_S,
    "zero": MOTION_S,
    "frequency_hz": READING_S,
    "pulse_energy_j": READING_S,
}
"""What some meters can beyond their role, and the deadline of each; the last three hear a stop."""


class IsolatedPowerMeter(Isolated):
    """A power meter; what it can beyond its role is let through."""

    role = "power_meter"

    @property
    def sensor(self) -> SensorKind:
        """Kind of the head."""
        found: SensorKind = self.live["sensor"]
        return found

    @property
    def settling_s(self) -> float:
        """Time until a reading follows a change of power, s."""
        return float(self.live["settling_s"])

    @property
    def noise_w(self) -> float:
        """Standard deviation of one averaged reading in the dark, W."""
        return float(self.live["noise_w"])

    @property
    def zeroes(self) -> bool:
        """Whether a meter with a zero has one for this head."""
        return self.live["zeroes"] is not False

    def prepare(self, wavelength_nm: float) -> None:
        """Set unit, wavelength, range and averaging."""
        self._settings.pop("set_range", None)
        self._setting("prepare", wavelength_nm)

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        """Take averaged readings."""
        reading: PowerReading = self._request(
            "read", count, deadline_s=max(count, 1) * READING_S, stop=stop, stoppable=True, shift=_shifted
        )
        return reading

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return what this meter can beyond its role."""
        if name not in BEYOND_METER or not self.__dict__.get("described", {}).get(name):
            raise AttributeError(name)
        if name == "set_range":
            return lambda upper_w: self._setting("set_range", upper_w)
        return lambda stop=None: self._request(name, deadline_s=BEYOND_METER[name], stop=stop, stoppable=True)


def _shifted(value: Any, start_by_s: float, stop_by_s: float) -> Any:
    """Put a record's times on the parent's clock: its start never later than true, its end never earlier."""
    return replace(value, start_s=value.start_s + start_by_s, stop_s=value.stop_s + stop_by_s)


class IsolatedSpectrometer(Isolated):
    """A spectrometer, with a buffer of its own where it has one."""

    role = "spectrometer"
    _integration_s = 0.0

    @property
    def info(self) -> SpectrometerInfo:
        """Pixels, wavelengths and limits, asked for once when it was opened."""
        found: SpectrometerInfo = self.described["info"]
        return found

    @property
    def buffer_shots(self) -> int:
        """Number of shots that the device's own buffer holds; 0 where it has none that can be read."""
        return int(self.described["buffer_shots"] or 0)

    def set_integration(self, seconds: float) -> float:
        """Set the integration time; return the one the device confirms, s."""
        self._integration_s = float(self._setting("set_integration", seconds))
        return self._integration_s

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure. Its deadline is twice the integration time and a margin."""
        deadline_s = 2 * self._integration_s + EXPOSURE_MARGIN_S
        spectrum: Spectrum = self._request(
            "acquire", deadline_s=deadline_s, stop=stop, stoppable=True, shift=_shifted
        )
        return spectrum

    def temperature_c(self) -> float | None:
        """Detector temperature, degrees Celsius; None where the device cannot tell."""
        found = self._request("temperature_c")
        return None if found is None else float(found)

    def arm(self, shots: int, stop: Stop | None = None) -> None:
        """Empty the device's buffer and keep every shot from now on."""
        self._request("arm", shots, stop=stop, stoppable=True)

    def fetch(self, stop: Stop | None = None) -> ShotBatch:
        """Return the next shots. A process that was lost is not started again: its shots are unknown."""
        if self._child is None:
            raise InstrumentError(self.name, "was lost in a burst", "start the burst again")
        batch: ShotBatch = self._request("fetch", stop=stop, stoppable=True, shift=self._batch)
        return batch

    def _batch(self, value: ShotBatch, start_by_s: float, stop_by_s: float) -> ShotBatch:
        after_s = value.after_s + start_by_s if self.clock.speed else -math.inf
        return replace(value, received_s=value.received_s + stop_by_s, after_s=after_s)

    def disarm(self) -> None:
        """Keep no more shots; those not fetched are lost."""
        if self._child is not None:  # a process that ended has let go of the device
            self._request("disarm")


class IsolatedShutter(Isolated):
    """A shutter; safe to call from two threads.

    Opened again it has less time than a step of making safe, which may be waiting for it.
    """

    role = "shutter"
    reopen_s = 6.0

    def __init__(self, config: DriverConfig, clock: Clock) -> None:
        self._lock = threading.RLock()
        super().__init__(config, clock)

    @property
    def travel_s(self) -> float:
        """Longest time from a command to the blade's end position, s."""
        return float(self.described["travel_s"])

    @property
    def self_closing(self) -> bool:
        """Whether it closes itself when told for how long to open."""
        return bool(self.described["self_closing"])

    @property
    def confirms(self) -> bool:
        """Whether its word is that of a sensor at its blade."""
        return self.described["confirms"] is not False

    @property
    def _limit_s(self) -> float:
        return BLADE_S + self.travel_s

    @contextmanager
    def _mine(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._limit_s):
            raise ConnectionHangs(self.name, "another thread waits for its driver")
        try:
            yield
        finally:
            self._lock.release()

    def identity(self) -> Identity:
        """Ask the device who it is."""
        with self._mine():
            return super().identity()

    def is_open(self) -> bool:
        """Ask the device; anything but a confirmed "closed" counts as open."""
        with self._mine():
            return self._request("is_open", deadline_s=self._limit_s) is not False

    def open(self, within_s: float | None = None) -> None:
        """Open, for a time at most where it can close itself, and return once the device confirms it."""
        with self._mine():
            arguments = () if within_s is None else (within_s,)
            self._request("open", *arguments, deadline_s=self._limit_s)

    def close_beam(self) -> None:
        """Close and return once the device confirms it; a device that was lost is opened again each time."""
        with self._mine():
            self._tried_again = False
            self._request("close_beam", deadline_s=self._limit_s)


class IsolatedThermometer(Isolated):
    """A thermometer."""

    role: RoleName = "thermometer"

    def temperature_c(self) -> float:
        """Read the temperature, degrees Celsius."""
        return float(self._request("temperature_c"))


class IsolatedHeater(IsolatedThermometer):
    """A heater."""

    role = "heater"

    @property
    def temperature_range_c(self) -> tuple[float, float]:
        """Lowest and highest temperature that may be asked for, degrees Celsius."""
        low, high = self.described["temperature_range_c"]
        return float(low), float(high)

    def is_heating(self) -> bool:
        """Ask the device whether it regulates."""
        return bool(self._request("is_heating"))

    def hold(self, temperature_c: float) -> None:
        """Hold a temperature from now on. After a lost process the device is not told again."""
        self._request("hold", temperature_c, deadline_s=SETTING_S)

    def off(self) -> None:
        """Stop heating and return once the device confirms it."""
        self._request("off", deadline_s=SETTING_S)


ROLES: Mapping[RoleName, type[Isolated]] = {
    kind.role: kind
    for kind in (
        IsolatedAttenuator,
        IsolatedPowerMeter,
        IsolatedSpectrometer,
        IsolatedShutter,
        IsolatedStage,
        IsolatedThermometer,
        IsolatedHeater,
    )
}


def isolated(role: RoleName, config: DriverConfig, clock: Clock) -> Isolated:
    """Open the driver of a table of the bench file in a process of its own.

    :returns: an object that satisfies the role.
    :raises NotConnected: it cannot be opened.
    """
    return ROLES[role](config, clock)
