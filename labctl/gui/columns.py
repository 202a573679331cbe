"""The scalars of a point as the plots keep them."""

from __future__ import annotations

import math

from labctl.gui.rundata import COLUMNS
from labctl.model.records import SweepPoint


def scalars_of(point: SweepPoint) -> dict[str, float]:
    """Return every column of a point; what it lacks is nan."""
    values = {name: getattr(point, name) for name in COLUMNS}
    return {name: math.nan if value is None else float(value) for name, value in values.items()}
