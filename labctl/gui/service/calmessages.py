"""What the window asks and hears of a calibration; all frozen."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.hands import Request
from labctl.runner.calibrate import CalEvent
from procedures.calibration import CalOptions


@dataclass(frozen=True, slots=True)
class Calibrate:
    """Measure a part of the bench.

    :param by_hand: set while a person does what is asked, even where a simulated bench could.
    """

    kind: CalibrationKind
    options: CalOptions
    output: Path
    by_hand: threading.Event


@dataclass(frozen=True, slots=True)
class Recheck:
    """Look whether the attenuator still is what its calibration says, behind the closed shutter."""


@dataclass(frozen=True, slots=True)
class CalTold:
    """Something new of the calibration."""

    event: CalEvent


@dataclass(frozen=True, slots=True)
class HandTold:
    """What the simulated bench's hands are doing by themselves; ``done`` when they have."""

    request: Request
    done: bool = False


@dataclass(frozen=True, slots=True)
class CalEnded:
    """The calibration has ended.

    :param status: only "stored" has a calibration and its file.
    :param left: what still stands elsewhere than a sweep wants it, in words.
    """

    kind: CalibrationKind
    status: Literal["stored", "refused", "aborted", "failed"]
    message: str = ""
    calibration: Calibration | None = None
    path: Path | None = None
    left: tuple[str, ...] = ()
