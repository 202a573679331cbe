"""``labctl calibrations`` and ``labctl budget``: what holds, and how well a fluence is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.output import write_json, write_lines

if TYPE_CHECKING:
    from labctl.model.calibration import Calibration
    from labctl.model.errors import DataError

    Found = Sequence[tuple[Path, Calibration | DataError]]
    from labctl.config import BenchConfig
    from labctl.data.run import Run
    from labctl.model.results.sweep import FluenceBudget

_DIRECTORY = Path("calibrations")
_SHOWN = {
    "attenuator": ("zero_deg", "leakage", "max_power", "repeatability", "backlash"),
    "pickoff": ("ratio", "nonlinearity"),
    "energy": ("repetition_rate", "pulse_energy", "pulse_cv", "pulse_width"),
    "spot": ("x_um", "y_um", "incidence_deg", "absorptance"),
    "spectrometer": ("resolution", "wavelength_rms"),
}


def calibrations(
    directory: Annotated[
        Path | None,
        typer.Argument(help="Directory of calibrations.", show_default=str(_DIRECTORY)),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option("--bench", help="List the calibrations named in this bench file.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the list on stdout, as JSON.")] = False,
) -> int:
    """List calibrations: what was measured, when, with which instruments, and whether it still holds.

    Nothing is connected to: whether the instruments are those of the bench is said by labctl check. Exit code
    0 if all are valid, 5 if one has expired or cannot be read.
    """
    from labctl.model.errors import ConfigError

    if directory is not None and bench is not None:
        raise ConfigError("give a directory or --bench, not both")
    entries = [_entry(path, found, expected) for path, found, expected in _found(directory, bench)]
    if as_json:
        write_json({"calibrations": entries})
    else:
        lines = [line for entry in entries for line in _lines(entry)]
        write_lines(lines or ["no calibrations"])
    return 0 if all(entry["state"] == "valid" for entry in entries) else 5


def _found(
    directory: Path | None, bench: Path | None
) -> list[tuple[Path, Calibration | DataError, str | None]]:
    """Return files, what is in them, and the kind each should be."""
    from labctl.data.calibrations import calibrations_in, read_calibration
    from labctl.model.errors import DataError

    if bench is None:
        return [(path, found, None) for path, found in calibrations_in(directory or _DIRECTORY)]
    from labctl.config.bench import calibration_files

    named: list[tuple[Path, Calibration | DataError, str | None]] = []
    for kind, path in calibration_files(bench).items():
        try:
            named.append((path, read_calibration(path), kind))
        except DataError as exc:
            named.append((path, exc, kind))
    return named


def _entry(path: Path, found: Calibration | DataError, expected: str | None) -> dict[str, object]:
    from labctl.data.calibrations import is_expired
    from labctl.model.errors import DataError

    file = str(path.resolve())
    if isinstance(found, DataError):
        state = "damaged" if path.is_file() else "missing"
        return {"file": file, "kind": expected, "state": state, "reason": found.message}
    state, reason = "valid", ""
    if expected is not None and found.kind != expected:
        state, reason = "wrong kind", f"the bench file uses it as a calibration of kind {expected}"
    elif is_expired(found, datetime.now(UTC)):
        state = "expired"
    return {
        "file": file,
        "kind": found.kind,
        "state": state,
        "reason": reason,
        "measured_utc": found.measured_utc,
        "valid_until_utc": found.valid_until_utc,
        "operator": found.operator,
        "bound_to": {role: _who(found, role) for role in found.bound_to},
        "instruments": {role: _who(found, role) for role in found.instruments},
        "quantities": {
            name: {"value": q.value, "unit": q.unit, "statistical": q.statistical, "scale": q.scale}
            for name, q in found.quantities.items()
        },
        "numbers": _numbers(found),
        "flags": list(found.flags),
        "note": found.note,
    }


def _who(calibration: Calibration, role: str) -> str:
    identity = calibration.instruments[role]
    return f"{identity.model} {identity.serial or '(no serial number)'}"


def _numbers(calibration: Calibration) -> list[str]:
    from procedures.calibration.record import shown

    names = [name for name in _SHOWN[calibration.kind] if name in calibration.quantities]
    return [f"{name} {shown(name, calibration.quantities[name])}" for name in names]


def _lines(entry: dict[str, object]) -> list[str]:
    """Show one in a line, and its numbers in another."""
    state = str(entry["state"])
    head = f"{state.upper() if state != 'valid' else state:<10}  {entry['kind'] or '?':<12}  {entry['file']}"
    if "measured_utc" not in entry:
        return [head, f"            {entry['reason']}"]
    bound, numbers = entry["bound_to"], entry["numbers"]
    assert isinstance(bound, dict)
    assert isinstance(numbers, list)
    holds = ", ".join(f"{role} {who}" for role, who in bound.items()) or "any instruments"
    dates = f"measured {str(entry['measured_utc'])[:10]}, valid until {str(entry['valid_until_utc'])[:10]}"
    lines = [head, f"            {dates}, for {holds}", f"            {'; '.join(map(str, numbers))}"]
    more = [str(entry[key]) for key in ("reason", "note") if entry[key]]
    flags = entry["flags"]
    assert isinstance(flags, list)
    more += [f"warning: {', '.join(map(str, flags))}"] if flags else []
    return [*lines, *(f"            {text}" for text in more)]


def budget(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run file (.h5): the uncertainty at the time of the run.", show_default=False),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option("--bench", help="The bench file, TOML.", show_default=False),
    ] = None,
    fluence: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Fluence at which to evaluate, uJ/cm2; the meter's zero matters more in weak light.",
            show_default="the run's threshold, or half the maximum of the bench",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only the budget on stdout, as JSON.")
    ] = False,
) -> int:
    """Print the fluence's budget: each link of the chain, its uncertainty, and all of them together.

    Nothing is connected to.
    """
    from labctl.model.errors import ConfigError
    from labctl.model.mapping import plain
    from labctl.runner.documents.budget import budget_lines

    if (run is None) == (bench is None):
        raise ConfigError(
            "give a run file, or --bench with a bench file", hint="labctl budget --bench bench.toml"
        )
    if bench is not None:
        from labctl.config import load_bench

        source, found = bench, of_bench(load_bench(bench), fluence)
    else:
        from labctl.data import read_run

        assert run is not None
        source, found = run, of_run(read_run(run), fluence)
    if as_json:
        document = {"file": str(source.resolve()), **plain(found)}
        write_json(document)
    else:
        write_lines([f"Uncertainty budget of the fluence, {source}", *budget_lines(found)])
    return 0


def of_bench(config: BenchConfig, fluence_uj_cm2: float | None = None) -> FluenceBudget:
    """Return the budget of a bench, with what is to be said of its calibrations.

    :raises ConfigError: there is none at this fluence.
    """
    from labctl.analysis.budget import fluence_budget
    from labctl.model.errors import ConfigError
    from labctl.session.opening import remarks_on_time

    try:
        found = fluence_budget(config.pump_settings(), fluence_uj_cm2)
    except ValueError as exc:
        raise ConfigError(str(exc), key="--fluence") from exc
    return found.record(tuple(str(remark) for remark in remarks_on_time(config)))


def of_run(run: Run, fluence_uj_cm2: float | None = None) -> FluenceBudget:
    """Return the budget that a run carries; of an older run, or at another fluence, that of its bench.

    :raises ConfigError: the run holds no bench that this labctl understands.
    """
    from labctl.config.bench import stored_bench

    stored = run.result.budget
    if stored is not None and fluence_uj_cm2 is None:
        return stored
    at = fluence_uj_cm2 or run.result.threshold.threshold_uj_cm2
    found = of_bench(stored_bench(run.sessions[-1].config, run.path), at)
    return replace(found, warnings=() if stored is None else stored.warnings)
