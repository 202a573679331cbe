"""The commands of the Thorlabs PM100 family, one declared property each, and its error queue."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from typing import Any, Literal

from pymeasure.instruments import Instrument

from drivers.support.ports import Port
from drivers.support.visa import VisaInstrument
from labctl.model.clock import Stop
from labctl.model.errors import InstrumentFault, InstrumentTimeout

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
            hint = "check that pulses reach the head, strong enough for it"
            reason = f"measured no {quantity}: {'; '.join(entries)}"
            raise InstrumentFault(self.name, reason, hint) from None

    def in_range(self, value: float) -> float:
        """Return ``value``; refuse infinity, "not a number" and their stand-ins.

        :raises InstrumentFault: the head is over or under its range.
        """
        if not abs(value) < OVER_RANGE:
            hint = "choose a higher range, or less light on the head"
            raise InstrumentFault(self.name, f"the reading is out of range ({value:g})", hint)
        return value
