"""``labctl simulate --faults``: refused before anything is served, or served with its faults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

from labctl.cli import main
from labctl.config import load_bench
from labctl.runner.fit_process import child_environment

PLAN = '[[fault]]\nkind = "drop"\ninstrument = "shutter"\nnth = 2\n'


def test_a_mistake_in_the_plan_is_told_and_no_bench_file_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, bench = tmp_path / "plan.toml", tmp_path / "sim.toml"
    plan.write_text(PLAN.replace("nth", "nht"), encoding="utf-8")
    assert main(["simulate", "--faults", str(plan), "--bench-file", str(bench)]) == 2
    shown = capsys.readouterr().err
    assert "fault[1].nht" in shown
    assert "did you mean nth?" in shown
    assert not bench.exists()


def test_an_instrument_that_the_bench_does_not_have_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, bench = tmp_path / "plan.toml", tmp_path / "sim.toml"
    plan.write_text(PLAN.replace("shutter", "stage"), encoding="utf-8")
    assert main(["simulate", "--faults", str(plan), "--bench-file", str(bench)]) == 2
    shown = capsys.readouterr().err
    assert "fault[1].instrument: this bench has no stage" in shown
    assert "--uncalibrated" in shown
    assert not bench.exists()


def test_the_second_answer_of_the_shutter_is_lost(tmp_path: Path) -> None:
    import socket

    plan, bench = tmp_path / "plan.toml", tmp_path / "sim.toml"
    plan.write_text(PLAN, encoding="utf-8")
    options = ["simulate", "--faults", str(plan), "--bench-file", str(bench), "--until-eof"]
    command = [sys.executable, "-m", "labctl", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True, env=child_environment()) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        try:
            assert "1 fault" in process.stderr.readline()
            port = int(load_bench(bench).shutter.resource.split("::")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
                client.sendall(b"ens?\r")
                assert client.recv(100) == b"ens?\r0\r> "
                client.sendall(b"ens?\r")
                client.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    client.recv(100)
                client.settimeout(PATIENCE_S)
                client.sendall(b"ens?\r")
                assert client.recv(100) == b"ens?\r0\r> "
            process.stdin.close()
            assert process.wait(PATIENCE_S) == 0
        finally:
            if process.poll() is None:
                process.kill()
