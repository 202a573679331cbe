"""``labctl summarise``: an archive of runs fitted again, into one table."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.common import Json
from labctl.cli.output import write_json, write_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from labctl.runner.archive.summary import Progress

SAY_S = 2.0


def summarise(
    folder: Annotated[
        Path, typer.Argument(help="Folder of runs; the folders in it count too.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(help="The table, CSV.")] = Path("summary.csv"),
    jobs: Annotated[
        int, typer.Option(min=1, max=256, help="Processes side by side.", show_default="one for each core")
    ] = os.cpu_count() or 1,
    as_json: Json = False,
) -> int:
    """Fit every run of a folder again, into one table: a row a run, written as soon as it is there.

    Interrupted, the same command goes on where it was; a run is fitted again only if its file or labctl has
    changed. Exit code 5 if a run could not be fitted: the table says why.
    """
    from labctl.cli.signals import ended_at_once
    from labctl.runner.archive.summary import sample_lines
    from labctl.runner.archive.summary import summarise as work

    with ended_at_once():
        rows = work(folder, output, jobs, _progress())
    failed = [row for row in rows if row.error]
    lines = sample_lines(rows)
    if as_json:
        write_json(
            {
                "table": str(output.resolve()),
                "runs": len(rows),
                "failed": [{"file": row.file, "error": row.error} for row in failed],
                "samples": lines,
            }
        )
    else:
        write_lines(
            [
                *(f"{row.file}: {row.error}" for row in failed),
                *lines,
                f"{len(rows)} runs, {len(failed)} not fitted: {output}",
            ]
        )
    return 5 if failed else 0


def _progress() -> Callable[[Progress], None]:
    """Return what says on stderr, every few seconds, how far it is."""
    began = said = time.monotonic()

    def say(progress: Progress) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= SAY_S or progress.done == progress.total:
            said = now
            write_lines([progress.text(now - began)], sys.stderr)

    return say
