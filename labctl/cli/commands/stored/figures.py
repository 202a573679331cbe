"""``labctl figures``: the figures of stored runs, as a journal wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from labctl.cli.common import Json
from labctl.cli.output import write_json, write_lines


def figures(
    runs: Annotated[list[Path], typer.Argument(help="Run files (.h5).", show_default=False)],
    kind: Annotated[
        Literal["pdf", "svg", "png"], typer.Option("--format", help="Format of the files.")
    ] = "pdf",
    columns: Annotated[
        Literal["single", "double", "screen"],
        typer.Option(help="Width: one column (89 mm), two columns (183 mm), or a screen with titles."),
    ] = "double",
    output: Annotated[
        Path | None, typer.Option(help="Directory of the figures.", show_default="beside each run")
    ] = None,
    as_json: Json = False,
) -> int:
    """Draw the figures of runs for a journal; of several runs also all in one figure.

    White, without titles: the caption says what they show. PDF keeps its text as text.
    """
    from labctl.cli.signals import ended_at_once
    from labctl.runner.figures.of_runs import draw_figures

    with ended_at_once():
        drawn = draw_figures(runs, columns, kind, output)
    if as_json:
        write_json({"figures": [str(path.resolve()) for path in drawn]})
    else:
        write_lines([str(path) for path in drawn] or ["nothing to draw: no run has points"])
    return 0
