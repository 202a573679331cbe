"""The main process's side of the watchdog: signs of life out, consent to open the shutter in.

It is started before any instrument is opened, and dismissed after the last is closed.

Signs of life are owed only while light may pass. They come from the loop that works with the bench, by every
wait on its clock and every look at its stop flag, so that a thread that hangs gives none.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from labctl.config import BenchConfig
from labctl.model.clock import Clock, SteppedClock, Stop
from labctl.model.errors import SafetyStop
from labctl.session.unwatched_light import SignsOfLife
from labctl.session.watchdog.registry import Tell, claimed, recorded, wait_for_others
from labctl.session.watchdog.wire import Assignment, Lines, decode, encode

log = logging.getLogger(__name__)

LIMIT_S = 5.0
"""Longest silence while light may pass, in wall seconds, beyond what was announced."""
BEAT_S = 0.25
"""Signs of life closer together than this are not sent, unless they announce something."""
ARMED_S = 20.0
CONSENT_S = 3.0
FAREWELL_S = 3.0
PING_S = 0.5
"""Wall seconds between two questions to the watchdog while light may pass."""
PONG_S = 2.0
"""An answer that takes longer than this does not come: the watchdog stands still."""
RESCUE_S = 60.0
"""Longer than all deadlines of a rescue together."""
MODULE = "labctl.session.watchdog.child"
_HINT = "run it again; the log holds the watchdog's messages"


class Watchdog(SignsOfLife):
    """A process that makes the bench safe when this one is killed or frozen. Safe to use from any thread.

    :param hear: called in another thread with what the process says on stderr when it acts.
    :ivar bench_safe: whether the bench was left safe; if not, the process is not simply dismissed.
    :raises SafetyStop: it cannot be started.
    """

    def __init__(self, assignment: Assignment, hear: Callable[[str], object] = lambda _line: None) -> None:
        self._hear = hear
        try:
            self._process = _start()
        except OSError as exc:
            raise SafetyStop(f"the watchdog does not start: {exc}", "see docs/safety.md") from exc
        self._writing, self._asking = threading.Lock(), threading.Lock()
        self._heard: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._listen, name="watchdog", daemon=True)
        self._reader.start()
        self._armed = self._lit = self._lost = False
        self.bench_safe = True
        self._asked = 0
        self._pinged_s: float | None = None
        self._ponged_s = 0.0
        self._stands_still = False
        self._sent_s = self._announced_s = self._quiet_until_s = 0.0
        self._referenced: bool | None = None
        self._say(assignment.message())
        _never_wait(self._process)

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def beat(self, busy_s: float = 0.0) -> None:
        """Give a sign of life; say before a long wait how long, in wall seconds, there will be none.

        Costs nothing in the dark, and next to nothing when it comes often.
        """
        if not self._lit:
            return
        now_s = time.monotonic()
        self._quiet_until_s = now_s + busy_s
        if busy_s == 0.0 == self._announced_s and now_s - self._sent_s < BEAT_S:
            return
        self._sent_s, self._announced_s = now_s, busy_s
        self._say({"say": "beat", "for_s": busy_s})

    def require(self) -> None:
        """Make sure that light which may pass is watched.

        :raises SafetyStop: the watchdog has ended meanwhile.
        """
        if self._lit and self._lost:
            raise SafetyStop("the watchdog ended while light could pass", _HINT)

    def trouble(self) -> str:
        """Ask whether it still watches; say why not, "" while it does. Call it often while light may pass."""
        if self._stands_still:
            return f"the watchdog (process {self.pid}) does not respond"
        if self._lost:
            return f"the watchdog (process {self.pid}) has ended"
        now_s, asked_s = time.monotonic(), self._pinged_s
        if asked_s is not None and now_s - asked_s > PONG_S:
            self._stands_still = True
            return (
                f"the watchdog (process {self.pid}) does not respond: no answer for {now_s - asked_s:.1f} s"
            )
        if asked_s is None and now_s - self._ponged_s > PING_S:
            self._pinged_s = now_s
            self._say({"say": "ping"})
        return ""

    def forgive(self) -> None:
        """Ask anew: this process stood still itself."""
        self._pinged_s = None

    def silence_s(self) -> float:
        """Return for how long a sign of life has been owed, in wall seconds; 0 in the dark."""
        return max(time.monotonic() - self._quiet_until_s, 0.0) if self._lit else 0.0

    def consent(self, busy_s: float = 0.0) -> None:
        """Ask, before the shutter opens, whether somebody watches; from now on signs of life are owed.

        :raises SafetyStop: nobody does.
        """
        with self._asking:
            self._wait_until_armed()
            self._pinged_s = None
            self._asked += 1
            self._light_until(busy_s)
            self._say({"say": "lit", "n": self._asked, "for_s": busy_s})
            answer = self._answer("ok", time.monotonic() + CONSENT_S, self._asked)
        if answer is None:
            raise SafetyStop("the watchdog does not answer: the shutter stays closed", _HINT)

    def light(self) -> None:
        """Say that the shutter is open, without waiting for an answer."""
        self._light_until(0.0)
        self._say({"say": "lit", "for_s": 0.0})

    def dark(self) -> None:
        """Say that the shutter is confirmed closed: no more signs of life are owed."""
        if self._lit:
            self._lit = False
            self._say({"say": "dark"})

    def referenced(self, known: bool) -> None:
        """Say whether the mount's angle can be trusted; only then is the attenuator moved."""
        if known is not self._referenced:
            self._referenced = known
            self._say({"say": "referenced", "value": known})

    def leave(self) -> None:
        """Take leave; of a bench that is not safe only once the process has tried to make it safe, too.

        By then every connection of this process must be closed. It tells on stderr and in the log what
        becomes of it.
        """
        if not self.bench_safe and not self._lost:
            self._say({"say": "rescue"})
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(RESCUE_S)
        self.done()

    def done(self) -> None:
        """Take leave: the process ends at once and touches nothing. Never raises, may be called twice."""
        self._say({"say": "done"})
        with suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(FAREWELL_S)
        with suppress(OSError, ValueError):
            if self._process.stdout is not None:
                self._process.stdout.close()

    def _light_until(self, busy_s: float) -> None:
        self._announced_s, self._quiet_until_s = busy_s, time.monotonic() + busy_s
        self._lit = True

    # -- the pipe ----------------------------------------------------------------------------------

    def _wait_until_armed(self) -> None:
        if self._lost or self._process.poll() is not None:
            raise SafetyStop("the watchdog has ended: the shutter stays closed", _HINT)
        if self._stands_still:
            raise SafetyStop("the watchdog did not respond: the shutter stays closed", _HINT)
        if self._armed:
            return
        armed = self._answer("armed", time.monotonic() + ARMED_S)
        if armed is None or armed.get("trouble"):
            why = f" ({armed['trouble']})" if armed else ""
            raise SafetyStop(f"the watchdog is not ready{why}: the shutter stays closed", _HINT)
        self._armed = True

    def _answer(self, word: str, end_s: float, number: int | None = None) -> dict[str, Any] | None:
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                message = self._heard.get(timeout=left_s)
            except queue.Empty:
                return None
            if message is None:
                self._heard.put(None)
                return None
            if message["say"] == word and (number is None or message.get("n") == number):
                return message
        return None

    def _say(self, message: Mapping[str, object]) -> None:
        """Write a line, or remember that nobody reads any more: the next opening is refused then."""
        stream = self._process.stdin
        if self._lost or stream is None or stream.closed:
            return
        line = encode(message)
        try:
            with self._writing:
                if stream.write(line) != len(line):  # a pipe that is full: nobody has read for minutes
                    raise OSError("it does not read its messages")
        except (OSError, ValueError) as exc:
            self._lost = True
            log.error("the watchdog is lost: %s", exc)  # noqa: TRY400  the reason is all there is to say

    def _listen(self) -> None:
        stream, lines = self._process.stdout, Lines(4096)
        with suppress(OSError, ValueError):
            while stream is not None and (data := os.read(stream.fileno(), 4096)):
                for message in filter(None, map(decode, lines.feed(data))):
                    if message["say"] == "pong":
                        self._pinged_s, self._ponged_s = None, time.monotonic()
                    elif message["say"] == "said":
                        self._hear(str(message.get("text")))
                    else:
                        self._heard.put(message)
        self._lost = True
        self._heard.put(None)


def _start() -> subprocess.Popen[bytes]:
    """Start the child in a session of its own: no Ctrl-C and no closed terminal reaches it."""
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=_environment(),
        **options,
    )


def _never_wait(process: subprocess.Popen[bytes]) -> None:
    """Let a full pipe raise instead of holding up the loop; Windows before Python 3.12 cannot."""
    if process.stdin is not None and (sys.platform != "win32" or sys.version_info >= (3, 12)):
        os.set_blocking(process.stdin.fileno(), False)


def _environment() -> dict[str, str]:
    """Return an environment in which the child finds the packages this process runs from."""
    root = str(Path(__file__).resolve().parents[3])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + known if known else "")}


@contextmanager
def watching(
    config: BenchConfig,
    clock: Clock,
    *,
    wanted: bool | None,
    log: Path | None,
    tell: Tell,
    hear: Tell | None = None,
    stop: Stop | None = None,
) -> Iterator[Watchdog | None]:
    """Have a watchdog while inside; it goes at once and touches nothing if the bench was left safe.

    One that still makes this bench safe, after another program was killed, is waited for first.

    :param wanted: None for yes, unless time is stepped: then the instruments are part of this process.
    :param log: the run's log file, where the watchdog writes what it did.
    :param tell: told what is waited for.
    :param hear: told what the watchdog says on stderr when it acts.
    :raises SafetyStop: it cannot be started, the other one does not come to an end, or another program that
        lives has the bench open.
    :raises Aborted: ``stop`` was set while waiting.
    """
    stepped = isinstance(clock, SteppedClock)
    with nullcontext() if stepped else alone(config, tell, stop):
        if not (not stepped if wanted is None else wanted):
            yield None
            return
        dog = Watchdog(assignment(config, log), hear or (lambda _line: None))
        try:
            with recorded(config, dog.pid):
                try:
                    yield dog
                finally:
                    dog.leave()
        finally:
            dog.done()


@contextmanager
def alone(config: BenchConfig, tell: Tell, stop: Stop | None = None) -> Iterator[None]:
    """Have the bench for this program while inside; a watchdog that still makes it safe is waited for.

    :raises SafetyStop: that one does not come to an end, or another program that lives has the bench open.
    :raises Aborted: ``stop`` was set while waiting.
    """
    wait_for_others(config, tell, stop)
    with claimed(config):
        yield


def assignment(config: BenchConfig, log: Path | None = None) -> Assignment:
    """Return what a watchdog of this process must know to make the bench safe alone."""
    return Assignment(
        pid=os.getpid(),
        limit_s=LIMIT_S,
        time_scale=config.bench.time_scale,
        shutter=config.shutter.model_dump(mode="json"),
        attenuator=config.attenuator.model_dump(mode="json"),
        curve=config.pump.attenuator_curve.model_dump(mode="json"),
        angle_range_deg=config.limits.angle_range_deg,
        log=None if log is None else str(log.resolve()),
    )
