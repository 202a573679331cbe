"""Errors that a table states: standard deviation or error, in per cent or in the signal's own unit."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from labctl.data.tables.errors import TableUnclear
from labctl.data.tables.headings import Heading
from labctl.model.records import FloatArray
from labctl.model.units import factor

_DEVIATION = r"\b(?:std\w*|sd|stdev|stddev|standard deviation|standardabweichung|ecart type|st dev)\b"
_OF_MEAN = r"\b(?:sem|se|standard error|standardfehler|error of the mean|fehler des mittelwert\w*)\b"
_RELATIVE = r"\b(?:rel|relative|relativer|relatif|fractional)\b"
_LARGEST_PERCENT = 100.0
_GROWS, _SPAN = 0.3, 1.5


def absolute(
    path: Path, values: FloatArray, own: Heading, base: FloatArray, of: Heading, said_of_it: str
) -> tuple[FloatArray, str]:
    """Return errors in the unit of the column they belong to, and how they were read.

    :param values: as they stand, shape (n,); ``base`` what they belong to, likewise.
    :param said_of_it: "percent", "absolute", "fraction", or what decides nothing.
    :raises TableUnclear: they may be per cent, a fraction or absolute.
    """
    kind = said_of_it if said_of_it in ("percent", "absolute", "fraction") else _kind(own, of)
    if not kind:
        kind = _by_size(values, base)
    if not kind:
        raise TableUnclear(
            path,
            f"{own.name!r}: are these errors per cent, a fraction, or in the unit of {of.name!r}?",
            "sigma",
            [f"{own.name}:{word}" for word in ("percent", "absolute", "fraction")] + ["none"],
        )
    if kind == "percent":
        return np.abs(base) * values / 100, "in per cent"
    if kind == "fraction":
        return np.abs(base) * values, "as a fraction"
    if own.unit is not None and of.unit is not None and own.unit.text != of.unit.text:
        scale = factor(own.unit.text, of.unit.text)
        if scale is not None:
            return values * scale, f"absolute, in {own.unit.text}"
    return values, "absolute"


def _kind(own: Heading, of: Heading) -> str:
    """Read it from the heading."""
    if own.unit is not None and own.unit.kind == "percent":
        percent_of_percent = of.unit is not None and of.unit.kind == "percent"
        return "absolute" if percent_of_percent and not re.search(_RELATIVE, own.words) else "percent"
    if "%" in own.name:
        return "percent"
    if re.search(_RELATIVE, own.words):
        return "fraction" if own.unit is None else "absolute"
    if own.unit is not None or re.search(r"\babs(?:olute)?\b", own.words):
        return "absolute"
    return ""


def _by_size(values: FloatArray, base: FloatArray) -> str:
    """Read it from the numbers: errors that grow with the signal, or exceed 100, are no per cent."""
    good = np.isfinite(values) & np.isfinite(base) & (values > 0) & (base != 0)
    if not good.any():
        return "absolute"
    sigma, size = values[good], np.abs(base[good])
    if float(sigma.max()) > _LARGEST_PERCENT:
        return "absolute"
    if good.sum() > 1 and min(float(v.max() / v.min()) for v in (sigma, size)) > _SPAN:
        slope = float(np.polyfit(np.log(size), np.log(sigma), 1)[0])
        if slope > _GROWS:
            return "absolute"
    return ""


def statistic(own: Heading, said_of_it: str) -> str:
    """Return "sd", "se", or nothing where it is not stated."""
    if said_of_it in ("sd", "se"):
        return said_of_it
    if re.search(_OF_MEAN, own.words):
        return "se"
    return "sd" if re.search(_DEVIATION, own.words) else ""


def of_mean(
    path: Path, sigma: FloatArray, own: Heading, repeats: FloatArray | None, said_of_it: str
) -> tuple[FloatArray, str]:
    """Divide standard deviations by the root of the number of repeats, where the table holds it.

    :param repeats: how many measurements each point is the mean of, shape (n,); None where not known.
    :raises TableUnclear: deviation or error, where the numbers of repeats differ.
    """
    found = statistic(own, said_of_it)
    if found == "se":
        return sigma, "standard errors"
    differ = repeats is not None and np.isfinite(repeats).all() and float(np.ptp(repeats)) > 0
    if not found and differ:
        raise TableUnclear(
            path,
            f"{own.name!r}: standard deviations of single measurements, or standard errors of their mean?",
            "sigma",
            [f"{own.name}:{word}" for word in ("sd", "se")],
        )
    if found == "sd" and repeats is not None and (repeats > 0).all():
        return sigma / np.sqrt(repeats), "standard deviations, divided by the root of the repeats"
    if found == "sd":
        return sigma, "standard deviations; their ratios weigh the points"
    return sigma, "taken as standard errors; their ratios weigh the points"


def is_usable(sigma: FloatArray) -> bool:
    """Whether at least half of the errors are numbers above zero."""
    good = np.isfinite(sigma) & (sigma > 0)
    return bool(sigma.size) and float(good.mean()) >= 0.5 and math.isfinite(float(np.median(sigma[good])))
