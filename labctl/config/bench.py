"""``bench.toml``, read once: TOML to frozen models, every mistake named with its key.

The result holds plain numbers in the units of the names; nothing below this file sees text with units.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from drivers import registry
from drivers.registry import DriverConfig
from labctl.config.mistakes import Mistake, mistakes_of, one_error
from labctl.config.units import Degree, Femtosecond, Fluence, Hertz, Joule, Micrometre, Nanometre, Watt
from labctl.model.errors import ConfigError
from labctl.model.pump import Bands, Element, Limits, MalusCurve, PumpSettings, SpotSize, TableCurve

MAX_BYTES = 1_000_000
"""A bench file is a few kilobytes; anything larger is the wrong file."""

RoleName = Literal["attenuator", "power_meter", "spectrometer", "shutter", "stage", "thermometer"]
ROLES: tuple[RoleName, ...] = ("attenuator", "power_meter", "spectrometer", "shutter")
OPTIONAL_ROLES: tuple[RoleName, ...] = ("stage", "thermometer")

Sigma = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
BandEdges = tuple[Nanometre, Nanometre]


class Table(BaseModel):
    """A table of the bench file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BenchTable(Table):
    """``[bench]``: what holds for the bench as a whole.

    :param hand: where a simulated bench listens for what otherwise hands do; "" on a real one.
    """

    name: str = ""
    time_scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    visa_library: str = "@py"
    hand: Annotated[str, Field(pattern=r"^(127\.0\.0\.1:[0-9]{1,5})?$")] = ""


class SpotTable(Table):
    """``[pump.spot]``: 1/e2 radii, semi-axes or half-lengths, by shape."""

    shape: Literal["gaussian", "ellipse", "stripe"] = "gaussian"
    x_um: Micrometre
    y_um: Micrometre


class MalusTable(Table):
    """A half-wave plate before a polariser."""

    kind: Literal["malus"]
    zero_deg: Degree
    t_min: Fraction = 0.0
    t_max: Fraction = 1.0
    branch: Literal["+", "-"] = "+"

    @model_validator(mode="after")
    def _rises(self) -> MalusTable:
        if self.t_min >= self.t_max:
            raise ValueError(f"t_min ({self.t_min:g}) must be below t_max ({self.t_max:g})")
        return self

    def curve(self) -> MalusCurve:
        """Return the record the pump works with."""
        return MalusCurve(self.zero_deg, self.t_min, self.t_max, self.branch)


class TableTable(Table):
    """A measured curve: angles and transmissions, strictly monotone."""

    kind: Literal["table"]
    angle_deg: Annotated[tuple[Degree, ...], Field(min_length=2, max_length=10_000)]
    transmission: Annotated[tuple[Fraction, ...], Field(min_length=2, max_length=10_000)]

    @model_validator(mode="after")
    def _monotone(self) -> TableTable:
        if len(self.angle_deg) != len(self.transmission):
            raise ValueError(
                f"{len(self.angle_deg)} angles but {len(self.transmission)} transmissions; write one for one"
            )
        if not np.all(np.diff(self.angle_deg) > 0):
            raise ValueError("angle_deg must rise from value to value")
        steps = np.diff(self.transmission)
        if not (np.all(steps > 0) or np.all(steps < 0)):
            raise ValueError("transmission must rise or fall throughout: keep one monotone branch")
        return self

    def curve(self) -> TableCurve:
        """Return the record the pump works with."""
        return TableCurve(np.array(self.angle_deg), np.array(self.transmission))


class PumpTable(Table):
    """``[pump]``: the chain from the laser to the sample."""

    wavelength_nm: Nanometre
    repetition_rate_hz: Hertz
    pulse_width_fs: Femtosecond | None = None
    convention: Literal["peak", "average"]
    pickoff_ratio: Annotated[float, Field(gt=0)]
    max_pulse_energy: Joule
    order: tuple[Element, Element, Element, Element] = ("attenuator", "pick-off", "shutter", "sample")
    incidence_deg: Annotated[Degree, Field(ge=0, lt=90)] = 0.0
    photon_order: Annotated[int, Field(ge=1, le=4)] = 2
    meter_sigma_rel: Sigma = 0.0
    pickoff_sigma_rel: Sigma = 0.0
    spot_sigma_rel: Sigma = 0.0
    repetition_sigma_rel: Sigma = 0.0
    spot: SpotTable
    attenuator_curve: Annotated[MalusTable | TableTable, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _order_is_a_beam(self) -> PumpTable:
        if len(set(self.order)) != 4 or self.order[-1] != "sample":
            raise ValueError(
                'order must name each of attenuator, pick-off, shutter and sample once, "sample" last'
            )
        return self


class LimitsTable(Table):
    """``[limits]``: what must never be exceeded on the sample."""

    max_fluence_uj_cm2: Fluence
    max_pulse_energy: Joule | None = None
    max_average_power: Watt | None = None
    max_dose_uj_cm2: Fluence | None = None
    angle_range_deg: tuple[Degree, Degree] | None = None
    set_ratio: Annotated[float, Field(gt=0, le=1)] = 0.2

    @model_validator(mode="after")
    def _range_rises(self) -> LimitsTable:
        if self.angle_range_deg and self.angle_range_deg[0] >= self.angle_range_deg[1]:
            raise ValueError("angle_range_deg must be [lowest, highest]")
        return self


class BandsTable(Table):
    """``[bands]``: where the emission is looked for."""

    emission_nm: BandEdges
    lasing_nm: BandEdges | None = None

    @model_validator(mode="after")
    def _nested(self) -> BandsTable:
        lasing = self.lasing_nm or self.emission_nm
        for name, band in (("emission_nm", self.emission_nm), ("lasing_nm", lasing)):
            if band[0] >= band[1]:
                raise ValueError(f"{name} must be [shortest, longest]")
        if not (self.emission_nm[0] <= lasing[0] and lasing[1] <= self.emission_nm[1]):
            raise ValueError("lasing_nm must lie inside emission_nm")
        return self


class BenchConfig(Table):
    """A whole bench file, checked. The role tables are the configurations of their drivers."""

    bench: BenchTable = BenchTable()
    attenuator: SerializeAsAny[DriverConfig]
    power_meter: SerializeAsAny[DriverConfig]
    spectrometer: SerializeAsAny[DriverConfig]
    shutter: SerializeAsAny[DriverConfig]
    stage: SerializeAsAny[DriverConfig] | None = None
    thermometer: SerializeAsAny[DriverConfig] | None = None
    pump: PumpTable
    limits: LimitsTable
    bands: BandsTable | None = None

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
        pump = self.pump
        fields = pump.model_dump(exclude={"spot", "attenuator_curve", "max_pulse_energy"})
        return PumpSettings(
            **fields,
            spot=SpotSize(pump.spot.shape, pump.spot.x_um, pump.spot.y_um),
            curve=pump.attenuator_curve.curve(),
            max_pulse_energy_j=pump.max_pulse_energy,
        )

    def limit_settings(self) -> Limits:
        """Return the limits as a plain record."""
        t = self.limits
        return Limits(
            max_fluence_uj_cm2=t.max_fluence_uj_cm2,
            max_pulse_energy_j=t.max_pulse_energy,
            max_average_power_w=t.max_average_power,
            max_dose_uj_cm2=t.max_dose_uj_cm2,
            angle_range_deg=t.angle_range_deg,
            set_ratio=t.set_ratio,
        )

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
        """Return everything, defaults included, as plain JSON-able values for the run file."""
        return cast("dict[str, object]", self.model_dump(mode="json"))


def load_bench(path: Path | str) -> BenchConfig:
    """Read and check a bench file.

    :raises ConfigError: unreadable, no TOML, or any mistake in it; all mistakes are told at once, in one
        line, each with its key and the nearest valid one.
    """
    file = Path(path)
    return parse_bench(_read(file), file)


def parse_bench(text: str, file: Path | None = None) -> BenchConfig:
    """Check the text of a bench file; ``file`` is only named in errors."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(f"not valid TOML: {exc}", file=file, hint="labctl init prints a valid one") from exc
    return bench_of(data, file)


def bench_of(data: Mapping[str, object], file: Path | None = None) -> BenchConfig:
    """Check the tables of a bench file.

    :raises ConfigError: all mistakes in one line.
    """
    mistakes: list[Mistake] = []
    checked: dict[str, object] = dict(data)
    for role in (*ROLES, *OPTIONAL_ROLES):
        if isinstance(data.get(role), dict):
            checked[role] = _driver_table(role, data, mistakes)
    try:
        bench = BenchConfig.model_validate(checked)
    except ValidationError as exc:
        # A role that failed above is None here, and has been told already.
        seen = {role for role in (*ROLES, *OPTIONAL_ROLES) if role in checked and checked[role] is None}
        mistakes += [m for m in mistakes_of(exc, BenchConfig) if m.key not in seen]
    if mistakes:
        raise one_error(mistakes, file)
    return bench


def _driver_table(role: RoleName, data: Mapping[str, object], mistakes: list[Mistake]) -> DriverConfig | None:
    table = dict(cast("Mapping[str, object]", data[role]))
    key = table.get("driver")
    if not isinstance(key, str):
        known = ", ".join(spec.key for spec in registry.of_role(role))
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
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(
            f"cannot be read: {reason}", file=file, hint="labctl init > bench.toml writes an example"
        ) from exc
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES} bytes, so it is no bench file", file=file)
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        raise ConfigError("is not UTF-8 text", file=file, hint="save it as UTF-8") from exc
