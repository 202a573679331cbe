"""Asks the user to put a blank, or the sample again, into the beam; the bench is dark meanwhile."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Literal

from labctl.model.errors import Aborted, ConfigError

_POLL_S = 0.1


def make_insert(
    stop: threading.Event, say: Callable[[str], None]
) -> Callable[[Literal["blank", "sample"]], None]:
    """Return what a sweep calls when it needs a hand: it waits for a line on standard input.

    :param say: shows one line to the user.
    """

    def insert(what: Literal["blank", "sample"]) -> None:
        say(f"put the {what} into the beam (the shutter is closed), then press Enter")
        answer: list[str] = []
        reader = threading.Thread(target=_read_line, args=(answer,), daemon=True)
        reader.start()
        while reader.is_alive():
            if stop.is_set():
                raise Aborted
            reader.join(_POLL_S)
        if not answer or not answer[0]:
            raise ConfigError("nobody confirms the blank", key="--background", hint="run it in a terminal")

    return insert


def _read_line(answer: list[str]) -> None:
    with contextlib.suppress(OSError, ValueError):
        answer.append(sys.stdin.readline())
