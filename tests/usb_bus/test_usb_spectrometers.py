"""Spectrometers on USB: unmodified pyseabreeze and compiled cseabreeze, and the driver on top of both."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import PATIENCE_S
from shim import built
from usb_bench import give_shim, usb_bench

from drivers.spectrometers.ocean import IsolatedSpectrometer
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.errors import NotConnected
from simulators import presets
from simulators.scene import Scene
from simulators.scene.chance import Spell
from simulators.spectrometers.ocean_ooi import OoiSpectrometer
from simulators.spectrometers.ocean_usb import USB_MODELS, UsbCamera

SPEED = 20.0
SERIAL = "SIM00001"
COMPILED = ("USB2000PLUS", "USB4000", "HR4000", "MAYA2000PRO", "QEPRO")
SPECTRUM, EDGE, FREE = b"\x09", b"\x0a\x03\x00", b"\x0a\x00\x00"

READ = """
import json, sys
import numpy
from seabreeze.{backend} import SeaBreezeAPI
api = SeaBreezeAPI()
seen = []
(device,) = api.list_devices()
for _ in range(2):
    device.open()
    feature = device.f.spectrometer
    feature.set_trigger_mode(0)
    feature.set_integration_time_micros(20_000)
    axis = feature.get_wavelengths()
    old, new = feature.get_intensities(), feature.get_intensities()
    seen.append([device.model, device.serial_number, len(axis), axis[0], axis[-1], len(old), new.mean()])
    device.close()
print(json.dumps(seen))
"""


def read(backend: str) -> list[list[Any]]:
    """What the library says of the only spectrometer, opened twice, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", READ.format(backend=backend)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("model", USB_MODELS)
def test_pyseabreeze_finds_every_model_and_reads_it(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    with usb_bench(ScaledClock(SPEED), monkeypatch, model) as bench:
        axis = bench.scene.camera.wavelength_nm
        for found in read("pyseabreeze"):
            assert found[:3] == [model, SERIAL, axis.size]
            assert found[3:5] == pytest.approx([axis[0], axis[-1]], abs=2e-3)
            assert found[5] == axis.size
            offset = bench.scene.settings.camera.offset_counts
            assert found[6] == pytest.approx(offset * USB_MODELS[model].full_scale / 65535, rel=0.02)


@pytest.mark.parametrize("model", COMPILED)
def test_compiled_seabreeze_finds_them_and_reads_them(
    monkeypatch: pytest.MonkeyPatch, library: Path, model: str
) -> None:
    give_shim(monkeypatch, library)
    with usb_bench(ScaledClock(SPEED), monkeypatch, model) as bench:
        axis = bench.scene.camera.wavelength_nm
        for found in read("cseabreeze"):
            assert found[0].replace("-", "") == model
            assert found[1] == SERIAL
            assert found[2] == found[5] <= axis.size
            assert found[3:5] == pytest.approx([axis[0], axis[found[2] - 1]], abs=2e-3)
            offset = bench.scene.settings.camera.offset_counts
            assert found[6] == pytest.approx(offset * USB_MODELS[model].full_scale / 65535, rel=0.02)


@pytest.mark.parametrize("backend", ["cseabreeze", "pyseabreeze"])
def test_the_driver_reads_counts_and_says_what_is_there(
    monkeypatch: pytest.MonkeyPatch, library: Path, backend: str
) -> None:
    give_shim(monkeypatch, library)
    clock = ScaledClock(SPEED)
    with usb_bench(clock, monkeypatch) as bench:
        resource = bench.resources["spectrometer"]
        assert resource == SERIAL
        spectrometer = IsolatedSpectrometer(resource, clock=clock, backend=backend)
        assert (spectrometer.info.identity.model, spectrometer.info.identity.serial) == (
            "USB2000PLUS",
            SERIAL,
        )
        assert spectrometer.info.wavelength_nm == pytest.approx(bench.scene.camera.wavelength_nm, abs=2e-3)
        assert spectrometer.info.nonlinearity is None or spectrometer.info.nonlinearity[0] == 1.0
        assert spectrometer.set_integration(0.05) == 0.05
        assert spectrometer.acquire().counts.shape == (2048,)
        bench.scene.camera.flood.add(Spell(0.0, value=2.0))
        spectrometer.acquire()
        assert spectrometer.acquire().counts.max() == spectrometer.info.max_counts == 65535
        spectrometer.close()
        with pytest.raises(NotConnected, match=f"not among USB2000PLUS {SERIAL}"):
            IsolatedSpectrometer("SIM99999", clock=clock, backend=backend)


class Ooi:
    """A wire before an ideal scene on a stepped clock, whose exposures are noted."""

    def __init__(self, model: str = "USB2000PLUS") -> None:
        self.clock = SteppedClock()
        self.scene = Scene(presets.with_usb_spectrometer(presets.scene("ola", "ideal"), model), self.clock)
        camera = UsbCamera(USB_MODELS[model], self.scene.camera)
        self.exposed: list[tuple[float, float]] = []
        expose = camera.expose

        def noted(start_s: float, integration_s: float) -> Any:
            self.exposed.append((start_s, integration_s))
            return expose(start_s, integration_s)

        camera.expose = noted  # type: ignore[method-assign]
        self.wire = OoiSpectrometer(self.clock, model, camera, self.next_trigger)
        self.heard: list[bytes] = []
        self.wire.attach(self.heard.append)
        self.trigger_us = 10**15

    def next_trigger(self, at_us: int) -> int:
        return max(self.trigger_us, at_us)

    def say(self, data: bytes) -> bytes:
        self.heard.clear()
        self.wire.receive(data)
        return b"".join(self.heard)

    def wait(self) -> bytes:
        self.heard.clear()
        while (due_s := self.wire.due_s()) is not None:
            self.clock.sleep(max(due_s - self.clock.now_s(), 0.0))
            self.wire.wake()
        return b"".join(self.heard)


@pytest.fixture
def ooi() -> Ooi:
    return Ooi()


def time_of(milliseconds: int) -> bytes:
    return b"\x02" + struct.pack("<L", milliseconds * 1000)


def test_a_spectrum_ends_with_the_synchronising_byte(ooi: Ooi) -> None:
    assert ooi.say(SPECTRUM) == b""
    spectrum = ooi.wait()
    assert len(spectrum) == 2 * 2048 + 1
    assert spectrum[-1] == 0x69
    assert ooi.wire.sends_spectrum


def test_the_first_spectrum_after_a_change_of_time_is_of_the_old_one(ooi: Ooi) -> None:
    ooi.clock.sleep(0.004)
    ooi.say(time_of(30))
    for _ in range(2):
        ooi.say(SPECTRUM)
        ooi.wait()
    assert [length for _, length in ooi.exposed] == pytest.approx([0.01, 0.03])


def test_who_asks_twice_gets_two(ooi: Ooi) -> None:
    ooi.say(SPECTRUM)
    ooi.say(SPECTRUM)
    assert len(ooi.wait()) == 2 * (2 * 2048 + 1)


def test_who_leaves_gets_none(ooi: Ooi) -> None:
    ooi.say(SPECTRUM)
    ooi.wire.new_client()
    assert ooi.wait() == b""


def test_a_triggered_exposure_begins_with_its_trigger_and_never_without(ooi: Ooi) -> None:
    ooi.say(EDGE)
    ooi.say(SPECTRUM)
    assert ooi.wire.due_s() is None
    ooi.say(FREE)
    ooi.wire.new_client()
    ooi.trigger_us = 500_000
    ooi.say(EDGE)
    ooi.say(SPECTRUM)
    ooi.wait()
    assert ooi.exposed == [(0.5, 0.01)]


def test_limits_of_the_model_are_kept(ooi: Ooi) -> None:
    ooi.say(b"\x02" + struct.pack("<L", 1))
    pixels, time_us = struct.unpack_from("<HL", ooi.say(b"\xfe"))
    assert (pixels, time_us) == (2048, 1000)


@pytest.mark.parametrize("nonsense", [b"", b"\x77", b"\x02\x01", b"\x0a", b"\x0a\x63\x00", b"\x05", b"\x6b"])
def test_what_is_no_command_does_nothing(ooi: Ooi, nonsense: bytes) -> None:
    before = ooi.say(b"\xfe")
    assert ooi.say(nonsense) == b""
    assert ooi.say(b"\xfe") == before


def test_slots_hold_text_that_ends_with_a_zero(ooi: Ooi) -> None:
    for slot in range(31):
        answer = ooi.say(bytes((5, slot)))
        assert len(answer) == 17
        assert answer[:2] == bytes((5, slot))
    assert ooi.say(b"\x05\x00")[2:].rstrip(b"\0") == SERIAL.encode()
    assert float(ooi.say(b"\x05\x01")[2:].rstrip(b"\0")) == pytest.approx(500.0)
    ooi.say(b"\x06\x00SIM00002")
    assert ooi.say(b"\x05\x00")[2:].rstrip(b"\0") == SERIAL.encode()


def test_the_sensor_tells_the_temperature(ooi: Ooi) -> None:
    mark, counts = struct.unpack("<Bh", ooi.say(b"\x6c"))
    assert mark == 0x08
    assert counts * 0.003906 == pytest.approx(ooi.scene.camera.temperature_c(0.0), abs=0.01)


def test_an_hr4000_sends_14_bits_one_of_them_inverted() -> None:
    ooi = Ooi("HR4000")
    ooi.scene.camera.flood.add(Spell(0.0, value=2.0))
    ooi.say(SPECTRUM)
    pixels = np.frombuffer(ooi.wait()[:-1], "<u2")
    assert pixels.size == 3840
    assert set((pixels ^ 0x2000).tolist()) == {16383}
