"""``labctl calibrate``: measure a part of the bench; the operator is a person, a script or simulated."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from labctl.cli.common import BenchFile, Json, Note, Who, warn
from labctl.cli.output import write_json, write_lines
from labctl.cli.signals import stop_on_signals
from labctl.model.errors import ConfigError
from labctl.model.untrusted import open_regular

if TYPE_CHECKING:
    from labctl.config import BenchConfig
    from labctl.model.calibration import CalibrationKind
    from labctl.model.roles import Operator

MOST_TEXT = 1_000_000
Own = dict[str, Any]
"""What a command's own options say, by the names of the calibration's options."""

calibrate = typer.Typer(
    help="Calibrate attenuator, pick-off, pulse energy, spot or spectrometer.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Output = Annotated[
    Path | None,
    typer.Option(
        help="Directory of the calibration file.", show_default="calibrations, next to the bench file"
    ),
]
Days = Annotated[float, typer.Option("--valid-days", help="Days of validity; then a warning follows.")]
Use = Annotated[bool, typer.Option("--use", help="Enter the new calibration in the bench file.")]
Answers = Annotated[
    Path | None,
    typer.Option(help="File with the operator's answers, one per line.", show_default=False),
]
SensorLimit = Annotated[
    str,
    typer.Option("--sensor-limit", help='Damage threshold of the head: "50 mW".', show_default="not stated"),
]
Readings = Annotated[int, typer.Option(min=2, max=100, help="Readings averaged at each setting.")]


def _shared(
    bench: BenchFile,
    output: Output = None,
    valid_days: Days = 30.0,
    operator: Who = "",
    note: Note = "",
    sensor_limit: SensorLimit = "",
    readings: Readings = 4,
    use: Use = False,
    answers: Answers = None,
    as_json: Json = False,
) -> None:
    """Options that all calibrations have; the meter's are not the spectrometer's."""


def _calibration(kind: CalibrationKind) -> Callable[[Callable[..., Own]], Callable[..., Own]]:
    """Make a command of what reads the options that are this kind's own; the shared ones are added."""

    def add(read: Callable[..., Own]) -> Callable[..., Own]:
        bench, *shared = inspect.signature(_shared, eval_str=True).parameters.values()
        if kind == "spectrometer":
            shared = [p for p in shared if p.name not in ("sensor_limit", "readings")]
        parameters = [bench, *inspect.signature(read, eval_str=True).parameters.values(), *shared]

        @functools.wraps(read)
        def run(
            *, bench: Path, output: Path | None, use: bool, answers: Path | None, as_json: bool, **typed: Any
        ) -> int:
            from procedures.calibration.context import OPTIONS

            common = {p.name: typed.pop(p.name) for p in shared if p.name in typed}
            if "sensor_limit" in common:
                common["sensor_limit_w"] = _limit_w(common.pop("sensor_limit"))
            options = OPTIONS[kind](**common, **read(**typed))
            return _run(kind, options, bench, output, use=use, answers=answers, as_json=as_json)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        calibrate.command()(run)
        return read

    return add


@_calibration("attenuator")
def attenuator(
    form: Annotated[
        str, typer.Option(help="malus (plate and polariser) or table (gradient wheel).")
    ] = "malus",
    place: Annotated[
        str, typer.Option(help="Position of the sensor: pick-off or sample.", show_default="by the order")
    ] = "",
    points: Annotated[int, typer.Option(help="Angles of the fine scan.")] = 24,
) -> Own:
    """Scan the plate: what transmits which angle, and how well the mount finds it."""
    return {"form": form, "place": place, "points": points}


@_calibration("pickoff")
def pickoff(
    points: Annotated[int, typer.Option(help="Powers at which the two positions are compared.")] = 8,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help='Filter or loss between the positions: "ND1:0.1".', show_default=False),
    ] = None,
) -> Own:
    """Compare the pick-off with the sample's place: one sensor, there, here and back."""
    return {"points": points, "filters": named_numbers(filters or [], "--filter")}


@_calibration("energy")
def energy(
    rate: Annotated[
        str,
        typer.Option(help='Repetition rate if the head cannot count: "1000 Hz".', show_default="bench file"),
    ] = "",
    rate_sigma: Annotated[float, typer.Option(min=0.0, help="Its standard uncertainty, Hz.")] = 0.0,
    drift: Annotated[float, typer.Option(min=1.0, help="Duration of the drift measurement, s.")] = 60.0,
    pulses: Annotated[
        int, typer.Option(min=0, help="Single pulses to read, if the head resolves them.")
    ] = 400,
    pulse_width: Annotated[
        float | None,
        typer.Option(help="Pulse width measured AT THE SAMPLE, fs.", show_default="unknown"),
    ] = None,
    pulse_width_sigma: Annotated[float, typer.Option(min=0.0, help="Its standard uncertainty, fs.")] = 0.0,
    pulse_fs: Annotated[
        float | None,
        typer.Option("--pulse-fs", help="Pulse width before the dispersive glass, fs.", show_default=False),
    ] = None,
    glass: Annotated[
        str,
        typer.Option(help="Dispersive glass in the beam: fused-silica:12mm,N-BK7:5mm.", show_default=False),
    ] = "",
) -> Own:
    """Count pulses, measure their energy on the sample's place and how it varies; pulse width if known."""
    return {
        "rate_hz": rate_hz(rate), "rate_sigma_hz": rate_sigma, "drift_s": drift, "pulses": pulses,
        "pulse_width_fs": pulse_width, "pulse_width_sigma_fs": pulse_width_sigma, "pulse_fs": pulse_fs,
        "glasses": named_lengths(glass),
    }  # fmt: skip


@_calibration("spot")
def spot(
    method: Annotated[
        str, typer.Option(help="stage, hand or stated.", show_default="stage if there is one")
    ] = "",
    points: Annotated[
        int, typer.Option(help="Readings along each axis.", show_default="28 with a stage, 18 manually")
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
        float, typer.Option("--size-sigma-um", min=0.0, help="Standard uncertainty of both sizes, um.")
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
        bool, typer.Option("--optical-density", help="The CSV holds optical densities (base 10).")
    ] = False,
    reflectance: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Reflectance at the pump wavelength, for a CSV of transmission."),
    ] = 0.0,
) -> Own:
    """Drive or guide a blade through the spot along x and y, or take stated sizes."""
    return {
        "method": method, "points": points, "shape": shape, "x_um": x_um, "y_um": y_um,
        "size_sigma_um": size_sigma_um, "incidence_deg": incidence,
        "range_um": two_numbers(blade_range, "--blade-range"),
        "absorption_csv": "" if absorption is None else small_text(absorption),
        "optical_density": optical_density, "reflectance": reflectance,
    }  # fmt: skip


@_calibration("spectrometer")
def spectrometer(
    lamps: Annotated[
        list[str] | None,
        typer.Option("--lamp", help="hg-ar, ne or kr; may be repeated.", show_default="hg-ar"),
    ] = None,
    linearity: Annotated[
        bool, typer.Option("--linearity", help="Measure the linearity even if the device stores its own.")
    ] = False,
    frames: Annotated[int, typer.Option(min=2, max=1000, help="Exposures at each setting.")] = 20,
) -> Own:
    """Check the axis against a lamp, measure resolution, darks and linearity."""
    return {"lamps": tuple(lamps or ("hg-ar",)), "linearity": linearity, "frames": frames}


@calibrate.command()
def check(bench: BenchFile, as_json: Json = False) -> int:
    """Compare the attenuator with its calibration at a few angles, behind the closed shutter.

    Exit code 0: as calibrated, or it cannot be told without opening the shutter; 4: it has drifted.
    """
    with stop_on_signals() as stop:
        from labctl.config import load_bench
        from labctl.session import open_bench
        from procedures.calibration.attenuator import recheck_attenuator

        config = load_bench(bench)
        named = config.calibrations.attenuator if config.calibrations else None
        if named is None:
            raise ConfigError(
                "names no attenuator calibration", file=bench, key="calibrations.attenuator",
                hint="labctl calibrate attenuator --use",
            )  # fmt: skip

        def over(line: str) -> None:
            with contextlib.suppress(OSError, ValueError):
                write_lines([line], sys.stderr if as_json else sys.stdout)

        with open_bench(config, stop=stop, tell=warn, over=over) as opened:
            found = recheck_attenuator(
                named.calibration, opened.roles, opened.pump.settings, opened.pump.limits, stop=stop
            )
            opened.pump.adopt(found.dark_deg, "", "")
    if as_json:
        write_json(found.to_mapping())
    else:
        write_lines([found.text, *(f"warning {w}" for w in found.warnings)])
    return 4 if found.warnings else 0


def _run(
    kind: CalibrationKind,
    options: Any,
    bench: Path,
    output: Path | None,
    *,
    use: bool,
    answers: Path | None,
    as_json: bool,
) -> int:
    """Measure, store, report; 0 when it is done.

    :raises CalibrationRefused: the measurement cannot make a calibration; nothing is stored.
    :raises Aborted: Ctrl-C.
    """
    out = sys.stderr if as_json else sys.stdout
    with stop_on_signals() as stop:
        from labctl.config import load_bench
        from labctl.runner.calibrate import run_calibration

        config = load_bench(bench)
        calibration, path = run_calibration(
            config,
            kind,
            options,
            operator=_operator(answers, config, out),
            stop=stop,
            on_event=lambda event: _show(event, out),
            output=output or bench.parent / "calibrations",
        )
    from labctl.config.benchfile import bench_line, use_calibration
    from procedures.calibration.record import report

    line = bench_line(kind, path, bench)
    if use:
        use_calibration(bench, kind, path)
    if as_json:
        from labctl.data.calibrations import to_mapping

        write_json({"file": str(path), "line": line, "used": use, **to_mapping(calibration)})
        return 0
    named = f"named in {bench}" if use else f"to use it, add under [calibrations]: {line}"
    write_lines([*report(calibration), f"stored in {path}", named])
    return 0


def _operator(answers: Path | None, config: BenchConfig, out: TextIO) -> Operator:
    """Choose who does what no motor does: a script, the simulated bench, else the person at the terminal."""
    from labctl.cli.terminal_operator import TerminalOperator, ToldOperator
    from labctl.session.operator import ScriptedOperator, SimulatedOperator, read_answers

    simulated = SimulatedOperator(config.bench.hand) if config.bench.hand else None
    if answers is not None:
        return ToldOperator(ScriptedOperator(read_answers(answers), then=simulated), out)
    return TerminalOperator(out) if simulated is None else ToldOperator(simulated, out)


def _show(event: object, out: TextIO) -> None:
    """Show a reading as one line."""
    text, progress = getattr(event, "text", ""), getattr(event, "progress", None)
    if not text:
        return
    part = f"{progress:4.0%}  " if isinstance(progress, float) else ""
    with contextlib.suppress(OSError, ValueError):
        write_lines([f"{part}{text}"], out)


# --- what options say ----------------------------------------------------------------------------


def _limit_w(text: str) -> float | None:
    """Read a power with its unit; None where none is given.

    :raises ConfigError: it is none.
    """
    return None if not text else _converted(text, "power", None, "--sensor-limit")


def rate_hz(text: str) -> float | None:
    """Read a repetition rate; None where none is given."""
    return None if not text else _converted(text, "frequency", "Hz", "--rate")


def named_numbers(items: Sequence[str], option: str) -> dict[str, float]:
    """Read ``name:number`` pairs."""
    found = {}
    for item in items:
        name, _, value = item.rpartition(":")
        if not name.strip():
            raise ConfigError(f"{item!r} is not NAME:NUMBER", key=option)
        found[name.strip()] = _number(value, option)
    return found


def named_lengths(text: str) -> dict[str, float]:
    """Read glasses with their thickness, mm."""
    found: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, length = item.rpartition(":")
        if not name.strip():
            raise ConfigError(f"{item!r} is not GLASS:LENGTH, such as fused-silica:12mm", key="--glass")
        found[name.strip()] = found.get(name.strip(), 0.0) + _length_mm(length)
    return found


def two_numbers(text: str, option: str) -> tuple[float, float]:
    """Read ``low:high``."""
    low, colon, high = text.partition(":")
    if not colon:
        raise ConfigError(f"{text!r} is not LOW:HIGH", key=option)
    return _number(low, option), _number(high, option)


def small_text(path: Path) -> str:
    """Read a table that somebody wrote.

    :raises ConfigError: it cannot be read, or is too large to be one.
    """
    try:
        with open_regular(path) as stream:
            raw = stream.read(MOST_TEXT + 1)
        if len(raw) > MOST_TEXT:
            raise ConfigError(f"is larger than {MOST_TEXT} bytes", file=path, key="--absorption")
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}", file=path) from exc


def _length_mm(text: str) -> float:
    try:
        return _number(text, "--glass")
    except ConfigError:
        return _converted(text, "length", "um", "--glass") / 1000.0


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a number", key=option) from None


def _converted(text: str, kind: str, target: str | None, option: str) -> float:
    from labctl.config.units import convert, typed

    try:
        return convert(text, kind, None) if target is None else typed(text, kind, target)
    except ValueError as exc:
        raise ConfigError(str(exc), key=option) from None
