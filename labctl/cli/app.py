"""The commands by name; what each of them does and takes stands in the module that it names.

A command line names one command, and only that one's module is imported: the others stand in the help with
their line below.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import labctl

_ROOM = "labctl.cli.commands"
COMMANDS = {
    "demo": ("simulate:demo", "Sweep the paper's two samples on a simulated bench."),
    "init": ("init:init", "Print an annotated bench file, or write it."),
    "devices": ("instruments.devices:devices", "List what is plugged in, with its lines for the bench file."),
    "check": ("check:check", "Connect to every instrument and read each once."),
    "spectrum": ("instruments.spectrum:spectrum", "Take, show and save one spectrum."),
    "sweep": ("sweep:sweep", "Sweep the pump fluence; state the lasing threshold."),
    "resume": (
        "resume:resume",
        "Measure the rest of a sweep that was interrupted.",
    ),
    "verify": ("runs:verify", "Check that run files are complete and agree with their CSV."),
    "simulate": ("simulate:simulate", "Serve a simulated bench until Ctrl-C."),
    "fit": ("stored.fit:fit", "Fit stored runs, or tables, again."),
    "runs": ("stored.runs:runs", "List a folder: sample, when, status, threshold, verdict."),
    "summarise": ("stored.summarise:summarise", "Fit every run of a folder again, into one table."),
    "export": ("stored.export:export", "Write runs as CSV, NeXus or RO-Crate."),
    "report": ("stored.report:report", "Write one HTML file about runs, and a PDF."),
    "figures": ("stored.figures:figures", "Draw the figures of runs for a journal: PDF, SVG or PNG."),
    "set": ("manual:set_bench", "Set a fluence or an angle, and hold it."),
    "align": ("align:align", "Follow the threshold while you align."),
    "fly": (
        "fly:fly",
        "Sweep in seconds, while the plate turns.",
    ),
    "gui": ("gui:gui", "Open the bench window: drive, sweep, watch, align."),
    "calibrate": (
        "calibrate:calibrate",
        "Calibrate a part of the chain from plate to spectrum.",
    ),
    "budget": (
        "calibrations:budget",
        "Print the uncertainty of the fluence, link by link.",
    ),
    "calibrations": (
        "calibrations:calibrations",
        "List calibrations: what, when, and whether still valid.",
    ),
    "stability": (
        "stability:stability",
        "Follow the emission at one fluence for minutes to hours.",
    ),
    "shots": ("shots:shots", "Keep the spectrum of every laser pulse."),
}
"""Module and function of each command, and its line in the help."""


def command_line(arguments: Sequence[str] | None = None) -> typer.Typer:
    """Return the command line with the command that ``arguments`` name; None for every command."""
    app = typer.Typer(
        name="labctl",
        help="Fluence sweeps on a femtosecond bench, with live spectra and an honest lasing threshold.",
        epilog="labctl is not a safety interlock and never replaces one.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_common)
    # The options before a command take no value: the first other word is the command.
    wanted = None if arguments is None else next((a for a in arguments if not a.startswith("-")), "")
    for name, (home, line) in COMMANDS.items():
        if wanted in (None, name):
            _add(app, name, _load(home))
        else:
            app.command(name, help=line)(_nothing)
    return app


def _add(app: typer.Typer, name: str, command: Any) -> None:
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)


def _load(home: str) -> Any:
    module, function = home.split(":")
    return getattr(importlib.import_module(f"{_ROOM}.{module}"), function)


def _nothing() -> None:
    """Stand for a command that the command line does not name."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"labctl {labctl.__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print a traceback with an error.")] = False,
) -> None:
    """Take the options that every command shares; ``--debug`` was read before they were parsed."""
