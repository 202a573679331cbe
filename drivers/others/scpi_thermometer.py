"""Any thermometer that answers a question in SCPI text with a number (IEEE 488.2 for ``*IDN?``, SCPI-99).

The question is a setting: instruments differ in it, and in the unit. Tried on a simulator only.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field
from pymeasure.adapters import Adapter

from drivers.support.session import Port
from drivers.support.spec import BaudRate, DriverSpec, Support, VisaConfig
from drivers.support.visa import VisaInstrument
from labctl.model.clock import Clock
from labctl.model.errors import InstrumentFault, InstrumentTimeout
from labctl.model.records import Identity

NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*[CK]?\s*")
ZERO_C_IN_K = 273.15
PLAUSIBLE_C = (-100.0, 500.0)
"""Outside these it is no room and no sample: an open sensor shows 9.9E37, a wrong unit 295."""

Unit = Literal["C", "K"]


class ScpiThermometer(VisaInstrument):
    """One temperature, asked for by one line of text.

    :param adapter: VISA resource, e.g. ``"ASRL6::INSTR"``.
    :param query: what asks for the temperature.
    :param unit: of the number in the answer.
    :param identity_contains: words the answer to ``*IDN?`` must contain.
    :raises NotConnected: nobody answers, or something that has no temperature or another name.
    """

    port = Port(baud_rate=9600, read_termination="\n", write_termination="\n", timeout_s=2.0)

    def __init__(
        self,
        adapter: str | Adapter,
        *,
        query: str = "MEAS:TEMP?",
        unit: Unit = "C",
        identity_contains: str = "",
        baud_rate: int | None = None,
        clock: Clock | None = None,
        visa_library: str = "@py",
        role: str = "thermometer",
    ) -> None:
        self._query, self._unit, self._contains = query, unit, identity_contains
        super().__init__(adapter, role, clock, visa_library, baud_rate)
        self.greet(self._check_device)

    def _check_device(self) -> None:
        self.write("*IDN?")
        heard = self.listen(b"\n", self.port.timeout_s)
        if not heard:
            raise InstrumentTimeout(self.name, "no answer to '*IDN?'")
        if heard.count(b",") < 2 or self._contains.lower().encode() not in heard.lower():
            raise self.stranger(heard, f"{self._contains!r}" if self._contains else "a thermometer's name")
        self.temperature_c()

    def identity(self) -> Identity:
        """Ask the device who it is."""
        answer = self.ask("*IDN?")
        if answer.count(",") < 2:
            raise self.garbled("*IDN?", answer)
        maker, model, serial, firmware = [*(part.strip() for part in answer.split(",", 3)), ""][:4]
        return self.remember(Identity(maker, model, serial, firmware))

    def temperature_c(self) -> float:
        """Read the temperature, in degrees Celsius.

        :raises ProtocolError: the answer is not a number.
        :raises InstrumentFault: the number is no temperature of a room: an open sensor, or another unit.
        """
        answer = self.ask(self._query)
        found = NUMBER.fullmatch(answer)
        if found is None:
            raise self.garbled(self._query, answer)
        celsius = float(found[1]) - (ZERO_C_IN_K if self._unit == "K" else 0.0)
        if not PLAUSIBLE_C[0] <= celsius <= PLAUSIBLE_C[1]:
            raise InstrumentFault(self.name, f"shows {answer!r}", "check the sensor, query and unit")
        return celsius

    def is_idempotent(self, command: str) -> bool:
        """Questions may be repeated."""
        return command.endswith("?")


class ScpiThermometerConfig(VisaConfig):
    """``[thermometer]`` with ``driver = "scpi-thermometer"``."""

    driver: Literal["scpi-thermometer"]
    query: Annotated[str, Field(pattern=r"^[ -~]{1,80}\?[ -~]{0,80}$")] = "MEAS:TEMP?"
    unit: Unit = "C"
    identity_contains: str = ""
    baud_rate: BaudRate = 9600


def _open(config: ScpiThermometerConfig, clock: Clock) -> ScpiThermometer:
    return ScpiThermometer(
        config.resource,
        query=config.query,
        unit=config.unit,
        identity_contains=config.identity_contains,
        baud_rate=config.baud_rate,
        clock=clock,
        visa_library=config.visa_library,
    )


DRIVER = DriverSpec(
    "scpi-thermometer",
    "thermometer",
    ScpiThermometerConfig,
    _open,
    "Any thermometer that speaks SCPI text",
    Support(
        "whatever answers `MEAS:TEMP?`, or another question, in SCPI text with a number",
        "any VISA",
        "simulator, TCP and pseudo-terminal",
        ("no model is named, so `labctl devices` does not find it",),
    ),
)
