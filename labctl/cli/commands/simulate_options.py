"""``labctl demo`` and ``labctl simulate``: which bench of the simulators, and how fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from labctl.cli.common import Json


def demo(
    output: Annotated[Path, typer.Option(help="Where files and figures go.")] = Path("labctl-demo"),
    sample: Annotated[
        Literal["oam", "ola", "both"],
        typer.Option(case_sensitive=False, help="Which sample of the paper to sweep."),
    ] = "both",
    seed: Annotated[int, typer.Option(min=0, help="Makes another bench with the same truth.")] = 1,
    speed: Annotated[
        float, typer.Option(min=0.1, max=1000, help="Bench seconds per second on the simulators' clock.")
    ] = 60.0,
    as_json: Json = False,
) -> int:
    """Sweep the paper's two samples on a simulated bench.

    Ends with a table and the figures, as PNG, that stand beside the paper's Fig. 5b-e and 6.
    """
    from labctl.cli.commands.demo import run_demo

    samples = ("oam", "ola") if sample == "both" else (sample,)
    return run_demo(output, samples, seed=seed, speed=speed, as_json=as_json)


def simulate(
    sample: Annotated[
        Literal["oam", "ola"], typer.Option(case_sensitive=False, help="Which sample of the paper.")
    ] = "ola",
    seed: Annotated[int, typer.Option(min=0, help="Makes another bench with the same truth.")] = 1,
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Bench seconds per second.")] = 1.0,
    bench_file: Annotated[Path, typer.Option(help="The bench file to write.")] = Path("sim.toml"),
    transport: Annotated[
        Literal["tcp", "pty"], typer.Option(case_sensitive=False, help="Sockets, or pseudo-terminals.")
    ] = "tcp",
    scene: Annotated[
        Literal["ideal", "typical", "nasty"],
        typer.Option(case_sensitive=False, help="How far from an ideal bench."),
    ] = "typical",
    spectrometer: Annotated[
        Literal["fine", "coarse"], typer.Option(case_sensitive=False, help="0.15 nm or 1.3 nm resolution.")
    ] = "fine",
    meter: Annotated[
        Literal["photodiode", "thermal", "pyro"],
        typer.Option(case_sensitive=False, help="Kind of the power meter's head."),
    ] = "photodiode",
    collection: Annotated[
        Literal["centre", "whole"],
        typer.Option(case_sensitive=False, help="Light from the spot's centre, or from all of it."),
    ] = "centre",
    bleaching: Annotated[
        Literal["off", "mild", "strong"],
        typer.Option(case_sensitive=False, help="How fast the sample fades."),
    ] = "off",
    chaotic: Annotated[bool, typer.Option("--chaotic", help="Redraw peak positions at every shot.")] = False,
    spot: Annotated[int, typer.Option(min=0, help="Number of the place on the film.")] = 0,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="A bench nobody has measured; the file says it nominally.")
    ] = False,
    faults: Annotated[
        Path | None,
        typer.Option(help="What shall go wrong, and when: a plan in TOML.", show_default=False),
    ] = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> int:
    """Serve a simulated bench until Ctrl-C.

    The bench file is written once everything listens: labctl check and labctl sweep work on it.
    """
    from labctl.cli.commands.simulate import SimulateRequest, run_simulate

    request = SimulateRequest(
        sample=sample,
        seed=seed,
        speed=speed,
        bench_file=bench_file,
        transport=transport,
        scene=scene,
        spectrometer=spectrometer,
        meter=meter,
        collection=collection,
        bleaching=bleaching,
        chaotic=chaotic,
        spot=spot,
        uncalibrated=uncalibrated,
        faults=faults,
        until_eof=until_eof,
    )
    return run_simulate(request)
