"""What ``labctl calibrate`` does: an operator chosen, readings shown, the result told and named."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from labctl.cli.common import warn
from labctl.cli.output import write_json, write_lines
from labctl.cli.signals import stop_on_signals
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.errors import ConfigError
from labctl.model.untrusted import open_regular

if TYPE_CHECKING:
    from labctl.config import BenchConfig
    from labctl.model.roles import Operator
    from procedures.calibration.context import CalOptions

MOST_TEXT = 1_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """One calibration that was asked for."""

    kind: CalibrationKind
    options: CalOptions
    bench: Path
    output: Path | None
    use: bool
    answers: Path | None


def run_calibrate(request: Request, *, as_json: bool) -> int:
    """Measure, store, report; 0 when it is done.

    :raises CalibrationRefused: the measurement cannot make a calibration; nothing is stored.
    :raises Aborted: Ctrl-C.
    """
    out = sys.stderr if as_json else sys.stdout
    with stop_on_signals() as stop:
        from labctl.config import load_bench
        from labctl.runner.calibrate import run_calibration

        config = load_bench(request.bench)
        calibration, path = run_calibration(
            config,
            request.kind,
            request.options,
            operator=_operator(request, config, out),
            stop=stop,
            on_event=lambda event: _show(event, out),
            output=request.output or request.bench.parent / "calibrations",
        )
    _finish(request, calibration, path, as_json=as_json)
    return 0


def _operator(request: Request, config: BenchConfig, out: TextIO) -> Operator:
    """Choose who does what no motor does: a script, the simulated bench, else the person at the terminal."""
    from labctl.cli.terminal_operator import TerminalOperator, ToldOperator
    from labctl.session.operator import ScriptedOperator, SimulatedOperator, read_answers

    simulated = SimulatedOperator(config.bench.hand) if config.bench.hand else None
    if request.answers is not None:
        return ToldOperator(ScriptedOperator(read_answers(request.answers), then=simulated), out)
    return TerminalOperator(out) if simulated is None else ToldOperator(simulated, out)


def _show(event: object, out: TextIO) -> None:
    """Show a reading as one line."""
    text, progress = getattr(event, "text", ""), getattr(event, "progress", None)
    if not text:
        return
    part = f"{progress:4.0%}  " if isinstance(progress, float) else ""
    with contextlib.suppress(OSError, ValueError):
        write_lines([f"{part}{text}"], out)


def _finish(request: Request, calibration: Calibration, path: Path, *, as_json: bool) -> None:
    """Name it in the bench file if wanted, and tell the result."""
    from labctl.config.benchfile import bench_line, use_calibration
    from procedures.calibration.record import report

    line = bench_line(request.kind, path, request.bench)
    if request.use:
        use_calibration(request.bench, request.kind, path)
    if as_json:
        from labctl.data.calibrations import to_mapping

        document = {"file": str(path), "line": line, "used": request.use, **to_mapping(calibration)}
        write_json(document)
        return
    named = f"named in {request.bench}" if request.use else f"to use it, write under [calibrations]: {line}"
    write_lines([*report(calibration), f"stored in {path}", named])


def run_recheck(bench: Path, *, as_json: bool) -> int:
    """Compare the attenuator with its calibration; 0 as calibrated, 4 when it has drifted.

    :raises ConfigError: the bench names no calibration of its attenuator.
    """
    with stop_on_signals() as stop:
        from labctl.config import load_bench
        from labctl.session import open_bench
        from procedures.calibration.attenuator import recheck_attenuator

        config = load_bench(bench)
        named = config.calibrations.attenuator if config.calibrations else None
        if named is None:
            raise ConfigError(
                "names no calibration of the attenuator", file=bench, key="calibrations.attenuator",
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


# --- what options say ----------------------------------------------------------------------------


def limit_w(text: str) -> float | None:
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
        raise ConfigError(f"{text!r} is no number", key=option) from None


def _converted(text: str, kind: str, target: str | None, option: str) -> float:
    from labctl.config.units import convert, typed

    try:
        return convert(text, kind, None) if target is None else typed(text, kind, target)
    except ValueError as exc:
        raise ConfigError(str(exc), key=option) from None
