"""A person at the terminal who does what is asked: Enter is done, a word where light follows, q refuses.

What was typed before a question stood there answers nothing: at a terminal it is thrown away. Lines out of a
pipe answer one question each, in their order.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Literal, Protocol, TextIO

from labctl.model.clock import Stop, check_stop
from labctl.model.errors import CalibrationRefused, ConfigError
from labctl.model.roles import LIGHT, Operator, Request
from labctl.session.operator import understood, wanted

log = logging.getLogger(__name__)

POLL_S = 0.1
_PIECE = 4096


class Out(Protocol):
    """Where questions go."""

    def write(self, text: str, /) -> object:
        """Show text."""

    def flush(self) -> None:
        """Show it now."""


class TerminalOperator:
    """Asks on a stream, and listens on the standard input without holding up Ctrl-C.

    :param out: where questions go.
    :param read: returns the next bytes of the input, empty at its end; may wait for ever.
    :param forget: throws away what was typed and not read yet; returns whether a person types there.
    """

    def __init__(
        self,
        out: Out,
        read: Callable[[], bytes] | None = None,
        forget: Callable[[], bool] | None = None,
    ) -> None:
        self._out = out
        self._read = read or _read_stdin
        self._forget = forget or (_no_person if read else forget_typed)
        self._heard = b""
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._wanted = threading.Semaphore(0)
        self._reader: threading.Thread | None = None

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Ask, and wait for the answer.

        :raises Aborted: it is refused, or ``stop`` was set.
        :raises CalibrationRefused: the input has ended.
        """
        text = f">>> {request.text}\n    {wanted(request)}"
        while True:
            if self._forget():
                self._heard = b""
            self._say(text)
            answer = self._line(stop)
            try:
                return understood(request, answer)
            except CalibrationRefused as exc:
                text = f"    {exc.message}; again: "

    def _line(self, stop: Stop | None) -> str:
        if self._reader is None:
            self._reader = threading.Thread(target=self._listen, name="terminal", daemon=True)
            self._reader.start()
        self._wanted.release()
        while True:
            check_stop(stop)
            try:
                line = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if line is None:
                raise CalibrationRefused("no answer: the input has ended", "use --answers FILE in a script")
            return line

    def _listen(self) -> None:
        """Read one line for each that is wanted; on the bare descriptor, so that no lock is held at exit."""
        while True:
            self._wanted.acquire()
            while b"\n" not in self._heard:
                piece = self._read()
                if not piece:
                    self._lines.put(None)
                    return
                self._heard += piece
            line, _, self._heard = self._heard.partition(b"\n")
            self._lines.put(line.decode("utf-8", "replace"))

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._out.write(text)
            self._out.flush()


class ToldOperator:
    """Says on a stream what others do by themselves."""

    def __init__(self, operator: Operator, out: TextIO) -> None:
        self._operator, self._out = operator, out

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Say it, and have it done."""
        with contextlib.suppress(OSError, ValueError):
            self._out.write(f">>> {request.text}\n")
            self._out.flush()
        return self._operator.do(request, stop)


def _read_stdin() -> bytes:
    try:
        return os.read(sys.stdin.fileno(), _PIECE)
    except (OSError, ValueError):
        return b""


def _no_person() -> bool:
    return False


def forget_typed() -> bool:
    """Throw away what was typed at the terminal and not read yet; return whether the input is one."""
    try:
        if not sys.stdin.isatty():
            return False
        if sys.platform == "win32":
            import msvcrt

            while msvcrt.kbhit():
                msvcrt.getwch()
        else:
            import termios

            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (OSError, ValueError, AttributeError):  # no descriptor: nobody types
        return False
    except Exception as exc:  # noqa: BLE001  termios.error is none of the above
        log.warning("earlier input could not be discarded: %s", exc)
    return True


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

    operator = TerminalOperator(_Lines(say))

    def insert(what: Literal["blank", "sample"]) -> None:
        text = f"Put the {what} into the beam (the shutter is closed)."
        try:
            operator.do(Request("sample", text, {"in": what == "sample"}, word=LIGHT), stop)
        except CalibrationRefused as exc:
            raise ConfigError(
                "no operator to confirm the blank", key="--background", hint="run it in a terminal"
            ) from exc

    return insert
