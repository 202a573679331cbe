"""``labctl init``: an annotated bench file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FIRST_ROLES = ("attenuator", "power_meter", "spectrometer", "shutter")


def init(
    file: Annotated[
        Path | None,
        typer.Argument(help="File to write; an existing file is never overwritten.", show_default="print it"),
    ] = None,
    found: Annotated[
        bool, typer.Option("--found", help="Write the instruments that are plugged in; see labctl devices.")
    ] = False,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            "--probe", metavar="PORT", help="With --found: ask at this port too.", show_default="none"
        ),
    ] = None,
) -> int:
    """Print an annotated bench file, or write it."""
    from labctl.config.example import EXAMPLE
    from labctl.model.errors import ConfigError

    if probe and not found:
        raise ConfigError("needs --found", key="--probe")
    text = _with_found(EXAMPLE, probe or []) if found else EXAMPLE
    if file is None:
        typer.echo(text, nl=False)
        return 0
    try:
        with file.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError as exc:
        raise ConfigError("exists already", file=file, hint="another name") from exc
    return 0


def _with_found(text: str, probe: list[str]) -> str:
    """Put the first instrument of each role into the example; say what is missing, or left over."""
    from drivers.found import found
    from labctl.cli.common import warn
    from labctl.config.benchfile import with_values

    instruments = [each for each in found(probe) if each.role]
    values: dict[tuple[str, str], str] = {}
    written = set()
    for each in instruments:
        if each.role in written or each.needed:
            warn(f"not written, add it yourself: {'; '.join(each.lines)}")
            continue
        written.add(each.role)
        values |= {(each.role, line.partition(" =")[0]): line for line in each.lines[1:]}
    for role in (role for role in FIRST_ROLES if role not in written):
        warn(f"no {role} was found: [{role}] is still that of the example")
    return with_values(text, values)
