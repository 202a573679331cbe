"""Real processes: a program dies or freezes with the light on, and the truth is asked of the simulators."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labctl.data import holder
from labctl.model.errors import SafetyStop
from labctl.runner.children import child_environment, own_group
from labctl.session import open_bench
from labctl.session.watchdog import Watchdog
from labctl.session.watchdog_wire import Assignment

SWEEP = """
import os, signal, sys, threading
from pathlib import Path
import labctl.session.watchdog_bench as settings
settings.LIMIT_S = 0.7
from labctl import SweepPlan, open_bench, sweep

def run():
    plan = SweepPlan(start_uj_cm2=30, stop_uj_cm2=160, points=200, average=2, keep_open=True)
    with open_bench(sys.argv[1], log_file=Path(sys.argv[2])) as bench:
        for point in sweep(bench, plan):
            print(bench.watchdog.pid, flush=True)
            if point.index == 1:
                bench.pump.open(5.0)  # a dark may have closed it, and in the dark no signs of life are owed
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
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.settimeout(10)
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


def safe_after(bench_file: Path, limit_s: float) -> tuple[bool, float]:
    """Wait, up to a limit, for the safe state; return the last truth."""
    end = time.monotonic() + limit_s
    while True:
        closed, away = truth(bench_file)
        if (closed and away < 0.5) or time.monotonic() > end:
            return closed, away
        threading.Event().wait(0.05)


@contextmanager
def sweeping(bench_file: Path, log: Path, act: str = "print", start: str = IN_MAIN) -> Iterator[Any]:
    code = SWEEP.format(act=act, start=start)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(bench_file), str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
    ) as process:
        try:
            assert process.stdout is not None
            dog = int(process.stdout.readline())
            process.stdout.readline()
            yield process, dog
        finally:
            process.kill()


def gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except OSError:
            return True
        threading.Event().wait(0.02)
    return False


def test_kill_9_in_the_light_leaves_the_bench_safe(bench: Path, tmp_path: Path) -> None:
    with sweeping(bench, tmp_path / "run.log") as (process, _):
        process.kill()
        process.wait()
        closed, away = safe_after(bench, 3.0)
        said = process.stderr.read()
    assert closed
    assert away < 0.5
    assert "ended without a farewell" in said
    assert "the bench is safe" in said
    assert "the shutter is closed" in (tmp_path / "run.watchdog.log").read_text()
    assert "the bench is safe" in (tmp_path / "run.log").read_text()


def test_who_comes_next_waits_for_the_watchdog_of_the_killed(bench: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with sweeping(bench, tmp_path / "run.log") as (process, dog):
        minder = holder.process(dog)
        process.kill()
        process.wait()
        with open_bench(bench, watchdog=False, tell=told.append) as ready:
            assert not holder.is_alive(minder, bench), "two processes talk to one device"
            assert not ready.roles.shutter.is_open()
    assert told == [
        f"waiting: the watchdog (process {dog}) of process {process.pid}, which has ended, still makes the "
        "bench safe"
    ]
    assert "the bench is safe" in (tmp_path / "run.log").read_text()


@POSIX
def test_a_frozen_process_is_ended_and_the_bench_made_safe(bench: Path, tmp_path: Path) -> None:
    freeze = "lambda: os.kill(os.getpid(), signal.SIGSTOP)"
    with sweeping(bench, tmp_path / "run.log", act=freeze) as (process, _):
        assert process.wait(10) == -signal.SIGKILL
        closed, away = safe_after(bench, 3.0)
        said = process.stderr.read()
    assert closed
    assert away < 0.5
    assert "no sign of life" in said


def test_a_loop_that_hangs_is_ended_and_the_bench_made_safe(bench: Path, tmp_path: Path) -> None:
    with sweeping(bench, tmp_path / "run.log", act="threading.Event().wait") as (process, _):
        assert process.wait(10) != 0
        closed, away = safe_after(bench, 3.0)
    assert closed
    assert away < 0.5


def test_the_interpreters_end_below_a_running_sweep_is_a_clean_one(bench: Path, tmp_path: Path) -> None:
    with sweeping(bench, tmp_path / "run.log", start=IN_THREAD) as (process, dog):
        assert process.wait(20) == 0
        closed, away = safe_after(bench, 3.0)
        said = process.stderr.read()
    assert closed
    assert away < 0.5
    assert "labctl watchdog:" not in said
    assert "while making" not in said
    assert gone(dog)
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
    began = time.monotonic()
    dog.done()
    dog.done()
    assert time.monotonic() - began < 2.0
    assert gone(dog.pid, 0.1)
    assert not listener.knocked.wait(0.2)
    assert victim.poll() is None


def test_a_lost_pipe_ends_the_main_process_before_anything_is_opened(
    listener: Listener, victim: subprocess.Popen[bytes]
) -> None:
    dog = Watchdog(assignment(listener, victim.pid))
    dog.consent()
    assert dog._process.stdin is not None
    dog._process.stdin.close()
    assert victim.wait(10) != 0
    assert listener.knocked.wait(10)
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


@POSIX
def test_no_light_while_the_watchdog_stands_still(
    listener: Listener, victim: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labctl.session.watchdog.CONSENT_S", 0.2)
    monkeypatch.setattr("labctl.session.watchdog.FAREWELL_S", 0.2)
    dog = Watchdog(assignment(listener, victim.pid))
    dog.consent()
    os.kill(dog.pid, signal.SIGSTOP)
    with pytest.raises(SafetyStop, match="does not answer"):
        dog.consent()
    for _ in range(5000):  # more than a pipe holds: it must not hold up the loop
        dog.beat(1.0)
    dog.done()
    assert gone(dog.pid, 0.1)


def test_an_assignment_of_nonsense_is_left_alone(listener: Listener, victim: subprocess.Popen[bytes]) -> None:
    dog = Watchdog(replace(assignment(listener, victim.pid), limit_s=-1.0))
    with pytest.raises(SafetyStop, match=r"not ready|has ended"):
        dog.consent()
    dog.done()
    assert victim.poll() is None
