"""The watchdog's own process: it listens, and acts only when the main process is dead.

``python -m labctl.session.watchdog_child`` with a pipe on standard input. It opens neither an instrument nor
a file while the main process lives, and trusts nothing but its pipe. The end of the pipe without a farewell
means that the main process was killed; silence while light may pass, that it is frozen: then it is killed
first, and its end waited for, so that never two processes talk to one device.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from labctl.session.watchdog_process import MainProcess, ended, main_process
from labctl.session.watchdog_vigil import Vigil
from labctl.session.watchdog_wire import Assignment, Lines, assignment_of, decode, encode

if TYPE_CHECKING:
    from labctl.session.watchdog_report import Rescuer

POLL_S = 0.5
SECOND_LOOK_S = 0.2
FAREWELL_S = 1.0
"""How long a process that closed its pipe without a farewell may take to end by itself."""
KILL_S = 2.0

Message = dict[str, Any]
Inbox = queue.SimpleQueue[Message | None]
Answer = Callable[[Mapping[str, object]], None]


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
    vigil: Vigil,
    main: MainProcess,
    answer: Answer,
    now_s: Callable[[], float] = time.monotonic,
) -> str:
    """Listen until there is a reason to act, and return it; the main process has ended by then."""
    suspected = False
    while True:
        asked_s = SECOND_LOOK_S if suspected else max(min(POLL_S, vigil.due_s - now_s()), 0.0)
        before_s = now_s()
        try:
            message = inbox.get(timeout=asked_s)
        except queue.Empty:
            vigil.waited(asked_s, now_s() - before_s, now_s())
        else:
            if message is None:
                return _closed_pipe(main)
            if message["say"] == "rescue":  # all connections of the main process are closed
                return "NOT MADE SAFE yet, block the beam: the program could not and has let go"
            _hear(message, vigil, answer, now_s())
            continue
        if not main.is_alive():
            return "the main process has ended without a farewell"
        overdue = vigil.overdue(now_s())
        if overdue and suspected:
            return _silent(main)
        suspected = overdue  # look twice: what the pipe held while this process itself slept comes first


def _hear(message: Message, vigil: Vigil, answer: Answer, now_s: float) -> None:
    reply = vigil.hear(message, now_s)
    if reply is not None:
        answer(reply)


def _silent(main: MainProcess) -> str:
    main.kill()
    gone = "it was ended" if ended(main, KILL_S) else "it was told to end, and has not yet"
    return f"the main process gave no sign of life while light could pass; {gone}"


def _closed_pipe(main: MainProcess) -> str:
    if ended(main, FAREWELL_S):
        return "the main process has ended without a farewell"
    main.kill()
    ended(main, KILL_S)
    return "the main process closed the pipe without a farewell and was ended"


def serve(inbox: Inbox, answer: Answer) -> int:
    """Take the assignment, prepare, watch, act; return the exit code, 0 when the bench is safe."""
    assignment = _assignment(inbox)
    if assignment is None:
        return 0
    main = main_process(assignment.pid)
    vigil = Vigil(assignment.limit_s)
    rescue: Rescuer | None
    try:
        from labctl.session.watchdog_rescue import Rescue  # heavy, and now is the time for it

        rescue, trouble = Rescue(assignment), ""
    except Exception as exc:  # noqa: BLE001  the main process is told, and opens no shutter
        rescue, trouble = None, f"{type(exc).__name__}: {exc}"
    from labctl.session.watchdog_report import report

    answer({"say": "armed", "trouble": trouble})
    reason = watch(inbox, vigil, main, answer)
    code = report(
        assignment,
        reason,
        rescue,
        trouble,
        referenced=vigil.referenced,
        hear=(lambda line: answer({"say": "said", "text": line})) if main.is_alive() else None,
    )
    with suppress(Exception):  # a file left behind is believed only as far as its processes live
        from labctl.session.watchdog_record import forget

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
