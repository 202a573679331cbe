"""Options that several commands share."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from labctl.cli.output import write_lines

log = logging.getLogger(__name__)


def warn(line: str) -> None:
    """Say at once, on stderr, what whoever works with the light should know."""
    log.warning("%s", line)
    with contextlib.suppress(OSError, ValueError):
        write_lines([f"labctl: {line}"], sys.stderr)


def _named(name: str) -> str:
    if not name.strip():
        raise typer.BadParameter("the name must not be empty")
    return name


def fluence_uj_cm2(text: str | float) -> float:
    """Read a fluence, in uJ/cm2 where no unit is given.

    :raises BadParameter: it is none; the value is in the message.

    >>> fluence_uj_cm2("20"), fluence_uj_cm2("0.02 mJ/cm2")
    (20.0, 20.0)
    """
    with contextlib.suppress(ValueError):
        return float(text)
    from labctl.config.units import typed

    try:
        return typed(str(text), "fluence", "uJ/cm2")
    except ValueError:
        known = "20, 20uJ/cm2, 0.02mJ/cm2"
        raise typer.BadParameter(f"{text!r} is not a fluence; write it as {known}") from None


SampleName = Annotated[
    str, typer.Option("--sample", help="Name of the sample.", callback=_named, show_default=False)
]
Who = Annotated[str, typer.Option(help="Who measures.")]
Spot = Annotated[str, typer.Option(help="Which spot of the sample.")]
Note = Annotated[str, typer.Option(help="Note stored with the file.")]
BenchFile = Annotated[Path, typer.Option("--bench", help="The bench file, TOML.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print only the result on stdout, as JSON.")]
