"""One cell of the fault matrix: a procedure on a simulated bench where one thing goes wrong, and its judge.

The whole way is gone: simulated instruments on TCP, drivers, gate, sweep, writer. What the light really was
is read from the scene, never from labctl. Scene and client share one stepped clock; time-outs are wall time.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labctl.config import BenchConfig, parse_bench
from labctl.data import read_run
from labctl.data.verify import verify
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.errors import LabctlError
from labctl.model.records import SweepPoint
from labctl.runner.keeper import Keeper
from labctl.runner.run import RunFailed, RunRequest, run_sweep
from labctl.session.check import check_bench
from procedures.plan import AdaptivePlan, SweepPlan
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.scene import Scene

ProcedureName = Literal["sweep", "adaptive", "check", "process"]
SEED = 5
SAMPLE = "ola"
LIMIT_S = 60.0
"""Wall time beyond which a cell counts as hanging: above the sum of every deadline a run can meet."""
SAFE_S = 1.0
BEGIN_S = 10.0
"""Scene time at which a cell begins: faults from the start are older than any exposure or reading."""
PLANS: dict[str, SweepPlan] = {
    "sweep": SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=160.0, points=6, average=4),
    "adaptive": AdaptivePlan(
        start_uj_cm2=40.0, stop_uj_cm2=160.0, points=10, average=4, budget_points=12, target_rel=0.006
    ),
}
NUMBERS = ("attenuator", "power_meter")
"""Instruments whose reading in a check begins with a number."""
HARMLESS_FLAGS = frozenset({"spikes", "low_power"})
"""Flags of points of an undisturbed run too; they excuse nothing."""


@dataclass(frozen=True)
class Cell:
    """A fault, as the lines of its table in a plan, and the procedure it befalls.

    :param where: in words, which message or moment.
    :param seed: of what is left to chance.
    :param plan: a whole plan, where it is more than one fault.
    :param may_miss: whether it is no mistake of the cell if nothing was hit.
    """

    kind: str
    instrument: str
    where: str
    lines: tuple[str, ...]
    procedure: ProcedureName
    seed: int = 3
    plan: str = ""
    may_miss: bool = False

    def toml(self) -> str:
        """Return the plan of faults."""
        return self.plan or "\n".join(
            (
                f"seed = {self.seed}",
                "[[fault]]",
                f'kind = "{self.kind}"',
                f'instrument = "{self.instrument}"',
                *self.lines,
            )
        )


@dataclass
class Outcome:
    """What came of a cell; ``problems`` is empty where the requirement holds."""

    cell: Cell
    ended: str = ""
    error: str = ""
    points: int = 0
    flagged: int = 0
    fired: int = 0
    wall_s: float = 0.0
    safe_s: float | None = None
    worst: float = 0.0
    told: str = ""
    problems: list[str] = field(default_factory=list)


class Truth:
    """What happened on the optical table, beside what labctl says of it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.turns: list[tuple[float, bool]] = []
        self.dimmings: list[float] = []
        self.exposures: list[tuple[float, float, bool]] = []
        self._command, self._expose = scene.shutter.command, scene.camera.expose
        self._move_to = scene.mount.move_to
        scene.mount.move_to = self._moved  # type: ignore[method-assign]
        scene.shutter.command = self._commanded  # type: ignore[method-assign]
        scene.camera.expose = self._exposed  # type: ignore[method-assign]

    def _commanded(self, open_: bool) -> float:
        if open_ != self.scene.shutter.is_open():
            self.turns.append((time.monotonic(), open_))
        return self._command(open_)

    def _moved(self, angle_deg: float) -> float:
        if float(self.scene.beam.malus(angle_deg)) < 1.5 * self.scene.settings.optics.t_min:
            self.dimmings.append(time.monotonic())
        return self._move_to(angle_deg)

    def _exposed(self, start_s: float, integration_s: float) -> NDArray[np.uint16]:
        """Note the mean fluence of every exposure that saw light all the time."""
        beam = self.scene.beam
        rate = self.scene.settings.laser.repetition_rate_hz
        with self.scene.lock:
            energy = beam.at_sample(beam.laser.between(start_s, integration_s * rate))
            lit = energy.size > 0 and bool(
                np.all(np.asarray(beam.blade.track.over(np.array([start_s, start_s + integration_s]))) == 1.0)
            )
        self.exposures.append((integration_s, float(np.mean(energy) * beam.peak_uj_cm2_per_j), lit))
        return self._expose(start_s, integration_s)

    def fluence_of(self, point: SweepPoint) -> float:
        """Return the true mean fluence of the latest lit exposures of the point's time, and forget them."""
        mine = [f for seconds, f, lit in self.exposures if lit and abs(seconds - point.integration_s) < 1e-9]
        self.exposures.clear()
        return float(np.mean(mine[-point.exposures :])) if mine else math.nan

    def dark_after_s(self, known_s: float, *, dimmed_is_dark: bool) -> float | None:
        """Return how long after a wall time light could still pass; None if it was dark then."""
        before = [open_ for at_s, open_ in self.turns if at_s <= known_s]
        if not before or not before[-1]:
            return None
        dark = [at_s for at_s, open_ in self.turns if not open_ and at_s > known_s]
        dark += [at_s for at_s in self.dimmings if dimmed_is_dark and at_s > known_s]
        return min(dark, default=math.inf) - known_s

    def blade(self) -> float:
        """Return the part of the beam that passes now."""
        return float(self.scene.shutter.track.at(self.scene.clock.now_s()))

    def transmission(self) -> float:
        """Return the attenuator's true transmission over its least one."""
        angle = self.scene.mount.angle_deg()
        return float(self.scene.beam.malus(angle)) / self.scene.settings.optics.t_min


@contextmanager
def dated_errors() -> Iterator[dict[int, float]]:
    """Note when each error was made, by its id; the errors are kept alive meanwhile."""
    made: dict[int, float] = {}
    kept: list[BaseException] = []
    original: Callable[..., None] = LabctlError.__init__

    def dated(self: LabctlError, *args: Any, **kwargs: Any) -> None:
        made[id(self)] = time.monotonic()
        kept.append(self)
        original(self, *args, **kwargs)

    LabctlError.__init__ = dated  # type: ignore[method-assign]
    try:
        yield made
    finally:
        LabctlError.__init__ = original  # type: ignore[method-assign]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class Reference:
    """Undisturbed runs of the same seed: what signal belongs to a true fluence."""

    def __init__(self, points: list[tuple[float, float]]) -> None:
        fluence, signal = np.array(sorted(points)).T
        self._x, self._y = np.log(fluence), np.log(signal)

    def signal(self, fluence: float) -> tuple[float, float]:
        """Return signal and local exponent at a fluence."""
        x = math.log(fluence)
        y = [float(np.interp(x + d, self._x, self._y)) for d in (-0.05, 0.0, 0.05)]
        return math.exp(y[1]), (y[2] - y[0]) / 0.1


def undisturbed(folder: Path, points: int = 40) -> Reference:
    """Measure the light-light curve finely, with the truth of its fluence."""
    plan = dataclasses.replace(PLANS["sweep"], start_uj_cm2=30.0, stop_uj_cm2=200.0, points=points)
    found: list[tuple[float, float]] = []
    with SimulatedBench(_scene(), SteppedClock()) as bench:
        truth = Truth(bench.scene)

        _measure(bench, plan, folder, lambda point: found.append((truth.fluence_of(point), point.signal)))
    return Reference(found)


def _scene() -> Any:
    return presets.scene(SAMPLE, "typical", SEED)


def _config(bench: SimulatedBench) -> BenchConfig:
    return parse_bench(
        bench.bench_toml(1.0).replace("[spectrometer]", "[spectrometer]\ntimeout_margin_s = 2.0")
    )


def _measure(bench: SimulatedBench, plan: SweepPlan, folder: Path, see: Callable[[SweepPoint], None]) -> Any:
    """Sweep; ``see`` gets every point in the acquisition thread, once it is stored."""
    append = Keeper.append

    def seen(self: Keeper, point: SweepPoint) -> None:
        append(self, point)
        see(point)

    Keeper.append = seen  # type: ignore[method-assign]
    try:
        request = RunRequest(folder, "matrix")
        stop = threading.Event()
        return run_sweep(
            _config(bench), plan, request, stop=stop, on_event=lambda _event: None, clock=bench.scene.clock
        )
    finally:
        Keeper.append = append  # type: ignore[method-assign]


def run(cell: Cell, reference: Reference, folder: Path, speed: float | None = None) -> Outcome:
    """Let a fault befall a procedure and judge what became of it.

    :param speed: bench seconds a wall second; None: a stepped clock.
    """
    clock = SteppedClock(BEGIN_S) if speed is None else ScaledClock(speed)
    outcome = Outcome(cell)
    faults = FaultPlan.parse(cell.toml()) if cell.kind != "none" else None
    with dated_errors() as made, SimulatedBench(_scene(), clock, faults=faults) as bench:
        truth = Truth(bench.scene)
        began = time.monotonic()
        if cell.procedure == "check":
            error = _check(bench, outcome)
        else:
            error = _sweep(bench, outcome, truth, reference, folder)
        outcome.wall_s = time.monotonic() - began
        outcome.fired = len(list(bench.fault_log))
        _judge_end(outcome, truth, error, made, 0.0 if speed is None else 60.0 / speed)
    return outcome


def _check(bench: SimulatedBench, outcome: Outcome) -> BaseException | None:
    try:
        report = check_bench(_config(bench), clock=bench.scene.clock)
    except LabctlError as exc:
        outcome.ended, outcome.error = "error", f"{type(exc).__name__}: {exc}"
        return exc
    outcome.ended = "told" if report.failures else "finished"
    outcome.error = "; ".join(f"{f.role}: {f.reason}" for f in report.failures)
    shown = {
        c.role: float(c.reading.split()[0]) for c in report.instruments if c.role in NUMBERS and c.reading
    }
    now = bench.scene.clock.now_s()
    true_uw = 1e6 * float(np.mean(bench.scene.beam.mean_power(now - 0.3, now, "pick-off").power_w))
    if "power_meter" in shown and not abs(shown["power_meter"] - true_uw) <= 0.15 * true_uw + 0.05:
        outcome.problems.append(f"power {shown['power_meter']:.4g} uW shown, {true_uw:.4g} uW true")
    if "attenuator" in shown and abs(shown["attenuator"] - bench.scene.mount.encoder_deg()) > 0.01:
        outcome.problems.append(f"angle {shown['attenuator']:g} deg")
    return None


def _sweep(
    bench: SimulatedBench, outcome: Outcome, truth: Truth, reference: Reference, folder: Path
) -> BaseException | None:
    def see(point: SweepPoint) -> None:
        _judge_point(outcome, point, truth.fluence_of(point), reference)

    try:
        report = _measure(bench, PLANS[outcome.cell.procedure], folder, see)
    except RunFailed as exc:
        _judge_file(outcome, exc.report.h5)
        outcome.ended, outcome.error = "error", f"{type(exc.error).__name__}: {exc.error}"
        if not isinstance(exc.error, LabctlError):
            outcome.problems.append("the error is not typed")
        return exc.error
    except LabctlError as exc:
        outcome.ended, outcome.error = "error", f"{type(exc).__name__}: {exc}"
        return exc
    except Exception as exc:  # noqa: BLE001  it is the finding
        outcome.ended, outcome.error = "error", f"{type(exc).__name__}: {exc}"
        outcome.problems.append("the error is not typed")
        return exc
    outcome.ended = report.status
    _judge_file(outcome, report.h5)
    if report.points != _wanted(outcome.cell):
        outcome.problems.append(f"{report.points} points")
    return None


def _wanted(cell: Cell) -> int:
    plan = PLANS[cell.procedure]
    return plan.budget_points if isinstance(plan, AdaptivePlan) else plan.points


def _judge_point(outcome: Outcome, point: SweepPoint, true: float, reference: Reference) -> None:
    outcome.points += 1
    if set(point.flags) - HARMLESS_FLAGS:
        outcome.flagged += 1
        return
    sigma = math.hypot(point.fluence_sigma_rel, 0.012)  # the pick-off's own drift
    off = point.fluence_uj_cm2 / true - 1
    outcome.worst = max(outcome.worst, abs(off))
    if not abs(off) <= 5 * sigma:
        outcome.problems.append(f"point {point.index}: fluence off by {off:+.1%}, no flag")
    expected, slope = reference.signal(true)
    spread = math.hypot(point.signal_sigma / expected, 0.02 * max(slope, 1.0))
    off = point.signal / expected - 1
    if not abs(off) <= 5 * spread:
        outcome.problems.append(f"point {point.index}: signal off by {off:+.1%}, no flag")


def _judge_file(outcome: Outcome, path: Path | None) -> None:
    if path is None:
        outcome.problems.append("there is no file")
        return
    try:
        stored = read_run(path)
        outcome.told = "; ".join(event.text for event in stored.events)
        if len(stored) != outcome.points:
            outcome.problems.append(f"{outcome.points} points shown, {len(stored)} in the file")
        outcome.problems += [f"file: {line}" for line in verify(path)]
    except LabctlError as exc:
        outcome.problems.append(f"the file is not readable: {exc}")


def _judge_end(
    outcome: Outcome, truth: Truth, error: BaseException | None, made: dict[int, float], own_s: float
) -> None:
    """Judge how it ended; ``own_s`` is what an undisturbed run takes by the clock."""
    if outcome.wall_s > LIMIT_S + own_s:
        outcome.problems.append(f"took {outcome.wall_s:.0f} s")
    if outcome.cell.kind == "none" and outcome.ended == "error":
        outcome.problems.append("nothing went wrong, and it failed")
    if not outcome.fired and outcome.cell.kind != "none" and not outcome.cell.may_miss:
        outcome.problems.append("the fault never fired")
    if outcome.ended == "error" and not isinstance(error, LabctlError):
        outcome.problems.append(f"no typed error: {outcome.error}")
    known = [made[id(e)] for e in chain(error) if id(e) in made]
    # Where the shutter itself fails, the attenuator at its minimum is what counts.
    if known:
        by_plate = outcome.cell.instrument in ("shutter", "")
        outcome.safe_s = truth.dark_after_s(min(known), dimmed_is_dark=by_plate)
    if outcome.safe_s is not None and outcome.safe_s > SAFE_S:
        outcome.problems.append(f"dark {outcome.safe_s:.2f} s after the fault was known")
    _judge_safety(outcome, truth, error)


def _judge_safety(outcome: Outcome, truth: Truth, error: BaseException | None) -> None:
    """Shutter closed and attenuator at its minimum; where a fault makes that impossible it must be told."""
    said = outcome.told + outcome.error + "".join(getattr(error, "__notes__", []))
    began = outcome.cell.procedure != "check" and truth.scene.mount.referenced
    bright = began and truth.transmission() > 1.5  # before the first homing it stays where it is
    if truth.blade() > 0:
        if "NOT MADE SAFE" not in said and "not made safe" not in said and "confirm" not in said:
            outcome.problems.append("the shutter is open and nobody said so")
        elif bright and outcome.cell.kind != "stuck-plate":
            outcome.problems.append("the shutter is stuck open and the attenuator not at its minimum")
    elif bright and not _told_of_plate(said):
        outcome.problems.append(f"the attenuator passes {truth.transmission():.0f} times its minimum, unsaid")


def _told_of_plate(said: str) -> bool:
    return any(word in said.lower() for word in ("not made safe", "attenuator", "plate"))
