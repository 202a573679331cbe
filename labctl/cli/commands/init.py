"""``labctl init``: an annotated bench file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    file: Annotated[
        Path | None,
        typer.Argument(help="File to write; an existing file is never overwritten.", show_default="print it"),
    ] = None,
) -> int:
    """Print an annotated bench file, or write it."""
    from labctl.config.example import EXAMPLE

    if file is None:
        typer.echo(EXAMPLE, nl=False)
        return 0
    try:
        with file.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(EXAMPLE)
    except FileExistsError as exc:
        from labctl.model.errors import ConfigError

        raise ConfigError("exists already", file=file, hint="another name") from exc
    return 0
