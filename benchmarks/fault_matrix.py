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
import fault_processes
import fault_random
import fault_workers
from fault_cells import Cell, Outcome, ProcedureName

from simulators.faults.kinds import KINDS

PROCEDURES: tuple[ProcedureName, ...] = ("sweep", "adaptive", "check", "process")
MESSAGES: dict[str, tuple[tuple[str, str, int], ...]] = {
    "attenuator": (("first", "0in", 1), ("homing", "0ho", 1), ("move", "0ma", 4), ("position", "0gp", 6)),
    "power_meter": (
        ("first", "*IDN?", 1),
        ("setting", "SENS:CORR:WAV ", 1),
        ("read-back", "SENS:CORR:WAV?", 3),
        ("reading", "MEAS:POW?", 40),
    ),
    "shutter": (
        ("first", "id?", 1),
        ("toggle", "^ens$", 5),
        ("asked", "ens?", 9),
        ("switch", "closed?", 15),
        ("interlock", "interlock?", 3),
    ),
    "spectrometer": (
        ("first", "00000100", 1),
        ("setting", "00110010", 2),
        ("read-back", "00110000", 3),
        ("spectrum", "00101000", 30),
    ),
}
"""Messages of an instrument that are hit: a name, what the request contains, which of them in a sweep."""
MAIN = {"move", "reading", "toggle", "spectrum"}
"""Messages on which the light rests: hit in every way in a planned sweep, and alone in an adaptive one."""
CHECKED = {"first", "read-back", "position", "reading", "switch", "setting", "spectrum"}
"""Messages that a check sends as well; it hits the first of them."""
VARIANTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "drop": ((), ("count = 1000000",)),
    "delay": (("wall_s = 0.5",), ("wall_s = 5.0",)),
    "late-answer": ((), ("wall_s = 2.5",)),
    "disconnect": ((), ("wall_s = 30.0",)),
    "stall": (("wall_s = 3.0",), ()),
    "garble": ((), ("bytes = 1",)),
    "truncate": ((), ("bytes = 0",)),
    "stale-answer": ((), ("count = 1000000",)),
    "stuck-plate": ((), ('readback = "commanded"',)),
    "failed-shutter": ((), ('readback = "commanded"',)),
    "dead-laser": ((), ("duration_s = 2.0",)),
    "slow-shutter": ((), ("travel_s = 0.1",)),
}
ON_THE_TABLE = {
    "stuck-plate": ("0ma", "attenuator"),
    "slipped-plate": ("0ma", "attenuator"),
    "failed-shutter": ("^ens$", "shutter"),
    "slow-shutter": ("^ens$", "shutter"),
    "dead-laser": ("00101000", "spectrometer"),
    "jumping-laser": ("00101000", "spectrometer"),
    "drifting-laser": ("00101000", "spectrometer"),
    "blocked-meter": ("MEAS:POW?", "power_meter"),
    "saturated-spectrometer": ("00101000", "spectrometer"),
}
WHEN = {"0ma": 4, "^ens$": 5, "MEAS:POW?": 40, "00101000": 30}
UNANSWERED = {("power_meter", "setting")}


def cells(procedure: ProcedureName) -> Iterator[Cell]:
    """Yield every cell of one procedure."""
    for kind in KINDS:
        if KINDS[kind].layer == "bytes":
            yield from _of_messages(kind, procedure)
        elif KINDS[kind].layer == "device":
            yield from _of_devices(kind, procedure)
        else:
            yield from _of_the_table(kind, procedure)


def _of_messages(kind: str, procedure: ProcedureName) -> Iterator[Cell]:
    for instrument in KINDS[kind].roles:
        for name, match, nth in MESSAGES.get(instrument, ()):
            if (procedure == "check" and name not in CHECKED) or (
                kind == "short-frame" and name != "spectrum"
            ):
                continue
            if procedure == "adaptive" and name not in MAIN:
                continue
            for direction, variant in _ways(kind, every=procedure == "sweep" and name in MAIN):
                if direction == "request" or (instrument, name) not in UNANSWERED:
                    number = 1 if procedure == "check" else nth
                    lines = (f'match = "{match}"', f"nth = {number}", f'direction = "{direction}"', *variant)
                    where = " ".join((name, direction, *variant))
                    yield Cell(kind, instrument, where, lines, procedure)


def _ways(kind: str, *, every: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield directions and variants, every one or the first of each."""
    directions, variants = KINDS[kind].directions, VARIANTS.get(kind, ((),))
    if not every:
        directions, variants = directions[:1], variants[:1]
    for direction in directions:
        for variant in variants:
            yield direction, variant


def _of_devices(kind: str, procedure: ProcedureName) -> Iterator[Cell]:
    for instrument in KINDS[kind].roles:
        for name, match, nth in MESSAGES.get(instrument, ()):
            if procedure == "check" and name not in CHECKED:
                continue
            number = 1 if procedure == "check" else nth
            lines = (f'match = "{match}"', f"nth = {number}")
            yield Cell(kind, instrument, name, lines, procedure)
            if kind == "restart" and instrument == "spectrometer":
                yield Cell(kind, instrument, f"{name} 0.35 s", (*lines, "integration_s = 0.35"), procedure)


def _of_the_table(kind: str, procedure: ProcedureName) -> Iterator[Cell]:
    match, instrument = ON_THE_TABLE.get(kind, ("", ""))
    if not match:
        return
    for variant in VARIANTS.get(kind, ((),)):
        moments = (
            ("at_s = 0.0",)
            if procedure == "check"
            else ("at_s = 0.0", f'match = "{match}"\nnth = {WHEN[match]}')
        )
        for moment in moments:
            where = " ".join(("from the start" if "at_s" in moment else "in the sweep", *variant))
            yield Cell(kind, instrument, where, (moment, *variant), procedure)


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
    """Return a table of kinds and instruments: how many cells recovered, and how many ended safe."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.cell.kind, outcome.cell.instrument), []).append(outcome)
    lines = [
        "| fault | instrument | planned sweep | adaptive sweep | check | processes "
        "| dark after, s | longest, s | fail |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (kind, instrument), found in groups.items():
        columns = [kind, instrument or "any", *(_ends(found, name) for name in PROCEDURES)]
        dark = [o.safe_s for o in found if o.safe_s is not None]
        columns += [f"{max(dark):.2f}" if dark else "", f"{max(o.wall_s for o in found):.0f}"]
        lines.append(f"| {' | '.join(columns)} | {sum(bool(o.problems) for o in found) or ''} |")
    return "\n".join(lines)


def _ends(outcomes: Sequence[Outcome], procedure: str) -> str:
    """Return e.g. "7 right, 2 safe": ran to its end with the right data, or ended safe and said why."""
    mine = [o for o in outcomes if o.cell.procedure == procedure and not o.problems]
    right = sum(o.ended == "finished" for o in mine)
    parts = [f"{right} right" if right else "", f"{len(mine) - right} safe" if len(mine) > right else ""]
    return ", ".join(part for part in parts if part)


def _all(procedure: ProcedureName) -> Iterator[Cell]:
    if procedure == "process":
        yield from fault_processes.cells()
        return
    yield Cell("none", "", "", (), procedure)
    yield from cells(procedure)
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
        reference = fault_cells.undisturbed(Path(folder))
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
