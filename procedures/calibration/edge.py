"""One knife-edge scan: find the edge coarsely, then read where the readings say most."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from labctl.model.errors import CalibrationRefused
from procedures.calibration.blade import Axis, Knife
from procedures.calibration.context import CalStep
from procedures.calibration.foresight import Look

FINEST_UM = 4.0
"""Two positions closer than this with the edge between them: the spot is too small for this blade."""
SLOPE = 0.66
"""Part of the readings that lie on the slope, within one radius of the centre; the rest on the plateaus."""
REFERENCE_EVERY = 5
NEAR = 3.0
"""Readings of the search count in the fit up to so many radii from the centre."""
CLEAR = 0.06
"""A plateau is reached when this part of the power, or less, is missing."""


@dataclass(slots=True)
class EdgeScan:
    """Positions and readings in the order in which they were made."""

    axis: Axis
    position_um: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def near(self, centre_um: float, within_um: float) -> EdgeScan:
        """Return the readings not farther from a position."""
        keep = [i for i, x in enumerate(self.position_um) if abs(x - centre_um) <= within_um]
        return EdgeScan(self.axis, [self.position_um[i] for i in keep], [self.looks[i] for i in keep])

    def add(self, position_um: float, look: Look) -> float:
        """Add a reading and return its power."""
        self.position_um.append(position_um)
        self.looks.append(look)
        return look.power_w


class Edge:
    """Finds and scans the edge along one axis."""

    def __init__(self, knife: Knife, axis: Axis, points: int, progress: tuple[float, float]) -> None:
        self._knife, self._points, self._progress = knife, points, progress
        self.scan = EdgeScan(axis)
        self._low_w = self._span_w = 0.0

    def run(self) -> Generator[CalStep, None, EdgeScan]:
        """Find the edge, guess its width, and scan it.

        :raises CalibrationRefused: there is no edge between the ends of the range, or it is too sharp.
        """
        self._knife.begin(self.scan.axis)
        yield from self._ends()
        middle = yield from self._bisect()
        yield from self._widen(middle)
        centre_um, w_um = self._guess()
        out_um = self._clear_um(centre_um, w_um)
        self.scan = self.scan.near(centre_um, NEAR * w_um)
        for i, position in enumerate(self._positions(centre_um, w_um)):
            if i % REFERENCE_EVERY == 0:
                yield self._read(out_um, i)
            yield self._read(position, i)
        yield self._read(out_um, self._points)
        return self.scan

    def _read(self, position_um: float, i: int) -> CalStep:
        found, look = self._knife.look(position_um)
        self.scan.add(found, look)
        low, high = self._progress
        part = low + (high - low) * (0.3 + 0.7 * i / self._points)
        text = f"{self.scan.axis} {found:9.1f} um  {look.power_w * 1e6:10.5g} uW"
        return CalStep(self.scan.axis, text, found, look.power_w, "W", "um", look.sigma_w, part)

    def _part(self, i: int = -1) -> float:
        return (self.scan.looks[i].power_w - self._low_w) / self._span_w

    def _ends(self) -> Generator[CalStep, None, None]:
        """Read the ends of the range: one must be covered, the other free."""
        for position in self._knife.range_um:
            yield self._read(position, 0)
        first, last = (look.power_w for look in self.scan.looks)
        self._low_w, self._span_w = min(first, last), abs(last - first)
        noise = 10 * max(look.sigma_w for look in self.scan.looks)
        if self._span_w <= max(0.5 * max(first, last), noise):
            low, high = self._knife.range_um
            missing = "the free beam" if max(first, last) <= noise else "the covered beam"
            raise CalibrationRefused(
                f"between {low:.0f} and {high:.0f} um along {self.scan.axis} the blade crosses no edge: "
                f"{missing} is missing",
                "move the blade's mount, and start again",
            )

    def _bisect(self) -> Generator[CalStep, None, float]:
        """Halve the range until a reading lies on the slope."""
        rising = self.scan.looks[1].power_w > self.scan.looks[0].power_w
        low, high = self._knife.range_um
        while True:
            middle = (low + high) / 2
            if high - low < FINEST_UM:
                raise CalibrationRefused(
                    f"the edge along {self.scan.axis} lies within {FINEST_UM:g} um: the spot is too small, "
                    "or the blade jumps"
                )
            yield self._read(middle, 0)
            part, found = self._part(), self.scan.position_um[-1]
            if 0.2 < part < 0.8:
                return found
            at = found if low < found < high else middle  # hands may have set it a little elsewhere
            low, high = (low, at) if (part > 0.5) is rising else (at, high)

    def _widen(self, middle_um: float) -> Generator[CalStep, None, None]:
        """Go out from the slope in doubled steps until both plateaus are reached."""
        for sign in (-1.0, 1.0):
            step = 2 * FINEST_UM
            while True:
                position = middle_um + sign * step
                if not self._knife.range_um[0] < position < self._knife.range_um[1]:
                    break
                yield self._read(position, 0)
                if not CLEAR < self._part() < 1 - CLEAR:
                    break
                step *= 2

    def _guess(self) -> tuple[float, float]:
        """Centre and 1/e2 radius from the readings on the slope, straightened."""
        x = np.array(self.scan.position_um)
        part = np.array([self._part(i) for i in range(x.size)])
        on = (part > 0.02) & (part < 0.98)
        if np.unique(x[on]).size < 2:
            raise CalibrationRefused(
                f"only {int(on.sum())} reading lies on the edge along {self.scan.axis}: the spot is too small"
            )
        slope, offset = np.polyfit(x[on], ndtri(part[on]), 1)
        if slope == 0 or not math.isfinite(slope):
            raise CalibrationRefused(f"the readings along {self.scan.axis} make no edge")
        return float(-offset / slope), float(2.0 / abs(slope))

    def _positions(self, centre_um: float, w_um: float) -> list[float]:
        """Slope and plateaus, in two passes so that drift and position do not go together.

        :raises CalibrationRefused: a plateau lies outside the range.
        """
        slope = max(round(SLOPE * self._points), 8)
        sides = max(self._points - slope, 4)
        far = np.linspace(1.2, 1.8, (sides + 1) // 2)
        parts = np.concatenate([-far[::-1], np.linspace(-0.95, 0.95, slope), far[: sides // 2]])
        positions = centre_um + w_um * parts
        low, high = self._knife.range_um
        if positions[0] < low or positions[-1] > high:
            raise CalibrationRefused(
                f"the edge along {self.scan.axis} lies at {centre_um:.0f} um, too near to an end of the "
                f"range ({low:.0f} to {high:.0f} um)",
                "move the blade's mount, and start again",
            )
        return [float(p) for p in (*positions[::2], *positions[1::2])]

    def _clear_um(self, centre_um: float, w_um: float) -> float:
        """Where the blade leaves the whole beam free, not farther off than needed."""
        looks, x = self.scan.looks, self.scan.position_um
        brightest = max(range(len(x)), key=lambda i: looks[i].power_w)
        side = 1.0 if x[brightest] > centre_um else -1.0
        low, high = self._knife.range_um
        return min(max(centre_um + side * 3.0 * w_um, low), high)
