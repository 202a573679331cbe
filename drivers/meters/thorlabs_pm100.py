"""Thorlabs PM100 family of power meters over SCPI (PM100D, PM100USB, PM101, PM102, PM103, PM400, PM100D3).

USB-TMC, or RS-232 at 115200 baud 8N1 on the consoles that have it. The Ethernet port of the PM103E frames
its text and is not served. A command that is not understood is not answered; it leaves an entry in the error
queue, which is read after every setting. Tried on a simulator only.
"""

from __future__ import annotations

import csv
import logging
import math
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from pymeasure.adapters import Adapter
from pymeasure.instruments import Instrument

from drivers.support.failures import ConnectionLost, not_connected
from drivers.support.session import Port
from drivers.support.spec import DriverSpec, VisaConfig
from drivers.support.visa import VisaInstrument
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import InstrumentError, InstrumentFault, InstrumentTimeout, ProtocolError
from labctl.model.records import Identity, PowerReading
from labctl.model.roles import SensorKind, has_read

OVER_RANGE = 9e37
"""SCPI writes infinity as 9.9e37 and "not a number" as 9.91e37; newer consoles write INFINITY."""
QUEUE_LIMIT = 32
POLL_S = 0.01

Quantity = Literal["POW", "ENER", "FREQ"]


@dataclass(frozen=True, slots=True)
class Sensor:
    """What ``SYST:SENS:IDN?`` says: the type number is reliable, the flags have two tables and are a hint."""

    name: str
    serial: str
    type: int
    flags: int


def parse_sensor(text: str) -> Sensor:
    """Parse the answer to ``SYST:SENS:IDN?``, quoted or not, with commas inside quotes or not.

    :raises ValueError: it has too few fields or its numbers are none.
    """
    try:
        fields = [word.strip().strip('"') for word in next(csv.reader([text.strip()], skipinitialspace=True))]
    except (csv.Error, StopIteration) as exc:
        raise ValueError(text) from exc
    if len(fields) < 5:
        raise ValueError(text)
    return Sensor(fields[0], fields[1], int(fields[-3]), int(fields[-1]))


def _text(docs: str, get: str, set_command: str | None = None) -> Any:
    """Declare a command whose answer is one text, commas included."""
    if set_command is None:
        return Instrument.measurement(get, docs, cast=str, maxsplit=0)
    return Instrument.control(get, set_command, docs, cast=str, maxsplit=0, check_set_errors=True)


class PM100Commands(VisaInstrument):
    """The consoles' commands as properties; a setting that leaves an entry in the error queue raises."""

    _identification = ""

    port = Port(baud_rate=115200, read_termination="\n", write_termination="\n", timeout_s=2.0)

    idn = _text("""Get the identification (str).""", "*IDN?")
    sensor_idn = _text(
        """Get name, serial, calibration, type and flags of the head (str).""", "SYST:SENS:IDN?"
    )
    next_error = _text("""Get the oldest entry of the error queue (str, number and text).""", "SYST:ERR?")
    unit = _text("""Control the unit of power (str, W or DBM).""", "SENS:POW:UNIT?", "SENS:POW:UNIT %s")
    wavelength_nm = Instrument.control(
        "SENS:CORR:WAV?",
        "SENS:CORR:WAV %g",
        """Control the wavelength of the correction (float, nm, within the head's limits).""",
        check_set_errors=True,
    )
    wavelength_min_nm = Instrument.measurement(
        "SENS:CORR:WAV? MIN", """Get the shortest wavelength of the head (float, nm)."""
    )
    wavelength_max_nm = Instrument.measurement(
        "SENS:CORR:WAV? MAX", """Get the longest wavelength of the head (float, nm)."""
    )
    range_w = Instrument.control(
        "SENS:POW:RANG?",
        "SENS:POW:RANG %g",
        """Control the upper range (float, W, > 0); setting it ends auto-range.""",
        check_set_errors=True,
    )
    auto_range = Instrument.control(
        "SENS:POW:RANG:AUTO?",
        "SENS:POW:RANG:AUTO %d",
        """Control auto-range (int, 0 or 1).""",
        cast=int,
        check_set_errors=True,
    )
    averages = Instrument.control(
        "SENS:AVER?",
        "SENS:AVER %d",
        """Control the readings averaged in the meter (float, 1 to 3000).""",
        check_set_errors=True,
    )
    relative = Instrument.control(
        "SENS:POW:REF:STAT?",
        "SENS:POW:REF:STAT %d",
        """Control whether a reading is shown less a reference, the panel's delta mode (int, 0 or 1).""",
        cast=int,
        check_set_errors=True,
    )
    attenuation_db = Instrument.control(
        "SENS:CORR?",
        "SENS:CORR %g",
        """Control the attenuation the console corrects for (float, dB, -60 to 60).""",
        check_set_errors=True,
    )
    power_w = Instrument.measurement("MEAS:POW?", """Measure the power (float, W).""")
    zero_magnitude_w = Instrument.measurement(
        "SENS:CORR:COLL:ZERO:MAGN?",
        """Get the zero offset taken off every reading (float, in the head's unit).""",
    )
    zeroing = Instrument.measurement(
        "SENS:CORR:COLL:ZERO:STAT?", """Get whether a zeroing runs (int, 0 or 1).""", cast=int
    )
    accelerator_tau_s = Instrument.measurement(
        "INP:THER:ACC:TAU?", """Get the time constant of a thermal head (float, s)."""
    )
    result_ready = Instrument.measurement(
        "FETC:STAT?", """Get whether a measurement is complete (int, 0 or 1).""", cast=int
    )
    result = Instrument.measurement("FETC?", """Get the completed measurement (float, unit as configured).""")

    def is_idempotent(self, command: str) -> bool:
        """Questions may be repeated; reading the error queue takes an entry off it."""
        return "?" in command and not command.startswith("SYST:ERR")

    def errors(self) -> list[str]:
        """Empty the error queue and return its entries, oldest first."""
        entries: list[str] = []
        while len(entries) < QUEUE_LIMIT:
            entry = str(self.next_error).strip()
            if entry.lstrip("+").partition(",")[0].strip() == "0":
                break
            entries.append(entry)
        return entries

    def check_set_errors(self) -> list[str]:
        """Read the error queue after a setting.

        :raises InstrumentFault: the console refused it.
        """
        sent = self._sent
        entries = self.errors()
        if entries:
            raise InstrumentFault(self.name, f"refuses {sent!r}: {'; '.join(entries)}")
        return entries

    def resynchronise(self) -> None:
        """After a lost answer, ask for the identity and read until it comes: then nothing older is owed."""
        self.drain()
        if not self._visa:
            return
        self.adapter.write("*IDN?")
        for _ in range(QUEUE_LIMIT):
            if str(self.adapter.read()).strip() == self._identification:
                break
        if self._on_usb:  # to read what was not there, or not to read what was, counts as an error there
            self.adapter.write("*CLS")

    def measure(self, quantity: Quantity, timeout_s: float, stop: Stop | None = None) -> float:
        """Measure without ever blocking the console: configure, start, poll, fetch.

        :param quantity: "POW" (W), "ENER" (J) or "FREQ" (Hz).
        :param timeout_s: wall time after which the measurement is aborted (no pulse came).
        :raises InstrumentTimeout: nothing was measured in time.
        :raises InstrumentFault: over range, or the console gave up, for want of pulses for one.
        """
        end = time.monotonic() + timeout_s
        for command in ("ABOR", f"CONF:{quantity}", "INIT"):
            self.write(command)
        try:
            while not self.result_ready:
                if time.monotonic() > end:
                    raise InstrumentTimeout(self.name, f"no result of {quantity} within {timeout_s:g} s")
                self.clock.sleep(POLL_S, stop)
        except BaseException:
            self.write("ABOR")
            raise
        try:
            return self.in_range(self.result)
        except InstrumentTimeout:  # what went wrong is not answered, it stands in the queue
            entries = self.errors()
            if not entries:
                raise
            hint = "check that strong enough pulses reach the head"
            reason = f"measured no {quantity}: {'; '.join(entries)}"
            raise InstrumentFault(self.name, reason, hint) from None

    def in_range(self, value: float) -> float:
        """Return ``value``; refuse infinity, "not a number" and their stand-ins.

        :raises InstrumentFault: the head is over or under its range.
        """
        if not abs(value) < OVER_RANGE:
            hint = "choose a higher range, or reduce the light on the head"
            raise InstrumentFault(self.name, f"the reading is out of range ({value:g})", hint)
        return value


log = logging.getLogger(__name__)

READ_BACK_REL = 1e-3


class PM100Settings(PM100Commands):
    """A console that knows which settings it was given.

    :param average_count: readings averaged inside the meter, 1 to 3000.
    :param upper_range_w: fixed upper range in W, or None for the meter's auto-range.
    """

    _kind: SensorKind

    def __init__(
        self,
        adapter: str | Adapter,
        *,
        average_count: int,
        upper_range_w: float | None,
        clock: Clock | None,
        visa_library: str,
        role: str,
    ) -> None:
        super().__init__(adapter, role, clock, visa_library)
        self._average_count = average_count
        self._upper_range_w = upper_range_w
        self._wavelength_nm: float | None = None
        self._range_found_w: float | None = None

    def prepare(self, wavelength_nm: float) -> None:
        """Set unit, delta mode (off), attenuation, wavelength, averaging, range; read each back.

        An answer that came twice stands where the next one is expected, and shifts all that follow. It is
        thrown away before; where one comes meanwhile, what is left on the line gives it away, and everything
        is set once more.

        :raises InstrumentFault: outside the head's limits, refused, or read back differently.
        """
        self.drain()
        try:
            self._make(wavelength_nm)
        except (InstrumentFault, ProtocolError) as exc:
            if not (left := self.drain()):
                raise
            log.warning(
                "%s: setting it again, because %r was left over after: %s", self.name, left[:80], exc.message
            )
            self._make(wavelength_nm)

    def _make(self, wavelength_nm: float) -> None:
        shortest, longest = self.wavelength_min_nm, self.wavelength_max_nm
        if not shortest <= wavelength_nm <= longest:
            text = f"{wavelength_nm:g} nm is outside the head's {shortest:g} to {longest:g} nm"
            raise InstrumentFault(self.name, text, "use a head made for this wavelength")
        if self._kind != "pyro":
            self.unit = "W"
            if str(self.unit).strip().upper() != "W":
                raise InstrumentFault(self.name, "does not change its unit to W")
            self.relative = 0
            self._verify("delta mode", self.relative + 1.0, 1.0)
            self.set_range(self._upper_range_w)
            self.averages = self._average_count
            self._verify("averages", self.averages, self._average_count)
        self.attenuation_db = 0.0
        self._verify("attenuation", self.attenuation_db + 1.0, 1.0)
        self.wavelength_nm = wavelength_nm
        self._verify("wavelength", self.wavelength_nm, wavelength_nm)
        self._wavelength_nm = wavelength_nm

    def restore(self) -> None:
        """Set everything again after a new connection."""
        if self._wavelength_nm is not None:
            self.prepare(self._wavelength_nm)

    def altered(self) -> str:
        """Ask, in one message, what readings depend on, and name what is not as :meth:`prepare` left it."""
        if self._wavelength_nm is None or self._kind == "pyro":
            return ""
        fixed = self._range_found_w
        wanted: dict[str, str | float] = {
            "SENS:POW:UNIT?": "W",
            "SENS:POW:REF:STAT?": 0.0,
            "SENS:CORR:WAV?": self._wavelength_nm,
            "SENS:AVER?": self._average_count,
            "SENS:CORR?": 0.0,
            "SENS:POW:RANG:AUTO?": 1.0 if fixed is None else 0.0,
        }
        if fixed is not None:
            wanted["SENS:POW:RANG?"] = fixed
        found = self.ask(";:".join(wanted)).strip().split(";")
        if len(found) != len(wanted):  # a console that does not join answers
            found = [self.ask(question) for question in wanted]
        for command, text, value in zip(wanted, found, wanted.values(), strict=True):
            if not _same(text.strip(), value):
                return f"{command} answers {text.strip()} instead of {value}"
        return ""

    def set_range(self, upper_w: float | None) -> float:
        """Fix the range that holds ``upper_w``, or leave it to the meter (None), until :meth:`prepare`.

        Returns the range's upper end in W, infinity where the meter chooses it.

        :raises InstrumentFault: the console has no such range, or this head has none at all.
        """
        if self._kind == "pyro":
            raise InstrumentFault(self.name, "a pyroelectric head has ranges of energy, not of power")
        if upper_w is None:
            self.auto_range = 1
            self._verify("auto-range", self.auto_range, 1)
            self._range_found_w = None
            return math.inf
        self.range_w = upper_w
        found = float(self.range_w)
        if not found >= upper_w * (1 - READ_BACK_REL):  # the console takes the next step up
            raise InstrumentFault(self.name, f"its range stays at {found:g} W")
        self._range_found_w = found
        return found

    def _verify(self, what: str, found: float, wanted: float) -> None:
        if not math.isclose(found, wanted, rel_tol=READ_BACK_REL):
            raise InstrumentFault(self.name, f"{what} set to {wanted:g}, read back as {found:g}")


def _same(text: str, value: str | float) -> bool:
    if isinstance(value, str):
        return text.upper() == value
    try:
        return math.isclose(float(text), value, rel_tol=READ_BACK_REL, abs_tol=1e-6)
    except ValueError:
        return False


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
        settling_s: float | None = None,
        noise_w: float | None = None,
        clock: Clock | None = None,
        visa_library: str = "@py",
        role: str = "power_meter",
    ) -> None:
        super().__init__(
            adapter,
            average_count=average_count,
            upper_range_w=upper_range_w,
            clock=clock,
            visa_library=visa_library,
            role=role,
        )
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
            energy_j = self.pulse_energy_j(stop) if self._kind == "pyro" else 0.0
            values.append(energy_j * rate_hz if self._kind == "pyro" else self._averaged_w(stop))
            has_read(values[-1])
        n = len(values)
        sigma_w = statistics.stdev(values) / math.sqrt(n) if n > 1 else self.noise_w
        return PowerReading(statistics.fmean(values), sigma_w, n, start_s, self.clock.now_s())

    def _averaged_w(self, stop: Stop | None = None) -> float:
        """Take one reading, repeated once if the answer is lost or no number."""
        longest_s = self.port.timeout_s + 2 * self._average_count * SECONDS_PER_SAMPLE
        if self._on_usb and self._average_count > LONGEST_ON_USB:
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
        return self.measure("FREQ", PULSE_TIMEOUT_S, stop)

    def zero(self, stop: Stop | None = None) -> float:
        """Take the present reading as zero, with the pump blocked; return the offset in the head's unit.

        The noise of a reading is measured on the way, unless the configuration gave it.

        :raises InstrumentFault: the console could not zero, e.g. because there is light on the head.
        :raises InstrumentTimeout: it is not done within 60 s.
        """
        end = time.monotonic() + ZERO_TIMEOUT_S
        self.write("SENS:CORR:COLL:ZERO:INIT")
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
        return float(self.zero_magnitude_w)


class ThorlabsPM100Config(VisaConfig):
    """``[power_meter]`` with ``driver = "thorlabs-pm100"``."""

    driver: Literal["thorlabs-pm100"]
    averages: Annotated[int, Field(ge=1, le=3000)] = 100
    range: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    settling_s: Annotated[float, Field(ge=0)] | None = None
    noise_w: Annotated[float, Field(gt=0)] | None = None
    zero_at_connect: bool = False


def _open(config: ThorlabsPM100Config, clock: Clock) -> ThorlabsPM100:
    meter = ThorlabsPM100(
        config.resource,
        average_count=config.averages,
        upper_range_w=None if config.range == "auto" else config.range,
        settling_s=config.settling_s,
        noise_w=config.noise_w,
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
    "thorlabs-pm100", "power_meter", ThorlabsPM100Config, _open, "Thorlabs power meters of the PM100 family"
)
