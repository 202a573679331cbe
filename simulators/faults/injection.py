"""Puts a plan of faults into a simulated bench: into its links, the optical table and the instruments."""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Callable, Mapping
from functools import partial

from labctl.model.errors import ConfigError
from simulators.faults.framing import framer
from simulators.faults.plan import KINDS, Fault, FaultPlan
from simulators.faults.tamper import Armed, FaultLog, Line, Tamper, UsbLine
from simulators.link import Wire
from simulators.scene import Scene
from simulators.scene.chance import Spell
from simulators.spectrometers.obp import Frame, encode

SET_INTEGRATION = 0x00110010
OOI_SET_INTEGRATION = b"\x02"


def befall(scene: Scene, fault: Fault, start_s: float) -> None:
    """Let a fault of the optical table begin.

    :param start_s: now, or a time to come.
    """
    with scene.lock:
        SCENE[fault.kind](scene, fault, start_s)


def _spell(fault: Fault, start_s: float, value: float, ramp_s: float = 0.0) -> Spell:
    duration_s = math.inf if fault.duration_s is None else fault.duration_s
    return Spell(start_s, start_s + duration_s, value, ramp_s)


def _stuck_plate(scene: Scene, fault: Fault, start_s: float) -> None:
    if fault.readback == "commanded":
        scene.mount.loose.add(_spell(fault, start_s, 0.0))
    else:
        scene.mount.seize(_spell(fault, start_s, 0.0))


def _slipped_plate(scene: Scene, fault: Fault, start_s: float) -> None:
    scene.mount.slips.add(_spell(fault, start_s, fault.angle_deg))


def _stuck_stage(scene: Scene, fault: Fault, start_s: float) -> None:
    if scene.stage is not None and fault.readback == "commanded":
        scene.stage.loose.add(_spell(fault, start_s, 0.0))
    elif scene.stage is not None:
        scene.stage.seize(_spell(fault, start_s, 0.0))


def _slipped_stage(scene: Scene, fault: Fault, start_s: float) -> None:
    if scene.stage is not None:
        scene.stage.slips.add(_spell(fault, start_s, fault.shift_um))


def _failed_shutter(scene: Scene, fault: Fault, start_s: float) -> None:
    scene.shutter.stuck.add(_spell(fault, start_s, float(fault.readback == "commanded")))


def _slow_shutter(scene: Scene, fault: Fault, start_s: float) -> None:
    scene.shutter.slow.add(_spell(fault, start_s, fault.travel_s))


def _laser(scene: Scene, fault: Fault, start_s: float) -> None:
    scene.laser.spells.add(_spell(fault, start_s, fault.factor, fault.ramp_s))


def _blocked_meter(scene: Scene, fault: Fault, start_s: float) -> None:
    scene.beam.to_meter.add(_spell(fault, start_s, fault.factor))


def _saturated(scene: Scene, fault: Fault, start_s: float) -> None:
    scene.camera.flood.add(_spell(fault, start_s, fault.full_scales))


def _deaf(scene: Scene, fault: Fault, start_s: float) -> None:
    scene.camera.deaf.add(_spell(fault, start_s, 0.0))


SCENE: dict[str, Callable[[Scene, Fault, float], None]] = {
    "stuck-plate": _stuck_plate,
    "slipped-plate": _slipped_plate,
    "stuck-stage": _stuck_stage,
    "slipped-stage": _slipped_stage,
    "failed-shutter": _failed_shutter,
    "slow-shutter": _slow_shutter,
    "dead-laser": _laser,
    "jumping-laser": _laser,
    "drifting-laser": _laser,
    "blocked-meter": _blocked_meter,
    "saturated-spectrometer": _saturated,
    "deaf-trigger": _deaf,
}


def at_the_panel(fault: Fault) -> bytes:
    """Return what a hand at the instrument's panel does, as the command that does the same; b"" if none."""
    if fault.kind == "wrong-unit":
        return b"SENS:POW:UNIT DBM\n"
    if fault.kind == "wrong-wavelength":
        return f"SENS:CORR:WAV {fault.wavelength_nm:g}\n".encode("ascii")
    if fault.kind == "wrong-range":
        return f"SENS:POW:RANG {fault.range_w:g}\n".encode("ascii")
    return b""


def lose_power(scene: Scene, fault: Fault) -> None:
    """Let the scene's part of an instrument suffer a loss of power: a shutter without power is closed."""
    if fault.instrument == "attenuator":
        scene.mount.lose_power()
    elif fault.instrument == "stage" and scene.stage is not None:
        scene.stage.lose_power()
    elif fault.instrument == "shutter":
        scene.shutter.command(False)


def woken_up(wire: Wire, fault: Fault) -> Wire:
    """Return an instrument that has just started, with the settings somebody gave it since."""
    if fault.integration_s is not None:
        payload = struct.pack("<L", round(fault.integration_s * 1e6))
        older = wire.framing == "ooi"
        wire.receive(OOI_SET_INTEGRATION + payload if older else encode(Frame(SET_INTEGRATION, payload)))
    return wire


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
        _refuse_without_usb(plan, lines)
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
        key = line.link.wire.framing or self._makers[role][0]
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
        elif fault.kind == "open-sensor" and self._scene.plate is not None:
            self._scene.plate.sensor_open = True
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
                hint="labctl simulate --uncalibrated has a stage and a thermometer, --heater a heater",
            )


def _refuse_without_usb(plan: FaultPlan, lines: Mapping[str, Line]) -> None:
    for fault in plan.faults:
        if KINDS[fault.kind].layer == "usb" and not isinstance(lines[fault.instrument or ""], UsbLine):
            raise ConfigError(
                f"the {fault.instrument} of this bench is not on USB",
                key=f"fault[{fault.number}].kind",
                hint="labctl simulate --transport usb",
            )


def _by_the_clock(fault: Fault) -> bool:
    return KINDS[fault.kind].layer == "scene" and fault.at_s is not None


def _time(fault: Fault) -> float:
    return math.inf if fault.at_s is None else fault.at_s
