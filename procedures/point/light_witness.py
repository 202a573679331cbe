"""The spectrometer, which stands behind the shutter in every layout, as a witness of its closings.

A shutter that is open in spite of its word shows what the last exposure in the light showed. That light is
the pattern that is looked for in every frame of the dark; no pattern is known before the first light. What is
found must stay, and must follow the attenuator: an afterglow fades, a lamp in the room does not care.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labctl.model.clock import Clock, Stop
from labctl.model.errors import Aborted, InstrumentError
from labctl.model.records import FloatArray, Spectrum
from procedures.point.beside import Beside
from procedures.point.stale_frames import StaleFrameFilter

if TYPE_CHECKING:
    from procedures.gate.pump import Pump

log = logging.getLogger(__name__)

SHOWN = 0.1
"""Part of the light just seen that must not be left in the dark."""
_CLEAN = 0.05
"""A frame with less than this part of it, surely, is a dark to compare with."""
_SURE, _LOOK = 5.0, 3.5
"""Standard errors that make a part of the light more than chance; those of a tenth of it in one look."""
_PLAIN = 15.0
"""Standard errors of a light that one frame shows well enough to be followed."""
_BLOCKS = 64
"""Parts of the axis, each with one median: laser lines, hot pixels and cosmic spikes leave no trace in it."""
_LEAST_BLOCKS = 3
"""Of light, that make a pattern: one or two may be hot."""
_LINES = 4.0
"""A block that is so much brighter than the typical lit one holds laser lines, which half a beam lacks."""
_LEAST_SIGMA = 0.3
"""Noise of a block's median in counts, at least: that of rounding."""
_STANDS_OUT = 3.0
"""Standard errors by which a block's light must stand out to count."""
_SMOOTHED, _SMOOTH_SURE = 9, 6.0
"""Blocks that are taken together to find any light at all, and its standard errors then."""
_MOST_FRAMES, _MOST_LIGHTS, _FRAMES = 8, 16, 4
_HALF = (0.3, 0.75)
"""Fluences over the present one at which a film shows what half the beam would make of it."""
_STEPS = (1, 2, 3, 5)
_LEAST_PULSES = 2
"""Of an exposure that is not locked to the laser, so that it surely holds one."""
_STRANGE = 4.0
"""Noise of the dark that is left, at most, beside the light that was looked for."""
_WAIT_S = 0.4
_STEADY = 0.8
"""Part of the light that is still there after the wait, unless it fades."""
_TELLING, _MOSTLY = 0.6, 0.5
"""Where the attenuator leaves more than this, it tells nothing: then most of the light must be there."""
DARK_LOOK_S = 10.0
"""From one look at a shutter that stays closed to the next."""
_MOST_LOOKS = 25
_MOST_DARKS = 16
_UNASKED_S, _ASKED_S = 3.0, 30.0
"""Wall time after which a look judges for itself; for which its end is waited for."""


@dataclass(frozen=True, slots=True)
class _Light:
    """The last exposures in the light, averaged: medians of blocks, and the fluence they were taken at."""

    blocks: FloatArray
    integration_s: float
    fluence_uj_cm2: float
    count: int = 1

    def with_(self, blocks: FloatArray) -> _Light:
        """Take in one more exposure of the same light."""
        count = min(self.count + 1, _MOST_FRAMES)
        return replace(self, blocks=self.blocks + (blocks - self.blocks) / count, count=count)


@dataclass(frozen=True, slots=True)
class Finding:
    """Which part of the light that an open shutter would make is in a frame, with its standard error."""

    part: float
    sigma: float
    pattern: FloatArray | None = None
    """The light that was looked for, counts per second in each block."""
    strange: bool = False
    """Whether the frame holds more than that light and noise: what it is says nothing for or against it."""

    @property
    def shown(self) -> bool:
        """Whether that is more than the dark may hold, and more than chance."""
        return self.part > max(SHOWN, _SURE * self.sigma)

    @property
    def clean(self) -> bool:
        """Whether the frame surely holds next to none of it."""
        return abs(self.part) < _CLEAN and self.sigma < _CLEAN / 2


class LightWitness:
    """Remembers the light and looks for it in the dark.

    :param fresh: tells every exposure it hands out to :meth:`took`.
    :param triggered: whether exposures begin with a pulse.
    """

    def __init__(self, fresh: StaleFrameFilter, pump: Pump, clock: Clock, *, triggered: bool = False) -> None:
        self._fresh, self._pump, self._clock = fresh, pump, clock
        self._rate_hz = pump.settings.repetition_rate_hz
        self._order, self._triggered = pump.settings.photon_order, triggered
        self._lights: deque[_Light] = deque(maxlen=_MOST_LIGHTS)
        self._darks: dict[float, FloatArray] = {}
        self._latest: FloatArray = np.zeros(0)
        self._begun: Beside[Spectrum] | None = None
        self._asked, self._unasked = threading.Event(), threading.Lock()
        self._least_uj_cm2, self._from_deg = math.inf, 0.0
        self._told = False
        self.looks = 0
        """Exposures that were taken to look at the closed shutter."""
        self.saw_dark = False
        """Whether the last look would have shown a shutter that is open, and did not."""
        fresh.seen = self.took

    @property
    def name(self) -> str:
        """Role and address of the spectrometer."""
        return self._fresh.device.name

    @property
    def answers(self) -> bool:
        """Whether the spectrometer answered when it was asked last."""
        return self._fresh.answers

    # --- what is remembered ------------------------------------------------------------------------

    def took(self, spectrum: Spectrum) -> None:
        """Remember an exposure in the light."""
        if not self._pump.light.lit:
            return
        now, last = self._pump.expected_uj_cm2, self._lights[-1] if self._lights else None
        blocks, seconds = _medians(spectrum.counts), spectrum.integration_s
        same = last is not None and abs(now / last.fluence_uj_cm2 - 1) < SHOWN
        if last is not None and same and last.integration_s == seconds:
            self._lights[-1] = last.with_(blocks)
        else:
            self._lights.append(_Light(blocks, seconds, now))

    @property
    def _expected_uj_cm2(self) -> float:
        """Fluence should light pass; of a look in which the plate has turned, the lowest."""
        return min(self._pump.expected_uj_cm2, self._least_uj_cm2)

    @property
    def _light(self) -> _Light | None:
        """What was seen last of a light like the present one, else the nearest weaker, else the nearest."""
        now = self._expected_uj_cm2
        best, least = None, (True, math.inf)
        for light in reversed(self._lights):
            off = light.fluence_uj_cm2 / now
            strange = off > 1 + SHOWN, max(abs(math.log(off)), SHOWN)
            if strange < least:
                best, least = light, strange
        return best

    def knows(self) -> bool:
        """Whether it has seen the light that falls on the sample now."""
        light = self._light
        return light is not None and abs(self._expected_uj_cm2 / light.fluence_uj_cm2 - 1) < SHOWN

    def accept(self, counts: FloatArray, integration_s: float) -> None:
        """Take a frame for a dark: what light it shows was found to be none that passes the shutter."""
        self._remember(_medians(counts), integration_s)

    def _remember(self, blocks: FloatArray, integration_s: float) -> None:
        self._darks.pop(integration_s, None)
        self._darks[integration_s] = blocks
        if len(self._darks) > _MOST_DARKS:
            del self._darks[next(iter(self._darks))]

    def _dark(self, integration_s: float) -> FloatArray | float:
        """Return what the dark shows in an exposure time: as measured, or from others; 0 if unknown."""
        if integration_s in self._darks:
            return self._darks[integration_s]
        times = sorted(self._darks, key=lambda t: abs(math.log(t / integration_s)))
        if not times:
            return 0.0
        near = self._darks[times[0]]
        if len(times) < 2:
            return near
        per_s = (self._darks[times[1]] - near) / (times[1] - times[0])
        return np.asarray(near + per_s * (integration_s - times[0]))

    # --- judging -----------------------------------------------------------------------------------

    def judged(self, counts: FloatArray, integration_s: float) -> Finding:
        """Look for the light in a frame of the dark, or in the mean of several; shape ``(pixel,)``."""
        blocks = _medians(counts)
        found = [self._part(blocks, integration_s, pattern) for pattern in self._patterns()]
        if not found:
            return Finding(0.0, math.inf)
        if found[0].clean and not any(f.shown for f in found):
            self._remember(blocks, integration_s)
        return next((f for f in found if f.shown), found[0])

    def _part(self, blocks: FloatArray, integration_s: float, pattern: FloatArray) -> Finding:
        kept = _without_lines(pattern)
        model = _model(pattern * integration_s, kept)
        here = (blocks - self._dark(integration_s))[kept]
        fit = np.linalg.lstsq(model, here, rcond=None)[0]
        rest = here - model @ fit
        sigma = max(1.4826 * float(np.median(np.abs(rest))), _LEAST_SIGMA)
        strange = float(np.sqrt(np.mean(rest**2))) > _STRANGE * self._noise()
        return Finding(float(fit[0]), sigma / _length(model), pattern, strange)

    def _noise(self) -> float:
        """Noise of a block in the dark, counts."""
        blocks = next(reversed(self._darks.values()), None)
        scatter = 0.0 if blocks is None else _scatter(np.diff(blocks)) / math.sqrt(2)
        return max(scatter, _LEAST_SIGMA)

    def _patterns(self) -> list[FloatArray]:
        """Return what an open shutter would let through now, and a blade that stands in half of the beam.

        Half the beam on a lasing film makes no half of its pattern: it may be luminescence alone, as it was
        seen at half the fluence. Counts per second in each block.
        """
        light, now = self._light, self._expected_uj_cm2
        if light is None:
            return []
        ratio = now / light.fluence_uj_cm2
        full = self._net_per_s(light) * (ratio if ratio > 1 else ratio**self._order)
        if (full > 0).sum() < _LEAST_BLOCKS:
            return []
        half = self._half
        return [full] if half is None else [full, self._net_per_s(half)]

    @property
    def _half(self) -> _Light | None:
        """What was seen at about half the present fluence."""
        now = self._expected_uj_cm2
        best, least = None, math.inf
        for light in self._lights:
            share = light.fluence_uj_cm2 / now
            if _HALF[0] < share < _HALF[1] and (off := abs(math.log(2 * share))) < least:
                best, least = light, off
        return best

    def _net_per_s(self, light: _Light) -> FloatArray:
        return _standing_out(light.blocks - self._dark(light.integration_s)) / light.integration_s

    def _exposure_s(self) -> float:
        """Return the shortest exposure that shows a tenth of the light; the light's own where none does.

        Half a beam may be far fainter than half the light: then as long as it was exposed.
        """
        light = self._light
        shortest_s = max(_LEAST_PULSES / self._rate_hz, self._fresh.device.info.integration_min_s)
        if light is None:
            return shortest_s
        blocks = next(reversed(self._darks.values()), light.blocks)
        sigma = max(_scatter(np.diff(blocks)) / math.sqrt(2), _LEAST_SIGMA)
        longest_s = (light.integration_s, max((self._half or light).integration_s, light.integration_s))
        wanted_s = shortest_s
        for pattern, part, most_s in zip(self._patterns(), (SHOWN, _MOSTLY), longest_s, strict=False):
            needed_s = _LOOK * sigma / (part * _length(_model(pattern, _without_lines(pattern))))
            wanted_s = max(wanted_s, min(needed_s, most_s))
        pulses = _round_up(wanted_s * self._rate_hz)
        return min((pulses - 0.5 * self._triggered) / self._rate_hz, longest_s[1])

    # --- looking -----------------------------------------------------------------------------------

    def ready(self) -> None:
        """Set the exposure time of the next look, so that the exposure under way ends meanwhile."""
        if self._light is not None:
            self._fresh.set_integration(self._exposure_s())

    @property
    def looking(self) -> bool:
        """Whether a look was begun that nobody has asked for yet."""
        return self._begun is not None

    def begin(self, stop: Stop | None = None) -> None:
        """Begin to look at the closed shutter, in a thread of its own; :meth:`light_left` then asks for it.

        Until then the plate may turn, on a way that is harmless even if the shutter is open, and nobody else
        may use the spectrometer. Where nobody asks in time, and there is light, the bench is made safe.
        """
        self._least_uj_cm2, self._from_deg = self._pump.expected_uj_cm2, self._pump.angle_deg
        if self._begun is None and self._patterns():
            self._fresh.set_integration(self._exposure_s())
            self._fresh.pause()
            self._asked.clear()
            self._begun = Beside(self.name, self._look_once, stop)
            self._begun.start()

    def claim(self) -> None:
        """Say that the plate is this thread's: a look that was begun turns nothing itself from now on."""
        with self._unasked:
            self._asked.set()

    def _look_once(self, stop: Stop) -> Spectrum:
        spectrum = self._fresh.acquire(stop)
        if not self._asked.wait(_UNASKED_S):
            with self._unasked:  # who asks meanwhile waits for what is done here
                if not self._asked.is_set():
                    self._end_if_lit(spectrum)
        return spectrum

    def _end_if_lit(self, spectrum: Spectrum) -> None:
        """Where nobody asks, as in the pause of a script, and there is light: have it end."""
        if self.judged(spectrum.counts, spectrum.integration_s).shown:
            self._pump.tell(f"{self.name} sees light behind the shutter, which reports closed")
            try:
                self._pump.close()
            finally:
                self._pump.dim()

    def light_left(self, stop: Stop | None = None) -> str:
        """Say what light the spectrometer still sees behind the shutter, which says "closed"; "" for none.

        The plate stays where it is, or turns to less light and back. A look that was begun is asked for.

        :raises InstrumentError: there is no exposure.
        """
        self.saw_dark = False
        found = self._begun_look()
        if found is not None and found[0].strange:
            # The light of another fluence may look like no pattern that is known: laser lines, for one.
            self._pump.turn_back(self._from_deg, stop)
            found = None
        if found is None:
            if not self._patterns():
                return ""
            seconds = self._fresh.set_integration(self._exposure_s())
            self._fresh.pause()
            found = self.judged(self._fresh.acquire(stop).counts, seconds), seconds
        self.looks += 1
        seen = self.confirmed(*found, stop)
        self.saw_dark = not seen and _SURE * found[0].sigma < 1.0 - found[0].part
        return seen

    def _begun_look(self) -> tuple[Finding, float] | None:
        """End the look that was begun; return what it found, None where there is none or it failed.

        :raises InstrumentTimeout: it does not end: the spectrometer stays its.
        """
        begun = self._begun
        if begun is None:
            return None
        self.claim()
        begun.wait(_ASKED_S + _FRAMES * (self._fresh.integration_s or 0.0) / (self._clock.speed or 1.0))
        self._begun = None
        try:
            spectrum = begun.result(0.0)
            return self.judged(spectrum.counts, spectrum.integration_s), spectrum.integration_s
        except (Aborted, InstrumentError) as exc:
            log.info("%s: a look at the closed shutter is taken again: %s", self.name, exc)
            return None
        finally:
            self._least_uj_cm2 = math.inf

    def confirmed(self, found: Finding, seconds: float, stop: Stop | None = None) -> str:
        """Tell light that passes the shutter from an afterglow and from the room's.

        An afterglow fades while the plate stands still. What stays must get weaker as the attenuator takes
        the light away, else it is none of the laser's.

        :param found: in a frame of the dark of so many ``seconds``.
        :returns: as :meth:`light_left`.
        """
        if not found.shown or found.pattern is None:
            return ""
        pattern = found.pattern
        # A hint would drown in the noise of one frame, or what the attenuator takes from it.
        count = 1 if found.part > max(1.5 * SHOWN, _PLAIN * found.sigma) else _FRAMES
        found, stays = self._look(pattern, seconds, count, stop), 0.0
        for _ in range(_MOST_LOOKS):
            if not found.shown:
                return ""
            if stays > _STEADY:
                return self._followed(found, min(stays, 1.0), seconds, count, stop)
            self._clock.sleep(_WAIT_S, stop)
            before, found = found.part, self._look(pattern, seconds, count, stop)
            stays = found.part / before
        return ""

    def _look(self, pattern: FloatArray, seconds: float, count: int, stop: Stop | None) -> Finding:
        seconds = self._fresh.set_integration(seconds)
        frames = [_medians(self._fresh.acquire(stop).counts) for _ in range(count)]
        self.looks += count
        self._latest = np.mean(frames, axis=0)
        return self._part(self._latest, seconds, pattern)

    def _followed(self, steady: Finding, stays: float, seconds: float, count: int, stop: Stop | None) -> str:
        """Take the light away by the attenuator, and see whether what is in the dark follows."""
        assert steady.pattern is not None
        here_deg, began_s, lit = self._pump.angle_deg, self._clock.now_s(), self._latest
        ratio = self._pump.dim(stop)
        fading = stays ** ((self._clock.now_s() - began_s) / _WAIT_S)
        dimmed = self._look(steady.pattern, seconds, count, stop)
        left, sigma = max(dimmed.part, 0.0) / steady.part, math.hypot(steady.sigma, dimmed.sigma)
        follows = left < 0.5 * (ratio + fading) and steady.part - dimmed.part > _LOOK * sigma
        if follows and self._told:
            # A lamp shines in this room: it may have gone out just then. The laser's light comes back.
            self._pump.turn_back(here_deg, stop)
            back, lit = self._look(steady.pattern, seconds, count, stop), self._latest
            sigma = math.hypot(back.sigma, dimmed.sigma)
            follows = back.part - dimmed.part > max(0.5 * (steady.part - dimmed.part), _LOOK * sigma)
        if follows if ratio < _TELLING * fading else steady.part > _MOSTLY:
            return f"{self.name} behind it still sees {min(steady.part, 1.0):.0%} of the last light"
        if not self._told:
            self._told = True
            text = "sees light in the dark that does not follow the attenuator: room light or afterglow"
            self._pump.tell(f"{self.name} {text}")
        self._remember(lit, seconds)
        self._pump.turn_back(here_deg, stop)
        return ""


def shows_light(counts: FloatArray, before: FloatArray) -> bool:
    """Return whether an exposure shows more light than one of the same time before, in some part of the axis.

    Parts of a seventh of the axis, against the rest: a level that has risen or fallen everywhere is none.

    :param counts: shape ``(pixel,)``, like ``before``.
    """
    more = _medians(counts) - _medians(before)
    sigma = max(_scatter(np.diff(more)) / math.sqrt(2), _LEAST_SIGMA) / math.sqrt(_SMOOTHED)
    parts = np.convolve(more - np.median(more), np.full(_SMOOTHED, 1 / _SMOOTHED), "valid")
    return bool(parts.max() > _SMOOTH_SURE * sigma)


def _medians(counts: FloatArray) -> FloatArray:
    size = max(counts.size // _BLOCKS, 1)
    return np.median(counts[: counts.size // size * size].reshape(-1, size), axis=1)


def _standing_out(light: FloatArray) -> FloatArray:
    """Free a pattern of its noise: what does not stand out is none."""
    noise = max(_scatter(np.diff(light)) / math.sqrt(2), _LEAST_SIGMA)
    light = light - np.median(light)
    return np.where(light > _STANDS_OUT * noise, light, 0.0)


def _scatter(values: FloatArray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _without_lines(per_s: FloatArray) -> NDArray[np.bool_]:
    """Return which blocks hold no laser lines: those not far brighter than the typical lit one."""
    lit = per_s > 0.02 * float(per_s.max())
    return per_s <= _LINES * float(np.median(per_s[lit])) if lit.sum() > 2 else np.ones_like(lit)


def _model(light: FloatArray, kept: NDArray[np.bool_]) -> FloatArray:
    """Return the columns that are fitted to a frame: the light, and a level that may slope."""
    place = np.linspace(-1.0, 1.0, light.size)
    return np.stack([light, np.ones_like(place), place], axis=1)[kept]


def _length(model: FloatArray) -> float:
    """Return how long the light is, beside the level: one over the error of its part, at noise 1."""
    light, level = model[:, 0], model[:, 1:]
    beside = light - level @ np.linalg.lstsq(level, light, rcond=None)[0]
    return max(float(np.linalg.norm(beside)), 1e-12)


def _round_up(pulses: float) -> float:
    """Return the next of 1, 2, 3, 5, 10, 20 ... that is not less."""
    decade = 10.0 ** math.floor(math.log10(max(pulses, 1.0)))
    return next(step * decade for step in (*_STEPS, 10) if step * decade >= pulses * (1 - 1e-9))
