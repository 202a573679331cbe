"""A scan of an attenuator's plate: what makes it usable, where a fit begins, and the curve's derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from labctl.analysis.calibration import checks
from labctl.analysis.calibration.noisefit import Model
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

PERIOD_DEG = 90.0
LEAST_POINTS = 8
NEAR_DEG = 10.0
"""A scan must come this near to a maximum and to a minimum: beyond, they would be extrapolated."""
MOST_LEAKAGE = 0.5


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan whose columns fit together, shapes ``(n,)``; ``side`` is 0 where no play is to be fitted."""

    angle: FloatArray
    power: FloatArray
    sigma: FloatArray | None
    side: FloatArray
    time: FloatArray | None

    @classmethod
    def of(
        cls,
        angle: ArrayLike,
        power: ArrayLike,
        sigma: ArrayLike | None,
        side: ArrayLike | None,
        time: ArrayLike | None,
    ) -> Scan:
        """Check the columns.

        :raises CalibrationRefused: they do not fit together.
        """
        found = checks.columns(
            LEAST_POINTS, ("angle_deg", angle), ("power_w", power), ("power_sigma_w", sigma),
            ("direction", side), ("time_s", time),
        )  # fmt: skip
        angles, powers = checks.column(found[0]), checks.column(found[1])
        if np.max(np.abs(angles)) > 1e5:
            raise CalibrationRefused(f"angles of {checks.spread(angles)} degrees are not a mount's")
        signs = np.zeros_like(angles) if found[3] is None else np.sign(found[3])
        if min(np.count_nonzero(signs > 0), np.count_nonzero(signs < 0)) < 2:
            signs = np.zeros_like(angles)
        return cls(angles, powers, checks.errors("power_sigma_w", found[2]), signs, found[4])

    @property
    def both_ways(self) -> bool:
        """Whether angles were approached from both sides."""
        return bool(np.any(self.side))

    def refuse_clipped(self) -> None:
        """Three different angles at which the highest power is the same to the last digit are a cut top."""
        folded = np.round(self.angle[self.power == self.power.max()] % PERIOD_DEG, 2)
        if np.unique(folded).size >= 3 and np.ptp(self.power) > 0:
            raise CalibrationRefused(
                f"{folded.size} readings at different angles show exactly {self.power.max():g} W, the "
                "highest: the meter is over its range; take a higher one or a filter"
            )

    def start(self) -> FloatArray:
        """Highest power, lowest power and zero of an unweighted fit, which is linear in cosine and sine."""
        if not self.power.max() > 0:
            raise CalibrationRefused("no power at any angle: the beam does not reach the meter")
        turn = np.radians(4 * self.angle)
        design = np.column_stack([np.ones_like(turn), np.cos(turn), np.sin(turn)])
        if np.linalg.svd(design, compute_uv=False)[-1] < 1e-3:
            raise CalibrationRefused(
                f"angles of {checks.spread(self.angle)} degrees are too few, or too close together, to fix "
                "a maximum and a minimum"
            )
        middle, c, s = np.linalg.lstsq(design, self.power, rcond=None)[0]
        size = math.hypot(c, s)
        return np.array([middle + size, middle - size, math.degrees(math.atan2(s, c)) / 4])

    def refuse_short(self, zero_deg: float) -> None:
        """Refuse scans that do not come near to a maximum and a minimum."""
        different = np.unique(np.round(self.angle, 3)).size
        if different < LEAST_POINTS - 2:
            raise CalibrationRefused(
                f"{different} different angles are too few: at least {LEAST_POINTS - 2} are needed"
            )
        missing = []
        for name, at in (("maximum", zero_deg), ("minimum", zero_deg + 45.0)):
            gap = float(np.min(np.abs((self.angle - at + 45.0) % PERIOD_DEG - 45.0)))
            if gap > NEAR_DEG:
                missing.append(f"the {name} near {at % PERIOD_DEG:.0f} (+ k 90) degrees, missed by {gap:.0f}")
        if missing:
            raise CalibrationRefused(
                f"the scan from {checks.spread(self.angle)} degrees is too short: it lacks "
                + " and ".join(missing)
            )


def refuse_unmodulated(highest: float, lowest: float) -> None:
    """Refuse powers that hardly change with the angle."""
    if not highest > 0 or lowest > MOST_LEAKAGE * highest:
        raise CalibrationRefused(
            "the power hardly changes with the angle: is the plate in the beam, and a polariser behind it?"
        )


def curve(
    params: FloatArray, angle: FloatArray, side: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Malus' law with parameters (highest, lowest, zero, play): mean, derivatives, slope per degree.

    The play may be missing; see ``noisefit.Model``.
    """
    play = params[3] if params.size > 3 else 0.0
    turn = np.radians(2 * (angle - 0.5 * play * side - params[2]))
    part = np.cos(turn) ** 2
    slope = -(params[0] - params[1]) * np.sin(2 * turn) * math.radians(2)
    rows = [part, 1 - part, -slope]
    if params.size > 3:
        rows.append(-0.5 * side * slope)
    return params[1] + (params[0] - params[1]) * part, np.column_stack(rows), slope


def model_of(scan: Scan, extra: FloatArray | None = None) -> Model:
    """Return the law over a scan; the last parameters scale the columns of ``extra``, shape (n, m)."""
    extras = 0 if extra is None else extra.shape[1]

    def model(params: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        mean, jacobian, slope = curve(params[: params.size - extras], scan.angle, scan.side)
        if extra is None:
            return mean, jacobian, slope
        return mean + extra @ params[params.size - extras :], np.column_stack([jacobian, extra]), slope

    return model
