"""A flight over the simulated table, without wires: where light may be, faults, and the number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from benchmarks.scene_roles import (
    BANDS,
    LIMITS,
    SceneBurst,
    SceneMount,
    SceneSpectrometer,
    scene_pump,
    scene_roles,
)
from labctl.model.clock import SteppedClock, Stop
from labctl.model.errors import (
    Aborted,
    ConfigError,
    InstrumentError,
    InstrumentFault,
    InstrumentTimeout,
    SafetyStop,
)
from labctl.model.plan import FlyPlan
from labctl.model.pump import Limits, MalusCurve, PumpSettings
from labctl.model.records import DarkRecord, FloatArray, SweepPoint
from labctl.model.roles import Roles
from labctl.model.run import RunStart, RunStop
from labctl.model.shots import PHASES, CountArray, Phase, ShotBlock, ShotsSummary
from procedures.fly import fly
from procedures.gate.pump import Pump
from simulators import presets
from simulators.scene import Scene

PLAN = FlyPlan(30.0, 205.0)


@dataclass
class Flown:
    """What reached the file."""

    darks: list[DarkRecord] = field(default_factory=list)
    points: list[SweepPoint] = field(default_factory=list)
    blocks: list[ShotBlock] = field(default_factory=list)

    def begin(self, start: RunStart) -> None: ...
    def end(self, stop: RunStop) -> None: ...
    def event(self, at_s: float, text: str) -> None: ...

    def dark(self, record: DarkRecord) -> None:
        self.darks.append(record)

    def append(self, point: SweepPoint) -> None:
        self.points.append(point)

    def shots(self, block: ShotBlock) -> None:
        self.blocks.append(block)

    def shot_point(self, summary: ShotsSummary) -> None: ...

    def count(self, phase: Phase) -> int:
        """Return how many shots of a phase reached the file."""
        return sum(int(np.sum(block.phase == PHASES.index(phase))) for block in self.blocks)


class Table:
    """A scene, its instruments as roles, and a pump."""

    def __init__(
        self,
        seed: int = 3,
        full_j: float = 35e-9,
        limits: Limits = LIMITS,
        more: Callable[[PumpSettings], PumpSettings] = lambda s: replace(s, pulse_cv=0.015),
    ) -> None:
        settings = presets.scene("ola", "typical", seed)
        laser = replace(settings.laser, max_pulse_energy_j=full_j, missing=0.0, dropouts_per_hour=0.0)
        self.clock = SteppedClock()
        self.scene = Scene(replace(settings, laser=laser), self.clock)
        self.burst = SceneBurst("spectrometer", self.scene)
        self.roles: Roles = replace(scene_roles(self.scene, self.clock), spectrometer=self.burst)
        self.pump = Pump(self.roles, more(scene_pump(self.scene.settings)), limits)
        self.sink = Flown()

    def fly(self, plan: FlyPlan = PLAN, stop: Stop | None = None):  # type: ignore[no-untyped-def]
        return fly(plan, self.roles, self.pump, BANDS, sink=self.sink, stop=stop)

    @property
    def dark(self) -> bool:
        return self.scene.shutter.closed_switch()

    def opened(self) -> int:
        """Return how often the blade began to open."""
        return int(np.sum(np.diff(self.scene.shutter.track._values) > 0))


@pytest.fixture(scope="module")
def flown():  # type: ignore[no-untyped-def]
    table = Table()
    return table, table.fly()


def test_points_of_single_shots_reach_the_file(flown) -> None:  # type: ignore[no-untyped-def]
    table, flight = flown
    assert table.dark
    assert table.burst.disarmed == 1
    assert [d.number for d in table.sink.darks] == [1]
    assert table.sink.points == list(flight.points)
    assert len(flight.points) > 30
    for point in flight.points:
        assert point.exposures == len(point.frames) >= 5
        assert point.pulses_per_exposure == 1.0
        assert point.flags == ("fly",)
    fluences = [p.fluence_uj_cm2 for p in flight.points]
    assert fluences == sorted(fluences)
    assert 28.0 < fluences[0] < 40.0 < 180.0 < fluences[-1] < 210.0
    assert flight.lost == 0


def test_its_fluences_are_those_of_the_scene(flown) -> None:  # type: ignore[no-untyped-def]
    table, flight = flown
    scene, solved = table.scene, flight.solved
    numbers = np.rint((solved.time_s - solved.motion.latency_s.value) * 1000.0 - scene.laser.phase)
    times = (numbers[solved.good] + scene.laser.phase) / 1000.0
    true = (
        scene.beam.malus(np.asarray(scene.mount.plate_over(times))) * table.pump.settings.max_pulse_energy_j
    )
    true = true * scene.beam.peak_uj_cm2_per_j * scene.laser.level(float(times[0]))
    off = np.log(solved.fluence_uj_cm2[solved.good] / true)
    assert abs(np.mean(off)) < 0.01
    assert np.std(off) < 0.03


def test_a_flight_finds_the_threshold(flown) -> None:  # type: ignore[no-untyped-def]
    from labctl.analysis.evaluation import evaluate
    from labctl.model.plan import SweepPlan
    from labctl.model.run import PointList, RunFacts
    from labctl.runner.single_shots.fly import said

    table, flight = flown
    facts = RunFacts(
        bands=BANDS, settings=table.pump.settings, spectrometer=table.burst.info, convention="peak"
    )
    result = evaluate(PointList(flight.points, (flight.dark,)), PLAN, facts)
    truth = table.scene.truth.threshold_uj_cm2
    for band in (result.threshold, result.threshold_lasing):
        assert band.threshold_uj_cm2 == pytest.approx(truth, rel=0.03)
        assert band.ci95 is not None
        assert band.ci95[0] < truth < band.ci95[1]
        assert "of the motion in it" in band.reason
    exact = [replace(p, fluence_sigma_rel=0.0) for p in flight.points]
    swept = SweepPlan(start_uj_cm2=30, stop_uj_cm2=205, points=40, reference_every=0, correct_bleaching="off")
    plain, wider = evaluate(exact, swept, facts).threshold.ci95, result.threshold.ci95
    assert plain is not None
    assert wider is not None
    assert wider[0] < plain[0]
    assert result.verdict is not None
    assert result.verdict.headline == "consistent with lasing"
    assert result.verdict.lines_from_uj_cm2 is not None
    assert result.q is not None
    assert result.q.value == pytest.approx(table.scene.truth.q, rel=0.1)
    assert "lost: 0" in said(flight)[0]


def test_the_light_is_short_and_counted(flown) -> None:  # type: ignore[no-untyped-def]
    table, flight = flown
    assert flight.light_s < 2.0
    # Beside the flight itself the blade's travel counts, and rests at both ends.
    assert table.pump.dose_uj_cm2 == pytest.approx(flight.solved.dose_uj_cm2, rel=0.15)
    assert table.pump.dose_uj_cm2 < 300_000.0
    assert table.opened() == 1


def test_full_transmission_above_a_limit_is_refused_in_the_dark() -> None:
    table = Table(limits=Limits(max_fluence_uj_cm2=215.0))  # 205 is allowed, 223 at full transmission is not
    with pytest.raises(SafetyStop, match="at full transmission the highest pulses exceed a limit") as refused:
        table.fly()
    assert "add a filter" in str(refused.value.hint)
    assert table.opened() == 0
    assert table.pump.dose_uj_cm2 == 0


def test_scatter_of_the_pulses_counts_at_full_transmission() -> None:
    limits = Limits(max_fluence_uj_cm2=300.0)
    Table(limits=limits).fly()
    with pytest.raises(SafetyStop, match="highest pulses"):
        Table(limits=limits, more=lambda s: replace(s, pulse_cv=0.1)).fly()


def test_a_dose_that_full_transmission_would_exceed_is_refused() -> None:
    table = Table(limits=Limits(max_fluence_uj_cm2=700.0, max_dose_uj_cm2=300_000.0))
    with pytest.raises(SafetyStop, match="dose would exceed"):
        table.fly()
    assert table.opened() == 0


def test_benches_that_cannot_fly_are_refused_by_name() -> None:
    table = Table()
    table.roles = replace(table.roles, spectrometer=SceneSpectrometer("spectrometer", table.scene))
    with pytest.raises(ConfigError, match="no buffer that keeps every shot"):
        table.fly()
    behind = Table(more=lambda s: replace(s, order=("attenuator", "shutter", "pick-off", "sample")))
    with pytest.raises(ConfigError, match="in front of the shutter"):
        behind.fly()
    for plan, why in (
        (FlyPlan(205.0, 30.0), "below the highest"),
        (FlyPlan(30.0, 900.0), "above the limit"),
        (FlyPlan(30.0, 205.0, passes=3), "even number"),
    ):
        with pytest.raises(ConfigError, match=why):
            table.fly(plan)
    small = Table()
    small.burst.buffer_shots = 300
    with pytest.raises(ConfigError, match="holds 300"):
        small.fly()
    faint = Table()
    with pytest.raises(ConfigError, match="times its noise"):
        faint.fly(FlyPlan(0.5, 205.0))
    for refused in (table, behind, small, faint):
        assert refused.opened() == 0


class Unsteady(SceneMount):
    """Its n-th move, counted from 0, takes longer."""

    slow: int | None = None
    moves = 0

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        number, self.moves = self.moves, self.moves + 1
        reached = super().move_to(angle_deg, stop)
        if number == self.slow:
            self.clock.sleep(0.2, stop)
        return reached


def unsteady(slow: int | None) -> tuple[Table, Unsteady]:
    table = Table()
    mount = Unsteady("attenuator", table.scene)
    mount.slow = slow
    table.roles = replace(table.roles, attenuator=mount)
    table.pump = Pump(table.roles, table.pump.settings, LIMITS)
    return table, mount


@pytest.fixture(scope="module")
def moves_of_a_flight() -> int:
    """The last five moves are the four passes and the way to the least light."""
    table, mount = unsteady(None)
    table.fly()
    return mount.moves


def test_a_plate_that_does_not_keep_its_speed_is_refused_and_its_light_ended(moves_of_a_flight: int) -> None:
    for slow, error, lit in (
        (moves_of_a_flight - 7, InstrumentFault, 0),
        (moves_of_a_flight - 4, SafetyStop, 1),
    ):
        table, _ = unsteady(slow)
        with pytest.raises(error, match="does not keep its speed"):
            table.fly()
        assert table.dark
        assert table.opened() == lit


@pytest.mark.parametrize("when", [0, 40])
def test_a_trigger_that_stops_ends_the_light_first(when: int) -> None:
    table = Table()
    seen: list[bool] = []

    def silent() -> None:
        seen.append(table.dark)
        if (len(seen) > when and not when) or (when and not table.dark):
            raise InstrumentTimeout(table.burst.name, "no shot within 1 s: no trigger reaches it")

    closed_first: list[bool] = []
    disarm = table.burst.disarm

    def watched() -> None:
        closed_first.append(table.dark)
        disarm()

    table.burst.before_fetch = silent
    table.burst.disarm = watched  # type: ignore[method-assign]
    with pytest.raises(InstrumentError, match="no trigger"):
        table.fly()
    assert table.dark
    assert closed_first == [True]
    assert table.opened() == (1 if when else 0)
    assert table.sink.points == []
    assert (table.sink.count("dark") >= 200) == bool(when)


def test_after_a_fault_the_file_holds_every_shot_before_it(moves_of_a_flight: int) -> None:
    table, _ = unsteady(moves_of_a_flight - 3)
    with pytest.raises(SafetyStop, match="does not keep its speed"):
        table.fly()
    assert table.dark
    assert table.sink.points == []
    assert table.sink.count("light") > 700  # three passes, with the rests before them
    pulses = np.concatenate([block.pulse for block in table.sink.blocks])
    assert (np.diff(pulses) == 1).all()
    opened_s, closed_s = (float(t) for t in np.array(table.scene.shutter.track._times)[[-4, -1]])
    times_s = np.concatenate([block.batch.device_time_us for block in table.sink.blocks]) * 1e-6 - 7.0
    assert times_s[0] < opened_s
    assert times_s[-1] > closed_s - 0.01


def test_clipped_frames_and_lost_shots_end_the_flight() -> None:
    bright = Table()
    expose = bright.scene.camera.expose_each

    def flooded(starts_s: FloatArray, integration_s: float) -> CountArray:
        frames = expose(starts_s, integration_s)
        return frames if bright.dark else np.full_like(frames, 65535)

    bright.scene.camera.expose_each = flooded  # type: ignore[method-assign]
    with pytest.raises(SafetyStop, match="frames are clipped"):
        bright.fly()
    assert bright.dark
    losing = Table()

    def lose() -> None:
        if not losing.dark:
            losing.burst.next += 60

    losing.burst.before_fetch = lose
    with pytest.raises(SafetyStop, match="shots are lost"):
        losing.fly()
    assert losing.dark


def test_a_stop_ends_the_light() -> None:
    table = Table()

    class Late:
        def is_set(self) -> bool:
            return not table.dark

    with pytest.raises(Aborted):
        table.fly(stop=Late())
    assert table.dark
    assert table.burst.disarmed == 1


def test_a_table_instead_of_a_malus_curve_is_refused() -> None:
    from labctl.model.pump import TableCurve

    curve = TableCurve(np.linspace(12.0, 57.0, 20), np.linspace(1.0, 0.002, 20))
    table = Table(more=lambda s: replace(s, curve=curve))
    assert not isinstance(table.pump.settings.curve, MalusCurve)
    with pytest.raises(ConfigError, match="Malus curve"):
        table.fly()
