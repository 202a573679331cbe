"""A bench as a run file holds it, turned back into a configuration. Run files may come from strangers."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from labctl.config.bench import BenchConfig, bench_of
from labctl.model.errors import ConfigError

_UNITS = {
    ("pump", "max_pulse_energy"): "J",
    ("pump", "meter_zero_sigma"): "W",
    ("limits", "max_pulse_energy"): "J",
    ("limits", "max_average_power"): "W",
}
"""Keys whose unit their name does not say: a bench file needs it written out."""
_PORT = re.compile(r"(?i)ASRL(?P<port>.*?)(::INSTR)?")
_NUMBERED = re.compile(r"(?i)(COM)?\d{0,4}")


def stored_bench(config: Mapping[str, object], file: Path) -> BenchConfig:
    """Return the bench that :meth:`BenchConfig.resolved` made ``config`` of.

    A VISA library named by its path is refused, as in any bench file, and so is a serial port that is none:
    opening a run must neither load a program nor open a file.

    :param file: the run file, named in errors.
    :raises ConfigError: it is no bench, one of another labctl, or it names such a library or port.
    """
    tables = {name: dict(table) for name, table in config.items() if isinstance(table, Mapping)}
    for (name, key), unit in _UNITS.items():
        value = tables.get(name, {}).get(key)
        if isinstance(value, float | int):
            tables[name][key] = f"{value!r} {unit}"
    bench = bench_of({name: table for name, table in tables.items() if table}, file)
    for role in bench.roles:
        resource = bench.driver(role).resource
        if not _is_port(resource):
            raise ConfigError(
                f"{resource!r} is no serial port",
                file=file,
                key=f"{role}.resource",
                hint="give the bench file with --bench",
            )
    return bench


def connections_and_limits(bench: BenchConfig) -> tuple[str, ...]:
    """Say, one line each, what a bench connects to and what it allows."""
    pump = bench.pump
    limits = bench.limits.model_dump(mode="json", exclude_none=True)
    return (
        *(f"{role}: {bench.driver(role).driver} at {bench.driver(role).resource}" for role in bench.roles),
        *(f"limits.{key} = {value}" for key, value in limits.items()),
        f"pump.pickoff_ratio = {pump.pickoff_ratio:g}",
        f"pump.max_pulse_energy = {pump.max_pulse_energy:g} J",
        f"pump.spot = {pump.spot.x_um:g} by {pump.spot.y_um:g} um, {pump.spot.shape}",
    )


def _is_port(resource: str) -> bool:
    """Tell whether a resource names no serial port, or one that is a device: never a file, wherever it is."""
    found = _PORT.fullmatch(resource)
    if found is None or _NUMBERED.fullmatch(found["port"]):
        return True
    port = os.path.normpath(found["port"])
    if not port.startswith("/dev/"):
        return False
    try:
        return stat.S_ISCHR(os.stat(port).st_mode)  # noqa: PTH116
    except OSError:
        return True  # it is not there now: whoever opens it says so
