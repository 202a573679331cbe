"""Whether a cell of the fault matrix holds: true data or a flag, a typed error, a readable file, dark."""

from __future__ import annotations

import math
from pathlib import Path

from fault_records import LIMIT_S, SAFE_S, Outcome
from fault_truth import Reference, Truth, chain

from labctl.data import read_run
from labctl.data.verify import verify
from labctl.model.errors import LabctlError
from labctl.model.records import SweepPoint

HARMLESS_FLAGS = frozenset({"spikes", "low_power", "shutter_open"})
"""Flags of points of an undisturbed run too, or alignment; they excuse nothing."""
PICKOFF_REL = 0.012
"""The pick-off's own drift on this bench."""
SIGMAS = 5.0
NO_PLATE = ("check", "cal attenuator")
"""What never turns the plate, or does not know yet where it is darkest."""


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


def judge_file(outcome: Outcome, path: Path | None, before: int = 0) -> None:
    """Read and check a run file; it must hold every point shown, and ``before`` that were there already."""
    if path is None:
        outcome.problems.append("there is no file")
        return
    try:
        stored = read_run(path)
        outcome.told = "; ".join([outcome.told, *(event.text for event in stored.events)])
        if len(stored) != before + outcome.points:
            outcome.problems.append(f"{before + outcome.points} points shown, {len(stored)} in the file")
        outcome.problems += [f"file: {line}" for line in verify(path)]
    except LabctlError as exc:
        outcome.problems.append(f"the file is not readable: {exc}")


def judge_error(outcome: Outcome, error: BaseException) -> BaseException:
    """Enter what ended a procedure; it must be an error of labctl's own."""
    outcome.ended, outcome.error = "error", f"{type(error).__name__}: {error}"
    if not isinstance(error, LabctlError):
        outcome.problems.append("the error is not typed")
    return error


def judge_end(
    outcome: Outcome, truth: Truth, error: BaseException | None, made: dict[int, float], own_s: float
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


def _judge_safety(outcome: Outcome, truth: Truth, error: BaseException | None) -> None:
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
