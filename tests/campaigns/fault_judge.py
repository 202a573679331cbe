"""A cell of the fault matrix, and whether it holds: true data or a flag, a typed error, a file, dark."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.scene_truth import SceneTruth
from labctl.data import Run, read_run
from labctl.data.verify import verify
from labctl.model.errors import LabctlError
from labctl.model.records import SweepPoint

ProcedureName = Literal[
    "sweep", "adaptive", "check", "process", "stability", "resume", "align", "set fluence", "set angle",
    "cal attenuator", "cal pickoff", "cal energy", "cal spot", "cal spectrometer", "cal check",
]  # fmt: skip
LIMIT_S = 60.0
"""Wall time beyond which a cell counts as hanging: above the sum of every deadline a run can meet."""
SAFE_S = 1.0
HARMLESS_FLAGS = frozenset({"spikes", "low_power", "shutter_open"})
"""Flags of points of an undisturbed run too, or alignment; they excuse nothing."""
PICKOFF_REL = 0.012
"""The pick-off's own drift on this bench."""
SIGMAS = 5.0
NO_PLATE = ("check", "cal attenuator")
"""What never turns the plate, or does not know yet where it is darkest."""


@dataclass(frozen=True)
class Cell:
    """A fault, as the lines of its table in a plan, and the procedure it befalls.

    :param where: in words, which message or moment.
    :param seed: of what is left to chance.
    :param plan: a whole plan, where it is more than one fault.
    :param may_miss: whether it is no mistake of the cell if nothing was hit.
    :param lies_from: the instrument answers in form and lies, as ``kind`` says, from this message on.
    :param behind: the pick-off stands behind the shutter.
    """

    kind: str
    instrument: str
    where: str
    lines: tuple[str, ...]
    procedure: ProcedureName
    seed: int = 3
    plan: str = ""
    may_miss: bool = False
    lies_from: int = 0
    behind: bool = False

    def toml(self) -> str:
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
    """What came of a cell; ``problems`` is empty where the requirement holds.

    :param ended: "finished", "error", or "told": it went to its end and said that something is wrong.
    :param told: everything that its user reads, or finds in the file.
    :param lit_s: bench seconds of light above the attenuator's least after a lie began.
    """

    cell: Cell
    ended: str = ""
    error: str = ""
    points: int = 0
    flagged: int = 0
    fired: int = 0
    wall_s: float = 0.0
    safe_s: float | None = None
    lit_s: float | None = None
    worst: float = 0.0
    told: str = ""
    problems: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take in a line that its user reads."""
        self.told += f"; {line}"


class Reference:
    """Undisturbed runs of the same seed: what signal belongs to a true fluence.

    :param files: what undisturbed procedures left, by name; others begin with them.
    """

    def __init__(self, points: list[tuple[float, float]], files: Mapping[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        fluence, signal = np.array(sorted(points)).T
        self._x, self._y = np.log(fluence), np.log(signal)

    def signal(self, fluence: float) -> tuple[float, float]:
        """Return signal and local exponent at a fluence."""
        x = math.log(fluence)
        y = [float(np.interp(x + d, self._x, self._y)) for d in (-0.05, 0.0, 0.05)]
        return math.exp(y[1]), (y[2] - y[0]) / 0.1


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


def judge_point(outcome: Outcome, point: SweepPoint, true: float, reference: Reference) -> None:
    """Compare a point without a flag with the true fluence and the signal that belongs to it."""
    outcome.points += 1
    if set(point.flags) - HARMLESS_FLAGS:
        outcome.flagged += 1
        return
    if outcome.cell.kind == "stays closed" and math.isnan(true):
        if point.signal > SIGMAS * point.signal_sigma:
            outcome.problems.append(f"point {point.index}: a signal without light, no flag")
        return
    off = point.fluence_uj_cm2 / true - 1
    outcome.worst = max(outcome.worst, abs(off))
    if not abs(off) <= SIGMAS * math.hypot(point.fluence_sigma_rel, PICKOFF_REL):
        outcome.problems.append(f"point {point.index}: fluence off by {off:+.1%}, no flag")
    expected, slope = reference.signal(true)
    spread = math.hypot(point.signal_sigma / expected, 0.02 * max(slope, 1.0))
    off = point.signal / expected - 1
    if not abs(off) <= SIGMAS * spread:
        outcome.problems.append(f"point {point.index}: signal off by {off:+.1%}, no flag")


def judge_file(outcome: Outcome, path: Path | None, shown: int | None = None) -> Run | None:
    """Read and check a run file, which must hold every point that was shown, where that is known."""
    if path is None:
        outcome.problems.append("there is no file")
        return None
    try:
        stored = read_run(path)
        outcome.told = "; ".join([outcome.told, *(event.text for event in stored.events)])
        if shown is not None and len(stored) != shown:
            outcome.problems.append(f"{shown} points shown, {len(stored)} in the file")
        outcome.problems += [f"file: {line}" for line in verify(path)]
    except LabctlError as exc:
        outcome.problems.append(f"the file is not readable: {exc}")
        return None
    return stored


def judge_error(outcome: Outcome, error: BaseException) -> BaseException:
    """Enter what ended a procedure; it must be an error of labctl's own."""
    outcome.ended, outcome.error = "error", f"{type(error).__name__}: {error}"
    if not isinstance(error, LabctlError):
        outcome.problems.append("the error is not typed")
    return error


def judge_end(
    outcome: Outcome, truth: SceneTruth, error: BaseException | None, made: dict[int, float], own_s: float
) -> None:
    """Judge how it ended; ``own_s`` is what an undisturbed run takes by the clock."""
    if outcome.wall_s > LIMIT_S + own_s:
        outcome.problems.append(f"took {outcome.wall_s:.0f} s")
    if outcome.cell.kind == "none" and outcome.ended == "error":
        outcome.problems.append("nothing went wrong, and it failed")
    if not outcome.fired and outcome.cell.kind != "none" and not outcome.cell.may_miss:
        outcome.problems.append("the fault never fired")
    known = [made[id(e)] for e in chain(error) if id(e) in made]
    # Where the shutter itself fails, the attenuator at its minimum is what counts.
    if known:
        by_plate = outcome.cell.instrument in ("shutter", "")
        outcome.safe_s = truth.dark_after_s(min(known), dimmed_is_dark=by_plate)
    if outcome.safe_s is not None and outcome.safe_s > SAFE_S:
        outcome.problems.append(f"dark {outcome.safe_s:.2f} s after the fault was known")
    if outcome.cell.lies_from and outcome.cell.instrument == "power_meter" and _told_of_energy(outcome):
        outcome.problems = [p for p in outcome.problems if ", no flag" not in p]
        outcome.ended = "told" if outcome.ended == "finished" else outcome.ended
    _judge_safety(outcome, truth, error)


def _judge_safety(outcome: Outcome, truth: SceneTruth, error: BaseException | None) -> None:
    """Shutter closed and attenuator at its minimum; where a fault makes that impossible it must be told."""
    said = outcome.told + outcome.error + "".join(getattr(error, "__notes__", []))
    began = outcome.cell.procedure not in NO_PLATE and truth.scene.mount.referenced
    bright = began and truth.transmission() > 1.5  # before the first homing it stays where it is
    if truth.blade() > 0:
        if "NOT MADE SAFE" not in said and "not made safe" not in said and "confirm" not in said:
            outcome.problems.append("the shutter is open and nobody said so")
        elif bright and outcome.cell.kind != "stuck-plate":
            outcome.problems.append("the shutter is stuck open and the attenuator not at its minimum")
    elif bright and not _told_of_plate(said) and not _lies(outcome):
        outcome.problems.append(f"the attenuator passes {truth.transmission():.0f} times its minimum, unsaid")


def _told_of_energy(outcome: Outcome) -> bool:
    return "energies are" in outcome.told or "the pulse energy stepped" in outcome.told


def _lies(outcome: Outcome) -> bool:
    """Whether the mount says that it is where it should be: behind the closed shutter nothing tells."""
    if outcome.cell.lies_from:
        return outcome.cell.instrument == "attenuator"
    return outcome.cell.kind == "stuck-plate" and "commanded" in outcome.cell.where


def _told_of_plate(said: str) -> bool:
    return any(word in said.lower() for word in ("not made safe", "attenuator", "plate"))
