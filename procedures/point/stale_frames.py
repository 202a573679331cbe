"""Exposures that belong to the present setting, and to no earlier one."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable

import numpy as np

from labctl.model.clock import Clock, Stop
from labctl.model.errors import InstrumentError, InstrumentFault
from labctl.model.records import FloatArray, Spectrum
from labctl.model.roles import Spectrometer
from procedures.gate.safe_state import retried

_EARLY, _LATE = 0.8, 0.3
"""Of the exposure time: the shortest interval from one exposure to the next; the longest excess of it."""
_IN_STORE = 0.25
"""An answer sooner than this part of the time may have lain in store; three in a row have not."""
_LATE_BY_LOAD = 3.0
"""Excess of a long exposure over that of short ones, which a busy computer and the transport make."""
_SLACK_S = 0.1
"""Wall time by which a busy computer delays an answer."""
_JITTER_S, _JITTER_ONE_S = 0.004, 0.03
"""Wall time by which it delays every one of some answers, and a single one: more is a doubt, and no proof."""
_SOME_ANSWERS = 3
_ROUNDING_S = 0.02
"""Bench time by which intervals differ all the same; a clock that is stepped knows of no load."""
_SHORT = 0.25
"""Part of an exposure time that makes another one short beside it."""

PROOF_S, _PROOF_WALL_S, _LEAST_PROOF_WALL_S = 0.2, 0.1, 0.02
"""A proof's exposure in bench time and in wall time, at least; one shorter than the last proves nothing."""
_PROOF_FRAMES, _PROOF_ROUNDS = 5, 3
_PROVED, _TOLERATED = (0.9, 1.15), (0.75, 1.35)
"""Bounds of the time that an exposure really takes, over what was set: in any round; in the last one."""

WARMTH_S = 10.0
"""Age, in bench time, of a detector temperature that is not asked for again: it changes slowly."""

SAME = 0.9
"""Part of the pixels that show the very count of the exposure before, in one that repeats it."""
_LIVELY = 0.5
"""Where less than this part is the same, the noise is beyond rounding."""
_BRIGHT = 0.3
_LEAST_PIXELS = 30
_MANY, _SOME = 6, 2
"""Exposures in a row like the one before, and changes of light or exposure time among them, that no quiet
detector explains."""


class Pace:
    """Holds the times at which exposures arrive against the exposure time, on the bench's clock.

    :ivar doubt: whether exposures have come in a way that only :class:`Proof` tells from a busy computer's.
    """

    def __init__(self, clock: Clock) -> None:
        self._speed = clock.speed
        self._slack_s = max(_SLACK_S * clock.speed, _ROUNDING_S)
        self._before: tuple[float, float] | None = None
        self._latest: deque[tuple[float, float]] = deque(maxlen=64)
        self._run: list[float] = []
        self.doubt = False
        self.excess_s = 0.0
        """What an exposure takes beyond its time, as it was proved."""

    def interrupted(self) -> None:
        """Take note that exposure time or light has changed: the next interval says nothing."""
        self.judge()
        self._before, self._run = None, []

    def judge(self) -> bool:
        """Judge the exposures since the last change, too; return whether there is a doubt."""
        if self._before is not None and self._run:
            seconds, few = self._before[0], len(self._run) < _SOME_ANSWERS
            jitter_s = max((_JITTER_ONE_S if few else _JITTER_S) * self._speed, _ROUNDING_S)
            # An answer that comes late makes one interval long and the next one short: no matter to a median.
            took = float(np.median(self._run))
            late = took - seconds > _LATE * seconds + _LATE_BY_LOAD * self.excess_s + jitter_s
            early = not few and took < _EARLY * seconds
            self.doubt = self.doubt or late or early
        return self.doubt

    def wrong(self, spectrum: Spectrum) -> str:
        """Return what is wrong with the times of this exposure and the ones before, "" for nothing."""
        before, self._before = self._before, (spectrum.integration_s, spectrum.stop_s)
        if before is None or before[0] != spectrum.integration_s:
            return ""
        self._run.append(spectrum.stop_s - before[1])
        self._latest.append((spectrum.integration_s, self._run[-1]))
        text = self._early() or self._late()
        if text:  # what is repeated is judged anew
            others = [each for each in self._latest if each[0] != spectrum.integration_s]
            self._latest = deque(others, self._latest.maxlen)
        return text

    def _early(self) -> str:
        run = list(itertools.takewhile(lambda each: each[1] < _EARLY * each[0], reversed(self._latest)))
        missing_s = sum(seconds - took for seconds, took in run)
        stored = any(took < _IN_STORE * seconds for seconds, took in run[:2])
        if len(run) < (3 if stored else 2) or missing_s <= self._slack_s:
            return ""
        seconds, took = run[0]
        return f"exposures of {seconds:g} s come every {took:.3g} s: it integrates less time than it confirms"

    def _late(self) -> str:
        seconds, took = self._latest[-1]
        long = [t - s for s, t in self._latest if s == seconds][-2:]
        short = [t - s for s, t in self._latest if s <= _SHORT * seconds][-4:]
        if len(long) < 2 or len(short) < 2:
            return ""
        allowed = _LATE * seconds + _LATE_BY_LOAD * max(float(np.median(short)), 0.0) + self._slack_s
        if min(long) <= allowed:
            return ""
        return f"exposures of {seconds:g} s come every {took:.3g} s: it integrates more time than it confirms"


class Proof:
    """Finds out, in the dark, how long exposures really last: some short ones, and some long ones beside.

    A busy computer delays some answers, which matters the less the longer the exposures are: where a round
    does not clear it, the next one's are twice as long.

    :param set_time: sets an exposure time and returns the one confirmed. :param arrivals: takes so many
        exposures in a row, after one that is thrown away, and returns the intervals from one to the next, s.
    :param bounds_s: shortest and longest exposure time of the device.
    """

    def __init__(
        self,
        set_time: Callable[[float], float],
        arrivals: Callable[[int], list[float]],
        speed: float,
        bounds_s: tuple[float, float],
    ) -> None:
        self._set_time, self._arrivals = set_time, arrivals
        self._longest_s = bounds_s[1]
        self._long_s = min(max(PROOF_S, _PROOF_WALL_S * speed, 5 * bounds_s[0]), self._longest_s)
        self._short_s = max(bounds_s[0], self._long_s / 50)
        self.possible = self._long_s >= max(2 * self._short_s, _LEAST_PROOF_WALL_S * speed)
        self.excess_s = 0.0

    def wrong(self) -> str:
        """Return what is wrong, "" for nothing."""
        if not self.possible:
            return ""
        for number in range(_PROOF_ROUNDS):
            took = self._round(long_s := min(self._long_s * 2**number, self._longest_s))
            if _PROVED[0] <= took <= _PROVED[1]:
                return ""
        if _TOLERATED[0] <= took <= _TOLERATED[1]:
            return ""
        kind = "more" if took > 1 else "less"
        takes = f"exposures of {long_s:g} s take {took:.2g} times that"
        return f"{takes}: it integrates {kind} time than it confirms"

    def _round(self, long_s: float) -> float:
        short_s = self._set_time(self._short_s)
        short = float(np.median(self._arrivals(_PROOF_FRAMES)))
        self.excess_s = max(short - short_s, 0.0)
        long_s = self._set_time(long_s)
        took = float(np.median(self._arrivals(_PROOF_FRAMES)))
        if took < _PROVED[0] * long_s:
            return took / long_s
        # What each takes beside its time is the same for both: it falls out.
        return max((took - short) / (long_s - short_s), _PROVED[0])


class Likeness:
    """Finds exposures that repeat the one before but for a few pixels, which noise never does.

    Noise is known once two exposures have differed in most pixels; in the dark and in the light for itself,
    since a quiet detector may well show the same dark again. Where the light has changed in between, its
    bright pixels cannot have stayed the same; and where it has changed more than once, nothing can have.

    :param max_counts: full scale.
    """

    def __init__(self, max_counts: float) -> None:
        self._full = 0.98 * max_counts
        self._before: FloatArray | None = None
        self._lively: set[bool] = set()
        self._alike = self._changes = 0

    def repeats(self, counts: FloatArray, *, changed: bool) -> bool:
        """Return whether it repeats the exposure before; shape ``(pixel,)``.

        :param changed: whether light or exposure time have changed in between.
        """
        before, self._before = self._before, counts
        if before is None or before.shape != counts.shape:
            return False
        telling = (counts < self._full) & (before < self._full)
        if telling.sum() < _LEAST_PIXELS:
            return False
        low, high = np.percentile(counts[telling], (10, 99))
        lit, same = bool(high - low > 100.0), float(np.mean(counts[telling] == before[telling]))
        if same < SAME:
            self._alike = self._changes = 0
        else:
            self._alike, self._changes = self._alike + 1, self._changes + changed
        if self._alike >= _MANY and self._changes >= _SOME:
            return True
        if same < _LIVELY and not changed:
            self._lively.add(lit)
        if same >= SAME and lit in self._lively:
            return True
        bright = telling & (counts > low + _BRIGHT * (high - low))
        enough = lit and changed and bright.sum() >= _LEAST_PIXELS
        return enough and float(np.mean(counts[bright] == before[bright])) >= SAME


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
        self._asked_s = 0.0
        self._warmth: tuple[float, float | None] | None = None
        self.discarded = 0
        self._pace, self._likeness = Pace(clock), Likeness(device.info.max_counts)
        self.seen: Callable[[Spectrum], object] = lambda _spectrum: None
        """Told every exposure that is handed out."""
        self.answers = True
        """Whether there was an exposure when one was asked for last."""
        self._proves = False
        """Whether who uses it proves what is in doubt: a busy computer's times then end nothing."""

    def set_integration(self, seconds: float) -> float:
        """Set the exposure time if it is another one; return the one the device confirmed.

        A device that counts in whole milliseconds confirms another time than the one asked for.
        """
        kept = self.integration_s
        if kept is None or min(abs(kept - seconds), abs(self._asked_s - seconds)) > 1e-9:
            kept = self.integration_s = retried(lambda: self.device.set_integration(seconds))
            self._asked_s = seconds
            self._own_change_s = self._clock.now_s()
        return kept

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
            f"{_MOST_STALE} exposures in a row began before the last change, or were repeated",
        )

    def pause(self) -> None:
        """Take note that no exposure was asked for lately: the time to the next one says nothing."""
        self._pace.interrupted()

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
            raise InstrumentFault(self.device.name, wrong, "power-cycle it")
        self._pace.doubt, self._pace.excess_s = False, proof.excess_s

    def _arrivals(self, count: int, stop: Stop | None) -> list[float]:
        """Take exposures that nobody judges, the first two for nothing; return the intervals between them."""
        at_s = []
        for _ in range(count + 2):
            self._allow(self.integration_s or 0.0)
            spectrum = self._acquired(stop)
            at_s.append(spectrum.stop_s)
            if self._lost_its_time(spectrum) and len(at_s) > 1:
                raise InstrumentError(self.device.name, "lost its exposure time during the check of it")
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
                raise InstrumentFault(self.device.name, wrong, "power-cycle it")
            log.info("%s: %s; checking this in the dark", self.device.name, wrong)
            self._pace.doubt = True
        again = self._likeness.repeats(spectrum.counts, changed=first)
        if again:
            log.warning("%s: an exposure repeats the previous one except for a few bits", self.device.name)
        return again

    def _acquired(self, stop: Stop | None) -> Spectrum:
        try:
            spectrum = self.device.acquire(stop)
        except InstrumentError:
            self.answers = False
            self.integration_s = None  # what it was told counts for nothing: it may have been opened anew
            self._warmth = None
            raise
        self.answers = True
        return spectrum

    def _lost_its_time(self, spectrum: Spectrum) -> bool:
        """Set the exposure time again if a spectrum has another one; return whether it had."""
        wanted = self.integration_s
        if wanted is None or _equal(spectrum.integration_s, wanted):
            return False
        log.warning(
            "%s: an exposure of %g s instead of %g s; setting it again, as after a restart",
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
        """Detector temperature, not older than 10 s; None where the device cannot tell."""
        now_s = self._clock.now_s()
        if self._warmth is None or now_s - self._warmth[0] > WARMTH_S:
            self._warmth = None
            self._warmth = now_s, retried(self.device.temperature_c)
        return self._warmth[1]


def _equal(seconds: float, wanted_s: float) -> bool:
    return abs(seconds - wanted_s) <= 1e-6 + 1e-3 * wanted_s
