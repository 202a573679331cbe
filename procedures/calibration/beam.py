"""The one gate for light while nobody knows yet what an angle transmits.

The plate moves only behind a shutter that is confirmed closed. Where the meter stands behind the shutter,
this opens only after hands have confirmed that the sample is out and the sensor in its place, and only at
angles whose worst (:mod:`procedures.calibration.worst`) leaves the limits alone should they not have done so.
After every closing the meter behind the shutter must see the light go. Whatever is unexpected closes it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from labctl.model.clock import Stop, check_stop
from labctl.model.errors import CalibrationRefused, ConfigError, InstrumentError, NotMadeSafe, SafetyStop
from labctl.model.roles import LIGHT, Request
from procedures.calibration.context import CalContext, Place
from procedures.calibration.gauge import Gauge
from procedures.calibration.worst import UNKNOWN, Law, Look, Worst
from procedures.gate.attenuator import (
    ARRIVAL_DEG,
    QUARTER_DEG,
    allowed_angles,
    make_curve,
    nearest_minimum,
    off,
)
from procedures.gate.power_monitor import SEEN_PART
from procedures.gate.safe_state import (
    Action,
    SafeState,
    end_light,
    held_back,
    make_safe,
    may_turn,
    raise_unsafe,
    retried,
)
from procedures.gate.shutter import Blade, LightAccount, unlocked

DECADE_DEG = 10.0
"""No wheel has a gradient steeper than a decade over this angle."""
FILL_LAW = 1.1
"""Likewise where a law was fitted."""
FILL = 1.2
"""Room for the laser's drift above what was measured."""


class Foresight:
    """What the meter may come to see at each angle, and what it is allowed to.

    :param place: where the meter stands.
    :param smooth: whether the transmission is that of a half-wave plate, so that a neighbour bounds it.
    """

    def __init__(self, context: CalContext, place: Place, *, smooth: bool) -> None:
        self.context, self.place, self._smooth = context, place, smooth
        order = context.settings.order
        self.behind = place == "sample" or order.index("shutter") < order.index("pick-off")
        self.low_deg, self.high_deg = allowed_angles(
            context.roles.attenuator.angle_range_deg, context.limits.angle_range_deg
        )
        self.worst = Worst(context.settings, context.limits, (self.low_deg, self.high_deg))
        if context.course.law is not None:
            self.worst.saw(context.course.law)
        self.looks: list[Look] = []
        self.expect: Callable[[float], float] | None = None
        self.filter_transmission = 1.0

    def brightest(self, passing: float | None = None) -> Look | None:
        """Return the brightest look so far, of those behind a filter if given; None before the first."""
        looks = [look for look in self.looks if passing is None or look.passing == passing]
        return max(looks, key=lambda look: look.power_w, default=None)

    def set_filter(self, transmission: float) -> None:
        """Take account of what now stands before the sensor: powers are those in front of it."""
        self.filter_transmission = transmission

    @property
    def full_w(self) -> float:
        """Highest power at the meter that is to be expected, by the bench file's nominal numbers."""
        s = self.context.settings
        if self.place == "sample":
            return self.worst.full_w
        return UNKNOWN * s.max_pulse_energy_j * s.repetition_rate_hz / s.pickoff_ratio

    @property
    def ceiling_w(self) -> float:
        """Highest power that is allowed at the meter."""
        of_sensor, on_sample = self.context.options.sensor_limit_w, self.context.limits.max_average_power_w
        limits = [math.inf if of_sensor is None else of_sensor / self.filter_transmission]
        if self.place == "sample" and on_sample is not None:
            limits.append(on_sample)
        return min(limits)

    def bound_w(self, angle_deg: float) -> float:
        """Highest power that an angle may make: at first the full one, then by what its neighbours showed.

        Once a law is known (:attr:`expect`), by that.
        """
        full = self.full_w
        if self.expect is not None:
            return FILL_LAW * max(self.expect(angle_deg + off) for off in (-ARRIVAL_DEG, 0.0, ARRIVAL_DEG))
        if not self.looks:
            return full * self.worst.transmission(angle_deg)
        near = min(self.looks, key=lambda look: abs(look.angle_deg - angle_deg))
        step_deg = abs(near.angle_deg - angle_deg) + ARRIVAL_DEG
        if not self._smooth:
            return min(full, FILL * max(near.power_w, 0.0) * 10 ** (step_deg / DECADE_DEG))
        step = 2 * math.radians(step_deg)
        amplitude = math.sqrt(max(near.power_w, 0.0) * FILL) + step * math.sqrt(full)
        return min(full, amplitude**2)

    def step_deg(self, look: Look, longest_deg: float) -> float:
        """Return how far the plate may turn from a look so that no limit can be passed."""
        if not self._smooth:
            room = 0.97 * self.ceiling_w / max(FILL * look.power_w, 1e-30)
            return min(longest_deg, DECADE_DEG * math.log10(max(room, 1.0)) - ARRIVAL_DEG)
        if self.full_w <= self.ceiling_w:
            return longest_deg
        room = math.sqrt(0.97 * self.ceiling_w) - math.sqrt(max(look.power_w, 0.0) * FILL)
        return min(longest_deg, math.degrees(room / (2 * math.sqrt(self.full_w))) - ARRIVAL_DEG)

    def allowed(self, angle_deg: float) -> bool:
        """Return whether an angle stays below what sensor and limits allow, as far as can be known.

        Where the shutter opens for it, the limits are judged by the worst that may reach the sample's place.
        """
        if not self.low_deg <= angle_deg <= self.high_deg or self.bound_w(angle_deg) > self.ceiling_w:
            return False
        return not self.behind or self.worst.allows(angle_deg)


def power_text(watts: float) -> str:
    """Return a power with the unit that suits it."""
    for unit, size in (("W", 1.0), ("mW", 1e-3), ("uW", 1e-6)):
        if abs(watts) >= size:
            return f"{watts / size:.3g} {unit}"
    return f"{watts / 1e-9:.3g} nW"


log = logging.getLogger(__name__)

ENOUGH_DEG = 50.0
"""Room on one side of a minimum beyond which more does not help."""
UNJUDGED = "not checked since it was open"
SEEN_TIMES = 20.0
"""A meter that saw light this many times over its noise can say that the light is gone."""
SURE_TIMES, WEAK_PART = 200.0, 0.5
"""Light weaker than that is left only if this part of it is: a lamp in the room changes by about as much."""
THERE_DEG = 0.004
"""A step of the encoder or so: no move is made for less."""


class UncalibratedBeam(Foresight):
    """Shutter, plate and meter without a curve; a context manager that leaves the bench safe.

    :param place: where the meter stands.
    :param smooth: whether the transmission is that of a half-wave plate, so that a neighbour bounds it.
    """

    def __init__(self, context: CalContext, place: Place, *, smooth: bool = True) -> None:
        super().__init__(context, place, smooth=smooth)
        self.course = context.course
        self._mount, self._stop, self.clock = context.roles.attenuator, context.stop, context.roles.clock
        settings = context.settings
        self.blade = Blade(
            context.roles.shutter, self.clock, LightAccount(self.clock, settings.repetition_rate_hz)
        )
        self.blade.account.restart(self.course.dose_uj_cm2)
        self._dropping = Action(self._mount.name, "turning to the lowest known transmission", self._drop)
        self.guard = SafeState(self.blade, self._dropping, context.tell).guarded
        """Closes the shutter whatever goes wrong in a block, before anybody hears of it."""
        self.gauge = Gauge(
            context.roles,
            context.options.readings,
            settings.repetition_rate_hz,
            settings.wavelength_nm,
            context.stop,
        )
        self.zero_w = self.zero_sigma_w = 0.0
        self.noise_w = self.gauge.meter.noise_w
        self.moved_s = self.clock.now_s()
        self.placed = False
        self.filters: list[tuple[str, float, float]] = []
        self._lit_w, self._at_deg = 0.0, 0.0
        self.stays = False
        """Whether the plate waits where it is for the next visit, if this one ends well."""

    # --- start and end -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with self.guard():
            self.blade.close()
            self._reference()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stays = self.stays and error is None
        with held_back():
            failures = self.safe()
        self.course.dose_uj_cm2 = self.blade.account.dose_uj_cm2
        if not self.blade.never_opened:
            self.course.confirmed = self.blade.proof or self.blade.alone(UNJUDGED)
        self.course.lie = self.blade.lie or self.course.lie
        if error is not None:
            raise_unsafe(error, failures)
        elif failures:
            raise NotMadeSafe(failures) from failures[0]

    def safe(self) -> list[Exception]:
        """Close the shutter, then turn to the darkest angle known; tries all, never raises.

        A shutter that did not close is tried once more when there is least light.
        """
        failures, dropped = end_light(
            lambda: make_safe(Action(self.blade.name, "closing", self._shut_at_last)),
            lambda failed: make_safe(self._dropping) if failed or not self.stays else (),
            again=lambda: make_safe(self.blade.closing),
        )
        make_safe(Action(self.gauge.meter.name, "setting it again", self.gauge.prepare))
        for failure in (*failures, *dropped):
            log.error("while making the bench safe: %s", failure)
        return [*failures, *dropped]

    def _drop(self) -> None:
        if may_turn(self._mount.name, referenced=retried(self._mount.is_referenced), lit=self.blade.lit):
            with unlocked():
                self._mount.move_to(self._nearest_dark_deg() if self.blade.lit else self.dark_deg)

    def _reference(self) -> None:
        if not retried(self._mount.is_referenced):
            self._mount.home(self._stop)
            self.moved_s = self.clock.now_s()
            if not retried(self._mount.is_referenced):
                raise SafetyStop(f"{self._mount.name} does not report homed after homing")

    @property
    def dark_deg(self) -> float:
        """Darkest angle known: as it was found, else of the readings so far, else the bench file's guess."""
        if self.course.dark_deg is not None:
            return self.course.dark_deg
        if self.looks:
            return min(self.looks, key=lambda look: look.power_w).angle_deg
        return self.guessed_dark_deg

    def _nearest_dark_deg(self) -> float:
        """Darkest angle with no maximum of a half-wave plate on the way: the shutter may be open.

        Where the curve is not that of a plate nobody can tell the way; then it is the darkest known.
        """
        dark, here = self.dark_deg, retried(self._mount.angle_deg)
        if not self._smooth:
            return dark
        return min(max(nearest_minimum(dark, here), self.low_deg), self.high_deg)

    @property
    def guessed_dark_deg(self) -> float:
        """Where the least transmission was found before, or stands in the bench file's curve.

        Of the repetitions of a half-wave plate's curve that one with most room to both sides.
        """
        dark = self.course.dark_deg
        if dark is None:
            try:
                dark = make_curve(self.context.settings.curve, (self.low_deg, self.high_deg)).floor_deg
            except ConfigError:
                dark = self.low_deg
        if not self._smooth:
            return dark
        return self._roomiest_deg(dark)

    def nearest_dark_deg(self, law: Law) -> float:
        """Return the minimum of a law that leaves most room to both sides, as far as it is allowed."""
        return min(max(self._roomiest_deg(law.zero_deg + QUARTER_DEG / 2), self.low_deg), self.high_deg)

    def _roomiest_deg(self, dark_deg: float) -> float:
        """Return that repetition of a half-wave plate's minimum which has most room to both sides."""
        repeated = [dark_deg + QUARTER_DEG * k for k in range(-4, 5)]
        inside = [angle for angle in repeated if self.low_deg <= angle <= self.high_deg] or [dark_deg]
        return max(inside, key=lambda angle: (round(self._room_deg(angle), 6), -abs(angle - dark_deg)))

    def _room_deg(self, angle_deg: float) -> float:
        return min(angle_deg - self.low_deg, self.high_deg - angle_deg, ENOUGH_DEG)

    def ask(self, request: Request) -> float | None:
        """Have something done by hand, in the dark."""
        with self.guard():
            self._shut()
            answer = self.context.ask(request)
            self.moved_s = self.clock.now_s()
            return answer

    # --- light -------------------------------------------------------------------------------------

    def look(
        self,
        angle_deg: float,
        *,
        from_deg: float | None = None,
        keep_open: bool = False,
        bare: bool = True,
        readings: int = 0,
    ) -> Look:
        """Turn to an angle behind the closed shutter, let light onto the meter, and read it.

        :param from_deg: come from this angle; by default straight from where the plate is.
        :param keep_open: leave the shutter open where it had to be opened, for the next look at this angle.
        :param bare: whether nothing else, such as a blade, takes light away, so that it says what the angle
            transmits.
        :param readings: that many instead of the usual number.
        :raises SafetyStop: more light than is allowed; the shutter is closed.
        """
        with self.guard():
            check_stop(self._stop)
            if from_deg is not None:
                self.turn(from_deg)
            reached = self.turn(angle_deg)
            self._open_onto(reached)
            since_s = max(self.moved_s, self.blade.changed_at_s if self.behind else 0.0)
            brightest = None if bare else self.brightest()
            level_w = brightest.power_w * self.filter_transmission if brightest else 0.0
            reading = self.gauge.read(since_s, reached, pulses=bare, readings=readings, level_w=level_w)
            power_w = (reading.power_w - self.zero_w) / self.filter_transmission
            floor_w = self.noise_w / math.sqrt(max(reading.n, 1))
            # The error of the zero is common to all looks: it counts where it matters, in the leakage.
            sigma_w = max(reading.sigma_w, floor_w) / self.filter_transmission
            at_s = 0.5 * (reading.start_s + reading.stop_s)
            look = Look(reached, power_w, sigma_w, at_s, reading, self.filter_transmission)
            if power_w > self.ceiling_w:
                raise SafetyStop(
                    f"{power_text(power_w)} at the meter are above the {power_text(self.ceiling_w)} allowed",
                    "if this is the angle of lowest transmission in the bench file, calibrate the "
                    "attenuator first",
                )
            if bare:
                self.looks.append(look)
            if self.behind:
                self._lit_w = reading.power_w - self.zero_w
                if not keep_open:
                    self._shut()
            return look

    def changed(self) -> None:
        """Say that something else has moved just now: readings from before do not count."""
        self.moved_s = self.clock.now_s()

    def close(self) -> None:
        """Close the shutter and have it confirmed."""
        with self.guard():
            self._shut()

    def _shut(self) -> None:
        """Close; a meter behind the shutter must see the light go, whatever the shutter itself says.

        :raises SafetyStop: it does not confirm, or the meter still sees light: it counts as open then.
        """
        self.blade.close()
        self._judge_closing(self._stop)

    def _shut_at_last(self) -> None:
        """Likewise at the end; a meter that does not answer any more cannot say that light is left."""
        self.blade.close()
        try:
            self._judge_closing(None)
        except SafetyStop:
            raise
        except (InstrumentError, CalibrationRefused) as exc:
            log.warning("the last closing was not checked: %s", exc)

    def _judge_closing(self, stop: Stop | None) -> None:
        if self.blade.proof:
            return
        meter = self.gauge.meter
        self.clock.sleep(meter.settling_s, stop)
        reading = retried(lambda: meter.read(1, stop))
        left_w, noise_w = reading.power_w - self.zero_w, max(reading.sigma_w, meter.noise_w)
        seen = self._lit_w > SEEN_TIMES * noise_w  # a blade may cover the beam
        part = SEEN_PART if self._lit_w > SURE_TIMES * noise_w else WEAK_PART
        if seen and left_w > max(part * self._lit_w, 5 * noise_w):
            reason = (
                f"the shutter reports closed, but {meter.name} behind it still sees "
                f"{power_text(left_w)} of {power_text(self._lit_w)}"
            )
            self.blade.distrust(reason, self.worst.fluence_uj_cm2(self._at_deg))
            raise SafetyStop(reason, "block the beam manually, then check the shutter blade and its sensor")
        weak = self.blade.alone("the light was too weak for the power meter")
        self.blade.proof = f"{self.blade.word} and the power meter behind it" if seen else weak

    def turn(self, angle_deg: float) -> float:
        """Turn behind the closed shutter and have it confirmed; a plate that is there already stays.

        :raises SafetyStop: the shutter is open and nobody here has opened it, or the plate does not arrive.
        """
        with self.guard():
            here = retried(self._mount.angle_deg)
            if abs(off(here, angle_deg)) <= THERE_DEG:
                return angle_deg + off(here, angle_deg)
            self._darken()
            off_deg = off(self._mount.move_to(angle_deg, self._stop), angle_deg)
            self.moved_s = self.clock.now_s()
            if not abs(off_deg) <= ARRIVAL_DEG:
                raise SafetyStop(
                    f"{self._mount.name} is at {angle_deg + off_deg:.3f} instead of {angle_deg:.3f} deg",
                    "check that the wave plate turns freely, and home it",
                )
            return angle_deg + off_deg

    def _darken(self) -> None:
        """Close, or make sure that it is still closed."""
        if self.blade.lit:
            self._shut()
        elif retried(self.context.roles.shutter.is_open):
            name = self.context.roles.shutter.name
            raise SafetyStop(f"{name} is open when it should be closed", "check its panel and interlock")

    def _open_onto(self, angle_deg: float) -> None:
        if self.looks and self.bound_w(angle_deg) > self.ceiling_w:
            raise SafetyStop(
                f"{angle_deg:.2f} deg may bring {power_text(self.bound_w(angle_deg))} to the meter, "
                f"{power_text(self.ceiling_w)} are allowed",
                "put a filter into the beam, or give the sensor's limit",
            )
        if not self.behind:
            return
        if self.blade.account.lit:
            self.worst.refuse_dose(self.blade.account, self._look_s)
            return
        if not self.placed:
            raise SafetyStop("the shutter stays closed: removal of the sample was not confirmed")
        self.worst.refuse(angle_deg)
        if not self.looks and self.bound_w(angle_deg) > self.ceiling_w:
            self._agree(angle_deg)
        fluence = self.worst.fluence_uj_cm2(angle_deg)
        self.blade.account.change(fluence)
        self.worst.refuse_dose(self.blade.account, self._look_s + self.blade.travel_s)
        self._at_deg, self._lit_w = angle_deg, 0.0
        self.blade.open(fluence)

    def _agree(self, angle_deg: float) -> None:
        """Have somebody agree to light that the sensor may not survive."""
        text = (
            f"The shutter opens at {angle_deg:.1f} deg, the lowest known transmission. If that is wrong, up "
            f"to "
            f"{power_text(self.bound_w(angle_deg))} reach the sensor; {power_text(self.ceiling_w)} are "
            "allowed. Agree?"
        )
        self.ask(Request("confirm", text, word=LIGHT))

    @property
    def _look_s(self) -> float:
        """Seconds that a look takes, about; with a margin, since the dose is judged before."""
        return 2 * (self.gauge.meter.settling_s + self.gauge.took_s)
