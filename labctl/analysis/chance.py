"""How surely a number differs from zero, its error declared and a few points showing what it really is."""

from __future__ import annotations

import math

from scipy.special import stdtr

_TRUST = 4.0
"""The declared errors count as much as so many degrees of freedom: a handful of residuals, which a smooth
curvature may inflate as well as noise, does not overrule them alone."""


def scaled_error(error: float, chi2: float, freedom: int) -> tuple[float, float]:
    """Return a standard error enlarged where residuals exceed the declared errors, and its freedom.

    :param error: from the declared errors alone; ``chi2`` of the residuals in units of those.
    :param freedom: of the residuals, 0 or more.
    """
    scale2 = (_TRUST + chi2) / (_TRUST + freedom)
    return error * math.sqrt(max(scale2, 1.0)), _TRUST + freedom


def chance_of(value: float, error: float, freedom: float) -> float:
    """Return the two-sided chance of a number as far from zero by luck alone."""
    return float(2 * stdtr(freedom, -abs(value) / error))
