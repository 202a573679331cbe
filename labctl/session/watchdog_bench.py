"""A bench's watchdog: started before any instrument is opened, dismissed after the last is closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from labctl.config import BenchConfig
from labctl.model.clock import Clock, SteppedClock, Stop
from labctl.session.watchdog import LIMIT_S, Watchdog
from labctl.session.watchdog_record import Tell, claimed, recorded, wait_for_others
from labctl.session.watchdog_wire import Assignment


@contextmanager
def watching(
    config: BenchConfig,
    clock: Clock,
    *,
    wanted: bool | None,
    log: Path | None,
    tell: Tell,
    hear: Tell | None = None,
    stop: Stop | None = None,
) -> Iterator[Watchdog | None]:
    """Have a watchdog while inside; it goes at once and touches nothing if the bench was left safe.

    One that still makes this bench safe, after another program was killed, is waited for first.

    :param wanted: None for yes, unless time is stepped: then the instruments are part of this process.
    :param log: the run's log file, where the watchdog writes what it did.
    :param tell: told what is waited for.
    :param hear: told what the watchdog says on stderr when it acts.
    :raises SafetyStop: it cannot be started, the other one does not come to an end, or another program that
        lives has the bench open.
    :raises Aborted: ``stop`` was set while waiting.
    """
    stepped = isinstance(clock, SteppedClock)
    with nullcontext() if stepped else alone(config, tell, stop):
        if not (not stepped if wanted is None else wanted):
            yield None
            return
        dog = Watchdog(assignment(config, log), hear or (lambda _line: None))
        try:
            with recorded(config, dog.pid):
                try:
                    yield dog
                finally:
                    dog.leave()
        finally:
            dog.done()


@contextmanager
def alone(config: BenchConfig, tell: Tell, stop: Stop | None = None) -> Iterator[None]:
    """Have the bench for this program while inside; a watchdog that still makes it safe is waited for.

    :raises SafetyStop: that one does not come to an end, or another program that lives has the bench open.
    :raises Aborted: ``stop`` was set while waiting.
    """
    wait_for_others(config, tell, stop)
    with claimed(config):
        yield


def assignment(config: BenchConfig, log: Path | None = None) -> Assignment:
    """Return what a watchdog of this process must know to make the bench safe alone."""
    return Assignment(
        pid=os.getpid(),
        limit_s=LIMIT_S,
        time_scale=config.bench.time_scale,
        shutter=config.shutter.model_dump(mode="json"),
        attenuator=config.attenuator.model_dump(mode="json"),
        curve=config.pump.attenuator_curve.model_dump(mode="json"),
        angle_range_deg=config.limits.angle_range_deg,
        log=None if log is None else str(log.resolve()),
    )
