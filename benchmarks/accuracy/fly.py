"""Thresholds of flights as labctl flies them: python -m benchmarks.accuracy.fly [--seeds 200].

``procedures.fly.fly`` over the simulated scene, then the result that the run file holds. In this process,
without wires: the plate gets its commands late by chance (``--late-ms``, exponential) and its reports are
heard late by chance (``REPLY_MS``); the clock of the shots is off by up to 3 ms, evenly drawn, which
the analysis is not told. ``--speed 1.02``: in the light the plate is so much faster than it was in the dark.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.benches import scene
from benchmarks.scene_roles import BANDS, LIMITS, SceneBurst, SceneMount, scene_pump, scene_roles
from benchmarks.tables import column, rms, share, show, table
from benchmarks.trials import found, parser
from labctl.analysis.evaluation import evaluate
from labctl.model.clock import SteppedClock, Stop
from labctl.model.plan import FlyPlan
from labctl.model.results.sweep import Threshold
from labctl.model.run import PointList, RunFacts
from procedures.fly import Flight, fly
from procedures.gate.pump import Pump
from simulators.scene import Scene

PLAN = FlyPlan(30.0, 205.0)
FULL_J = 35e-9
WAY_MS, REPLY_MS = 1.0, 1.2
"""Time of a message to the plate, and standard deviation of that of its report."""
LATEST_MS = 3.0


@dataclass(frozen=True)
class Case:
    """One flight.

    :ivar late_ms: mean of the time by which a command leaves late, beside ``WAY_MS``.
    :ivar speed: of the plate in the light over that in the dark.
    :ivar early_ms: how far the clock of the shots is off; drawn where None.
    """

    seed: int
    level: str = "typical"
    passes: int = 4
    late_ms: float = 0.3
    speed: float = 1.0
    early_ms: float | None = None


@dataclass(frozen=True)
class Band:
    """What was said of one band; nan where nothing was."""

    error: float
    covered: bool
    half_width: float


@dataclass(frozen=True)
class Outcome:
    lasing: Band
    whole: Band
    latency_error_s: float
    duration_rel: float
    flagged: bool
    motion_rel: float
    shots: int
    light_s: float
    dose: float


class LooseMount(SceneMount):
    """A plate behind messages that take their time; its speed may change once there is light."""

    def __init__(self, scene: Scene, case: Case) -> None:
        super().__init__("attenuator", scene)
        self._case = case
        self._rng = np.random.default_rng([case.seed, 77])
        self.starts_s: list[float] = []

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        late_ms = WAY_MS + self._case.late_ms * float(self._rng.standard_exponential())
        self.clock.sleep(1e-3 * late_ms, stop)
        self.scene.mount.speed_rel = self._case.speed if self.scene.shutter.is_open() else 1.0
        self.starts_s.append(self.clock.now_s())
        super().move_to(angle_deg, stop)
        heard_ms = WAY_MS + REPLY_MS * abs(float(self._rng.standard_normal()))
        self.clock.sleep(1e-3 * heard_ms, stop)
        return self.angle_deg()

    def angle_deg(self) -> float:
        self.clock.sleep(1e-3 * (WAY_MS + REPLY_MS))
        return super().angle_deg()


class Table:
    """A bench that can fly, over a scene."""

    def __init__(self, case: Case) -> None:
        settings = scene("ola", case.level, case.seed)
        settings = replace(settings, laser=replace(settings.laser, max_pulse_energy_j=FULL_J))
        clock = SteppedClock()
        self.case, self.scene = case, Scene(settings, clock)
        self.burst = SceneBurst("spectrometer", self.scene)
        drawn = np.random.default_rng([case.seed, 78]).uniform(-LATEST_MS, LATEST_MS)
        self.burst.early_s = 1e-3 * float(drawn if case.early_ms is None else case.early_ms)
        self.mount = LooseMount(self.scene, case)
        self.roles = replace(scene_roles(self.scene, clock), spectrometer=self.burst, attenuator=self.mount)
        pump = replace(
            scene_pump(settings),
            pulse_cv=settings.laser.pulse_cv,
            curve_sigma_deg=0.02,
            leak_sigma=2e-4,
            angle_sigma_deg=settings.mount.repeatability_deg,
        )
        self.pump = Pump(self.roles, pump, LIMITS)

    def fly(self) -> Flight:
        plan = replace(PLAN, passes=self.case.passes)
        return fly(plan, self.roles, self.pump, BANDS)

    def late_s(self, flight: Flight) -> float:
        """Return how much later than its command a pass began, on the clock of the shots; mean of all."""
        turns, laser = flight.solved.fit.turns, self.scene.laser
        last_s = (self.burst.next - 1 + laser.phase) / laser.settings.repetition_rate_hz
        ahead_s = float(flight.solved.time_s[-1]) - last_s
        starts_s = np.array(self.mount.starts_s)
        began_s = [starts_s[starts_s > turn.command_s][0] - turn.command_s for turn in turns]
        return float(np.mean(began_s)) + ahead_s

    def facts(self) -> RunFacts:
        return RunFacts(
            bands=BANDS, settings=self.pump.settings, spectrometer=self.burst.info, convention="peak"
        )


def flown(case: Case) -> Outcome:
    made = Table(case)
    flight = made.fly()
    result = evaluate(PointList(flight.points, (flight.dark,)), PLAN, made.facts())
    truth, solved, mount = made.scene.truth.threshold_uj_cm2, flight.solved, made.scene.settings.mount
    at = result.threshold_lasing.threshold_uj_cm2
    law = solved.fit.law
    duration = mount.overhead_s + law.way_deg / (mount.speed_deg_s * case.speed)
    return Outcome(
        _band(result.threshold_lasing, truth),
        _band(result.threshold, truth),
        float(np.mean(solved.fit.late_s(solved.at))) - made.late_s(flight),
        solved.motion.duration_s.value / duration - 1,
        bool(solved.motion.flags),
        np.nan if at is None else solved.error_rel(at, made.pump.settings.angle_sigma_deg),
        int(solved.good.sum()),
        flight.light_s,
        solved.dose_uj_cm2,
    )


def _band(said: Threshold, truth: float) -> Band:
    value, ends = said.threshold_uj_cm2, said.ci95
    if value is None or ends is None:
        return Band(np.nan, False, np.nan)
    return Band(value / truth - 1, ends[0] <= truth <= ends[1], (ends[1] - ends[0]) / 2 / value)


def _rows(name: str, bands: list[Band]) -> list[tuple[str, str]]:
    error, width = column(bands, "error"), column(bands, "half_width")
    return [
        (f"{name}: found", f"{int(np.isfinite(error).sum())} of {len(bands)}"),
        (f"{name}: bias, RMSE (%)", f"{100 * np.nanmean(error):+.2f}, {100 * rms(error):.2f}"),
        (f"{name}: 95 % interval covers", f"{sum(b.covered for b in bands)} of {len(bands)}"),
        (
            f"{name}: half-width (%), median; 90 % are below",
            f"{100 * np.nanmedian(width):.2f}; {100 * np.nanquantile(width, 0.9):.2f}",
        ),
    ]


def main() -> None:
    a = parser(
        __doc__, seeds=200, first=1, jobs=1, level="typical", passes=4, late_ms=0.3, speed=1.0
    ).parse_args()
    seeds = range(a.first, a.first + a.seeds)
    ends = list(found(flown, [Case(n, a.level, a.passes, a.late_ms, a.speed) for n in seeds], a.jobs))
    rows = (
        *_rows("lasing peaks", [e.lasing for e in ends]),
        *_rows("whole emission", [e.whole for e in ends]),
        (
            "half-width of the motion alone (%), median",
            f"{_of_motion(ends):.2f}",
        ),
        ("shots in points; light (s); dose (J/cm2), medians", _medians(ends)),
        ("start of the passes: rms error (ms)", f"{1e3 * rms(column(ends, 'latency_error_s')):.2f}"),
        ("duration of a pass: rms error (%)", f"{100 * rms(column(ends, 'duration_rel')):.2f}"),
        ("flagged (%)", f"{share([e.flagged for e in ends]):.1f}"),
        ("off by 2 % or more without a flag (%)", f"{share([_silent(e) for e in ends]):.1f}"),
    )
    what = f"{a.level}, {a.passes} passes, {a.late_ms:g} ms late, speed x {a.speed:g}"
    show(table((f"{len(ends)} flights from seed {a.first}", what), rows))


def _of_motion(ends: list[Outcome]) -> float:
    return 196 * float(np.nanmedian(column(ends, "motion_rel")))


def _medians(ends: list[Outcome]) -> str:
    shots, light, dose = (np.median(column(ends, name)) for name in ("shots", "light_s", "dose"))
    return f"{shots:.0f}; {light:.2f}; {1e-6 * dose:.3f}"


def _silent(e: Outcome) -> bool:
    return abs(e.lasing.error) > 0.02 and not e.flagged


if __name__ == "__main__":
    main()
