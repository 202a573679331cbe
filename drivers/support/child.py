"""A child process that is asked by frames, each with a deadline, and killed when it does not answer.

What both sides of the pipe need: the parent's :class:`Child`, and what such a process does first and last.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from labctl.model.clock import SLICE_S, Stop, check_heard, check_stop
from labctl.model.errors import (
    InstrumentError,
    InstrumentFault,
    InstrumentTimeout,
    NotConnected,
    ProtocolError,
)

MAGIC = b"labctl1\n"
PREFIX = struct.Struct("<8sII")
LONGEST_HEADER = 1 << 20
LONGEST_BODY = 1 << 26


class BrokenFrame(Exception):  # noqa: N818  it names what arrived
    """What arrived is no frame."""


def write_frame(stream: IO[bytes], header: Mapping[str, object], body: bytes = b"") -> None:
    """Write one frame and flush it.

    :raises OSError: the other side is gone.
    """
    text = json.dumps(header).encode()
    stream.write(PREFIX.pack(MAGIC, len(text), len(body)) + text + body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame; None at the end of the stream, also in the middle of a frame.

    :raises BrokenFrame: the bytes are none of ours.
    """
    prefix = stream.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    magic, header_size, body_size = PREFIX.unpack(prefix)
    if magic != MAGIC or header_size > LONGEST_HEADER or body_size > LONGEST_BODY:
        raise BrokenFrame(f"not a frame: {prefix!r}")
    text, body = stream.read(header_size), stream.read(body_size)
    if len(text) < header_size or len(body) < body_size:
        return None
    try:
        header = json.loads(text)
    except ValueError as exc:
        raise BrokenFrame(f"not a header: {text[:200]!r}") from exc
    if not isinstance(header, dict):
        raise BrokenFrame(f"not a header: {text[:200]!r}")
    return header, body


ROOT = Path(__file__).resolve().parents[2]
"""Where the four packages lie, in a source tree as in an installation."""
LAST_WORDS = 2000
END_TIMEOUT_S = 2.0
STOPPED_S = 3.0
"""Wall time within which a call that was told to stop must have ended."""

Frame = tuple[dict[str, Any], bytes]


class ChildDied(Exception):  # noqa: N818
    """The process is gone; the text is the end of what it wrote to stderr."""


class ChildHangs(Exception):  # noqa: N818
    """The deadline passed; the process was killed."""


class Child:
    """One process running ``python -m module``; belongs to one thread.

    :raises OSError: it cannot be started.
    """

    def __init__(self, module: str) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError:
            self._errors.close()
            raise
        self._answers: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._number = 0
        self._busy_until = 0.0
        self._stopped = False
        self._reader = threading.Thread(target=self._read, name=f"answers of {module}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        with suppress(OSError, ValueError, BrokenFrame):
            while (frame := read_frame(stream)) is not None:
                self._answers.put(frame)
        self._answers.put(None)

    def call(
        self,
        do: str,
        arguments: dict[str, Any],
        deadline_s: float,
        stop: Stop | None = None,
        hear: Callable[[Any], object] | None = None,
    ) -> Frame:
        """Ask and wait for the answer, up to ``deadline_s`` of wall time.

        An answer still owed to a call that was stopped is waited for first, within that call's deadline.

        :param hear: for a process that tells things before it answers: told each, upon which the deadline
            counts from the beginning. Such a process is told of a stop, too.
        :raises ChildHangs: no answer in time; the process is killed.
        :raises ChildDied: it ended.
        :raises Aborted: ``stop`` was set while waiting, or a stop is heard.
        """
        check_stop(stop)
        end = max(time.monotonic(), self._busy_until) + deadline_s
        self._number += 1
        self._send({"id": self._number, "do": do, "arguments": arguments, "deadline_s": deadline_s})
        self._busy_until = end
        if hear is None:
            return self._answer(end, stop)
        try:
            while "heard" in (frame := self._answer(end, stop))[0]:
                self._busy_until = end = time.monotonic() + deadline_s
                hear(frame[0]["heard"])
        except (ChildHangs, ChildDied):
            raise
        except BaseException:
            with suppress(ChildDied):
                self._send({"stop": self._number})
            self._busy_until, self._stopped = min(end, time.monotonic() + STOPPED_S), True
            raise
        return frame

    def settle(self) -> None:
        """Wait for the answer to a call that was told to stop.

        :raises ChildHangs: it does not hear; the process is killed.
        :raises ChildDied: it ended.
        """
        while self._stopped:
            self._stopped = "heard" in self._answer(self._busy_until, None)[0]

    def _answer(self, end: float, stop: Stop | None) -> Frame:
        while True:
            left = end - time.monotonic()
            try:
                frame = self._answers.get(timeout=min(SLICE_S, max(left, 0.0)))
            except queue.Empty:
                if left <= 0:
                    self.kill()
                    raise ChildHangs from None
                check_stop(stop)
                check_heard()
                continue
            if frame is None:
                raise ChildDied(self._last_words())
            if frame[0].get("id") == self._number:
                if "heard" not in frame[0]:
                    self._busy_until = 0.0
                return frame

    def _send(self, command: dict[str, Any]) -> None:
        stream = self._process.stdin
        try:
            if stream is None or stream.closed:
                raise ChildDied(self._last_words())
            write_frame(stream, command)
        except OSError as exc:
            raise ChildDied(self._last_words()) from exc

    def _last_words(self) -> str:
        self.kill()
        with suppress(OSError, ValueError):
            self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, self._errors.tell() - LAST_WORDS))
            lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            return lines[-1] if lines else f"exit code {self._process.returncode}"
        return ""

    def kill(self) -> None:
        """End the process at once; one that the system itself cannot end is left behind."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)

    def close(self) -> None:
        """Let the process end by itself, kill it if it does not, release everything. Never raises."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT_S if self._busy_until == 0.0 else SLICE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(END_TIMEOUT_S)
        with suppress(OSError):
            if self._process.stdout is not None:
                self._process.stdout.close()
        self._errors.close()


def _environment() -> dict[str, str]:
    """Return an environment in which the child finds the packages this process runs from."""
    environment = dict(os.environ)
    if ROOT.name not in ("site-packages", "dist-packages"):
        paths = [str(ROOT), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


GRACE_S = 5.0
"""How long after the parent's deadline the child ends itself: the parent kills first."""


def private_stdout() -> BinaryIO:
    """Keep the pipe for ourselves, send all other output to stderr, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the whole group
    if sys.platform == "win32":
        import msvcrt

        for stream in (sys.stdin, sys.stdout):
            msvcrt.setmode(stream.fileno(), os.O_BINARY)
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return os.fdopen(pipe, "wb")


def end_within(deadline_s: float) -> None:
    """Have the interpreter's own watchdog, which needs no lock, end this process a little after that."""
    faulthandler.dump_traceback_later(deadline_s + GRACE_S, exit=True)


@contextmanager
def ends_itself(deadline_s: float) -> Iterator[None]:
    """End this process if the block hangs."""
    end_within(deadline_s)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


KINDS = {"timeout": InstrumentTimeout, "fault": InstrumentFault, "protocol": ProtocolError}
"""Kinds of error by the word they travel under; the parent takes another word for ``InstrumentError``."""


def failure(exc: InstrumentError) -> dict[str, object]:
    """Return an error as the header of an answer."""
    if isinstance(exc, NotConnected):
        first = exc.failures[0]
        return {"error": "not_connected", "text": first.reason, "hint": first.hint}
    kind = next((word for word, cls in KINDS.items() if isinstance(exc, cls)), "other")
    return {"error": kind, "text": exc.message.removeprefix(f"{exc.instrument}: "), "hint": exc.hint}
