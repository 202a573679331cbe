"""The roles of a bench, wrapped so that working with them is a sign of life and light is announced first."""

from __future__ import annotations

from dataclasses import dataclass

from labctl.model.clock import Clock, Stop
from labctl.model.delegate import (
    DelegateAttenuator,
    DelegatePowerMeter,
    DelegateShutter,
    DelegateSpectrometer,
)
from labctl.model.errors import Aborted
from labctl.model.records import PowerReading, Spectrum
from labctl.model.roles import Attenuator, Heard, PowerMeter, Roles, Shutter, Spectrometer
from labctl.session.deadman import DeadMan
from labctl.session.watchdog_calls import CALL_S, End, Life, Polled, Watched
from labctl.session.watchdog_optional import WatchedStage, WatchedThermometer


class Nobody:
    """The watchdog of a bench that has none."""

    def beat(self, busy_s: float = 0.0) -> None:
        """Ignore."""

    def require(self) -> None:
        """Require nothing."""

    def consent(self, busy_s: float = 0.0) -> None:
        """Consent."""

    def light(self) -> None:
        """Ignore."""

    def dark(self) -> None:
        """Ignore."""

    def referenced(self, known: bool) -> None:
        """Ignore."""

    def trouble(self) -> str:
        """Know of none."""
        return ""

    def forgive(self) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The end of the program, and of the light that a thread waits in."""

    end: End
    deadman: DeadMan

    @property
    def asked(self) -> bool:
        """Whether no shutter may open any more."""
        return self.end.asked

    def is_set(self) -> bool:
        """Return whether a wait shall end."""
        return self.deadman.given_up() or self.end.is_set()


def watched(roles: Roles, life: Life, end: End, deadman: DeadMan | None = None) -> Roles:
    """Return the same instruments and clock, wrapped.

    :param end: looked at wherever a stop flag is.
    :param deadman: told of every reading and exposure; it passes signs of life on to ``life``.
    """
    if deadman is not None:
        life, end = deadman, Ends(end, deadman)
    return Roles(
        attenuator=WatchedAttenuator(roles.attenuator, life, end),
        power_meter=WatchedPowerMeter(roles.power_meter, life, end, deadman),
        spectrometer=WatchedSpectrometer(roles.spectrometer, life, end, deadman),
        shutter=WatchedShutter(roles.shutter, life, end),
        clock=WatchedClock(roles.clock, life, end),
        stage=roles.stage and WatchedStage(roles.stage, life, end),
        thermometer=roles.thermometer and WatchedThermometer(roles.thermometer, life, end),
        watch=deadman,
    )


class WatchedClock:
    """A clock; to wait on it is a sign of life, again and again."""

    def __init__(self, clock: Clock, life: Life, end: Stop) -> None:
        self._clock, self._life, self._end = clock, life, end

    @property
    def speed(self) -> float:
        """Its seconds in a second of wall time."""
        return self._clock.speed

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""
        return self._clock.now_s()

    def sleep(self, seconds: float, stop: Stop | None = None) -> None:
        """Wait; raises :class:`Aborted` when ``stop`` is set.

        :raises SafetyStop: light may pass, and nobody watches any more.
        """
        self._life.require()
        try:
            self._clock.sleep(seconds, Polled(stop, self._life, self._end))
        except Aborted:
            self._life.require()  # it may be light that was ended, not the user
            raise


class WatchedAttenuator(Watched[Attenuator], DelegateAttenuator):
    """An attenuator."""

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted, and let the watchdog know."""
        known = super().is_referenced()
        self._life.referenced(known)
        return known

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference."""
        self._life.referenced(False)
        super().home(stop)


class WatchedPowerMeter(Watched[PowerMeter], DelegatePowerMeter):
    """A power meter; it reads light only while that is watched, and is what watches it."""

    def __init__(self, device: PowerMeter, life: Life, end: End, deadman: DeadMan | None = None) -> None:
        super().__init__(device, life, end)
        self._deadman = deadman

    def read(self, count: int = 1, stop: Stop | None = None, heard: Heard | None = None) -> PowerReading:
        """Take readings; each that comes is one of the deadman's.

        :raises SafetyStop: light may pass, and nobody watches any more.
        :raises LightUnwatched: in the light none came in time.
        """
        self._life.require()
        if self._deadman is None:
            return super().read(count, stop, heard)
        with self._deadman.reading(self.name, count) as came:

            def one(power_w: float) -> None:
                came()
                if heard is not None:
                    heard(power_w)

            return super().read(count, stop, one)


class WatchedSpectrometer(Watched[Spectrometer], DelegateSpectrometer):
    """A spectrometer; it exposes light only while that is watched."""

    def __init__(self, device: Spectrometer, life: Life, end: End, deadman: DeadMan | None = None) -> None:
        super().__init__(device, life, end)
        self._deadman = deadman
        self._integration_s = 0.0

    def set_integration(self, seconds: float) -> float:
        """Set the integration time; return the one the device confirms."""
        self._integration_s = super().set_integration(seconds)
        return self._integration_s

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure.

        :raises SafetyStop: light may pass, and nobody watches any more.
        :raises LightUnwatched: in the light it did not come in time.
        """
        self._life.require()
        if self._deadman is None:
            return super().acquire(stop)
        with self._deadman.exposing(self.name, self._integration_s):
            return super().acquire(stop)


class WatchedShutter(Watched[Shutter], DelegateShutter):
    """A shutter that opens only while somebody watches. Its own driver keeps it safe for two threads."""

    def open(self, within_s: float | None = None) -> None:
        """Open, once the watchdog has said that it watches.

        :raises SafetyStop: nobody watches.
        :raises Aborted: the program is ending.
        """
        if self._end.asked:
            raise Aborted
        self._life.consent(CALL_S)
        super().open(within_s)
        self._life.light()  # once more: another thread may have closed it in between

    def close_beam(self) -> None:
        """Close; once that is confirmed, no signs of life are owed."""
        super().close_beam()
        self._life.dark()
