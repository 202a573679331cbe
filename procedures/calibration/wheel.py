"""A gradient wheel, or any attenuator that follows no law: a table."""

from __future__ import annotations

from procedures.calibration.context import CalContext, Steps
from procedures.calibration.options import AttenuatorOptions


def calibrate_wheel(context: CalContext, options: AttenuatorOptions) -> Steps:
    """Placeholder."""
    raise NotImplementedError
    yield
