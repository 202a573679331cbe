"""The fault matrix: every kind of fault, every instrument it can befall, every procedure there is.

In every cell either the run recovers with the right data, or it ends in the safe state with a typed error
and a readable file. What the light really was is read from the scene. Beside single faults at chosen messages
there are cells in which chance chooses, in which several come together, and ("process") in which simulators,
sweep and watchdog are processes of their own. A worker that dies or hangs is a cell that fails.

    python benchmarks/fault_matrix.py [--procedure sweep] [--kind drop] [--instrument shutter] [--markdown]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import fault_cells
import fault_messages
import fault_processes
import fault_random
import fault_workers
from fault_records import Cell, Outcome, ProcedureName

from simulators.faults.kinds import EVERYBODY, KINDS, ROLES

PROCEDURES: tuple[ProcedureName, ...] = (
    *fault_cells.PROCEDURES,
    "process",
)
RUNS: tuple[ProcedureName, ...] = (
    "sweep", "adaptive", "stability", "resume", "align", "set fluence", "set angle", "check", "process",
)  # fmt: skip
CALIBRATIONS = tuple(name for name in PROCEDURES if name not in RUNS)
AT_RANDOM = ", at random"
BY_CHANCE = ("sweep", "adaptive", "check")
"""Procedures in which chance chooses, too."""


def row(outcome: Outcome, *, markdown: bool) -> str:
    """Return a line of the table."""
    cell = outcome.cell
    safe = "" if outcome.safe_s is None else f"{outcome.safe_s:.2f}"
    data = f"{outcome.points}" + (f" ({outcome.flagged} flagged)" if outcome.flagged else "")
    verdict = "; ".join(outcome.problems) or "ok"
    columns = (
        cell.procedure,
        cell.kind,
        cell.instrument,
        cell.where,
        outcome.ended,
        data,
        f"{outcome.wall_s:.1f}",
        safe,
        verdict,
    )
    return ("| " + " | ".join(columns) + " |") if markdown else "  ".join(columns)


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
    heads = [
        "fault",
        "instrument",
        *(name.removeprefix("cal ") for name in names),
        "dark, s",
        "longest, s",
        "fail",
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (kind, whom), found in sorted(groups.items(), key=_place):
        columns = [kind, whom, *(_ends(found, name) for name in names)]
        dark = [o.safe_s for o in found if o.safe_s is not None]
        columns += [f"{max(dark):.2f}" if dark else "", f"{max(o.wall_s for o in found):.0f}"]
        lines.append(f"| {' | '.join(columns)} | {sum(bool(o.problems) for o in found) or ''} |")
    return "\n".join(lines)


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


def _ends(outcomes: Sequence[Outcome], procedure: str) -> str:
    mine = [o for o in outcomes if o.cell.procedure == procedure]
    held = [o for o in mine if not o.problems]
    right = sum(o.ended == "finished" for o in held)
    return f"{right} + {len(held) - right}" if mine else ""


def _all(procedure: ProcedureName) -> Iterator[Cell]:
    if procedure == "process":
        yield from fault_processes.cells()
        return
    yield Cell("none", "", "", (), procedure)
    yield from fault_messages.cells(procedure)
    if procedure in BY_CHANCE:
        yield from fault_random.cells(procedure)


def chosen(args: argparse.Namespace) -> list[Cell]:
    """Return the cells that were asked for."""
    procedures: tuple[ProcedureName, ...] = args.procedure or PROCEDURES
    every = [c for p in procedures for c in _all(p)]
    return [
        c
        for c in every
        if (not args.kind or c.kind in args.kind)
        and (not args.instrument or c.instrument in args.instrument)
        and args.where in c.where
    ]


def main() -> int:
    """Print the table; the number of failed cells is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--procedure", action="append", choices=PROCEDURES)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--instrument", action="append")
    parser.add_argument("--where", default="")
    parser.add_argument("--jobs", type=int, default=2, help="processes; most of a cell is waiting")
    parser.add_argument("--speed", type=float, help="of the bench's clock; stepped by default")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--summary", action="store_true", help="a table of kinds and instruments at the end")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every error")
    args = parser.parse_args()
    done: list[Outcome] = []
    asked, began = chosen(args), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        reference = fault_cells.undisturbed(Path(folder), procedures={cell.procedure for cell in asked})
    for outcome in fault_workers.outcomes(asked, args.jobs, reference, args.speed):
        done.append(outcome)
        print(row(outcome, markdown=args.markdown), flush=True)
        if args.verbose and outcome.error:
            print(f"      {outcome.error}", flush=True)
    failed = sum(bool(outcome.problems) for outcome in done)
    if args.summary:
        print(summary(done))
    text = f"{len(done) - failed} of {len(asked)} cells hold; {time.monotonic() - began:.0f} s"
    print(text, file=sys.stderr)
    return failed + len(asked) - len(done)


if __name__ == "__main__":
    sys.exit(min(main(), 100))
