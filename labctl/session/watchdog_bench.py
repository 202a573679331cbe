"""A bench's watchdog: started before any instrument is opened, dismissed after the last is closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.config import BenchConfig
from labctl.model.clock import Clock, SteppedClock
from labctl.session.watchdog import LIMIT_S, Watchdog
from labctl.session.watchdog_wire import Assignment


@contextmanager
def watching(
    config: BenchConfig, clock: Clock, *, wanted: bool | None, log: Path | None
) -> Iterator[Watchdog | None]:
    """Have a watchdog while inside; it goes at once, and touches nothing, however the block is left.

    :param wanted: None for yes, unless time is stepped: then the instruments are part of this process.
    :param log: the run's log file, where the watchdog writes what it did.
    :raises SafetyStop: it cannot be started.
    """
    if wanted is None:
        wanted = not isinstance(clock, SteppedClock)
    dog = Watchdog(assignment(config, log)) if wanted else None
    try:
        yield dog
    finally:
        if dog is not None:
            dog.done()


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
