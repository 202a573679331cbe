"""Names and types of schema 1 of the run file, and the scalar columns that CSV and HDF5 share.

docs/run-file.md describes them for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
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


SCHEMA_NAME, SCHEMA_NUMBER = "labctl-run", 1
SCHEMA = f"{SCHEMA_NAME}/{SCHEMA_NUMBER}"

ENTRY = "entry"
CURVE = "entry/curve"
SPECTRA = "entry/spectra"
DETECTOR = "entry/instrument/detector"
DARKS = "entry/instrument/detector/darks"
ANALYSIS = "entry/analysis"
RECORD = "entry/record"
LEFT_OUT = "entry/record/exposures_left_out"
"""Not in the files of an older labctl, nor is :data:`FACTS`: nobody knows it of their points."""
FACTS = "entry/record/facts"

CURVE_NAMES = ("fluence", "fluence_errors", "signal", "signal_errors")
"""The columns of the L-L curve, one row a point."""

STATUS_BYTES = MappingProxyType({"status": 16, "status_reason": 1024, "end_time": 40})
"""Fixed texts of the entry, allocated at the start, so that the end of a run needs no new space."""

FRAME_KINDS: tuple[tuple[str, np.dtype[np.generic]], ...] = (
    ("raw", np.dtype("<u2")),
    ("raw_uint32", np.dtype("<u4")),
    ("raw_float32", np.dtype("<f4")),
    ("raw_float64", np.dtype("<f8")),
)
"""Datasets of raw frames; each point's frames lie in the first whose type holds them exactly."""

GROWING: Mapping[str, str] = MappingProxyType(
    {
        "dark_counts": f"{DARKS}/counts",
        "dark_spread": f"{DARKS}/spread",
        "dark_table": f"{DARKS}/table",
        "spectrum": f"{SPECTRA}/spectrum",
        "events": f"{RECORD}/events",
        "spikes": f"{RECORD}/spikes",
        "left_out": LEFT_OUT,
        "points": f"{RECORD}/points",
        "result": f"{RECORD}/result",
        **{name: f"{DETECTOR}/{name}" for name, _ in FRAME_KINDS},
        **{name: f"{CURVE}/{name}" for name in CURVE_NAMES},
    }
)
"""Every dataset that grows while a run is written."""

POINT_DTYPE = np.dtype(
    [
        *[(name, ROW_DTYPE[name].str) for name in ROW_DTYPE.names or ()],
        ("frames_kind", "<u1"),
        ("frames_first", "<i8"),
        ("frames_count", "<i4"),
        ("spikes_first", "<i8"),
        ("spikes_count", "<i4"),
        ("crc32_data", "<u4"),
        ("crc32_row", "<u4"),
    ]
)
"""A point's row: the CSV's scalars, where its frames and spikes lie, and two checksums.

``crc32_data`` covers the frames as stored and then the spectrum; ``crc32_row`` the row up to itself.
"""

DARK_DTYPE = np.dtype(
    [
        ("number", "<i8"),
        ("kind", "S8"),
        ("n", "<i8"),
        ("integration_s", "<f8"),
        ("at_s", "<f8"),
        ("temperature_c", "<f8"),
        ("fluence_uj_cm2", "<f8"),
        ("crc32_data", "<u4"),
    ]
)
"""A dark's row; its mean and spread are the rows of the same number in the two datasets beside it."""

EVENT_DTYPE = np.dtype([("at_s", "<f8"), ("continued", "<u1"), ("text", "S240")])
"""A line of the run's log; a long one goes on in the next row, which is marked ``continued``."""

SPIKE_DTYPE = np.dtype([("point", "<i8"), ("exposure", "<i4"), ("pixel", "<i4"), ("counts", "<f8")])
"""A removed spike: which pixel of which exposure, and the raw counts it had."""

SHOTS = "entry/shots"
SHOT_FRAMES = "entry/instrument/detector/shots"
SHOT_TABLES: Mapping[str, str] = MappingProxyType(
    {
        "frames": SHOT_FRAMES,
        "table": f"{RECORD}/shots",
        "gaps": f"{RECORD}/shot_gaps",
        "batches": f"{RECORD}/shot_batches",
        "points": f"{RECORD}/shot_points",
    }
)
"""What grows in a run that keeps every shot; a run of another kind has none of these."""

SHOT_DTYPE = np.dtype(
    [
        ("device_time_us", "<i8"),
        ("spectrum_count", "<i8"),
        ("pulse", "<i8"),
        ("point", "<i4"),
        ("phase", "<u1"),
    ]
)
"""A shot; its frame is the row of the same number. ``phase`` is a place in ``labctl.model.shots.PHASES``."""

SHOT_GAP_DTYPE = np.dtype([("point", "<i4"), ("pulse", "<i8"), ("lost", "<i8"), ("cause", "S8")])
"""Shots that are missing: from which pulse on, how many, and why."""

SHOT_POINT_DTYPE = np.dtype(
    [
        ("point", "<i4"),
        ("fluence_set_uj_cm2", "<f8"),
        ("fluence_uj_cm2", "<f8"),
        ("fluence_sigma_rel", "<f8"),
        ("pulse_energy_j", "<f8"),
        ("angle_deg", "<f8"),
        ("integration_s", "<f8"),
        ("light", "<i8"),
        ("mean_counts", "<f8"),
        ("cv", "<f8"),
        ("dark_cv", "<f8"),
        ("clipped", "<i8"),
        ("dose_uj_cm2", "<f8"),
    ]
)
"""A fluence at which all shots were stored, by the fields of ``labctl.model.shots.ShotsSummary``."""

SHOT_BATCH_DTYPE = np.dtype(
    [
        ("first", "<i8"),
        ("count", "<i4"),
        ("gaps", "<i8"),
        ("integration_s", "<f8"),
        ("received_s", "<f8"),
        ("crc32_data", "<u4"),
        ("crc32_row", "<u4"),
    ]
)
"""Shots that were stored together: written last, it makes them exist.

``gaps`` is the number of rows of the gaps up to here. ``crc32_data`` covers the frames, then their rows, then
all gaps of the batch; ``crc32_row`` this row up to itself.
"""

LEFT_OUT_DTYPE = np.dtype([("point", "<i8"), ("exposure", "<i4"), ("why", "S16")])
"""An exposure that a point was not reduced from; ``exposure`` -1 says that the point left out none."""

INSTRUMENT_CLASSES = MappingProxyType(
    {
        "attenuator": ("attenuator", "NXattenuator"),
        "power_meter": ("monitor", "NXmonitor"),
        "spectrometer": ("detector", "NXdetector"),
        "shutter": ("shutter", "NXcollection"),
        "laser": ("laser", "NXsource"),
    }
)
"""Role to the group that describes it under ``entry/instrument``, and its NeXus class."""
