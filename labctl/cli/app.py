"""The commands and their options; what they do stands in the module each of them imports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import labctl
from labctl.cli.commands.align import align as align_command
from labctl.cli.commands.calibrate import calibrate as calibrate_commands
from labctl.cli.commands.calibrations import budget as budget_command
from labctl.cli.commands.calibrations import calibrations as calibrations_command
from labctl.cli.commands.fly import fly as fly_command
from labctl.cli.commands.gui import gui as gui_command
from labctl.cli.commands.manual import set_bench
from labctl.cli.commands.shots import shots as shots_command
from labctl.cli.commands.simulate import demo, simulate
from labctl.cli.commands.stability import stability as stability_command
from labctl.cli.commands.sweep import sweep
from labctl.cli.common import BenchFile, Json

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


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"labctl {labctl.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print a traceback with an error.")] = False,
) -> None:
    """Take the options that every command shares; ``--debug`` was read before they were parsed."""


app.command()(demo)


@app.command()
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


@app.command()
def check(
    bench: BenchFile,
    start: Annotated[
        float | None,
        typer.Option(min=0.0, help="Lowest planned fluence, uJ/cm2.", show_default="none"),
    ] = None,
    recheck: Annotated[
        bool,
        typer.Option("--recheck", help="Check the attenuator calibration with the shutter closed."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Connect to every instrument and read each once.

    No shutter opens, and nothing moves unless --recheck is given. All failures are told at once, each with
    what to try.
    """
    from labctl.cli.commands.check import run_check

    return run_check(bench, start, recheck=recheck, as_json=as_json)


app.command()(sweep)


@app.command()
def resume(
    run: Annotated[
        Path, typer.Argument(help="The run file (.h5) of an interrupted sweep.", show_default=False)
    ],
    bench: Annotated[
        Path | None,
        typer.Option(
            "--bench", help="The bench file.", show_default="the one stored in the run, after confirmation"
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept differences between this bench and that of the run.")
    ] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figures as PNG at the end.")] = False,
    as_json: Json = False,
) -> int:
    """Measure the rest of an aborted, failed or killed sweep, into the same files.

    Points that are there stay. Resources and limits are those of the bench file; differences from the run's
    are shown, and there is no light before they are agreed to.
    """
    from labctl.cli.commands.resume import run_resume

    return run_resume(run, bench, yes=yes, figures=figures, as_json=as_json)


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="Run files (.h5).", show_default=False)],
    as_json: Json = False,
) -> int:
    """Check that run files are complete and sound, and agree with their CSV. Exit code 0 sound, 5 not."""
    from labctl.cli.commands.runs import run_verify

    return run_verify(files, as_json=as_json)


app.command()(simulate)


@app.command()
def fit(
    files: Annotated[list[Path], typer.Argument(help="Run files (.h5, .csv), or a CSV with two columns.")],
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw the figures of each run file, next to it.")
    ] = False,
    photon_order: Annotated[
        int | None,
        typer.Option("--photon-order", min=1, max=4, help="Photons that excite the sample together."),
    ] = None,
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Print the threshold by each definition in use.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Fit stored runs, or tables, again.

    Without a photon order a run takes that of its bench file, a table is fitted for each that its exponent
    allows.

    Of several spots of one sample the spread between spots is given beside each interval.
    """
    from labctl.cli.commands.runs import run_fit

    return run_fit(
        files, figures=figures, as_json=as_json, photon_order=photon_order, definitions=definitions
    )


app.command("set")(set_bench)
app.command("align")(align_command)
app.command("fly")(fly_command)
app.command("gui")(gui_command)
app.add_typer(calibrate_commands, name="calibrate")
app.command("budget")(budget_command)
app.command("calibrations")(calibrations_command)
app.command("stability")(stability_command)
app.command("shots")(shots_command)
