"""The one gate for light: every fluence, a hand's too, is set, checked and accounted for here.

Three rules hold on every path. The shutter opens only onto a setting whose energy is known: measured, where
the meter can look in front of the shutter, else bounded by what was learned before. No maximum of
transmission is crossed, and no reference searched, unless the shutter is confirmed closed. What is unexpected
closes it (:mod:`procedures.gate.safe_state`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import Aborted, SafetyStop
from labctl.model.pump import Limits, PumpSettings
from labctl.model.records import PowerReading
from labctl.model.roles import Roles
from procedures.gate.attenuator import (
    ARRIVAL_DEG,
    AttenuatorModel,
    Plate,
    allowed_angles,
    make_curve,
    nearest_minimum,
    off_branch,
)
from procedures.gate.fluence import make_beam
from procedures.gate.power_monitor import Bracket, Monitor, Place, PumpState, Verifier
from procedures.gate.safe_state import Action, SafeState, end_light, make_safe, may_turn
from procedures.gate.shutter import Blade, LightAccount, LightSensor, SafeReport, Witness

FRESH_S = 30.0
"""A setting that was verified longer ago is verified again before light falls on it."""
JUST_S = 0.1
"""Since the meter saw a setting: no longer than the mount takes to say that it is still there."""


class Setting:
    """Where the plate stands and what was verified of it.

    :param allow: asked for seconds of a fluence before the plate goes there in the light; may raise.
    :param prove: has a look at the closed shutter that was begun come to its end; may raise.
    """

    def __init__(
        self,
        plate: Plate,
        aim: AttenuatorModel,
        verifier: Verifier,
        light: LightAccount,
        clock: Clock,
        allow: Callable[[float, float], None],
        prove: Callable[[Stop | None], None],
    ) -> None:
        self._plate, self._aim, self._verifier, self._prove = plate, aim, verifier, prove
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
        if better or too_much:
            self._prove(stop)
        if (better or too_much) and (not self._light.lit or self._aim.harmless(again_deg, lit=True)):
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

        A meter behind the plate that has spoken just now says where it is.

        :raises SafetyStop: the plate has been turned.
        """
        age_s = self._clock.now_s() - self._verified_at_s
        if age_s > JUST_S or not self._verifier.sees_the_plate:
            self._plate.require_at(state.angle_deg)
        return age_s <= FRESH_S

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


log = logging.getLogger(__name__)

__all__ = ["Pump", "PumpState"]

UNREAD_S = 1.5
"""Bench time of light without a reading, after which one is taken between two exposures."""
VERIFYING_S = 60.0
"""Light in which a meter behind the shutter verifies a setting: moves, settling and readings, at most."""
LOOKING_S = 5.0
"""Light that a shutter which lies lets through before a look at it, begun at its closing, is judged."""
_SAME_LIGHT = 0.97
"""Part of a fluence that shows a spectrometer as much as the whole."""
_UNKNOWN_CV, _HIGHEST_PULSE = 0.05, 4.0
"""Scatter of the pulses where it is not stated; by how many of it the highest pulse exceeds the mean."""
_SAME = 1.005
"""Two transmissions nearer to each other than this are one."""


class Pump:
    """Attenuator, power meter and shutter, as one source of fluence.

    :param readings: averaged meter readings that verify a setting.
    :param patience_s: how long to wait, in the dark, for a laser that shows too little energy.
    :raises ConfigError: settings or limits make no sense for these instruments.
    """

    def __init__(
        self,
        roles: Roles,
        settings: PumpSettings,
        limits: Limits,
        *,
        readings: int = 6,
        patience_s: float = 5.0,
    ) -> None:
        self.settings, self.limits = settings, limits
        self._meter, self._watch, self._clock = roles.power_meter, roles.watch, roles.clock
        self.beam = make_beam(settings, limits)
        self.curve = make_curve(
            settings.curve, allowed_angles(roles.attenuator.angle_range_deg, limits.angle_range_deg)
        )
        self.beam.refuse_contradiction(self.curve.reach[0])
        self._plate = Plate(roles.attenuator, roles.clock, self.curve, settings.angle_sigma_deg)
        account = LightAccount(roles.clock, settings.repetition_rate_hz)
        self._blade = Blade(roles.shutter, roles.clock, account)
        self.light = self._blade.account
        self._place = Place.of(settings.order)
        self._monitor = Monitor(roles, self.beam, readings, self._behind_meter)
        self.aim = AttenuatorModel(self.beam, self.curve, self._plate, meter_in_front=self.meter_in_front)
        self._verifier = Verifier(
            self._monitor,
            self.aim,
            self._plate,
            self.light,
            beam=self.beam,
            place=self._place,
            clock=roles.clock,
            changed_at_s=lambda: self.changed_at_s,
            patience_s=patience_s,
            tell=lambda line: self.tell(line),
        )
        self._setting = Setting(
            self._plate, self.aim, self._verifier, self.light, roles.clock, self._allow, self._prove
        )
        self._witness = Witness(
            self._blade,
            roles.power_meter,
            None if self.meter_in_front else self._verifier.light_left,
            lambda: self._setting.fluence_uj_cm2,
        )
        self._dropping = Action(self._plate.name, "turning to the lowest transmission", self._drop)
        self._safe_state = SafeState(
            self._blade, self._dropping, lambda line: self.tell(line), self._setting.forget
        )
        self._dark_deg: float | None = None
        self.left: SafeReport | None = None
        """How it was made safe last."""
        self.tell: Callable[[str], object] = log.warning
        """Told, in one line, what whoever works with the light should know at once."""

    @property
    def meter_in_front(self) -> bool:
        """Whether the meter can speak before the shutter opens."""
        return self._place.in_front

    @property
    def scale_rel(self) -> float | None:
        """Relative standard uncertainty common to all fluences of a run; None if it is not stated."""
        return self.beam.scale_rel

    @property
    def dose_uj_cm2(self) -> float:
        """Sum of fluence x pulses on the sample so far."""
        return self.light.dose_uj_cm2

    @property
    def changed_at_s(self) -> float:
        """Bench time of the last confirmed change of shutter or angle."""
        return max(self._blade.changed_at_s, self._plate.changed_at_s)

    @property
    def light_changed_at_s(self) -> float:
        """Bench time of the last confirmed change of the light on the sample: in the dark, of the shutter."""
        return self.changed_at_s if self.light.lit else self._blade.changed_at_s

    @property
    def verified(self) -> PumpState | None:
        """What the meter confirmed of the present setting; None after a change, or when something failed."""
        return self._setting.verified

    @property
    def angle_deg(self) -> float:
        """Where the plate was found last."""
        return self._plate.reached_deg

    @property
    def energy_remark(self) -> str:
        """What the meter says of the energies where they are far from the stated one; empty elsewhere."""
        return self._verifier.remark

    @property
    def expected_uj_cm2(self) -> float:
        """Fluence on the sample to expect where the plate is, should light pass."""
        return self._setting.fluence_uj_cm2

    # --- shutter -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the shutter and have it confirmed; where it fails, the attenuator takes the light away.

        :raises SafetyStop: it does not confirm.
        """
        with self._safe_state.guarded():
            self._blade.close()

    def shut(self, stop: Stop | None = None) -> None:
        """Close the shutter; a meter behind it must see that the light is gone, whatever the sensor says.

        The spectrometer looks as well, where it is used: it stands behind the shutter always.

        :raises SafetyStop: it does not confirm, or the meter sees light: from then on it counts as open.
        """
        with self._safe_state.guarded():
            self._shut(stop)

    def _shut(self, stop: Stop | None) -> None:
        self._blade.keep_closed()
        self._witness.prove(stop)

    def _prove(self, stop: Stop | None) -> None:
        if self._witness.looking:
            self._witness.prove(stop)

    def look_meanwhile(self, stop: Stop | None = None) -> None:
        """Have the spectrometer begin to look at the shutter that was just closed, while other work goes on.

        The next :meth:`set_fluence` turns the plate meanwhile if that is harmless even in the light; what
        was seen is judged before light passes again, or before the plate goes another way.
        """
        with self._safe_state.guarded():
            self._witness.begin(stop)

    def still_dark(self, stop: Stop | None = None) -> None:
        """Make sure, in a longer wait, that the shutter is still closed: all who can see it look.

        Whoever is interrupted in it has changed nothing.

        :raises SafetyStop: it is open; it is closed again, or counts as open if that is not what it says.
        :raises InstrumentError: there is no exposure.
        """
        with self._safe_state.guarded(Aborted):
            self._blade.require_closed()
            self._witness.look_all(stop)

    def refute(self, seen: str) -> None:
        """Believe the shutter no more, if somebody has seen light behind it.

        :param seen: by whom and how much; "" for none.
        :raises SafetyStop: somebody has.
        """
        with self._safe_state.guarded():
            self._witness.refute(seen)

    def dim(self, stop: Stop | None = None) -> float:
        """Turn to the least light, by a way that crosses no maximum; return which part of the light is left.

        What was verified stays verified for whoever turns back to it.
        """
        with self._safe_state.guarded():
            here_deg = self._plate.angle_deg()
            dark_deg = self.curve.dark_end_deg(here_deg)
            self._setting.move(dark_deg, stop)
            return self.curve.transmission(dark_deg) / max(self.curve.transmission(here_deg), 1e-9)

    def turn_back(self, angle_deg: float, stop: Stop | None = None) -> None:
        """Turn back to where the plate was before :meth:`dim`, behind the closed shutter."""
        with self._safe_state.guarded():
            self._setting.move(angle_deg, stop)

    @property
    def eye(self) -> LightSensor | None:
        """The spectrometer, as a witness of the closings; None where nobody uses it."""
        return self._witness.eye

    @eye.setter
    def eye(self, eye: LightSensor | None) -> None:
        self._witness.eye = eye

    @contextmanager
    def seen_by(self, eye: LightSensor) -> Iterator[None]:
        """Have the spectrometer witness the closings, in a block."""
        before, self.eye = self.eye, eye
        try:
            yield
        finally:
            self.eye = before

    @property
    def on_lie(self) -> Callable[[str], object]:
        """Told why the shutter's sensor is believed no more, before the error is raised; must not raise."""
        return self._blade.on_lie

    @on_lie.setter
    def on_lie(self, tell: Callable[[str], object]) -> None:
        self._blade.on_lie = tell

    @contextmanager
    def quick(self, arrived: Callable[[], object]) -> Iterator[None]:
        """Verify settings with one reading each in the block, and say when the plate has arrived.

        :param arrived: called before the meter is read.
        """
        before = self._monitor.count
        self._monitor.count, self._plate.arrived = 1, arrived
        try:
            yield
        finally:
            self._monitor.count, self._plate.arrived = before, None

    @contextmanager
    def brief(self, arrived: Callable[[], object]) -> Iterator[None]:
        """Verify settings, in the block, with as few readings as that needs: others follow in the light.

        :param arrived: called when the plate has arrived, before the meter is read.
        """
        self._monitor.brief, self._plate.arrived = True, arrived
        try:
            yield
        finally:
            self._monitor.brief, self._plate.arrived = False, None

    def stays_open(self, seconds: float) -> bool:
        """Return whether light passes and goes on for ``seconds``, without a shutter that is opened anew."""
        return self._blade.lit and self._blade.lasts(seconds + self._blade.travel_s)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Close the shutter whatever goes wrong in the block, before anybody hears of it."""
        with self._safe_state.guarded():
            yield

    def open(
        self, seconds: float = 0.0, *, timed: bool = True, stop: Stop | None = None, asked_later: bool = False
    ) -> None:
        """Open the shutter onto a verified setting, for about ``seconds`` of light.

        The plate must still be where it was then; what was verified long ago is verified again.

        :param timed: False if it may well last longer, as by hand: a shutter that can close itself does not,
            and it is closed as soon as the meter was not looked at for 1.5 s of wall time, besides the
            reading's own.
        :param asked_later: whether the caller asks at the end if it was open, by :meth:`require_open`; until
            then the driver's own confirmation is enough.
        :raises SafetyStop: the setting is not verified, or not any more, or the dose would exceed its limit.
        """
        with self._safe_state.guarded():
            state = self._setting.verified
            if state is None:
                raise SafetyStop(
                    "the shutter stays closed: the energy was not verified since the last change"
                )
            self._allow(seconds + self._blade.travel_s)
            lasting_s = seconds + self._blade.travel_s if timed else math.inf
            if self._blade.lit and not self._blade.lasts(lasting_s):
                self._blade.close()  # it would close itself in the middle: opened anew, it waits longer
            if not self._blade.lit and not self._setting.holds(state):
                self._renew(state, seconds + VERIFYING_S if timed else 0.0, stop)
            if not self._blade.lit:
                self._witness.look_again(stop)
                self._setting.restore(state, stop)
                self._blade.open(
                    self._setting.fluence_uj_cm2, seconds if timed else 0.0, asked_later=asked_later
                )
            if self._watch is not None and not timed:
                self._watch.hold(self._meter.name)

    def _renew(self, state: PumpState, light_s: float, stop: Stop | None) -> None:
        """Verify an old setting again; where the meter is behind the shutter, that is open afterwards."""
        if self.meter_in_front:
            self._setting.read_again(state, stop)
        else:
            self._darken(stop, light_s)
            self._setting.at(state.angle_deg, stop)

    def require_closed(self) -> None:
        """Make sure that nobody else has opened the shutter.

        :raises SafetyStop: it is open when it should be closed; it is closed again.
        """
        with self._safe_state.guarded():
            self._blade.require_closed()

    def require_open(self) -> None:
        """Make sure that the light was not interrupted behind our back.

        :raises SafetyStop: the shutter is closed.
        """
        with self._safe_state.guarded():
            self._blade.require_open()

    def allow(self, seconds: float) -> None:
        """Check that ``seconds`` more of the present light, if there is any, stay within the dose allowed.

        The shutter's way to its closing is in it.

        :raises SafetyStop: they do not; the shutter is closed.
        """
        with self._safe_state.guarded():
            if self.light.lit:
                self._allow(seconds + self._blade.travel_s)

    def _allow(self, seconds: float, fluence_uj_cm2: float | None = None) -> None:
        limit = self.limits.max_dose_uj_cm2
        if limit is not None and self.light.after_s(seconds, fluence_uj_cm2) > limit:
            raise SafetyStop(f"the dose would exceed its limit of {limit:g} uJ/cm2", "use a new spot")

    # --- start and end -----------------------------------------------------------------------------

    def prepare(self, stop: Stop | None = None) -> None:
        """Make a start: shutter closed, mount referenced, least light, meter set."""
        with self._safe_state.guarded():
            self.minimum(stop)
            self._verifier.prepare(stop)

    def prepare_meter(self, stop: Stop | None = None) -> None:
        """Set the meter; one behind the shutter learns its zero, unless there is light.

        :raises InstrumentError: it does not take its settings; the shutter is closed.
        """
        with self._safe_state.guarded():
            self._verifier.prepare(stop)

    def minimum(self, stop: Stop | None = None) -> None:
        """Close the shutter, reference the mount if need be, and go to the least transmission."""
        with self._safe_state.guarded():
            self._shut(stop)
            self._reference(stop)
            self._setting.move(self.curve.floor_deg, stop)

    def safe(self) -> SafeReport:
        """Close the shutter, have that confirmed, then drop the attenuator; tries all, never raises.

        A meter behind the shutter looks before the plate turns: at the least transmission it could hardly
        tell light from none.

        :returns: what was done, by what it was confirmed, and what failed.
        """
        self._setting.forget()
        words = list[str]()
        drop = replace(self._dropping, act=lambda: words.append(self._drop()))
        failures, dropped = end_light(self._witness.closed, lambda _failed: make_safe(drop))
        self.left = SafeReport(
            "the shutter is NOT confirmed closed"
            if failures
            else f"the shutter is closed ({self._witness.said})",
            words[0] if words else "the attenuator is NOT known to be at its lowest transmission",
            (*failures, *dropped),
        )
        return self.left

    def _drop(self) -> str:
        """Take the least light, and say so; should the shutter be open, by a way that crosses no maximum."""
        lit = self._blade.lit
        if not may_turn(self._plate.name, referenced=self._plate.is_referenced(), lit=lit):
            return "the attenuator was NOT moved: it is not homed"
        here_deg = self._plate.angle_deg()
        if self._dark_deg is not None:  # measured just now
            dark_deg = nearest_minimum(self._dark_deg, here_deg) if lit else self._dark_deg
            if abs(here_deg - dark_deg) > ARRIVAL_DEG:
                self._setting.move(dark_deg)
            return f"the attenuator is at its lowest transmission, {dark_deg:.2f} deg as just measured"
        dark_deg = self.curve.dark_end_deg(here_deg) if lit else self.curve.floor_deg
        if self.curve.transmission(here_deg) > _SAME * self.curve.transmission(dark_deg):
            self._setting.move(dark_deg)
        return "the attenuator is at its lowest transmission"

    def adopt(self, dark_deg: float | None, proof: str, lie: str) -> None:
        """Take over from a calibration, which works without this gate: where it is dark, and what is closed.

        :param dark_deg: darkest angle that was measured; None: it is the curve's.
        :param proof: what confirmed the last closing; "" where the calibration opened nothing.
        :param lie: why the shutter's sensor is believed no more; "" while it is.
        """
        self._setting.forget()
        self._dark_deg = dark_deg if dark_deg is not None else self._dark_deg
        self._blade.proof = proof or self._blade.proof
        if lie:
            self._blade.distrust(lie, self._setting.fluence_uj_cm2)

    def _reference(self, stop: Stop | None) -> None:
        if not self._plate.is_referenced():
            self._shut(stop)
            self._setting.home(stop)

    def _release(self) -> None:
        """Let light that was held by hand be the gate's again, whose readings have times of their own."""
        if self._watch is not None:
            self._watch.release()

    # --- fluence -----------------------------------------------------------------------------------

    def set_fluence(
        self, fluence_uj_cm2: float, stop: Stop | None = None, *, keep_open: bool = False
    ) -> PumpState:
        """Set a fluence and have the meter confirm it.

        Afterwards the shutter is closed where the meter looks in front of it, and open where it looks behind;
        with ``keep_open`` a shutter that is open stays so when the way is harmless.

        :raises SafetyStop: a limit, or a setting that the meter or the mount contradicts.
        :raises InstrumentError: an instrument failed. The shutter is closed in either case.
        """
        with self._safe_state.guarded():
            check_stop(stop)
            self._release()
            self._refuse(fluence_uj_cm2)
            self._reference(stop)
            if self._looks_meanwhile(fluence_uj_cm2):
                self._blade.keep_closed()
            elif not (keep_open and self.light.lit and self._harmless(fluence_uj_cm2)):
                self._darken(stop)
            return self._setting.approach(fluence_uj_cm2, stop)

    def _harmless(self, fluence_uj_cm2: float) -> bool:
        return self.aim.harmless(self.aim.angle_deg(fluence_uj_cm2), lit=self.light.lit)

    def _looks_meanwhile(self, fluence_uj_cm2: float) -> bool:
        """Whether the plate may turn while the spectrometer looks at the closed shutter.

        Only to more light, which shows the better what is amiss, and on a way that harms nothing then.
        """
        if not self._witness.looking or fluence_uj_cm2 < _SAME_LIGHT * self.expected_uj_cm2:
            return False
        self._witness.claim()
        limit, unseen_s = self.limits.max_dose_uj_cm2, LOOKING_S + self._verifier.takes_s
        dose = self.light.dose_uj_cm2 + self.light.light_uj_cm2(unseen_s, fluence_uj_cm2)
        return self._harmless(fluence_uj_cm2) and (limit is None or dose <= limit)

    def set_angle(self, angle_deg: float, stop: Stop | None = None) -> PumpState:
        """Turn the plate to an angle and have the meter confirm the fluence; see :meth:`set_fluence`.

        :raises SafetyStop: a limit, or an angle outside the branch of the curve that is used.
        """
        with self._safe_state.guarded():
            check_stop(stop)
            self._release()
            if not math.isfinite(angle_deg):
                raise SafetyStop(f"{angle_deg:g} deg is not a valid angle")
            if reason := off_branch(self.curve, angle_deg):
                raise SafetyStop(reason)
            self._refuse(self.aim.fluence_uj_cm2(angle_deg))
            self._reference(stop)
            self._darken(stop)
            return self._setting.at(angle_deg, stop)

    def home(self, stop: Stop | None = None) -> None:
        """Close the shutter, search the mount's reference and go to the least transmission."""
        with self._safe_state.guarded():
            self._shut(stop)
            self._setting.home(stop)
            self._setting.move(self.curve.floor_deg, stop)

    def energy_j(self, power_w: float, angle_deg: float) -> float:
        """Pulse energy on the sample that a power at the meter stands for, with the plate at an angle."""
        return self._verifier.energy_j(power_w, angle_deg)

    def _refuse(self, fluence_uj_cm2: float) -> None:
        if reason := self.beam.forbidden(fluence_uj_cm2):
            raise SafetyStop(reason, "ask for less, or change the limits of the bench")
        low, high = self.aim.reach_uj_cm2()
        slack = 1 + self.limits.set_ratio
        if not low / slack <= fluence_uj_cm2 <= high * slack:
            raise SafetyStop(f"{fluence_uj_cm2:.4g} uJ/cm2 is out of reach ({low:.4g} to {high:.4g} uJ/cm2)")

    def _darken(self, stop: Stop | None, light_s: float = VERIFYING_S) -> None:
        """Close; where the meter needs the shutter open, open it again at the least transmission."""
        self.shut(stop)
        if self.meter_in_front:
            return
        self._setting.move(self.curve.floor_deg, stop)
        if not self.aim.harmless(self.curve.floor_deg, lit=False):
            raise SafetyStop("even the lowest transmission of the attenuator may exceed a limit")
        self._plate.swing()  # the meter saw nothing of what was before
        self._allow(self._verifier.takes_s, self._setting.fluence_uj_cm2)
        self._blade.open(self._setting.fluence_uj_cm2, light_s)

    # --- flight ------------------------------------------------------------------------------------

    def refuse_flight(self, seconds: float) -> None:
        """Check that the plate may turn in light for ``seconds``, wherever it comes to stand meanwhile.

        Full transmission must stay within every limit, with the highest energy of a pulse and its scatter: a
        plate that does not stop is not there where it was sent when the shutter is confirmed closed. The dose
        is held against its limit as if all of the light came at full transmission.

        :raises SafetyStop: it may not; nothing has moved.
        """
        scatter = self.settings.pulse_cv if self.settings.pulse_cv is not None else _UNKNOWN_CV
        full_j = self.aim.highest_full_j
        said = self.beam.forbidden(self.beam.fluence_uj_cm2(full_j * (1 + _HIGHEST_PULSE * scatter)))
        if said:
            raise SafetyStop(
                f"no flight: at full transmission the highest pulses exceed a limit: {said}",
                "add a filter to the beam, so that the attenuator cannot exceed the limits at any angle",
            )
        self._allow(seconds + 2 * self._blade.travel_s, self.beam.fluence_uj_cm2(full_j))

    def turn(self, angle_deg: float, stop: Stop | None = None) -> tuple[float, float]:
        """Turn the plate to an angle, in light too where :meth:`refuse_flight` has passed; light counts.

        :returns: bench times at which the command left and the plate reported its rest.
        :raises SafetyStop: it did not arrive; the shutter is closed.
        """
        with self._safe_state.guarded():
            self._setting.forget()
            self.light.change(self.aim.mean_fluence_uj_cm2(self._plate.reached_deg, angle_deg))
            began_s = self._clock.now_s()
            self._plate.move(angle_deg, stop)
            ended_s = self._clock.now_s()
            self.light.change(self._setting.fluence_uj_cm2)
            return began_s, ended_s

    # --- what the meter says -----------------------------------------------------------------------

    def confirm(self, state: PumpState, stop: Stop | None = None) -> PowerReading:
        """Read the meter again at an unchanged setting.

        :raises SafetyStop: the pulse energy jumped or passed a limit; the shutter is closed.
        """
        with self._safe_state.guarded():
            if self.light.lit:
                self._allow(self._verifier.takes_s)
            return self._verifier.confirm(state, stop)

    def look(self, stop: Stop | None = None) -> PowerReading:
        """Read the meter once, between whiles; in the light by :meth:`watch`, too.

        :raises SafetyStop: as :meth:`watch` does.
        :raises InstrumentError: there is no reading; the shutter is closed, if not by a stop.
        """
        with self._safe_state.guarded(Aborted):
            reading = self._verifier.glance(stop)
        self.watch(reading)
        return reading

    def keep_watch(self, stop: Stop | None = None) -> None:
        """Look at the meter if there is light and nobody has for a while; call it between exposures.

        :raises SafetyStop: as :meth:`look` does.
        """
        if self.light.lit and self._verifier.unread_s > UNREAD_S:
            with self._safe_state.guarded():
                self._allow(self._verifier.takes_s)
            self.look(stop)

    def watch(self, reading: PowerReading) -> None:
        """Compare a reading taken in light that lasts, as by hand, with the one that verified the setting.

        One that the head has not followed yet says nothing. From now on the dose counts with this reading.

        :raises SafetyStop: the pulse energy jumped, was lost or passed a limit; the shutter is closed.
        """
        with self._safe_state.guarded():
            if self.light.lit and self._setting.verified is not None:
                fluence = self._verifier.watch(self._setting.verified, reading)
                if fluence is not None:
                    self.light.change(fluence)

    @property
    def meter_name(self) -> str:
        """Role and address of the power meter."""
        return self._meter.name

    def read_single(self, stop: Stop | None = None) -> PowerReading:
        """Read the meter once, in light that lasts, from any thread; :meth:`judge_single` judges it."""
        return self._verifier.single(stop)

    def judge_single(self, state: PumpState, reading: PowerReading) -> bool:
        """Hold a reading against what was verified; return whether the head had settled when it began.

        :raises SafetyStop: the pulse energy jumped or passed a limit.
        """
        return self._verifier.judge_single(state, reading)

    def held(
        self, state: PumpState, readings: Sequence[PowerReading], exposed_s: Sequence[tuple[float, float]]
    ) -> tuple[Bracket, PowerReading]:
        """Return the light of exposures from single readings taken meanwhile, and the mean of these.

        :param exposed_s: begin and end of each exposure, bench time.
        :raises SafetyStop: the meter repeats itself; the shutter is closed.
        """
        with self._safe_state.guarded():
            return self._verifier.held(state, readings, exposed_s)

    def bracket(self, state: PumpState, after: PowerReading, pulses: float) -> Bracket:
        """Return the light of an exposure of ``pulses`` pulses between the state's reading and ``after``."""
        return self._verifier.bracket(state, after, pulses)

    def _behind_meter(self, angle_deg: float) -> float:
        return self.curve.transmission(angle_deg) if self._place.unattenuated else 1.0
