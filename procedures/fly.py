"""A fly scan: the plate turns forth and back at its own speed while the spectrometer keeps every shot.

In the dark first: a fluence at each end of the flank, read by the meter; the time that the plate takes for
the way; darks. Then light for a second or two. The fluence of each shot comes from the plate's motion, which
the shots themselves correct (:mod:`labctl.analysis.fly.motion`). However it ends, the bench is made safe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.fly.flight import Solved, groups, root_mean, solve
from labctl.analysis.fly.motion import ANCHOR_LEAST, Curve
from labctl.analysis.fly.scatter import pump_scatter
from labctl.analysis.lost_shots import ShotCounter
from labctl.analysis.shot_clock import ShotClock
from labctl.analysis.shots.statistics import peak_signal
from labctl.analysis.spectra.background import noise_model
from labctl.analysis.spectra.bands import band_slice, bands_of
from labctl.analysis.spectra.reduce import clip_level, correct_nonlinearity, reduce_exposures
from labctl.model.clock import Stop, check_stop
from labctl.model.errors import ConfigError, InstrumentFault, SafetyStop
from labctl.model.plan import FlyPlan
from labctl.model.pump import Bands, MalusCurve
from labctl.model.records import DarkRecord, FloatArray, SweepPoint
from labctl.model.results.flight import Anchor, PlateLaw, PumpScatter, Shots, Turn
from labctl.model.roles import BurstSpectrometer, Roles, ShotSink, bursting
from labctl.model.shots import PHASES, Phase, ShotBatch, ShotBlock
from procedures.gate.power_monitor import PumpState
from procedures.gate.pump import Pump
from procedures.gate.safe_state import cause_said, made_safe
from procedures.plan import check_bands
from procedures.shots import FILLED

REST_S = 0.12
"""At each turn-round: a mount may not be sent again at once, and shots at rest show when a motion ended."""
DRY_PASSES, QUESTIONS = 2, 5
REPLY_S = 0.06
"""Bench time within which a plate reports its rest."""
CLOCK_SIGMA_S = 0.02
"""How far the clocks of shots and bench may differ after the first batches have been compared."""
DARK_SHOTS, MOST_DARK_SHOTS = 200, 3000
PROMPT_BATCHES, PROMPT_SHOTS = 3, 60
"""So many batches of so few shots, or fewer, were fetched as they came."""
SAME_SPEED_REL = 0.1
MOST_LOST_REL, MOST_CLIPPED_REL = 0.05, 0.2
MOST_SAVING_S = 5.0
"""Bench time that shots are fetched for after a fault."""
SPARE_S = 0.02
"""Bench time after the confirmed opening and before the closing in which shots count as blade travel."""


@dataclass(frozen=True, slots=True)
class Flight:
    """What came of a flight.

    :param points: of the L-L curve, by rising fluence; their exposures are the shots.
    :param dark: that was subtracted.
    :param solved: where the plate was at each shot.
    :param scatter: pump light in the spectra; None where it could not be measured.
    :param lost: shots that the spectrometer did not deliver.
    :param light_s: bench time with the shutter open.
    """

    points: tuple[SweepPoint, ...] = field(repr=False)
    dark: DarkRecord = field(repr=False)
    solved: Solved = field(repr=False)
    scatter: PumpScatter | None
    lost: int
    light_s: float


def check_plan(plan: FlyPlan, roles: Roles, pump: Pump, bands: Bands) -> BurstSpectrometer:
    """Refuse a flight that this bench cannot fly; nothing has moved.

    :raises ConfigError: names the key and the reason.
    """
    if not plan.start_uj_cm2 < plan.stop_uj_cm2:
        raise ConfigError("must be below the highest fluence", key="start")
    if plan.passes < 2 or plan.passes % 2:
        raise ConfigError(f"must be an even number of 2 or more, not {plan.passes}", key="passes")
    for fluence in (plan.start_uj_cm2, plan.stop_uj_cm2):
        if said := pump.beam.forbidden(fluence):
            raise ConfigError(said, key="stop")
    if not isinstance(pump.settings.curve, MalusCurve):
        hint = "labctl calibrate attenuator measures zero and leakage of wave plate and polariser"
        raise ConfigError(
            "a flight needs a Malus curve; a table cannot be corrected", key="attenuator", hint=hint
        )
    if not pump.meter_in_front:
        raise ConfigError(
            "a flight needs the pick-off in front of the shutter: behind it, readings cost too much light",
            key="pump.order",
        )
    check_bands(bands, roles.spectrometer.info)
    burst = bursting(roles.spectrometer)
    if burst is None:
        raise ConfigError(
            f"{roles.spectrometer.name} has no buffer that keeps every shot, which a flight needs",
            key="spectrometer",
            hint="an Ocean FX over its own protocol has one; labctl sweep needs none",
        )
    return burst


def fly(
    plan: FlyPlan,
    roles: Roles,
    pump: Pump,
    bands: Bands,
    *,
    sink: ShotSink | None = None,
    stop: Stop | None = None,
) -> Flight:
    """Fly once, and return the points. Every shot reaches the sink as it is fetched, then dark and points.

    :param plan: from where to where, and how often.
    :param roles: the instruments; the spectrometer must keep every shot, triggered by the laser.
    :param pump: the gate.
    :param bands: where the emission is looked for, nm.
    :param sink: stores shots, dark and points; after a fault it has the shots that came before it.
    :param stop: ends the flight.
    :raises ConfigError: the plan is impossible on this bench; nothing has moved.
    :raises SafetyStop: a limit was hit, frames are clipped, or the plate does not keep its speed.
    :raises InstrumentError: an instrument failed. The shutter is closed first in any case.
    :raises Aborted: ``stop`` was set.
    :raises DataError: the shots do not make a curve.
    """
    burst = check_plan(plan, roles, pump, bands)
    flying = _Flying(plan, roles, burst, pump, bands, sink)
    with flying.ended(), made_safe(lambda: pump.safe().failures), cause_said(pump.tell):
        raw = flying.fly(stop)
    flight = _reduced(raw, plan, roles, pump, bands)
    if sink is not None:
        sink.dark(flight.dark)
        for point in flight.points:
            sink.append(point)
    return flight


@dataclass(frozen=True, slots=True)
class _Raw:
    """What was recorded, times on the bench's clock."""

    dark: NDArray[np.uint16]
    frames: NDArray[np.uint16]
    time_s: FloatArray
    integration_s: float
    turns: tuple[Turn, ...]
    anchors: tuple[Anchor, ...]
    states: tuple[PumpState, ...]
    law: PlateLaw
    lit_s: tuple[float, float]
    lost: int
    at_s: float
    temperature_c: float | None


class _Flying:
    """One flight, from the first reading to the last shot."""

    def __init__(
        self,
        plan: FlyPlan,
        roles: Roles,
        burst: BurstSpectrometer,
        pump: Pump,
        bands: Bands,
        sink: ShotSink | None,
    ) -> None:
        self._plan, self._roles, self._burst, self._pump = plan, roles, burst, pump
        self._clock, self._rate = roles.clock, pump.settings.repetition_rate_hz
        self._inside = band_slice(roles.spectrometer.info.wavelength_nm, bands_of(bands).whole)
        self._batches: list[ShotBatch] = []
        self._counter = ShotCounter(self._rate)
        self._ahead_s = math.inf
        self._sink, self._armed, self._shot_clock = sink, False, ShotClock()
        self._since: list[tuple[float, Phase]] = [(-math.inf, "dark")]

    @contextmanager
    def ended(self) -> Iterator[None]:
        """End the burst behind the light; after a fault fetch first what the buffer holds of before it."""
        try:
            yield
        except BaseException:
            with suppress(Exception):  # what failed before is what counts
                self._save()
            raise
        finally:
            with suppress(Exception):
                self._burst.disarm()

    def _save(self) -> None:
        """Store the shots until now that were not fetched; the bench is safe."""
        until_s = self._clock.now_s()
        while self._armed and self._newest_s() < until_s and self._clock.now_s() < until_s + MOST_SAVING_S:
            self._fetch(None)

    def _newest_s(self) -> float:
        return (
            1e-6 * float(self._batches[-1].device_time_us[-1]) + self._ahead_s if self._batches else -math.inf
        )

    def fly(self, stop: Stop | None) -> _Raw:
        self._pump.prepare(stop)
        high, high_anchor = self._anchor(self._plan.stop_uj_cm2, stop)
        low, low_anchor = self._anchor(self._plan.start_uj_cm2, stop)
        law = self._dry(low.angle_deg, high.angle_deg, stop)
        low, low_anchor = self._anchor(self._plan.start_uj_cm2, stop)
        ends = (low.angle_deg, high.angle_deg)
        law = replace(law, way_deg=abs(ends[1] - ends[0]))
        light_s = self._plan.passes * (law.duration_s + REST_S) + self._roles.shutter.travel_s
        self._pump.refuse_flight(2.0 * light_s)
        integration_s = self._roles.spectrometer.set_integration(FILLED / self._rate)
        self._refuse_small(light_s)
        shots = self._burst.buffer_shots
        self._burst.arm(max(shots, 1), stop)
        self._armed = True
        dark_until = self._darks(stop)
        turns, lit_s = self._passes(ends, law, light_s, stop)
        self._rest_of_shots(lit_s[1] + self._roles.shutter.travel_s, stop)
        frames = np.concatenate([b.frames for b in self._batches])
        time_s = np.concatenate([b.device_time_us for b in self._batches]) * 1e-6 + self._ahead_s
        return _Raw(
            frames[:dark_until], frames[dark_until:], time_s[dark_until:], integration_s, turns,
            (low_anchor, high_anchor), (low, high), law, lit_s, self._counter.tally.lost_in_buffer,
            self._clock.now_s(), self._roles.spectrometer.temperature_c(),
        )  # fmt: skip

    def _anchor(self, fluence_uj_cm2: float, stop: Stop | None) -> tuple[PumpState, Anchor]:
        state = self._pump.set_fluence(fluence_uj_cm2, stop)
        power, noise_w = state.reading.power_w, self._roles.power_meter.noise_w
        if power < ANCHOR_LEAST * noise_w:
            raise ConfigError(
                f"at {fluence_uj_cm2:.4g} uJ/cm2 the meter reads {power:.3g} W, less than {ANCHOR_LEAST:g} "
                f"times its noise of {noise_w:.3g} W",
                key="start",
                hint="start the flank at a higher fluence",
            )
        sigma = max(state.reading.sigma_w / power, 1e-3)
        return state, Anchor(state.angle_deg, state.fluence_uj_cm2, sigma, noise_w / power)

    def _dry(self, low_deg: float, high_deg: float, stop: Stop | None) -> PlateLaw:
        """Time the plate over the flank, the shutter closed.

        :raises InstrumentFault: it does not keep its speed.
        """
        took = []
        for angle in (high_deg, low_deg) * DRY_PASSES:
            self._clock.sleep(REST_S, stop)
            began_s, ended_s = self._pump.turn(angle, stop)
            took.append(ended_s - began_s)
        middle = float(np.median(took))
        if max(took) - min(took) > SAME_SPEED_REL * middle + REPLY_S:
            raise InstrumentFault(
                self._roles.attenuator.name,
                f"turned the same {abs(high_deg - low_deg):.1f} deg in {min(took):.3g} to {max(took):.3g} s: "
                "it does not keep its speed",
                "check that the wave plate turns freely",
            )
        # Command and report are longer than a question and its answer, and the plate is asked where it is.
        question_s = self._question_s()
        reply_s, sigma_s = 2.5 * question_s, max(0.5 * question_s, 1e-3)
        way_deg = abs(high_deg - low_deg)
        return PlateLaw(middle - reply_s, sigma_s, way_deg, 0.0, CLOCK_SIGMA_S, reply_s, sigma_s)

    def _question_s(self) -> float:
        """Return how long a question to the plate takes."""
        took = []
        for _ in range(QUESTIONS):
            began_s = self._clock.now_s()
            self._roles.attenuator.angle_deg()
            took.append(self._clock.now_s() - began_s)
        return float(np.median(took))

    def _refuse_small(self, light_s: float) -> None:
        needed = DARK_SHOTS + math.ceil(2.0 * light_s * self._rate)
        if needed > self._burst.buffer_shots:
            raise ConfigError(
                f"the flight may need {needed} shots; the buffer of {self._roles.spectrometer.name} holds "
                f"{self._burst.buffer_shots}",
                key="passes",
            )

    # --- in the light ------------------------------------------------------------------------------

    def _darks(self, stop: Stop | None) -> int:
        """Fetch the darks; batches of few shots, fetched as they came, show how far the clocks differ.

        :raises InstrumentFault: shots come faster than they are fetched.
        """
        prompt = kept = 0
        while kept < DARK_SHOTS or prompt < PROMPT_BATCHES:
            batch = self._fetch(stop)
            kept, prompt = kept + len(batch), prompt + (len(batch) <= PROMPT_SHOTS)
            if kept > MOST_DARK_SHOTS:
                raise InstrumentFault(
                    self._roles.spectrometer.name,
                    f"delivers shots more slowly than the laser makes them, at {self._rate:g} Hz",
                    "shorten its connection, or relieve the computer",
                )
        return kept

    def _fetch(self, stop: Stop | None) -> ShotBatch:
        batch = self._burst.fetch(stop)
        numbered = self._counter.add(batch.device_time_us, batch.spectrum_count)
        self._shot_clock.add(batch)
        if self._sink is not None:
            codes = np.array([PHASES.index(phase) for _, phase in self._since], np.uint8)
            begins = np.maximum.accumulate([begin_us for begin_us, _ in self._since])
            phase = codes[np.searchsorted(begins, batch.device_time_us, "right") - 1]
            self._sink.shots(ShotBlock(batch, numbered.pulse, phase, numbered.gaps))
        self._batches.append(batch)
        self._ahead_s = min(self._ahead_s, batch.received_s - 1e-6 * float(batch.device_time_us[-1]))
        return batch

    def _passes(
        self, ends: tuple[float, float], law: PlateLaw, light_s: float, stop: Stop | None
    ) -> tuple[tuple[Turn, ...], tuple[float, float]]:
        turns: list[Turn] = []
        with self._closing_first():
            self._since.append((self._shot_clock.earliest_us(self._clock.now_s()), "travel"))
            self._pump.open(light_s, stop=stop)
            opened_s = self._clock.now_s()
            self._since.append((self._shot_clock.latest_us(opened_s + SPARE_S), "light"))
            for number in range(self._plan.passes):
                check_stop(stop)
                start, goal = ends[number % 2], ends[1 - number % 2]
                self._clock.sleep(REST_S, stop)
                began_s, ended_s = self._pump.turn(goal, stop)
                turns.append(Turn(began_s, start, goal, ended_s))
                self._watch_speed(ended_s - began_s, law)
                if number % 2:  # at the low end, where looking costs least light
                    self._watch_frames(self._fetch(stop))
            closing_s = self._clock.now_s()
            self._since.append((self._shot_clock.earliest_us(closing_s), "travel"))
            self._pump.shut(stop)
            self._since.append((self._shot_clock.latest_us(self._clock.now_s()), "dark after"))
        return tuple(turns), (opened_s + SPARE_S, closing_s)

    @contextmanager
    def _closing_first(self) -> Iterator[None]:
        """Close the shutter before anything else is done about what ends the block."""
        try:
            yield
        except BaseException:
            self._since.append((self._shot_clock.earliest_us(self._clock.now_s()), "travel"))
            with suppress(Exception):  # pump.safe() follows, tries again and tells
                self._pump.close()
            raise

    def _watch_speed(self, took_s: float, law: PlateLaw) -> None:
        before_s = law.duration_s + law.reply_s
        if abs(took_s - before_s) > SAME_SPEED_REL * before_s + REPLY_S:
            raise SafetyStop(
                f"{self._roles.attenuator.name} took {took_s:.3g} s for a pass, before {before_s:.3g} s; "
                "it does not keep its speed",
                "check that the wave plate turns freely",
            )

    def _watch_frames(self, batch: ShotBatch) -> None:
        lost, kept = self._counter.tally.lost_in_buffer, self._counter.tally.kept
        if lost > MOST_LOST_REL * (lost + kept):
            raise SafetyStop(
                f"{lost} of {lost + kept} shots are lost", "check the trigger of the spectrometer"
            )
        clipped = self._clipped(batch.frames)
        if clipped.mean() > MOST_CLIPPED_REL:
            raise SafetyStop(
                f"{int(clipped.sum())} of {clipped.size} frames are clipped",
                "put a filter before the spectrometer, or fly to a lower fluence",
            )

    def _clipped(self, frames: NDArray[np.uint16]) -> NDArray[np.bool_]:
        top = self._roles.spectrometer.info.max_counts
        return np.asarray((frames[:, self._inside] >= top).any(axis=1))

    def _rest_of_shots(self, until_s: float, stop: Stop | None) -> None:
        """Fetch what the buffer still holds of the light; the shutter is closed."""
        while self._newest_s() < until_s + SPARE_S:
            self._fetch(stop)


# --- afterwards ------------------------------------------------------------------------------------


def _reduced(raw: _Raw, plan: FlyPlan, roles: Roles, pump: Pump, bands: Bands) -> Flight:
    info, settings = roles.spectrometer.info, pump.settings
    assert isinstance(settings.curve, MalusCurve)
    both = bands_of(bands)
    inside = band_slice(info.wavelength_nm, both.whole)
    dark = _dark_record(raw)
    light = raw.frames.astype(np.float64) - dark.counts
    if info.nonlinearity is not None:
        light = correct_nonlinearity(light, info.nonlinearity)
    level = min(info.max_counts, clip_level(raw.frames[:, inside].astype(np.float64)))
    clipped = np.asarray((raw.frames[:, inside] >= level).any(axis=1))
    shots = Shots(raw.time_s, light[:, inside].sum(axis=1), clipped)
    # Where a motion ends by chance is in the anchors and in the end; the zero is the same all the while.
    zero_sigma_deg = settings.curve_sigma_deg or settings.angle_sigma_deg
    curve = Curve.of(settings.curve, zero_sigma_deg, settings.leak_sigma)
    solved = solve(
        shots,
        raw.turns,
        _with_arrival(raw.anchors, curve, settings.angle_sigma_deg),
        raw.law,
        curve,
        raw.lit_s,
    )
    good = solved.good
    narrow = np.zeros(raw.time_s.size)
    narrow[good], _ = peak_signal(info.wavelength_nm, light[good], both, noise_model(light[good][:, inside]))
    points = tuple(_points(raw, plan, solved, clipped, dark, roles, pump, bands, narrow))
    lit = np.isin(np.arange(raw.time_s.size), np.flatnonzero(solved.good))
    scatter = pump_scatter(
        info.wavelength_nm, light[lit], solved.fluence_uj_cm2[lit], both, settings.wavelength_nm
    )
    return Flight(
        points,
        dark,
        solved,
        scatter,
        raw.lost,
        raw.lit_s[1] - raw.lit_s[0] + SPARE_S,
    )


def _with_arrival(anchors: tuple[Anchor, ...], curve: Curve, sigma_deg: float) -> tuple[Anchor, ...]:
    """Add what the plate's repeatability does to the fluence at an anchor."""
    found = []
    for anchor in anchors:
        turn = math.radians(2.0 * (anchor.angle_deg - curve.zero_deg))
        slope = 4.0 * abs(math.sin(turn) * math.cos(turn)) / (math.cos(turn) ** 2 + curve.leakage)
        found.append(
            replace(
                anchor,
                fluence_sigma_rel=math.hypot(anchor.fluence_sigma_rel, slope * math.radians(sigma_deg)),
            )
        )
    return tuple(found)


def _dark_record(raw: _Raw) -> DarkRecord:
    frames = raw.dark.astype(np.float64)
    return DarkRecord(
        1, "dark", frames.mean(axis=0), frames.std(axis=0, ddof=1), len(frames), raw.integration_s, raw.at_s,
        raw.temperature_c,
    )  # fmt: skip


def _points(
    raw: _Raw,
    plan: FlyPlan,
    solved: Solved,
    clipped: NDArray[np.bool_],
    dark: DarkRecord,
    roles: Roles,
    pump: Pump,
    bands: Bands,
    narrow: FloatArray,
) -> Iterator[SweepPoint]:
    """Make a point of each bin: its exposures are shots, its fluence the N-th root of <F^N>.

    :param narrow: light in narrow peaks of each shot, by one and the same sum over pixels for all points: the
        peaks of a point's own few shots would be found where chance makes them bright.
    """
    info, settings = roles.spectrometer.info, pump.settings
    state, dose = raw.states[0], 0.0
    inside = band_slice(info.wavelength_nm, bands_of(bands).whole)
    for index, group in enumerate(groups(solved.fluence_uj_cm2, solved.good, plan.points)):
        frames = raw.frames[group].astype(np.float64)
        fluence = root_mean(solved.fluence_uj_cm2[group], settings.photon_order)
        dose += float(solved.fluence_uj_cm2[group].sum())
        found = reduce_exposures(
            info.wavelength_nm, frames, dark.counts, bands=bands_of(bands), pulses_per_exposure=1.0,
            nonlinearity=info.nonlinearity, remove_spikes=False, dark_exposures=dark.n,
            resolution_nm=info.resolution_nm,
        )  # fmt: skip
        power_w = state.reading.power_w * fluence / state.fluence_uj_cm2
        yield SweepPoint(
            index=index,
            direction="up",
            fluence_set_uj_cm2=fluence,
            fluence_uj_cm2=fluence,
            fluence_sigma_rel=solved.error_rel(fluence, settings.angle_sigma_deg),
            pulse_energy_j=pump.beam.energy_j(fluence),
            angle_deg=pump.aim.angle_deg(min(fluence, plan.stop_uj_cm2)),
            power_before_w=power_w,
            power_after_w=power_w,
            power_sigma_w=state.reading.sigma_w,
            integration_s=raw.integration_s,
            exposures=len(frames),
            pulses_per_exposure=1.0,
            signal=found.signal_whole,
            signal_sigma=found.signal_whole_sigma,
            peaks_signal=float(narrow[group].mean()),
            peaks_signal_sigma=float(narrow[group].std(ddof=1) / math.sqrt(group.size)),
            fwhm_nm=found.fwhm_nm,
            equivalent_width_nm=found.equivalent_width_nm,
            peak_count=found.peak_count,
            peak_wavelength_nm=found.peak_wavelength_nm,
            exposure_cv=math.nan if found.exposure_cv is None else found.exposure_cv,
            saturation=float(frames[:, inside].max() / info.max_counts),
            saturated_exposures=int(clipped[group].sum()),
            spikes_removed=0,
            dark_number=dark.number,
            blank_number=None,
            temperature_c=raw.temperature_c,
            dose_uj_cm2=dose,
            elapsed_s=float(np.mean(raw.time_s[group]) - raw.time_s[0]),
            flags=("fly", *solved.motion.flags),
            frames=frames,
            spectrum=found.spectrum,
            left_out=(),
        )
