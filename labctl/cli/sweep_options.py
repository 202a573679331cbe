"""``labctl sweep``: its options, and what they ask for in one record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from labctl.cli.common import BenchFile, Json, SampleName, fluence_uj_cm2


def sweep(
    bench: BenchFile,
    sample: SampleName,
    start: Annotated[
        float | None,
        typer.Option(
            parser=fluence_uj_cm2,
            metavar="FLUENCE",
            help='Lowest fluence, uJ/cm2 in the bench\'s convention, or "0.02 mJ/cm2".',
            show_default=False,
        ),
    ] = None,
    stop: Annotated[
        float | None,
        typer.Option(
            parser=fluence_uj_cm2, metavar="FLUENCE", help="Highest fluence, uJ/cm2.", show_default=False
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(help="Number of fluences.", show_default="24"),
    ] = None,
    spacing: Annotated[
        Literal["linear", "log", "list"], typer.Option(help="Spacing of the fluences.")
    ] = "log",
    fluences: Annotated[
        str, typer.Option(help="The fluences themselves instead: 20,30,45.", show_default=False)
    ] = "",
    direction: Annotated[
        Literal["up", "down", "up-down", "shuffled"], typer.Option(help="Order of the fluences.")
    ] = "up",
    average: Annotated[int, typer.Option(help="Exposures at each fluence.")] = 10,
    output: Annotated[Path, typer.Option(help="Directory of the files.")] = Path(),
    operator: Annotated[str, typer.Option(help="Who measures.")] = "",
    spot: Annotated[str, typer.Option(help="Which spot of the sample.")] = "",
    note: Annotated[str, typer.Option(help="Anything worth keeping.")] = "",
    background: Annotated[
        Literal["dark", "blank"], typer.Option(help="Subtract a dark, or a blank measured at each fluence.")
    ] = "dark",
    keep_open: Annotated[
        bool, typer.Option("--keep-open", help="Leave the shutter open between points.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the shuffled order.")] = 0,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Choose each fluence from the points so far.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(help="Adaptive: half-width of the 95 % interval to reach.", show_default="3%"),
    ] = None,
    per: Annotated[
        Literal["point", "dose"] | None,
        typer.Option(help="Adaptive: narrow the interval fastest per this.", show_default="point"),
    ] = None,
    start_points: Annotated[
        int | None,
        typer.Option(help="Adaptive: space-filling points to begin with.", show_default="10"),
    ] = None,
    budget_points: Annotated[
        int | None,
        typer.Option(help="Adaptive: most points.", show_default="40"),
    ] = None,
    budget_dose: Annotated[
        str | None,
        typer.Option(help='Adaptive: most dose, uJ/cm2 or "2 J/cm2".', show_default="the bench's limit"),
    ] = None,
    budget_time: Annotated[
        str | None,
        typer.Option(help='Adaptive: most time, seconds or "10min".', show_default="none"),
    ] = None,
    reference_every: Annotated[
        int, typer.Option(min=0, help="Measure a reference after every so many points; 0 never.")
    ] = 0,
    reference: Annotated[
        float | None,
        typer.Option(
            parser=fluence_uj_cm2,
            metavar="FLUENCE",
            help="The reference fluence, below threshold.",
            show_default="low in the range",
        ),
    ] = None,
    correct_bleaching: Annotated[
        bool, typer.Option("--correct-bleaching", help="Correct the fit by what the reference shows.")
    ] = False,
    bleaching_model: Annotated[
        Literal["excitation", "signal"],
        typer.Option(help="Bleached: what excites less, or only what is seen."),
    ] = "excitation",
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
        spacing="list" if fluences else spacing,
        fluences=fluences,
        direction=direction,
        average=average,
        background=background,
        keep_open=keep_open,
        seed=seed,
        figures=figures,
        reference_every=reference_every,
        reference_uj_cm2=reference,
        correct_bleaching=bleaching_model if correct_bleaching else "off",
        adaptive=AdaptiveWords(
            adaptive,
            target,
            per,
            start_points,
            budget_points,
            budget_dose,
            budget_time,
        ),
    )
    return run_sweep_command(request, as_json=as_json)
