"""``labctl export``: runs as CSV, NeXus or RO-Crate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from labctl.cli.common import Json
from labctl.cli.output import write_json, write_lines


def export(
    runs: Annotated[list[Path], typer.Argument(help="Run files (.h5).", show_default=False)],
    form: Annotated[
        Literal["csv", "nexus", "ro-crate"],
        typer.Option(
            "--to", help="csv: curve and spectra; nexus: the run file; ro-crate: a zip for an archive."
        ),
    ] = "csv",
    output: Annotated[Path, typer.Option(help="Directory of the files.")] = Path(),
    licence: Annotated[
        str,
        typer.Option(
            "--license", help="Address of the license of the data, for ro-crate.", show_default=False
        ),
    ] = "",
    as_json: Json = False,
) -> int:
    """Write runs in a form that other programs and archives read. No file is overwritten.

    A run file is a NeXus file already: nexus copies it under the ending .nxs. An RO-Crate holds the runs,
    their tables, a report and a description with checksums (needs ro-crate-py: the extra labctl[archive]).
    """
    from datetime import UTC, datetime

    from labctl.runner.archive import export as exporting

    written = exporting.export(runs, form, output, datetime.now(UTC), licence)
    if as_json:
        write_json({"files": [str(path.resolve()) for path in written]})
    else:
        write_lines(map(str, written))
    return 0
