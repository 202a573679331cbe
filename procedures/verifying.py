"""What the meter says of a setting: settled, fresh, as the angle should give it, and within the limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labctl.model.clock import Clock, Stop
from labctl.model.errors import SafetyStop
from labctl.model.records import PowerReading
from procedures.aiming import Aim
from procedures.beam import Beam
from procedures.light import LightAccount
from procedures.metering import Bracket, EnergyLost, Monitor
from procedures.plate import Plate

_ROUNDING = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class PumpState:
    """What the pump is set to, as the meter confirms it.

    :param reading: the verifying reading, at the meter.
    :param trimmed: whether a corrective move was made.
    """

    fluence_set_uj_cm2: float
    fluence_uj_cm2: float
    pulse_energy_j: float
    angle_deg: float
    reading: PowerReading
    trimmed: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where the meter looks.

    :param in_front: in front of the shutter, so that it can speak before the light does.
    :param unattenuated: in front of the attenuator too.
    """

    in_front: bool
    unattenuated: bool

    @classmethod
    def of(cls, order: tuple[str, ...]) -> Place:
        """Read it off the order of the elements along the beam."""
        at = order.index("pick-off")
        return cls(at < order.index("shutter"), at < order.index("attenuator"))


class Verifier:
    """Compares what was asked for with what the meter says. It moves nothing and closes nothing.

    :param changed_at_s: bench time of the last confirmed change of shutter or angle.
    :param patience_s: how long to wait, in the dark, for a laser that shows too little energy.
    """

    def __init__(
        self,
        monitor: Monitor,
        aim: Aim,
        plate: Plate,
        light: LightAccount,
        *,
        beam: Beam,
        place: Place,
        clock: Clock,
        changed_at_s: Callable[[], float],
        patience_s: float,
    ) -> None:
        self._monitor, self._aim, self._plate, self._light = monitor, aim, plate, light
        self._beam, self._place, self._clock = beam, place, clock
        self._changed_at_s, self._patience_s = changed_at_s, patience_s

    def prepare(self, stop: Stop | None) -> None:
        """Set the meter; one behind the shutter learns what it shows in the dark, unless there is light."""
        self._monitor.prepare()
        if not self._place.in_front and not self._light.lit:
            self._monitor.learn_background(self._changed_at_s(), stop)

    def energy_j(self, power_w: float, angle_deg: float) -> float:
        """Pulse energy on the sample that a power at the meter stands for, with the plate at an angle."""
        return self._monitor.energy_j(power_w, angle_deg)

    def sigma_rel(self, reading: PowerReading) -> float:
        """Relative standard error of a reading."""
        return self._monitor.sigma_rel(reading)

    def light_left(self, stop: Stop | None) -> str:
        """Say what light a meter behind the shutter still sees after its closing; "" for none."""
        angle = self._plate.reached_deg
        return self._monitor.light_left(self._aim.energy_j(angle), angle, self._changed_at_s(), stop)

    def verify(self, fluence_uj_cm2: float, stop: Stop | None, *, trimmed: bool = False) -> PumpState:
        """Settle, read, compare with what the angle should give, and learn from it.

        :raises SafetyStop: they disagree, or the reading is an old one.
        """
        angle = self._plate.reached_deg
        reading = self._patient_reading(stop)
        if not self._place.unattenuated:
            self._monitor.refuse_frozen(reading, angle)
        measured = self.energy_j(reading.power_w, angle)
        self._compare(reading, measured, self._aim.energy_j(angle))
        self._aim.learn(angle, measured, self.sigma_rel(reading))
        return PumpState(
            fluence_uj_cm2, self._beam.fluence_uj_cm2(measured), measured, angle, reading, trimmed
        )

    def _patient_reading(self, stop: Stop | None) -> PowerReading:
        """Read after settling; in the dark, give a laser that seems off some time to come back."""
        deadline = self._clock.now_s() + self._patience_s
        while True:
            self._monitor.settle(stop, swing=1.0 if self._place.unattenuated else self._plate.swing())
            reading = self._monitor.read(self._changed_at_s(), stop)
            measured = self.energy_j(reading.power_w, self._plate.reached_deg)
            expected = self._aim.energy_j(self._plate.reached_deg)
            off = measured / expected - 1
            enough = off >= -self._monitor.tolerance(reading, expected, self._plate.reached_deg)
            if enough or self._light.lit or self._clock.now_s() >= deadline:
                return reading

    @property
    def takes_s(self) -> float:
        """Seconds that a verification takes, about: settling, and a reading like the last."""
        return 2 * self._monitor.settling_s + self._monitor.took_s

    @property
    def unread_s(self) -> float:
        """Bench seconds since the last reading of light."""
        return self._monitor.unread_s

    def glance(self, stop: Stop | None) -> PowerReading:
        """Take one reading between whiles.

        :raises SafetyStop: the meter repeats itself.
        """
        return self._monitor.glance(stop)

    def confirm(self, state: PumpState, stop: Stop | None) -> PowerReading:
        """Read again at an unchanged setting.

        :raises SafetyStop: the pulse energy jumped or passed a limit.
        """
        reading = self._monitor.read(state.reading.stop_s, stop)
        self._judge(state, reading)
        return reading

    def watch(self, state: PumpState, reading: PowerReading) -> float | None:
        """Judge somebody's reading at an unchanged setting, if the head had settled when it began.

        :returns: the fluence it stands for; None where nothing was judged.
        :raises SafetyStop: no number, or the pulse energy jumped or passed a limit.
        """
        self._monitor.refuse_no_number(reading)
        self._monitor.refuse_repeated(reading)
        if not self._monitor.has_settled(reading, self._changed_at_s()):
            return None
        return self._beam.fluence_uj_cm2(self._judge(state, reading))

    def _judge(self, state: PumpState, reading: PowerReading) -> float:
        energy = self.energy_j(reading.power_w, state.angle_deg)
        self._compare(reading, energy, state.pulse_energy_j)
        self.within_limits(energy)
        return energy

    def bracket(self, state: PumpState, after: PowerReading, pulses: float) -> Bracket:
        """Return the light of an exposure of ``pulses`` pulses between the state's reading and ``after``."""
        unseen = self._plate.sigma_rel(state.angle_deg) if self._place.unattenuated else 0.0
        return self._monitor.bracket(state.reading, after, state.angle_deg, pulses, unseen)

    def is_too_much(self, energy_j: float) -> bool:
        """Return whether an energy lies above the highest allowed, however little."""
        return energy_j > self._beam.highest_energy_j

    def within_limits(self, energy_j: float) -> None:
        """Compare an energy with the highest allowed.

        :raises SafetyStop: it is above.
        """
        highest = self._beam.highest_energy_j
        if energy_j > highest * _ROUNDING:
            raise SafetyStop(
                f"{self._monitor.name}: {energy_j * 1e9:.4g} nJ on the sample are above the "
                f"{highest * 1e9:.4g} nJ allowed"
            )

    def _compare(self, reading: PowerReading, measured_j: float, expected_j: float) -> None:
        tolerance = self._monitor.tolerance(reading, expected_j, self._plate.reached_deg)
        off = measured_j / expected_j - 1
        if abs(off) <= tolerance:
            return
        hint = "check the laser, the plate's zero, the pick-off ratio and max_pulse_energy"
        if "angle_sigma_deg" not in self._beam.settings.sources:
            hint = f"the attenuator is not calibrated: labctl calibrate attenuator; else {hint}"
        if self._light.lit and not self._place.in_front:
            hint += ", and whether light passes the shutter, which says that it is open"
        raise (SafetyStop if off > 0 else EnergyLost)(
            f"{self._monitor.name}: expected {expected_j * 1e9:.4g} nJ on the sample, the meter says "
            f"{measured_j * 1e9:.4g} nJ "
            f"(allowed {tolerance:.0%})",
            hint,
        )
