"""Thorlabs PM100 family of power meters over SCPI (PM100D, PM100USB, PM101, PM102, PM103, PM400, PM100D3).

USB-TMC, or RS-232 at 115200 baud 8N1 on the consoles that have it. The Ethernet port of the PM103E frames
its text and is not served. Tried on a simulator only.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Literal

from pydantic import Field
from pymeasure.adapters import Adapter

from drivers.meters.pm100_console import (
    POLL_S,
    ZERO_OF_PHOTODIODES,
    OverRange,
    PM100Settings,
    Sensor,
    Wanted,
    parse_sensor,
)
from drivers.support.failures import ConnectionLost, not_connected
from drivers.support.spec import BaudRate, DriverSpec, Probe, Support, VisaConfig
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import InstrumentError, InstrumentFault, InstrumentTimeout
from labctl.model.records import Identity, PowerReading
from labctl.model.roles import SensorKind, has_read

log = logging.getLogger(__name__)

KINDS: dict[int, SensorKind] = {1: "photodiode", 2: "thermal", 3: "pyro", 5: "thermal"}
"""Types 2 and 5 are thermopiles, 5 with four quadrants."""
SETTLING_S: dict[SensorKind, float] = {"photodiode": 0.1, "thermal": 10.0, "pyro": 0.0}
"""Used when neither the configuration nor the console's accelerator time constant says better."""
NOISE_W: dict[SensorKind, float] = {"photodiode": 1e-9, "thermal": 1e-6, "pyro": 1e-6}
"""Assumed noise of an averaged reading until the configuration or a zeroing says better."""
TIME_CONSTANTS = -math.log(1e-3)
"""How many time constants an exponential needs to come within 0.1 %."""
SECONDS_PER_SAMPLE = 0.003
"""Of a PM100D, the slowest console of the family."""
LONGEST_ON_USB = 100
"""More readings than these are not averaged in one question: after a stop its answer is waited for."""
PULSE_TIMEOUT_S = 5.0
ZERO_TIMEOUT_S = 60.0
NOISE_READINGS = 10


class ThorlabsPM100(PM100Settings):
    """Console of the PM100 family with one head, read in watts.

    :param adapter: VISA resource, e.g. ``"USB0::0x1313::0x8078::P0000001::INSTR"``.
    :param average_count: readings averaged inside the meter, 1 to 3000.
    :param upper_range_w: fixed upper range in W, or None for the meter's auto-range.
    :param energy_range_j: of a pyroelectric head, J; None: the console's auto-range where it has one.
    :param peak_threshold_percent: level that a pulse must cross, % of the range; None: as it stands.
    :param settling_s: time after a change until a reading is within 0.1 %; None: by the kind of head.
    :param noise_w: noise of one averaged reading; None: by the kind of head, measured when zeroing.
    :raises NotConnected: no console of the family, or one without a head, answers.
    """

    def __init__(
        self,
        adapter: str | Adapter,
        *,
        average_count: int = 100,
        upper_range_w: float | None = None,
        energy_range_j: float | None = None,
        peak_threshold_percent: float | None = None,
        settling_s: float | None = None,
        noise_w: float | None = None,
        baud_rate: int | None = None,
        clock: Clock | None = None,
        visa_library: str = "@py",
        role: str = "power_meter",
    ) -> None:
        wanted = Wanted(average_count, upper_range_w, energy_range_j, peak_threshold_percent)
        super().__init__(
            adapter, wanted, baud_rate=baud_rate, clock=clock, visa_library=visa_library, role=role
        )
        self._zero_refused = False
        self._noise_w = noise_w
        self._noise_given = noise_w is not None
        self._last_text = ""
        self.greet(self._check_device)
        self._settling_s = self._default_settling_s() if settling_s is None else settling_s

    def _check_device(self) -> None:
        if self._visa and not self._on_usb:  # half a command of somebody else may stand in its buffer
            with self.translated("an empty line"):
                self.adapter.write("")
        self.write("*IDN?")
        heard = self.listen(b"\n", self.port.timeout_s)
        words = heard.decode("ascii", "replace").strip().split(",")
        if not heard:
            raise InstrumentTimeout(self.name, "no answer to '*IDN?'")
        if "THORLABS" not in words[0].upper() or len(words) < 4 or not words[1].upper().startswith("PM"):
            raise self.stranger(heard, "a power meter of the PM100 family")
        self.drain()  # an answer that came twice would stand for the head's
        self._identification = ",".join(words)
        self.write("*CLS")
        head = self.head()
        if head.type not in KINDS:
            reason = f"the console has no usable head ({head.name or 'none'}, type {head.type})"
            raise not_connected(self.role, self.resource, reason, "connect a head")
        self._kind = KINDS[head.type]

    def _default_settling_s(self) -> float:
        if self._kind == "thermal":
            with suppress(InstrumentError):
                return TIME_CONSTANTS * float(self.accelerator_tau_s)
            with suppress(InstrumentError):
                self.write("*CLS")
        return SETTLING_S[self._kind]

    # -- the role ----------------------------------------------------------------------------------

    @property
    def sensor(self) -> SensorKind:
        """Kind of the head."""
        return self._kind

    @property
    def settling_s(self) -> float:
        """Time after a change of power until a reading is within 0.1 % of it, in s."""
        return self._settling_s

    @property
    def noise_w(self) -> float:
        """Standard deviation of one averaged reading in the dark, in W."""
        return NOISE_W[self._kind] if self._noise_w is None else self._noise_w

    def identity(self) -> Identity:
        """Ask the console who it is; the head stands behind the model."""
        text = str(self.idn)
        words = [word.strip() for word in text.split(",")]
        if len(words) < 4:
            raise self.garbled("*IDN?", text)
        vendor, model, serial, firmware, *_ = words
        return self.remember(Identity(vendor, f"{model} + {self.head().name}", serial, firmware))

    def head(self) -> Sensor:
        """Ask which head is plugged in."""
        text = str(self.sensor_idn)
        try:
            return parse_sensor(text)
        except ValueError as exc:
            raise self.garbled("SYST:SENS:IDN?", text) from exc

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        """Take ``count`` averaged readings; the error of a single one is the head's noise.

        A pyroelectric head measures pulses: its power is pulse energy times repetition rate.

        Afterwards the settings are looked at: what was read with others, at the panel's unit or wavelength,
        is thrown away, the settings are made again and the readings are taken anew, once.

        :raises InstrumentFault: over range, or the settings do not stay.
        """
        reading = self._read(count, stop)
        if not (reason := self.altered()):
            return reading
        log.warning("%s: %s; setting it again and repeating the reading", self.name, reason)
        self.prepare(self._wavelength_nm or 0.0)
        reading = self._read(count, stop)
        if reason := self.altered():
            hint = "do not operate the console, and close other programs that use it"
            raise InstrumentFault(self.name, f"its settings do not stay: {reason}", hint)
        return reading

    def _read(self, count: int, stop: Stop | None) -> PowerReading:
        start_s = self.clock.now_s()
        rate_hz = self.frequency_hz(stop) if self._kind == "pyro" else 0.0
        values: list[float] = []
        for _ in range(max(count, 1)):
            check_stop(stop)
            values.append(self._once(lambda: self._power_w(rate_hz, stop)))
            has_read(values[-1])
        n = len(values)
        sigma_w = statistics.stdev(values) / math.sqrt(n) if n > 1 else self.noise_w
        return PowerReading(statistics.fmean(values), sigma_w, n, start_s, self.clock.now_s())

    def _power_w(self, rate_hz: float, stop: Stop | None) -> float:
        if self._kind == "pyro":
            return self.pulse_energy_j(stop) * rate_hz
        return self._averaged_w(stop)

    def _once(self, read: Callable[[], float]) -> float:
        """Read, and once more where a meter that chooses its range was caught while it changed it."""
        try:
            return read()
        except OverRange:
            if not self.chooses_range:
                raise
            return read()

    def _averaged_w(self, stop: Stop | None = None) -> float:
        """Take one reading, repeated once if the answer is lost or no number."""
        longest_s = self.port.timeout_s + 2 * self._wanted.average_count * SECONDS_PER_SAMPLE
        if self._on_usb and self._wanted.average_count > LONGEST_ON_USB:
            return self.measure("POW", longest_s, stop)
        text = ""
        for _ in range(2):
            with suppress(InstrumentTimeout, ConnectionLost, ValueError):
                self.write("MEAS:POW?")
                text = self.await_reply(longest_s, stop)
                value = self.in_range(float(text))
                stale, self._last_text = text == self._last_text, text
                if not stale:
                    return value
        if text and text == self._last_text:  # twice the same: a head without noise, not an old answer
            return self.in_range(float(text))
        if not text:
            raise InstrumentTimeout(self.name, f"no reading within {longest_s:.1f} s")
        raise self.garbled("MEAS:POW?", text)

    # -- beyond the role ---------------------------------------------------------------------------

    def pulse_energy_j(self, stop: Stop | None = None) -> float:
        """Measure the energy of one pulse (pyroelectric head), in J.

        :raises InstrumentTimeout: no pulse came within 5 s.
        """
        return self.measure("ENER", PULSE_TIMEOUT_S, stop)

    def frequency_hz(self, stop: Stop | None = None) -> float:
        """Measure the repetition rate of the pulses, in Hz.

        :raises InstrumentTimeout: no pulses came within 5 s.
        """
        with self.full_bandwidth():
            return self.measure("FREQ", PULSE_TIMEOUT_S, stop)

    @property
    def zeroes(self) -> bool:
        """Whether the console zeroes this head: some zero photodiodes only, none a pyroelectric one."""
        if self._kind == "photodiode":
            return True
        return self._kind == "thermal" and not (
            self._zero_refused or self.model.startswith(ZERO_OF_PHOTODIODES)
        )

    def zero(self, stop: Stop | None = None) -> float:
        """Take the present reading as zero, with the pump blocked; return the offset in W.

        The noise of a reading is measured on the way, unless the configuration gave it.

        :raises InstrumentFault: the console could not zero, e.g. because there is light on the head, or it
            has no zero for this head.
        :raises InstrumentTimeout: it is not done within 60 s.
        """
        if not self.zeroes:
            raise self._no_zero()
        end = time.monotonic() + ZERO_TIMEOUT_S
        self.write("SENS:CORR:COLL:ZERO:INIT")
        if self._kind != "photodiode" and (refused := self.errors()):
            self._zero_refused = True
            raise self._no_zero("; ".join(refused))
        try:
            while self.zeroing:
                if time.monotonic() > end:
                    raise InstrumentTimeout(self.name, f"zeroing takes longer than {ZERO_TIMEOUT_S:g} s")
                self.clock.sleep(POLL_S, stop)
        except BaseException:
            self.write("SENS:CORR:COLL:ZERO:ABOR")
            raise
        entries = self.errors()
        if entries:
            hint = "block the pump, and cover the head if the room is bright"
            raise InstrumentFault(self.name, f"could not be zeroed: {'; '.join(entries)}", hint)
        if not self._noise_given:
            self._noise_w = statistics.stdev(self._averaged_w() for _ in range(NOISE_READINGS))
        photodiode = self._kind == "photodiode"
        response = float(self.photodiode_response if photodiode else self.thermopile_response)
        return float(self.zero_magnitude) / response

    def _no_zero(self, said: str = "") -> InstrumentFault:
        text = f"the {self.model or 'console'} has no zero for a {self._kind} head"
        hint = "leave zero_at_connect out; calibrations measure its dark level"
        return InstrumentFault(self.name, f"{text}: {said}" if said else text, hint)


class ThorlabsPM100Config(VisaConfig):
    """``[power_meter]`` with ``driver = "thorlabs-pm100"``."""

    driver: Literal["thorlabs-pm100"]
    averages: Annotated[int, Field(ge=1, le=3000)] = 100
    range: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    energy_range_j: Annotated[float, Field(gt=0)] | None = None
    peak_threshold_percent: Annotated[float, Field(ge=0.1, le=100)] | None = None
    settling_s: Annotated[float, Field(ge=0)] | None = None
    noise_w: Annotated[float, Field(gt=0)] | None = None
    zero_at_connect: bool = False
    baud_rate: BaudRate = 115200


def _open(config: ThorlabsPM100Config, clock: Clock) -> ThorlabsPM100:
    meter = ThorlabsPM100(
        config.resource,
        average_count=config.averages,
        upper_range_w=None if config.range == "auto" else config.range,
        energy_range_j=config.energy_range_j,
        peak_threshold_percent=config.peak_threshold_percent,
        settling_s=config.settling_s,
        noise_w=config.noise_w,
        baud_rate=config.baud_rate,
        clock=clock,
        visa_library=config.visa_library,
    )
    if config.zero_at_connect:
        try:
            meter.zero()
        except BaseException:
            meter.close()
            raise
    return meter


DRIVER = DriverSpec(
    "thorlabs-pm100",
    "power_meter",
    ThorlabsPM100Config,
    _open,
    "Thorlabs power meters of the PM100 family",
    Support(
        "Thorlabs PM100D, PM100USB, PM100A, PM101, PM102, PM103, PM400, PM100D2, PM100D3, PM60, PM61, PM5020",
        "USB-TMC; serial 115200 8N1 where the console has it",
        "simulated PM100D on TCP, a pseudo-terminal and USB-TMC (pyvisa-py); simulated PM101, PM103, PM400"
        " and PM100D3 on TCP",
        (
            "the Ethernet port of PM103E and PM5020 frames its text and is not served; a second channel is"
            " not read",
            "PM101, PM102, PM103, PM100D2, PM100D3, PM60, PM61 and PM5020 zero photodiodes only: with a "
            "thermal head calibrations measure the dark level instead",
            "PM101, PM102 and PM400 choose no range for a pyroelectric head: set energy_range_j",
            "whether a pyroelectric head is fast enough for the laser is not checked: many end at 30 Hz",
        ),
    ),
    (Probe(b"*IDN?\n", r"(?i)thorlabs,(?P<model>PM\w+),(?P<serial>[^,]*),.*", baud_rate=115200),),
)
