"""Names and types of schema 1 of the run file. docs/run-file.md describes them for people.

A name once published here never changes its meaning; additions are allowed within a schema number.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from labctl.data.columns import ROW_DTYPE

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
