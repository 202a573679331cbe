"""A sweep that keeps single shots, from the bench file to what is said of it, over the simulator's wires."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE_S
from test_shots import Lab, lab
from typer.testing import CliRunner

from labctl.cli.app import command_line
from labctl.data.reader import read_run
from labctl.data.verify import verify
from labctl.model.plan import SweepPlan
from labctl.runner.facts import RunRequest
from labctl.runner.resume import stored_plan
from labctl.runner.run import RunFailed, run_sweep

SHOTS = 200
FLUENCES = (60.0, 160.0)
PLAN = SweepPlan(spacing="list", fluences_uj_cm2=FLUENCES, shots=SHOTS)


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in ("OPEN_TIMEOUT_S", "ANSWER_TIMEOUT_S"):
        monkeypatch.setattr(f"drivers.spectrometers.ocean.{name}", PATIENCE_S)
    yield from lab(tmp_path)


def test_a_sweep_keeps_the_shots_of_each_point_and_says_what_they_show(real: Lab) -> None:
    report = run_sweep(real.config(), PLAN, RunRequest(real.directory, "OLA"), clock=real.bench.scene.clock)
    assert report.status == "finished"
    assert real.is_dark()
    assert report.h5 is not None
    assert verify(report.h5) == ()
    run = read_run(report.h5)
    assert stored_plan(run).shots == SHOTS
    assert len(run) == len(FLUENCES)
    assert run.column("exposures").min() >= SHOTS
    assert run.column("pulses_per_exposure").tolist() == [1.0] * len(FLUENCES)
    for index in range(len(run)):
        point = run.point(index)
        dark = next(dark for dark in run.darks if dark.number == point.dark_number)
        assert dark.n >= 2 * 200
        mean = point.frames.mean(axis=0) - dark.counts
        assert np.corrcoef(mean, point.spectrum)[0, 1] > 0.999
    said = report.result.shots
    assert [one.fluence_uj_cm2 for one in said] == run.fluence_uj_cm2.tolist()
    assert [one.moments.n for one in said] == run.column("exposures").tolist()
    assert said[0].tail.status == "not_stated"
    assert "below threshold" in said[0].tail.reason
    assert said[0].overlap is not None
    assert not said[0].overlap.above_floor
    assert said[-1].overlap is not None
    assert said[-1].overlap.above_floor
    assert said[-1].q is not None
    assert run.result.shots[-1].overlap is not None
    assert run.result.shots[-1].overlap.rms == said[-1].overlap.rms
    _stored(report.h5)


def _stored(path: Path) -> None:
    """The same is said of the stored run."""
    done = CliRunner().invoke(command_line(), ["shots", str(path), "--figures", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert len(document["statistics"]) == len(FLUENCES)
    (figure,) = document["figures"]
    assert Path(figure).read_bytes()[:4] == b"\x89PNG"
    fitted = CliRunner().invoke(command_line(), ["fit", str(path), "--json"])
    (found,) = json.loads(fitted.stdout)["runs"]
    assert len(found["result"]["shots"]) == len(FLUENCES)
    assert found["result"]["shots"][0]["tail"]["status"] == "not_stated"
    verified = CliRunner().invoke(command_line(), ["verify", str(path)])
    assert f"{len(FLUENCES)} of {len(FLUENCES)} points" in verified.stdout
    assert "shots, 0 missing" in verified.stdout


def test_a_bench_that_cannot_burst_is_refused_by_name_before_there_is_light(real: Lab) -> None:
    real.trigger = 'trigger = "edge"\nbackend = "cseabreeze"'
    with pytest.raises(RunFailed, match="has no buffer that keeps every shot"):
        run_sweep(
            real.config(),
            PLAN,
            RunRequest(real.directory, "OLA"),
            clock=real.bench.scene.clock,
        )
    assert len(real.bench.scene.shutter.track) == 1


def test_the_command_for_a_stored_run_needs_no_bench_and_the_other_does() -> None:
    done = CliRunner().invoke(command_line(), ["shots", "--sample", "OLA", "--fluence", "120"])
    assert done.exit_code == 2
    assert "'--bench': missing" in done.output
