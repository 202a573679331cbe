"""What the models of Ocean spectrometers differ in, where seabreeze's two backends do not say it alike.

Sources: seabreeze 2.11, pyseabreeze/devices.py and libseabreeze's spectrometer features.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

Trigger = Literal["free", "edge", "level", "sync"]

COUNTS_MS = frozenset(
    {"USB2000", "HR2000", "USB650", "QE65000", "NIRQUEST512", "NIRQUEST256", "FLAMENIR", "ADC1000USB"}
)
"""Models that count exposure times in whole milliseconds."""
COUNTS_10_US = frozenset({"ST"})
CLIPS_AT = {"QEPRO": 200_000.0}
"""Counts above which a model does not go, as libseabreeze has it; pyseabreeze tells 262143."""

OBP: dict[Trigger, int] = {"free": 0, "edge": 1, "level": 3}
OOI: dict[Trigger, int] = {"free": 0, "level": 1, "sync": 2, "edge": 3}
_OLDER_OOI: dict[Trigger, int] = {"free": 0, "level": 1, "edge": 3}
_SMALL_OBP: dict[Trigger, int] = {"free": 0, "edge": 1}
_ST: dict[Trigger, int] = {"free": 0, "edge": 3}
_FREE: dict[Trigger, int] = {"free": 0}
_MODELS: tuple[tuple[str, dict[Trigger, int]], ...] = (
    ("FX FLAMEX HDX", OBP),
    ("STS SPARK", _SMALL_OBP),
    ("ST", _ST),
    ("SR2 SR4 SR6 HR2 HR4 HR6", _FREE),
    ("QEPRO VENTANA", OOI),
    ("USB2000 HR2000 USB650 QE65000 MAYA2000", _OLDER_OOI),
    ("USB2000PLUS FLAMES USB4000 HR4000 HR2000PLUS MAYA2000PRO MAYALSL", OOI),
    ("NIRQUEST512 NIRQUEST256 TORUS APEX JAZ FLAMENIR", OOI),
)
_TRIGGERS = {name: numbers for names, numbers in _MODELS for name in names.split()}
"""Numbers of the trigger modes; a model that nobody knows runs freely only."""
_COMPILED_TRIGGERS: dict[str, dict[Trigger, int]] = {"VENTANA": _FREE}
"""Models of which libseabreeze knows less."""


def plain(model: str) -> str:
    """Return a model's name as both backends would write it.

    >>> plain("QE-PRO"), plain("USB2000Plus")
    ('QEPRO', 'USB2000PLUS')
    """
    return re.sub("[^A-Z0-9]", "", model.upper())


def time_base_us(model: str, feature: Any) -> int:
    """Return the unit in which a model counts exposure times, us.

    :param feature: seabreeze's spectrometer feature; the compiled one does not tell.
    """
    told = getattr(feature, "_integration_time_base", None)
    if isinstance(told, int) and told > 0:
        return told
    name = plain(model)
    return 1000 if name in COUNTS_MS else 10 if name in COUNTS_10_US else 1


def trigger_numbers(model: str, feature: Any, *, compiled: bool) -> dict[Trigger, int]:
    """Return the trigger modes a model has, by their numbers; those the library refuses are left out."""
    name = plain(model)
    known = (_COMPILED_TRIGGERS.get(name) if compiled else None) or _TRIGGERS.get(name, _FREE)
    allowed = getattr(feature, "_trigger_modes", None)
    return {word: number for word, number in known.items() if allowed is None or number in allowed}


def max_counts(model: str, feature: Any) -> float:
    """Return the most counts of a pixel: what the library says, or where the model clips below that."""
    return min(float(feature.get_maximum_intensity()), CLIPS_AT.get(plain(model), math.inf))
