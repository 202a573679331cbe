"""Asks the user to put a blank, or the sample again, into the beam; the bench is dark meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from labctl.model.errors import CalibrationRefused, ConfigError
from labctl.model.operator import LIGHT, Request


class _Lines:
    """Takes text for a display that shows whole lines."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def write(self, text: str, /) -> None:
        """Show it as one line."""
        self._say(" ".join(text.split()))

    def flush(self) -> None:
        """Nothing is held back."""


def make_insert(
    stop: threading.Event, say: Callable[[str], None]
) -> Callable[[Literal["blank", "sample"]], None]:
    """Return what a sweep calls when it needs a hand: it waits for a line on standard input.

    :param say: shows one line to the user.
    """
    from labctl.cli.terminal_operator import TerminalOperator

    operator = TerminalOperator(_Lines(say))

    def insert(what: Literal["blank", "sample"]) -> None:
        text = f"Put the {what} into the beam (the shutter is closed)."
        try:
            operator.do(Request("sample", text, {"in": what == "sample"}, word=LIGHT), stop)
        except CalibrationRefused as exc:
            raise ConfigError(
                "nobody confirms the blank", key="--background", hint="run it in a terminal"
            ) from exc

    return insert
