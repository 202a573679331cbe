"""Spectrometers with the older protocol of Ocean Optics: one command a transfer, told by its first byte.

Source: the data sheets of USB2000+, USB4000 and HR4000 ("OEM Data Sheet", USB commands); seabreeze 2.11.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from labctl.model.clock import Clock
from simulators.link import DUE_TOLERANCE_S
from simulators.spectrometers.ocean_fx_camera import (
    EDGE,
    FREE_RUN,
    LEVEL,
    NEVER_US,
    Exposure,
    Timeline,
    Triggers,
)
from simulators.spectrometers.ocean_usb import USB_MODELS, UsbCamera, UsbSpectrometer

SYNC_BYTE = b"\x69"
POWER_ON_INTEGRATION_US = 10_000
HIGH_SPEED = 0x80
FIRMWARE_REGISTER, FIRMWARE = 0x04, 0x1220
"""Version 1.34.0; 3 and above would be a Flame."""
SLOTS = 31
SLOT_BYTES = 15
DEGREES_PER_COUNT = 0.003906
MODES = {0: FREE_RUN, 1: LEVEL, 2: EDGE, 3: EDGE, 4: FREE_RUN}
"""Timeline's mode of each trigger number: free, level, synchronised, edge, single shot.

A synchronised exposure lasts from one trigger to the next; here it lasts as long as it was told.
"""


class OoiSpectrometer(UsbSpectrometer):
    """One spectrometer of the family.

    :param name: of the model, see :data:`simulators.spectrometers.ocean_usb.USB_MODELS`.
    :param triggers: of what is wired to its trigger input, None if nothing is.
    """

    framing = "ooi"

    def __init__(self, clock: Clock, name: str, camera: UsbCamera, triggers: Triggers | None = None) -> None:
        super().__init__(clock)
        self._model, self._camera = USB_MODELS[name], camera
        self._timeline = Timeline(self._now_us(), POWER_ON_INTEGRATION_US, triggers)
        self._trigger = 0
        self._lamp = 0
        self._waiting: Exposure | None = None
        self._asked = 0
        self._slots = self._memory()
        self._registers = {FIRMWARE_REGISTER: FIRMWARE}
        self._commands: dict[int, Callable[[bytes], None]] = {
            0x01: self._initialise,
            0x02: self._set_integration,
            0x03: self._set_lamp,
            0x05: self._read_slot,
            0x06: self._write_slot,
            0x09: self._request,
            0x0A: self._set_trigger,
            0x6A: self._write_register,
            0x6B: self._read_register,
            0x6C: self._read_temperature,
            0xFE: self._status,
        }

    def new_client(self) -> None:
        """Forget the spectra somebody asked for; settings stay."""
        self._waiting, self._asked = None, 0

    def receive(self, data: bytes) -> None:
        """Take one command. What is not known, or not whole, does nothing."""
        command = self._commands.get(data[0]) if data else None
        if command is not None:
            try:
                command(data[1:])
            except struct.error:
                return

    def due_s(self) -> float | None:
        """Return when the spectrum somebody waits for is complete."""
        if self._waiting is None or self._waiting.end_us >= NEVER_US:
            return None
        return self._waiting.end_us * 1e-6

    def wake(self) -> None:
        """Send the spectrum that was waited for."""
        due_s = self.due_s()
        if self._waiting is None or due_s is None or due_s - self.clock.now_s() > DUE_TOLERANCE_S:
            return
        exposure, self._waiting = self._waiting, None
        self._answer_spectrum(exposure)
        if self._asked:
            self._asked -= 1
            self._begin()

    def _now_us(self) -> int:
        return round(self.clock.now_s() * 1e6)

    def _memory(self) -> list[bytes]:
        """Return what stands in the slots of its memory."""
        slots = [b""] * SLOTS
        slots[0] = self._camera.serial.encode("ascii")
        texts = [f"{value:.7e}" for value in self._camera.wavelength_coefficients[:4]]
        curve = self._camera.nonlinearity[:8]
        texts += ["0.0000"] + [f"{value:.7e}" for value in curve] + ["0.0000"] * (8 - len(curve))
        texts.append(str(max(len(curve) - 1, 0)))
        for number, text in enumerate(texts, 1):
            slots[number] = text.encode("ascii")
        at = self._model.saturation_at
        slots[17] = bytes(at) + struct.pack("<H", self._model.saturation)
        return slots

    def _initialise(self, _: bytes) -> None:
        self.new_client()
        self._set_mode(0)
        self._lamp = 0

    def _set_integration(self, data: bytes) -> None:
        (time_us,) = struct.unpack("<L", data)
        limited = min(max(time_us, self._camera.integration_min_us), self._camera.integration_max_us)
        self._timeline.set_integration(self._now_us(), limited)

    def _set_lamp(self, data: bytes) -> None:
        (self._lamp,) = struct.unpack("<H", data)

    def _set_trigger(self, data: bytes) -> None:
        (number,) = struct.unpack("<H", data)
        if number in MODES:
            self._set_mode(number)

    def _set_mode(self, number: int) -> None:
        self._trigger = number
        self._timeline.mode = MODES[number]
        if MODES[number] == FREE_RUN:
            self._timeline.restart(self._now_us())

    def _read_slot(self, data: bytes) -> None:
        (slot,) = struct.unpack("<B", data)
        text = self._slots[slot] if slot < SLOTS else b""
        self._answer(bytes((0x05, slot)) + text.ljust(SLOT_BYTES, b"\0"))

    def _write_slot(self, data: bytes) -> None:
        if data and 0 < data[0] < SLOTS:  # the serial number is not to be written
            self._slots[data[0]] = data[1 : 1 + SLOT_BYTES]

    def _write_register(self, data: bytes) -> None:
        register, value = struct.unpack("<BH", data)
        if register != FIRMWARE_REGISTER:
            self._registers[register] = value

    def _read_register(self, data: bytes) -> None:
        (register,) = struct.unpack("<B", data)
        self._answer(struct.pack("<BH", register, self._registers.get(register, 0)))

    def _read_temperature(self, _: bytes) -> None:
        counts = round(self._camera.temperature_c(self.clock.now_s()) / DEGREES_PER_COUNT)
        self._answer(struct.pack("<Bh", 0x08, counts))

    def _status(self, _: bytes) -> None:
        packets = -(-2 * self._camera.pixels // 512)
        time_us, works = self._timeline.integration_us, self._waiting is not None
        state = self._lamp & 0xFF, self._trigger, works, packets, 0, 0, HIGH_SPEED
        self._answer(struct.pack("<HLBBBBBBxxBx", self._camera.pixels, time_us, *state))

    def _request(self, _: bytes) -> None:
        """Ask for a spectrum; who asks again before it has come gets one more."""
        if self._waiting is None:
            self._begin()
        else:
            self._asked += 1

    def _begin(self) -> None:
        now_us, free = self._now_us(), self._trigger == 0
        self._waiting = self._timeline.running(now_us) if free else self._timeline.restart(now_us)

    def _answer(self, data: bytes) -> None:
        self.sends_spectrum = False
        self._send(data)

    def _answer_spectrum(self, exposure: Exposure) -> None:
        counts = self._camera.expose(exposure.start_us * 1e-6, exposure.integration_us * 1e-6)
        pixels = counts.astype("<u2") ^ np.uint16(self._model.flipped_bits)
        self.sends_spectrum = True
        self._send(pixels.tobytes() + SYNC_BYTE)
