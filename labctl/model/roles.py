"""What procedures may rely on. A driver satisfies one of these; nobody above asks which driver it is.

Each object belongs to one thread, except the shutter, which carries its own lock. Every method has a
deadline of its own and raises only :class:`~labctl.model.errors.InstrumentError` (or ``Aborted`` where
it takes ``stop``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast, runtime_checkable

from labctl.model.clock import Clock, Stop
from labctl.model.records import DarkRecord, Identity, PowerReading, SpectrometerInfo, Spectrum, SweepPoint
from labctl.model.run import RunStart, RunStop
from labctl.model.shots import ShotBatch, ShotBlock, ShotsSummary

SensorKind = Literal["photodiode", "thermal", "pyro"]


@runtime_checkable
class Device(Protocol):
    """What every instrument can do."""

    @property
    def name(self) -> str:
        """Role and address, as error messages show them, e.g. ``attenuator ASRL3::INSTR``."""

    def identity(self) -> Identity:
        """Ask the device who it is."""

    def close(self) -> None:
        """Release the connection. Never raises, may be called twice."""


@runtime_checkable
class Attenuator(Device, Protocol):
    """A rotation mount in the beam; what an angle transmits is the pump's business, not the mount's."""

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for, degrees."""

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted (homed since power-up)."""

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference. May sweep through any angle: the shutter must be closed.

        :param stop: ends the search; the device stops.
        :raises Aborted: ``stop`` was set.
        """

    def angle_deg(self) -> float:
        """Read the present angle, degrees."""

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the angle read back.

        :param angle_deg: where to, degrees, within :attr:`angle_range_deg`.
        :param stop: ends the motion; the device stops.
        :returns: where it is, degrees.
        :raises InstrumentFault: outside of the range, or it ended elsewhere.
        :raises Aborted: ``stop`` was set.
        """


@runtime_checkable
class PowerMeter(Device, Protocol):
    """A power meter set to watts."""

    @property
    def sensor(self) -> SensorKind:
        """Kind of the head."""

    @property
    def settling_s(self) -> float:
        """Time after a change of power until a reading is within 0.1 % of it, s."""

    @property
    def noise_w(self) -> float:
        """Standard deviation of one averaged reading in the dark, W."""

    def prepare(self, wavelength_nm: float) -> None:
        """Set unit, wavelength, range and averaging, and verify each by reading it back.

        :param wavelength_nm: of the light, nm.
        :raises InstrumentFault: a setting does not stay.
        """

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        """Take averaged readings.

        A driver that says of each that it came (:func:`labctl.model.roles.has_read`) is judged by each, and
        another one by all of them.

        :param count: how many, 1 or more.
        :param stop: ends the wait.
        :raises InstrumentFault: a reading is over range, or no number.
        :raises Aborted: ``stop`` was set.
        """


@runtime_checkable
class Spectrometer(Device, Protocol):
    """A spectrometer that delivers raw counts."""

    @property
    def info(self) -> SpectrometerInfo:
        """Pixels, wavelengths and limits, asked for once at connect."""

    def set_integration(self, seconds: float) -> float:
        """Set the integration time; return the one the device confirms.

        :param seconds: between the shortest and the longest of :attr:`info`.
        :raises InstrumentFault: outside of that range, or refused.
        """

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure. The first one after a change may be stale: discarding is the caller's.

        :param stop: ends the wait.
        :raises Aborted: ``stop`` was set.
        """

    def temperature_c(self) -> float | None:
        """Detector temperature, degrees Celsius; None where the device cannot tell."""


@runtime_checkable
class BurstSpectrometer(Spectrometer, Protocol):
    """A spectrometer that keeps every shot in a buffer of its own until it is fetched; see :func:`bursting`.

    Triggered by the laser, one shot is one pulse. Between :meth:`arm` and :meth:`disarm` neither the
    integration time is set nor a single exposure asked for.
    """

    @property
    def buffer_shots(self) -> int:
        """Number of shots that its buffer holds before the oldest is lost; 0 where it has none."""

    def arm(self, shots: int, stop: Stop | None = None) -> None:
        """Empty the buffer and keep every shot from now on.

        :param shots: number of shots that :meth:`fetch` is to deliver in all, 1 or more; it may be larger
            than :attr:`buffer_shots` where they are fetched meanwhile.
        :param stop: ends the wait.
        :raises InstrumentFault: it has no buffer, it does not wait for a trigger, or it refuses.
        :raises Aborted: ``stop`` was set.
        """

    def fetch(self, stop: Stop | None = None) -> ShotBatch:
        """Return the next shots, oldest first, at least one; wait for it where none is there yet.

        :param stop: ends the wait.
        :raises InstrumentTimeout: no shot came in time: there is no trigger, or the device is gone.
        :raises InstrumentFault: it is not armed, or all shots asked for were delivered.
        :raises Aborted: ``stop`` was set.
        """

    def disarm(self) -> None:
        """Keep no more shots, and go back to single exposures; shots not fetched yet are lost.

        May be called twice.

        :raises InstrumentFault: it refuses.
        """


@runtime_checkable
class Shutter(Device, Protocol):
    """A shutter with read-back; safe to call from two threads.

    One whose device tells only what it was told to do has an attribute ``confirms`` that is False, see
    :func:`confirms`.
    """

    @property
    def travel_s(self) -> float:
        """Longest time from a command to the blade's end position, s."""

    def is_open(self) -> bool:
        """Ask the device; anything but a confirmed "closed" counts as open."""

    def open(self) -> None:
        """Open and return once the device confirms it."""

    def close_beam(self) -> None:
        """Close and return once the device confirms it."""


@runtime_checkable
class SelfClosing(Shutter, Protocol):
    """A shutter that can close itself after a time, whatever has become of the program by then."""

    @property
    def self_closing(self) -> bool:
        """Whether it does so when told for how long to open."""

    def open(self, within_s: float | None = None) -> None:
        """Open, for a time at most.

        :param within_s: bench time after which the shutter closes by itself, s; None leaves it open.
        """


@runtime_checkable
class Stage(Device, Protocol):
    """A motorised linear stage that carries a blade through the beam."""

    @property
    def range_um(self) -> tuple[float, float]:
        """Lowest and highest position that may be asked for, um."""

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted (homed since power-up)."""

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference. May pass any position.

        :param stop: ends the search; the device stops.
        :raises Aborted: ``stop`` was set.
        """

    def position_um(self) -> float:
        """Read the present position, um."""

    def move_to(self, position_um: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the position read back.

        :param position_um: where to, um, within :attr:`range_um`.
        :param stop: ends the motion; the device stops.
        :returns: where it is, um.
        :raises InstrumentFault: outside of the range, or it ended elsewhere.
        :raises Aborted: ``stop`` was set.
        """


@runtime_checkable
class Thermometer(Device, Protocol):
    """A sensor of the temperature at the sample or in the room."""

    def temperature_c(self) -> float:
        """Read the temperature, degrees Celsius."""


@runtime_checkable
class Heater(Device, Protocol):
    """Holds the sample at a temperature, by its own sensor; its controller regulates by itself."""

    @property
    def temperature_range_c(self) -> tuple[float, float]:
        """Lowest and highest temperature that may be asked for, degrees Celsius."""

    def temperature_c(self) -> float:
        """Read the temperature of its sensor, degrees Celsius.

        :raises InstrumentFault: the sensor is open.
        """

    def is_heating(self) -> bool:
        """Ask the device whether it regulates."""

    def hold(self, temperature_c: float) -> None:
        """Hold a temperature from now on, and return once the device confirms the set point.

        :param temperature_c: within :attr:`temperature_range_c`, degrees Celsius.
        :raises InstrumentFault: out of that range, the sensor is open, or it does not obey.
        """

    def off(self) -> None:
        """Stop heating and return once the device confirms it."""


class LightWatch(Protocol):
    """Ends light in manual mode when the power meter was not read for too long."""

    def hold(self, meter: str) -> None:
        """Owe readings of the meter from now on until :meth:`release` or the closing.

        :param meter: its name, as errors show it.
        """

    def release(self) -> None:
        """Expect no more readings: another part controls the light again."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The four instruments of a bench, the clock its physics runs on, and what a bench may have besides.

    :param attenuator: the mount in the beam.
    :param power_meter: at the pick-off.
    :param spectrometer: looks at the sample.
    :param shutter: in front of the sample.
    :param clock: of the bench; everything waits on it.
    :param stage: carries a blade, or None.
    :param thermometer: at the sample or in the room, or None.
    :param heater: under the sample, or None.
    :param watch: of light in manual mode; None where time is stepped.
    """

    attenuator: Attenuator
    power_meter: PowerMeter
    spectrometer: Spectrometer
    shutter: Shutter
    clock: Clock
    stage: Stage | None = None
    thermometer: Thermometer | None = None
    heater: Heater | None = None
    watch: LightWatch | None = None


class RunSink(Protocol):
    """Receives a run. Every call returns once the data is flushed, or raises ``DataError``."""

    def begin(self, start: RunStart) -> None:
        """Create the file and write everything known before the first point.

        :param start: plan, bench and program of the run.
        :raises DataError: it could not be written.
        """

    def dark(self, record: DarkRecord) -> None:
        """Store a dark or a blank; points refer to it by its number.

        :param record: its mean and raw exposures, in counts.
        :raises DataError: it could not be written.
        """

    def append(self, point: SweepPoint) -> None:
        """Store one point: spectra first, then the scalar row, each flushed.

        :param point: what was measured at one fluence.
        :raises DataError: it could not be written.
        """

    def event(self, at_s: float, text: str) -> None:
        """Store one line of the run's own log (a safety stop, a renewed dark, a pause).

        :param at_s: bench time.
        :param text: one line.
        :raises DataError: it could not be written.
        """

    def end(self, stop: RunStop) -> None:
        """Write how the run ended, and its result.

        :param stop: status, reason and result.
        :raises DataError: it could not be written.
        """


class ShotSink(RunSink, Protocol):
    """Receives a run that keeps every shot."""

    def shots(self, block: ShotBlock) -> None:
        """Store shots; flushed when it returns.

        :param block: a batch, and what is known of each of its shots.
        :raises DataError: it could not be written.
        """

    def shot_point(self, summary: ShotsSummary) -> None:
        """Store what a burst at one fluence gave, once all of its shots are stored.

        :param summary: its fluence and the sums over its shots.
        :raises DataError: it could not be written.
        """


Heard = Callable[[float], object]
"""Told a power in W as it is read."""
_listeners: ContextVar[tuple[Heard, ...]] = ContextVar("listeners", default=())


@contextmanager
def heard_by(listener: Heard) -> Iterator[None]:
    """Tell a listener each of the readings that a meter averages in the block, as it comes.

    :param listener: what it raises ends the reading.
    """
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def has_read(power_w: float) -> None:
    """Say that one reading came; for drivers.

    :param power_w: the reading, W.
    """
    for listener in _listeners.get():
        listener(power_w)


class RangedMeter(Protocol):
    """A meter whose range can be fixed."""

    def set_range(self, upper_w: float | None) -> float:
        """Fix the range that holds ``upper_w`` until the next ``prepare``; None leaves it to the meter.

        :param upper_w: highest power to come, W.
        :raises InstrumentFault: there is no such range.
        """


class ZeroedMeter(Protocol):
    """A meter that can take the present reading as its zero."""

    def zero(self, stop: Stop | None = None) -> float:
        """Zero with the pump blocked; return the offset found, W.

        :param stop: ends the wait early.
        :raises InstrumentFault: there is light on the head, or it cannot.
        """


class PulseMeter(Protocol):
    """A meter whose head answers to single pulses."""

    def frequency_hz(self, stop: Stop | None = None) -> float:
        """Measure the repetition rate, Hz.

        :param stop: ends the wait early.
        :raises InstrumentError: no pulses are seen.
        """

    def pulse_energy_j(self, stop: Stop | None = None) -> float:
        """Measure the energy of one pulse, J.

        :param stop: ends the wait early.
        :raises InstrumentError: no pulse is seen.
        """


def confirms(shutter: Shutter) -> bool:
    """Return whether the word of a shutter is that of a sensor at its blade, and not of its command alone.

    :param shutter: any shutter.
    """
    return bool(getattr(shutter, "confirms", True))


def bursting(spectrometer: Spectrometer) -> BurstSpectrometer | None:
    """Return the spectrometer as one that keeps every shot, or None.

    :param spectrometer: any spectrometer.
    """
    return cast("BurstSpectrometer", spectrometer) if getattr(spectrometer, "buffer_shots", 0) else None


def keeping_shots(sink: RunSink) -> ShotSink | None:
    """Return what stores a run as one that stores single shots, or None.

    :param sink: of a run.
    """
    return cast("ShotSink", sink) if hasattr(sink, "shot_point") else None


def ranged(meter: PowerMeter) -> RangedMeter | None:
    """Return the meter as one with ranges, or None. A pyroelectric head has none of power.

    :param meter: any power meter.
    """
    if meter.sensor == "pyro" or not hasattr(meter, "set_range"):
        return None
    return cast("RangedMeter", meter)


def zeroed(meter: PowerMeter) -> ZeroedMeter | None:
    """Return the meter as one that zeroes, or None. A pyroelectric head has no zero.

    Some consoles zero photodiodes only; such a driver says so by an attribute ``zeroes``.

    :param meter: any power meter.
    """
    if meter.sensor == "pyro" or not hasattr(meter, "zero") or not getattr(meter, "zeroes", True):
        return None
    return cast("ZeroedMeter", meter)


def pulsed(meter: PowerMeter) -> PulseMeter | None:
    """Return the meter as one that sees single pulses, or None; of the heads, pyroelectric ones do.

    :param meter: any power meter.
    """
    if meter.sensor != "pyro" or not hasattr(meter, "pulse_energy_j"):
        return None
    return cast("PulseMeter", meter)


def counting(meter: PowerMeter) -> PulseMeter | None:
    """Return the meter as one that measures the repetition rate, or None; thermal heads are too slow.

    :param meter: any power meter.
    """
    if meter.sensor == "thermal" or not hasattr(meter, "frequency_hz"):
        return None
    return cast("PulseMeter", meter)


Action = Literal["meter", "knife", "filter", "lamp", "sample", "beam", "confirm"]


LIGHT = "light"
"""Typed where light follows: a word is not typed by mistake."""


@dataclass(frozen=True, slots=True)
class Request:
    """One manual action of the operator.

    :param action: what to do, by the kind. "meter": put the sensor at ``values["place"]`` ("pick-off" or
        "sample"); "knife": put the blade at ``values["position_um"]`` of axis ``values["axis"]`` ("x" or
        "y"; position None: out of the beam); "filter": put the filter named ``values["name"]``
        (transmission ``values["transmission"]``, name "" for none) before the sensor; "lamp": put the lamp
        ``values["name"]`` ("hg-ar", "ne", "kr", "" for none) before the spectrometer; "sample": put the
        sample in (``values["in"]`` True) or take it out; "beam": block or unblock the beam manually
        (``values["blocked"]``); "confirm": agree.
    :param text: what to do, in words, for a person.
    :param values: the values that the action takes, see there.
    :param number: unit of the number to answer with ("um", "W"), or "" where doing it is the answer.
    :param suggested: the position to set, in the unit asked for; the answer is the position read.
    :param word: to be typed, where light follows; "" where agreeing is enough.
    """

    action: Action
    text: str
    values: Mapping[str, str | float | bool | None] = field(default_factory=dict)
    number: str = ""
    suggested: float | None = None
    word: str = ""


class Operator(Protocol):
    """Does what is asked and says so."""

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Return once it is done, with the number where one was asked for.

        :param request: what to do.
        :param stop: ends the wait early.
        :raises Aborted: it was refused, or ``stop`` was set meanwhile.
        """
