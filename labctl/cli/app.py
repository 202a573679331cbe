"""The commands and their options; what they do stands in the module each of them imports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

import labctl
from labctl.cli.align import align as align_command
from labctl.cli.budget import budget as budget_command
from labctl.cli.calibrate import calibrate as calibrate_commands
from labctl.cli.calibrations import calibrations as calibrations_command
from labctl.cli.choices import (
    Background,
    Bleaching,
    BleachingModel,
    Collection,
    DemoSample,
    Direction,
    Level,
    Meter,
    Per,
    Sample,
    Spacing,
    Spectrometer,
    Transport,
)
from labctl.cli.gui import gui as gui_command
from labctl.cli.manual import set_bench
from labctl.cli.stability import stability as stability_command

app = typer.Typer(
    name="labctl",
    help="Fluence sweeps on a femtosecond bench, with live spectra and an honest lasing threshold.",
    epilog="labctl is no safety interlock: it never replaces one.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


BenchFile = Annotated[Path, typer.Option("--bench", help="The bench file, TOML.", show_default=False)]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else there.")
]


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


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where files and figures go.")] = Path("labctl-demo"),
    sample: Annotated[DemoSample, typer.Option(help="Which sample of the paper to sweep.")] = DemoSample.BOTH,
    seed: Annotated[int, typer.Option(min=0, help="Makes another bench with the same truth.")] = 1,
    speed: Annotated[
        float, typer.Option(min=0.1, max=1000, help="Bench seconds per second on the simulators' clock.")
    ] = 60.0,
    as_json: Json = False,
) -> int:
    """Sweep the paper's two samples on a simulated bench.

    Ends with a table and the figures, as PNG, that stand beside the paper's Fig. 5b-e and 6.
    """
    from labctl.cli.demo import run_demo

    samples = ("oam", "ola") if sample is DemoSample.BOTH else (sample.value,)
    return run_demo(output, samples, seed=seed, speed=speed, as_json=as_json)


@app.command()
def init() -> int:
    """Print an annotated bench file."""
    from labctl.config.example import EXAMPLE

    typer.echo(EXAMPLE, nl=False)
    return 0


@app.command()
def check(
    bench: BenchFile,
    start: Annotated[
        Optional[float],  # noqa: UP045  typer 0.12 cannot read the newer spelling
        typer.Option(min=0.0, help="Lowest fluence planned, uJ/cm2.", show_default="least transmission"),
    ] = None,
    recheck: Annotated[
        bool,
        typer.Option(
            "--recheck", help="Turn the plate behind the closed shutter: is it still as calibrated?"
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Connect to every instrument and read each once.

    No shutter opens, and nothing moves unless --recheck is given. All failures are told at once, each with
    what to try.
    """
    from labctl.cli.check import run_check

    return run_check(bench, start, recheck=recheck, as_json=as_json)


@app.command()
def sweep(
    bench: BenchFile,
    sample: Annotated[str, typer.Option(help="Name of the sample.", show_default=False)],
    start: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Lowest fluence, uJ/cm2 in the bench's convention.", show_default=False),
    ] = None,
    stop: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Highest fluence, uJ/cm2.", show_default=False),
    ] = None,
    points: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Number of fluences.", show_default="24"),
    ] = None,
    spacing: Annotated[Spacing, typer.Option(help="Spacing of the fluences.")] = Spacing.LOG,
    fluences: Annotated[
        str, typer.Option(help="The fluences themselves, with --spacing list: 20,30,45.", show_default=False)
    ] = "",
    direction: Annotated[Direction, typer.Option(help="Order of the fluences.")] = Direction.UP,
    average: Annotated[int, typer.Option(help="Exposures at each fluence.")] = 10,
    output: Annotated[Path, typer.Option(help="Directory of the files.")] = Path(),
    operator: Annotated[str, typer.Option(help="Who measures.")] = "",
    spot: Annotated[str, typer.Option(help="Which spot of the sample.")] = "",
    note: Annotated[str, typer.Option(help="Anything worth keeping.")] = "",
    background: Annotated[
        Background, typer.Option(help="Subtract a dark, or a blank measured at each fluence.")
    ] = Background.DARK,
    keep_open: Annotated[
        bool, typer.Option("--keep-open", help="Leave the shutter open between points.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the shuffled order.")] = 0,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Choose each fluence from the points so far.")
    ] = False,
    target: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Adaptive: half-width of the 95 % interval to reach.", show_default="3%"),
    ] = None,
    per: Annotated[
        Optional[Per],  # noqa: UP045
        typer.Option(help="Adaptive: narrow the interval fastest per this.", show_default="point"),
    ] = None,
    start_points: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Adaptive: space-filling points to begin with.", show_default="10"),
    ] = None,
    budget_points: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Adaptive: most points.", show_default="40"),
    ] = None,
    budget_dose: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='Adaptive: most dose, uJ/cm2 or "2 J/cm2".', show_default="the bench's limit"),
    ] = None,
    budget_time: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='Adaptive: most time, seconds or "10min".', show_default="none"),
    ] = None,
    reference_every: Annotated[
        int, typer.Option(min=0, help="Measure a reference after every so many points; 0 never.")
    ] = 0,
    reference: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="The reference fluence, below threshold.", show_default="low in the range"),
    ] = None,
    correct_bleaching: Annotated[
        bool, typer.Option("--correct-bleaching", help="Correct the fit by what the reference shows.")
    ] = False,
    bleaching_model: Annotated[
        BleachingModel, typer.Option(help="Bleached: what excites less, or only what is seen.")
    ] = BleachingModel.EXCITATION,
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figures as PNG at the end.")] = False,
    as_json: Json = False,
) -> int:
    """Sweep the pump fluence; state the lasing threshold.

    Each point is on disk before it is shown. Ctrl-C closes the shutter and keeps every point.
    """
    from labctl.cli.adaptive import AdaptiveWords
    from labctl.cli.sweep import SweepRequest, run_sweep_command

    request = SweepRequest(
        bench=bench,
        output=output,
        sample=sample,
        operator=operator,
        spot=spot,
        note=note,
        start_uj_cm2=start,
        stop_uj_cm2=stop,
        points=points,
        spacing=Spacing.LIST.value if fluences else spacing.value,
        fluences=fluences,
        direction=direction.value,
        average=average,
        background=background.value,
        keep_open=keep_open,
        seed=seed,
        figures=figures,
        reference_every=reference_every,
        reference_uj_cm2=reference,
        correct_bleaching=bleaching_model.value if correct_bleaching else "off",
        adaptive=AdaptiveWords(
            adaptive,
            target,
            per.value if per else None,
            start_points,
            budget_points,
            budget_dose,
            budget_time,
        ),
    )
    return run_sweep_command(request, as_json=as_json)


@app.command()
def resume(
    run: Annotated[
        Path, typer.Argument(help="The run file (.h5) of an interrupted sweep.", show_default=False)
    ],
    bench: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--bench", help="The bench file.", show_default="as the run holds it"),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree to differences between this bench and the run's.")
    ] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figures as PNG at the end.")] = False,
    as_json: Json = False,
) -> int:
    """Measure the rest of an aborted, failed or killed sweep, into the same files.

    Points that are there stay. Differences between the bench and the run's are shown, and there is no light
    before they are agreed to.
    """
    from labctl.cli.resume import run_resume

    return run_resume(run, bench, yes=yes, figures=figures, as_json=as_json)


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="Run files (.h5).", show_default=False)],
    as_json: Json = False,
) -> int:
    """Check that run files are complete and sound, and agree with their CSV. Exit code 0 sound, 5 not."""
    from labctl.cli.verify import run_verify

    return run_verify(files, as_json=as_json)


@app.command()
def simulate(
    sample: Annotated[Sample, typer.Option(help="Which sample of the paper.")] = Sample.OLA,
    seed: Annotated[int, typer.Option(min=0, help="Makes another bench with the same truth.")] = 1,
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Bench seconds per second.")] = 1.0,
    bench_file: Annotated[Path, typer.Option(help="The bench file to write.")] = Path("sim.toml"),
    transport: Annotated[Transport, typer.Option(help="Sockets, or pseudo-terminals.")] = Transport.TCP,
    scene: Annotated[Level, typer.Option(help="How far from an ideal bench.")] = Level.TYPICAL,
    spectrometer: Annotated[
        Spectrometer, typer.Option(help="0.15 nm or 1.3 nm resolution.")
    ] = Spectrometer.FINE,
    meter: Annotated[Meter, typer.Option(help="Kind of the power meter's head.")] = Meter.PHOTODIODE,
    collection: Annotated[
        Collection, typer.Option(help="Light from the spot's centre, or from all of it.")
    ] = Collection.CENTRE,
    bleaching: Annotated[Bleaching, typer.Option(help="How fast the sample fades.")] = Bleaching.OFF,
    chaotic: Annotated[bool, typer.Option("--chaotic", help="Redraw peak positions at every shot.")] = False,
    spot: Annotated[int, typer.Option(min=0, help="Number of the place on the film.")] = 0,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="A bench nobody has measured; the file says it nominally.")
    ] = False,
    faults: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="What shall go wrong, and when: a plan in TOML.", show_default=False),
    ] = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> int:
    """Serve a simulated bench until Ctrl-C.

    The bench file is written once everything listens: labctl check and labctl sweep work on it.
    """
    from labctl.cli.simulate import SimulateRequest, run_simulate

    request = SimulateRequest(
        sample=sample.value,
        seed=seed,
        speed=speed,
        bench_file=bench_file,
        transport=transport.value,
        scene=scene.value,
        spectrometer=spectrometer.value,
        meter=meter.value,
        collection=collection.value,
        bleaching=bleaching.value,
        chaotic=chaotic,
        spot=spot,
        uncalibrated=uncalibrated,
        faults=faults,
        until_eof=until_eof,
    )
    return run_simulate(request)


@app.command()
def fit(
    files: Annotated[list[Path], typer.Argument(help="Run files (.h5, .csv), or a CSV with two columns.")],
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw the figures of each run file beside it.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Fit stored runs, or tables, again.

    Of several spots of one sample the spread between spots is given beside each interval.
    """
    from labctl.cli.fit import run_fit

    return run_fit(files, figures=figures, as_json=as_json)


app.command("set")(set_bench)
app.command("align")(align_command)
app.command("gui")(gui_command)
app.add_typer(calibrate_commands, name="calibrate")
app.command("budget")(budget_command)
app.command("calibrations")(calibrations_command)
app.command("stability")(stability_command)
