"""The attenuator's mount, watched: it is where it was asked to be, or nothing goes on."""

from __future__ import annotations

from collections.abc import Callable

from labctl.analysis.attenuation import LEAST_TRANSMISSION
from labctl.model.clock import Clock, Stop
from labctl.model.errors import SafetyStop
from labctl.model.pump import Limits
from labctl.model.roles import Attenuator
from procedures.curve import Curve
from procedures.gate.permit import unlocked
from procedures.safe import retried

ARRIVAL_DEG = 0.2
"""A plate farther off than this has not arrived: four times a mount's usual repeatability."""


class Plate:
    """A mount with the curve of what it carries.

    :param angle_sigma_deg: repeatability of the mount, standard error.
    """

    def __init__(self, mount: Attenuator, clock: Clock, curve: Curve, angle_sigma_deg: float) -> None:
        self._mount, self._clock = mount, clock
        self._curve, self._sigma_deg = curve, angle_sigma_deg
        self.reached_deg = 0.0
        self.changed_at_s = clock.now_s()
        self._brightest = 1.0
        self.arrived: Callable[[], object] | None = None
        """Told when a move has ended, before anybody reads the meter."""

    @property
    def name(self) -> str:
        """Role and address of the mount."""
        return self._mount.name

    def is_referenced(self) -> bool:
        """Ask whether the angle can be trusted."""
        return retried(self._mount.is_referenced)

    def angle_deg(self) -> float:
        """Ask for the present angle."""
        self.reached_deg = retried(self._mount.angle_deg)
        return self.reached_deg

    def home(self, stop: Stop | None) -> None:
        """Search the reference; only with the shutter closed.

        :raises SafetyStop: the mount does not confirm it.
        """
        self._brightest = 1.0
        self._mount.home(stop)  # a session's mount refuses it in the light
        self.changed_at_s = self._clock.now_s()
        if not self.is_referenced():
            raise SafetyStop(f"{self._mount.name} is not referenced after homing")

    def move(self, angle_deg: float, stop: Stop | None) -> float:
        """Move and return the angle read back.

        :raises SafetyStop: the plate did not arrive.
        """
        self._brightest = max(self._brightest, self._curve.highest_between(self.reached_deg, angle_deg))
        with unlocked():
            found_deg = self._mount.move_to(angle_deg, stop)
        if self.arrived is not None:
            self.arrived()
        self.changed_at_s = self._clock.now_s()
        off_deg = _off(found_deg, angle_deg)
        self.reached_deg = angle_deg + off_deg
        if not abs(off_deg) <= ARRIVAL_DEG:
            raise SafetyStop(
                f"{self._mount.name} is at {self.reached_deg:.3f} instead of {angle_deg:.3f} deg",
                "check that the plate turns freely, and home it",
            )
        return self.reached_deg

    def require_at(self, angle_deg: float) -> None:
        """Make sure that nobody has turned it since.

        :raises SafetyStop: it stands elsewhere than at ``angle_deg``.
        """
        off_deg = _off(retried(self._mount.angle_deg), angle_deg)
        if not abs(off_deg) <= ARRIVAL_DEG:
            raise SafetyStop(
                f"{self._mount.name} is at {angle_deg + off_deg:.3f} deg, and the energy was verified at "
                f"{angle_deg:.3f} deg",
                "set the fluence anew",
            )

    def swing(self) -> float:
        """Highest transmission met since this was last asked, over the present one, >= 1."""
        now = max(self._curve.transmission(self.reached_deg), LEAST_TRANSMISSION)
        swing, self._brightest = max(self._brightest / now, 1.0), now
        return swing

    def sigma_rel(self, angle_deg: float) -> float:
        """Relative error of the transmission from the mount's repeatability."""
        return self._curve.sigma_rel(angle_deg, self._sigma_deg)


def allowed_angles(mount: Attenuator, limits: Limits) -> tuple[float, float]:
    """Return the lowest and highest angle that mount and limits allow."""
    low, high = mount.angle_range_deg
    if limits.angle_range_deg is not None:
        low, high = max(low, limits.angle_range_deg[0]), min(high, limits.angle_range_deg[1])
    return low, high


def _off(found_deg: float, wanted_deg: float) -> float:
    """Return how far off a mount is; it may say 359.99 for -0.01."""
    return (found_deg - wanted_deg + 180.0) % 360.0 - 180.0
