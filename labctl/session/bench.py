"""A bench that is open: its four roles, its pump and its bands, until it is made safe and closed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from labctl.analysis.spectra.reduce import polynomial_problem
from labctl.config import BenchConfig, RoleName, load_bench
from labctl.model.clock import Clock, SteppedClock, Stop
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import Identity, SpectrometerInfo
from labctl.model.roles import Roles, confirms
from labctl.model.run import RunFacts
from labctl.session.exits import ExitHandler, closed_when_silent, exit_handler
from labctl.session.opening import (
    Opened,
    bench_clock,
    measured_info,
    open_all,
    refuse_calibrations,
    refuse_limits,
    remarks_on_identity,
    remarks_on_time,
)
from labctl.session.unwatched_light import DeadMan, SignsOfLife, watched
from labctl.session.watchdog.parent import Watchdog, watching
from labctl.session.watchdog.registry import Tell
from procedures.fluence_sweep import Sweep
from procedures.fluence_sweep import sweep as measured
from procedures.gate.hooks import Hooks, hooked
from procedures.gate.pump import Pump
from procedures.gate.safe_state import cause_said, made_safe
from procedures.gate.shutter import Permit

log = logging.getLogger(__name__)


Calibrations = Literal["use", "ignore"]
UNCONFIRMED = (
    "shutter: it tells what it was told, no sensor at its blade confirms it; "
    "only a detector behind it sees whether it is closed"
)


@dataclass(frozen=True, slots=True)
class Bench:
    """An open bench. All of it belongs to the thread that opened it.

    :param config: the bench file.
    :param bands: where emission and lasing peaks are looked for, nm.
    :param identities: identity of each instrument, by role.
    :param roles: the instruments, to look at; shutter and mount let light through for the pump alone.
    :param pump: the only way to set a fluence; it enforces the limits of the configuration.
    :param watchdog: while the shutter is open it wants a sign of life every few seconds. Waiting on
        ``roles.clock`` and using the instruments is one; before a longer pause call its ``beat(busy_s)``.
    :param warnings: on the calibrations, in words.
    :param own_info: what the spectrometer says of itself, where a calibration takes the place of it.
    :param hooks: around every call of an instrument; who must see or stop the calls attaches his own.
    """

    config: BenchConfig
    roles: Roles
    pump: Pump
    bands: Bands
    identities: Mapping[RoleName, Identity]
    watchdog: Watchdog | None = None
    warnings: tuple[str, ...] = ()
    own_info: SpectrometerInfo | None = None
    hooks: Hooks = field(default_factory=Hooks)

    @property
    def facts(self) -> RunFacts:
        """What evaluating points needs of the bench they were measured on; it outlives the bench."""
        settings = self.pump.settings
        return RunFacts(
            photon_order=settings.photon_order,
            convention=settings.convention,
            bands=self.bands,
            settings=settings,
            spectrometer=self.roles.spectrometer.info,
            warnings=self.warnings,
        )


@contextmanager
def open_bench(
    bench: Path | str | BenchConfig,
    clock: Clock | None = None,
    stop: Stop | None = None,
    *,
    watchdog: bool | None = None,
    log_file: Path | None = None,
    calibrations: Calibrations = "use",
    tell: Tell = log.warning,
    hear: Tell | None = None,
    over: Tell = log.info,
    met: Callable[[RoleName, Identity], None] = lambda _role, _who: None,
) -> Iterator[Bench]:
    """Open every instrument of a bench; on the way out close the shutter, take the least light, disconnect.

    :param bench: the bench file, or its configuration.
    :param clock: what the procedures wait on; the wall's clock at the bench's ``time_scale`` by default.
    :param stop: ends connecting: anything with ``is_set()``, e.g. a ``threading.Event``.
    :param watchdog: whether a second process makes the bench safe when this one is killed or frozen; by
        default yes, except on a stepped clock.
    :param log_file: of the run, where the watchdog writes what it did; it always says it on stderr.
    :param calibrations: "ignore" to measure them: none is judged, and the spectrometer keeps its own axis.
        The pump's numbers, which they supply, stay as first guesses.
    :param tell: told, in one line each, what is waited for before anything is opened, and what went wrong
        before the bench is made safe after it.
    :param hear: told, in another thread, what the watchdog says on stderr when it acts.
    :param over: told last, in one line, how the bench was left and by what that was confirmed, however it
        ends; nothing where it was not made safe, which is raised, or where there was none.
    :param met: told of each instrument as it answers.
    :raises ConfigError: the file is wrong, a limit is missing or contradicts another, the pump's numbers make
        no sense, or a calibration is not for these instruments, or expired or missing where that is refused.
    :raises NotConnected: instruments could not be reached: all of them, each with what to try.
    :raises SafetyStop: the watchdog cannot be started, that of a killed program does not end, or the shutter
        does not confirm that it is closed.
    :raises NotMadeSafe: on the way out, after a good end or a stop: shutter or attenuator cannot be brought
        to where they harm nothing. The watchdog tries once more, over connections of its own.
    """
    config = load_bench(bench)
    refuse_limits(config)
    if calibrations == "use":
        refuse_calibrations(remarks_on_time(config))
    clock = clock or bench_clock(config)
    with (
        exit_handler() as exits,
        watching(config, clock, wanted=watchdog, log=log_file, tell=tell, hear=hear, stop=stop) as dog,
    ):
        opened = open_all(config, clock, stop, met)
        try:
            with (
                _safe_bench(config, opened, clock, dog, exits, calibrations, tell, over) as ready,
                _gentle(ready, dog, log_file),
            ):
                yield ready
        finally:
            opened.close()


@contextmanager
def _safe_bench(
    config: BenchConfig,
    opened: Opened,
    clock: Clock,
    dog: Watchdog | None,
    exits: ExitHandler,
    calibrations: Calibrations,
    tell: Tell,
    over: Tell,
) -> Iterator[Bench]:
    own = opened.roles(clock)
    info, warnings = _judged(config, opened, own) if calibrations == "use" else (None, ())
    own_info = None if info is None else own.spectrometer.info
    life, stepped = dog or SignsOfLife(), isinstance(clock, SteppedClock)
    deadman = None if stepped else DeadMan(life, tell, speed=config.bench.time_scale)
    hooks = Hooks()
    roles = watched(hooked(own, hooks, info), hooks, life, exits, deadman)
    hooks.attach(Permit(roles.shutter))
    pump = Pump(roles, config.pump_settings(), config.limit_settings())
    pump.tell = tell
    ends_light = nullcontext() if deadman is None else deadman.guarding(roles.shutter.close_beam)
    made = made_safe(lambda: _all_safe(pump, dog))
    with over_said(pump, over), made, cause_said(tell), ends_light:
        exits.arm(lambda: pump.safe().failures, None if dog is None else dog.done)
        pump.close()  # a shutter that does not confirm is no shutter: refused before anything else
        bands, who = config.band_settings(), opened.identities
        yield Bench(config, roles, pump, bands, who, dog, warnings, own_info, hooks)


@contextmanager
def over_said(pump: Pump, tell: Tell) -> Iterator[None]:
    """Say, however the block ends, how the bench was left, and by what that was confirmed.

    Nothing is said where the bench was not made safe in the block, or something failed: that is an error.

    :param tell: told one line.
    """
    before = pump.left
    try:
        yield
    finally:
        left = pump.left
        if left is not None and left is not before and not left.failures:
            tell(f"finished: {left}")


def _all_safe(pump: Pump, dog: Watchdog | None) -> Sequence[Exception]:
    """Make safe; until that is done the watchdog knows that it is not."""
    if dog is not None:
        dog.bench_safe = False
    failures = pump.safe().failures
    if dog is not None:
        dog.bench_safe = not failures
    return failures


def _judged(
    config: BenchConfig, opened: Opened, roles: Roles
) -> tuple[SpectrometerInfo | None, tuple[str, ...]]:
    """Return what was measured of the spectrometer; a calibration that is not theirs is refused here."""
    remarks = (*remarks_on_time(config), *remarks_on_identity(config, opened.identities))
    refuse_calibrations(remarks)
    for remark in remarks:
        log.warning("%s", remark)
    own = roles.spectrometer.info
    problem = polynomial_problem(own.nonlinearity or (), own.max_counts)
    if problem:
        log.warning("%s", problem)
    if not confirms(roles.shutter):
        log.warning("%s", UNCONFIRMED)
    more = [problem] if problem else []
    more += [] if confirms(roles.shutter) else [UNCONFIRMED]
    return measured_info(own, config), (*map(str, remarks), *more)


def _gentle(bench: Bench, dog: Watchdog | None, log_file: Path | None) -> AbstractContextManager[None]:
    """Outside a run a pause in the light closes the shutter; in a run it means that the run hangs."""
    if dog is None or log_file is not None:
        return nullcontext()
    return closed_when_silent(dog.silence_s, bench.roles.shutter.close_beam)


def sweep(bench: Bench, plan: SweepPlan, stop: Stop | None = None) -> Sweep:
    """Measure a plan on an open bench, yielding each point as soon as it is there.

    Nothing is stored: that is what ``labctl sweep`` does. Leaving the loop early closes the shutter.

    :param bench: an open bench.
    :param plan: a ``SweepPlan``, or an ``AdaptivePlan``, which chooses its fluences.
    :param stop: anything with ``is_set()``, e.g. a ``threading.Event``.
    :returns: an iterator; once it is exhausted, its ``ending`` says why no more points were wanted.
    :raises ConfigError: the plan cannot be done on this bench; nothing has moved.
    :raises SafetyStop: a limit was hit; the shutter is closed.
    :raises InstrumentError: an instrument failed.
    :raises Aborted: ``stop`` was set.
    """
    plan = replace(plan, triggered=bench.config.triggered)
    return measured(plan, bench.roles, bench.pump, bench.bands, stop=stop)
