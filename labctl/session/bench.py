"""A bench that is open: its four roles, its pump and its bands, until it is made safe and closed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labctl.config import BenchConfig, RoleName, load_bench
from labctl.model.clock import Clock, Stop
from labctl.model.pump import Bands
from labctl.model.records import Identity, SweepPoint
from labctl.model.roles import Roles
from labctl.session.opening import bench_clock, open_all
from procedures.fluence_sweep import sweep as measured
from procedures.plan import SweepPlan
from procedures.pump import Pump

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bench:
    """An open bench. All of it belongs to the thread that opened it.

    :param pump: the only way to set a fluence; it enforces the limits of the configuration.
    """

    config: BenchConfig
    roles: Roles
    pump: Pump
    bands: Bands
    identities: Mapping[RoleName, Identity]


@contextmanager
def open_bench(
    bench: Path | str | BenchConfig, clock: Clock | None = None, stop: Stop | None = None
) -> Iterator[Bench]:
    """Open every instrument of a bench; on the way out close the shutter, take the least light, disconnect.

    :param bench: the bench file, or its configuration.
    :param clock: what the procedures wait on; the wall's clock at the bench's ``time_scale`` by default.
    :raises ConfigError: the file is wrong, or the pump's numbers make no sense.
    :raises NotConnected: instruments could not be reached: all of them, each with what to try.
    """
    config = bench if isinstance(bench, BenchConfig) else load_bench(bench)
    clock = clock or bench_clock(config)
    opened = open_all(config, clock, stop)
    try:
        if opened.failures:
            opened = opened.darkened()
        roles = opened.roles(clock)
        pump = Pump(roles, config.pump_settings(), config.limit_settings())
        try:
            yield Bench(config, roles, pump, config.band_settings(), opened.identities)
        finally:
            for failure in pump.safe():
                log.error("while making the bench safe: %s", failure)
    finally:
        opened.close()


def sweep(bench: Bench, plan: SweepPlan, stop: Stop | None = None) -> Iterator[SweepPoint]:
    """Measure a plan on an open bench, yielding each point as soon as it is there.

    Nothing is stored: that is what ``labctl sweep`` does. Leaving the loop early closes the shutter.

    :param stop: anything with ``is_set()``, e.g. a ``threading.Event``.
    :raises ConfigError: the plan cannot be done on this bench; nothing has moved.
    :raises SafetyStop: a limit was hit; the shutter is closed.
    :raises InstrumentError: an instrument failed.
    :raises Aborted: ``stop`` was set.
    """
    return measured(plan, bench.roles, bench.pump, bench.bands, stop=stop)
