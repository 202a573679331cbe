"""The shutter, confirmed at every change: who may open it, who sees it closed, the account of its light.

Instruments as a session hands them out can be looked at, but light comes through the gate alone: a shutter
opens, and a mount turns in the light, only for :class:`procedures.gate.pump.Pump` and for a calibration,
which know what that makes of the light. What is refused here is a slip, not an attack.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from labctl.model.clock import Clock, Stop
from labctl.model.errors import InstrumentError, SafetyStop, ShutterLied
from labctl.model.roles import PowerMeter, SelfClosing, Shutter, confirms
from procedures.gate.hooks import Call
from procedures.gate.safe_state import Action, make_safe, retried


@dataclass(frozen=True, slots=True)
class SafeReport:
    """What was done to each element of the beam, and what failed.

    :param shutter: such as "the shutter is closed (its sensor and the power meter behind it)".
    :param attenuator: such as "the attenuator is at its least transmission".
    :param failures: what could not be made safe, in the order in which it was tried; empty for a safe bench.
    """

    shutter: str
    attenuator: str
    failures: tuple[Exception, ...] = ()

    def __str__(self) -> str:
        """Return the sentence that is shown, without a full stop.

        >>> str(SafeReport("the shutter is closed (its sensor alone)", "the attenuator was NOT moved"))
        'the shutter is closed (its sensor alone), the attenuator was NOT moved'
        """
        return f"{self.shutter}, {self.attenuator}"


log = logging.getLogger(__name__)


class LightSensor(Protocol):
    """The spectrometer as a witness of a shutter: :class:`procedures.point.light_witness.LightWitness`."""

    saw_dark: bool

    @property
    def name(self) -> str:
        """Role and address of the spectrometer."""

    @property
    def answers(self) -> bool:
        """Whether it answered when it was asked last."""

    def knows(self) -> bool:
        """Whether it has seen the light that falls on the sample now."""

    @property
    def looking(self) -> bool:
        """Whether a look was begun that nobody has asked for yet."""

    def begin(self, stop: Stop | None = None) -> None:
        """Begin to look at the closed shutter; :meth:`light_left` then asks for it."""

    def claim(self) -> None:
        """Say that the plate is this thread's: from now on a look that was begun turns nothing itself."""

    def light_left(self, stop: Stop | None = None) -> str:
        """Look at the closed shutter; say what light is left, empty where none is."""


_HINT = "bench.pump.set_fluence(...) and bench.pump.open() check the limits"
_key = threading.local()


@contextmanager
def unlocked() -> Iterator[None]:
    """Let this thread open the shutter, or turn the plate in the light; for the gate alone."""
    before, _key.held = holds_key(), True
    try:
        yield
    finally:
        _key.held = before


def holds_key() -> bool:
    """Return whether this thread comes through the gate."""
    return bool(getattr(_key, "held", False))


class Permit:
    """A hook: anybody may close the shutter, and turn the mount in the dark.

    :param shutter: asked whether it is dark.
    """

    def __init__(self, shutter: Shutter) -> None:
        self._shutter = shutter

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        """Let a call pass.

        :raises SafetyStop: it would let light through, and it is not the gate that asks.
        """
        if not holds_key():
            if call.role == "shutter" and call.name == "open":
                raise SafetyStop(
                    f"{call.instrument} opens only onto a fluence that the gate has verified", _HINT
                )
            if call.role == "attenuator" and call.name in _TURNING and retried(self._shutter.is_open):
                raise SafetyStop(
                    f"{call.instrument} {_TURNING[call.name]} only with the shutter closed", _HINT
                )
        yield


_TURNING = {"home": "homes", "move_to": "turns"}


SELF_CLOSING_MARGIN_S = 10.0
"""Beyond twice the light that was announced: retries, renewed settings, a slow computer."""


class LightAccount:
    """Dose = sum of fluence x pulses, from the command that opens the shutter to the confirmed closing.

    The shutter's travel counts in full: the blade uncovers the spot somewhere in it.

    :param clock: the bench's clock, on which the laser fires ``repetition_rate_hz``.
    """

    def __init__(self, clock: Clock, repetition_rate_hz: float) -> None:
        self._clock, self._rate = clock, repetition_rate_hz
        self._sum = self._unseen = 0.0
        self._since_s: float | None = None
        self._dark_since_s: float | None = None
        self._fluence = 0.0
        self.on_sample = True
        """False while a blank takes the sample's place; change it in the dark only."""

    @property
    def lit(self) -> bool:
        """Whether light may pass, as far as the account knows."""
        return self._since_s is not None

    @property
    def dose_uj_cm2(self) -> float:
        """Dose so far, the present moment included."""
        return self._sum + self._running()

    def restart(self, dose_uj_cm2: float = 0.0) -> None:
        """Forget the dose: another run begins, on another spot or by the user's own decision.

        :param dose_uj_cm2: what the spot has had in earlier sessions of the same run.
        """
        self._settle()
        self._sum, self._unseen = dose_uj_cm2, 0.0
        if self._dark_since_s is not None:
            self._dark_since_s = self._clock.now_s()

    def begin(self, fluence_uj_cm2: float) -> None:
        """Count from now: the shutter is about to open."""
        self.change(fluence_uj_cm2)
        if self._since_s is None:
            self._since_s, self._dark_since_s = self._clock.now_s(), None

    def change(self, fluence_uj_cm2: float) -> None:
        """Count with another fluence from now on."""
        self._settle()
        self._count_unseen(max(self._fluence, fluence_uj_cm2))
        self._fluence = fluence_uj_cm2

    def end(self) -> None:
        """Stop counting: the shutter is confirmed closed."""
        self._settle()
        self._since_s, self._dark_since_s, self._unseen = None, self._clock.now_s(), 0.0

    def _count_unseen(self, fluence_uj_cm2: float) -> None:
        """Remember what a shutter that is open in spite of its word has let through since its closing."""
        if self._dark_since_s is not None:
            now_s = self._clock.now_s()
            self._unseen += self.light_uj_cm2(now_s - self._dark_since_s, fluence_uj_cm2)
            self._dark_since_s = now_s

    def own_up(self) -> None:
        """Count the light since the last closing, which was none."""
        self._count_unseen(self._fluence)
        self._sum, self._unseen = self._sum + self._unseen, 0.0

    def after_s(self, seconds: float, fluence_uj_cm2: float | None = None) -> float:
        """Return the dose after ``seconds`` more of a fluence, by default the present one."""
        return self.dose_uj_cm2 + self.light_uj_cm2(seconds, fluence_uj_cm2)

    def light_uj_cm2(self, seconds: float, fluence_uj_cm2: float | None = None) -> float:
        """Return the dose of ``seconds`` of a fluence, by default the present one."""
        fluence = self._fluence if fluence_uj_cm2 is None else fluence_uj_cm2
        return fluence * self._rate * seconds if self.on_sample else 0.0

    def _running(self) -> float:
        return 0.0 if self._since_s is None else self.light_uj_cm2(self._clock.now_s() - self._since_s)

    def _settle(self) -> None:
        self._sum += self._running()
        if self._since_s is not None:
            self._since_s = self._clock.now_s()


class Blade:
    """A shutter whose every change is confirmed and timed.

    :ivar proof: what confirms, besides its own word, that it has closed since it was last opened; empty until
        somebody has looked.
    :ivar lie: why its sensor is believed no more; empty while it is.
    """

    def __init__(self, shutter: Shutter, clock: Clock, account: LightAccount) -> None:
        self._shutter, self._clock, self.account = shutter, clock, account
        self._known = False
        self.lie = ""
        self._confirms = confirms(shutter)
        self.proof = self._unopened = f"{self.word}; it has not been opened"
        self.on_lie: Callable[[str], object] = lambda _reason: None
        """Told why its sensor is believed no more, before anybody else hears of it; must not raise."""
        self._closes_at_s = math.inf
        self.changed_at_s = clock.now_s()

    @property
    def lit(self) -> bool:
        """Whether light may pass: true until the shutter has confirmed that it is closed."""
        return self.account.lit or not self._known

    @property
    def name(self) -> str:
        """Role and address of the shutter."""
        return self._shutter.name

    @property
    def word(self) -> str:
        """What its own answer is worth."""
        return "its sensor" if self._confirms else "its command"

    @property
    def never_opened(self) -> bool:
        """Whether it was not opened since this began."""
        return self.proof == self._unopened

    def alone(self, why: str) -> str:
        """Say that nothing else confirms a closing, and why."""
        return f"only its sensor: {why}" if self._confirms else f"commanded, not confirmed: {why}"

    @property
    def closing(self) -> Action:
        """Closing it, as a step of making safe."""
        return Action(self.name, "closing", self.close)

    @property
    def lied(self) -> bool:
        """Whether its sensor has said "closed" while there was light behind it."""
        return bool(self.lie)

    @property
    def travel_s(self) -> float:
        """Longest time from a command to the end of the motion."""
        return self._shutter.travel_s

    def is_meant(self, error: BaseException) -> bool:
        """Return whether it is this shutter that failed, or lied."""
        failed = isinstance(error, InstrumentError) and error.instrument == self._shutter.name
        return failed or bool(self.lie)

    def distrust(self, reason: str, fluence_uj_cm2: float) -> None:
        """Believe its sensor no more: from now on it counts as open, and no closing is a success."""
        self.account.own_up()
        self.lie, self._known = reason, False
        self.account.begin(fluence_uj_cm2)
        self.on_lie(reason)

    def close(self) -> None:
        """Close. A shutter that failed is not tried again here: the attenuator comes first.

        :raises SafetyStop: the shutter does not confirm it.
        """
        was_lit, self._known = self.lit, False  # until it confirms, it may be open
        self._shutter.close_beam()
        if self.lie:
            raise ShutterLied(self.lie, "block the beam manually")
        if retried(self._shutter.is_open):
            raise SafetyStop(
                f"{self._shutter.name} does not confirm that it is closed", "block the beam manually"
            )
        if was_lit:
            self.changed_at_s = self._clock.now_s()
        self._known = True
        self.account.end()

    def keep_closed(self) -> None:
        """Close, if it is not known to be closed and says so; a confirmed closing is not made twice.

        :raises SafetyStop: the shutter does not confirm it.
        """
        if self.lie or self.lit or retried(self._shutter.is_open):
            self.close()

    def lasts(self, seconds: float) -> bool:
        """Return whether it stays open for ``seconds`` more, as far as its own clock goes."""
        return self._clock.now_s() + seconds <= self._closes_at_s

    def open(self, fluence_uj_cm2: float, seconds: float = 0.0, *, asked_later: bool = False) -> None:
        """Open onto a fluence, for about ``seconds``; 0 for nobody knows how long.

        The driver returns once the device has confirmed it. It is asked again here, unless ``asked_later``.

        A shutter that can close itself does so when twice that time and a margin have passed: whatever has
        become of this program, of its watchdog and of the system, the light then ends.

        :raises SafetyStop: the shutter does not confirm it.
        """
        self.account.begin(fluence_uj_cm2)
        self.proof = ""
        shutter, self._closes_at_s = self._shutter, math.inf
        if seconds > 0 and isinstance(shutter, SelfClosing) and shutter.self_closing:
            within_s = 2 * seconds + SELF_CLOSING_MARGIN_S
            self._closes_at_s = self._clock.now_s() + within_s
            with unlocked():
                shutter.open(within_s)
        else:
            with unlocked():
                shutter.open()
        if not asked_later:
            self.require_open()
        self.changed_at_s = self._clock.now_s()

    def require_closed(self) -> None:
        """Make sure that nobody else has opened it since it was confirmed closed: by its panel, by a trigger.

        :raises SafetyStop: it is open, and counts as such from now on.
        """
        if not self.lit and retried(self._shutter.is_open):
            self._known, self.proof = False, ""
            raise SafetyStop(
                f"{self._shutter.name} is open when it should be closed", "check its panel and interlock"
            )

    def require_open(self) -> None:
        """Make sure that nobody else has closed it.

        :raises SafetyStop: it is closed.
        """
        if not retried(self._shutter.is_open):
            raise SafetyStop(
                f"{self._shutter.name} is closed when it should be open", "check its panel and interlock"
            )


LOOK_S = 2.0
"""Wall time, beyond twice its settling, that a meter has for its word on the last closing."""
EYE_S = 8.0
"""Wall time that the spectrometer has for its word on it."""


class Witness:
    """Who sees whether "closed" is true: a power meter that stands behind the shutter, and the spectrometer.

    :param light_left: says what light the meter still sees, "" for none; None where it stands in front.
    :param fluence_uj_cm2: what falls on the sample should the shutter be open.
    :ivar eye: the spectrometer; None where nobody uses it.
    :ivar said: what confirmed the closing that :meth:`closed` came to.
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
        self.eye: LightSensor | None = None
        self.said = ""

    def prove(self, stop: Stop | None) -> None:
        """Have the closing that came last confirmed, if that was not done yet.

        :raises SafetyStop: there is light behind the shutter: from now on it counts as open.
        :raises InstrumentError: an instrument that should look says nothing.
        """
        if self._blade.proof:
            return
        self.look_all(stop)
        self._blade.proof = self._proof(by_meter=self._light_left is not None)

    def begin(self, stop: Stop | None) -> None:
        """Have the spectrometer begin to look; a meter behind the shutter has to look itself, and first."""
        if self.eye is not None and self._light_left is None and not self._blade.lit:
            self.eye.begin(stop)

    @property
    def looking(self) -> bool:
        """Whether such a look is still to be asked for, before light passes."""
        return self.eye is not None and self.eye.looking

    def claim(self) -> None:
        """Have the plate for this thread alone: such a look turns nothing itself from now on."""
        if self.eye is not None:
            self.eye.claim()

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
            reason = f"the shutter reports closed, but {seen}"
            self._blade.distrust(reason, self._fluence_uj_cm2())
            raise ShutterLied(reason, "block the beam manually, then check the shutter blade and its sensor")

    def closed(self) -> Sequence[Exception]:
        """Close the shutter and have that confirmed, by whom :attr:`said` says; a step of making safe."""
        failures: Sequence[Exception] = make_safe(self._blade.closing)
        if not failures:
            self.said, failures = self._word()
        return failures

    def _word(self) -> tuple[str, list[Exception]]:
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
            return self._blade.alone("the power meter behind it gives no reading"), []
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
            return self._blade.alone("there is no power meter behind it")
        return f"{self._blade.word} and {' and '.join(seers)} behind it"


def _asked(name: str, look: Callable[[Stop | None], str], deadline_s: float) -> tuple[str, str]:
    """Have somebody look at the closed shutter; return what was seen, and why nobody looked; never raises."""
    seen, late = list[str](), threading.Event()
    action = Action(name, "the check of the closed shutter", lambda: seen.append(look(late)))
    failed = make_safe(action, deadline_s=deadline_s)
    late.set()
    if failed:
        log.warning("%s has not confirmed that the shutter is closed: %s", name, failed[0])
    return (seen[0] if seen else ""), (str(failed[0]) if failed else "")
