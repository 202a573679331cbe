"""``[calibrations]`` of a bench file: which files were measured, and what of ``[pump]`` they supply.

A calibration wins over the bench file. A bench file names files; a run holds copies, and no path out of a run
is followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import InstanceOf, PlainSerializer

from labctl.config.tables import Mistake, PumpTable, Table
from labctl.config.units import convert
from labctl.data.calibrations import of_mapping, read_calibration, to_mapping
from labctl.model.calibration import KINDS, Calibration, CalibrationKind, Quantity
from labctl.model.errors import DataError

Values = Iterator[tuple[str, object]]

SUPPLIERS: Mapping[str, tuple[CalibrationKind, ...]] = {
    "attenuator_curve": ("attenuator",),
    "pickoff_ratio": ("pickoff",),
    "repetition_rate_hz": ("energy",),
    "max_pulse_energy": ("energy", "attenuator"),
    "spot": ("spot",),
}
"""Keys of ``[pump]`` that may be left out where one of these calibrations is named."""


class NotSupplied(Exception):  # noqa: N818  it becomes a mistake of the bench file
    """A calibration lacks what its kind must hold."""

    def __init__(self, kind: CalibrationKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def supplied(
    calibrations: Mapping[CalibrationKind, Calibration], pump: Mapping[str, object]
) -> dict[str, tuple[CalibrationKind, object]]:
    """Return the keys of ``[pump]`` that the calibrations supply, each with its kind and value.

    :param pump: as the bench file has it, for what one calibration needs of another or of the file.
    :raises NotSupplied: a calibration lacks a number.
    """
    values: dict[str, tuple[CalibrationKind, object]] = {}
    makers: Mapping[CalibrationKind, Callable[[Calibration], Values]] = {
        "pickoff": _pickoff,
        "energy": _energy,
        "spot": _spot,
        "attenuator": _attenuator,
    }
    for kind, maker in makers.items():
        if (calibration := calibrations.get(kind)) is not None:
            values |= {key: (calibration.kind, value) for key, value in maker(calibration)}
    if "max_pulse_energy" not in values and (measured := calibrations.get("attenuator")) is not None:
        known = {**pump, **{key: value for key, (_kind, value) in values.items()}}
        if (energy_j := _full_energy_j(measured, known)) is not None:
            values["max_pulse_energy"] = ("attenuator", f"{energy_j!r} J")
    return values


def _attenuator(c: Calibration) -> Values:
    form = c.facts.get("form", "malus")
    if form == "table":
        angle, transmission = (_table(c, name) for name in ("angle_deg", "transmission"))
        if len(angle) != len(transmission):
            raise NotSupplied(c.kind, f"holds {len(angle)} angles but {len(transmission)} transmissions")
        highest = max(transmission, default=1.0)
        rising = sorted(zip(angle, transmission, strict=True))
        yield (
            "attenuator_curve",
            {
                "kind": "table",
                "angle_deg": [a for a, _ in rising],
                "transmission": [t / highest if highest > 0 else t for _, t in rising],
            },
        )
    else:
        zero, leak = _needed(c, "zero_deg", "deg"), _needed(c, "leakage", "1")
        yield (
            "attenuator_curve",
            {
                "kind": "malus",
                "zero_deg": zero.value,
                "t_min": max(leak.value, 0.0),
                "t_max": 1.0,
                "branch": c.facts.get("branch", "+"),
            },
        )
        yield "curve_sigma_deg", zero.total
        yield "leak_sigma", leak.total
    if (sigma := _angle_sigma_deg(c)) is not None:
        yield "angle_sigma_deg", sigma
    zero_w = c.facts.get("zero_w")
    if c.facts.get("place") == "pick-off" and isinstance(zero_w, float) and zero_w:
        yield "meter_zero_sigma", f"{abs(zero_w)!r} W"  # what a sweep does not take off


def _angle_sigma_deg(c: Calibration) -> float | None:
    """Return how far the mount may be off: its repeatability, its error too, and half of its play."""
    repeat, play = c.quantities.get("repeatability"), c.quantities.get("backlash")
    if repeat is None and play is None:
        return None
    own = (repeat.value, repeat.statistical) if repeat else ()
    return math.hypot(*own, play.value / 2 if play else 0.0)


def _pickoff(c: Calibration) -> Values:
    ratio = _needed(c, "ratio", "1")
    yield "pickoff_ratio", ratio.value
    yield "pickoff_sigma_rel", math.hypot(ratio.total_rel, _curved(c))


def _curved(c: Calibration) -> float:
    """Return what a departure from proportionality adds to one ratio for all powers: half of it, spread."""
    bend = c.quantities.get("nonlinearity")
    if bend is None or "nonlinear" not in c.flags:  # within chance
        return 0.0
    return abs(bend.value) / 2 / math.sqrt(3)


def _energy(c: Calibration) -> Values:
    rate = _needed(c, "repetition_rate", "Hz")
    yield "repetition_rate_hz", rate.value
    yield "repetition_sigma_rel", rate.total_rel
    optional = {"pulse_cv": "pulse_cv", "drift": "laser_drift_rel"}
    for name, key in optional.items():
        if (quantity := c.quantities.get(name)) is not None:
            yield key, abs(quantity.value)
            if name == "pulse_cv":
                yield "pulse_cv_sigma", min(quantity.total, 0.99)
    if (energy := c.quantities.get("pulse_energy")) is not None:
        yield "max_pulse_energy", f"{energy.value!r} J"
    if (width := c.quantities.get("pulse_width")) is not None:
        yield "pulse_width_fs", width.value
        yield "pulse_width_sigma_fs", width.total


def _spot(c: Calibration) -> Values:
    x, y = _needed(c, "x_um", "um"), _needed(c, "y_um", "um")
    shape = c.facts.get("shape", "gaussian")
    yield "spot", {"shape": shape, "x_um": x.value, "y_um": y.value}
    # One scale (a micrometer's) in both sizes is one error that counts for each of them.
    yield "spot_sigma_rel", (x.scale / x.value + y.scale / y.value) / 2
    yield "spot_x_sigma_rel", x.statistical / x.value
    yield "spot_y_sigma_rel", y.statistical / y.value
    if (incidence := c.quantities.get("incidence_deg")) is not None:
        yield "incidence_deg", incidence.value
        yield "incidence_sigma_deg", incidence.total
    if (absorbed := c.quantities.get("absorptance")) is not None:
        yield "absorptance", absorbed.value
        yield "absorptance_sigma", absorbed.total


def _full_energy_j(c: Calibration, pump: Mapping[str, object]) -> float | None:
    """Return the energy on the sample that the attenuator's highest power stands for, if it can be told."""
    power = c.quantities.get("max_power")
    try:
        rate_hz = convert(pump.get("repetition_rate_hz"), "frequency", "Hz")
    except ValueError:
        return None
    ratio = 1.0 if c.facts.get("place") == "sample" else pump.get("pickoff_ratio")
    if power is None or not isinstance(ratio, (int, float)) or not (rate_hz > 0 and power.value > 0):
        return None
    return power.value * ratio / rate_hz


def _needed(c: Calibration, name: str, unit: str) -> Quantity:
    found = c.quantities.get(name)
    if found is None:
        raise NotSupplied(c.kind, f"has no {name}")
    if found.unit != unit:
        raise NotSupplied(c.kind, f"gives {name} in {found.unit!r} instead of {unit!r}")
    if name not in ("zero_deg", "leakage") and found.value <= 0:
        raise NotSupplied(c.kind, f"gives {name} = {found.value:g}; it must be positive")
    return found


def _table(c: Calibration, name: str) -> tuple[float, ...]:
    found = c.tables.get(name)
    if not found:
        raise NotSupplied(c.kind, f"has no table of {name}")
    return found


_SAME_WAVELENGTH_REL = 0.005
"""A calibration at a wavelength farther off than this part of it is one for another beam."""
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class NamedCalibration:
    """A calibration and the name of the file it was read from, which is only ever shown."""

    calibration: Calibration
    file: str

    @property
    def source(self) -> str:
        """File and day, as a budget names them."""
        return f"{self.file}, {self.calibration.measured_utc[:10]}"

    def to_mapping(self) -> dict[str, object]:
        """Return the copy that a run holds."""
        return {"file": self.file, **to_mapping(self.calibration)}


_Named = Annotated[InstanceOf[NamedCalibration], PlainSerializer(NamedCalibration.to_mapping)]


class CalibrationsTable(Table):
    """``[calibrations]``.

    :param expired: what becomes of a calibration whose time is over when the bench is opened.
    :param required: kinds without which the bench is not opened.
    """

    attenuator: _Named | None = None
    pickoff: _Named | None = None
    energy: _Named | None = None
    spot: _Named | None = None
    spectrometer: _Named | None = None
    expired: Literal["warn", "refuse"] = "warn"
    required: tuple[CalibrationKind, ...] = ()

    def named(self) -> dict[CalibrationKind, NamedCalibration]:
        """Return those that there are, by kind."""
        return {kind: found for kind in KINDS if (found := getattr(self, kind)) is not None}

    def stored(self) -> dict[str, object]:
        """Return what a run holds of it; nothing of a table that says nothing."""
        if self == CalibrationsTable():
            return {}
        return {key: value for key, value in self.model_dump(mode="json").items() if value is not None}

    def sources(self, pump: Mapping[str, object]) -> dict[str, str]:
        """Return where each number of the pump comes from that a calibration supplies.

        :param pump: ``[pump]`` as plain values.
        """
        given = self.named()
        calibrations = {kind: named.calibration for kind, named in given.items()}
        return {
            _SETTING.get(key, key): _with_method(key, given[kind])
            for key, (kind, _value) in supplied(calibrations, pump).items()
        }


_SETTING = {
    "attenuator_curve": "curve",
    "max_pulse_energy": "max_pulse_energy_j",
    "meter_zero_sigma": "background_sigma_w",
}
"""Keys of ``[pump]`` that have another name in the record."""


def with_calibrations(
    data: Mapping[str, object], beside: Path | None, mistakes: list[Mistake]
) -> dict[str, object]:
    """Return the tables of a bench with its calibrations read, and their numbers in ``[pump]``.

    :param beside: see :func:`labctl.config.bench.bench_of`.
    :param mistakes: takes up what is wrong.
    """
    checked = dict(data)
    table, pump = data.get("calibrations"), data.get("pump")
    if not isinstance(table, dict):
        return checked
    found: dict[CalibrationKind, NamedCalibration] = {}
    for kind in KINDS:
        if table.get(kind) is not None:
            named = _named(kind, table[kind], beside, mistakes)
            found |= {} if named is None else {kind: named}
    checked["calibrations"] = {**{k: v for k, v in table.items() if k not in KINDS}, **found}
    if isinstance(pump, dict):
        calibrations = {kind: named.calibration for kind, named in found.items()}
        try:
            values = supplied(calibrations, pump)
        except NotSupplied as exc:
            mistakes.append(Mistake(f"calibrations.{exc.kind}", f"{found[exc.kind].file} {exc}"))
        else:
            checked["pump"] = {**pump, **{key: value for key, (_kind, value) in values.items()}}
    return checked


def contradictions(table: CalibrationsTable | None, pump: PumpTable) -> list[Mistake]:
    """Return what calibrations and the bench file say differently: a calibration holds for one wavelength."""
    found = []
    for kind, named in (table.named() if table else {}).items():
        measured = named.calibration.facts.get("wavelength_nm")
        if not isinstance(measured, float) or kind in ("spot", "spectrometer"):
            continue
        if abs(measured - pump.wavelength_nm) > _SAME_WAVELENGTH_REL * pump.wavelength_nm:
            reason = (
                f"{named.file} was measured at {measured:g} nm, pump.wavelength_nm is {pump.wavelength_nm:g}"
            )
            found.append(Mistake(f"calibrations.{kind}", reason, "calibrate at the pump wavelength"))
    return found


def with_hint(mistake: Mistake) -> Mistake:
    """Add to a missing key of ``[pump]`` which calibration could supply it."""
    table, _, key = mistake.key.partition(".")
    kinds = SUPPLIERS.get(key.partition(".")[0], ())
    if table != "pump" or mistake.reason != "missing" or not kinds or "." in key:
        return mistake
    return mistake._replace(hint=f"or name a calibration in [calibrations]: {' or '.join(kinds)}")


def _named(
    kind: CalibrationKind, value: object, beside: Path | None, mistakes: list[Mistake]
) -> NamedCalibration | None:
    key = f"calibrations.{kind}"
    try:
        if beside is None:
            named = _copied(kind, value)
        elif isinstance(value, str) and value:
            path = beside / value
            named = NamedCalibration(read_calibration(path), path.name)
        else:
            mistakes.append(Mistake(key, "must be the path of a calibration file, as text"))
            return None
    except DataError as exc:
        mistakes.append(Mistake(key, exc.message))
        return None
    if named.calibration.kind != kind:
        mistakes.append(Mistake(key, f"{named.file} is a calibration of kind {named.calibration.kind}"))
        return None
    return named


def _copied(kind: CalibrationKind, value: object) -> NamedCalibration:
    """Take the copy out of a run; whatever its file's name is, nothing is read from there."""
    if not isinstance(value, dict):
        raise DataError("a path stored in a run file is not opened", "give the bench file with --bench")
    name = value.get("file")
    sound = isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()
    return NamedCalibration(of_mapping(value), cast(str, name) if sound else f"a calibration of kind {kind}")


def _with_method(key: str, named: NamedCalibration) -> str:
    if key != "pulse_width_fs":
        return named.source
    return f"{named.calibration.facts.get('pulse_width_source', 'stated')}, {named.source}"
