"""What a console of the Thorlabs PM100 family is told over SCPI, and the settings that readings depend on.

A command that is not understood is not answered; it leaves an entry in the error queue, which is read after
every setting. Which console has what is from the vendor's command references (PM100D2, PM100D3, PM101, PM102,
PM103, PM103E, PM400, PM5020, PM60, PM61).
"""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pymeasure.adapters import Adapter
from pymeasure.instruments import Instrument

from drivers.support.session import Port
from drivers.support.visa import VisaInstrument
from labctl.model.clock import Clock, Stop
from labctl.model.errors import InstrumentFault, InstrumentTimeout, ProtocolError
from labctl.model.roles import SensorKind

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


class OverRange(InstrumentFault):
    """A reading above or below its range, or no number."""


class PM100Commands(VisaInstrument):
    """The consoles' commands as properties; a setting that leaves an entry in the error queue raises."""

    _identification = ""

    port = Port(baud_rate=115200, read_termination="\n", write_termination="\n", timeout_s=2.0)

    idn = _text("""Get the identification (str).""", "*IDN?")
    sensor_idn = _text(
        """Get name, serial, calibration, type and flags of the head (str).""", "SYST:SENS:IDN?"
    )
    next_error = _text("""Get the oldest entry of the error queue (str, number and text).""", "SYST:ERR?")
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
    averages = Instrument.control(
        "SENS:AVER?",
        "SENS:AVER %d",
        """Control the readings averaged in the meter (float, 1 to 3000).""",
        check_set_errors=True,
    )
    zero_magnitude = Instrument.measurement(
        "SENS:CORR:COLL:ZERO:MAGN?",
        """Get the zero offset taken off every reading (float, A of a photodiode, V of a thermopile).""",
    )
    photodiode_response = Instrument.measurement(
        "SENS:CORR:POW:PDI:RESP?", """Get the response of a photodiode at the wavelength set (float, A/W)."""
    )
    thermopile_response = Instrument.measurement(
        "SENS:CORR:POW:THER:RESP?", """Get the response of a thermopile (float, V/W)."""
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

        :raises OverRange: the head is over or under its range.
        """
        if not abs(value) < OVER_RANGE:
            hint = "choose a higher range, or reduce the light on the head"
            raise OverRange(self.name, f"the reading is out of range ({value:g})", hint)
        return value


log = logging.getLogger(__name__)

READ_BACK_REL = 1e-3
UNDEFINED = "-113"
WITHOUT_MODE = ("PM100A", "PM100D", "PM100USB", "PM16", "PM160", "PM200", "PM400")
"""Consoles without a peak mode for photodiodes; the PM101 and PM102 with their letters besides."""
ZERO_OF_PHOTODIODES = ("PM101", "PM102", "PM103", "PM100D2", "PM100D3", "PM60", "PM61", "PM5020")
"""Consoles that say "Zeroing is only available for Photodiode in CW mode"."""

Lacking = Literal["", "command", "head"]
"""Which refusal of a setting is none: "" no; "command" the console does not know it; "head" any."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the bench file wants of a console.

    :param average_count: readings averaged inside the meter, 1 to 3000.
    :param upper_range_w: fixed upper range in W, or None for the meter's auto-range.
    :param energy_range_j: of a pyroelectric head, J; None: the console's auto-range where it has one.
    :param peak_threshold_percent: level that a pulse must cross, % of the range; None: as it stands.
    """

    average_count: int = 100
    upper_range_w: float | None = None
    energy_range_j: float | None = None
    peak_threshold_percent: float | None = None


class PM100Settings(PM100Commands):
    """A console that knows which settings it was given, and keeps an eye on them."""

    _kind: SensorKind

    def __init__(
        self,
        adapter: str | Adapter,
        wanted: Wanted,
        *,
        baud_rate: int | None,
        clock: Clock | None,
        visa_library: str,
        role: str,
    ) -> None:
        super().__init__(adapter, role, clock, visa_library, baud_rate)
        self._wanted = wanted
        self._wavelength_nm: float | None = None
        self._kept: dict[str, str | float] = {}
        self._joins = True

    @property
    def model(self) -> str:
        """The console, as it calls itself."""
        return [*self._identification.split(","), ""][1].strip().upper()

    def prepare(self, wavelength_nm: float) -> None:
        """Set unit, delta mode (off), mode (CW), bandwidth, attenuation, wavelength, averaging and range.

        Each is read back. An answer that came twice stands where the next one is expected, and shifts all
        that follow. It is thrown away before; where one comes meanwhile, what is left on the line gives it
        away, and everything is set once more.

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
        if self._kind == "pyro":
            self._make_pulsed()
        else:
            self._make_steady()
        self._keep("attenuation", "SENS:CORR", 0.0)
        self._keep("wavelength", "SENS:CORR:WAV", wavelength_nm)
        self._wavelength_nm = wavelength_nm

    def _make_steady(self) -> None:
        """Mean power in W: no delta mode, no peaks, little bandwidth; a thermal head has not all of that."""
        lacking: Lacking = "" if self._kind == "photodiode" else "head"
        self._keep("unit", "SENS:POW:UNIT", "W")
        self._keep("delta mode", "SENS:POW:REF:STAT", 0, lacking)
        if self._kind == "photodiode":
            if self.model not in WITHOUT_MODE and not self.model.startswith(("PM101", "PM102")):
                self._keep("mode", "SENS:FREQ:MODE", "CW", "command")
            self._keep("low bandwidth", "INP:PDI:FILT:LPAS:STAT", 1, "command")
        self.set_range(self._wanted.upper_range_w)
        self._keep("averages", "SENS:AVER", self._wanted.average_count, lacking)

    def _make_pulsed(self) -> None:
        """Energies in J, less nothing, in a range that holds them."""
        wanted = self._wanted
        self._keep("delta mode", "SENS:ENER:REF:STAT", 0, "head")
        if wanted.energy_range_j is None:
            self._keep("auto-range", "SENS:ENER:RANG:AUTO", 1, "command")
        else:
            self._keep_range("SENS:ENER:RANG", wanted.energy_range_j, "J")
        if wanted.peak_threshold_percent is not None:
            self._keep("threshold", "SENS:PEAK", wanted.peak_threshold_percent)

    def restore(self) -> None:
        """Set everything again after a new connection."""
        if self._wavelength_nm is not None:
            self.prepare(self._wavelength_nm)

    def altered(self) -> str:
        """Ask, in one message, what readings depend on, and name what is not as :meth:`prepare` left it."""
        if not self._kept:
            return ""
        answers = self._all_answers()
        if len(answers) != len(self._kept):
            return f"{len(self._kept)} questions have {len(answers)} answers"
        for (question, value), text in zip(self._kept.items(), answers, strict=True):
            if not _same(text.strip(), value):
                return f"{question} answers {text.strip()} instead of {value}"
        return ""

    def _all_answers(self) -> list[str]:
        """Ask everything that is kept; one by one where the console does not join its answers in a line."""
        if not self._joins:
            return [self.ask(question) for question in self._kept]
        first = self.ask(";:".join(self._kept)).strip()
        found = first.split(";")
        if len(found) == len(self._kept):
            return found
        self._answer_owed = True  # the others may still be coming, each in its line
        found = [first, *self.drain().decode("ascii", "replace").split()]
        self._joins = len(found) != len(self._kept)
        return found

    def set_range(self, upper_w: float | None) -> float:
        """Fix the range that holds ``upper_w``, or leave it to the meter (None), until :meth:`prepare`.

        Returns the range's upper end in W, infinity where the meter chooses it.

        :raises InstrumentFault: the console has no such range, or this head has none at all.
        """
        if self._kind == "pyro":
            raise InstrumentFault(self.name, "a pyroelectric head has ranges of energy, not of power")
        if upper_w is not None:
            return self._keep_range("SENS:POW:RANG", upper_w, "W")
        self._kept.pop("SENS:POW:RANG?", None)
        self._keep("auto-range", "SENS:POW:RANG:AUTO", 1)
        return math.inf

    def _keep_range(self, command: str, upper: float, unit: str) -> float:
        """Fix a range, the next step up, and return it; that ends auto-range, where there is one."""
        self._send_setting(command, f"{upper:g}")
        found = self._number(f"{command}?")
        if not found >= upper * (1 - READ_BACK_REL):
            raise InstrumentFault(self.name, f"its range stays at {found:g} {unit}")
        self._kept[f"{command}?"] = found
        if f"{command}:AUTO?" in self._kept or unit == "W":
            self._kept[f"{command}:AUTO?"] = 0.0
        return found

    @property
    def chooses_range(self) -> bool:
        """Whether the meter chooses its range by itself."""
        return not any(question.endswith("RANG?") for question in self._kept)

    # -- one setting -------------------------------------------------------------------------------

    def _keep(self, what: str, command: str, value: str | float, lacking: Lacking = "") -> None:
        """Set something, read it back, and watch it from now on.

        :raises InstrumentFault: it is refused and may not be lacking, or it does not stay.
        """
        shown = value if isinstance(value, str) else f"{value:g}"
        if not self._send_setting(command, shown, lacking):
            self._kept.pop(f"{command}?", None)
            return
        found = self.ask(f"{command}?").strip()
        if not _same(found, value):
            raise InstrumentFault(self.name, f"{what} set to {shown}, read back as {found}")
        self._kept[f"{command}?"] = value

    def _send_setting(self, command: str, shown: str, lacking: Lacking = "") -> bool:
        """Send a setting; return whether it was taken."""
        self.write(f"{command} {shown}")
        entries = self.errors()
        unknown = all(entry.startswith(UNDEFINED) for entry in entries)
        if entries and not (lacking == "head" or (lacking == "command" and unknown)):
            raise InstrumentFault(self.name, f"refuses {command + ' ' + shown!r}: {'; '.join(entries)}")
        return not entries

    def _number(self, question: str) -> float:
        return float(self.values(question)[0])

    @contextmanager
    def full_bandwidth(self) -> Iterator[None]:
        """Let a photodiode's pulses through inside the block, where the console can filter them."""
        command = "INP:PDI:FILT:LPAS:STAT"
        if f"{command}?" not in self._kept:
            yield
            return
        self._send_setting(command, "0")
        try:
            yield
        finally:
            self._keep("low bandwidth", command, 1)


def _same(text: str, value: str | float) -> bool:
    if isinstance(value, str):
        return text.upper() == value
    try:
        return math.isclose(float(text), value, rel_tol=READ_BACK_REL, abs_tol=0.0 if value else 1e-6)
    except ValueError:
        return False
