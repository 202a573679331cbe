"""Real processes: a program dies or freezes with the light on, and the truth is asked of the simulators."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from patience import PATIENCE_S, until

from labctl.data.files import lock
from labctl.model.errors import SafetyStop
from labctl.runner.fit_process import child_environment, own_group
from labctl.session import open_bench
from labctl.session.watchdog.parent import Watchdog
from labctl.session.watchdog.wire import Assignment

SWEEP = """
import os, signal, sys, threading
from pathlib import Path
import labctl.session.watchdog.parent as settings
from labctl.session.watchdog.parent import Watchdog
settings.LIMIT_S = {limit_s}
from labctl import SweepPlan, open_bench, sweep

def patient(dog, message):  # a slow computer is not frozen: until the moment comes, little is owed
    if "for_s" in message:
        message = {{**message, "for_s": message["for_s"] + 60.0}}
    strict(dog, message)

strict, Watchdog._say = Watchdog._say, patient

def run():
    plan = SweepPlan(start_uj_cm2=30, stop_uj_cm2=160, points=200, average=2, keep_open=True)
    with open_bench(sys.argv[1], log_file=Path(sys.argv[2])) as bench:
        for point in sweep(bench, plan):
            if point.index == 1:
                bench.pump.open(5.0)  # a dark may have closed it, and in the dark no signs of life are owed
                print(bench.watchdog.pid, flush=True)
                Watchdog._say = strict
                bench.watchdog.light()
                at_second()

at_second = {act}
{start}
"""
IN_MAIN = "run()"
IN_THREAD = """
second = threading.Event()
at_second = second.set
threading.Thread(target=run, daemon=True).start()
second.wait()
"""
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("watchdog") / "sim.toml"
    command = [sys.executable, "-m", "labctl", "simulate", "--speed", "60", "--bench-file", str(path)]
    group: Any = own_group()
    with subprocess.Popen(
        [*command, "--until-eof"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        **group,
    ) as process:
        assert process.stderr is not None
        assert b"serving" in process.stderr.readline()
        yield path
        assert process.stdin is not None
        process.stdin.close()


def asked(resource: str, question: bytes, until: bytes) -> bytes:
    """Ask a simulator over a connection of our own; it serves one after another."""
    host, port = resource.split("::")[1:3]
    with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(question)
        heard = b""
        while not heard.endswith(until):
            heard += connection.recv(64)
        return heard


def truth(bench_file: Path) -> tuple[bool, float]:
    """Return whether the shutter is closed, and how far the plate is from its least transmission, deg."""
    table = tomllib.loads(bench_file.read_text(encoding="utf-8"))
    closed = asked(table["shutter"]["resource"], b"closed?\r", b"> ")
    mount = table["attenuator"]["resource"]
    turn = int(asked(mount, b"0in", b"\n").strip()[-8:], 16)
    angle = int(asked(mount, b"0gp", b"\n").strip()[-8:], 16) * 360.0 / turn
    zero = table["pump"]["attenuator_curve"]["zero_deg"]
    return closed == b"closed?\r1\r> ", abs((angle - zero) % 90.0 - 45.0)


def becomes_safe(bench_file: Path) -> bool:
    """Wait for a closed shutter and the least transmission. benchmarks/safety/safe_state.py says how soon."""

    def is_safe() -> bool:
        closed, away = truth(bench_file)
        return closed and away < 0.5

    until(is_safe)
    return True


@contextmanager
def sweeping(
    bench_file: Path, log: Path, act: str = "print", start: str = IN_MAIN, limit_s: float = 60.0
) -> Iterator[Any]:
    """Sweep in a process of its own; it does ``act`` at its second point, in the light.

    :param limit_s: the silence that ends it, from then on.
    """
    code = SWEEP.format(act=act, start=start, limit_s=limit_s)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(bench_file), str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return True
    return False


def test_kill_9_in_the_light_leaves_the_bench_safe(bench: Path, tmp_path: Path) -> None:
    with sweeping(bench, tmp_path / "run.log") as (process, _):
        process.kill()
        process.wait()
        safe = becomes_safe(bench)
        said = process.stderr.read()
    assert safe
    assert "ended unexpectedly" in said
    assert "the bench is safe, as far as its own sensors say" in said
    assert "the shutter is closed, according to its own sensor" in (tmp_path / "run.watchdog.log").read_text()
    assert "the bench is safe" in (tmp_path / "run.log").read_text()


def test_who_comes_next_waits_for_the_watchdog_of_the_killed(bench: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with sweeping(bench, tmp_path / "run.log") as (process, dog):
        minder, slow = lock.process(dog), psutil.Process(dog)

        def tell(text: str) -> None:
            told.append(text)
            slow.resume()

        slow.suspend()  # it must not have finished before anybody comes
        process.kill()
        process.wait()
        with open_bench(bench, watchdog=False, tell=tell) as ready:
            assert not lock.is_alive(minder, bench), "two processes talk to one device"
            assert not ready.roles.shutter.is_open()
    assert told == [
        f"waiting: the watchdog (process {dog}) of process {process.pid}, which has ended, is still making "
        f"the bench safe"
    ]
    assert "the bench is safe" in (tmp_path / "run.log").read_text()


@POSIX
def test_a_frozen_process_is_ended_and_the_bench_made_safe(bench: Path, tmp_path: Path) -> None:
    freeze = "lambda: os.kill(os.getpid(), signal.SIGSTOP)"
    with sweeping(bench, tmp_path / "run.log", act=freeze, limit_s=0.7) as (process, _):
        assert process.wait(PATIENCE_S) == -9
        safe = becomes_safe(bench)
        said = process.stderr.read()
    assert safe
    assert "stopped responding" in said


def test_a_loop_that_hangs_is_ended_and_the_bench_made_safe(bench: Path, tmp_path: Path) -> None:
    with sweeping(bench, tmp_path / "run.log", act="threading.Event().wait", limit_s=0.7) as (process, _):
        assert process.wait(PATIENCE_S) != 0
        safe = becomes_safe(bench)
    assert safe


def test_the_interpreters_end_below_a_running_sweep_is_a_clean_one(bench: Path, tmp_path: Path) -> None:
    with sweeping(bench, tmp_path / "run.log", start=IN_THREAD) as (process, dog):
        assert process.wait(PATIENCE_S) == 0
        safe = becomes_safe(bench)
        said = process.stderr.read()
    assert safe
    assert "labctl watchdog:" not in said
    assert "while making" not in said
    until(lambda: is_gone(dog))
    assert not (tmp_path / "run.watchdog.log").exists()


# -- the watchdog alone ------------------------------------------------------------------------------


class Listener:
    """An address at which nobody is at home; it counts who knocks."""

    def __init__(self) -> None:
        self.knocked = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.resource = f"TCPIP::127.0.0.1::{self._server.getsockname()[1]}::SOCKET"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                self._server.accept()[0].close()
                self.knocked.set()
        except OSError:
            return

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def assignment(listener: Listener, pid: int, driver: str = "thorlabs-sc10") -> Assignment:
    return Assignment(
        pid=pid,
        limit_s=60.0,
        time_scale=1.0,
        shutter={"driver": driver, "resource": listener.resource},
        attenuator={"driver": "thorlabs-ell14", "resource": listener.resource},
        curve={"kind": "malus", "zero_deg": 12.0, "t_min": 0.002, "t_max": 1.0, "branch": "+"},
    )


def test_after_a_farewell_nothing_is_touched(listener: Listener, victim: subprocess.Popen[bytes]) -> None:
    dog = Watchdog(assignment(listener, victim.pid))
    dog.consent()
    dog.beat(1.0)
    dog.dark()
    dog.done()
    dog.done()
    assert dog._process.returncode == 0  # it went by itself
    assert is_gone(dog.pid)
    assert not listener.knocked.wait(0.2)
    assert victim.poll() is None


def test_a_bench_that_was_left_unsafe_is_handed_over_and_the_main_process_lives(
    listener: Listener, victim: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    dog = Watchdog(assignment(listener, victim.pid))
    dog.consent()
    dog.bench_safe = False
    monkeypatch.setattr("labctl.session.watchdog.parent.RESCUE_S", 0.0)
    dog._say({"say": "rescue"})
    assert listener.knocked.wait(PATIENCE_S)  # it opens the instruments, which this process has let go of
    assert victim.poll() is None
    dog._process.kill()
    dog.leave()


def test_a_lost_pipe_ends_the_main_process_before_anything_is_opened(
    listener: Listener, victim: subprocess.Popen[bytes]
) -> None:
    dog = Watchdog(assignment(listener, victim.pid))
    dog.consent()
    assert dog._process.stdin is not None
    dog._process.stdin.close()
    assert victim.wait(PATIENCE_S) != 0
    assert listener.knocked.wait(PATIENCE_S)
    dog._process.kill()
    dog.done()


def test_no_light_without_a_watchdog_that_can_act(
    listener: Listener, victim: subprocess.Popen[bytes]
) -> None:
    dog = Watchdog(assignment(listener, victim.pid, driver="nobody"))
    with pytest.raises(SafetyStop, match=r"not ready.*nobody"):
        dog.consent()
    dog.done()


def test_no_light_once_the_watchdog_is_gone(listener: Listener, victim: subprocess.Popen[bytes]) -> None:
    dog = Watchdog(assignment(listener, victim.pid))
    dog.consent()
    dog.dark()
    dog._process.kill()
    dog._process.wait()
    dog.beat()
    with pytest.raises(SafetyStop, match="has ended"):
        dog.consent()
    dog.done()


def test_light_whose_watchdog_was_killed_is_not_to_go_on(
    listener: Listener, victim: subprocess.Popen[bytes]
) -> None:
    dog = Watchdog(assignment(listener, victim.pid))
    dog.consent()
    dog.require()
    dog._process.kill()
    dog._process.wait()
    dog._reader.join(PATIENCE_S)
    with pytest.raises(SafetyStop, match="while light could pass"):
        dog.require()
    dog.dark()
    dog.require()
    dog.done()


def test_no_light_while_the_watchdog_stands_still(
    listener: Listener, victim: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    dog = Watchdog(assignment(listener, victim.pid))
    dog.consent()
    monkeypatch.setattr("labctl.session.watchdog.parent.CONSENT_S", 0.2)
    monkeypatch.setattr("labctl.session.watchdog.parent.FAREWELL_S", 0.2)
    psutil.Process(dog.pid).suspend()
    with pytest.raises(SafetyStop, match="does not answer"):
        dog.consent()
    for _ in range(5000):  # more than a pipe holds: it must not hold up the loop
        dog.beat(1.0)
    dog.done()
    with pytest.raises(SafetyStop, match="while light could pass"):  # what it was told is lost
        dog.require()
    assert is_gone(dog.pid)


def test_an_assignment_of_nonsense_is_left_alone(listener: Listener, victim: subprocess.Popen[bytes]) -> None:
    dog = Watchdog(replace(assignment(listener, victim.pid), limit_s=-1.0))
    with pytest.raises(SafetyStop, match=r"not ready|has ended"):
        dog.consent()
    dog.done()
    assert victim.poll() is None
