"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _named(name: str) -> str:
    if not name.strip():
        raise typer.BadParameter("a name is needed, and this one is empty")
    return name


SampleName = Annotated[
    str, typer.Option("--sample", help="Name of the sample.", callback=_named, show_default=False)
]
BenchFile = Annotated[Path, typer.Option("--bench", help="The bench file, TOML.", show_default=False)]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else there.")
]
