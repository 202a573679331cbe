"""A blade through the beam: driven by a stage, or set by hand at positions that are asked for."""

from __future__ import annotations

from typing import Literal, Protocol

from labctl.model.errors import CalibrationRefused, SafetyStop
from labctl.model.hands import LIGHT, Request
from procedures.calibration.foresight import Look
from procedures.calibration.placing import MeteredBeam
from procedures.gate.safe_state import retried

Axis = Literal["x", "y"]
ARRIVAL_UM = 5.0
APPROACH_UM = 100.0
"""A stage comes from below, so that its play does not count."""
TRIES = 3
ROUNDED_UM = 1.0
FAR_UM = 1000.0
"""A reading farther from the position asked for is doubted once: it may be in mm, or lack a digit."""
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
        self._beam.ask(Request("knife", text, {"axis": axis}, word=LIGHT))
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
        """Have a position set, coming from below, and read; what the scale shows counts, not what was asked.

        :raises CalibrationRefused: what was read lies outside of the range, time and again.
        """
        position = self._set(float(round(position_um)))
        return position, self._beam.look(self._angle_deg, bare=False)

    def _set(self, wanted: float) -> float:
        why, before = "", None
        for _ in range(TRIES):
            text = (
                f"{why}Set the blade to about {wanted:.0f} um along {self._axis} ({_WAY[self._axis]}), from "
                "below, and read its scale. Next: the shutter opens and the power is read."
            )
            values = {"axis": self._axis, "position_um": wanted}
            read = self._beam.ask(Request("knife", text, values, number="um", suggested=wanted))
            position = wanted if read is None else read
            why = self._doubt(position, wanted, before)
            if not why:
                return position
            before = position
        raise CalibrationRefused(why.strip(), "state the micrometer's range with --blade-range")

    def _doubt(self, position: float, wanted: float, before: float | None) -> str:
        low, high = self.range_um
        if not low - ROUNDED_UM <= position <= high + ROUNDED_UM:
            return f"{position:g} um lies outside of the blade's range, {low:g} to {high:g} um. "
        if abs(position - wanted) > FAR_UM and position != before:
            return f"{position:g} um is far from what was asked: if it is right, type it again. "
        return ""


def take_out(beam: MeteredBeam, *, word: str = "") -> None:
    """Have the blade taken out of the beam.

    :param word: to be typed, where light follows.
    """
    beam.ask(Request("knife", "Take the blade out of the beam.", {"position_um": None}, word=word))
