"""Who minds a bench, and who waits for whom."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.config import EXAMPLE, BenchConfig, parse_bench
from labctl.data.files.lock import process
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, SafetyStop
from labctl.session.check import check_bench
from labctl.session.watchdog import registry
from labctl.session.watchdog.registry import WAIT_S, forget, recorded, refuse_second, wait_for_others

CONFIG = parse_bench(EXAMPLE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    found = registry._folder()
    assert found is not None
    return found


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def ended_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


def say(_folder: Path, watchdog_pid: int, main_pid: int, **changes: object) -> Path:
    """Write what a watchdog of a process would have been recorded as."""
    (path, *_) = registry._paths(CONFIG)
    dead = {**process(os.getpid()).to_mapping(), "pid": main_pid, "started": "1"}
    who = {"watchdog": process(watchdog_pid).to_mapping(), "main": dead} | changes
    path.write_text(json.dumps(who), encoding="utf-8")
    return path


def nobody(line: str) -> None:
    pytest.fail(f"waited: {line}")


def test_one_file_for_each_of_the_two_instruments_and_gone_afterwards(folder: Path) -> None:
    with recorded(CONFIG, os.getpid()):
        assert len(list(folder.iterdir())) == 2
        wait_for_others(CONFIG, nobody)  # the program it minds, this one, lives
    assert list(folder.iterdir()) == []


def test_a_bench_that_another_program_has_open_is_refused(
    folder: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    alive = process(sleeper.pid).to_mapping()
    path = say(folder, os.getpid(), 0, main=alive)
    with pytest.raises(SafetyStop, match=f"process {sleeper.pid} has this bench open since 20"):
        refuse_second(CONFIG)
    say(folder, os.getpid(), ended_pid())
    refuse_second(CONFIG)  # it has ended: its watchdog is waited for, elsewhere
    say(folder, ended_pid(), 0, main=alive, watchdog={**alive, "started": "1"})
    refuse_second(CONFIG)  # nobody watches it: no light comes from there
    path.write_text("[" * 1000)
    refuse_second(CONFIG)
    with recorded(CONFIG, sleeper.pid):
        refuse_second(CONFIG)  # it is this program's own


def test_a_watchdog_whose_program_has_ended_is_waited_for_and_named(
    folder: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    path, told = say(folder, sleeper.pid, ended_pid()), list[str]()
    main = json.loads(path.read_text())["main"]["pid"]

    class Wall(SteppedClock):
        def sleep(self, seconds: float, stop: object = None) -> None:
            super().sleep(seconds)
            if self.now_s() > 2.0:
                sleeper.kill()
                sleeper.wait()

    wall = Wall()
    wait_for_others(CONFIG, told.append, wall=wall)
    assert 2.0 < wall.now_s() < 2.2
    assert told == [
        f"waiting: the watchdog (process {sleeper.pid}) of process {main}, which has ended, is still making "
        f"the bench safe"
    ]


def test_one_that_never_ends_is_not_waited_for_for_ever(
    folder: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    say(folder, sleeper.pid, ended_pid())
    wall = SteppedClock()
    with pytest.raises(SafetyStop, match=rf"process {sleeper.pid}\) .* after {WAIT_S:g} s"):
        wait_for_others(CONFIG, lambda _line: None, wall=wall)
    assert wall.now_s() == pytest.approx(WAIT_S, abs=1.0)


def test_a_stop_ends_the_waiting(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    say(folder, sleeper.pid, ended_pid())
    stop = threading.Event()
    with pytest.raises(Aborted):
        wait_for_others(CONFIG, lambda _line: stop.set(), stop)


def test_the_mount_alone_is_reason_enough(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    say(folder, sleeper.pid, ended_pid())
    other = CONFIG.shutter.model_copy(update={"resource": "ASRL9::INSTR"})
    shared = CONFIG.model_copy(update={"shutter": other})
    strange = shared.model_copy(
        update={"attenuator": CONFIG.attenuator.model_copy(update={"resource": "ASRL8::INSTR"})}
    )
    wait_for_others(strange, nobody)
    waited = _waited(shared) + _waited(CONFIG)
    assert len(waited) >= 1


def _waited(config: BenchConfig) -> list[str]:
    told: list[str] = []
    with pytest.raises(SafetyStop):
        wait_for_others(config, told.append, wall=SteppedClock())
    return told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 5000,
        json.dumps({"watchdog": {"pid": True}, "main": {}}),
        json.dumps({"watchdog": {"pid": "1", "host": "h", "boot": "", "started": ""}, "main": None}),
    ],
)
def test_what_is_no_record_is_nobody(folder: Path, text: str) -> None:
    say(folder, os.getpid(), os.getpid()).write_text(text, encoding="utf-8")
    wait_for_others(CONFIG, nobody)


def test_a_record_of_another_boot_or_of_a_number_used_again_is_nobody(
    folder: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    again = {**process(sleeper.pid).to_mapping(), "started": "1"}
    say(folder, sleeper.pid, ended_pid(), watchdog=again)
    wait_for_others(CONFIG, nobody)
    earlier = {**process(sleeper.pid).to_mapping(), "boot": "another"}
    say(folder, sleeper.pid, ended_pid(), watchdog=earlier)
    wait_for_others(CONFIG, nobody)


@pytest.mark.skipif(sys.platform != "linux", reason="ticks since the boot, as Linux counts them")
def test_a_record_that_an_earlier_version_wrote_is_understood(
    folder: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    ticks = Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    written = {
        "pid": sleeper.pid,
        "host": socket.gethostname(),
        "boot": boot,
        "started": ticks,
        "since": "2026",
    }
    say(folder, os.getpid(), 0, main=written, watchdog=written)
    with pytest.raises(SafetyStop, match=f"process {sleeper.pid} has this bench open since 2026"):
        refuse_second(CONFIG)


@pytest.mark.skipif(sys.platform == "win32", reason="directories of other users cannot be told so there")
def test_a_directory_that_others_can_write_to_is_not_used(folder: Path) -> None:
    folder.chmod(0o777)
    assert registry._folder() is None
    with recorded(CONFIG, os.getpid()):
        wait_for_others(CONFIG, nobody)
    assert list(folder.iterdir()) == []


def test_check_of_a_bench_in_use_says_who_has_it_and_sends_nothing(
    folder: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.0)
        address = f"127.0.0.1::{listener.getsockname()[1]}::SOCKET"
        config = parse_bench(
            EXAMPLE.replace("ASRL3::INSTR", f"TCPIP::{address}").replace("ASRL4::INSTR", f"TCPIP0::{address}")
        )
        assert address in config.shutter.resource
        for path in registry._paths(config):
            alive = process(sleeper.pid).to_mapping()
            path.write_text(json.dumps({"watchdog": alive, "main": alive}), encoding="utf-8")
        with pytest.raises(SafetyStop, match=f"process {sleeper.pid} has this bench open since 20") as told:
            check_bench(config)
        assert told.value.exit_code == 4
        with pytest.raises(BlockingIOError):
            listener.accept()  # nobody has connected


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (('"first"', '"ANOTHER"'), f"power meter of this bench ({CONFIG.power_meter.resource})"),
        (("P0000001", "P0000002"), f"spectrometer of this bench ({CONFIG.spectrometer.resource})"),
    ],
)
def test_a_bench_that_shares_one_instrument_alone_is_told_who_has_it(
    folder: Path,
    sleeper: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    other: tuple[str, str],
    shared: str,
) -> None:
    """The other bench has another shutter and another mount; nothing of this one is opened."""
    text = EXAMPLE.replace("ASRL3::", "ASRL13::").replace("ASRL4::", "ASRL14::").replace(*other)
    monkeypatch.setattr("labctl.session.check.open_all", lambda *_: pytest.fail("it was opened"))
    with registry.claimed(parse_bench(text)):
        alive = process(sleeper.pid).to_mapping()
        for path in folder.glob("*.json"):
            path.write_text(json.dumps({"watchdog": alive, "main": alive}), encoding="utf-8")
        with pytest.raises(SafetyStop) as told:
            check_bench(CONFIG)
    assert f"process {sleeper.pid} has the {shared} open since 20" in str(told.value)


def test_who_comes_while_a_bench_is_checked_is_told_who_has_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, said = os.getpid(), list[str]()

    def opening(*_: object) -> None:
        with pytest.MonkeyPatch.context() as another_program:
            another_program.setattr(os, "getpid", lambda: 1)
            with pytest.raises(SafetyStop) as told:
                refuse_second(CONFIG)
        said.append(str(told.value))
        raise Aborted

    monkeypatch.setattr("labctl.session.check.open_all", opening)
    with pytest.raises(Aborted):
        check_bench(CONFIG)
    assert said[0].startswith(f"process {me} has this bench open since 20")
    assert list(folder.iterdir()) == []


def test_of_two_that_come_at_once_one_has_the_bench(folder: Path) -> None:
    script = """
import sys, tempfile
from labctl.config import EXAMPLE, parse_bench
from labctl.model.errors import SafetyStop
from labctl.session.watchdog.registry import claimed
tempfile.gettempdir = lambda: sys.argv[1]
config = parse_bench(EXAMPLE)
print("ready", flush=True)
input()
try:
    with claimed(config):
        print("mine", flush=True)
        input()
except SafetyStop as exc:
    print("process" in str(exc) and "theirs", flush=True)
    input()
"""
    command = [sys.executable, "-c", script, str(folder.parent)]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        for child in both:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in both:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        said = sorted(child.stdout.readline() for child in both if child.stdout is not None)
        assert said == ["mine\n", "theirs\n"]
    finally:
        for child in both:
            child.communicate("\n")
    assert list(folder.iterdir()) == []


def test_a_watchdog_takes_away_what_was_written_of_it(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    with recorded(CONFIG, sleeper.pid):
        forget(CONFIG.shutter.resource, CONFIG.attenuator.resource)
        assert len(list(folder.iterdir())) == 2  # another's
    with recorded(CONFIG, os.getpid()):
        forget(CONFIG.shutter.resource, CONFIG.attenuator.resource)
        assert not list(folder.iterdir())
