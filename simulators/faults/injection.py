"""Puts a plan of faults into a simulated bench."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from functools import partial

from labctl.model.errors import ConfigError
from simulators.faults.armed import Armed
from simulators.faults.effects import at_the_panel, befall, lose_power, woken_up
from simulators.faults.framing import framer
from simulators.faults.kinds import KINDS
from simulators.faults.log import FaultLog
from simulators.faults.plan import Fault, FaultPlan
from simulators.faults.tamper import Line, Tamper
from simulators.link import Wire
from simulators.scene import Scene


class Injection:
    """The faults of one bench.

    :param lines: server of each role. :param makers: driver key of the instrument there, and how a new one
        is made, for a restart.
    :param log: where firings are entered.
    :raises ConfigError: a fault is meant for an instrument that this bench does not have.
    """

    def __init__(
        self,
        plan: FaultPlan,
        scene: Scene,
        lines: Mapping[str, Line],
        makers: Mapping[str, tuple[str, Callable[[Scene], Wire]]],
        log: FaultLog,
    ) -> None:
        _refuse_absent(plan, lines)
        self._scene, self._makers, self._log = scene, makers, log
        self._timed = sorted((f for f in plan.faults if _by_the_clock(f)), key=_time)
        for fault in self._timed:
            befall(scene, fault, _time(fault))
        self._lock = threading.Lock()
        self._tampers = []
        for role, line in lines.items():
            own = [f for f in plan.faults if f.instrument == role and not _by_the_clock(f)]
            if own:
                self._tampers.append(self._tamper(role, line, [Armed(f, plan.seed) for f in own]))

    def note_due(self) -> None:
        """Enter the faults of the optical table whose time has come."""
        with self._lock:
            while self._timed and _time(self._timed[0]) <= self._scene.clock.now_s():
                fault = self._timed.pop(0)
                self._log.note(fault, _time(fault))

    def close(self) -> None:
        """Let nothing more happen."""
        for tamper in self._tampers:
            tamper.close()

    def _tamper(self, role: str, line: Line, armed: list[Armed]) -> Tamper:
        key, _ = self._makers[role]
        strike = partial(self._strike, line)
        tamper = Tamper(armed, line, framer(key), self._log, self._scene.clock.now_s, strike)
        line.link.tamper = tamper
        return tamper

    def _strike(self, line: Line, fault: Fault) -> None:
        """Let a fault of the instrument's own state, or of the optical table, happen now."""
        if KINDS[fault.kind].layer == "scene":
            befall(self._scene, fault, self._scene.clock.now_s())
        elif fault.kind == "restart":
            lose_power(self._scene, fault)
            line.link.plug(woken_up(self._makers[fault.instrument or ""][1](self._scene), fault))
        elif fault.kind == "tripped-interlock":
            trip = getattr(line.link.wire, "trip_interlock", None)
            if trip is not None:
                trip(True)
        else:
            line.link.wire.receive(at_the_panel(fault))


def _refuse_absent(plan: FaultPlan, lines: Mapping[str, Line]) -> None:
    for fault in plan.faults:
        if fault.instrument is not None and fault.instrument not in lines:
            raise ConfigError(
                f"this bench has no {fault.instrument}",
                key=f"fault[{fault.number}].instrument",
                hint="a bench with stage and thermometer: labctl simulate --uncalibrated",
            )


def _by_the_clock(fault: Fault) -> bool:
    return KINDS[fault.kind].layer == "scene" and fault.at_s is not None


def _time(fault: Fault) -> float:
    return math.inf if fault.at_s is None else fault.at_s
