"""Exposures that cannot be what the spectrometer says: too early, too late, or the last one again."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray, Spectrum

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
        return f"exposures of {seconds:g} s come every {took:.3g} s: it integrates for less than it confirms"

    def _late(self) -> str:
        seconds, took = self._latest[-1]
        long = [t - s for s, t in self._latest if s == seconds][-2:]
        short = [t - s for s, t in self._latest if s <= _SHORT * seconds][-4:]
        if len(long) < 2 or len(short) < 2:
            return ""
        allowed = _LATE * seconds + _LATE_BY_LOAD * max(float(np.median(short)), 0.0) + self._slack_s
        if min(long) <= allowed:
            return ""
        return f"exposures of {seconds:g} s come every {took:.3g} s: it integrates for more than it confirms"


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
        return f"{takes}: it integrates for {kind} than it confirms"

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
