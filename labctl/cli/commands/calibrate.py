"""``labctl calibrate``: measure a part of the bench; the operator is a person, a script or simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labctl.cli.common import BenchFile, Json

calibrate = typer.Typer(
    help="Measure the chain from the plate's angle to the fluence, and the spectrometer.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Output = Annotated[
    Path | None,
    typer.Option(
        help="Directory of the calibration's file.", show_default="calibrations, beside the bench file"
    ),
]
Days = Annotated[float, typer.Option("--valid-days", help="How long it may be used without a warning.")]
Operator = Annotated[str, typer.Option(help="Who measures.")]
Note = Annotated[str, typer.Option(help="Anything worth keeping.")]
Use = Annotated[bool, typer.Option("--use", help="Name it in the bench file.")]
Answers = Annotated[
    Path | None,
    typer.Option(help="Answers to what is asked, one a line, instead of a person.", show_default=False),
]
SensorLimit = Annotated[
    str, typer.Option("--sensor-limit", help='Power the sensor survives: "50 mW".', show_default="not stated")
]
Readings = Annotated[int, typer.Option(min=2, max=100, help="Readings averaged at each setting.")]


@calibrate.command()
def attenuator(
    bench: BenchFile,
    form: Annotated[
        str, typer.Option(help="malus (plate and polariser) or table (gradient wheel).")
    ] = "malus",
    place: Annotated[
        str, typer.Option(help="Where the sensor stands: pick-off or sample.", show_default="by the order")
    ] = "",
    points: Annotated[int, typer.Option(help="Angles of the fine scan.")] = 24,
    output: Output = None,
    valid_days: Days = 30.0,
    operator: Operator = "",
    note: Note = "",
    sensor_limit: SensorLimit = "",
    readings: Readings = 4,
    use: Use = False,
    answers: Answers = None,
    as_json: Json = False,
) -> int:
    """Scan the plate: what transmits which angle, and how well the mount finds it."""
    from labctl.cli.commands.calibrating import Request, limit_w, run_calibrate
    from procedures.calibration.context import AttenuatorOptions

    options = AttenuatorOptions(
        operator=operator, note=note, valid_days=valid_days, sensor_limit_w=limit_w(sensor_limit),
        readings=readings, form=form, place=place, points=points,
    )  # fmt: skip
    return run_calibrate(Request("attenuator", options, bench, output, use, answers), as_json=as_json)


@calibrate.command()
def pickoff(
    bench: BenchFile,
    points: Annotated[int, typer.Option(help="Powers at which the places are compared.")] = 8,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", help='A filter or loss between the places by name: "ND1:0.1".', show_default=False
        ),
    ] = None,
    output: Output = None,
    valid_days: Days = 30.0,
    operator: Operator = "",
    note: Note = "",
    sensor_limit: SensorLimit = "",
    readings: Readings = 4,
    use: Use = False,
    answers: Answers = None,
    as_json: Json = False,
) -> int:
    """Compare the pick-off with the sample's place: one sensor, there, here and back."""
    from labctl.cli.commands.calibrating import Request, limit_w, named_numbers, run_calibrate
    from procedures.calibration.context import PickoffOptions

    options = PickoffOptions(
        operator=operator, note=note, valid_days=valid_days, sensor_limit_w=limit_w(sensor_limit),
        readings=readings, points=points, filters=named_numbers(filters or [], "--filter"),
    )  # fmt: skip
    return run_calibrate(Request("pickoff", options, bench, output, use, answers), as_json=as_json)


@calibrate.command()
def energy(
    bench: BenchFile,
    rate: Annotated[
        str,
        typer.Option(
            help='Repetition rate where the head cannot count: "1000 Hz".', show_default="bench file"
        ),
    ] = "",
    rate_sigma: Annotated[float, typer.Option(min=0.0, help="Standard uncertainty of it, Hz.")] = 0.0,
    drift: Annotated[float, typer.Option(min=1.0, help="How long the power is watched, s.")] = 60.0,
    pulses: Annotated[int, typer.Option(min=0, help="Single pulses read where the head sees them.")] = 400,
    pulse_width: Annotated[
        float | None,
        typer.Option(help="Measured AT THE SAMPLE, fs.", show_default="unknown"),
    ] = None,
    pulse_width_sigma: Annotated[float, typer.Option(min=0.0, help="Standard uncertainty of it, fs.")] = 0.0,
    pulse_fs: Annotated[
        float | None,
        typer.Option("--pulse-fs", help="Pulse width before the glasses, fs.", show_default=False),
    ] = None,
    glass: Annotated[
        str, typer.Option(help="Glasses before the sample: fused-silica:12mm,N-BK7:5mm.", show_default=False)
    ] = "",
    output: Output = None,
    valid_days: Days = 30.0,
    operator: Operator = "",
    note: Note = "",
    sensor_limit: SensorLimit = "",
    readings: Readings = 4,
    use: Use = False,
    answers: Answers = None,
    as_json: Json = False,
) -> int:
    """Count pulses, measure their energy on the sample's place and how it varies; pulse width if known."""
    from labctl.cli.commands.calibrating import Request, limit_w, named_lengths, rate_hz, run_calibrate
    from procedures.calibration.context import EnergyOptions

    options = EnergyOptions(
        operator=operator, note=note, valid_days=valid_days, sensor_limit_w=limit_w(sensor_limit),
        readings=readings, rate_hz=rate_hz(rate), rate_sigma_hz=rate_sigma, drift_s=drift, pulses=pulses,
        pulse_width_fs=pulse_width, pulse_width_sigma_fs=pulse_width_sigma, pulse_fs=pulse_fs,
        glasses=named_lengths(glass),
    )  # fmt: skip
    return run_calibrate(Request("energy", options, bench, output, use, answers), as_json=as_json)


@calibrate.command()
def spot(
    bench: BenchFile,
    method: Annotated[
        str, typer.Option(help="stage, hand or stated.", show_default="stage where there is one")
    ] = "",
    points: Annotated[
        int, typer.Option(help="Readings along each axis.", show_default="28 by a stage, 18 by hand")
    ] = 0,
    shape: Annotated[
        str, typer.Option(help="gaussian, ellipse or stripe; the last two are stated.")
    ] = "gaussian",
    x_um: Annotated[
        float | None,
        typer.Option("--x-um", help="Stated size along x, um: semi-axis or half-length.", show_default=False),
    ] = None,
    y_um: Annotated[
        float | None,
        typer.Option("--y-um", help="Stated size along y, um.", show_default=False),
    ] = None,
    size_sigma_um: Annotated[
        float, typer.Option("--size-sigma-um", min=0.0, help="Uncertainty of both, um.")
    ] = 0.0,
    incidence: Annotated[
        float | None,
        typer.Option(help="Angle of incidence on the sample, deg.", show_default="bench file"),
    ] = None,
    blade_range: Annotated[str, typer.Option(help="Lowest and highest micrometer position, um.")] = "0:10000",
    absorption: Annotated[
        Path | None,
        typer.Option(help="CSV of wavelength (nm) and transmission of the sample, one-photon pumping only."),
    ] = None,
    optical_density: Annotated[
        bool, typer.Option("--optical-density", help="That CSV holds optical densities, base 10.")
    ] = False,
    reflectance: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Of the sample at the pump, with a CSV of transmission."),
    ] = 0.0,
    output: Output = None,
    valid_days: Days = 30.0,
    operator: Operator = "",
    note: Note = "",
    sensor_limit: SensorLimit = "",
    readings: Readings = 4,
    use: Use = False,
    answers: Answers = None,
    as_json: Json = False,
) -> int:
    """Drive or guide a blade through the spot along x and y, or take stated sizes."""
    from labctl.cli.commands.calibrating import Request, limit_w, run_calibrate, small_text, two_numbers
    from procedures.calibration.context import SpotOptions

    options = SpotOptions(
        operator=operator, note=note, valid_days=valid_days, sensor_limit_w=limit_w(sensor_limit),
        readings=readings, method=method, points=points, shape=shape, x_um=x_um, y_um=y_um,
        size_sigma_um=size_sigma_um, incidence_deg=incidence,
        range_um=two_numbers(blade_range, "--blade-range"),
        absorption_csv="" if absorption is None else small_text(absorption),
        optical_density=optical_density, reflectance=reflectance,
    )  # fmt: skip
    return run_calibrate(Request("spot", options, bench, output, use, answers), as_json=as_json)


@calibrate.command()
def spectrometer(
    bench: BenchFile,
    lamps: Annotated[
        list[str] | None,
        typer.Option("--lamp", help="hg-ar, ne or kr; may be given again.", show_default="hg-ar"),
    ] = None,
    linearity: Annotated[
        bool, typer.Option("--linearity", help="Measure the linearity even where the device knows its own.")
    ] = False,
    frames: Annotated[int, typer.Option(min=2, max=1000, help="Exposures at each setting.")] = 20,
    output: Output = None,
    valid_days: Days = 30.0,
    operator: Operator = "",
    note: Note = "",
    use: Use = False,
    answers: Answers = None,
    as_json: Json = False,
) -> int:
    """Check the axis against a lamp, measure resolution, darks and linearity."""
    from labctl.cli.commands.calibrating import Request, run_calibrate
    from procedures.calibration.context import SpectrometerOptions

    options = SpectrometerOptions(
        operator=operator, note=note, valid_days=valid_days, lamps=tuple(lamps or ("hg-ar",)),
        linearity=linearity, frames=frames,
    )  # fmt: skip
    return run_calibrate(Request("spectrometer", options, bench, output, use, answers), as_json=as_json)


@calibrate.command()
def check(bench: BenchFile, as_json: Json = False) -> int:
    """Compare the attenuator with its calibration at a few angles, behind the closed shutter.

    Exit code 0: as calibrated, or it cannot be told without opening the shutter; 4: it has drifted.
    """
    from labctl.cli.commands.calibrating import run_recheck

    return run_recheck(bench, as_json=as_json)
