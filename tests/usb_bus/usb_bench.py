"""A simulated bench on a USB bus that this process reaches, and processes that it starts reach as well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import usb.backend.libusb1
import usbip_backend

from labctl.model.clock import Clock
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.usb.usbip import UsbServer

APT_ID = 0xFAF0
SITE = Path(__file__).parent / "site"


def reach(bench: SimulatedBench, patch: pytest.MonkeyPatch) -> None:
    """Have pyusb find the bus of this bench, here and in processes started from here."""
    assert bench.usb is not None
    address = f"{bench.usb.host}:{bench.usb.port}"
    backend = usbip_backend.UsbIpBackend(address)

    def get_backend(find_library: object = None) -> usbip_backend.UsbIpBackend:
        return backend

    patch.setattr(usb.backend.libusb1, "get_backend", get_backend)
    patch.setenv(usbip_backend.ADDRESS, address)
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(SITE), os.environ.get("PYTHONPATH")))))


@contextmanager
def usb_bench(
    clock: Clock,
    patch: pytest.MonkeyPatch,
    model: str = "USB2000PLUS",
    faults: str = "",
    level: Any = "ideal",
    instruments: tuple[str, ...] = (),
) -> Iterator[SimulatedBench]:
    """Serve a bench on USB, with faults by plan."""
    plan = FaultPlan.parse(faults) if faults else None
    scene = presets.with_usb_spectrometer(presets.scene("ola", level, seed=1), model)
    with SimulatedBench(scene, clock, "usb", plan, instruments=instruments) as bench:
        reach(bench, patch)
        yield bench


def over_ftdi(bench: SimulatedBench, role: str, patch: pytest.MonkeyPatch) -> str:
    """Return the VISA name by which pyftdi reaches a serial instrument, where no kernel gives it a port."""
    import pyftdi.serialext  # noqa: F401  pyserial finds it there
    from pyftdi.ftdi import Ftdi
    from pyftdi.usbtools import UsbTools

    # It lets a quiet line answer every 200 ms only; each silence that a driver listens to would take as long.
    patch.setattr(Ftdi, "set_dynamic_latency", lambda *_: None)
    if APT_ID not in Ftdi.PRODUCT_IDS[Ftdi.FTDI_VENDOR].values():
        Ftdi.add_custom_product(Ftdi.FTDI_VENDOR, APT_ID, "apt")
    UsbTools.release_all_devices()
    UsbTools.flush_cache()  # it would remember the bus of an earlier test
    server = bench.server(role)
    assert isinstance(server, UsbServer)
    info = server.device.info
    return f"ASRLftdi://0x0403:0x{info.product_id:04x}:{info.serial}/1::INSTR"


def give_shim(patch: pytest.MonkeyPatch, library: Path) -> None:
    """Have compiled seabreeze find the bus, in processes started from here."""
    patch.setenv("LD_PRELOAD", str(library))
