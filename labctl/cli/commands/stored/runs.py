"""``labctl runs``: what lies in a folder of runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from labctl.cli.common import Json
from labctl.cli.output import make_console, write_json, write_lines, write_styled


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of run files.")] = Path(),
    as_json: Json = False,
) -> int:
    """List the runs of a folder, and of those in it: sample, when, status, threshold, verdict.

    What each file holds is shown; nothing is fitted again.
    """
    from labctl.model.mapping import plain
    from labctl.runner.archive.listing import Entry, listed

    found = list(listed(folder))
    if as_json:
        write_json({"runs": [plain(entry) for entry in found]})
        return 0
    if not found:
        write_lines([f"{folder}: no run files (.h5)"])
        return 0
    from rich.table import Table

    console = make_console(width=None if sys.stdout.isatty() else 160)
    table = Table(title=f"{len(found)} runs in {folder}" if len(found) > 1 else f"1 run in {folder}")
    for heading in ("file", "sample", "started (UTC)", "status", "points", "threshold (uJ/cm2)", "result"):
        table.add_column(heading, overflow="fold")

    def row(entry: Entry) -> tuple[str, ...]:
        sample = f"{entry.sample}, spot {entry.spot}" if entry.spot else entry.sample
        when = entry.started_utc[:16].replace("T", " ")
        name = str(entry.file.relative_to(folder))
        return name, sample, when, entry.status, str(entry.points), entry.threshold, entry.result

    for entry in found:
        table.add_row(*row(entry))
    with console.capture() as captured:
        console.print(table)
    write_styled(captured.get())
    return 0
