"""Thorlabs TC200 heater controller on its USB serial port.

115200 baud 8N1. The controller echoes each command, then sends the answer and the prompt ``"> "``. ``ens``
toggles the output, so the state is asked before and after it. ``tmax`` is the controller's own limit: it
is set to that of the bench file at connect, so that the controller refuses more whoever asks. Source: what
public drivers of this controller say of it (InstrumentKit, QMI). Tried on a simulator only.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pymeasure.adapters import Adapter

from drivers.support.session import Port
from drivers.support.spec import BaudRate, DriverSpec, Probe, Support, VisaConfig
from drivers.support.visa import VisaInstrument
from labctl.model.clock import Clock
from labctl.model.errors import InstrumentFault
from labctl.model.records import Identity

LEAST_C, MOST_C = 20.0, 200.0
"""Set points that the controller takes."""
STEP_C = 0.051
"""It keeps one decimal."""
ENABLED, ALARM = 0x01, 0x40
GREETING_TIMEOUT_S = 1.0
OPEN_SENSOR = "its temperature sensor is open or missing: it does not heat"


class ThorlabsTC200(VisaInstrument):
    """Heater controller TC200.

    :param adapter: VISA resource, e.g. ``"ASRL7::INSTR"``.
    :param max_temperature_c: more is refused, here and by the controller.
    :raises NotConnected: no TC200 answers at the address.
    """

    port = Port(baud_rate=115200, read_termination=">", write_termination="\r", timeout_s=0.5)

    def __init__(
        self,
        adapter: str | Adapter,
        *,
        max_temperature_c: float,
        baud_rate: int | None = None,
        clock: Clock | None = None,
        visa_library: str = "@py",
        role: str = "heater",
    ) -> None:
        super().__init__(adapter, role, clock, visa_library, baud_rate)
        self._max_c = max_temperature_c
        self.greet(self._check_device)

    def _check_device(self) -> None:
        self.expect_model("id?", "TC200", b">", GREETING_TIMEOUT_S)
        if self._asked("tmax?") > self._max_c + STEP_C:
            self._tell("tmax", self._max_c)

    @property
    def temperature_range_c(self) -> tuple[float, float]:
        """Lowest and highest temperature that may be asked for, degrees Celsius."""
        return LEAST_C, min(self._max_c, MOST_C)

    def identity(self) -> Identity:
        """Ask the controller who it is; it has no serial number to tell."""
        words = self.ask("id?").split()
        return self.remember(Identity("Thorlabs", "TC200", "", words[-1] if len(words) > 1 else ""))

    def temperature_c(self) -> float:
        """Read the temperature of the sensor, in degrees Celsius.

        :raises InstrumentFault: the sensor is open, or shows another unit.
        """
        self._refuse_open_sensor()
        return self._asked("tact?")

    def is_heating(self) -> bool:
        """Ask whether the output is on."""
        return bool(self._status() & ENABLED)

    def hold(self, temperature_c: float) -> None:
        """Hold a temperature from now on; the set point is read back, and the output confirmed.

        :raises InstrumentFault: it is out of range, the sensor is open, or the controller does not obey.
        """
        low, high = self.temperature_range_c
        if not low <= temperature_c <= high:
            raise InstrumentFault(
                self.name, f"{temperature_c:g} C is outside {low:g} to {high:g} C", "see max_temperature_c"
            )
        self._refuse_open_sensor()
        self._tell("tset", temperature_c)
        self._switch(on=True)

    def off(self) -> None:
        """Switch the output off and have that confirmed.

        :raises InstrumentFault: it stays on.
        """
        self._switch(on=False)

    def _refuse_open_sensor(self) -> None:
        if self._status() & ALARM:
            raise InstrumentFault(self.name, OPEN_SENSOR, "check the sensor's cable")

    def _switch(self, *, on: bool) -> None:
        for _ in range(2):
            if self.is_heating() == on:
                return
            self.ask("ens")
        if self.is_heating() != on:
            word = "on" if on else "off"
            raise InstrumentFault(self.name, f"does not switch {word}", "use the switch at its panel")

    def _tell(self, key: str, value_c: float) -> None:
        """Set a temperature and read it back."""
        self.ask(f"{key}={value_c:.1f}")
        kept = self._asked(f"{key}?")
        if abs(kept - value_c) > STEP_C:
            raise InstrumentFault(self.name, f"keeps {key} at {kept:g} C instead of {value_c:g} C")

    def _asked(self, question: str) -> float:
        """Ask for a temperature; it comes in Celsius.

        :raises ProtocolError: the answer is no temperature.
        :raises InstrumentFault: it is in another unit.
        """
        answer = self.ask(question)
        number, *unit = answer.split()
        if unit and not unit[0].upper().startswith("C"):
            raise InstrumentFault(self.name, f"shows {answer!r}", "set its unit to Celsius at the panel")
        try:
            return float(number)
        except ValueError:
            raise self.garbled(question, answer) from None

    def _status(self) -> int:
        """Ask for the status byte, two hexadecimal digits."""
        answer = self.ask("stat?")
        try:
            return int(answer, 16)
        except ValueError:
            raise self.garbled("stat?", answer) from None

    def reply(self) -> str:
        """Read up to the prompt, take the echo off and return the answer."""
        sent = self._sent
        text = super().reply()
        value = self.without_echo(sent, text)
        if not value and sent.endswith("?"):
            raise self.garbled(sent, text)
        return value

    def is_idempotent(self, command: str) -> bool:
        """Questions and settings may be repeated; ``ens`` may not."""
        return command != "ens"


class ThorlabsTC200Config(VisaConfig):
    """``[heater]`` with ``driver = "thorlabs-tc200"``.

    :param max_temperature_c: highest set point, degrees Celsius; no default, for samples differ.
    """

    driver: Literal["thorlabs-tc200"]
    max_temperature_c: Annotated[float, Field(ge=LEAST_C, le=MOST_C)]
    baud_rate: BaudRate = 115200


def _open(config: ThorlabsTC200Config, clock: Clock) -> ThorlabsTC200:
    return ThorlabsTC200(
        config.resource,
        max_temperature_c=config.max_temperature_c,
        baud_rate=config.baud_rate,
        clock=clock,
        visa_library=config.visa_library,
    )


DRIVER = DriverSpec(
    "thorlabs-tc200",
    "heater",
    ThorlabsTC200Config,
    _open,
    "Thorlabs TC200 heater controller",
    Support(
        "Thorlabs TC200 heater controller", "serial (USB) 115200 8N1", "simulator, TCP and pseudo-terminal"
    ),
    (Probe(b"id?\r", r"(?s)id\?\r(?:THORLABS )?(?P<model>TC200).*", b">", 115200),),
)
