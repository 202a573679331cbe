"""``labctl`` in processes of its own, as at a bench, and the truth asked of the simulated instruments."""

from __future__ import annotations

import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from labctl.runner.fit_process import child_environment

ANSWER_S = 20.0


def labctl(*words: object) -> list[str]:
    """Return the words that start labctl."""
    return [sys.executable, "-m", "labctl", *map(str, words)]


def started(command: list[str], **streams: IO[str] | int | None) -> subprocess.Popen[str]:
    """Start a program that finds this very labctl."""
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **streams}
    return subprocess.Popen(command, text=True, env=child_environment(), **more)  # type: ignore[call-overload, no-any-return]


def ended(command: list[str], limit_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    :raises subprocess.TimeoutExpired: it does not end in time.
    """
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=limit_s, env=child_environment(),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def until_word(stream: IO[str] | None, word: str) -> str:
    """Read until a line has a word in it; return that line.

    :raises RuntimeError: the program ended before.
    """
    assert stream is not None
    heard = []
    for text in stream:
        heard.append(text)
        if word in text:
            return text
    raise RuntimeError(f"the program ended before it said {word!r}: {''.join(heard)}")


@contextmanager
def simulated(file: Path, speed: float, *more: str) -> Iterator[Path]:
    """Serve a simulated bench from a process of its own."""
    command = labctl("simulate", "--speed", f"{speed:g}", "--bench-file", file, "--until-eof", *more)
    with started(command, stdin=subprocess.PIPE, stdout=None, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            until_word(process.stderr, "serving")
            yield file
        finally:
            process.stdin.close()


class WireTruth:
    """Asks the simulated instruments themselves, over connections of our own."""

    def __init__(self, bench_file: Path) -> None:
        table = tomllib.loads(bench_file.read_text(encoding="utf-8"))
        self._shutter, self._mount = table["shutter"]["resource"], table["attenuator"]["resource"]
        self._zero_deg = float(table["pump"]["attenuator_curve"]["zero_deg"])
        self._turn = int(_ask(self._mount, b"0in", b"\n")[-8:], 16)

    def closed(self) -> bool:
        """Whether the shutter is closed, and was told to be."""
        told = _ask(self._shutter, b"closed?\r", b"> ")
        commanded = _ask(self._shutter, b"ens?\r", b"> ")
        return b"\r1\r" in told and b"\r0\r" in commanded

    def least_light(self) -> bool:
        """Whether the attenuator is at its lowest transmission."""
        frame = _ask(self._mount, b"0gp", b"\n")
        if not frame.startswith(b"0PO"):
            return False
        angle = int(frame[3:], 16) * 360.0 / self._turn
        return abs((angle - self._zero_deg) % 90.0 - 45.0) < 0.5


def _ask(resource: str, question: bytes, until: bytes) -> bytes:
    host, port = resource.split("::")[1:3]
    with socket.create_connection((host, int(port)), ANSWER_S) as connection:
        connection.settimeout(ANSWER_S)
        connection.sendall(question)
        heard = b""
        while not heard.endswith(until):
            data = connection.recv(64)
            if not data:
                raise OSError("the simulator closed the connection")
            heard += data
        return heard.strip()
