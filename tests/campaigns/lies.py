"""The campaign of plausible lies: an instrument answers in form and wrongly, in every procedure with light.

In every cell the run ends dark and told, or with the right data. The truth comes from the scene, as in the
fault matrix, whose judge and procedures these are. The pick-off stands before the shutter or behind it.

    python tests/campaigns/lies.py [--procedure sweep] [--instrument shutter] [--lie "sticks open"] [-v]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from fault_judge import Cell, Outcome, ProcedureName
from fault_matrix import chosen, ends, failures, measured, options
from lies_wire import LIES

from benchmarks.tables import line

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
    lines = [line(*heads), "|---" * len(heads) + "|"]
    for instrument, lies in LIES.items():
        for lie in lies:
            mine = [o for o in outcomes if (o.cell.instrument, o.cell.kind) == (instrument, lie) and o.fired]
            lit = [o.lit_s for o in mine if o.lit_s is not None and o.ended != "finished"]
            longest = f"{max(lit):.1f}" if lit else ""
            fields = (ends(mine, name) for name in PROCEDURES)
            lines.append(line(instrument, lie, *fields, longest, failures(mine)))
    return "\n".join(lines)


def main() -> int:
    """Print every cell and the table; the number of failed cells is the exit code."""
    args = options(__doc__, PROCEDURES, "--lie").parse_args()
    began = time.monotonic()
    done = measured(chosen(cells(args.procedure or PROCEDURES), args), args, row)
    failed = sum(bool(o.problems) for o in done)
    print(table(done))
    fired = sum(bool(o.fired) for o in done)
    took_s = time.monotonic() - began
    print(f"{len(done) - failed} of {len(done)} cells hold, in {fired} a lie was told; {took_s:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 100))
