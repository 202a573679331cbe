"""What a fault does to the optical table, and to an instrument's own state."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from simulators.faults.plan import Fault
from simulators.link import Wire
from simulators.scene import Scene
from simulators.scene.spells import Spell
from simulators.spectrometers.obp import Frame, encode

SET_INTEGRATION = 0x00110010


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
        wire.receive(encode(Frame(SET_INTEGRATION, payload)))
    return wire
