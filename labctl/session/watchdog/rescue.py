"""Making a bench safe from outside, after the program that ran it has died.

Shutter first, then the attenuator; each step opens its own instrument, anew and again until its deadline,
and one that fails does not stop the next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from drivers import registry
from drivers.registry import DriverConfig, RoleName, VisaConfig
from drivers.support.session import load_visa
from labctl.model.clock import Clock, ScaledClock
from labctl.model.errors import InstrumentError, InstrumentFault, InstrumentTimeout, NotConnected
from labctl.model.pump import MalusCurve, TableCurve
from labctl.model.roles import Attenuator, Shutter, confirms
from labctl.session.watchdog.wire import Assignment
from procedures.gate.attenuator import ARRIVAL_DEG, allowed_angles, make_curve, off
from procedures.gate.safe_state import Action, end_light, make_safe, may_turn

log = logging.getLogger(__name__)

SHUTTER_S = 4.0
"""Wall seconds for the shutter before the attenuator is turned to in its stead."""
ATTENUATOR_S = 20.0
SHUTTER_AGAIN_S = 20.0
SLOW_S = 1.5
"""So long a silence of the instrument is borne without a word."""
PAUSE_S = 0.1
"""A port may stay taken for a moment after its owner's end; so often it is tried."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument that can be opened: its role and its checked configuration."""

    role: RoleName
    config: DriverConfig

    @property
    def name(self) -> str:
        """Role and address, as errors say them."""
        return f"{self.role} {self.config.resource}"


class Rescue:
    """Everything checked and imported beforehand, so that nothing of it can fail when it is needed.

    :raises Exception: the assignment cannot be carried out; whatever is wrong with it.
    """

    def __init__(self, assignment: Assignment, wall: Clock | None = None) -> None:
        self._wall = wall or ScaledClock()
        self._bench_clock = ScaledClock(assignment.time_scale)
        self._shutter = _instrument("shutter", assignment.shutter)
        self._attenuator = _instrument("attenuator", assignment.attenuator)
        self._curve = _curve(assignment.curve)
        self._allowed = assignment.angle_range_deg
        self._dark, self._word = False, ""
        self._reasons: dict[str, InstrumentError] = {}

    def make_safe(self, *, referenced: bool) -> list[Exception]:
        """Close the shutter, drop the attenuator; return what failed, nothing when the bench is safe.

        :param referenced: whether the mount's angle can be trusted; if not it is not moved.
        """
        closing = "closing", self._close_shutter
        failures, dropped = end_light(
            lambda: self._tried(self._shutter, *closing, within_s=SHUTTER_S),
            lambda _failed: self._tried(
                self._attenuator,
                "turning to the lowest transmission",
                lambda end_s: self._drop_attenuator(end_s, referenced),
                within_s=ATTENUATOR_S,
            ),
            again=lambda: self._tried(self._shutter, *closing, within_s=SHUTTER_AGAIN_S),
        )
        return [*failures, *dropped]

    def _tried(
        self, instrument: Instrument, doing: str, act: Callable[[float], None], *, within_s: float
    ) -> list[Exception]:
        """Do a step; one that hangs has failed for the reason that its instrument gave before, if it did."""
        end_s = self._wall.now_s() + within_s
        failed = make_safe(Action(instrument.name, doing, lambda: act(end_s)), deadline_s=within_s + 1.0)
        hung = bool(failed) and type(failed[0]) is InstrumentTimeout
        return [self._reasons[instrument.name]] if hung and instrument.name in self._reasons else failed

    def _close_shutter(self, end_s: float) -> None:
        def close(device: Any) -> None:
            shutter = cast("Shutter", device)
            shutter.close_beam()
            if shutter.is_open():
                raise InstrumentFault(shutter.name, "does not confirm that it is closed", "block the beam")
            self._word = "according to its own sensor" if confirms(shutter) else "commanded, not confirmed"

        self._until(end_s, self._shutter, close)
        self._dark = True
        log.warning("the shutter is closed, %s", self._word)

    def _drop_attenuator(self, end_s: float, referenced: bool) -> None:
        if may_turn(self._attenuator.name, referenced=referenced, lit=not self._dark):
            self._until(end_s, self._attenuator, self._drop)
            log.warning("the attenuator is at its lowest transmission")

    def _drop(self, device: Any) -> None:
        mount = cast("Attenuator", device)
        curve = make_curve(self._curve, allowed_angles(mount.angle_range_deg, self._allowed))
        wanted = curve.floor_deg if self._dark else curve.dark_end_deg(mount.angle_deg())
        found = mount.move_to(wanted)
        if not abs(off(found, wanted)) <= ARRIVAL_DEG:
            raise InstrumentFault(mount.name, f"is at {found:.3f} instead of {wanted:.3f} deg")

    def _until(self, end_s: float, instrument: Instrument, act: Callable[[Any], None]) -> None:
        """Open, act, close; again until it works or the time is over.

        The first failure is said aloud, with how long it is tried; the same one again only when it changes.
        Before that comes, it is said who does not answer. No attempt is begun that would not end in time.

        :raises InstrumentError: the last attempt's reason.
        """
        said, began_s = "", self._wall.now_s()
        with _said_when_slow(f"{instrument.name} does not answer yet; trying for {end_s - began_s:.0f} s"):
            while True:
                tried_s = self._wall.now_s()
                try:
                    return self._once(instrument, act)
                except InstrumentError as exc:
                    self._reasons[instrument.name] = exc
                    now_s = self._wall.now_s()
                    if now_s + max(PAUSE_S, now_s - tried_s) > end_s:
                        if not said:
                            log.warning("%s", _short(exc))
                        raise
                    if not said:
                        log.warning("%s; trying again for up to %.0f s", _short(exc), end_s - began_s)
                    elif said != exc.message:
                        log.info("tried again: %s", exc.message)
                    said = exc.message
                    self._wall.sleep(PAUSE_S)

    def _once(self, instrument: Instrument, act: Callable[[Any], None]) -> None:
        device = registry.connect(instrument.role, instrument.config, self._bench_clock)
        try:
            act(device)
        finally:
            device.close()


@contextmanager
def _said_when_slow(line: str) -> Iterator[None]:
    """Say a line if the block has not ended after a moment: an attempt alone may take some seconds."""
    over = threading.Event()

    def wait() -> None:
        if not over.wait(SLOW_S):
            log.warning("%s", line)

    threading.Thread(target=wait, name="slow", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _short(error: InstrumentError) -> str:
    """Return an error without what to try: nobody has the time for it yet."""
    if isinstance(error, NotConnected):
        return "; ".join(f"{f.role} at {f.resource}: {f.reason}" for f in error.failures)
    return error.message


def _instrument(role: RoleName, table: Mapping[str, object]) -> Instrument:
    spec = registry.find(role, str(table.get("driver")))
    config = spec.config.model_validate(dict(table))
    if isinstance(config, VisaConfig):
        with suppress(Exception):  # loading takes a while, and may start a compiler to find libusb
            load_visa(config.visa_library)
    return Instrument(role, config)


def _curve(fields: Mapping[str, Any]) -> MalusCurve | TableCurve:
    values = {key: value for key, value in fields.items() if key != "kind"}
    if fields.get("kind") == "malus":
        return MalusCurve(**values)
    arrays = {key: np.asarray(value, dtype=np.float64) for key, value in values.items()}
    return TableCurve(**arrays)
