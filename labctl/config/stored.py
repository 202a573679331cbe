"""A bench as a run file holds it, turned back into a configuration. Run files may come from strangers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from labctl.config.bench import OPTIONAL_ROLES, ROLES, BenchConfig, bench_of
from labctl.model.errors import ConfigError

_UNITS = {
    ("pump", "max_pulse_energy"): "J",
    ("pump", "meter_zero_sigma"): "W",
    ("limits", "max_pulse_energy"): "J",
    ("limits", "max_average_power"): "W",
}
"""Keys whose unit their name does not say: a bench file needs it written out."""
_LIBRARIES = ("@py", "@ivi", "")


def stored_bench(config: Mapping[str, object], file: Path) -> BenchConfig:
    """Return the bench that :meth:`BenchConfig.resolved` made ``config`` of.

    A VISA library named by its path is refused: opening a run must never load a program from it.

    :param file: the run file, named in errors.
    :raises ConfigError: it is no bench, one of another labctl, or it names such a library.
    """
    tables = {name: dict(table) for name, table in config.items() if isinstance(table, Mapping)}
    for name in ("bench", *ROLES, *OPTIONAL_ROLES):
        library = tables.get(name, {}).get("visa_library", "@py")
        if library not in _LIBRARIES:
            raise ConfigError(
                f"the VISA library {library!r} is not taken from a run file",
                file=file,
                key=f"{name}.visa_library",
                hint="give the bench file with --bench",
            )
    for (name, key), unit in _UNITS.items():
        value = tables.get(name, {}).get(key)
        if isinstance(value, float | int):
            tables[name][key] = f"{value!r} {unit}"
    return bench_of({name: table for name, table in tables.items() if table}, file)
