"""``labctl verify``: whether the files of stored runs are complete."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.common import Json
from labctl.cli.output import write_json, write_lines
from labctl.model.errors import DataError

if TYPE_CHECKING:
    from labctl.model.shots import ShotTally


EXIT_BAD = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one file; ``planned`` is None where the plan leaves the number open.

    ``shots`` are those that were kept one by one; None of a run that keeps none.
    """

    file: Path
    status: str | None
    points: int | None
    planned: int | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    shots: ShotTally | None = None

    def to_json(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "file": str(self.file.absolute()),
            "ok": not self.problems,
            "status": self.status,
            "points": self.points,
            "planned": self.planned,
            "problems": list(self.problems),
            "notes": list(self.notes),
            **({} if self.shots is None else {"shots": self.shots.kept, "shots_missing": self.shots.lost}),
        }

    def lines(self) -> list[str]:
        """Return what a person reads."""
        if self.points is None:
            return [f"{self.file}: BAD", *(f"    {problem}" for problem in self.problems)]
        of = "" if self.planned is None else f" of {self.planned}"
        word = "BAD" if self.problems else "ok"
        held = f"{self.points}{of} points"
        if self.shots is not None:
            kept = f"{self.shots.kept} shots, {self.shots.lost} missing"
            held = f"{held}, {kept}" if self.points else kept
        first = f"{self.file}: {word}, {self.status}, {held}"
        return [first, *(f"    {problem}" for problem in self.problems), *(f"    {n}" for n in self.notes)]


def verify(
    files: Annotated[list[Path], typer.Argument(help="Run files (.h5).", show_default=False)],
    as_json: Json = False,
) -> int:
    """Check that run files are complete and sound, and agree with their CSV. Exit code 0 sound, 5 not."""
    from labctl.model.mapping import plain

    verdicts = [judge(path) for path in files]
    if as_json:
        document = plain({"files": [verdict.to_json() for verdict in verdicts]})
        write_json(document)
    else:
        write_lines(line for verdict in verdicts for line in verdict.lines())
    return EXIT_BAD if any(verdict.problems for verdict in verdicts) else 0


def judge(path: Path) -> Verdict:
    """Check one file; one that cannot be opened is a verdict too."""
    from labctl.data.verify import findings
    from labctl.runner.resume import RESUMABLE, plan_size

    try:
        found = findings(path)
    except DataError as exc:
        return Verdict(path, None, None, None, (str(exc).removeprefix(f"{path}: "),), ())
    run, problems, notes = found.run, list(found.problems), list(found.notes)
    planned, shots = plan_size(run.start.plan), run.shots
    if run.status == "finished" and planned is not None and len(run) != planned:
        problems.append(f"its status is finished, with {len(run)} of {planned} points")
    if run.status in ("aborted", "failed", "killed"):
        why = f" ({run.reason})" if run.reason else ""
        rest = (
            ""
            if run.start.procedure not in RESUMABLE
            else f"; labctl resume {run.path.name} measures the rest"
        )
        notes.append(f"{run.status}{why}{rest}")
    elif run.status == "running":
        notes.append(run.reason)
    tally = None if shots is None else shots.tally
    return Verdict(path, run.status, len(run), planned, tuple(problems), tuple(notes), tally)
