"""A person at the terminal who does what is asked: Enter is done, a number where one is asked, q refuses."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from labctl.model.clock import Stop, check_stop
from labctl.model.errors import Aborted, CalibrationRefused
from labctl.model.hands import Hands, Request
from labctl.session.hands import number

POLL_S = 0.1
_PIECE = 4096


class TerminalHands:
    """Asks on a stream, and listens on the standard input without holding up Ctrl-C.

    :param out: where questions go.
    :param read: returns the next bytes of the input, empty at its end; may wait for ever.
    """

    def __init__(self, out: TextIO, read: Callable[[], bytes] | None = None) -> None:
        self._out = out
        self._read = read or _read_stdin
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._wanted = threading.Semaphore(0)
        self._reader: threading.Thread | None = None

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Ask, and wait for the answer.

        :raises Aborted: it is refused, or ``stop`` was set.
        :raises CalibrationRefused: the input has ended.
        """
        wanted = f"type the number in {request.number}" if request.number else "press Enter when it is done"
        self._say(f">>> {request.text}\n    [{wanted}, q refuses] ")
        while True:
            answer = self._line(stop).strip()
            if answer.lower() in ("q", "quit"):
                raise Aborted
            if not request.number:
                return None
            try:
                return number(answer, request.number)
            except CalibrationRefused as exc:
                self._say(f"    {exc.message}; once more: ")

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
                raise CalibrationRefused(
                    "nobody answers: the input has ended", "use --answers FILE in a script"
                )
            return line

    def _listen(self) -> None:
        """Read one line for each that is wanted; on the bare descriptor, so that no lock is held at exit."""
        heard = b""
        while True:
            self._wanted.acquire()
            while b"\n" not in heard:
                piece = self._read()
                if not piece:
                    self._lines.put(None)
                    return
                heard += piece
            line, _, heard = heard.partition(b"\n")
            self._lines.put(line.decode("utf-8", "replace"))

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._out.write(text)
            self._out.flush()


class ToldHands:
    """Says on a stream what others do by themselves."""

    def __init__(self, hands: Hands, out: TextIO) -> None:
        self._hands, self._out = hands, out

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Say it, and have it done."""
        with contextlib.suppress(OSError, ValueError):
            self._out.write(f">>> {request.text}\n")
            self._out.flush()
        return self._hands.do(request, stop)


def _read_stdin() -> bytes:
    try:
        return os.read(sys.stdin.fileno(), _PIECE)
    except (OSError, ValueError):
        return b""
