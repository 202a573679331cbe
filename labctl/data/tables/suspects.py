"""Numbers that no light made: sentinels, full scale, counters that wrapped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labctl.model.records import FloatArray

_LIMITS = {-32768.0: "16-bit", 2147483647.0: "32-bit", -2147483648.0: "32-bit", 4294967295.0: "32-bit"}
_FULL = {float(2**bits - 1): bits for bits in (12, 14, 15, 16, 18, 20, 24)}
_NINES = [
    float("9" * whole + ("." + "9" * part if part else "")) for whole in range(2, 11) for part in range(4)
]
_ISOLATED = 20.0
_HALF, _WRAP = 32768.0, 65536.0
_LEAST_CLIPPED = 3


def sentinels(values: FloatArray) -> dict[int, str]:
    """Find what stands for "no number": -999, -9999, or nines far above everything else.

    :param values: shape (n,), nan where there is none; the result holds places in it, and why.
    """
    found: dict[int, str] = {}
    known = np.isfinite(values)
    for at in np.flatnonzero(known & np.isin(np.abs(values), _NINES)):
        value = values[at]
        others = values[known & (values != value)]
        if not others.size:
            continue
        alone = value < 0 and bool((others >= 0).all()) and abs(value) >= 99
        beyond = value > 0 and value >= 999 and value > _ISOLATED * float(np.abs(others).max())
        if alone or beyond:
            found[int(at)] = f"{value:.10g} stands for no number"
    return found


def unlikely(pump: FloatArray, signal: FloatArray) -> dict[int, str]:
    """Find signals that a converter's limits made.

    :param pump: shape (n,), and ``signal`` likewise, nan where there is none.
    """
    found = {
        int(at): f"{signal[at]:.10g} is the limit of a {_LIMITS[signal[at]]} number"
        for at in np.flatnonzero(np.isin(signal, list(_LIMITS)))
    }
    rest = np.where(np.isin(np.arange(signal.size), list(found)), np.nan, signal)
    for check in (_full_scale, _wrapped, _flat):
        found |= check(pump, rest)
        rest = np.where(np.isin(np.arange(signal.size), list(found)), np.nan, signal)
    return found


def _full_scale(_pump: FloatArray, signal: FloatArray) -> dict[int, str]:
    top = float(np.nanmax(signal)) if np.isfinite(signal).any() else 0.0
    bits = _FULL.get(top)
    if bits is None:
        return {}
    return {
        int(at): f"{top:.0f} is the full scale of {bits} bits: clipped"
        for at in np.flatnonzero(signal == top)
    }


def _whole(signal: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(signal) & (signal == np.round(signal)), dtype=np.bool_)


def _wrapped(pump: FloatArray, signal: FloatArray) -> dict[int, str]:
    """Whole numbers of 16 bits that fall by half their range or more from one pump to the next higher one."""
    good = np.isfinite(signal) & np.isfinite(pump)
    if good.sum() < 4 or not _whole(signal)[good].all():
        return {}
    low, high = float(signal[good].min()), float(signal[good].max())
    order = np.flatnonzero(good)[np.argsort(pump[good], kind="stable")]
    falls = np.flatnonzero(np.diff(signal[order]) < -_HALF * 0.9)
    if not falls.size or high >= _WRAP or (low < 0 and (low < -_HALF or high >= _HALF)):
        return {}
    first = order[falls[0] + 1]
    said = "a 16-bit number that wrapped" if low < 0 else "a 16-bit counter that wrapped"
    return {
        int(at): f"{signal[at]:.0f} where {signal[order[falls[0]]]:.0f} stands at a lower pump: {said}"
        for at in order
        if pump[at] >= pump[first]
    }


def _flat(pump: FloatArray, signal: FloatArray) -> dict[int, str]:
    """Several of the strongest pumps with one and the same large whole number: the detector clips."""
    good = np.isfinite(signal) & np.isfinite(pump)
    if not good.any():
        return {}
    top = float(signal[good].max())
    at_top = good & (signal == top)
    if at_top.sum() < _LEAST_CLIPPED or top < 1000 or top != round(top):
        return {}
    if pump[good & ~at_top].size == 0 or float(pump[good & ~at_top].max()) > float(pump[at_top].min()):
        return {}
    count = int(at_top.sum())
    said = f"{top:.10g} at each of the {count} strongest pumps: clipped"
    return {int(at): said for at in np.flatnonzero(at_top)}
