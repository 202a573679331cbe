"""``labctl calibrations``: the files of a directory, or those a bench file names, and whether they hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.output import write_json, write_lines

if TYPE_CHECKING:
    from labctl.model.calibration import Calibration
    from labctl.model.errors import DataError

    Found = Sequence[tuple[Path, Calibration | DataError]]

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
        typer.Argument(help="A directory of calibrations.", show_default=str(_DIRECTORY)),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option("--bench", help="The calibrations that this bench file names.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print them as JSON on stdout, and nothing else there.")
    ] = False,
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
        state, reason = "wrong kind", f"it is named as a calibration of kind {expected}"
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
    more += [f"careful: {', '.join(map(str, flags))}"] if flags else []
    return [*lines, *(f"            {text}" for text in more)]
