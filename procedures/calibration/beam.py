"""The one gate for light while nobody knows yet what an angle transmits.

The plate moves only behind a shutter that is confirmed closed. Where the meter stands behind the shutter,
this opens only after hands have confirmed that the sample is out and the sensor in its place; the first time
at the darkest angle that is known, later only where the readings so far leave room below the limits. Whatever
is unexpected closes it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from labctl.model.clock import check_stop
from labctl.model.errors import ConfigError, NotMadeSafe, SafetyStop
from labctl.model.hands import Request
from procedures.calibration.context import CalContext, Place
from procedures.calibration.foresight import Foresight, Look, power_text
from procedures.calibration.gauge import Gauge
from procedures.curve import QUARTER_DEG, make_curve
from procedures.light import Blade, LightAccount
from procedures.locked import unlocked
from procedures.plate import ARRIVAL_DEG
from procedures.safe import Action, held_back, make_safe, raise_unsafe, retried

log = logging.getLogger(__name__)

ENOUGH_DEG = 50.0
"""Room on one side of a minimum beyond which more does not help."""
THERE_DEG = 0.004
"""A step of the encoder or so: no move is made for less."""


class BareBeam(Foresight):
    """Shutter, plate and meter without a curve; a context manager that leaves the bench safe.

    :param place: where the meter stands.
    :param smooth: whether the transmission is that of a half-wave plate, so that a neighbour bounds it.
    :param dark_deg: darkest angle known from before; None: what the bench file says.
    """

    def __init__(
        self, context: CalContext, place: Place, *, smooth: bool = True, dark_deg: float | None = None
    ) -> None:
        super().__init__(context, place, smooth=smooth)
        self._known_dark_deg = dark_deg
        self._mount, self._stop, self.clock = context.roles.attenuator, context.stop, context.roles.clock
        settings = context.settings
        self.blade = Blade(
            context.roles.shutter, self.clock, LightAccount(self.clock, settings.repetition_rate_hz)
        )
        self.blade.account.on_sample = False
        order = settings.order
        self.behind = place == "sample" or order.index("shutter") < order.index("pick-off")
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

    # --- start and end -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with self.guard():
            self.blade.close()
            self._reference()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with held_back():
            failures = self.safe()
        if error is not None:
            raise_unsafe(error, failures)
        elif failures:
            raise NotMadeSafe(failures) from failures[0]

    def safe(self) -> list[Exception]:
        """Close the shutter, then turn to the darkest angle known; tries all, never raises.

        A shutter that did not close is tried once more when there is least light.
        """
        failures = make_safe(self.blade.closing)
        dropped = make_safe(self._dropping)
        if failures:
            failures = make_safe(self.blade.closing)
        make_safe(Action(self.gauge.meter.name, "setting it anew", self.gauge.prepare))
        for failure in (*failures, *dropped):
            log.error("while making the bench safe: %s", failure)
        return [*failures, *dropped]

    @property
    def _dropping(self) -> Action:
        return Action(self._mount.name, "turning to the darkest angle known", self._drop)

    def _drop(self) -> None:
        if retried(self._mount.is_referenced):
            with unlocked():
                self._mount.move_to(self._nearest_dark_deg() if self.blade.lit else self.dark_deg)
        elif self.blade.lit:
            raise SafetyStop("the attenuator is not referenced and stays where it is")

    def _reference(self) -> None:
        if not retried(self._mount.is_referenced):
            self._mount.home(self._stop)
            self.moved_s = self.clock.now_s()
            if not retried(self._mount.is_referenced):
                raise SafetyStop(f"{self._mount.name} is not referenced after homing")

    @property
    def dark_deg(self) -> float:
        """Darkest angle known: of the readings so far, else the bench file's guess."""
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
        near = dark + QUARTER_DEG * round((here - dark) / QUARTER_DEG)
        return min(max(near, self.low_deg), self.high_deg)

    @property
    def guessed_dark_deg(self) -> float:
        """Where the least transmission was found before, or stands in the bench file's curve.

        Of the repetitions of a half-wave plate's curve that one with most room to both sides.
        """
        dark = self._known_dark_deg
        if dark is None:
            try:
                dark = make_curve(self.context.settings.curve, (self.low_deg, self.high_deg)).floor_deg
            except ConfigError:
                dark = self.low_deg
        if not self._smooth:
            return dark
        near = dark
        repeated = [near + QUARTER_DEG * k for k in range(-4, 5)]
        inside = [angle for angle in repeated if self.low_deg <= angle <= self.high_deg] or [near]
        return max(inside, key=lambda angle: (round(self._room_deg(angle), 6), -abs(angle - near)))

    def _room_deg(self, angle_deg: float) -> float:
        return min(angle_deg - self.low_deg, self.high_deg - angle_deg, ENOUGH_DEG)

    def ask(self, request: Request) -> float | None:
        """Have something done by hand, in the dark."""
        with self.guard():
            self.blade.close()
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
                    "if this is where the bench file has its darkest angle, calibrate the attenuator first",
                )
            if bare:
                self.looks.append(look)
            if self.behind and not keep_open:
                self.blade.close()
            return look

    def changed(self) -> None:
        """Say that something else has moved just now: readings from before do not count."""
        self.moved_s = self.clock.now_s()

    def close(self) -> None:
        """Close the shutter and have it confirmed."""
        with self.guard():
            self.blade.close()

    def turn(self, angle_deg: float) -> float:
        """Turn behind the closed shutter and have it confirmed; a plate that is there already stays.

        :raises SafetyStop: the shutter is open and nobody here has opened it, or the plate does not arrive.
        """
        with self.guard():
            here = retried(self._mount.angle_deg)
            if abs(_off(here, angle_deg)) <= THERE_DEG:
                return angle_deg + _off(here, angle_deg)
            self._darken()
            off = _off(self._mount.move_to(angle_deg, self._stop), angle_deg)
            self.moved_s = self.clock.now_s()
            if not abs(off) <= ARRIVAL_DEG:
                raise SafetyStop(
                    f"{self._mount.name} is at {angle_deg + off:.3f} instead of {angle_deg:.3f} deg",
                    "check that the plate turns freely, and home it",
                )
            return angle_deg + off

    def _darken(self) -> None:
        """Close, or make sure that it is still closed."""
        if self.blade.lit:
            self.blade.close()
        elif retried(self.context.roles.shutter.is_open):
            name = self.context.roles.shutter.name
            raise SafetyStop(f"{name} is open when it should be closed", "see its panel and interlock")

    def _open_onto(self, angle_deg: float) -> None:
        if self.looks and self.bound_w(angle_deg) > self.ceiling_w:
            raise SafetyStop(
                f"{angle_deg:.2f} deg may bring {power_text(self.bound_w(angle_deg))} to the meter, "
                f"{power_text(self.ceiling_w)} are allowed",
                "put a filter into the beam, or state the sensor's limit",
            )
        if not self.behind or self.blade.account.lit:
            return
        if not self.placed:
            raise SafetyStop("the shutter stays closed: nobody has said that the sample is out")
        if not self.looks and self.bound_w(angle_deg) > self.ceiling_w:
            text = (
                f"The shutter opens at {angle_deg:.1f} deg, the darkest angle the bench file knows. Should "
                f"that be wrong, up to {power_text(self.full_w)} reach the sensor; "
                f"{power_text(self.ceiling_w)} are allowed. Agree?"
            )
            self.ask(Request("confirm", text))
        self.blade.open(0.0)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Close the shutter whatever went wrong, an abort included, before anybody hears of it."""
        try:
            yield
        except BaseException as exc:
            if self.blade.is_meant(exc) or make_safe(self.blade.closing):
                make_safe(self._dropping, self.blade.closing)
            raise


def _off(found_deg: float, wanted_deg: float) -> float:
    """Return how far off the plate is; a mount may say 359.99 for -0.01."""
    return (found_deg - wanted_deg + 180.0) % 360.0 - 180.0
