"""One wrapper for each instrument: what must happen before and after its calls is a hook.

The session opens a bench with a permit and a watchdog as hooks; a service attaches its own afterwards, for
what it shows and for SAFE. Pump and procedures keep the instruments they have: nothing is built again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Literal, Protocol, TypeVar

from labctl.model.clock import Stop
from labctl.model.errors import InstrumentFault
from labctl.model.records import Identity, PowerReading, SpectrometerInfo, Spectrum
from labctl.model.roles import (
    Attenuator,
    BurstSpectrometer,
    Device,
    Heater,
    PowerMeter,
    Roles,
    SelfClosing,
    SensorKind,
    Shutter,
    Spectrometer,
    Stage,
    Thermometer,
    bursting,
    confirms,
)
from labctl.model.shots import ShotBatch

D = TypeVar("D", bound=Device)
M = TypeVar("M", Attenuator, Stage)
T = TypeVar("T")

RoleWord = Literal["attenuator", "power_meter", "spectrometer", "shutter", "stage", "thermometer", "heater"]


@dataclass(slots=True)
class Call:
    """One call of an instrument, as its hooks see it.

    :ivar name: of the method, as :mod:`labctl.model.roles` calls it.
    :ivar instrument: role and address.
    :ivar arguments: but the stop flag.
    :ivar stop: the flag that the instrument gets; a hook may put another one in its place.
    :ivar result: what it answered; None before.
    """

    role: RoleWord
    name: str
    instrument: str
    arguments: tuple[object, ...] = ()
    stop: Stop | None = None
    result: object = None


class Hook(Protocol):
    """Something that must happen around the calls of all instruments."""

    def around(self, call: Call) -> AbstractContextManager[None]:
        """Return what is entered before a call, and left after it; to refuse it, raise."""


class Hooks:
    """The hooks of a bench, the outermost first."""

    def __init__(self) -> None:
        self._hooks: tuple[Hook, ...] = ()

    def attach(self, hook: Hook) -> None:
        """Add a hook that hears of a call first, and of its answer last."""
        self._hooks = (hook, *self._hooks)

    def carry_out(self, call: Call, act: Callable[[Call], T]) -> T:
        """Call an instrument between its hooks.

        :param act: calls it, with what the hooks have made of the call.
        """
        with ExitStack() as entered:
            for hook in self._hooks:
                entered.enter_context(hook.around(call))
            call.result = result = act(call)
        return result


class Hooked(Generic[D]):
    """What all of them have in common.

    :param device: the instrument that does the work.
    """

    role: ClassVar[RoleWord]

    def __init__(self, device: D, hooks: Hooks) -> None:
        self._device, self._hooks = device, hooks

    def _call(self, name: str, act: Callable[[Call], T], *arguments: object, stop: Stop | None = None) -> T:
        return self._hooks.carry_out(Call(self.role, name, self._device.name, arguments, stop), act)

    @property
    def name(self) -> str:
        """Role and address."""
        return self._device.name

    def identity(self) -> Identity:
        """Ask the device who it is."""
        return self._call("identity", lambda _: self._device.identity())

    def close(self) -> None:
        """Release the connection."""
        self._device.close()


class HookedMotor(Hooked[M]):
    """What a mount and a stage have in common."""

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted."""
        return self._call("is_referenced", lambda _: self._device.is_referenced())

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference."""
        self._call("home", lambda call: self._device.home(call.stop), stop=stop)

    def move_to(self, position: float, stop: Stop | None = None) -> float:
        """Move, and return the angle (degrees) or the position (um) read back."""
        return self._call(
            "move_to", lambda call: self._device.move_to(position, call.stop), position, stop=stop
        )


class HookedAttenuator(HookedMotor[Attenuator]):
    """A mount."""

    role = "attenuator"

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for."""
        return self._device.angle_range_deg

    def angle_deg(self) -> float:
        """Read the present angle."""
        return self._call("angle_deg", lambda _: self._device.angle_deg())


BEYOND_METER = frozenset({"zero", "set_range", "frequency_hz", "pulse_energy_j"})
"""What :mod:`labctl.model.roles` describes."""


class HookedPowerMeter(Hooked[PowerMeter]):
    """A power meter; what some can beyond their role is let through."""

    role = "power_meter"

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

    @property
    def zeroes(self) -> bool:
        """Whether a meter with a zero has one for this head."""
        return bool(getattr(self._device, "zeroes", True))

    def prepare(self, wavelength_nm: float) -> None:
        """Set unit, wavelength, range and averaging."""
        self._call("prepare", lambda _: self._device.prepare(wavelength_nm), wavelength_nm)

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        """Take ``count`` averaged readings."""
        return self._call("read", lambda call: self._device.read(count, call.stop), count, stop=stop)

    def __getattr__(self, name: str) -> Callable[..., float]:
        """Return what the meter can beyond its role, each call like any other."""
        if name not in BEYOND_METER:
            raise AttributeError(name)
        method = getattr(self._device, name)
        return lambda *arguments: self._call(name, lambda _: float(method(*arguments)), *arguments)


class HookedSpectrometer(Hooked[Spectrometer]):
    """A spectrometer.

    :param info: what a calibration puts in the place of the device's own.
    """

    role = "spectrometer"

    def __init__(self, device: Spectrometer, hooks: Hooks, info: SpectrometerInfo | None = None) -> None:
        super().__init__(device, hooks)
        self._info = info

    @property
    def info(self) -> SpectrometerInfo:
        """Pixels, wavelengths and limits."""
        return self._info or self._device.info

    def set_integration(self, seconds: float) -> float:
        """Set the integration time; return the one the device confirms."""
        return self._call("set_integration", lambda _: self._device.set_integration(seconds), seconds)

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure."""
        return self._call("acquire", lambda call: self._device.acquire(call.stop), stop=stop)

    def temperature_c(self) -> float | None:
        """Detector temperature, None where the device cannot tell."""
        return self._call("temperature_c", lambda _: self._device.temperature_c())

    @property
    def buffer_shots(self) -> int:
        """Number of shots that its buffer holds; 0 where it has none."""
        return int(getattr(self._device, "buffer_shots", 0))

    def arm(self, shots: int, stop: Stop | None = None) -> None:
        """Empty the buffer and keep every shot from now on."""
        self._call("arm", lambda call: self._burst.arm(shots, call.stop), shots, stop=stop)

    def fetch(self, stop: Stop | None = None) -> ShotBatch:
        """Return the next shots."""
        return self._call("fetch", lambda call: self._burst.fetch(call.stop), stop=stop)

    def disarm(self) -> None:
        """Keep no more shots."""
        self._call("disarm", lambda _: self._burst.disarm())

    @property
    def _burst(self) -> BurstSpectrometer:
        burst = bursting(self._device)
        if burst is None:
            raise InstrumentFault(self.name, "has no buffer that keeps every shot")
        return burst


class HookedShutter(Hooked[Shutter]):
    """A shutter; whether it can close itself is passed on too."""

    role = "shutter"

    @property
    def travel_s(self) -> float:
        """Longest time from a command to the blade's end position."""
        return self._device.travel_s

    @property
    def self_closing(self) -> bool:
        """Whether it closes itself when told for how long to open."""
        return bool(getattr(self._device, "self_closing", False))

    @property
    def confirms(self) -> bool:
        """Whether its word is that of a sensor at its blade."""
        return confirms(self._device)

    def is_open(self) -> bool:
        """Ask the device."""
        return self._call("is_open", lambda _: self._device.is_open())

    def open(self, within_s: float | None = None) -> None:
        """Open and return once the device confirms it."""
        device = self._device
        if within_s is not None and isinstance(device, SelfClosing) and self.self_closing:
            self._call("open", lambda _: device.open(within_s), within_s)
        else:
            self._call("open", lambda _: device.open())

    def close_beam(self) -> None:
        """Close and return once the device confirms it."""
        self._call("close_beam", lambda _: self._device.close_beam())


class HookedStage(HookedMotor[Stage]):
    """A linear stage."""

    role = "stage"

    @property
    def range_um(self) -> tuple[float, float]:
        """Lowest and highest position that may be asked for."""
        return self._device.range_um

    def position_um(self) -> float:
        """Read the present position."""
        return self._call("position_um", lambda _: self._device.position_um())


class HookedThermometer(Hooked[Thermometer]):
    """A thermometer."""

    role = "thermometer"

    def temperature_c(self) -> float:
        """Read the temperature."""
        return self._call("temperature_c", lambda _: self._device.temperature_c())


class HookedHeater(Hooked[Heater]):
    """A heater."""

    role = "heater"

    @property
    def temperature_range_c(self) -> tuple[float, float]:
        """Lowest and highest temperature that may be asked for."""
        return self._device.temperature_range_c

    def temperature_c(self) -> float:
        """Read the temperature."""
        return self._call("temperature_c", lambda _: self._device.temperature_c())

    def is_heating(self) -> bool:
        """Ask whether it heats."""
        return self._call("is_heating", lambda _: self._device.is_heating())

    def hold(self, temperature_c: float) -> None:
        """Hold a temperature from now on."""
        self._call("hold", lambda _: self._device.hold(temperature_c), temperature_c)

    def off(self) -> None:
        """Stop heating."""
        self._call("off", lambda _: self._device.off())


def hooked(roles: Roles, hooks: Hooks, info: SpectrometerInfo | None = None) -> Roles:
    """Return the same instruments, each call of which goes through ``hooks``, those attached later too.

    :param info: what a calibration puts in the place of the spectrometer's own.
    """
    return replace(
        roles,
        attenuator=HookedAttenuator(roles.attenuator, hooks),
        power_meter=HookedPowerMeter(roles.power_meter, hooks),
        spectrometer=HookedSpectrometer(roles.spectrometer, hooks, info),
        shutter=HookedShutter(roles.shutter, hooks),
        stage=roles.stage and HookedStage(roles.stage, hooks),
        thermometer=roles.thermometer and HookedThermometer(roles.thermometer, hooks),
        heater=roles.heater and HookedHeater(roles.heater, hooks),
    )
