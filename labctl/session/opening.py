"""Opens the instruments of a bench: all of them are tried, and all that failed are told at once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from drivers import registry
from labctl.config import BenchConfig, RoleName
from labctl.model.clock import Clock, ScaledClock, Stop, check_stop, hearing
from labctl.model.errors import ConnectionFailure, InstrumentError, NotConnected
from labctl.model.records import Identity
from labctl.model.roles import (
    Attenuator,
    Device,
    PowerMeter,
    Roles,
    Shutter,
    Spectrometer,
    Stage,
    Thermometer,
)

log = logging.getLogger(__name__)

_FIRST: RoleName = "shutter"
"""Whatever happens next, it can be closed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Every instrument that answered, who it is, and why the others did not."""

    devices: Mapping[RoleName, Device]
    identities: Mapping[RoleName, Identity]
    failures: tuple[ConnectionFailure, ...]

    def roles(self, clock: Clock) -> Roles:
        """Return the four roles, and the optional ones the bench has.

        :raises NotConnected: any of them is missing; all that are missing are named.
        """
        if self.failures:
            raise NotConnected(self.failures)
        return Roles(
            attenuator=cast("Attenuator", self.devices["attenuator"]),
            power_meter=cast("PowerMeter", self.devices["power_meter"]),
            spectrometer=cast("Spectrometer", self.devices["spectrometer"]),
            shutter=cast("Shutter", self.devices["shutter"]),
            clock=clock,
            stage=cast("Stage | None", self.devices.get("stage")),
            thermometer=cast("Thermometer | None", self.devices.get("thermometer")),
        )

    def close(self) -> None:
        """Release every connection, whatever one of them does."""
        for role, device in reversed(list(self.devices.items())):
            try:
                device.close()
            except Exception:
                log.exception("while closing the %s", role)


def bench_clock(config: BenchConfig) -> Clock:
    """Return the clock of a bench: the wall's, or that of a simulated bench that runs faster."""
    return ScaledClock(config.bench.time_scale)


def open_all(config: BenchConfig, clock: Clock, stop: Stop | None = None) -> Opened:
    """Connect to every instrument and ask each who it is; the shutter is closed before any other is opened.

    A blade that is not confirmed closed is a failure of the shutter, and then no mount is homed at connect.

    :raises Aborted: ``stop`` was set in between; what was open is closed again.
    """
    devices: dict[RoleName, Device] = {}
    identities: dict[RoleName, Identity] = {}
    failures: dict[RoleName, ConnectionFailure] = {}
    try:
        for role in (_FIRST, *(role for role in config.roles if role != _FIRST)):
            check_stop(stop)
            with _collected(role, config, failures):
                with hearing(stop):
                    devices[role] = _open(role, config, clock, may_move="shutter" not in failures)
                    identities[role] = devices[role].identity()
                log.info("%s: %s at %s", role, identities[role], config.driver(role).resource)
                if role == "shutter":
                    cast("Shutter", devices[role]).close_beam()
    except BaseException:
        Opened(devices, identities, ()).close()
        raise
    return Opened(devices, identities, tuple(failures[role] for role in config.roles if role in failures))


def _open(role: RoleName, config: BenchConfig, clock: Clock, *, may_move: bool) -> Device:
    table = config.driver(role)
    if not may_move and getattr(table, "home_at_connect", False):
        table = table.model_copy(update={"home_at_connect": False})
    return cast("Device", registry.find(role, table.driver).open(table, clock))


@contextlib.contextmanager
def _collected(
    role: RoleName, config: BenchConfig, failures: dict[RoleName, ConnectionFailure]
) -> Iterator[None]:
    try:
        yield
    except NotConnected as exc:
        log.warning("%s", exc)
        failures[role] = exc.failures[0]
    except InstrumentError as exc:
        log.warning("%s", exc)
        resource = config.driver(role).resource
        reason = exc.message.removeprefix(f"{exc.instrument}: ")
        failures[role] = ConnectionFailure(role, resource, reason, exc.hint)
