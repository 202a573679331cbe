"""The Thorlabs SC10 shutter controller on RS-232.

Every byte is echoed; a carriage return ends a command; a value, if any, follows with a carriage return of
its own; then comes the prompt "> ". ``ens`` toggles. Source: manual 8654-D02, command table. The words of
an error are those public drivers look for, who also say that a bare carriage return is an error; none of it
has been compared with a device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from labctl.model.clock import Clock
from simulators.link import DUE_TOLERANCE_S, Wire
from simulators.registry import Simulator

IDENTITY = "THORLABS SC10 VERSION 1.07"
NOT_DEFINED = "Command error CMD_NOT_DEFINED"
BAD_ARGUMENT = "Command error CMD_ARG_INVALID"
PROMPT = "> "
DONE = "1"
"""Said when settings are stored or recalled: InstrumentKit waits for a line there, and nobody minds one."""
LONGEST_LINE = 64

MANUAL, AUTO, SINGLE, REPEAT, EXTERNAL = 1, 2, 3, 4, 5
LIMITS = {"mode": (1, 5), "trig": (0, 1), "xto": (0, 1), "rep": (1, 99), "baud": (0, 1),
          "open": (0, 999999), "shut": (0, 999999)}  # fmt: skip
FACTORY = {"mode": MANUAL, "trig": 0, "xto": 0, "rep": 1, "baud": 0, "open": 200, "shut": 200}


class Blade(Protocol):
    """The part of the scene that blocks the beam."""

    def command(self, open_: bool) -> float:
        """Start to move; return the time of arrival."""

    def closed_switch(self) -> bool:
        """Return whether the head's sensor sees the blade closed."""


class Sc10(Wire):
    """One controller with one shutter head."""

    def __init__(self, clock: Clock, blade: Blade) -> None:
        super().__init__(clock)
        self.interlock_tripped = False
        self._blade = blade
        self._line = ""
        self._settings = dict(FACTORY)
        self._stored = dict(FACTORY)
        self._enabled = False
        self._next_s: float | None = None
        self._left: int | None = None
        self._actions: dict[str, Callable[[], str]] = {
            "id?": lambda: IDENTITY, "ens": self._toggle, "ens?": lambda: str(int(self._enabled)),
            "closed?": lambda: str(int(self._blade.closed_switch())),
            "interlock?": lambda: str(int(self.interlock_tripped)),
            "save": self._save, "savp": self._save, "resp": self._restore, "default": self._default,
            "?": self._help,
        }  # fmt: skip

    @property
    def baud_rate(self) -> int:  # type: ignore[override]
        """Serial speed now in force."""
        return 115200 if self._settings["baud"] else 9600

    def new_client(self) -> None:
        """Forget a half-received command."""
        self._line = ""

    def trip_interlock(self, tripped: bool) -> None:
        """Open or close the interlock circuit; opening it closes the shutter."""
        self.interlock_tripped = tripped
        if tripped:
            self._disable()

    def receive(self, data: bytes) -> None:
        """Echo every byte as it comes, and carry out each command that is complete."""
        said = []
        for character in data.decode("latin-1"):
            if character == "\r":
                line, self._line = self._line, ""
                value = self._execute(line.strip())
                said.append(f"\r{value}\r{PROMPT}" if value else f"\r{PROMPT}")
            elif character != "\n":
                self._line = (self._line + character)[-LONGEST_LINE:]
                said.append(character)
        self._send("".join(said).encode("latin-1"))

    def due_s(self) -> float | None:
        """Return when the automatic modes next move the blade."""
        return self._next_s

    def wake(self) -> None:
        """Move the blade by itself: single shot, automatic or repeated."""
        assert self._next_s is not None
        if self._next_s - self.clock.now_s() > DUE_TOLERANCE_S:
            return
        if self._open:
            self._move(False)
            if self._left is not None:
                self._left -= 1
            if self._left == 0:
                self._disable()
            else:
                self._next_s += self._settings["shut"] * 1e-3
        else:
            self._move(True)
            self._next_s += self._settings["open"] * 1e-3

    def _execute(self, line: str) -> str:
        """Return the value a command answers, "" for none."""
        if line in self._actions:
            return self._actions[line]()
        if line.endswith("?") and line[:-1] in self._settings:
            return str(self._settings[line[:-1]])
        key, equals, text = line.partition("=")
        if equals and key in LIMITS:
            return self._set(key, text)
        return NOT_DEFINED

    def _set(self, key: str, text: str) -> str:
        low, high = LIMITS[key]
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            return BAD_ARGUMENT
        self._settings[key] = int(text)
        if key == "mode":
            self._disable()
        return ""

    def _toggle(self) -> str:
        if self._enabled:
            self._disable()
        elif not self.interlock_tripped:
            self._enable()
        return ""

    def _enable(self) -> None:
        mode = self._settings["mode"]
        self._enabled = True
        if mode == EXTERNAL or self._settings["trig"]:
            return  # armed: opens when the trigger input rises, and nothing is connected to it
        self._move(True)
        self._left = {SINGLE: 1, REPEAT: self._settings["rep"]}.get(mode)
        if mode != MANUAL:
            self._next_s = self.clock.now_s() + self._settings["open"] * 1e-3

    def _disable(self) -> None:
        self._enabled = False
        self._next_s = self._left = None
        self._move(False)

    _open = False

    def _move(self, open_: bool) -> None:
        if open_ != self._open:
            self._open = open_
            self._blade.command(open_)

    def _save(self) -> str:
        self._stored = dict(self._settings)
        return DONE

    def _restore(self) -> str:
        self._settings = dict(self._stored)
        self._disable()
        return DONE

    def _default(self) -> str:
        self._settings = dict(FACTORY)
        self._disable()
        return DONE

    def _help(self) -> str:
        names = [name for name in self._actions if not name.endswith("?")]
        return "\r".join(
            sorted(names) + [f"{key}=" for key in LIMITS] + ["closed?", "ens?", "id?", "interlock?"]
        )


SIMULATOR = Simulator("thorlabs-sc10", "shutter", lambda scene: Sc10(scene.clock, scene.shutter))
