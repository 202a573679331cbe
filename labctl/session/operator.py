"""Operator that need no person: a simulated bench that does what it is asked, and a script."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from labctl.config.units import typed
from labctl.model.clock import Stop, check_stop
from labctl.model.errors import Aborted, CalibrationRefused, ConfigError, InstrumentError, InstrumentTimeout
from labctl.model.roles import Operator, Request
from labctl.model.untrusted import open_regular

CONNECT_S = 5.0
ANSWER_S = 60.0
SLICE_S = 0.1
LONGEST_ANSWER = 4096
LONGEST_SCRIPT = 100_000
NAME = "operator of the simulated bench"
AGREED = ("", "y", "yes", "done")
REFUSED = ("q", "quit")
_KINDS = {"um": "length", "W": "power"}
_ALSO = {"um": ("mm",), "W": ("mW", "uW")}
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)")


class SimulatedOperator:
    """A simulated bench's own operator: a line of JSON out, ``ok``, ``ok NUMBER`` or ``error TEXT`` back.

    A connection is made for each request, so that nothing is left open.

    :param address: ``127.0.0.1:PORT``; only this computer is spoken to.
    :raises ConfigError: it is no such address.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if host != "127.0.0.1" or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"{address!r} is not an address of this computer", key="bench.hand")
        self._address = (host, int(port))

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Have it done.

        :raises Aborted: ``stop`` was set.
        :raises CalibrationRefused: the bench cannot do it.
        :raises InstrumentError: nobody answers, or nothing that makes sense.
        """
        check_stop(stop)
        message = {"action": request.action, "values": dict(request.values), "number": request.number}
        try:
            with socket.create_connection(self._address, CONNECT_S) as link:
                link.sendall(json.dumps(message).encode("ascii") + b"\n")
                answer = self._line(link, stop)
        except OSError as exc:
            hint = "start labctl simulate again, or remove [bench] hand"
            raise InstrumentError(NAME, f"not reached: {exc}", hint) from exc
        return _meaning(answer, request)

    def _line(self, link: socket.socket, stop: Stop | None) -> str:
        link.settimeout(SLICE_S)
        heard = b""
        for _ in range(round(ANSWER_S / SLICE_S)):
            check_stop(stop)
            try:
                piece = link.recv(LONGEST_ANSWER)
            except TimeoutError:
                continue
            heard += piece
            if b"\n" in heard or not piece or len(heard) > LONGEST_ANSWER:
                return heard.split(b"\n")[0].decode("utf-8", "replace").strip()
        raise InstrumentTimeout(NAME, f"no answer within {ANSWER_S:g} s")


def _meaning(answer: str, request: Request) -> float | None:
    word, _, rest = answer.partition(" ")
    if word == "error":
        raise CalibrationRefused(f"the simulated bench cannot: {rest or request.text}")
    if word != "ok":
        raise InstrumentError(NAME, f"answers {answer[:80]!r}")
    if not (request.number and rest.strip()):
        return None
    match = _NUMBER.fullmatch(rest.strip())
    if match is None:
        raise InstrumentError(NAME, f"answers {answer[:80]!r} where a number was expected")
    return float(match[1])


class ScriptedOperator:
    """Answers out of a list, one to each request, in order.

    An answer is ``done``, the word ``light`` where light follows, a number with or without its unit, or
    ``refuse``; before it may stand the action it
    is meant for (``meter: done``), so that a script that is out of step is noticed. ``...`` as the last one
    agrees to everything that follows. Empty lines and what follows ``#`` do not count.

    :param then: does what was answered with ``done``, such as a simulated bench; None: it is done already.
    """

    def __init__(self, lines: Iterable[str], then: Operator | None = None) -> None:
        stripped = (line.split("#")[0].strip() for line in lines)
        self._answers = [line for line in stripped if line]
        self._then = then
        self._next = 0

    @property
    def left(self) -> Sequence[str]:
        """Answers that nobody has asked for yet."""
        return tuple(self._answers[self._next :])

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Answer with the next line.

        :raises Aborted: the script refuses.
        :raises CalibrationRefused: it has no answer, or one for something else.
        """
        check_stop(stop)
        answer = self._answer(request)
        if answer in ("refuse", *REFUSED):
            raise Aborted
        agreed = answer in AGREED
        if not agreed and answer != request.word and not request.number:
            raise CalibrationRefused(
                f"answer {self._next} is {answer!r}, which does not answer: {request.text}",
                "write done, light (where light follows) or refuse",
            )
        done = None if self._then is None else self._then.do(request, stop)
        if not request.number:
            return None
        if agreed and done is not None:
            return done
        return (
            request.suggested if agreed and request.suggested is not None else number(answer, request.number)
        )

    def _answer(self, request: Request) -> str:
        if self._next >= len(self._answers):
            raise CalibrationRefused(f"no answers left for: {request.text}")
        line = self._answers[self._next]
        if line == "...":
            return "done"
        self._next += 1
        action, colon, answer = line.partition(":")
        if not colon:
            return line.lower()
        if action.strip() != request.action:
            raise CalibrationRefused(
                f"answer {self._next} is for {action.strip()!r}, but the request is {request.action!r}: "
                f"{request.text}"
            )
        return answer.strip().lower()


def understood(request: Request, text: str) -> float | None:
    """Return the number that somebody has typed in answer to a request, None where none was asked for.

    Enter, y, yes and done confirm; where light follows, only its word does; a requested number must be given.

    :raises Aborted: q or quit.
    :raises CalibrationRefused: anything else; nothing was agreed to.
    """
    answer = text.strip().lower()
    if answer in REFUSED:
        raise Aborted
    if request.number:
        if answer in AGREED and request.suggested is not None:
            return request.suggested
        return number(text, request.number)
    if request.word:
        if answer == request.word:
            return None
        raise CalibrationRefused(f"{_shown(text)} is not {request.word!r}: light follows, so type this word")
    if answer in AGREED:
        return None
    raise CalibrationRefused(f"{_shown(text)} is neither yes nor no: press Enter or type y, or q to refuse")


def wanted(request: Request) -> str:
    """Say what a request waits for, as one types it."""
    if request.number:
        units = " or ".join([request.number, *_ALSO.get(request.number, ())])
        default = "" if request.suggested is None else f" [{request.suggested:g}]"
        return (
            f"{'position read' if request.action == 'knife' else 'number'} ({units}){default}, q to refuse: "
        )
    if request.word:
        return f"[type {request.word} when done: light follows; q to refuse] "
    return "[press Enter when done, q to refuse] "


def number(text: str, unit: str) -> float:
    """Read a number in the unit that was asked for, or with another one of its kind.

    :raises CalibrationRefused: it is none.
    """
    try:
        return typed(text, _KINDS.get(unit, "share"), unit)
    except ValueError:
        units = " or ".join([unit, *_ALSO.get(unit, ())])
        raise CalibrationRefused(f"{_shown(text)} is not a number in {units}") from None


def _shown(text: str) -> str:
    return repr(text.strip()[:40]) if text.strip() else "Enter"


def read_answers(path: Path) -> list[str]:
    """Read the lines of a script.

    :raises ConfigError: it cannot be read.
    """
    try:
        with open_regular(path) as stream:
            raw = stream.read(LONGEST_SCRIPT + 1)
        if len(raw) > LONGEST_SCRIPT:
            raise ConfigError(f"is larger than {LONGEST_SCRIPT} bytes: too large for a script", file=path)
        return raw.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}", file=path) from exc
