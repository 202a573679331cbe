"""Ocean Insight spectrometers with a USB plug: what distinguishes the models, and the plug itself.

Numbers as both seabreeze backends know them (seabreeze 2.11: pyseabreeze/devices.py; libseabreeze).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simulators.link import Wire
from simulators.scene.camera import Camera as SceneCamera
from simulators.usb.device import FULL_SPEED, HIGH_SPEED, DeviceInfo, EndpointInfo, Mishap, UsbDevice

OCEAN_OPTICS, OCEAN_INSIGHT = 0x2457, 0x0999
COMMANDS, ANSWERS, SPECTRA, FIRST_SPECTRA = 0x01, 0x81, 0x82, 0x86
VENDOR_CLASS = (0xFF, 0, 0)
UNREAD = Mishap("unread")

Protocol = Literal["ooi", "obp", "obp2"]


@dataclass(frozen=True, slots=True)
class UsbModel:
    """One model.

    :param full_scale: highest number its converter gives.
    :param saturation: counts at which the detector is full, which the host stretches to full scale; 0: the
        device says nothing of it.
    :param saturation_at: where in slot 17 that number stands.
    :param flipped_bits: bits of a pixel that are sent inverted.
    :param two_pipes: whether the first 2048 bytes of a spectrum take a way of their own.
    """

    vendor_id: int
    product_id: int
    protocol: Protocol
    full_scale: int
    integration_min_us: int
    integration_max_us: int
    saturation: int = 0
    saturation_at: int = 4
    flipped_bits: int = 0
    two_pipes: bool = False


USB_MODELS = {
    "USB2000PLUS": UsbModel(
        OCEAN_OPTICS, 0x101E, "ooi", 65535, 1000, 655_350_000, saturation=60_000
    ),
    "USB4000": UsbModel(
        OCEAN_OPTICS, 0x1022, "ooi", 65535, 10, 65_535_000, saturation=62_000, two_pipes=True
    ),
    "HR4000": UsbModel(
        OCEAN_OPTICS, 0x1012, "ooi", 16383, 10, 65_535_000, flipped_bits=0x2000, two_pipes=True
    ),
    "MAYA2000PRO": UsbModel(
        OCEAN_OPTICS, 0x102A, "ooi", 64000, 7200, 65_000_000, saturation=60_000, saturation_at=0
    ),
    "QEPRO": UsbModel(OCEAN_OPTICS, 0x4004, "obp", 200_000, 8000, 1_600_000_000),
    "SR2": UsbModel(OCEAN_INSIGHT, 0x1001, "obp2", 65535, 1, 2_000_000),
    "SR4": UsbModel(OCEAN_INSIGHT, 0x1002, "obp2", 65535, 3800, 10_000_000),
    "SR6": UsbModel(OCEAN_INSIGHT, 0x1005, "obp2", 65535, 7200, 5_000_000),
}  # fmt: skip
"""The saturation levels are choices of this simulator: every device has one of its own."""


class UsbCamera:
    """The scene's camera behind the converter of one model: its full scale is that of the model."""

    def __init__(self, model: UsbModel, camera: SceneCamera) -> None:
        self._camera = camera
        self.max_counts = model.full_scale
        self.integration_min_us, self.integration_max_us = model.integration_min_us, model.integration_max_us
        self.pixels = camera.pixels
        self.dark_pixels = camera.dark_pixels
        self.wavelength_coefficients: tuple[float, ...] = camera.wavelength_coefficients
        self.serial = f"SIM{camera.serial[-5:]}"
        top = model.saturation or model.full_scale
        self._scale = top / camera.max_counts
        per_count = camera.max_counts / model.full_scale
        self.nonlinearity = tuple(c * per_count**power for power, c in enumerate(camera.nonlinearity))

    def expose(self, start_s: float, integration_s: float) -> NDArray[np.uint32]:
        """Return the converter's numbers of one exposure, shape ``(pixel,)``."""
        counts: NDArray[np.uint32] = np.rint(
            self._camera.expose(start_s, integration_s) * self._scale
        ).astype(np.uint32)
        return counts

    def expose_each(self, starts_s: NDArray[np.float64], integration_s: float) -> NDArray[np.uint32]:
        """Return the same of several exposures, shape ``(exposure, pixel)``."""
        counts: NDArray[np.uint32] = np.rint(
            self._camera.expose_each(starts_s, integration_s) * self._scale
        ).astype(np.uint32)
        return counts

    def temperature_c(self, at_s: float) -> float:
        """Return the detector's temperature."""
        return self._camera.temperature_c(at_s)


class OceanPlug(UsbDevice):
    """Commands go in by one endpoint; answers and spectra come out by others, or by the same.

    :param wire: returns the spectrometer that is there; ``sends_spectrum`` says what it is sending.
    """

    def __init__(self, name: str, serial: str, wire: Callable[[], Any]) -> None:
        model = USB_MODELS[name]
        self._wire = wire
        self._two_pipes = model.two_pipes
        self._spectra = SPECTRA if model.protocol == "ooi" else ANSWERS
        # Both libraries read the first 64 bytes of a QE Pro's answer by themselves: no packet may be longer.
        size = 64 if model.protocol == "obp" else 512
        ways = (COMMANDS, SPECTRA, FIRST_SPECTRA, ANSWERS) if model.protocol == "ooi" else (COMMANDS, ANSWERS)
        maker = "Ocean Optics" if model.vendor_id == OCEAN_OPTICS else "Ocean Insight"
        info = DeviceInfo(
            model.vendor_id, model.product_id, maker, name, serial, VENDOR_CLASS,
            tuple(EndpointInfo(way, size) for way in ways), FULL_SPEED if size == 64 else HIGH_SPEED,
        )  # fmt: skip
        super().__init__(info)

    def receive(self, endpoint: int, data: bytes) -> None:
        """Hand a command on."""
        del endpoint
        self.say(data)

    def hear(self, data: bytes) -> None:
        """Send an answer by its endpoint."""
        way = self._spectra if self._wire().sends_spectrum else ANSWERS
        if self.mishap == UNREAD:  # what was left over from somebody else comes first
            self.mishap = None
            self.pipes[way].put(data)
        if way == SPECTRA and self._two_pipes:
            self.send(FIRST_SPECTRA, data[:2048])
            self.send(SPECTRA, data[2048:])
        else:
            self.send(way, data)


class UsbSpectrometer(Wire):
    """What the plug must know of a spectrometer."""

    sends_spectrum = False
    """Whether what it is sending now is a spectrum."""
