"""Measuring the bench itself: generators that show each reading and return a calibration.

>>> for kind, procedure in PROCEDURES.items():                      # doctest: +SKIP
...     calibration = yield from procedure(context)

Each yields :class:`CalStep` for a live display and returns the finished
:class:`~labctl.model.calibration.Calibration`. It raises ``CalibrationRefused`` where the measurement cannot
make one. However it ends, the shutter is closed and the plate at the darkest angle known.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import cast

from labctl.model.calibration import CalibrationKind
from procedures.calibration.context import (
    OPTIONS,
    CalContext,
    CalOptions,
    CalProcedure,
    CalStep,
    Steps,
)

__all__ = [
    "OPTIONS",
    "PROCEDURES",
    "CalContext",
    "CalOptions",
    "CalProcedure",
    "CalStep",
    "Steps",
]


def _procedure(kind: CalibrationKind) -> CalProcedure:
    """Return the generator ``calibrate_<kind>`` of the module of that name, imported when it is called."""

    def run(context: CalContext) -> Steps:
        module = import_module(f"procedures.calibration.{kind}")
        return (yield from cast("CalProcedure", getattr(module, f"calibrate_{kind}"))(context))

    return run


PROCEDURES: Mapping[CalibrationKind, CalProcedure] = MappingProxyType(
    {kind: _procedure(kind) for kind in OPTIONS}
)
"""By kind; used by the runner, the command line and the window alike."""
