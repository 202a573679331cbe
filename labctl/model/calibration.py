"""What was measured of the bench itself, when, by whom and with which instruments: plain records.

A calibration is a file of its own; a bench file names it and a run copies it. Uncertainties are standard
uncertainties (k = 1) in the unit of the value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from labctl.model.records import Identity

CalibrationKind = Literal["attenuator", "pickoff", "energy", "spot", "spectrometer"]
KINDS: tuple[CalibrationKind, ...] = ("attenuator", "pickoff", "energy", "spot", "spectrometer")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured number.

    :param statistical: from the scatter of this measurement alone; a repeat would redraw it.
    :param scale: common to this and every repeat with the same tools (a meter's calibration, a micrometer's).
    """

    value: float
    unit: str
    statistical: float = 0.0
    scale: float = 0.0

    @property
    def total(self) -> float:
        """Both uncertainties together."""
        return math.hypot(self.statistical, self.scale)

    @property
    def total_rel(self) -> float:
        """Both together over the value; infinite for a value of zero."""
        return self.total / abs(self.value) if self.value else math.inf


@dataclass(frozen=True, slots=True)
class Calibration:
    """One calibration of one part of the bench.

    :param measured_utc: ISO 8601; ``valid_until_utc`` likewise.
    :param instruments: by role; those whose serial number must be the same where it is used, and those that
        measured it.
    :param bound_to: roles out of ``instruments`` for which it is valid alone.
    :param quantities: results, by the names that ``docs/calibration.md`` lists for each kind.
    :param tables: results and raw data that are lists of numbers, by name.
    :param facts: conditions and words: wavelength, branch, convention, what stood where.
    :param flags: short words on what to be careful about.
    """

    kind: CalibrationKind
    measured_utc: str
    valid_until_utc: str
    operator: str
    instruments: Mapping[str, Identity]
    bound_to: tuple[str, ...]
    quantities: Mapping[str, Quantity]
    tables: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    facts: Mapping[str, str | float | bool] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    note: str = ""
    version: str = ""
