"""``labctl report``: one file about runs for a supervisor, a referee or an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labctl.cli.common import Json
from labctl.cli.output import write_json, write_lines


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run files (.h5).", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            help="The HTML file; an existing one is replaced.", show_default="<first run>_report.html"
        ),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print a PDF beside it, with Chromium, Chrome or Edge.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Write one HTML file about runs: result, figures, plan, instruments, uncertainty, checklist, methods.

    It opens in any browser, without a network, and holds the numbers behind its figures. Of several runs it
    begins with what they show together.
    """
    from datetime import UTC, datetime

    from labctl.cli.signals import ended_at_once
    from labctl.runner.documents.print_pdf import print_pdf
    from labctl.runner.documents.run_report import write_report

    with ended_at_once():
        written = [write_report(runs, output, datetime.now(UTC))]
    if pdf:
        written.append(print_pdf(written[0], written[0].with_suffix(".pdf")))
    if as_json:
        write_json({"files": [str(path.resolve()) for path in written]})
    else:
        write_lines(map(str, written))
    return 0
