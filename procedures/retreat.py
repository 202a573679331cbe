"""The way back into the dark, whatever has failed: shutter first, then the least light that can be had."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from labctl.model.clock import Stop
from labctl.model.errors import SafetyStop
from labctl.model.roles import PowerMeter
from labctl.model.safety import SafeReport
from procedures.curve import QUARTER_DEG, Curve
from procedures.light import Blade
from procedures.plate import ARRIVAL_DEG, Plate
from procedures.safe import Action, announce, held_back, make_safe

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Wall time, beyond twice its settling, that a meter has for its word on the last closing."""
DROPPING = "turning to the least transmission"
_SAME = 1.005
"""Two transmissions nearer to each other than this are one."""


class Witness:
    """The power meter, where it stands behind the shutter: it sees whether "closed" is true.

    :param light_left: says what light the meter still sees, "" for none; None where it stands in front.
    :param fluence_uj_cm2: what falls on the sample should the shutter be open.
    """

    def __init__(
        self,
        blade: Blade,
        meter: PowerMeter,
        light_left: Callable[[Stop | None], str] | None,
        fluence_uj_cm2: Callable[[], float],
    ) -> None:
        self._blade, self._meter = blade, meter
        self._light_left, self._fluence_uj_cm2 = light_left, fluence_uj_cm2

    def prove(self, stop: Stop | None) -> None:
        """Have the closing that came last confirmed, if that was not done yet.

        :raises SafetyStop: there is light behind the shutter: from now on it counts as open.
        :raises InstrumentError: the meter says nothing.
        """
        if not self._blade.proof:
            self._judge("" if self._light_left is None else self._light_left(stop))

    def word(self) -> tuple[str, list[Exception]]:
        """Return what confirms the closing that came last, and what contradicts it; never raises.

        A meter that says nothing is a gap in what was confirmed, and no failure of the shutter's.
        """
        if self._blade.proof:
            return self._blade.proof, []
        seen = [""]
        if self._light_left is not None:
            light_left = self._light_left
            look = Action(
                self._meter.name, "the look at the closed shutter", lambda: seen.append(light_left(None))
            )
            if silent := make_safe(look, deadline_s=LOOK_S + 2 * self._meter.settling_s):
                log.warning("nobody has confirmed that the shutter is closed but its sensor: %s", silent[0])
                return "its sensor alone: the power meter behind it gives no reading", []
        try:
            self._judge(seen[-1])
        except SafetyStop as lie:
            return "", [lie]
        return self._blade.proof, []

    def _judge(self, seen: str) -> None:
        if seen:
            reason = f"the shutter says that it is closed, but {seen}"
            self._blade.distrust(reason, self._fluence_uj_cm2())
            raise SafetyStop(reason, "block the beam by hand, then look at the blade and its sensor")
        behind = self._light_left is not None
        self._blade.proof = (
            "its sensor and the power meter behind it"
            if behind
            else "its sensor alone: no power meter stands behind it"
        )


class Retreat:
    """Makes a pump safe.

    :param move: turns the plate and accounts for the light on the way.
    :param forget: called first: nothing that was verified holds any more.
    :param tell: told at once, in one line, why a shutter that fails is followed by the attenuator.
    """

    def __init__(
        self,
        blade: Blade,
        plate: Plate,
        curve: Curve,
        witness: Witness,
        *,
        move: Callable[[float], None],
        forget: Callable[[], None],
        tell: Callable[[str], object],
    ) -> None:
        self._blade, self._plate, self._curve, self._witness = blade, plate, curve, witness
        self._move, self._forget, self._tell = move, forget, tell
        self.dark_deg: float | None = None
        """Darkest angle, where it was measured since the curve was read; None: the curve's."""

    def safe(self) -> SafeReport:
        """Close the shutter, have that confirmed, then drop the attenuator; tries all, never raises.

        A shutter that did not close is tried once more when there is least light. A meter behind the shutter
        looks before the plate turns: at the least transmission it could hardly tell light from none.
        """
        proof, words = "", list[str]()
        drop = Action(
            self._plate.name, "turning to the least transmission", lambda: words.append(self._drop())
        )
        with held_back():
            self._forget()
            failures: Sequence[Exception] = make_safe(self._blade.closing)
            if not failures:
                proof, failures = self._witness.word()
            dropped = make_safe(drop)
            if failures and not make_safe(self._blade.closing):
                proof, failures = self._witness.word()
        return SafeReport(
            "the shutter is NOT confirmed closed" if failures else f"the shutter is closed ({proof})",
            words[0] if words else "the attenuator is NOT known to be at its least transmission",
            (*failures, *dropped),
        )

    @contextmanager
    def guarded(self, *but: type[BaseException]) -> Iterator[None]:
        """Close the shutter whatever went wrong, an abort included, before anybody hears of it.

        Where it is the shutter that failed, the attenuator goes to its minimum first.

        :param but: errors that change nothing.
        """
        try:
            yield
        except but:
            raise
        except BaseException as exc:
            with held_back():
                self._forget()
                if self._blade.is_meant(exc) or make_safe(self._blade.closing):
                    announce(exc, f"{self._blade.name} does not close, the attenuator goes first", self._tell)
                    drop = Action(self._plate.name, DROPPING, self._drop)
                    make_safe(drop, self._blade.closing)
            raise

    def _drop(self) -> str:
        """Take the least light, and say so; should the shutter be open, by a way that crosses no maximum."""
        if not self._plate.is_referenced():
            if self._blade.lit:
                raise SafetyStop("the attenuator is not referenced and stays where it is")
            log.info("the attenuator is not referenced and stays where it is, behind the closed shutter")
            return "the attenuator was NOT moved: it is not homed"
        here = self._plate.angle_deg()
        if self.dark_deg is not None:
            return self._drop_measured(here, self.dark_deg)
        wanted = self._curve.dark_end_deg(here) if self._blade.lit else self._curve.floor_deg
        if self._curve.transmission(here) > _SAME * self._curve.transmission(wanted):
            self._move(wanted)
        return "the attenuator is at its least transmission"

    def _drop_measured(self, here_deg: float, dark_deg: float) -> str:
        """Likewise by a minimum that was measured just now; should the shutter be open, to the nearest."""
        if self._blade.lit:
            dark_deg += QUARTER_DEG * round((here_deg - dark_deg) / QUARTER_DEG)
        if abs(here_deg - dark_deg) > ARRIVAL_DEG:
            self._move(dark_deg)
        return f"the attenuator is at its least transmission, {dark_deg:.2f} deg as just measured"
