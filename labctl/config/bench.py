"""``bench.toml``, read once: TOML to frozen models, every mistake named with its key.

The result holds plain numbers in the units of the names; nothing below this file sees text with units.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from drivers import registry
from drivers.registry import DriverConfig
from labctl.config.calibrated import CalibrationsTable, contradictions, with_calibrations, with_hint
from labctl.config.tables import (
    BandsTable,
    CollectionTable,
    LimitsTable,
    Mistake,
    PumpTable,
    Table,
    mistakes_of,
    one_error,
)
from labctl.config.units import sane
from labctl.model.calibration import KINDS
from labctl.model.errors import ConfigError
from labctl.model.pump import Bands, Limits, PumpSettings
from labctl.model.untrusted import open_regular

MAX_BYTES = 1_000_000
"""A bench file is a few kilobytes; anything larger is the wrong file."""

RoleName = Literal["attenuator", "power_meter", "spectrometer", "shutter", "stage", "thermometer", "heater"]
ROLES: tuple[RoleName, ...] = ("attenuator", "power_meter", "spectrometer", "shutter")
OPTIONAL_ROLES: tuple[RoleName, ...] = ("stage", "thermometer", "heater")
_LEAST, _MOST = 1e-30, 1e30
_NO_UTF8 = "save it as UTF-8; labctl init FILE does, but > in Windows PowerShell writes UTF-16"
_LIBRARIES = ("", "@py", "@ivi", "@sim")
_OPTIONAL = {
    "": (*OPTIONAL_ROLES, "collection", "calibrations"),
    **dict.fromkeys(("attenuator", "shutter", "stage", "heater"), ("baud_rate",)),
    "power_meter": ("energy_range_j", "peak_threshold_percent", "baud_rate"),
    "spectrometer": ("resolution_sigma_nm", "saturation_counts", "cooler_c", "cooling_timeout_s"),
    "pump": (
        *("pulse_width_sigma_fs", "pulse_cv", "absorptance", "absorptance_sigma", "meter_zero_sigma"),
        *(
            "spot_x_sigma_rel",
            "spot_y_sigma_rel",
            "incidence_sigma_deg",
            "angle_sigma_deg",
            "curve_sigma_deg",
        ),
        *("leak_sigma", "drift_sigma_rel", "laser_drift_rel", "pulse_cv_sigma"),
        *("fluence_wander_rel", "fluence_wander_time_s"),
    ),
}
"""Keys of each table that a run holds only where they differ from their default."""


class BenchTable(Table):
    """``[bench]``: what holds for the bench as a whole.

    :param hand: where a simulated bench listens for what otherwise hands do; "" on a real one.
    """

    name: str = ""
    time_scale: Annotated[float, Field(gt=0, le=1e6), sane(1e-4, 1e6)] = 1.0
    visa_library: str = "@py"
    hand: Annotated[str, Field(pattern=r"^(127\.0\.0\.1:[0-9]{1,5})?$")] = ""


class BenchConfig(Table):
    """A whole bench file, checked. The role tables are the configurations of their drivers."""

    bench: BenchTable = BenchTable()
    attenuator: SerializeAsAny[DriverConfig]
    power_meter: SerializeAsAny[DriverConfig]
    spectrometer: SerializeAsAny[DriverConfig]
    shutter: SerializeAsAny[DriverConfig]
    stage: SerializeAsAny[DriverConfig] | None = None
    thermometer: SerializeAsAny[DriverConfig] | None = None
    heater: SerializeAsAny[DriverConfig] | None = None
    pump: PumpTable
    limits: LimitsTable
    bands: BandsTable | None = None
    collection: CollectionTable | None = None
    calibrations: CalibrationsTable | None = None

    @model_validator(mode="after")
    def _collects_of_a_spot(self) -> BenchConfig:
        if self.collection is not None and self.pump.spot.shape != "gaussian":
            raise ValueError(
                "[collection] holds for a Gaussian spot; over a flat top the fluence is the same"
            )
        return self

    def driver(self, role: RoleName) -> DriverConfig:
        """Return the driver configuration of one role."""
        return cast("DriverConfig", getattr(self, role))

    @property
    def roles(self) -> tuple[RoleName, ...]:
        """The roles this bench has: the four, then those of the optional ones it names."""
        return (*ROLES, *(role for role in OPTIONAL_ROLES if getattr(self, role) is not None))

    @property
    def triggered(self) -> bool:
        """Whether exposures begin with a pulse of the laser, by the trigger the spectrometer is told."""
        return bool(getattr(self.spectrometer, "trigger", "free") != "free")

    def pump_settings(self) -> PumpSettings:
        """Return the chain from laser to sample as a plain record."""
        found = self.pump.settings(
            self.calibrations.sources(self.pump.model_dump()) if self.calibrations else {}
        )
        if self.collection is None:
            return found
        seen = self.collection
        return replace(found, collection_radius_um=seen.radius_um, collection_edge_rel=seen.edge_fluence_rel)

    def limit_settings(self) -> Limits:
        """Return the limits as a plain record."""
        return self.limits.settings()

    def band_settings(self) -> Bands:
        """Return the bands; left out, all the light between the pump's N-th harmonic and the pump.

        The margins of 5 % keep scattered pump light and its harmonic out.
        """
        if self.bands is not None:
            return Bands(self.bands.emission_nm, self.bands.lasing_nm or self.bands.emission_nm)
        pump_nm = self.pump.wavelength_nm
        shortest = pump_nm / self.pump.photon_order * 1.05 if self.pump.photon_order > 1 else pump_nm * 1.05
        longest = pump_nm * 0.95 if self.pump.photon_order > 1 else pump_nm * 2.0
        return Bands((shortest, longest), (shortest, longest))

    def resolved(self) -> dict[str, object]:
        """Return everything, defaults and whole calibrations included, as plain JSON-able values for a run.

        What a bench need not have is left out where it has none, so that a run of an earlier release differs
        from its bench in nothing that nobody wrote. Where a simulated bench has its hands is no part of it.
        """
        plain = cast("dict[str, dict[str, object]]", self.model_dump(mode="json"))
        del plain["bench"]["hand"]
        if self.calibrations is not None:
            plain["calibrations"] = self.calibrations.stored()
        for role in self.roles:
            if self.driver(role).isolated == type(self.driver(role)).model_fields["isolated"].default:
                del plain[role]["isolated"]
        for table, keys in _OPTIONAL.items():
            if table and getattr(self, table) is None:
                continue
            values, model = (plain, self) if table == "" else (plain[table], getattr(self, table))
            for key in (key for key in keys if key in values):
                if getattr(model, key) == type(model).model_fields[key].default or values[key] == {}:
                    del values[key]
        return dict(plain)


def load_bench(bench: Path | str | BenchConfig) -> BenchConfig:
    """Read and check a bench file; what has been read is returned as it is.

    :raises ConfigError: unreadable, no TOML, or any mistake in it; all mistakes are told at once, in one
        line, each with its key and the nearest valid one.
    """
    if isinstance(bench, BenchConfig):
        return bench
    file = Path(bench)
    return parse_bench(_read(file), file)


def parse_bench(text: str, file: Path | None = None) -> BenchConfig:
    """Check the text of a bench file; ``file`` is named in errors, and calibrations lie beside it."""
    return bench_of(_tables(text, file), file, beside=file.parent if file else Path())


def _tables(text: str, file: Path | None) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # not only TOMLDecodeError: numbers of thousands of digits
        raise ConfigError(
            f"not valid TOML: {why_no_toml(exc)}", file=file, hint="labctl init prints a valid one"
        ) from exc


def why_no_toml(exc: Exception) -> str:
    """Return what is wrong with a text that is no TOML, as its writer understands it."""
    if isinstance(exc, RecursionError):
        return "brackets are nested too deeply"
    return "a number has too many digits" if "digits" in str(exc) else str(exc)


def calibration_files(path: Path | str) -> dict[str, Path]:
    """Return the calibrations' files that a bench file names, by kind; nothing else is looked at.

    :raises ConfigError: unreadable, or no TOML.
    """
    file = Path(path)
    table = _tables(_read(file), file).get("calibrations")
    named = table if isinstance(table, dict) else {}
    return {kind: file.parent / name for kind in KINDS if isinstance(name := named.get(kind), str)}


def bench_of(
    data: Mapping[str, object], file: Path | None = None, *, beside: Path | None = None
) -> BenchConfig:
    """Check the tables of a bench file, and those of its calibrations.

    :param beside: the directory that the calibrations' paths start from; None follows no path, and takes
        copies of calibrations in their place.
    :raises ConfigError: all mistakes in one line.
    """
    mistakes = list(_no_numbers(data))
    if mistakes:  # they would not even be shown
        raise one_error(mistakes, file)
    mistakes = list(_libraries(data))
    checked = with_calibrations(data, beside, mistakes)
    for role in (*ROLES, *OPTIONAL_ROLES):
        if isinstance(data.get(role), dict):
            checked[role] = _driver_table(role, data, mistakes)
    try:
        bench = BenchConfig.model_validate(checked)
    except ValidationError as exc:
        # A role that failed above is None here, and has been told already.
        seen = {role for role in (*ROLES, *OPTIONAL_ROLES) if role in checked and checked[role] is None}
        mistakes += [with_hint(m) for m in mistakes_of(exc, BenchConfig) if m.key not in seen]
    else:
        mistakes += contradictions(bench.calibrations, bench.pump)
    if mistakes:
        raise one_error(mistakes, file)
    return bench


def _no_numbers(data: object, key: str = "") -> Iterator[Mistake]:
    """Find numbers that no bench has, wherever they stand; calibrations have checks of their own."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            if (inner := f"{key}.{name}" if key else str(name)) != "calibrations":
                yield from _no_numbers(value, inner)
    elif isinstance(data, list):
        for number, value in enumerate(data, start=1):
            yield from _no_numbers(value, f"{key}, element {number}")
    elif isinstance(data, int | float) and data and not _LEAST < abs(data) < _MOST:
        tiny = abs(data) <= _LEAST
        yield Mistake(key, f"is too small, below {_LEAST:g}" if tiny else f"must be finite, below {_MOST:g}")


def _libraries(data: Mapping[str, object]) -> Iterator[Mistake]:
    """A bench file may come from a stranger, and a library named by its path would run in this process."""
    for name in ("bench", *ROLES, *OPTIONAL_ROLES):
        table = data.get(name)
        library = table.get("visa_library", "") if isinstance(table, dict) else ""
        if isinstance(library, str) and library not in _LIBRARIES:
            hint = 'visa_library = "", and its path in the environment variable PYVISA_LIBRARY'
            yield Mistake(f"{name}.visa_library", "a bench file must not name a library to load", hint)


def _driver_table(role: RoleName, data: Mapping[str, object], mistakes: list[Mistake]) -> DriverConfig | None:
    table = dict(cast("Mapping[str, object]", data[role]))
    key = table.get("driver")
    if not isinstance(key, str):
        known = ", ".join(registry.known_keys(role))
        mistakes.append(Mistake(f"{role}.driver", "missing or not text", f"one of {known}"))
        return None
    try:
        model = registry.find(role, key).config
    except ConfigError as exc:
        mistakes.append(Mistake(f"{role}.driver", exc.reason, exc.hint))
        return None
    common = data.get("bench")
    if "visa_library" in model.model_fields and isinstance(common, dict) and "visa_library" in common:
        table.setdefault("visa_library", common["visa_library"])
    try:
        return model.model_validate(table)
    except ValidationError as exc:
        mistakes += mistakes_of(exc, model, role)
        return None


def _read(file: Path) -> str:
    try:
        with open_regular(file) as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(
            f"cannot be read: {reason}", file=file, hint="labctl init bench.toml writes an example"
        ) from exc
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES} bytes: too large for a bench file", file=file)
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        raise ConfigError("is not UTF-8 text", file=file, hint=_NO_UTF8) from exc


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
                f"{resource!r} is not a serial port",
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
