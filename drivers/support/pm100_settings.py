"""The settings on which a reading of the PM100 family depends: made, read back, looked at again."""

from __future__ import annotations

import logging
import math

from pymeasure.adapters import Adapter

from drivers.support.pm100_commands import PM100Commands
from labctl.model.clock import Clock
from labctl.model.errors import InstrumentFault, ProtocolError
from labctl.model.roles import SensorKind

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
            log.warning("%s: set again, for %r was left over after: %s", self.name, left[:80], exc.message)
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
