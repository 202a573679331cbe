"""The campaign of plausible lies: an instrument answers in form and wrongly, in every procedure with light.

In every cell the run ends dark and told, or with the right data. The truth comes from the scene, as in the
fault matrix, whose judge and procedures these are. The pick-off stands before the shutter or behind it.

    python benchmarks/lies.py [--procedure sweep] [--instrument shutter] [--lie "sticks open"] [-v]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import fault_cells
import fault_workers
from fault_records import Cell, Outcome, ProcedureName
from lies_wire import LIES

PROCEDURES: tuple[ProcedureName, ...] = (
    "sweep", "adaptive", "stability", "resume", "align", "set fluence", "set angle",
)  # fmt: skip
FROM: Mapping[str, Mapping[ProcedureName, int]] = {
    "shutter": {
        "sweep": 3, "adaptive": 3, "stability": 5, "resume": 2, "align": 1, "set fluence": 1, "set angle": 1,
    },
    "power_meter": {
        "sweep": 45, "adaptive": 60, "stability": 60, "resume": 20, "align": 40, "set fluence": 4,
        "set angle": 4,
    },
    "attenuator": {
        "sweep": 5, "adaptive": 5, "stability": 7, "resume": 3, "align": 16, "set fluence": 2, "set angle": 2,
    },
    "spectrometer": {"sweep": 54, "adaptive": 54, "stability": 54, "resume": 66, "align": 64},
}  # fmt: skip
"""In the midst of the measurement; the first closings, readings, motions and settings are other cells."""
FIRST = {"shutter": 1, "attenuator": 2, "power_meter": 1, "spectrometer": 1}
TIMES: Mapping[ProcedureName, int] = {"sweep": 5, "adaptive": 5, "stability": 3, "resume": 3, "align": 4}
"""Settings of another exposure time, two of them the proof's; the n-th, where a lie is about the time."""


def cells(procedures: Sequence[ProcedureName] = PROCEDURES) -> Iterator[Cell]:
    """Yield every cell."""
    for procedure in procedures:
        for behind in (False,) if procedure == "resume" else (False, True):
            for instrument, lies in LIES.items():
                if procedure not in FROM[instrument]:
                    continue
                for lie in lies:
                    middle = TIMES[procedure] if "the time" in lie else FROM[instrument][procedure]
                    for nth in sorted({FIRST[instrument], middle}):
                        where = f"from the {nth}. on, pick-off {'behind' if behind else 'before'} the shutter"
                        yield Cell(
                            lie, instrument, where, (), procedure, lies_from=nth, behind=behind, may_miss=True
                        )


def row(outcome: Outcome) -> str:
    """Return a line of the long table."""
    cell = outcome.cell
    lit = "" if outcome.lit_s is None or outcome.ended == "finished" else f"{outcome.lit_s:.2f}"
    verdict = "; ".join(outcome.problems) or "ok"
    return "  ".join(
        (cell.procedure, cell.instrument, cell.kind, cell.where, outcome.ended, f"{outcome.points} points",
         f"{outcome.flagged} flagged", f"{outcome.fired} lies", lit, verdict)
    )  # fmt: skip


def table(outcomes: Sequence[Outcome]) -> str:
    """Return e.g. "2 + 1" in each field: so many were right, so many dark and told."""
    heads = ["instrument", "lie", *PROCEDURES, "lit after it, s", "fail"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for instrument, lies in LIES.items():
        for lie in lies:
            mine = [o for o in outcomes if (o.cell.instrument, o.cell.kind) == (instrument, lie) and o.fired]
            fields = [_field([o for o in mine if o.cell.procedure == name]) for name in PROCEDURES]
            lit = [o.lit_s for o in mine if o.lit_s is not None and o.ended != "finished"]
            longest = f"{max(lit):.1f}" if lit else ""
            failed = sum(bool(o.problems) for o in mine) or ""
            lines.append(f"| {' | '.join((instrument, lie, *fields, longest))} | {failed} |")
    return "\n".join(lines)


def _field(outcomes: Sequence[Outcome]) -> str:
    held = [o for o in outcomes if not o.problems]
    right = sum(o.ended == "finished" for o in held)
    return f"{right} + {len(held) - right}" if outcomes else ""


def main() -> int:
    """Print every cell and the table; the number of failed cells is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--procedure", action="append", choices=PROCEDURES)
    parser.add_argument("--instrument", action="append", choices=tuple(LIES))
    parser.add_argument("--lie", action="append")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-v", "--verbose", action="store_true", help="print every error")
    args = parser.parse_args()
    asked = [
        cell
        for cell in cells(args.procedure or PROCEDURES)
        if (not args.instrument or cell.instrument in args.instrument)
        and (not args.lie or cell.kind in args.lie)
    ]
    began, done = time.monotonic(), list[Outcome]()
    with tempfile.TemporaryDirectory() as folder:
        reference = fault_cells.undisturbed(Path(folder), procedures={cell.procedure for cell in asked})
    for outcome in fault_workers.outcomes(asked, args.jobs, reference, None):
        done.append(outcome)
        print(row(outcome), flush=True)
        if args.verbose and outcome.error:
            print(f"      {outcome.error}", flush=True)
    failed = sum(bool(o.problems) for o in done)
    print(table(done))
    fired = sum(bool(o.fired) for o in done)
    took_s = time.monotonic() - began
    print(f"{len(done) - failed} of {len(done)} cells hold, in {fired} a lie was told; {took_s:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 100))
