"""Exposures that belong to the present setting, and to no earlier one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

from labctl.model.clock import Clock, Stop
from labctl.model.errors import InstrumentError, InstrumentFault
from labctl.model.records import Spectrum
from labctl.model.roles import Spectrometer
from procedures.gate.safe_state import retried
from procedures.point.plausible import Likeness, Pace, Proof

log = logging.getLogger(__name__)

_MOST_STALE = 8


class StaleFrameFilter:
    """A spectrometer whose exposures began after the last confirmed change of light or exposure time.

    Two rules, both needed. Start time: an exposure that may have begun earlier is dropped. First one: after
    any change one exposure is dropped whatever its time stamp says, since devices hand out one that was
    already under way or already read.

    :param changed_at_s: bench time of the last confirmed change of the light.
    :param allow: asked before every exposure, dropped ones included, with its seconds; may raise.
    """

    def __init__(
        self,
        device: Spectrometer,
        clock: Clock,
        changed_at_s: Callable[[], float],
        allow: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self.device, self._clock = device, clock
        self._light_changed_at_s, self._allow = changed_at_s, allow
        self._own_change_s = clock.now_s()
        self._served_change_s = -1.0
        self.integration_s: float | None = None
        self.discarded = 0
        self._pace, self._likeness = Pace(clock), Likeness(device.info.max_counts)
        self.seen: Callable[[Spectrum], object] = lambda _spectrum: None
        """Told every exposure that is handed out."""
        self.answers = True
        """Whether there was an exposure when one was asked for last."""
        self._proves = False
        """Whether who uses it proves what is in doubt: a busy computer's times then end nothing."""

    def set_integration(self, seconds: float) -> float:
        """Set the exposure time if it is another one; return the one the device confirmed."""
        if self.integration_s is None or abs(self.integration_s - seconds) > 1e-9:
            self.integration_s = retried(lambda: self.device.set_integration(seconds))
            self._own_change_s = self._clock.now_s()
        return self.integration_s

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure that began after the last change.

        A spectrometer that has lost its exposure time, by a restart, is given it again, once. A time-out is
        not waited for a second time: there may be light, and whoever repeats makes it dark first.

        :raises InstrumentError: the spectrometer delivers only old exposures, or of another exposure time.
        """
        may_set_again = True
        for _ in range(_MOST_STALE):
            changed = max(self._own_change_s, self._light_changed_at_s())
            self._allow(self.integration_s or 0.0)
            spectrum = self._acquired(stop)
            if may_set_again and self._lost_its_time(spectrum):
                may_set_again = False
                continue
            first, self._served_change_s = self._served_change_s != changed, changed
            if self._refused(spectrum, first=first):
                self.discarded += 1
                continue
            if not first and spectrum.start_s >= changed:
                self.seen(self._checked(spectrum))
                return spectrum
            self.discarded += 1
        raise InstrumentError(
            self.device.name,
            f"{_MOST_STALE} exposures in a row began before the last change, or came twice",
        )

    @property
    def doubtful(self) -> bool:
        """Whether exposures have come at times that only a proof explains."""
        return self._pace.judge()

    def prove(self, stop: Stop | None = None) -> None:
        """Find out how long exposures really last; call it behind the closed shutter.

        :raises InstrumentFault: they last for another time than the device confirms.
        """
        info = self.device.info
        bounds_s = (info.integration_min_s, info.integration_max_s)
        proof = Proof(
            self.set_integration, lambda count: self._arrivals(count, stop), self._clock.speed, bounds_s
        )
        self._pace.interrupted()
        self._proves = proof.possible
        if wrong := proof.wrong():
            raise InstrumentFault(self.device.name, wrong, "switch it off and on")
        self._pace.doubt, self._pace.excess_s = False, proof.excess_s

    def _arrivals(self, count: int, stop: Stop | None) -> list[float]:
        """Take exposures that nobody judges, the first two for nothing; return the intervals between them."""
        at_s = []
        for _ in range(count + 2):
            self._allow(self.integration_s or 0.0)
            spectrum = self._acquired(stop)
            at_s.append(spectrum.stop_s)
            if self._lost_its_time(spectrum) and len(at_s) > 1:
                raise InstrumentError(self.device.name, "lost its exposure time while that was proved")
        return [after - before for before, after in itertools.pairwise(at_s[1:])]

    def _refused(self, spectrum: Spectrum, *, first: bool) -> bool:
        """Return whether an exposure is the one before once more.

        :raises InstrumentFault: exposures come faster or more slowly than their time allows, and nobody
            proves it in the dark.
        """
        if first:
            self._pace.interrupted()
        if wrong := self._pace.wrong(spectrum):
            if not self._proves:
                raise InstrumentFault(self.device.name, wrong, "switch it off and on")
            log.info("%s: %s; that is proved in the dark", self.device.name, wrong)
            self._pace.doubt = True
        again = self._likeness.repeats(spectrum.counts, changed=first)
        if again:
            log.warning("%s: an exposure repeats the one before but for a few bits", self.device.name)
        return again

    def _acquired(self, stop: Stop | None) -> Spectrum:
        try:
            spectrum = self.device.acquire(stop)
        except InstrumentError:
            self.answers = False
            raise
        self.answers = True
        return spectrum

    def _lost_its_time(self, spectrum: Spectrum) -> bool:
        """Set the exposure time again if a spectrum has another one; return whether it had."""
        wanted = self.integration_s
        if wanted is None or _equal(spectrum.integration_s, wanted):
            return False
        log.warning(
            "%s: an exposure of %g s instead of %g s; it is set again, as after a restart",
            self.device.name,
            spectrum.integration_s,
            wanted,
        )
        self.integration_s = None
        self.set_integration(wanted)
        return True

    def _checked(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum, if it has the pixels and the exposure time that it should have."""
        pixels = self.device.info.wavelength_nm.size
        if spectrum.counts.shape != (pixels,):
            raise InstrumentError(self.device.name, f"{spectrum.counts.shape} counts for {pixels} pixels")
        wanted = self.integration_s
        if wanted is not None and not _equal(spectrum.integration_s, wanted):
            raise InstrumentError(
                self.device.name, f"an exposure of {spectrum.integration_s:g} s instead of {wanted:g} s"
            )
        return spectrum

    def temperature_c(self) -> float | None:
        """Detector temperature, None where the device cannot tell."""
        return retried(self.device.temperature_c)


def _equal(seconds: float, wanted_s: float) -> bool:
    return abs(seconds - wanted_s) <= 1e-6 + 1e-3 * wanted_s
