"""``labctl devices``: what is plugged in, with the lines to put into the bench file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.common import Json
from labctl.cli.output import write_json, write_lines

if TYPE_CHECKING:
    from drivers.found import FoundInstrument

NOTHING = (
    "nothing was found: no USB-TMC device, no Ocean spectrometer, no serial port",
    "    is it powered and plugged in? On Linux, are the udev rules of 'First bench' installed?",
    "    an instrument on the network, or a simulated one: labctl devices --probe TCPIP::HOST::PORT::SOCKET",
)


def devices(
    probe: Annotated[
        list[str] | None,
        typer.Option(
            "--probe",
            metavar="PORT",
            help="Ask whoever is at this port or VISA resource too; may be given several times.",
            show_default="none",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the instruments that are plugged in, each with its lines for the bench file.

    Each is asked who it is, and nothing else; what another program holds is left alone. USB is looked over by
    itself, and serial ports whose USB id is a supported maker's; any other port is asked only with --probe.
    """
    from drivers.found import found

    instruments = found(probe or ())
    if as_json:
        write_json({"devices": [_document(each) for each in instruments]})
    else:
        write_lines(_shown(instruments) or NOTHING)
    return 0


def _document(each: FoundInstrument) -> dict[str, object]:
    return {
        "resource": each.resource,
        "identity": each.what or None,
        "role": each.role or None,
        "driver": each.driver or None,
        "bench": "\n".join(each.lines) or None,
        "why": each.why or None,
    }


def _shown(instruments: Sequence[FoundInstrument]) -> list[str]:
    lines: list[str] = []
    for each in instruments:
        who = " ".join(filter(None, (each.what, f"({each.resource})")))
        if each.role:
            lines += [f"{each.role}: {who}", *(f"    {line}" for line in each.lines)]
        else:
            lines.append(f"?  {who}: {each.why}")
    return lines
