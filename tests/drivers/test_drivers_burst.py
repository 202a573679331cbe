"""Every shot out of a spectrometer's own buffer: its bytes, the simulator behind it, and what goes wrong."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from drivers_stub import stub
from ocean_stub import PIXELS, Device
from patience import PATIENCE_S, until

from drivers.spectrometers.ocean import IsolatedSpectrometer
from drivers.spectrometers.ocean_child import OceanSpectrometer
from drivers.support.ocean_cameras import Buffered
from labctl.model.clock import ScaledClock
from labctl.model.errors import Aborted, InstrumentError, InstrumentFault, InstrumentTimeout, ProtocolError
from labctl.model.roles import BurstSpectrometer, bursting
from labctl.model.shots import ShotBatch
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene.chance import Spell

BLOCK = struct.Struct("<HHLQLLLLQH22x")


def block(number: int, **changed: int) -> bytes:
    """Return a buffered spectrum: its pixels begin with its number."""
    fields: dict[str, int] = {
        "version": 1, "metadata_bytes": 64, "pixel_bytes": 2 * PIXELS, "time_us": 7_000_000 + 1000 * number,
        "integration_us": 900, "pixel_format": 1, "count": number, "last_count": number - 1,
        "last_time_us": 7_000_000, "scans": 1,
    }  # fmt: skip
    pixels = np.arange(number, number + PIXELS).astype("<u2").tobytes()
    return BLOCK.pack(*(fields | changed).values()) + pixels + b"sum?"


class Buffering(Device):
    """The same device with a buffer that holds spectra 40, 41, ... and refuses to be asked for too many."""

    def __init__(self, waiting: int = 0) -> None:
        super().__init__()
        self.waiting, self.next = waiting, 40
        self.buffering, self.per_trigger, self.trigger = 1, 7, 0
        self.deaf = False
        self.heard: list[tuple[int, bytes]] = []

    def _answer(self, number: int, data: bytes) -> bytes | None:
        self.heard.append((number, data))
        told = {
            0x100820: struct.pack("<L", 50_000),
            0x100800: bytes([self.buffering]),
            0x100900: struct.pack("<L", self.waiting),
            0x110100: bytes([self.trigger]),
            0x110102: struct.pack("<L", self.per_trigger),
        }
        if number in told:
            return told[number]
        if number == 0x100980:
            return self._blocks(*struct.unpack("<L", data))
        return b"" if self._set(number, data) else super()._answer(number, data)

    def _set(self, number: int, data: bytes) -> bool:
        if number == 0x100810:
            self.buffering = data[0] if not self.deaf else 1 - data[0]
        elif number == 0x110112:
            (self.per_trigger,) = struct.unpack("<L", data)
        elif number == 0x110110:
            self.trigger = data[0]
        return number in (0x100810, 0x110112, 0x110110, 0x100830, 0x100832)

    def _blocks(self, count: int) -> bytes | None:
        if not 1 <= count <= min(15, self.waiting):
            return None
        self.waiting -= count
        self.next += count
        return b"".join(block(n) for n in range(self.next - count, self.next))


@contextmanager
def opened(device: Device, **options: Any) -> Iterator[OceanSpectrometer]:
    with stub(device) as server:
        spectrometer = OceanSpectrometer(f"FX@127.0.0.1:{server.port}", **({"trigger": "edge"} | options))
        try:
            yield spectrometer
        finally:
            spectrometer.close()


def test_arming_and_fetching_byte_by_byte() -> None:
    device = Buffering(waiting=33)
    with opened(device) as spectrometer:
        assert isinstance(spectrometer, BurstSpectrometer)
        assert spectrometer.buffer_shots == 50_000
        assert (0x100810, b"\x00") in device.heard  # it was left on by somebody
        spectrometer.set_integration(900e-6)
        device.heard.clear()
        spectrometer.arm(32)
        sets = [(number, data) for number, data in device.heard if data or number == 0x100830]
        assert sets == [
            (0x100832, struct.pack("<L", 50_000)),
            (0x110112, struct.pack("<L", 1)),
            (0x100810, b"\x01"),
            (0x100830, b""),
        ]
        device.heard.clear()
        batch = spectrometer.fetch()
        assert [(number, data) for number, data in device.heard if number >> 12 == 0x100] == [
            (0x100900, b""),
            *[(0x100980, struct.pack("<L", count)) for count in (15, 15, 2)],
        ]
        assert batch.frames.dtype == np.uint16
        assert batch.frames.shape == (32, PIXELS)
        assert batch.frames[:, 0].tolist() == list(range(40, 72))
        assert batch.frames[31, -1] == 71 + PIXELS - 1
        assert batch.spectrum_count.tolist() == list(range(40, 72))
        assert batch.device_time_us.tolist() == [7_000_000 + 1000 * n for n in range(40, 72)]
        assert batch.integration_s == pytest.approx(900e-6)
        with pytest.raises(InstrumentFault, match="not armed for more shots"):
            spectrometer.fetch()
        device.heard.clear()
        spectrometer.disarm()
        assert device.heard == [(0x100800, b""), (0x100810, b"\x00"), (0x100800, b"")]
        spectrometer.disarm()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"metadata_bytes": 32}, "metadata_bytes 32 instead of 64"),
        ({"pixel_bytes": 4 * PIXELS}, "pixel_bytes 8544 instead of 4272"),
        ({"pixel_format": 3}, "pixel_format 3 instead of 1"),
        ({"scans": 4}, "scans 4 instead of 1"),
        ({"integration_us": 1000}, "several exposure times: \\[900, 1000\\]"),
    ],
)
def test_spectra_that_are_not_as_described_are_refused(wrong: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Buffered.of(block(1) + block(2, **wrong), PIXELS)
    with pytest.raises(ValueError, match="bytes of spectra"):
        Buffered.of(block(1)[:-1], PIXELS)


def test_a_garbled_batch_is_told_as_one() -> None:
    class Garbling(Buffering):
        def _answer(self, number: int, data: bytes) -> bytes | None:
            answer = super()._answer(number, data)
            return answer[:-100] if answer and number == 0x100980 else answer

    with opened(Garbling(waiting=3)) as spectrometer:
        spectrometer.set_integration(900e-6)
        spectrometer.arm(3)
        with pytest.raises(ProtocolError, match="its buffer: the answer cannot be parsed"):
            spectrometer.fetch()


def test_a_device_that_does_not_obey_is_not_armed() -> None:
    device = Buffering()
    with opened(device) as spectrometer:
        spectrometer.set_integration(900e-6)
        device.deaf = True
        with pytest.raises(InstrumentFault, match="does not confirm that it keeps one spectrum a trigger"):
            spectrometer.arm(3)
        device.buffering = 0
        with pytest.raises(InstrumentFault, match="not armed"):
            spectrometer.fetch()


def test_what_cannot_burst_says_why() -> None:
    with opened(Device(), trigger="free") as plain:
        assert bursting(plain) is None
        with pytest.raises(InstrumentFault, match="no buffer that keeps every shot"):
            plain.arm(1)
    with opened(Buffering(), trigger="free") as free:
        free.set_integration(900e-6)
        with pytest.raises(InstrumentFault, match="runs freely") as told:
            free.arm(1)
        assert 'trigger = "edge"' in told.value.hint
    with opened(Buffering()) as unset, pytest.raises(InstrumentFault, match="no integration time"):
        unset.arm(1)


# --- over the simulator's wire ---------------------------------------------------------------------------


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", level="typical", seed=3), ScaledClock()) as running:
        running.scene.shutter.command(True)
        running.scene.mount.track.go(0.0, 0.0, running.scene.settings.optics.zero_deg)
        yield running


@pytest.fixture
def spectrometer(bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolatedSpectrometer]:
    monkeypatch.setattr("drivers.spectrometers.ocean.OPEN_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr("drivers.spectrometers.ocean.ANSWER_TIMEOUT_S", PATIENCE_S)
    device = IsolatedSpectrometer(
        bench.resources["spectrometer"], clock=bench.scene.clock, trigger="edge", timeout_margin_s=PATIENCE_S
    )
    device.set_integration(0.9e-3)
    yield device
    device.close()


def fetched(spectrometer: IsolatedSpectrometer, shots: int) -> ShotBatch:
    """Fetch that many shots, and put them together."""
    batches: list[ShotBatch] = []
    while sum(map(len, batches)) < shots:
        batches.append(spectrometer.fetch())
    return ShotBatch(
        np.concatenate([b.frames for b in batches]),
        np.concatenate([b.device_time_us for b in batches]),
        np.concatenate([b.spectrum_count for b in batches]),
        batches[-1].integration_s,
        batches[-1].received_s,
    )


def test_every_shot_is_the_one_the_scene_made(
    bench: SimulatedBench, spectrometer: IsolatedSpectrometer
) -> None:
    spectrometer.arm(200)
    got = fetched(spectrometer, 200)
    spectrometer.disarm()
    assert len(got) == 200
    assert np.diff(got.spectrum_count).tolist() == [1] * 199
    assert np.abs(np.diff(got.device_time_us) - 1000).max() <= 1
    for shot in (0, 1, 57, 199):
        made = bench.scene.camera.expose((int(got.device_time_us[shot]) - 900) * 1e-6, 0.9e-3)
        np.testing.assert_array_equal(got.frames[shot], made)
    assert got.integration_s == pytest.approx(0.9e-3)
    assert spectrometer.acquire().counts.shape == (2136,)


def test_two_bursts_do_not_mix(spectrometer: IsolatedSpectrometer) -> None:
    spectrometer.arm(20)
    first = fetched(spectrometer, 20)
    spectrometer.disarm()
    spectrometer.arm(20)
    second = fetched(spectrometer, 20)
    spectrometer.disarm()
    assert second.device_time_us[0] > first.device_time_us[-1]


def test_shots_that_leave_a_full_buffer_are_seen_in_the_spectrum_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("drivers.spectrometers.ocean.OPEN_TIMEOUT_S", PATIENCE_S)
    for module in ("ocean_fx", "ocean_fx_camera"):
        monkeypatch.setattr(f"simulators.spectrometers.{module}.CAPACITY", 200)
    with SimulatedBench(presets.scene("ola", level="ideal", seed=3), ScaledClock()) as bench:
        clock = bench.scene.clock
        device = IsolatedSpectrometer(bench.resources["spectrometer"], clock=clock, trigger="edge")
        device.set_integration(0.9e-3)
        assert device.buffer_shots == 200
        device.arm(10**6)
        first = device.fetch()
        began_s = clock.now_s()
        until(lambda: clock.now_s() > began_s + 0.6)
        second = device.fetch()
        device.close()
    step = int(second.spectrum_count[0] - first.spectrum_count[-1])
    assert step > 200
    assert second.device_time_us[0] - first.device_time_us[-1] == pytest.approx(1000 * step, abs=1)


def test_a_trigger_that_never_comes_is_told_by_name(
    bench: SimulatedBench, spectrometer: IsolatedSpectrometer
) -> None:
    with bench.scene.lock:
        bench.scene.camera.deaf.add(Spell(bench.scene.clock.now_s()))
    spectrometer.arm(10)
    with pytest.raises(InstrumentTimeout, match="no shot within 1 s: no trigger reaches it") as told:
        fetched(spectrometer, 10)
    assert "cable from its trigger output" in told.value.hint


def test_a_stop_ends_the_wait_for_a_shot(bench: SimulatedBench, spectrometer: IsolatedSpectrometer) -> None:
    with bench.scene.lock:
        bench.scene.camera.deaf.add(Spell(bench.scene.clock.now_s()))
    spectrometer.arm(10)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Aborted):
        spectrometer.fetch(stop)


def test_a_burst_whose_process_is_lost_does_not_go_on_behind_our_back(
    spectrometer: IsolatedSpectrometer,
) -> None:
    spectrometer.arm(1000)
    spectrometer.fetch()
    child = spectrometer._child
    assert child is not None
    child.kill()
    with pytest.raises(InstrumentError, match="its process ended during 'fetch'"):
        fetched(spectrometer, 10**6)
    with pytest.raises(InstrumentError, match="lost in a burst"):
        spectrometer.fetch()
    spectrometer.disarm()
    spectrometer.arm(10)
    assert len(fetched(spectrometer, 10)) == 10
