"""A thermometer that speaks plain SCPI text: no particular make, only what the standards lay down.

Lines end with LF, CR before it is ignored. Source: IEEE 488.2 (``*IDN?``, ``*CLS``, ``*RST``) and SCPI-99
(``MEASure:TEMPerature?``, ``SYSTem:ERRor?``). A header nobody knows is not answered: the error is queued.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

from simulators.link import Wire
from simulators.registry import Simulator
from simulators.scene import Scene
from simulators.scene.sensors import Thermometer

LONGEST_LINE = 256
MOST_ERRORS = 16
UNDEFINED = '-113,"Undefined header"'
OVERFLOW = '-350,"Queue overflow"'

_KNOWN = (
    (r"\*IDN\?", "identity"),
    (r":?MEAS(URE)?(:SCAL(AR)?)?:TEMP(ERATURE)?\?", "temperature"),
    (r":?SYST(EM)?:ERR(OR)?(:NEXT)?\?", "error"),
    (r"\*(CLS|RST)", "clear"),
)


class ScpiThermometer(Wire):
    """Answers one line with one line."""

    def __init__(self, scene: Scene, sensor: Thermometer) -> None:
        super().__init__(scene.clock)
        self._sensor = sensor
        self._rest = ""
        self._errors: deque[str] = deque()
        self._actions: dict[str, Callable[[], str]] = {
            "identity": lambda: f"LABCTL SIMULATION,RTD-1,{sensor.serial},1.0",
            "temperature": lambda: f"{sensor.read_c(self.clock.now_s()):+.4E}",
            "error": lambda: self._errors.popleft() if self._errors else '0,"No error"',
            "clear": self._clear,
        }

    def new_client(self) -> None:
        """Forget half a line."""
        self._rest = ""

    def receive(self, data: bytes) -> None:
        """Take bytes and answer every line they complete."""
        *lines, rest = (self._rest + data.decode("latin-1")).split("\n")
        self._rest = rest[-LONGEST_LINE:]
        for line in lines:
            reply = self._answer(line.strip().upper())
            if reply:
                self._send(f"{reply}\n".encode("ascii"))

    def _answer(self, line: str) -> str:
        if not line:
            return ""
        for pattern, name in _KNOWN:
            if re.fullmatch(pattern, line):
                return self._actions[name]()
        if len(self._errors) < MOST_ERRORS:
            self._errors.append(UNDEFINED)
        else:
            self._errors[-1] = OVERFLOW
        return ""

    def _clear(self) -> str:
        self._errors.clear()
        return ""


def _beside_the_sample(scene: Scene) -> ScpiThermometer:
    if scene.thermometer is None:
        raise ValueError("this scene has no thermometer")
    return ScpiThermometer(scene, scene.thermometer)


SIMULATOR = Simulator("scpi-thermometer", "thermometer", _beside_the_sample)
