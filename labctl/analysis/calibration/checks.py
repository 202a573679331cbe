"""What every scan must be before anything is fitted to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

_LARGEST = 1e100
"""Numbers beyond this are not measurements, and their squares overflow."""


def columns(least: int, *named: tuple[str, ArrayLike | None]) -> list[FloatArray | None]:
    """Turn the columns of one measurement into arrays of shape ``(n,)``; None stays None.

    :raises CalibrationRefused: fewer than ``least`` values, columns of different lengths, values that are
        not numbers or not finite.
    """
    found: list[FloatArray | None] = []
    sizes: dict[str, int] = {}
    for name, values in named:
        if values is None:
            found.append(None)
            continue
        try:
            array = np.array(values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise CalibrationRefused(f"{name} must be a list of numbers") from None
        array = np.atleast_1d(array)
        if array.ndim != 1 or not (np.abs(array) <= _LARGEST).all():
            raise CalibrationRefused(f"{name} must be a list of finite numbers")
        sizes[name] = array.size
        found.append(array)
    if len(set(sizes.values())) > 1:
        raise CalibrationRefused("columns of different lengths: " + _listed(sizes))
    n = next(iter(sizes.values()))
    if n < least:
        raise CalibrationRefused(f"{n} points are too few: at least {least} are needed")
    return found


def _listed(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def column(array: FloatArray | None) -> FloatArray:
    """Say that a column is there."""
    if array is None:
        raise CalibrationRefused("a column is missing")
    return array


def errors(name: str, sigma: FloatArray | None) -> FloatArray | None:
    """Check standard errors; zeros, as of an ideal meter, are taken as the least of the others.

    :returns: None, for unknown, where all are zero.
    :raises CalibrationRefused: one is negative.
    """
    if sigma is None or not np.any(sigma):
        return None
    if (sigma < 0).any():
        raise CalibrationRefused(f"{name}: a standard error must be positive")
    return np.where(sigma > 0, sigma, np.min(sigma[sigma > 0]))


def in_range(power_w: FloatArray, range_w: float | None) -> None:
    """Refuse readings that the meter's range has cut off.

    :param range_w: highest power that the range in use can show; None when unknown.
    :raises CalibrationRefused: there are such readings.
    """
    top = float(np.max(power_w))
    if range_w is not None and top >= 0.999 * range_w:
        over = int(np.count_nonzero(power_w >= 0.999 * range_w))
        raise CalibrationRefused(
            f"{over} readings reach the end of the meter's range ({range_w:g} W): take a higher one, "
            "or a filter"
        )


def spread(values: FloatArray) -> str:
    """Write the ends of a list."""
    return f"{np.min(values):g} to {np.max(values):g}"
