"""The fault matrix: every kind of fault, every instrument it can befall, every procedure there is.

In every cell either the run recovers with the right data, or it ends in the safe state with a typed error
and a readable file. What the light really was is read from the scene. Beside single faults at chosen messages
there are cells in which chance chooses, in which several come together, and ("process") in which simulators,
sweep and watchdog are processes of their own. A worker that dies or hangs is a cell that fails.

    python tests/campaigns/fault_matrix.py [--procedure sweep] [--kind drop] [--instrument shutter] [-v]
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import fault_cells
import fault_messages
import fault_processes
from fault_judge import Cell, Outcome, ProcedureName, Reference

from benchmarks import trials
from benchmarks.tables import line
from simulators.faults.plan import EVERYBODY, KINDS, ROLES

PROCEDURES: tuple[ProcedureName, ...] = (
    *fault_cells.PROCEDURES,
    "process",
)
RUNS: tuple[ProcedureName, ...] = (
    "sweep", "adaptive", "stability", "resume", "align", "set fluence", "set angle", "check", "process",
)  # fmt: skip
CALIBRATIONS = tuple(name for name in PROCEDURES if name not in RUNS)
AT_RANDOM = ", at random"
HANGS_S = 240.0
"""Wall time after which a cell's process is ended: every deadline in a run together is far below."""


def run_one(cell: Cell, reference: Reference, speed: float | None) -> Outcome:
    """Run a cell in this process, in a directory of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if cell.procedure == "process":
            return fault_processes.run(cell, Path(folder))
        return fault_cells.run(cell, reference, Path(folder), speed)


def outcomes(
    cells: Sequence[Cell], jobs: int, reference: Reference, speed: float | None
) -> Iterator[Outcome]:
    """Yield the outcome of every cell, as they come: one whose process dies or hangs has failed."""
    run = partial(run_one, reference=reference, speed=speed)
    for cell, found in trials.outcomes(run, cells, jobs, HANGS_S):
        if not isinstance(found, trials.Failed):
            yield found
        elif found.lost:
            yield Outcome(cell, "lost", found.what, wall_s=HANGS_S, problems=[found.what])
        else:
            yield Outcome(cell, "broken", found.what, problems=[f"the cell itself failed: {found.what}"])


def measured(
    cells: Sequence[Cell], args: Namespace, row: Callable[[Outcome], str], speed: float | None = None
) -> list[Outcome]:
    """Run all cells, and print a line as each ends, with its error where that is wanted."""
    done: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        reference = fault_cells.undisturbed(Path(folder), procedures={cell.procedure for cell in cells})
    for outcome in outcomes(cells, args.jobs, reference, speed):
        done.append(outcome)
        print(row(outcome), flush=True)
        if args.verbose and outcome.error:
            print(f"      {outcome.error}", flush=True)
    return done


def row(outcome: Outcome, *, markdown: bool) -> str:
    cell = outcome.cell
    safe = "" if outcome.safe_s is None else f"{outcome.safe_s:.2f}"
    data = f"{outcome.points}" + (f" ({outcome.flagged} flagged)" if outcome.flagged else "")
    verdict = "; ".join(outcome.problems) or "ok"
    columns = [cell.procedure, cell.kind, cell.instrument, cell.where, outcome.ended, data]
    columns += [f"{outcome.wall_s:.1f}", safe, verdict]
    return line(*columns) if markdown else "  ".join(columns)


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return two tables of kinds and instruments, runs and calibrations, and a line of sums."""
    found = list(outcomes)
    parts = [_table([o for o in found if o.cell.procedure in names], names) for names in (RUNS, CALIBRATIONS)]
    lit = [o.safe_s for o in found if o.safe_s is not None]
    held = [o for o in found if not o.problems]
    right = sum(o.ended == "finished" for o in held)
    parts.append(
        f"{len(held)} of {len(found)} cells hold: {right} went to their end, {len(held) - right} ended safe "
        f"or were told; light was on in {len(lit)}, the slowest dark after {max(lit, default=0.0):.2f} s; "
        f"longest cell {max((o.wall_s for o in found), default=0.0):.0f} s"
    )
    return "\n\n".join(part for part in parts if part)


def _table(outcomes: Sequence[Outcome], names: Sequence[ProcedureName]) -> str:
    """Return e.g. "6 + 2" in each field: so many went to their end, so many ended safe or were told."""
    if not outcomes:
        return ""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((_kind(outcome.cell), _whom(outcome.cell)), []).append(outcome)
    heads = ["fault", "instrument", *(name.removeprefix("cal ") for name in names)]
    heads += ["dark, s", "longest, s", "fail"]
    lines = [line(*heads), "|---" * len(heads) + "|"]
    for (kind, whom), found in sorted(groups.items(), key=_place):
        dark = [o.safe_s for o in found if o.safe_s is not None]
        columns = (f"{max(dark):.2f}" if dark else "", f"{max(o.wall_s for o in found):.0f}", failures(found))
        lines.append(line(kind, whom, *(ends(found, name) for name in names), *columns))
    return "\n".join(lines)


def ends(outcomes: Sequence[Outcome], procedure: str) -> str:
    """Say e.g. "6 + 2": so many of a procedure went to their end, so many ended safe or were told."""
    mine = [o for o in outcomes if o.cell.procedure == procedure]
    held = [o for o in mine if not o.problems]
    right = sum(o.ended == "finished" for o in held)
    return f"{right} + {len(held) - right}" if mine else ""


def failures(outcomes: Sequence[Outcome]) -> str:
    """Say how many failed, nothing if none did."""
    return str(sum(bool(o.problems) for o in outcomes) or "")


def _place(group: tuple[tuple[str, str], object]) -> tuple[bool, int, int]:
    """Say where a row belongs: single faults first, in the order of their kinds and roles."""
    kind, whom = group[0]
    single = kind.removesuffix(AT_RANDOM)
    return kind != single, [*KINDS, single].index(single), [*ROLES, whom].index(whom)


def _kind(cell: Cell) -> str:
    return f"{cell.kind}{AT_RANDOM}" if cell.where.startswith("at random") else cell.kind


def _whom(cell: Cell) -> str:
    """Return whom it befell; the laser is no instrument, and its plan names whose messages were counted."""
    if cell.kind in EVERYBODY:
        return "laser"
    return "any" if cell.where.startswith("at random") else cell.instrument or "any"


def cells_of(procedure: ProcedureName) -> Iterator[Cell]:
    return fault_processes.cells() if procedure == "process" else fault_messages.cells(procedure)


def chosen(cells: Iterable[Cell], args: Namespace) -> list[Cell]:
    """Return the cells that were asked for."""
    return [
        c
        for c in cells
        if (not args.kind or c.kind in args.kind)
        and (not args.instrument or c.instrument in args.instrument)
        and args.where in c.where
    ]


def options(doc: str | None, procedures: Sequence[str], kind: str) -> ArgumentParser:
    """Return the options that say which cells are run, and how."""
    made = trials.parser(doc, jobs=2, where="")
    made.add_argument("--procedure", action="append", choices=procedures)
    made.add_argument(kind, dest="kind", action="append")
    made.add_argument("--instrument", action="append")
    made.add_argument("-v", "--verbose", action="store_true", help="print every error")
    return made


def main() -> int:
    """Print the table; the number of failed cells is the exit code."""
    made = options(__doc__, PROCEDURES, "--kind")
    made.add_argument("--speed", type=float, help="of the bench's clock; stepped by default")
    made.add_argument("--markdown", action="store_true")
    made.add_argument("--summary", action="store_true", help="a table of kinds and instruments at the end")
    args = made.parse_args()
    asked = chosen((c for p in args.procedure or PROCEDURES for c in cells_of(p)), args)
    began = time.monotonic()
    done = measured(asked, args, partial(row, markdown=args.markdown), args.speed)
    failed = sum(bool(outcome.problems) for outcome in done)
    if args.summary:
        print(summary(done))
    text = f"{len(done) - failed} of {len(asked)} cells hold; {time.monotonic() - began:.0f} s"
    print(text, file=sys.stderr)
    return failed + len(asked) - len(done)


if __name__ == "__main__":
    sys.exit(min(main(), 100))
