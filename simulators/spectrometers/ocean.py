"""Which spectrometer stands before the scene: an Ocean FX on TCP, or one with a USB plug."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulators.link import Wire
from simulators.registry import Simulator
from simulators.scene import Scene
from simulators.spectrometers.ocean_fx import OceanFx
from simulators.spectrometers.ocean_fx_camera import laser_triggers
from simulators.spectrometers.ocean_obp import QePro, Sr
from simulators.spectrometers.ocean_ooi import OoiSpectrometer
from simulators.spectrometers.ocean_usb import USB_MODELS, OceanPlug, UsbCamera
from simulators.usb.device import Plug, UsbDevice


def _with_laser(scene: Scene) -> Wire:
    """Build the spectrometer with the laser's trigger output on its trigger input."""
    laser, name = scene.laser, scene.settings.camera.model

    def deaf_until_s(at_s: float) -> float | None:
        spell = scene.camera.deaf.at(at_s)
        return None if spell is None else spell.end_s

    triggers = laser_triggers(laser.settings.repetition_rate_hz, laser.phase, deaf_until_s)
    if name not in USB_MODELS:
        return OceanFx(scene.clock, scene.camera, triggers)
    camera, protocol = UsbCamera(USB_MODELS[name], scene.camera), USB_MODELS[name].protocol
    if protocol == "ooi":
        return OoiSpectrometer(scene.clock, name, camera, triggers)
    return QePro(scene.clock, camera, triggers) if protocol == "obp" else Sr(scene.clock, camera, triggers)


def _plug(scene: Scene) -> Plug | None:
    name = scene.settings.camera.model
    if name not in USB_MODELS:
        return None
    serial = UsbCamera(USB_MODELS[name], scene.camera).serial

    def plug(wire: Callable[[], Any]) -> UsbDevice:
        return OceanPlug(name, serial, wire)

    return plug


SIMULATOR = Simulator("ocean", "spectrometer", _with_laser, serial=False, plug=_plug)
