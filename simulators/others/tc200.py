"""The Thorlabs TC200 heater controller on its USB serial port, 115200 baud 8N1.

Every byte is echoed; a carriage return ends a command; an answer follows with a carriage return of its own;
then comes the prompt "> ". ``stat?`` alone answers without that carriage return: two hexadecimal digits, a
space and the prompt. ``ens`` toggles the output and is refused while the sensor is open. Source: what public
drivers of this controller say of it (InstrumentKit, QMI), who cite Thorlabs' manual; none of it has been
compared with a device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from labctl.model.clock import Clock
from simulators.link import Wire
from simulators.registry import Simulator
from simulators.scene import Scene

IDENTITY = "THORLABS TC200 VERSION 2.0"
NOT_DEFINED = "Command error CMD_NOT_DEFINED\n"
BAD_ARGUMENT = "Command error CMD_ARG_RANGE_ERR\n"
PROMPT = "> "
LONGEST_LINE = 64
LEAST_C, MOST_C, MOST_LIMIT_C = 20.0, 200.0, 205.0
ENABLED, CELSIUS, ALARM = 0x01, 0x10, 0x40
"""Bits of the status; those of the mode and of the sensor stay 0: constant temperature, a thermistor."""


class Plate(Protocol):
    """The part of the scene that warms the sample; times in seconds of the scene's clock."""

    sensor_open: bool

    def heat(self, target_c: float | None) -> None:
        """Begin to hold a temperature; None: to cool down to the room's."""

    def read_c(self, at_s: float) -> float:
        """Return what its sensor shows."""


class Tc200(Wire):
    """One controller with one heater and its thermistor."""

    baud_rate = 115200

    def __init__(self, clock: Clock, plate: Plate) -> None:
        super().__init__(clock)
        self._plate = plate
        self._line = ""
        self._set_c, self._limit_c, self._enabled = 20.0, MOST_LIMIT_C, False
        self._actions: dict[str, Callable[[], str]] = {
            "id?": lambda: IDENTITY,
            "*idn?": lambda: IDENTITY,
            "tact?": lambda: f"{self._shown_c():.1f} C",
            "tset?": lambda: f"{self._set_c:.1f} Celsius",
            "tmax?": lambda: f"{self._limit_c:.1f}",
            "sns?": lambda: "Sensor = NTC10K, Beta = 3988",
            "ens": self._toggle,
        }

    def new_client(self) -> None:
        """Forget a half-received command; the output stays as it is."""
        self._line = ""

    def receive(self, data: bytes) -> None:
        """Echo every byte as it comes, and carry out each command that is complete."""
        said = []
        for character in data.decode("latin-1"):
            if character == "\r":
                line, self._line = self._line.strip(), ""
                said.append("\r" + self._answer(line))
            elif character != "\n":
                self._line = (self._line + character)[-LONGEST_LINE:]
                said.append(character)
        self._send("".join(said).encode("latin-1"))

    def _answer(self, line: str) -> str:
        self._watch_sensor()
        if line == "stat?":
            return f"{self._status():x} {PROMPT}"
        value = self._execute(line)
        return f"{value}\r{PROMPT}" if value else PROMPT

    def _execute(self, line: str) -> str:
        if line in self._actions:
            return self._actions[line]()
        key, equals, text = line.partition("=")
        if not equals or key not in ("tset", "tmax"):
            return NOT_DEFINED
        try:
            number = round(float(text), 1)
        except ValueError:
            return BAD_ARGUMENT
        if key == "tmax":
            return self._set_limit(number)
        if not LEAST_C <= number <= min(self._limit_c, MOST_C):
            return BAD_ARGUMENT
        self._set_c = number
        self._apply()
        return ""

    def _set_limit(self, number: float) -> str:
        if not LEAST_C <= number <= MOST_LIMIT_C:
            return BAD_ARGUMENT
        self._limit_c = number
        self._set_c = min(self._set_c, number)
        self._apply()
        return ""

    def _toggle(self) -> str:
        if not self._enabled and self._plate.sensor_open:
            return BAD_ARGUMENT
        self._enabled = not self._enabled
        self._apply()
        return ""

    def _apply(self) -> None:
        self._plate.heat(self._set_c if self._enabled else None)

    def _watch_sensor(self) -> None:
        """An open sensor switches the output off: the controller would heat without knowing how far."""
        if self._plate.sensor_open and self._enabled:
            self._enabled = False
            self._apply()

    def _shown_c(self) -> float:
        return -273.1 if self._plate.sensor_open else self._plate.read_c(self.clock.now_s())

    def _status(self) -> int:
        return ENABLED * self._enabled | CELSIUS | ALARM * self._plate.sensor_open


def _under_the_sample(scene: Scene) -> Tc200:
    if scene.plate is None:
        raise ValueError("this scene has no heater")
    return Tc200(scene.clock, scene.plate)


SIMULATOR = Simulator("thorlabs-tc200", "heater", _under_the_sample)
