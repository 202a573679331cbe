"""Spectra are told from light-light curves: they have no threshold."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from labctl.data.tables.cells import Sheet
from labctl.data.tables.headings import Heading
from labctl.data.tables.numbers import Numbers
from labctl.model.records import FloatArray

_MARKERS = re.compile(
    r"(?i)>{3,}\s*begin|begin (?:processed )?spectral data|number of pixels in spectrum|"
    r"\bspectrasuite\b|\boceanview\b"
    r"|exposure time \(secs\)|##xydata|grating groove|processed spectral"
)
_LEAST_ROWS, _LEAST_BARE = 12, 64
_RANGE_NM, _COARSEST_NM, _UNEVEN = (150.0, 2600.0), 5.0, 3.0


def why_spectrum(sheet: Sheet, headings: Sequence[Heading], columns: Sequence[Numbers | None]) -> str:
    """Say why a table is a spectrum; empty where it is none."""
    numeric = [at for at, column in enumerate(columns) if column is not None]
    if not numeric:
        return ""
    first = columns[numeric[0]]
    assert first is not None
    steady = _is_axis(first.values)
    lines = [line.text for line in (*sheet.comments, *sheet.about)]
    marker = next((text for text in lines if _MARKERS.search(text)), None)
    if marker is not None and steady:
        return f"{marker.strip()[:40]!r} stands above the numbers"
    pumps = [h for h in headings if h.role == "pump" and not re.match(r"\s*\d", h.name)]
    named = headings[numeric[0]]
    if named.role == "wavelength" and not pumps and steady and first.values.size >= _LEAST_ROWS:
        return f"{named.name!r} is its axis"
    if not any(h.named for h in headings) and len(numeric) > 1:
        second = columns[numeric[1]]
        assert second is not None
        if _looks_like_one(first.values, second.values):
            return "the first column runs in even steps as wavelengths do"
    return ""


def _is_axis(values: FloatArray) -> bool:
    known = values[np.isfinite(values)]
    steps = np.diff(known)
    return known.size > 3 and bool((steps > 0).all() or (steps < 0).all())


def _looks_like_one(axis: FloatArray, light: FloatArray) -> bool:
    if axis.size < _LEAST_BARE or not _is_axis(axis) or not np.isfinite(axis).all():
        return False
    steps = np.abs(np.diff(axis))
    low, high = float(axis.min()), float(axis.max())
    even = float(steps.max()) < _UNEVEN * float(steps.min()) and float(steps.max()) < _COARSEST_NM
    inside = _RANGE_NM[0] <= low and high <= _RANGE_NM[1]
    top = int(np.nanargmax(light)) if np.isfinite(light).any() else 0
    return even and inside and 0.02 * axis.size < top < 0.98 * axis.size
