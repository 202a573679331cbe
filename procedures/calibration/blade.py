"""A blade through the beam: driven by a stage, or set by hand at positions that are asked for."""

from __future__ import annotations

from typing import Literal, Protocol

from labctl.model.errors import CalibrationRefused, SafetyStop
from labctl.model.hands import Request
from procedures.calibration.foresight import Look
from procedures.calibration.placing import MeteredBeam
from procedures.safe import retried

Axis = Literal["x", "y"]
ARRIVAL_UM = 5.0
APPROACH_UM = 100.0
"""A stage comes from below, so that its play does not count."""
_WAY = {"x": "horizontally", "y": "vertically"}


class Knife(Protocol):
    """A blade along one axis."""

    range_um: tuple[float, float]

    def begin(self, axis: Axis) -> None:
        """Mount it along an axis."""

    def look(self, position_um: float) -> tuple[float, Look]:
        """Read the meter with the blade at a position; return the position found, and the reading."""


class StageKnife:
    """A blade on the motorised stage; the shutter stays open while it moves.

    :raises CalibrationRefused: the bench has no stage.
    """

    def __init__(self, beam: MeteredBeam, angle_deg: float) -> None:
        stage = beam.context.roles.stage
        if stage is None:
            raise CalibrationRefused(
                "this bench has no stage", "add [stage] to the bench file, or use --method hand"
            )
        self._stage, self._beam, self._angle_deg = stage, beam, angle_deg
        self.range_um = stage.range_um

    def begin(self, axis: Axis) -> None:
        """Have the blade mounted, and the stage referenced."""
        text = f"Mount the blade on the stage so that it cuts the beam {_WAY[axis]} ({axis}). It is dark."
        self._beam.ask(Request("knife", text, {"axis": axis}))
        if not retried(self._stage.is_referenced):
            self._stage.home(self._beam.context.stop)
            if not retried(self._stage.is_referenced):
                raise SafetyStop(f"{self._stage.name} is not referenced after homing")

    def look(self, position_um: float) -> tuple[float, Look]:
        """Move from below, and read.

        :raises SafetyStop: it does not arrive.
        """
        with self._beam.guard():
            stop = self._beam.context.stop
            self._stage.move_to(max(position_um - APPROACH_UM, self.range_um[0]), stop)
            found = self._stage.move_to(position_um, stop)
            self._beam.changed()
            if not abs(found - position_um) <= ARRIVAL_UM:
                raise SafetyStop(f"{self._stage.name} is at {found:.1f} instead of {position_um:.1f} um")
        return found, self._beam.look(self._angle_deg, keep_open=True, bare=False)


class HandKnife:
    """A blade on a micrometer screw; the shutter is closed while hands are near the beam."""

    def __init__(self, beam: MeteredBeam, angle_deg: float, range_um: tuple[float, float]) -> None:
        self._beam, self._angle_deg, self.range_um = beam, angle_deg, range_um
        self._axis: Axis = "x"

    def begin(self, axis: Axis) -> None:
        """Remember the axis; the first position says where the blade goes."""
        self._axis = axis

    def look(self, position_um: float) -> tuple[float, Look]:
        """Have a position set, in whole micrometres, coming from below, and read."""
        wanted = float(round(position_um))
        text = (
            f"Set the blade to {wanted:.0f} um along {self._axis} ({_WAY[self._axis]}), coming from below. "
            "Next: the shutter opens and the power is read."
        )
        self._beam.ask(Request("knife", text, {"axis": self._axis, "position_um": wanted}))
        return wanted, self._beam.look(self._angle_deg, bare=False)


def take_out(beam: MeteredBeam) -> None:
    """Have the blade taken out of the beam."""
    beam.ask(Request("knife", "Take the blade out of the beam.", {"position_um": None}))
