"""Earlier spectra as one fading image behind the present one: the cost does not grow with their number."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from labctl.model.records import FloatArray

COLUMNS, ROWS = 480, 220
MOST = 12


def columns_of(
    places: FloatArray, values: FloatArray, low: float, high: float
) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and the highest value in each of :data:`COLUMNS` columns between two places.

    :param places: rising, shape ``(pixel,)``, like ``values``. A column without a pixel is interpolated.
    """
    edges = np.linspace(low, high, COLUMNS + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    base = np.interp(middle, places, values)
    bottom, top = base.copy(), base.copy()
    inside = (places >= low) & (places < high)
    which = np.searchsorted(edges, places[inside], side="right") - 1
    np.minimum.at(bottom, which, values[inside])
    np.maximum.at(top, which, values[inside])
    return bottom, top


def traced(bottom: FloatArray, top: FloatArray, floor: float, ceiling: float) -> NDArray[np.float32]:
    """Return an image, 1 where the line runs, shape ``(ROWS, COLUMNS)``, row 0 at the floor."""
    scale = ROWS / (ceiling - floor)
    # Neighbouring columns are joined, so that a steep flank is a line and not two dots.
    low = np.minimum(bottom, np.roll(top, 1))
    low[0] = bottom[0]
    first = np.clip((low - floor) * scale, 0, ROWS - 1).astype(np.intp)
    last = np.clip((top - floor) * scale, 0, ROWS - 1).astype(np.intp)
    first = np.minimum(first, last)
    shown = (low < ceiling) & (top > floor)  # what lies outside leaves no line along the edge
    steps = np.zeros((ROWS + 1, COLUMNS), dtype=np.float32)
    at = np.arange(COLUMNS)
    np.add.at(steps, (first[shown], at[shown]), 1.0)
    np.add.at(steps, (last[shown] + 1, at[shown]), -1.0)
    return np.cumsum(steps, axis=0, dtype=np.float32)[:ROWS]


class Ghosts:
    """The last spectra and their fading image."""

    def __init__(self) -> None:
        self._kept: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=MOST)
        self._image = np.zeros((ROWS, COLUMNS), dtype=np.float32)
        self._range: tuple[float, float] | None = None

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._image[:] = 0.0

    def add(self, columns: tuple[FloatArray, FloatArray]) -> None:
        """Take in one more, as :func:`columns_of` gives it; the others fade."""
        self._kept.append(columns)
        if self._range is not None:
            self._image *= 0.8
            np.maximum(self._image, traced(*columns, *self._range), out=self._image)

    def image(self, floor: float, ceiling: float) -> NDArray[np.uint8]:
        """Return the image for a range of counts, 0 to 255, shape ``(ROWS, COLUMNS)``."""
        if self._range != (floor, ceiling):
            self._range = (floor, ceiling)
            self._image[:] = 0.0
            for columns in self._kept:
                self._image *= 0.8
                np.maximum(self._image, traced(*columns, floor, ceiling), out=self._image)
        return np.asarray(np.clip(self._image * 255.0, 0, 255), dtype=np.uint8)
