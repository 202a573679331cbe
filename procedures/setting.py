"""The plate at an angle, and the meter's word for what that makes: reached, verified, and how long it holds.

It neither opens nor closes the shutter and knows no limit but those it is told; that is the gate's business.
"""

from __future__ import annotations

from collections.abc import Callable

from labctl.model.clock import Clock, Stop
from procedures.aiming import Aim
from procedures.light import LightAccount
from procedures.plate import Plate
from procedures.verifying import PumpState, Verifier

FRESH_S = 30.0
"""A setting that was verified longer ago is verified again before light falls on it."""


class Setting:
    """Where the plate stands and what was verified of it.

    :param allow: asked for seconds of a fluence before the plate goes there in the light; may raise.
    """

    def __init__(
        self,
        plate: Plate,
        aim: Aim,
        verifier: Verifier,
        light: LightAccount,
        clock: Clock,
        allow: Callable[[float, float], None],
    ) -> None:
        self._plate, self._aim, self._verifier = plate, aim, verifier
        self._light, self._clock, self._allow = light, clock, allow
        self.verified: PumpState | None = None
        self._verified_at_s = 0.0

    @property
    def fluence_uj_cm2(self) -> float:
        """Fluence to expect where the plate is."""
        return self._aim.fluence_uj_cm2(self._plate.reached_deg)

    def forget(self) -> None:
        """Let nothing count as verified."""
        self.verified = None

    def home(self, stop: Stop | None) -> None:
        """Search the mount's reference; the shutter is closed."""
        self.forget()
        self._plate.home(stop)

    def move(self, angle_deg: float, stop: Stop | None = None) -> None:
        """Move the plate and have it confirmed; light on the way counts."""
        self.forget()
        if self._light.lit:
            self._light.change(self._aim.mean_fluence_uj_cm2(self._plate.angle_deg(), angle_deg))
        self._plate.move(angle_deg, stop)
        self._light.change(self.fluence_uj_cm2)

    def approach(self, fluence_uj_cm2: float, stop: Stop | None) -> PumpState:
        """Go to a fluence and verify it; once more where that brings it nearer, or below a limit."""
        self._turn(self._aim.angle_deg(fluence_uj_cm2), fluence_uj_cm2, stop)
        state = self._verifier.verify(fluence_uj_cm2, stop)
        again_deg = self._aim.angle_deg(fluence_uj_cm2)
        sigma = self._verifier.sigma_rel(state.reading)
        better = self._aim.worth_a_trim(state.angle_deg, again_deg, sigma)
        too_much = self._verifier.is_too_much(state.pulse_energy_j)
        if (better or too_much) and (not self._light.lit or self._aim.harmless(again_deg)):
            self._turn(again_deg, fluence_uj_cm2, stop)
            state = self._verifier.verify(fluence_uj_cm2, stop, trimmed=True)
        return self._taken(state)

    def at(self, angle_deg: float, stop: Stop | None) -> PumpState:
        """Go to an angle and verify what it makes."""
        expected = self._aim.fluence_uj_cm2(angle_deg)
        self._turn(angle_deg, expected, stop)
        return self._taken(self._verifier.verify(expected, stop))

    def holds(self, state: PumpState) -> bool:
        """Return whether what was verified holds still: the plate there, the meter's word not too old.

        :raises SafetyStop: the plate has been turned.
        """
        self._plate.require_at(state.angle_deg)
        return self._clock.now_s() - self._verified_at_s <= FRESH_S

    def read_again(self, state: PumpState, stop: Stop | None) -> None:
        """Have the meter, in front of the shutter, confirm an old setting.

        :raises SafetyStop: the pulse energy has changed or passed a limit.
        """
        self._verifier.confirm(state, stop)
        self._verified_at_s = self._clock.now_s()

    def restore(self, state: PumpState, stop: Stop | None) -> None:
        """Set a fluence anew, and verify it, if it was left for less light meanwhile.

        :raises SafetyStop: as :meth:`approach`.
        """
        if self.verified is None:
            self.approach(state.fluence_set_uj_cm2, stop)

    def _turn(self, angle_deg: float, fluence_uj_cm2: float, stop: Stop | None) -> None:
        """Move to where a fluence is to be verified; in the light its dose must be allowed."""
        if self._light.lit:
            self._allow(self._verifier.takes_s, fluence_uj_cm2)
        self.move(angle_deg, stop)

    def _taken(self, state: PumpState) -> PumpState:
        self._verifier.within_limits(state.pulse_energy_j)
        self._light.change(state.fluence_uj_cm2)
        self.verified, self._verified_at_s = state, self._clock.now_s()
        return state
