"""The fluence sweep: a generator that yields each point as soon as it is measured and stored."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from labctl.model.clock import Stop, check_stop
from labctl.model.errors import ConfigError, InstrumentError, InstrumentFault
from labctl.model.plan import Ending, StabilityPlan, SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import DarkRecord, SweepPoint
from labctl.model.roles import Heater, Roles, RunSink
from procedures.burst_sequence import BurstSequence
from procedures.gate.power_monitor import EnergyLost
from procedures.gate.pump import Pump
from procedures.gate.safe_state import cause_said, made_safe
from procedures.plan import Step, all_fluences, check_bands, validate
from procedures.point.exposure import AutoExposure, ExposureSequence, NoSink, SaturationCheck, ladder
from procedures.point.light_witness import DARK_LOOK_S, LightWitness
from procedures.point.metering import reads_beside
from procedures.point.reduction import Blank, Darks, Reducer, Shots
from procedures.point.stale_frames import StaleFrameFilter
from procedures.steps import StepSource, make_source

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Done:
    """What earlier sessions of the same run have measured; nothing by default.

    :param points: every point so far, in order; their arrays may be empty.
    :param dose_uj_cm2: sum of fluence x pulses so far.
    :param last_dark: number of the last dark; darks go on from it.
    :param elapsed_s: bench time that earlier sessions took.
    """

    points: tuple[SweepPoint, ...] = ()
    dose_uj_cm2: float = 0.0
    last_dark: int = 0
    elapsed_s: float = 0.0


NOTHING_DONE = Done()


class Pause:
    """Asks a sweep to stand still between two points, in the dark. Any thread may call any method.

    >>> pause = Pause()
    >>> pause.hold(); pause.is_set()
    True
    """

    def __init__(self) -> None:
        self._go_on = threading.Event()
        self._go_on.set()
        self._standing = threading.Event()

    def hold(self) -> None:
        """Stand still once the present point is stored."""
        self._go_on.clear()

    def go_on(self) -> None:
        """Go on with the next point."""
        self._go_on.set()

    def is_set(self) -> bool:
        """Return whether the sweep was asked to stand still."""
        return not self._go_on.is_set()

    @property
    def standing(self) -> bool:
        """Whether the sweep does stand still, with the shutter confirmed closed."""
        return self._standing.is_set()

    def stand(self, stop: Stop | None, note: Callable[[str], None]) -> None:
        """Wait until told to go on; called by the sweep, in the dark.

        :param note: takes a line for the run's log.
        :raises Aborted: ``stop`` was set meanwhile.
        """
        note("paused: the shutter is closed")
        self._standing.set()
        try:
            while not self._go_on.wait(_POLL_S):
                check_stop(stop)
        finally:
            self._standing.clear()
        note("the pause has ended")


log = logging.getLogger(__name__)
T = TypeVar("T")
Insert = Callable[[Literal["blank", "sample"]], None]
"""Asks the user to put a blank, or the sample again, into the beam, and waits. May raise Aborted."""


_NOTHING = np.empty((0, 0))
_HEATING_POLL_S = 2.0
"""Bench time between looks at a sample that warms up."""
_PAUSE_S = 1.0
"""Wait before what failed is repeated; twice as long each time."""


class Sweep:
    """An iterator over the points of a sweep; when it is dropped or closed, the bench is made safe.

    :param points: the points as they are measured.
    :param source: which says what comes next.
    :ivar most: how many points there will be at most.
    """

    def __init__(self, points: Iterator[SweepPoint], source: StepSource) -> None:
        self._points, self._source = points, source
        self.most = source.most

    @property
    def ending(self) -> Ending | None:
        """Why no more points were wanted; None before, and for a sweep that was cancelled."""
        return self._source.ending

    def __iter__(self) -> Sweep:
        return self

    def __next__(self) -> SweepPoint:
        return next(self._points)

    def close(self) -> None:
        """End the sweep here, safely."""
        close = getattr(self._points, "close", None)
        if close is not None:
            close()


def sweep(
    plan: SweepPlan,
    roles: Roles,
    pump: Pump,
    bands: Bands,
    *,
    sink: RunSink | None = None,
    stop: Stop | None = None,
    insert: Insert | None = None,
    source: StepSource | None = None,
    done: Done = NOTHING_DONE,
    pause: Pause | None = None,
) -> Sweep:
    """Sweep the pump fluence over a sample.

    The plan is checked here, before anything moves; the instruments are touched with the first point asked
    for. Each dark reaches the sink before a point that refers to it, each point before it is yielded. However
    the generator ends (exhausted, closed, an exception, an abort), the bench is made safe.

    :param plan: what is to be measured.
    :param roles: the instruments.
    :param pump: the gate that sets each fluence.
    :param bands: where the emission is looked for, nm.
    :param sink: stores each point before it is yielded; by default nothing is stored.
    :param stop: ends the sweep: anything with ``is_set()``.
    :param insert: needed for ``background="blank"``.
    :param source: says which fluence comes next; made from the plan by default.
    :param done: what earlier sessions of the same run measured: only the rest is yielded.
    :param pause: while it is set, the sweep stands still between two points, with the shutter closed.
    :raises ConfigError: the plan is impossible or forbidden.
    :raises Aborted: ``stop`` was set (while iterating, like the following).
    :raises SafetyStop: a limit or a consistency check was hit.
    :raises InstrumentError: an instrument failed.
    """
    _refuse_heating(plan, roles.heater)
    validate(
        plan,
        pump.settings,
        pump.limits,
        spectrometer=roles.spectrometer.info,
        angle_range_deg=roles.attenuator.angle_range_deg,
    )
    check_bands(bands, roles.spectrometer.info)
    if plan.background == "blank" and insert is None:
        raise ConfigError("a blank needs an operator to put it into the beam", key="background")
    source = source or make_source(plan, pump.settings, pump.limits)
    run = _Run(plan, roles, pump, bands, sink or NoSink(), done, pause)
    return Sweep(_safely(run, pump, run.points(source, stop, insert)), source)


def _safely(run: _Run, pump: Pump, points: Iterator[SweepPoint]) -> Iterator[SweepPoint]:
    """Pass the points on, and make the bench safe whatever ends them."""
    made = made_safe(lambda: pump.safe().failures, run.tell)
    seen = nullcontext() if run.bursts else pump.seen_by(run.eye)
    with run.metered(), run.heated(), seen, made, cause_said(pump.tell):
        yield from points


def _refuse_heating(plan: SweepPlan, heater: Heater | None) -> None:
    """Refuse temperatures that this bench cannot hold.

    :raises ConfigError: there is no heater, or a temperature is out of its range.
    """
    if not isinstance(plan, StabilityPlan):
        return
    wanted = {"temperature": plan.temperature_c, "end_temperature": plan.end_temperature_c}
    for key, value in wanted.items():
        if value is None:
            continue
        if heater is None:
            raise ConfigError("the bench file names no heater", key=key, hint="add [heater]")
        low, high = heater.temperature_range_c
        if not low <= value <= high:
            raise ConfigError(
                f"{value:g} C is outside {low:g} to {high:g} C",
                key=key,
                hint="see [heater] of the bench file",
            )


class _Run:
    """What one sweep holds together."""

    def __init__(
        self,
        plan: SweepPlan,
        roles: Roles,
        pump: Pump,
        bands: Bands,
        sink: RunSink,
        done: Done,
        pause: Pause | None,
    ) -> None:
        self._plan, self._roles, self._pump, self._sink = plan, roles, pump, sink
        self._done, self._pause = done, pause
        self._heater, self._heats = roles.heater, False
        self._end_c = plan.end_temperature_c if isinstance(plan, StabilityPlan) else None
        self._started_s = roles.clock.now_s() - done.elapsed_s
        info = roles.spectrometer.info
        self._fresh = StaleFrameFilter(
            roles.spectrometer, roles.clock, lambda: pump.light_changed_at_s, pump.allow
        )
        self.eye = LightWitness(self._fresh, pump, roles.clock, triggered=plan.triggered)
        self._darks = Darks(pump, self._fresh, roles.clock, plan, sink, last=done.last_dark, eye=self.eye)
        self._beside = reads_beside(roles.power_meter, roles.clock)
        self._shooter = ExposureSequence(
            plan,
            pump,
            self._fresh,
            SaturationCheck(info, bands, plan.margin_nm),
            self._darks,
            roles.clock,
            self.eye,
            elapsed_s=done.elapsed_s,
            beside=self._beside,
        )
        self._reducer = Reducer(info, bands, plan, roles.power_meter.noise_w)
        self._times = ladder(plan, pump.settings.repetition_rate_hz, info)
        self.bursts: BurstSequence | None = None
        if plan.shots:
            self.bursts = BurstSequence(
                plan, roles, pump, bands, sink, last_dark=done.last_dark, elapsed_s=done.elapsed_s
            )

    def _note(self, text: str) -> None:
        """Write what is no trouble into the log and the run's file."""
        log.info(text)
        self._sink.event(self._roles.clock.now_s(), text)

    def tell(self, text: str, *, aloud: bool = False) -> None:
        """Write into the log and, if it can still take it, into the run's file; aloud, tell the user too."""
        (self._pump.tell if aloud else log.warning)(text)
        try:
            self._sink.event(self._roles.clock.now_s(), text)
        except Exception:
            log.exception("the run file could not be written: %s", text)

    def points(self, source: StepSource, stop: Stop | None, insert: Insert | None) -> Iterator[SweepPoint]:
        """Measure blanks first, if wanted, then point after point."""
        taken = list(self._done.points)
        self._pump.light.restart(self._done.dose_uj_cm2)
        if source.next(taken) is None:
            return  # it was killed between its last point and its end
        self._again("the start", lambda: self._pump.prepare(stop), stop)
        if self.bursts is None:
            self._again("the check of the exposure time", lambda: self._fresh.prove(stop), stop)
        self._warm_up(stop)
        blanks = self._blanks(insert, stop) if insert and self._plan.background == "blank" else {}
        auto = self._auto()
        while (step := source.next(taken)) is not None:
            check_stop(stop)
            self._await(step, stop)
            self._stand_still(stop)
            self._check_warmth(step, stop)
            point = self._point(step, auto, blanks.get(step.fluence_uj_cm2), stop)
            self._sink.append(point)
            taken.append(replace(point, frames=_NOTHING, spectrum=_NOTHING.ravel(), spikes=()))
            if self._beside and not self._plan.keep_open:
                self._pump.look_meanwhile(stop)
            yield point
        if source.ending is not None and source.ending.cause != "plan":
            self._note(f"the sweep ends: {source.ending.reason}")

    def _point(self, step: Step, auto: AutoExposure, blank: Blank | None, stop: Stop | None) -> SweepPoint:
        """Measure a point; of single shots the frames are left out: each is stored already."""
        what, bursts = f"point {step.index + 1}", self.bursts
        if bursts is not None:
            shots, dark = self._again(what, lambda: bursts.shoot(step, stop), stop)
            return replace(self._reducer.point(shots, dark), frames=shots.frames[:0])
        shots = self._shots(what, step, auto, stop)
        dark = self._dark(shots, stop)
        self._again("the check of the exposure time", lambda: self._believe(stop), stop)
        point = self._reducer.point(shots, dark, blank)
        auto.needed.learn_point(point, self._reducer.noise_counts2(dark))
        return point

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Leave the meter to others, however the block ends: no reading beside exposures goes on."""
        try:
            yield
        finally:
            try:
                self._shooter.drop_metering()
            except InstrumentError as exc:
                log.warning("%s", exc.message)

    @contextmanager
    def heated(self) -> Iterator[None]:
        """Leave the heater as the plan wants it, however the block ends; off where that fails."""
        try:
            yield
        finally:
            heater = self._heater
            if heater is not None and self._heats:
                self._leave(heater, self._end_c)

    def _leave(self, heater: Heater, end_c: float | None) -> None:
        try:
            if end_c is not None:
                heater.hold(end_c)
                self.tell(f"the heater goes on holding {end_c:g} C")
                return
        except InstrumentError as exc:
            self.tell(f"the heater is switched off: {exc.message}", aloud=True)
        try:
            heater.off()
            self.tell("the heater is off")
        except InstrumentError as exc:
            self.tell(f"SWITCH THE HEATER OFF: it does not confirm it: {exc.message}", aloud=True)

    def _warm_up(self, stop: Stop | None) -> None:
        """Heat in the dark, and return once the temperature has been right for long enough.

        :raises InstrumentFault: that takes longer than the plan allows, or the sensor is open.
        """
        heater, plan, clock = self._heater, self._plan, self._roles.clock
        if heater is None or not isinstance(plan, StabilityPlan) or plan.temperature_c is None:
            return
        wanted, began_s = plan.temperature_c, clock.now_s()
        self._heats = True
        self._pump.close()
        heater.hold(wanted)
        self._note(f"heating to {wanted:g} C, the shutter closed")
        right_since: float | None = None
        while True:
            shown, now_s = heater.temperature_c(), clock.now_s()
            near = abs(shown - wanted) <= plan.tolerance_c
            right_since = (now_s if right_since is None else right_since) if near else None
            if right_since is not None and now_s - right_since >= plan.settle_s:
                break
            if now_s - began_s > plan.heating_limit_s:
                raise InstrumentFault(
                    heater.name,
                    f"shows {shown:.1f} C after {plan.heating_limit_s:g} s, not {wanted:g} +- "
                    f"{plan.tolerance_c:g} C for {plan.settle_s:g} s",
                    "a longer --heating-limit, or look at heater and sensor",
                )
            clock.sleep(_HEATING_POLL_S, stop)
            self._again("a check of the closed shutter", lambda: self._pump.still_dark(stop), stop)
        self._note(f"the sample is at {shown:.1f} C")

    def _check_warmth(self, step: Step, stop: Stop | None) -> None:
        """Say where the temperature has left its tolerance; a heater whose sensor fails ends the run."""
        heater, plan = self._heater, self._plan
        if heater is None or not self._heats or not isinstance(plan, StabilityPlan):
            return
        shown = self._again("a reading of the heater", heater.temperature_c, stop)
        wanted = plan.temperature_c or 0.0
        if abs(shown - wanted) > plan.tolerance_c:
            text = f"point {step.index + 1}: the heater shows {shown:.1f} C, not {wanted:g} C"
            self.tell(text, aloud=True)

    def _stand_still(self, stop: Stop | None) -> None:
        """Wait in the dark while a pause is wanted."""
        if self._pause is not None and self._pause.is_set():
            self._pump.minimum(stop)
            self._pause.stand(stop, self._note)

    def _await(self, step: Step, stop: Stop | None) -> None:
        """Wait in the dark until a step is due."""
        clock, due_s = self._roles.clock, (step.due_s or 0.0) + self._started_s
        if step.due_s is None or due_s <= clock.now_s():
            return
        self._pump.shut(stop)
        while due_s - clock.now_s() > 1.2 * DARK_LOOK_S:
            clock.sleep(DARK_LOOK_S, stop)
            self._again("a check of the closed shutter", lambda: self._pump.still_dark(stop), stop)
        clock.sleep(due_s - clock.now_s(), stop)

    def _auto(self) -> AutoExposure:
        settings = self._pump.settings
        return AutoExposure(self._times, self._plan, settings.photon_order, settings.repetition_rate_hz)

    def _shots(self, what: str, step: Step, auto: AutoExposure, stop: Stop | None) -> Shots:
        """Shoot, and once more where the laser dropped out or an instrument failed meanwhile.

        :param what: in words; points are counted from 1.
        """
        return self._again(what, lambda: self._shooter.shoot(step, auto, stop), stop)

    def _dark(self, shots: Shots, stop: Stop | None) -> DarkRecord:
        return self._again(
            "a dark",
            lambda: self._darks.get(shots.integration_s, shots.temperature_c, stop, count=shots.darks),
            stop,
        )

    def _believe(self, stop: Stop | None) -> None:
        """Have no point stored whose exposures came at times that the device does not explain.

        :raises InstrumentFault: they last for another time than it confirms.
        """
        if self._fresh.doubtful:
            self._pump.shut(stop)
            self._fresh.prove(stop)

    def _again(self, what: str, measure: Callable[[], T], stop: Stop | None) -> T:
        """Measure; if the light or an instrument failed, make it dark, wait and repeat, by the plan's rule.

        Meanwhile a driver may connect anew: it does so, and looks at identity and settings, by itself.
        """
        for attempt in range(self._plan.retries):
            try:
                return measure()
            except (EnergyLost, InstrumentError) as exc:
                self._pump.close()
                self.tell(f"{what} is repeated: {exc.message}", aloud=True)
                self._roles.clock.sleep(_PAUSE_S * 2**attempt, stop)
        return measure()

    def _blanks(self, insert: Insert, stop: Stop | None) -> dict[float, Blank]:
        """Measure a blank at every fluence of the plan; its light is not the sample's dose."""
        self._pump.minimum(stop)
        insert("blank")
        self._pump.light.on_sample = False
        try:
            found = self._reduced_blanks(stop)
            self._pump.minimum(stop)
        finally:
            self._pump.light.on_sample = True
        insert("sample")
        return found

    def _reduced_blanks(self, stop: Stop | None) -> dict[float, Blank]:
        auto, found = self._auto(), {}
        for fluence in all_fluences(self._plan):
            check_stop(stop)
            what = f"the blank at {fluence:.4g} uJ/cm2"
            shots = self._shots(what, Step(0, fluence, "up"), auto, stop)
            dark = self._dark(shots, stop)
            record = self._darks.record(
                "blank", shots.spectra, shots.integration_s, shots.bracket.fluence_uj_cm2
            )
            found[fluence] = Blank(record, self._reducer.reduce(shots, dark))
        return found
