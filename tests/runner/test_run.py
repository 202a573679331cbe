"""Whole runs on a simulated bench whose clock is stepped: what is told, what is stored, how it ends."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

import labctl
from drivers import registry
from labctl.config import BenchConfig, parse_bench
from labctl.data import read_run
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, ConfigError, InstrumentError, NotConnected
from labctl.model.plan import AdaptivePlan, SweepPlan
from labctl.runner.events import Connected, Event, Measured, Message, Started
from labctl.runner.figures.sweep import draw_run
from labctl.runner.refit import refit
from labctl.runner.report import dump_json
from labctl.runner.run import RunFailed, RunRequest, run_sweep
from labctl.session import open_bench
from procedures.forecast import too_few
from simulators.bench import SimulatedBench
from simulators.presets import scene

PLAN = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=180.0, points=12, average=4, reference_every=0)


@pytest.fixture
def simulated() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        yield bench


@pytest.fixture
def config(simulated: SimulatedBench) -> BenchConfig:
    return parse_bench(simulated.bench_toml(1.0))


class Listener:
    """Remembers events; does something at a given point."""

    def __init__(self, at: int = -1, act: object = None) -> None:
        self.events: list[Event] = []
        self._at, self._act = at, act

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Measured) and event.number == self._at:
            assert callable(self._act)
            self._act()

    def of(self, kind: type) -> list[Event]:
        return [e for e in self.events if isinstance(e, kind)]


def is_safe(simulated: SimulatedBench) -> bool:
    beam = simulated.scene.settings.optics
    away = abs((simulated.scene.mount.angle_deg() - beam.zero_deg) % 90.0 - 45.0)
    return simulated.scene.shutter.closed_switch() and away < 0.5


def test_a_sweep_is_told_stored_and_fitted(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    listener = Listener()
    report = run_sweep(
        config,
        PLAN,
        RunRequest(tmp_path, "OLA film", "me", "2", "a note"),
        stop=threading.Event(),
        on_event=listener,
        clock=simulated.scene.clock,
    )
    assert is_safe(simulated)
    kinds = [type(e) for e in listener.events]
    assert kinds[:2] == [Connected, Started]
    assert [e.number for e in listener.of(Measured) if isinstance(e, Measured)] == list(range(1, 13))
    assert (report.status, report.points) == ("finished", 12)

    assert report.h5 is not None
    assert report.csv is not None
    run = read_run(report.h5)
    assert (run.status, len(run), run.start.operator, run.start.spot) == ("finished", 12, "me", "2")
    with report.csv.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    assert [float(row["Signal (counts per pulse)"]) for row in rows] == pytest.approx(run.signal.tolist())
    assert report.h5.with_suffix(".log").stat().st_size > 0

    threshold = run.result.threshold
    assert threshold == report.threshold
    assert threshold.status == "found"
    assert threshold.threshold_uj_cm2 == pytest.approx(simulated.scene.truth.threshold_uj_cm2, rel=0.03)
    assert report.result.q is not None
    assert report.result.q.value == pytest.approx(simulated.scene.truth.q, rel=0.1)
    assert report.result.modes is not None
    assert report.result.modes.first is not None
    assert report.result.randomness is not None
    assert report.result.randomness.verdict == "irregular"

    again = refit(report.h5)
    assert again.threshold.threshold_uj_cm2 == threshold.threshold_uj_cm2
    figures = draw_run(report.h5)
    names = [f.name.rsplit("_", 1)[1] for f in figures]
    assert names == ["spectra.png", "threshold.png", "peak.png", "lines.png"]
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in figures)
    document = json.loads(dump_json([again]))
    assert document["runs"][0]["files"]["h5"] == str(report.h5)


def test_a_damaged_point_takes_no_part_in_a_fit(tmp_path: Path) -> None:
    stored = Path(__file__).parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"
    path = tmp_path / stored.name
    path.write_bytes(stored.read_bytes())
    sound = refit(path)
    with h5py.File(path, "r+") as file:
        row = file["entry/record/points"][3]
        row["signal"] *= 30
        file["entry/record/points"][3] = row
    again = refit(path)
    assert "damaged and excluded: point 4 (labctl verify)" in again.notes
    before, after = (r.threshold.threshold_uj_cm2 for r in (sound, again))
    assert after == pytest.approx(before, rel=0.02)
    assert after != before


def test_a_stop_ends_the_file_as_aborted(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    stop = threading.Event()
    report = run_sweep(
        config,
        PLAN,
        RunRequest(tmp_path, "OLA"),
        stop=stop,
        on_event=Listener(3, stop.set),
        clock=simulated.scene.clock,
    )
    assert is_safe(simulated)
    assert report.status == "aborted"
    assert 3 <= report.points <= 5
    assert report.h5 is not None
    run = read_run(report.h5)
    assert (run.status, len(run)) == ("aborted", report.points)
    assert report.threshold.status == "refused"


def test_an_instrument_that_dies_keeps_the_points(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    with pytest.raises(RunFailed) as caught:
        run_sweep(
            config,
            PLAN,
            RunRequest(tmp_path, "OLA"),
            stop=threading.Event(),
            on_event=Listener(3, simulated.server("power_meter").stop),
            clock=simulated.scene.clock,
        )
    failed = caught.value
    assert isinstance(failed.error, InstrumentError)
    assert "power_meter" in str(failed.error)
    assert failed.report.points >= 3
    assert is_safe(simulated)
    assert failed.report.h5 is not None
    assert any(str(failed.report.h5.with_suffix(".log")) in note for note in failed.error.__notes__)
    run = read_run(failed.report.h5)
    assert (run.status, len(run)) == ("failed", failed.report.points)


def test_a_listener_that_fails_still_leaves_a_safe_bench(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    def act() -> None:
        raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        run_sweep(
            config,
            PLAN,
            RunRequest(tmp_path, "OLA"),
            stop=threading.Event(),
            on_event=Listener(2, act),
            clock=simulated.scene.clock,
        )
    assert is_safe(simulated)
    (stored,) = tmp_path.glob("*.h5")
    assert read_run(stored).status == "aborted"


def test_all_that_do_not_answer_are_named(config: BenchConfig, tmp_path: Path) -> None:
    nobody = {"resource": "TCPIP::127.0.0.1::9::SOCKET"}
    broken = config.model_copy(
        update={role: config.driver(role).model_copy(update=nobody) for role in ("attenuator", "shutter")}
    )
    with pytest.raises(NotConnected) as caught:
        run_sweep(broken, PLAN, RunRequest(tmp_path, "OLA"), stop=threading.Event(), on_event=Listener())
    assert [f.role for f in caught.value.failures] == ["attenuator", "shutter"]
    assert all(f.hint for f in caught.value.failures)
    assert not [*tmp_path.glob("*.h5"), *tmp_path.glob("*.csv")]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (SweepPlan(start_uj_cm2=200.0, stop_uj_cm2=20.0), "start"),
        (SweepPlan(start_uj_cm2=-1.0), "not above zero"),
        (SweepPlan(points=1), "2 or more"),
        (SweepPlan(stop_uj_cm2=5000.0), "above the limit"),
        (SweepPlan(start_uj_cm2=0.01), "out of reach"),
        (SweepPlan(background="blank"), "blank"),
    ],
)
def test_an_impossible_plan_touches_nothing(
    plan: SweepPlan, said: str, config: BenchConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        run_sweep(config, plan, RunRequest(tmp_path / "no", "x"), stop=threading.Event(), on_event=Listener())
    assert not (tmp_path / "no").exists()


def test_a_bench_that_is_not_whole_is_left_dark(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    shutter = registry.find("shutter", "thorlabs-sc10").open(config.shutter, simulated.scene.clock)
    shutter.open()
    shutter.close()
    assert not simulated.scene.shutter.closed_switch()
    nobody = config.attenuator.model_copy(update={"resource": "TCPIP::127.0.0.1::9::SOCKET"})
    with pytest.raises(NotConnected, match="attenuator"):
        run_sweep(
            config.model_copy(update={"attenuator": nobody}),
            PLAN,
            RunRequest(tmp_path, "OLA"),
            stop=threading.Event(),
            on_event=Listener(),
            clock=simulated.scene.clock,
        )
    assert simulated.scene.shutter.closed_switch()


def test_too_few_points_are_said_before_there_is_light(
    config: BenchConfig, tmp_path: Path, simulated: SimulatedBench
) -> None:
    few = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=60.0, points=3, average=2)
    heard = Listener()
    report = run_sweep(
        config,
        few,
        RunRequest(tmp_path, "few"),
        stop=threading.Event(),
        on_event=heard,
        clock=simulated.scene.clock,
    )
    told = [i for i, e in enumerate(heard.events) if isinstance(e, Message) and "3 points: too few" in e.text]
    first = next(i for i, e in enumerate(heard.events) if isinstance(e, Measured))
    assert len(told) == 1
    assert told[0] < first
    assert (report.status, report.points, report.threshold.status) == ("finished", 3, "refused")


def test_how_many_points_a_threshold_needs_is_what_the_fit_refuses_below() -> None:
    span: dict[str, Any] = {"start_uj_cm2": 30.0, "stop_uj_cm2": 60.0}
    assert too_few(SweepPlan(**span, points=6))
    assert not too_few(SweepPlan(**span, points=7))
    assert not too_few(SweepPlan(**span, points=6, direction="up-down"))
    assert "5 fluences" in too_few(SweepPlan(**span, points=5, direction="up-down"))
    assert too_few(AdaptivePlan(**span, budget_points=6))
    assert not too_few(AdaptivePlan(**span))


def test_a_stop_while_connecting_says_so_and_leaves_no_log_without_a_run(
    config: BenchConfig, tmp_path: Path, simulated: SimulatedBench
) -> None:
    stop, heard = threading.Event(), Listener()
    stop.set()
    with pytest.raises(Aborted):
        run_sweep(
            config,
            PLAN,
            RunRequest(tmp_path, "gone"),
            stop=stop,
            on_event=heard,
            clock=simulated.scene.clock,
        )
    assert [e.text.split(":")[0] for e in heard.events if isinstance(e, Message)] == ["stopping"]
    assert list(tmp_path.iterdir()) == []


def test_a_script_stores_a_sweep_in_one_call(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    with open_bench(config, simulated.scene.clock) as bench:
        first = labctl.run_sweep(bench, PLAN, sample="OLA film", output=tmp_path / "runs")
        assert is_safe(simulated)
        second = labctl.run_sweep(bench, PLAN, sample="OLA film", output=str(tmp_path / "runs"))
    file = tmp_path / "bench.toml"
    file.write_text(simulated.bench_toml(1.0), encoding="utf-8")
    third = labctl.run_sweep(file, PLAN, sample="OLA film", output=tmp_path, clock=simulated.scene.clock)
    for report in (first, second, third):
        assert report.h5 is not None
        run = labctl.read_run(report.h5)
        assert (report.status, len(run), run.start.sample) == ("finished", 12, "OLA film")
        assert report.result == labctl.evaluate(run, run.plan, run.facts)
    assert first.h5 != second.h5
    assert is_safe(simulated)


@pytest.mark.parametrize("sample", ["", "  "])
def test_a_sweep_for_no_sample_is_refused_before_the_bench_is_opened(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path, sample: str
) -> None:
    with pytest.raises(ConfigError, match="the sample has no name"):
        labctl.run_sweep(config, PLAN, sample=sample, output=tmp_path / "runs", clock=simulated.scene.clock)
    assert not (tmp_path / "runs").exists()
