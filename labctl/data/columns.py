"""The scalar columns of a run: one list from which the CSV header, the CSV row and the HDF5 row are made.

The CSV has one writer, the procedure's ``emit``; this module only says what it emits. Labels follow
pymeasure's ``DATA_COLUMNS``, a name and a unit in parentheses; units it cannot parse contain a space or "^",
which keeps it from trying.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

import numpy as np

from labctl.model.records import SweepPoint

Scalar = float | int | str
Kind = Literal["int", "float", "text"]

FLAG_SEPARATOR = "|"
"""Between flags in one cell; neither a list separator nor a decimal mark of any locale."""

_COUNTS = "counts per pulse"
_FLUENCE = "uJ/cm^2"


@dataclass(frozen=True, slots=True)
class Column:
    """One scalar of a point: the record's field, its label and unit, and how it is stored.

    ``width`` is the number of bytes of a text; ``absent`` stands for None in an integer column (a float
    column uses NaN).
    """

    field: str
    name: str
    unit: str = ""
    kind: Kind = "float"
    width: int = 0
    absent: int | None = None

    @property
    def label(self) -> str:
        """Header of the CSV column, e.g. ``Fluence (uJ/cm^2)``."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def dtype(self) -> str:
        """Numpy type of the column in the HDF5 row."""
        return {"int": "<i8", "float": "<f8", "text": f"S{self.width}"}[self.kind]


COLUMNS: tuple[Column, ...] = (
    Column("index", "Index", kind="int"),
    Column("direction", "Direction", kind="text", width=8),
    Column("fluence_set_uj_cm2", "Fluence set", _FLUENCE),
    Column("fluence_uj_cm2", "Fluence", _FLUENCE),
    Column("fluence_sigma_rel", "Fluence relative error"),
    Column("pulse_energy_j", "Pulse energy", "J"),
    Column("angle_deg", "Attenuator angle", "deg"),
    Column("power_before_w", "Meter power before", "W"),
    Column("power_after_w", "Meter power after", "W"),
    Column("power_sigma_w", "Meter power error", "W"),
    Column("integration_s", "Integration time", "s"),
    Column("exposures", "Exposures", kind="int"),
    Column("pulses_per_exposure", "Pulses per exposure"),
    Column("signal", "Signal", _COUNTS),
    Column("signal_sigma", "Signal error", _COUNTS),
    Column("peaks_signal", "Peaks signal", _COUNTS),
    Column("peaks_signal_sigma", "Peaks signal error", _COUNTS),
    Column("fwhm_nm", "FWHM", "nm"),
    Column("equivalent_width_nm", "Equivalent width", "nm"),
    Column("peak_count", "Peak count", kind="int"),
    Column("peak_wavelength_nm", "Peak wavelength", "nm"),
    Column("exposure_cv", "Exposure CV"),
    Column("saturation", "Saturation"),
    Column("saturated_exposures", "Saturated exposures", kind="int"),
    Column("spikes_removed", "Spikes removed", kind="int"),
    Column("dark_number", "Dark number", kind="int"),
    Column("blank_number", "Blank number", kind="int", absent=-1),
    Column("temperature_c", "Detector temperature", "degC"),
    Column("dose_uj_cm2", "Dose", _FLUENCE),
    Column("elapsed_s", "Elapsed", "s"),
    Column("flags", "Flags", kind="text", width=160),
)
"""Every scalar of a :class:`SweepPoint`, in the order of the CSV."""

DATA_COLUMNS: list[str] = [column.label for column in COLUMNS]
"""What a pymeasure Procedure declares as its ``DATA_COLUMNS``."""

ROW_DTYPE = np.dtype([(column.field, column.dtype) for column in COLUMNS])
"""The scalar part of a point's row in the HDF5 file."""


def row(point: SweepPoint) -> dict[str, Scalar]:
    """Return what the procedure emits for ``point``: label to plain Python scalar, never an array.

    None becomes NaN in a float column and -1 in an integer one; flags are joined by "|".
    """
    return {column.label: scalar(column, getattr(point, column.field)) for column in COLUMNS}


def packed(point: SweepPoint) -> tuple[object, ...]:
    """Return the same scalars as a tuple in the order and the types of :data:`ROW_DTYPE`."""
    values = zip(_PLAIN, COLUMNS, _SCALARS_OF(point), strict=True)
    return tuple(
        [value if type(value) is plain else _packed(column, value) for plain, column, value in values]
    )


_SCALARS_OF = attrgetter(*(column.field for column in COLUMNS))
_PLAIN = tuple({"int": int, "float": float, "text": bytes}[column.kind] for column in COLUMNS)


def _packed(column: Column, value: object) -> object:
    plain = scalar(column, value)
    return plain.encode() if isinstance(plain, str) else plain


def fields(values: Mapping[str, object]) -> dict[str, object]:
    """Turn one stored row (by field name) back into the scalar arguments of a :class:`SweepPoint`."""
    return {column.field: _restored(column, values[column.field]) for column in COLUMNS}


def scalar(column: Column, value: object) -> Scalar:
    """Return a field of a point as the plain Python value that goes into the CSV."""
    if column.kind == "text":
        return _text(column, value)
    if value is None:
        return math.nan if column.absent is None else column.absent
    return int(value) if column.kind == "int" else float(value)  # type: ignore[call-overload,arg-type]


def _text(column: Column, value: object) -> str:
    words = list(value) if isinstance(value, tuple) else [str(value)]
    clean = ["".join(c if c.isalnum() or c in "_-.:%" else "_" for c in word) for word in words]
    text = FLAG_SEPARATOR.join(clean)
    while len(text.encode()) > column.width:
        clean = [*clean[:-2], "more"] if len(clean) > 1 else [clean[0][: column.width // 4]]
        text = FLAG_SEPARATOR.join(clean)
    return text


def _restored(column: Column, value: object) -> object:
    if column.kind == "text":
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        return tuple(filter(None, text.split(FLAG_SEPARATOR))) if column.field == "flags" else text
    if column.kind == "int":
        number = int(value)  # type: ignore[call-overload]
        return None if number == column.absent else number
    real = float(value)  # type: ignore[arg-type]
    return None if math.isnan(real) and column.field in _OPTIONAL else real


_OPTIONAL = {"fwhm_nm", "equivalent_width_nm", "peak_wavelength_nm", "temperature_c"}
