"""Sweeps that keep single shots at each point, over fakes: what is stored, and what ends the light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from burst_fakes import FakeBurst
from procedures_fakes import (
    BANDS,
    BEHIND,
    FRONT,
    FakeBench,
    FakeShutter,
    FakeSink,
    Order,
    Table,
    limits,
    pump_settings,
)

from labctl.model.errors import ConfigError, SafetyStop, ShutterLied
from labctl.model.plan import SweepPlan, dark_shots, sweep_plan
from labctl.model.records import SweepPoint
from labctl.model.shots import PHASES, Phase, ShotBlock, ShotsSummary
from procedures.fluence_sweep import sweep
from procedures.forecast import forecast
from procedures.gate.pump import Pump
from procedures.plan import validate

SHOTS = 40
PLAN = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=120.0, points=4, shots=SHOTS, triggered=True)


class ShotSink(FakeSink):
    """Keeps shots too."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[ShotBlock] = []
        self.ends: list[ShotsSummary] = []

    def shots(self, block: ShotBlock) -> None:
        self.blocks.append(block)

    def shot_point(self, summary: ShotsSummary) -> None:
        self.log.append(f"shots {summary.point}")
        self.ends.append(summary)

    def frames(self, point: int, phase: Phase) -> np.ndarray[Any, np.dtype[np.float64]]:
        code = PHASES.index(phase)
        own = [block for block in self.blocks if block.point == point]
        return np.concatenate([block.batch.frames[block.phase == code] for block in own]).astype(float)


class Run:
    """A sweep over a fake bench whose laser triggers its spectrometer."""

    def __init__(self, order: Order = FRONT, **changes: Any) -> None:
        self.bench, self.sink = FakeBench(order), ShotSink()
        self.camera = FakeBurst(self.bench.table)
        self.camera.info = replace(self.camera.info, integration_min_s=1e-4)
        self.camera.gain = 20.0
        self.bench.roles = replace(self.bench.roles, spectrometer=self.camera)
        self.plan = replace(PLAN, **changes)
        self.pump = Pump(self.bench.roles, pump_settings(order=order), limits())

    def points(self) -> Iterator[SweepPoint]:
        return sweep(self.plan, self.bench.roles, self.pump, BANDS, sink=self.sink)

    def all(self) -> list[SweepPoint]:
        found = list(self.points())
        self.bench.assert_safe()
        return found


@dataclass
class Liar(FakeShutter):
    """Once it lies it stays open, and says what it was told to do."""

    lies: bool = False

    def open(self) -> None:
        super().open()
        self.says_open = None

    def close_beam(self) -> None:
        if not self.lies:
            super().close_beam()
        self.says_open = False


@dataclass
class Deaf:
    """The numbers of so many shots in the second light of a bench."""

    table: Table
    shots: int

    def __contains__(self, _shot: object) -> bool:
        deaf = self.shots > 0 and self.table.is_open and self.table.events.count("open") == 2
        self.shots -= deaf
        return deaf


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_the_mean_of_the_shots_is_the_spectrum_of_a_point(order: Order) -> None:
    run = Run(order)
    points = run.all()
    assert [p.index for p in points] == [0, 1, 2, 3]
    for point in points:
        light = run.sink.frames(point.index, "light")
        dark = np.concatenate([run.sink.frames(point.index, name) for name in ("dark", "dark after")])
        assert point.exposures == len(light) >= SHOTS
        assert len(dark) >= 2 * dark_shots(SHOTS)
        assert point.pulses_per_exposure == 1.0
        np.testing.assert_allclose(point.spectrum, light.mean(axis=0) - dark.mean(axis=0), atol=1e-6)
    below = [p for p in points if p.fluence_uj_cm2 < 79]
    slope = np.polyfit(np.log([p.fluence_uj_cm2 for p in below]), np.log([p.signal for p in below]), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.1)
    assert points[-1].peak_count == 1


def test_shots_and_dark_are_stored_before_their_point_which_stores_no_frame_again() -> None:
    run = Run()
    for number, point in enumerate(run.points()):
        assert run.sink.log[-3:] == [f"dark {number + 1}", f"shots {number}", f"point {number}"]
        assert point.dark_number == number + 1
        assert run.sink.points[-1].frames.shape == (0, 1000)
    assert run.camera.disarmed == len(run.sink.points)


def test_a_point_whose_shots_are_lost_is_measured_again() -> None:
    run = Run()
    run.camera.unseen = Deaf(run.bench.table, shots=150)
    found = run.all()
    assert [p.index for p in found] == [0, 1, 2, 3]
    assert any("point 2 is repeated" in text and "in a row are missing" in text for text in run.sink.events)
    assert [p.dark_number for p in found] == [1, 3, 4, 5]
    assert [summary.point for summary in run.sink.ends] == [0, 1, 2, 3]


def test_pulses_without_a_shot_are_flagged_and_bright_shots_are_no_dropout() -> None:
    run = Run()
    run.camera.unseen = {220, 221}
    points = run.all()
    assert "shots_without_trigger" in points[0].flags
    assert points[1].flags == ()


def test_no_spike_is_removed_from_single_shots() -> None:
    run = Run()
    run.camera.spike = True
    assert all(p.spikes_removed == 0 for p in run.all())


def test_a_shutter_that_lies_about_its_closing_is_found_out_by_the_shots() -> None:
    run = Run()
    liar = Liar(run.bench.table)
    run.bench.roles = replace(run.bench.roles, shutter=liar)
    run.pump = Pump(run.bench.roles, pump_settings(), limits())
    points = run.points()
    next(points)
    liar.lies = True
    with pytest.raises(ShutterLied, match="still sees light in its shots"):
        next(points)
    assert run.bench.table.flashes == 0


def test_a_stop_in_the_light_leaves_the_bench_safe() -> None:
    run = Run()
    points = run.points()
    next(points)
    points.close()  # type: ignore[attr-defined]
    run.bench.assert_safe()


def test_a_spectrometer_that_cannot_burst_is_refused_by_name_before_anything_moves() -> None:
    bench = FakeBench()
    pump = Pump(bench.roles, pump_settings(), limits())
    with pytest.raises(ConfigError, match="spectrometer FAKE has no buffer that keeps every shot"):
        sweep(PLAN, bench.roles, pump, BANDS, sink=ShotSink())
    run = Run(triggered=False)
    with pytest.raises(ConfigError, match="runs freely"):
        run.points()
    run = Run()
    with pytest.raises(ConfigError, match="keeps no single shots") as told:
        sweep(run.plan, run.bench.roles, run.pump, BANDS, sink=FakeSink())
    assert told.value.key == "shots"
    assert bench.table.events == run.bench.table.events == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"average": 3}, "average"),
        ({"integration_s": (0.1,)}, "integration"),
        ({"background": "blank"}, "background"),
        ({"keep_open": True}, "keep_open"),
        ({"shots": 2000, "max_light_s": 1.0}, "shots"),
    ],
)
def test_what_makes_no_sense_for_single_shots_is_refused(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as told:
        validate(replace(PLAN, **changes), pump_settings(), limits())
    assert told.value.key == key


def test_a_precision_and_single_shots_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="cannot be combined with --shots"):
        sweep_plan({"start": 20.0, "stop": 200.0, "shots": 100, "precision": 0.02})


def test_the_dose_of_a_plan_is_that_of_its_shots() -> None:
    settings = pump_settings()
    asked = forecast(replace(PLAN, reference_every=0), settings, limits())
    light = sum((40.0, 57.69, 83.2, 120.0))
    assert asked.dose_uj_cm2[0] == pytest.approx(light * SHOTS, rel=1e-3)
    assert asked.dose_uj_cm2[1] == pytest.approx(light * (SHOTS + 1), rel=1e-3)
    with pytest.raises(ConfigError, match="the dose would exceed"):
        validate(PLAN, settings, limits(max_dose_uj_cm2=0.9 * light * SHOTS))


def test_a_limit_of_the_dose_ends_the_light_of_a_burst() -> None:
    run = Run()
    run.pump = Pump(run.bench.roles, pump_settings(), limits(max_dose_uj_cm2=40.0 * 45))
    with pytest.raises((SafetyStop, ConfigError), match="dose"):
        list(run.points())
    assert not run.bench.table.is_open
