"""The watchdog's own process: it listens, and acts only when the main process is dead.

``python -m labctl.session.watchdog.child`` with a pipe on standard input. It opens neither an instrument nor
a file while the main process lives, and trusts nothing but its pipe. The end of the pipe without a farewell
means that the main process was killed; silence while light may pass, that it is frozen: then it is killed
first, and its end waited for, so that never two processes talk to one device.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from labctl.model.clock import Clock, ScaledClock
from labctl.session.watchdog.wire import Assignment, Lines, assignment_of, busy_s, decode, encode

POLL_S = 0.5
SECOND_LOOK_S = 0.2
FAREWELL_S = 1.0
"""How long a process that closed its pipe without a farewell may take to end by itself."""
KILL_S = 2.0
ENDED_POLL_S = 0.01
OVERSLEPT_S = 0.5
"""A wait that took this much longer than asked says that the watchdog itself was stopped or starved."""

Message = dict[str, Any]
Inbox = queue.SimpleQueue[Message | None]
Answer = Callable[[Mapping[str, object]], None]


class WatchdogTimer:
    """Signs of life, owed only while light may pass.

    While the shutter is confirmed closed silence harms nobody, and a notebook may be left alone for hours.

    :param limit_s: longest silence, in wall seconds, beyond what was announced.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._due_s = math.inf
        self.referenced = False

    @property
    def lit(self) -> bool:
        """Whether light may pass, as far as was told."""
        return math.isfinite(self._due_s)

    @property
    def due_s(self) -> float:
        """Time by which the next sign of life is owed; infinite in the dark."""
        return self._due_s

    def hear(self, message: Mapping[str, Any], now_s: float) -> dict[str, object] | None:
        """Take a message; return the answer it wants, if any. Unknown words are no sign of life."""
        say = message["say"]
        if say == "lit" or (say == "beat" and self.lit):
            self._due_s = now_s + busy_s(message) + self._limit_s
        elif say == "dark":
            self._due_s = math.inf
        elif say == "referenced":
            self.referenced = message.get("value") is True
        if say == "ping":  # asked by a thread of its own: no sign of life
            return {"say": "pong"}
        return {"say": "ok", "n": message.get("n")} if say == "lit" and "n" in message else None

    def overdue(self, now_s: float) -> bool:
        """Return whether the silence has lasted too long."""
        return now_s >= self._due_s

    def waited(self, asked_s: float, took_s: float, now_s: float) -> None:
        """Grant the whole limit anew after a wait in which the watchdog itself did not run."""
        if self.lit and took_s - asked_s > OVERSLEPT_S:
            self._due_s = max(self._due_s, now_s + self._limit_s)


class MainProcess:
    """The main process, known by its number and start, so that no stranger with its number is ever killed.

    Make it while the process lives: numbers are used again.
    """

    def __init__(self, pid: int) -> None:
        import psutil  # takes a moment; the pipe is listened to by now

        self._errors, self._zombie = psutil.Error, psutil.STATUS_ZOMBIE
        self._process: psutil.Process | None = None
        with suppress(psutil.Error):
            self._process = psutil.Process(pid)

    def is_alive(self) -> bool:
        """Return whether it still runs."""
        with suppress(self._errors):
            process = self._process
            return process is not None and process.is_running() and process.status() != self._zombie
        return False

    def kill(self) -> None:
        """End it at once; no effect when it has ended."""
        with suppress(self._errors):
            if self._process is not None:
                self._process.kill()


def ended(process: MainProcess, within_s: float, clock: Clock | None = None) -> bool:
    """Wait for the end of a process; False when it still lives after ``within_s`` of wall time."""
    clock = clock or ScaledClock()
    end_s = clock.now_s() + within_s
    while process.is_alive():
        if clock.now_s() > end_s:
            return False
        clock.sleep(ENDED_POLL_S)
    return True


def listen(inbox: Inbox, leave: Callable[[], None], stdin: int = 0) -> None:
    """Put every message into the inbox, None at the end; a farewell ends the process at once, always."""
    lines = Lines()
    while True:
        try:
            data = os.read(stdin, 65536)
        except OSError:
            data = b""
        if not data:
            inbox.put(None)
            return
        for message in filter(None, map(decode, lines.feed(data))):
            if message["say"] == "done":
                leave()
                return
            inbox.put(message)


def watch(
    inbox: Inbox,
    timer: WatchdogTimer,
    main: MainProcess,
    answer: Answer,
    now_s: Callable[[], float] = time.monotonic,
) -> str:
    """Listen until there is a reason to act, and return it; the main process has ended by then."""
    suspected = False
    while True:
        asked_s = SECOND_LOOK_S if suspected else max(min(POLL_S, timer.due_s - now_s()), 0.0)
        before_s = now_s()
        try:
            message = inbox.get(timeout=asked_s)
        except queue.Empty:
            timer.waited(asked_s, now_s() - before_s, now_s())
        else:
            if message is None:
                return _closed_pipe(main)
            if message["say"] == "rescue":  # all connections of the main process are closed
                return "NOT MADE SAFE yet, block the beam: the program failed to and has disconnected"
            _hear(message, timer, answer, now_s())
            continue
        if not main.is_alive():
            return "the main process ended unexpectedly"
        overdue = timer.overdue(now_s())
        if overdue and suspected:
            return _silent(main)
        suspected = overdue  # look twice: what the pipe held while this process itself slept comes first


def _hear(message: Message, timer: WatchdogTimer, answer: Answer, now_s: float) -> None:
    reply = timer.hear(message, now_s)
    if reply is not None:
        answer(reply)


def _silent(main: MainProcess) -> str:
    main.kill()
    gone = "it was ended" if ended(main, KILL_S) else "it was asked to end but has not yet"
    return f"the main process stopped responding while light could pass; {gone}"


def _closed_pipe(main: MainProcess) -> str:
    if ended(main, FAREWELL_S):
        return "the main process ended unexpectedly"
    main.kill()
    ended(main, KILL_S)
    return "the main process closed the pipe unexpectedly and was ended"


def serve(inbox: Inbox, answer: Answer) -> int:
    """Take the assignment, prepare, watch, act; return the exit code, 0 when the bench is safe."""
    assignment = _assignment(inbox)
    if assignment is None:
        return 0
    main = MainProcess(assignment.pid)
    timer = WatchdogTimer(assignment.limit_s)
    make_safe: Callable[..., list[Exception]] | None
    try:
        from labctl.session.watchdog.rescue import Rescue  # heavy, and now is the time for it

        make_safe, trouble = Rescue(assignment).make_safe, ""
    except Exception as exc:  # noqa: BLE001  the main process is told, and opens no shutter
        make_safe, trouble = None, f"{type(exc).__name__}: {exc}"
    from labctl.session.watchdog.report import report

    answer({"say": "armed", "trouble": trouble})
    reason = watch(inbox, timer, main, answer)
    code = report(
        assignment,
        reason,
        make_safe,
        trouble,
        referenced=timer.referenced,
        hear=(lambda line: answer({"say": "said", "text": line})) if main.is_alive() else None,
    )
    with suppress(Exception):  # a file left behind is believed only as far as its processes live
        from labctl.session.watchdog.registry import forget

        forget(*(str(table["resource"]) for table in (assignment.shutter, assignment.attenuator)))
    return code


def _assignment(inbox: Inbox) -> Assignment | None:
    message = inbox.get()
    if message is None:
        return None
    try:
        return assignment_of(message)
    except ValueError:
        return None


def _answer(message: Mapping[str, object]) -> None:
    with suppress(OSError):
        os.write(1, encode(message))


def _ignore_signals() -> None:
    """Whatever asks the main process to end must not end its watchdog first."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGPIPE"):
        if hasattr(signal, name):
            with suppress(OSError, ValueError):
                signal.signal(getattr(signal, name), signal.SIG_IGN)


def _leave() -> None:
    os._exit(0)


def main() -> None:
    """Run until the farewell, or until the bench is safe."""
    _ignore_signals()
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=listen, args=(inbox, _leave), name="listen", daemon=True).start()
    code = 1
    try:
        code = serve(inbox, _answer)
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)  # a step that hangs in a thread must not keep the process


if __name__ == "__main__":
    main()
