"""labctl itself on a bench with a stage and a thermometer, and with hands that move things meanwhile."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE_S

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import NotConnected
from labctl.runner.fit_process import child_environment
from labctl.session import open_bench
from labctl.session.check import check_bench
from procedures.gate.shutter import unlocked
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan

FAULT = '[[fault]]\nkind = "drop"\ninstrument = "shutter"\nmatch = "^closed?$"\nnth = 3\n'


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    settings = presets.uncalibrated(presets.scene("ola", seed=4), 4)
    with SimulatedBench(settings, SteppedClock(), faults=FaultPlan.parse(FAULT)) as running:
        yield running


def test_the_optional_roles_are_opened_and_used_and_closed(bench: SimulatedBench) -> None:
    config = parse_bench(bench.bench_toml(1.0, nominal=True))
    assert config.roles[-2:] == ("stage", "thermometer")
    assert config.bench.hand == bench.hand
    with open_bench(config, bench.scene.clock) as opened:
        stage, sensor = opened.roles.stage, opened.roles.thermometer
        assert stage is not None
        assert sensor is not None
        assert {opened.identities["stage"].model, opened.identities["thermometer"].model} == {
            "ELL20",
            "RTD-1",
        }
        stage.home()
        assert stage.move_to(5000.0) == pytest.approx(5000.0, abs=1.0)
        assert stage.is_referenced()
        assert stage.range_um == (0.0, 60_000.0)
        assert 15.0 < sensor.temperature_c() < 30.0
    with pytest.raises(Exception, match="stage"):
        stage.position_um()


def test_check_reads_them_too(bench: SimulatedBench) -> None:
    report = check_bench(parse_bench(bench.bench_toml(1.0, nominal=True)), clock=bench.scene.clock)
    assert not report.failures
    shown = {c.role: c.reading for c in report.instruments}
    assert shown["stage"].endswith(" um")
    assert shown["thermometer"].endswith(" C")


def test_a_mount_at_the_stages_address_and_the_stage_at_its_own_are_told(bench: SimulatedBench) -> None:
    text = bench.bench_toml(1.0, nominal=True)
    mount, stage = bench.resources["attenuator"], bench.resources["stage"]
    swapped = text.replace(mount, "there").replace(stage, mount).replace("there", stage)
    with (
        pytest.raises(NotConnected, match="type 0E answered, not an ELL20") as told,
        open_bench(parse_bench(swapped), bench.scene.clock),
    ):
        pass
    assert [failure.role for failure in told.value.failures] == ["attenuator", "stage"]
    assert "type 14 answered, not an ELL14" in str(told.value)


def test_a_bench_without_them_has_none() -> None:
    with SimulatedBench(presets.scene("ola", "ideal"), SteppedClock()) as bench:
        config = parse_bench(bench.bench_toml(1.0))
        assert len(config.roles) == 4
        with open_bench(config, bench.scene.clock) as opened:
            assert opened.roles.stage is None
            assert opened.roles.thermometer is None


def test_light_at_the_sample_through_the_instruments(bench: SimulatedBench) -> None:
    """What a calibration does, done once by hand: the ratio of two places is the pick-off's."""
    quiet = dataclasses.replace(bench.scene.settings, meter=presets.scene("ola", "ideal").meter)
    with SimulatedBench(quiet, SteppedClock()) as still:
        clock, hand, truth = still.scene.clock, still.scene.hand, still.scene.truth
        with open_bench(parse_bench(still.bench_toml(1.0)), clock) as opened:
            roles = opened.roles
            hand.do("sample", {"in": False})
            roles.attenuator.home()
            roles.attenuator.move_to(truth.zero_deg + 10.0)
            roles.power_meter.prepare(800.0)
            with unlocked():
                roles.shutter.open()
            watts = {}
            for place in ("pick-off", "sample"):
                hand.do("meter", {"place": place})
                clock.sleep(1.0)
                watts[place] = roles.power_meter.read(10).power_w
        assert watts["sample"] / watts["pick-off"] == pytest.approx(truth.pickoff_ratio, rel=0.01)


def test_the_command_serves_a_bench_nobody_has_measured(tmp_path: Path) -> None:
    file, pipe = tmp_path / "sim.toml", subprocess.PIPE
    words = ["simulate", "--uncalibrated", "--seed", "3", "--until-eof", "--bench-file", str(file)]
    command = [sys.executable, "-m", "labctl", *words]
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True, env=child_environment()) as process:
        try:
            assert process.stdin is not None
            assert process.stderr is not None
            assert "serving" in process.stderr.readline()
            said = tomllib.loads(file.read_text(encoding="utf-8"))
            host, port = said["bench"]["hand"].split(":")
            with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
                client.sendall(
                    json.dumps({"action": "meter", "values": {"place": "sample"}}).encode() + b"\n"
                )
                assert client.recv(100) == b"ok\n"
            process.stdin.close()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    assert said["pump"]["pickoff_ratio"] == 24.0
    assert {"stage", "thermometer"} <= set(said)
