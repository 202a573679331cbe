"""Emission against time: even intervals, dark in between, one fluence, a verdict that matches the film."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from procedures_fakes import BANDS, FakeBench, FakeSink, StopAfter, limits, pump_settings

from labctl.analysis.evaluation.stability import Stability, decay_of
from labctl.config import BenchConfig, parse_bench
from labctl.data import read_run
from labctl.data.verify import verify
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, ConfigError, DataError
from labctl.model.plan import StabilityPlan
from labctl.model.records import SweepPoint
from labctl.model.results.sweep import StabilityResult
from labctl.runner.events import Event, Measured
from labctl.runner.figures.stability import draw_stability
from labctl.runner.refit import refit
from labctl.runner.report import RunReport, duration, stability_verdict
from labctl.runner.resume import resume_run
from labctl.runner.run import RunFailed, RunRequest
from labctl.runner.stability import run_stability, write_table
from procedures.fluence_sweep import Sweep, sweep
from procedures.gate.pump import Pump
from procedures.plan import stability_plan
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene.settings import HeaterSettings, SceneSettings, ThermometerSettings

# --- the plan and its light ----------------------------------------------------------------------------


def fake_run(bench: FakeBench, plan: StabilityPlan, max_dose: float | None = None, **more: object) -> Sweep:
    allowed = limits(max_dose_uj_cm2=max_dose)
    pump = Pump(bench.roles, pump_settings(), allowed)
    return sweep(plan, bench.roles, pump, BANDS, **more)  # type: ignore[arg-type]


def test_points_come_at_even_intervals_and_it_is_dark_in_between() -> None:
    bench = FakeBench()
    plan = replace(stability_plan(60.0, 500.0, 50.0, average=3), integration_s=(0.1,))
    dark_spans: list[float] = []
    points: list[SweepPoint] = []
    for point in fake_run(bench, plan):
        assert not bench.table.is_open
        points.append(point)
        dark_spans.append(bench.table.dose)
    elapsed = np.array([p.elapsed_s for p in points])
    assert len(points) == 11
    assert np.diff(elapsed)[1:] == pytest.approx(50.0, abs=0.5)
    assert {p.fluence_set_uj_cm2 for p in points} == {60.0}
    assert [p.index for p in points] == list(range(11))
    lit = np.diff([0.0, *dark_spans]) / (1000.0 * 60.0)  # seconds of light at each point
    assert (lit[1:] < 1.0).all()
    assert points[-1].dose_uj_cm2 >= bench.table.dose
    bench.assert_safe()


def test_a_point_that_takes_longer_than_the_interval_is_followed_at_once() -> None:
    bench = FakeBench()
    points = list(fake_run(bench, replace(stability_plan(60.0, 8.0, 1.0, average=3), integration_s=(0.5,))))
    gaps = np.diff([p.elapsed_s for p in points])
    assert len(points) == 9
    assert gaps.min() > 1.0
    assert gaps[1:].max() < 5.0  # before the second one a dark is taken


def test_it_ends_before_the_dose_passes_its_limit() -> None:
    plan = replace(stability_plan(60.0, 500.0, 50.0, average=3), integration_s=(0.1,))
    whole = [p.dose_uj_cm2 for p in fake_run(FakeBench(), plan)]
    bench = FakeBench()
    run = fake_run(bench, plan, max_dose=0.8 * whole[-1])
    points = list(run)
    assert 6 <= len(points) <= 9
    assert points[-1].dose_uj_cm2 <= 0.8 * whole[-1]
    assert run.ending is not None
    assert run.ending.cause == "dose"
    bench.assert_safe()


def test_a_stop_during_the_wait_ends_it_in_the_dark() -> None:
    bench = FakeBench()
    sink = FakeSink()
    plan = replace(stability_plan(60.0, 5000.0, 500.0, average=1), integration_s=(0.1,))
    stop = StopAfter(10_000)
    run = fake_run(bench, plan, sink=sink, stop=stop)
    next(run)
    stop.questions = 3
    with pytest.raises(Aborted):
        next(run)
    assert len(sink.points) == 1
    bench.assert_safe()


@pytest.mark.parametrize(
    ("fluence", "seconds", "every", "key"),
    [
        (60.0, 0.0, 1.0, "minutes"),
        (60.0, 60.0, 0.0, "every"),
        (60.0, 60.0, 20.0, "every"),
        (60.0, 1e6, 1.0, "every"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    fluence: float, seconds: float, every: float, key: str
) -> None:
    with pytest.raises(ConfigError, match=key):
        stability_plan(fluence, seconds, every)


@pytest.mark.parametrize(
    "changes",
    [
        {"keep_open": True},
        {"fluences_uj_cm2": (60.0, 61.0)},
        {"every_s": float("nan")},
        {"reference_every": 2},
    ],
)
def test_a_plan_from_elsewhere_is_checked_again(changes: dict[str, object]) -> None:
    plan = replace(stability_plan(60.0, 500.0, 50.0), **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        fake_run(FakeBench(), plan)


# --- a whole run over the simulated bench --------------------------------------------------------------


@dataclass
class Film:
    """A simulated bench with a film that fades; its truth stays on this side."""

    config: BenchConfig
    clock: SteppedClock
    simulated: SimulatedBench

    def run(self, plan: StabilityPlan, output: Path, stop_after: int = 0) -> RunReport:
        stop = threading.Event()

        def on_event(event: Event) -> None:
            if stop_after and isinstance(event, Measured) and event.number >= stop_after:
                stop.set()

        request = RunRequest(output, "OLA")
        return run_stability(
            self.config,
            plan,
            request,
            stop=stop,
            on_event=on_event,
            clock=self.clock,
        )


@contextmanager
def film(bleach_pulses: float, **changes: object) -> Iterator[Film]:
    settings: SceneSettings = presets.scene("ola", "typical", seed=5)
    sample = replace(settings.sample, bleach_pulses=bleach_pulses, bleach_law="single")
    clock = SteppedClock()
    with SimulatedBench(replace(settings, sample=sample, **changes), clock) as simulated:  # type: ignore[arg-type]
        yield Film(parse_bench(simulated.bench_toml(1.0)), clock, simulated)


def test_a_whole_run_says_what_is_left_and_any_reader_opens_it(tmp_path: Path) -> None:
    plan = replace(stability_plan(60.0, 660.0, 60.0, average=4), integration_s=(0.2,), max_light_s=10.0)
    with film(1.2e4, thermometer=ThermometerSettings()) as bench:
        report = bench.run(plan, tmp_path)
        assert report.h5 is not None
        run = read_run(report.h5)
        sample = bench.simulated.scene.sample
        span = run.column("dose_uj_cm2")
        truth = sample.alive
    assert report.status == "finished"
    assert run.start.procedure == "stability/1"
    assert run.start.plan["every_s"] == 60.0
    assert len(run) == 12
    assert verify(report.h5) == ()
    said = report.result.stability
    assert said is not None
    assert said.retained is not None
    assert said.amplitude_weighted_lifetime_s is not None
    # From the middle of the first point's light to the middle of the last one's.
    rate = -np.log(truth) / span[-1]
    left = float(np.exp(-rate * (span[-1] - 0.5 * (span[-1] - span[-2]) - 0.5 * span[0])))
    assert 0.3 < left < 0.8
    assert said.retained.value == pytest.approx(left, rel=0.02)
    assert said.retained.low < said.retained.value < said.retained.high
    assert said.amplitude_weighted_lifetime_s.value == pytest.approx(60.0 * 11 / -np.log(left), rel=0.1)
    temperatures = said.sample_temperature_c
    assert len(temperatures) == 12
    assert all(t is not None and 10 < t < 100 for t in temperatures)
    assert any("sample at" in event.text for event in run.events)
    line = stability_verdict(said, "peak")
    assert "% of the emission remains after 11.1 min at" in line
    assert "single exponential, amplitude-weighted mean lifetime" in line
    assert json.loads(json.dumps(report.to_json()))["stability"]["model"] == "single"
    assert report.threshold.status == "refused"
    again = refit(report.h5)
    assert again.threshold.status == "refused"
    assert again.result.stability == said
    rows = write_table(report.h5).read_text().splitlines()
    assert len(rows) == 13
    assert float(rows[1].split(",")[5]) == pytest.approx(temperatures[0], abs=0.001)
    picture = draw_stability(report.h5)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_that_was_stopped_goes_on_and_fits_all_of_it(tmp_path: Path) -> None:
    plan = stability_plan(60.0, 400.0, 50.0, average=4, model="single", constant=True)
    plan = replace(plan, integration_s=(0.2,), max_light_s=10.0)
    with film(1.2e4) as bench:
        first = bench.run(plan, tmp_path, stop_after=3)
        assert first.h5 is not None
        assert first.status == "aborted"
        assert first.result.stability is not None
        assert "no result" in stability_verdict(first.result.stability)
        assert bench.simulated.scene.shutter.closed_switch()
        whole = resume_run(
            first.h5,
            bench.config,
            stop=threading.Event(),
            on_event=lambda _event: None,
            confirm=lambda _found: None,
            clock=bench.clock,
        )
    assert whole.status == "finished"
    assert whole.points == 9
    said = whole.result.stability
    assert said is not None
    assert said.retained is not None
    assert said.points_used == 9
    assert said.constant is True
    assert 0.2 < said.retained.value < 0.9
    assert read_run(first.h5).start.procedure == "stability/1"


def test_a_sweep_is_no_stability_run() -> None:
    example = Path(__file__).resolve().parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"
    with pytest.raises(DataError, match="not a stability run"):
        draw_stability(example)


# --- what is said --------------------------------------------------------------------------------------


def points(
    light: np.ndarray[tuple[int, ...], np.dtype[np.float64]], fluence: object = 60.0
) -> list[SweepPoint]:
    """Points of a fake run, given another light."""
    bench = FakeBench()
    plan = replace(stability_plan(60.0, 350.0, 50.0, average=1), integration_s=(0.1,))
    seen = next(fake_run(bench, plan))
    at = np.broadcast_to(np.asarray(fluence, dtype=np.float64), light.shape)
    return [
        replace(
            seen,
            index=i,
            signal=float(y),
            signal_sigma=0.01 * abs(float(y)) + 1e-6,
            fluence_uj_cm2=float(at[i]),
            elapsed_s=10.0 * i,
        )
        for i, y in enumerate(light)
    ]


def test_a_laser_that_drifts_is_not_taken_for_a_film_that_fades() -> None:
    rng = np.random.default_rng(2)
    fluence = 60.0 * np.linspace(1.0, 0.9, 40)
    light = (fluence / 60.0) ** 2 * (1 + 0.005 * rng.standard_normal(40))
    fit = Stability.of(points(light, fluence), 2).fit()
    assert fit.retained.value == pytest.approx(1.0, abs=0.02)
    assert "no_decay" in fit.flags


def test_a_light_has_the_error_of_its_fluence_by_the_photon_order() -> None:
    taken = [replace(p, fluence_sigma_rel=0.02) for p in points(np.ones(12))]
    for order in (1, 2, 3):
        measured = Stability.of(taken, order)
        assert measured.sigma == pytest.approx(np.hypot(0.01, order * 0.02), rel=1e-3)


def test_points_that_cannot_be_trusted_are_left_out() -> None:
    light = np.exp(-np.arange(30) / 20.0)
    taken = points(light)
    taken[5] = replace(taken[5], signal=0.0, flags=("dropout",))
    taken[6] = replace(taken[6], saturated_exposures=taken[6].exposures)
    measured = Stability.of(taken, 2)
    assert np.flatnonzero(~measured.usable).tolist() == [5, 6]
    assert measured.fit().retained.value == pytest.approx(np.exp(-29 / 20.0), rel=0.02)


def test_a_verdict_names_what_it_cannot_say() -> None:
    assert stability_verdict(StabilityResult("refused", "3 points")) == "no result: 3 points"
    steady = points(1 + 0.002 * np.random.default_rng(1).standard_normal(30))
    line = stability_verdict(decay_of(steady, StabilityPlan(), 2))
    assert "no significant decay; lifetime above" in line
    assert duration(7300.0, 36.0) == "2.03 +- 0.01 h"


# --- a sample that is kept hot -------------------------------------------------------------------------

HOT = {"heater": HeaterSettings(), "thermometer": ThermometerSettings(wander_c=0.0)}


def hot_plan(**heating: float | None) -> StabilityPlan:
    plan = replace(stability_plan(60.0, 480.0, 60.0, average=2, temperature_c=60.0), **heating)  # type: ignore[arg-type]
    return replace(plan, integration_s=(0.2,), max_light_s=10.0)


def test_it_waits_for_the_temperature_and_holds_it_between_points_and_ends_cold(tmp_path: Path) -> None:
    with film(1e9, **HOT) as bench:
        report = bench.run(hot_plan(), tmp_path)
        plate = bench.simulated.scene.plate
        assert plate is not None
        assert plate.plate_c(bench.clock.now_s() + 3600.0) == pytest.approx(22.0, abs=0.1)
    said = report.result.stability
    assert said is not None
    assert len(said.sample_temperature_c) == 9
    assert all(t is not None and abs(t - 60.0) < 0.7 for t in said.sample_temperature_c)
    assert report.h5 is not None
    texts = [event.text for event in read_run(report.h5).events]
    assert "heating to 60 C, the shutter closed" in texts
    assert any(text.startswith("the sample is at 6") or "the sample is at 59" in text for text in texts)
    assert texts[-1] == "the heater is off" or "the heater is off" in texts


def test_the_sample_may_be_kept_warm_after_the_run(tmp_path: Path) -> None:
    with film(1e9, **HOT) as bench:
        bench.run(hot_plan(end_temperature_c=40.0), tmp_path)
        plate = bench.simulated.scene.plate
        assert plate is not None
        assert plate.plate_c(bench.clock.now_s() + 3600.0) == pytest.approx(40.0, abs=0.1)


def test_heating_that_takes_too_long_ends_the_run_with_the_heater_off(tmp_path: Path) -> None:
    with film(1e9, heater=HeaterSettings(time_constant_s=5000.0)) as bench:
        with pytest.raises(RunFailed) as failed:
            bench.run(hot_plan(heating_limit_s=120.0), tmp_path)
        plate = bench.simulated.scene.plate
        assert plate is not None
        assert plate.plate_c(bench.clock.now_s() + 1e6) == pytest.approx(22.0, abs=0.1)
    assert "after 120 s, not 60 +- 0.5 C" in str(failed.value.error)
    assert failed.value.report.points == 0


def test_a_sensor_that_opens_ends_the_run_and_says_why(tmp_path: Path) -> None:
    with film(1e9, **HOT) as bench:
        plate = bench.simulated.scene.plate
        assert plate is not None

        def on_event(event: Event) -> None:
            plate.sensor_open = plate.sensor_open or (isinstance(event, Measured) and event.number == 3)

        request, stop = RunRequest(tmp_path, "OLA"), threading.Event()
        with pytest.raises(RunFailed) as failed:
            run_stability(bench.config, hot_plan(), request, stop=stop, on_event=on_event, clock=bench.clock)
    assert "temperature sensor is open" in str(failed.value.error)
    assert 3 <= failed.value.report.points < 9


@pytest.mark.parametrize(
    ("heating", "bench_has", "why"),
    [
        ({}, {}, "names no heater"),
        ({"temperature_c": 90.0}, HOT, "90 C is outside 20 to 80 C"),
        ({"end_temperature_c": 90.0}, HOT, "90 C is outside 20 to 80 C"),
    ],
)
def test_a_temperature_that_the_bench_cannot_hold_is_refused(
    tmp_path: Path, heating: dict[str, float], bench_has: dict[str, object], why: str
) -> None:
    with film(1e9, **bench_has) as bench, pytest.raises((ConfigError, RunFailed)) as failed:
        bench.run(hot_plan(**heating), tmp_path)
    error = failed.value.error if isinstance(failed.value, RunFailed) else failed.value
    assert why in str(error)
