"""The way back into the dark, whatever has failed: shutter first, then the least light that can be had."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labctl.model.clock import Stop
from labctl.model.errors import SafetyStop, ShutterLied
from labctl.model.roles import PowerMeter
from labctl.model.safety import SafeReport
from procedures.gate.attenuator import ARRIVAL_DEG, QUARTER_DEG, Curve, Plate
from procedures.gate.safe_state import Action, announce, held_back, make_safe
from procedures.gate.shutter import Blade

if TYPE_CHECKING:
    from procedures.point.eye import Eye

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Wall time, beyond twice its settling, that a meter has for its word on the last closing."""
EYE_S = 8.0
"""Wall time that the spectrometer has for its word on it."""
DROPPING = "turning to the least transmission"
_SAME = 1.005
"""Two transmissions nearer to each other than this are one."""


class Witness:
    """Who sees whether "closed" is true: a power meter that stands behind the shutter, and the spectrometer.

    :param light_left: says what light the meter still sees, "" for none; None where it stands in front.
    :param fluence_uj_cm2: what falls on the sample should the shutter be open.
    :ivar eye: the spectrometer; None where nobody uses it.
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
        self.eye: Eye | None = None

    def prove(self, stop: Stop | None) -> None:
        """Have the closing that came last confirmed, if that was not done yet.

        :raises SafetyStop: there is light behind the shutter: from now on it counts as open.
        :raises InstrumentError: an instrument that should look says nothing.
        """
        if self._blade.proof:
            return
        self.look_all(stop)
        self._blade.proof = self._proof(by_meter=self._light_left is not None)

    def look_all(self, stop: Stop | None) -> None:
        """Have a meter behind the shutter and the spectrometer see that it is dark.

        :raises SafetyStop: there is light behind the shutter.
        :raises InstrumentError: one of them says nothing.
        """
        if self._light_left is not None:
            self.refute(self._light_left(stop))
        self.look_again(stop)

    def look_again(self, stop: Stop | None) -> None:
        """Have the spectrometer see that it is dark, after a closing and before the next opening.

        :raises SafetyStop: there is light behind the shutter.
        :raises InstrumentError: there is no exposure.
        """
        if self.eye is not None:
            self.refute(self.eye.light_left(stop))

    def refute(self, seen: str) -> None:
        """Believe the shutter no more, if somebody has seen light behind it.

        :param seen: by whom and how much; "" for none.
        :raises SafetyStop: somebody has.
        """
        if seen:
            reason = f"the shutter says that it is closed, but {seen}"
            self._blade.distrust(reason, self._fluence_uj_cm2())
            raise ShutterLied(reason, "block the beam by hand, then look at the blade and its sensor")

    def word(self) -> tuple[str, list[Exception]]:
        """Return what confirms the closing that came last, and what contradicts it; never raises.

        Who says nothing is a gap in what was confirmed, and no failure of the shutter's. A spectrometer that
        gave no answer to the last question is not asked.
        """
        if self._blade.proof:
            return self._word_again()
        by_meter = self._light_left is not None
        seen, silent = "", ""
        if self._light_left is not None:
            seen, silent = _asked(self._meter.name, self._light_left, LOOK_S + 2 * self._meter.settling_s)
        if self.eye is not None and self.eye.answers and not seen:
            seen, _ = _asked(self.eye.name, self.eye.light_left, EYE_S)
        try:
            self.refute(seen)
        except SafetyStop as lie:
            return "", [lie]
        if silent and not self._sees:
            return "its sensor alone: the power meter behind it gives no reading", []
        self._blade.proof = self._proof(by_meter=by_meter and not silent)
        return self._blade.proof, []

    def _word_again(self) -> tuple[str, list[Exception]]:
        """Likewise of a closing that was confirmed, perhaps long ago: the blade may have moved since."""
        seen = ""
        if self.eye is not None and self.eye.answers and self.eye.knows():
            seen, _ = _asked(self.eye.name, self.eye.light_left, EYE_S)
        try:
            self.refute(seen)
        except SafetyStop as lie:
            return "", [lie]
        return self._blade.proof, []

    @property
    def _sees(self) -> bool:
        return self.eye is not None and self.eye.saw_dark

    def _proof(self, *, by_meter: bool) -> str:
        seers = [*(["the power meter"] if by_meter else []), *(["the spectrometer"] if self._sees else [])]
        if not seers:
            return "its sensor alone: no power meter stands behind it"
        return f"its sensor and {' and '.join(seers)} behind it"


def _asked(name: str, look: Callable[[Stop | None], str], deadline_s: float) -> tuple[str, str]:
    """Have somebody look at the closed shutter; return what was seen, and why nobody looked; never raises."""
    seen, late = list[str](), threading.Event()
    action = Action(name, "the look at the closed shutter", lambda: seen.append(look(late)))
    failed = make_safe(action, deadline_s=deadline_s)
    late.set()
    if failed:
        log.warning("%s has not confirmed that the shutter is closed: %s", name, failed[0])
    return (seen[0] if seen else ""), (str(failed[0]) if failed else "")


class SafeState:
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
