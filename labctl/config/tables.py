"""The tables of ``bench.toml`` on the light: how it reaches the sample, and what is never exceeded there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from labctl.config.units import Degree, Femtosecond, Fluence, Hertz, Joule, Micrometre, Nanometre, Watt, sane
from labctl.model.errors import ConfigError
from labctl.model.pump import Element, Limits, MalusCurve, PumpSettings, SpotSize, TableCurve

_MEANT = "did you mean "


class Mistake(NamedTuple):
    """One thing wrong in a file."""

    key: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}" + (f" ({self.hint})" if self.hint else "")


def one_error(mistakes: Sequence[Mistake], file: Path | None) -> ConfigError:
    """Join all mistakes of a file into one error of one line."""
    if len(mistakes) == 1:
        only = mistakes[0]
        reason = f"{only.reason}, {only.hint}" if only.hint else only.reason
        return ConfigError(reason, file=file, key=only.key)
    return ConfigError(f"{len(mistakes)} mistakes: " + "; ".join(map(str, mistakes)), file=file)


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return a hint naming the valid key nearest to ``word``, or all of them if none is near."""
    choices = list(valid)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"{_MEANT}{close[0]}?" if close else f"valid here: {', '.join(choices)}"


def mistakes_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Mistake]:
    """Translate pydantic's errors; ``prefix`` is the table the model was read from."""
    found = [_translate(e, model, prefix) for e in error.errors(include_url=False)]
    meant = {f"{_table(m.key)}{m.hint[len(_MEANT) : -1]}" for m in found if m.hint.startswith(_MEANT)}
    # A mistyped key is told once, not also as the key that is missing.
    return [m for m in found if not (m.reason == "missing" and m.key in meant)]


def _table(key: str) -> str:
    return key[: key.rfind(".") + 1]


def _translate(error: Mapping[str, Any], model: type[BaseModel], prefix: str) -> Mistake:
    location = [str(part) for part in error["loc"] if not _is_tag(part)]
    key = ".".join(([prefix] if prefix else []) + location)
    kind, context = str(error["type"]), error.get("ctx") or {}
    if kind == "extra_forbidden":
        return Mistake(key, "unknown key", nearest(location[-1], _keys_at(model, error["loc"][:-1])))
    if kind == "missing":
        if location[-1].isdecimal():  # an element of a list, counted from 0
            return Mistake(_table(key)[:-1], f"element {int(location[-1]) + 1} of the list is missing")
        return Mistake(key, "missing")
    if kind.startswith("union_tag"):
        return Mistake(f"{key}.kind", f"must be one of {_tags(model, error['loc'])}")
    if kind == "value_error":
        return Mistake(key, str(context.get("error", error["msg"])))
    if kind == "literal_error":
        allowed = str(context.get("expected", ""))
        return Mistake(key, f"{_shown(error['input'])} is not one of {allowed}")
    if kind == "string_pattern_mismatch":
        return Mistake(key, f"{_shown(error['input'])} does not have the form {context.get('pattern')}")
    message = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return Mistake(key, f"{_shown(error['input'])} should be {message}")


def _tags(model: type[BaseModel], location: Sequence[object]) -> str:
    *outer, name = location
    tables = [m.model_fields.get(str(name)) for m in _tables_at(model, outer)]
    kinds = [
        inner.model_fields["kind"] for f in tables if f is not None for inner in _models_in(f.annotation)
    ]
    return ", ".join(repr(tag) for kind in kinds for tag in get_args(kind.annotation))


def _is_tag(part: object) -> bool:
    """Discriminator values turn up in pydantic's locations but are no keys of the file."""
    return part in {"malus", "table"}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(model: type[BaseModel], location: Sequence[object]) -> list[str]:
    """Return the valid keys of the table at ``location``."""
    return [key for m in _tables_at(model, location) for key in m.model_fields]


def _tables_at(model: type[BaseModel], location: Sequence[object]) -> list[type[BaseModel]]:
    current = [model]
    for part in location:
        if _is_tag(part):
            current = [m for m in current if part in get_args(m.model_fields["kind"].annotation)]
        else:
            fields = (m.model_fields.get(str(part)) for m in current)
            current = [inner for f in fields if f is not None for inner in _models_in(f.annotation)]
    return current


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]


Sigma = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=0), sane(0, 1e6)]
BandEdges = tuple[Nanometre, Nanometre]


class Table(BaseModel):
    """A table of the bench file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SpotTable(Table):
    """``[pump.spot]``: 1/e2 radii, semi-axes or half-lengths, by shape."""

    shape: Literal["gaussian", "ellipse", "stripe"] = "gaussian"
    x_um: Annotated[Micrometre, sane(0.3, 1e5, "um")]
    y_um: Annotated[Micrometre, sane(0.3, 1e5, "um")]


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
                f"{len(self.angle_deg)} angles but {len(self.transmission)} transmissions; give one "
                f"transmission for each angle"
            )
        if not np.all(np.diff(self.angle_deg) > 0):
            raise ValueError("angle_deg must increase from value to value")
        steps = np.diff(self.transmission)
        if not (np.all(steps > 0) or np.all(steps < 0)):
            raise ValueError("transmission must be monotone: keep one branch")
        return self

    def curve(self) -> TableCurve:
        """Return the record the pump works with."""
        return TableCurve(np.array(self.angle_deg), np.array(self.transmission))


class PumpTable(Table):
    """``[pump]``: the chain from the laser to the sample."""

    wavelength_nm: Annotated[Nanometre, sane(150, 5000, "nm")]
    repetition_rate_hz: Hertz
    pulse_width_fs: Femtosecond | None = None
    convention: Literal["peak", "average"]
    pickoff_ratio: Annotated[float, Field(gt=0), sane(1e-9, 1e9)]
    max_pulse_energy: Joule
    order: tuple[Element, Element, Element, Element] = ("attenuator", "pick-off", "shutter", "sample")
    incidence_deg: Annotated[Degree, Field(ge=0, lt=90)] = 0.0
    photon_order: Annotated[int, Field(ge=1, le=4)] = 2
    pulse_width_sigma_fs: Positive = 0.0
    pulse_cv: Sigma | None = None
    pulse_cv_sigma: Sigma = 0.0
    absorptance: Fraction | None = None
    absorptance_sigma: Sigma = 0.0
    meter_sigma_rel: Sigma = 0.0
    meter_zero_sigma: Watt | None = None
    pickoff_sigma_rel: Sigma = 0.0
    repetition_sigma_rel: Sigma = 0.0
    spot_sigma_rel: Sigma = 0.0
    spot_x_sigma_rel: Sigma = 0.0
    spot_y_sigma_rel: Sigma = 0.0
    incidence_sigma_deg: Positive = 0.0
    angle_sigma_deg: Positive = 0.05
    curve_sigma_deg: Positive = 0.0
    leak_sigma: Sigma = 0.0
    drift_sigma_rel: Sigma = 0.0
    laser_drift_rel: Positive | None = None
    fluence_wander_rel: Annotated[float, Field(ge=0, le=0.3)] = 0.0
    fluence_wander_time_s: Annotated[float, Field(gt=0), sane(1e-3, 1e6)] | None = None
    spot: SpotTable
    attenuator_curve: Annotated[MalusTable | TableTable, Field(discriminator="kind")]

    @field_validator("order", mode="before")
    @classmethod
    def _order_is_complete(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            missing = [name for name in get_args(Element) if name not in value]
            if missing and all(name in get_args(Element) for name in value):
                raise ValueError(f"lacks {' and '.join(missing)}; list each element of the beam once")
        return value

    @model_validator(mode="after")
    def _order_is_a_beam(self) -> PumpTable:
        if len(set(self.order)) != 4 or self.order[-1] != "sample":
            raise ValueError(
                'order must name each of attenuator, pick-off, shutter and sample once, "sample" last'
            )
        return self

    @model_validator(mode="after")
    def _wanders_over_a_time(self) -> PumpTable:
        if (self.fluence_wander_rel > 0) != (self.fluence_wander_time_s is not None):
            raise ValueError(
                "fluence_wander_rel and fluence_wander_time_s belong together: how far the fluence wanders, "
                "and the time after which 1/e of it is left"
            )
        return self

    @model_validator(mode="after")
    def _absorbs_one_photon(self) -> PumpTable:
        if self.absorptance is not None and self.photon_order != 1:
            raise ValueError(
                f"absorptance does not apply to {self.photon_order}-photon pumping: it comes from a linear "
                f"spectrum"
            )
        return self

    def settings(self, sources: Mapping[str, str]) -> PumpSettings:
        """Return the chain from laser to sample as a plain record; ``sources`` by its fields."""
        own = {"spot", "attenuator_curve", "max_pulse_energy", "meter_zero_sigma"}
        return PumpSettings(
            **self.model_dump(exclude=own),
            spot=SpotSize(self.spot.shape, self.spot.x_um, self.spot.y_um),
            curve=self.attenuator_curve.curve(),
            max_pulse_energy_j=self.max_pulse_energy,
            background_sigma_w=self.meter_zero_sigma or 0.0,
            sources=sources,
        )


class CollectionTable(Table):
    """``[collection]``: the part of a Gaussian pump spot whose emission reaches the spectrometer."""

    radius_um: Annotated[Micrometre, Field(gt=0)] | None = None
    edge_fluence_rel: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> CollectionTable:
        if (self.radius_um is None) == (self.edge_fluence_rel is None):
            raise ValueError("give either radius_um or edge_fluence_rel")
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

    def settings(self) -> Limits:
        """Return the limits as a plain record."""
        return Limits(
            max_fluence_uj_cm2=self.max_fluence_uj_cm2,
            max_pulse_energy_j=self.max_pulse_energy,
            max_average_power_w=self.max_average_power,
            max_dose_uj_cm2=self.max_dose_uj_cm2,
            angle_range_deg=self.angle_range_deg,
            set_ratio=self.set_ratio,
        )


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
