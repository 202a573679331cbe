"""Every shot at one fluence or several: dark, in the light, and dark again, in one burst each.

The two dark ends are the dark of the spectra, the proof that the light was off before and is off after, and
the marks by which another instrument's shots can be told to be the same.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.lost_shots import ShotCounter
from labctl.analysis.shot_clock import ShotClock
from labctl.model.clock import Stop
from labctl.model.errors import ConfigError, InstrumentError, InstrumentFault
from labctl.model.plan import ShotsPlan
from labctl.model.pump import Bands
from labctl.model.records import DarkRecord, FloatArray, PowerReading
from labctl.model.roles import BurstSpectrometer, Roles, ShotSink, bursting
from labctl.model.shots import PHASES, CountArray, Phase, ShotBatch, ShotBlock, ShotsSummary, ShotTally
from procedures.gate.power_monitor import Bracket, PumpState
from procedures.gate.pump import Pump
from procedures.gate.safe_state import cause_said, made_safe
from procedures.plan import check_bands
from procedures.point.exposure import SaturationCheck
from procedures.point.light_witness import shows_light

log = logging.getLogger(__name__)

FILLED = 0.9
"""Part of the pulse period that a shot is exposed for by default; the rest is for the read-out."""
MARGIN_NM = 5.0
"""Range outside the bands that is checked for saturation."""
MOST_SHOTS = 1 << 40
"""Of a burst: it ends when it is disarmed."""
MOST_UNSURE_S = 2.0
"""Bench time to which shots must be known before there is light: the light lasts up to twice that longer."""
AHEAD_S = 1.0
"""Light whose dose is asked for in advance, again and again."""

OnShots = Callable[[int, int, ShotTally], object]
"""Told the point, its shots in the light so far, and what is missing, after every batch."""


@dataclass(slots=True)
class _Sums:
    """Running sums of the emission of shots of one phase; they do not grow."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: FloatArray) -> None:
        self.n += values.size
        self.total += float(values.sum())
        self.squares += float(np.dot(values, values))

    @property
    def mean(self) -> float:
        return self.total / self.n if self.n else math.nan

    @property
    def sigma(self) -> float:
        if self.n < 2:
            return math.nan
        return math.sqrt(max(self.squares - self.total**2 / self.n, 0.0) / (self.n - 1))


class _Frames:
    """Mean and spread of frames, pixel by pixel, without keeping them."""

    def __init__(self, pixels: int) -> None:
        self.n, self._sum, self._squares = 0, np.zeros(pixels), np.zeros(pixels)

    def __add__(self, other: _Frames) -> _Frames:
        both = _Frames(self._sum.size)
        both.n, both._sum = self.n + other.n, self._sum + other._sum
        both._squares = self._squares + other._squares
        return both

    def add(self, frames: FloatArray) -> None:
        self.n += len(frames)
        self._sum += frames.sum(axis=0)
        self._squares += np.einsum("ij,ij->j", frames, frames)

    @property
    def mean(self) -> FloatArray:
        return self._sum / max(self.n, 1)

    @property
    def spread(self) -> FloatArray:
        rest = self._squares - self.n * self.mean**2
        return np.sqrt(np.maximum(rest, 0.0) / max(self.n - 1, 1))


class Burst:
    """The shots as they come: numbered, told apart by where the shutter was, stored, and summed.

    :param plan: how many shots there are to be; its fluences are not used.
    :param point: number of the point of a run that they belong to, from 0.
    :param keeps: whether those in the light are kept in memory too, in :attr:`kept`; their dark is then one
        record of the shots before and after the light, else of those before.
    :param dark_number: of the record of the dark; that of the point by default, counted from 1.
    """

    def __init__(
        self,
        plan: ShotsPlan,
        point: int,
        device: BurstSpectrometer,
        pump: Pump,
        bands: Bands,
        sink: ShotSink,
        *,
        keeps: bool = False,
        dark_number: int | None = None,
    ) -> None:
        self._plan, self.point, self._device, self._sink = plan, point, device, sink
        self.keeps, self.dark_number = keeps, dark_number or point + 1
        self.kept: list[CountArray] = []
        self._counter = ShotCounter(pump.settings.repetition_rate_hz)
        self._judge = SaturationCheck(device.info, bands, MARGIN_NM)
        axis = device.info.wavelength_nm
        self._band = slice(*np.searchsorted(axis, bands.emission_nm).tolist())
        self.clock = ShotClock()
        self._since: list[tuple[float, Phase]] = [(-math.inf, "dark")]
        self.dark, self.dark_after = _Frames(axis.size), _Frames(axis.size)
        self.lit, self.unlit = _Sums(), _Sums()
        self.clipped = 0

    @property
    def tally(self) -> ShotTally:
        """Number of shots so far, and of those that are missing."""
        return self._counter.tally

    def store_dark(self, record: DarkRecord) -> None:
        """Store the mean of the shots in the dark."""
        self._sink.dark(record)

    def moves(self, at_s: float) -> None:
        """Count every shot that may be later than a bench time as one while the blade moves."""
        self._since.append((self.clock.earliest_us(at_s), "travel"))

    def rests(self, at_s: float, phase: Phase) -> None:
        """Count every shot that is surely later than a bench time as of a phase."""
        self._since.append((self.clock.latest_us(at_s), phase))

    def fetch(self, stop: Stop | None) -> None:
        """Take the next shots in.

        :raises InstrumentFault: too many are missing in a row; those that came are stored.
        :raises InstrumentError: none came.
        """
        batch = self._device.fetch(stop)
        self.clock.add(batch)
        numbered = self._counter.add(batch.device_time_us, batch.spectrum_count)
        begins = [begin_us for begin_us, _ in self._since]
        codes = np.array([PHASES.index(phase) for _, phase in self._since], np.uint8)
        phase = codes[np.searchsorted(begins, batch.device_time_us, "right") - 1]
        self._sink.shots(ShotBlock(batch, numbered.pulse, phase, numbered.gaps, self.point))
        self._sum_up(batch, phase)
        lost = max((gap.lost for gap in numbered.gaps), default=0)
        if lost > self._plan.most_lost:
            causes = " and ".join(dict.fromkeys(_CAUSES[gap.cause] for gap in numbered.gaps))
            raise InstrumentFault(
                self._device.name,
                f"{lost} shots in a row are missing: {causes}",
                "check laser and trigger; a longer row is allowed with --most-lost",
            )

    def _sum_up(self, batch: ShotBatch, phase: NDArray[np.uint8]) -> None:
        frames = batch.frames.astype(np.float64)
        emission = frames[:, self._band].sum(axis=1)
        dark, light, after = (phase == PHASES.index(name) for name in ("dark", "light", "dark after"))
        self.dark.add(frames[dark])
        self.dark_after.add(frames[after])
        self.unlit.add(emission[dark])
        self.lit.add(emission[light] - self.dark.mean[self._band].sum())
        if light.any():
            if self.keeps:
                self.kept.append(batch.frames[light])
            self.clipped += int(self._judge.saturated(frames[light]).sum())


_CAUSES = {
    "buffer": "lost in the spectrometer's buffer",
    "trigger": "the spectrometer took no trigger, or the laser gave no pulse",
}


def measure_shots(
    plan: ShotsPlan,
    roles: Roles,
    pump: Pump,
    bands: Bands,
    *,
    sink: ShotSink,
    stop: Stop | None = None,
    on_shots: OnShots = lambda _point, _light, _tally: None,
) -> tuple[ShotsSummary, ...]:
    """Keep every shot at each fluence of a plan.

    However it ends, the shutter is closed first; what came until then is stored.

    :param plan: what is to be measured.
    :param roles: the instruments; the spectrometer must keep every shot and be triggered by the laser.
    :param pump: the gate that sets the fluence.
    :param bands: where the emission is summed, nm.
    :param sink: stores each batch before anything is said of it.
    :param stop: ends it: anything with ``is_set()``.
    :param on_shots: told after every batch.
    :raises ConfigError: the bench cannot do it; nothing has moved.
    :raises SafetyStop: a limit or a consistency check was hit.
    :raises InstrumentError: an instrument failed, no trigger came, or too many shots in a row are missing.
    :raises Aborted: ``stop`` was set.
    """
    device = able(plan, roles, pump)
    check_bands(bands, device.info)
    with disarmed(device, pump), made_safe(lambda: pump.safe().failures), cause_said(pump.tell):
        pump.prepare(stop)
        found = []
        for point in range(len(plan.fluences_uj_cm2)):
            burst = Burst(plan, point, device, pump, bands, sink)
            fluence = plan.fluences_uj_cm2[point]
            found.append(measure_burst(plan, fluence, burst, device, roles, pump, stop, on_shots).summary)
            sink.shot_point(found[-1])
            device.disarm()
        return tuple(found)


def able(plan: ShotsPlan, roles: Roles, pump: Pump) -> BurstSpectrometer:
    """Return the spectrometer as one that keeps every shot.

    :raises ConfigError: it cannot, or not as the plan wants it.
    """
    if not plan.fluences_uj_cm2:
        raise ConfigError("no fluence", key="fluence", hint="one or several: 60, 80, 120")
    device = bursting(roles.spectrometer)
    if device is None:
        raise ConfigError(
            f"{roles.spectrometer.name} has no buffer that keeps every shot",
            key="spectrometer",
            hint='an Ocean FX on the network, FX@HOST:PORT, without backend = "cseabreeze"',
        )
    if not plan.triggered:
        raise ConfigError(
            "the spectrometer runs freely: a shot would hold any pulses",
            key="trigger",
            hint='trigger = "edge" in [spectrometer], with the laser\'s trigger output wired to it',
        )
    period_s, seconds = 1.0 / pump.settings.repetition_rate_hz, exposure_s(plan, pump)
    low_s, high_s = device.info.integration_min_s, min(device.info.integration_max_s, period_s)
    if not low_s <= seconds < high_s:
        raise ConfigError(
            f"{seconds:g} s is outside {low_s:g} s to below {high_s:g} s, the time between two pulses",
            key="integration",
            hint="a shot holds one pulse",
        )
    return device


def exposure_s(plan: ShotsPlan, pump: Pump) -> float:
    """Return the exposure time of a shot, s.

    :param plan: which may say it.
    :param pump: whose repetition rate gives it otherwise.
    """
    return plan.integration_s or FILLED / pump.settings.repetition_rate_hz


@contextmanager
def disarmed(device: BurstSpectrometer, pump: Pump) -> Iterator[None]:
    """End the burst after the light, however the block ends."""
    try:
        yield
    except BaseException:
        try:
            device.disarm()
        except InstrumentError as exc:
            pump.tell(f"the burst was not ended: {exc.message}")
        raise
    device.disarm()


@dataclass(frozen=True, slots=True)
class Taken:
    """A burst that has come to its end.

    :param state: the setting, as it was verified before the light, and ``after`` the reading after it.
    :param light: of the shots, from both readings.
    :param dark: as it was stored.
    """

    summary: ShotsSummary
    state: PumpState
    after: PowerReading
    light: Bracket
    dark: DarkRecord


def measure_burst(
    plan: ShotsPlan,
    fluence_uj_cm2: float,
    burst: Burst,
    device: BurstSpectrometer,
    roles: Roles,
    pump: Pump,
    stop: Stop | None = None,
    on_shots: OnShots = lambda _point, _light, _tally: None,
) -> Taken:
    """Set a fluence and keep every shot between two darks; the shutter is closed at the end.

    :param burst: takes the shots in.
    :raises SafetyStop: a limit or a consistency check was hit.
    :raises InstrumentError: an instrument failed, no trigger came, or too many shots in a row are missing.
    :raises Aborted: ``stop`` was set.
    """
    clock, rate_hz = roles.clock, pump.settings.repetition_rate_hz
    state = pump.set_fluence(fluence_uj_cm2, stop)
    pump.shut(stop)
    integration_s = device.set_integration(exposure_s(plan, pump))
    planned_s = plan.shots / rate_hz
    device.arm(MOST_SHOTS, stop)
    while burst.dark.n < plan.dark_shots:
        burst.fetch(stop)
    if not burst.keeps:
        dark = _dark(burst, burst.dark, integration_s, device.temperature_c(), clock.now_s())
        burst.store_dark(dark)
    unsure_s = burst.clock.width_s
    if unsure_s > MOST_UNSURE_S:
        raise InstrumentFault(
            device.name,
            f"its shots are known in time to {unsure_s:.2g} s only",
            "free the computer of other work",
        )
    burst.moves(clock.now_s())
    travel_s = roles.shutter.travel_s
    pump.open(planned_s + 2 * unsure_s + travel_s, stop=stop)
    opened_s = clock.now_s() + travel_s  # a sensor may say "open" as soon as the blade has left its end
    burst.rests(opened_s, "light")
    ends_s = opened_s + planned_s + 2 * unsure_s  # that late is the last one surely lit, and surely here
    while burst.lit.n < plan.shots and clock.now_s() < ends_s:
        burst.fetch(stop)
        on_shots(burst.point, burst.lit.n, burst.tally)
        pump.keep_watch(stop)
        pump.allow(AHEAD_S)
    pump.require_open()
    after = None if pump.meter_in_front else pump.confirm(state, stop)
    burst.moves(clock.now_s())
    pump.shut(stop)
    burst.rests(clock.now_s(), "dark after")
    while burst.dark_after.n < plan.dark_shots:
        burst.fetch(stop)
        on_shots(burst.point, burst.lit.n, burst.tally)
    if shows_light(burst.dark_after.mean, burst.dark.mean):
        pump.refute(f"{device.name} still sees light in its shots")
    if burst.keeps:
        both = burst.dark + burst.dark_after
        dark = _dark(burst, both, integration_s, device.temperature_c(), clock.now_s())
        burst.store_dark(dark)
    after = after or pump.confirm(state, stop)
    bracket = pump.bracket(state, after, burst.lit.n)
    return Taken(_summary(burst, pump, state, integration_s, bracket), state, after, bracket, dark)


def _dark(
    burst: Burst, frames: _Frames, integration_s: float, temperature_c: float | None, at_s: float
) -> DarkRecord:
    """Return the mean of shots in the dark, as the run file keeps darks."""
    return DarkRecord(
        number=burst.dark_number,
        kind="dark",
        counts=frames.mean,
        spread=frames.spread,
        n=frames.n,
        integration_s=integration_s,
        at_s=at_s,
        temperature_c=temperature_c,
    )


def _summary(
    burst: Burst, pump: Pump, state: PumpState, integration_s: float, bracket: Bracket
) -> ShotsSummary:
    mean = burst.lit.mean
    return ShotsSummary(
        point=burst.point,
        fluence_set_uj_cm2=state.fluence_set_uj_cm2,
        pulse_energy_j=bracket.pulse_energy_j,
        angle_deg=state.angle_deg,
        fluence_uj_cm2=bracket.fluence_uj_cm2,
        fluence_sigma_rel=bracket.sigma_rel,
        integration_s=integration_s,
        light=burst.lit.n,
        tally=burst.tally,
        mean_counts=mean,
        cv=burst.lit.sigma / mean if mean > 0 else math.nan,
        dark_cv=burst.unlit.sigma / mean if mean > 0 else math.nan,
        clipped=burst.clipped,
        dose_uj_cm2=pump.dose_uj_cm2,
    )
