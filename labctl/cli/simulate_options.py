"""``labctl demo`` and ``labctl simulate``: which bench of the simulators, and how fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from labctl.cli.choices import (
    Bleaching,
    Collection,
    DemoSample,
    Level,
    Meter,
    Sample,
    Spectrometer,
    Transport,
)
from labctl.cli.common import Json


def demo(
    output: Annotated[Path, typer.Option(help="Where files and figures go.")] = Path("labctl-demo"),
    sample: Annotated[
        DemoSample, typer.Option(case_sensitive=False, help="Which sample of the paper to sweep.")
    ] = DemoSample.BOTH,
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


def simulate(
    sample: Annotated[
        Sample, typer.Option(case_sensitive=False, help="Which sample of the paper.")
    ] = Sample.OLA,
    seed: Annotated[int, typer.Option(min=0, help="Makes another bench with the same truth.")] = 1,
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Bench seconds per second.")] = 1.0,
    bench_file: Annotated[Path, typer.Option(help="The bench file to write.")] = Path("sim.toml"),
    transport: Annotated[
        Transport, typer.Option(case_sensitive=False, help="Sockets, or pseudo-terminals.")
    ] = Transport.TCP,
    scene: Annotated[
        Level, typer.Option(case_sensitive=False, help="How far from an ideal bench.")
    ] = Level.TYPICAL,
    spectrometer: Annotated[
        Spectrometer, typer.Option(case_sensitive=False, help="0.15 nm or 1.3 nm resolution.")
    ] = Spectrometer.FINE,
    meter: Annotated[
        Meter, typer.Option(case_sensitive=False, help="Kind of the power meter's head.")
    ] = Meter.PHOTODIODE,
    collection: Annotated[
        Collection,
        typer.Option(case_sensitive=False, help="Light from the spot's centre, or from all of it."),
    ] = Collection.CENTRE,
    bleaching: Annotated[
        Bleaching, typer.Option(case_sensitive=False, help="How fast the sample fades.")
    ] = Bleaching.OFF,
    chaotic: Annotated[bool, typer.Option("--chaotic", help="Redraw peak positions at every shot.")] = False,
    spot: Annotated[int, typer.Option(min=0, help="Number of the place on the film.")] = 0,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="A bench nobody has measured; the file says it nominally.")
    ] = False,
    faults: Annotated[
        Optional[Path],  # noqa: UP045  typer 0.12 cannot read the newer spelling
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
