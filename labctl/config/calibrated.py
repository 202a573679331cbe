"""``[calibrations]`` of a bench file: which files were measured, and what of ``[pump]`` they supply.

A calibration wins over the bench file. A bench file names files; a run holds copies, and no path out of a run
is followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import InstanceOf, PlainSerializer

from labctl.config.mistakes import Mistake
from labctl.config.supplied import SUPPLIERS, NotSupplied, supplied
from labctl.config.tables import PumpTable, Table
from labctl.data.calibrations import of_mapping, read_calibration, to_mapping
from labctl.model.calibration import KINDS, Calibration, CalibrationKind
from labctl.model.errors import DataError

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
            found.append(Mistake(f"calibrations.{kind}", reason, "calibrate at the wavelength of the pump"))
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
        raise DataError("a path is not followed out of a run file", "give the bench file with --bench")
    name = value.get("file")
    sound = isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()
    return NamedCalibration(of_mapping(value), cast(str, name) if sound else f"a calibration of kind {kind}")


def _with_method(key: str, named: NamedCalibration) -> str:
    if key != "pulse_width_fs":
        return named.source
    return f"{named.calibration.facts.get('pulse_width_source', 'stated')}, {named.source}"
