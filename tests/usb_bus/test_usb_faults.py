"""What only USB does wrong, in the middle of a sweep: it ends by name or goes on soundly, and is dark."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import PATIENCE_S
from shim import built
from usb_bench import give_shim, over_ftdi, usb_bench

from drivers.spectrometers import ocean
from drivers.support.exposures import HandedOut
from labctl.config import parse_bench
from labctl.model.clock import Clock, ScaledClock, SteppedClock
from labctl.model.errors import InstrumentError
from labctl.model.plan import SweepPlan
from labctl.model.records import SweepPoint
from labctl.session import open_bench, sweep

PLAN = SweepPlan(spacing="list", fluences_uj_cm2=(40.0, 90.0, 120.0), average=3, max_integration_s=0.2)
HITS = {"power_meter": ('"^MEAS:POW?$"', 12), "spectrometer": ('"^09$"', 16), "attenuator": ('"0ma"', 2)}
"""The request whose answer is hit, and the how manieth: in the light of a point, or at the move to one."""
DARKEST_DEG = 0.5

METER = [
    ("usb-nak", "given up"),
    ("usb-short-packet", ""),
    ("usb-stall", ""),
    ("usb-wrong-tag", ""),
    ("usb-unread-answer", ""),
    ("usb-unplug", "No device found"),
    ("usb-busy", "Resource busy"),
]
PURE = [
    ("usb-nak", "is lost"),
    ("usb-short-packet", ""),
    ("usb-unplug", "spectrometer"),
]
COMPILED = [
    ("usb-nak", "is lost"),
    ("usb-short-packet", ""),
    ("usb-stall", "Data transfer error"),
    ("usb-unread-answer", ""),
    ("usb-unplug", "Data transfer error"),
    ("usb-busy", "Data transfer error"),
]
MOUNT = [
    ("usb-nak", "given up"),
    ("usb-stall", ""),
    ("usb-unplug", "No such device"),
]
CASES = [
    *(("power_meter", "cseabreeze", *case) for case in METER),
    *(("spectrometer", "pyseabreeze", *case) for case in PURE),
    *(("spectrometer", "cseabreeze", *case) for case in COMPILED),
    *(("attenuator", "cseabreeze", *case) for case in MOUNT),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize(("role", "backend", "kind", "ends"), CASES)
def test_a_fault_of_usb_ends_a_sweep_by_name_or_does_no_harm_and_leaves_it_dark(
    monkeypatch: pytest.MonkeyPatch, library: Path, role: str, backend: str, kind: str, ends: str
) -> None:
    give_shim(monkeypatch, library)
    monkeypatch.setattr(
        ocean, "OPEN_TIMEOUT_S", 4.0
    )  # who says NAK for ever does so when it is opened again, too
    match, nth = HITS[role]
    plan = f'[[fault]]\nkind = "{kind}"\ninstrument = "{role}"\nmatch = {match}\nnth = {nth}\n'
    # On a clock that is stepped the meter is not read while there is light, but before and after it.
    clock: Clock = ScaledClock(20.0) if role == "power_meter" else SteppedClock()
    with usb_bench(clock, monkeypatch, faults=plan) as bench:
        opened_s = _openings(bench.scene.shutter)
        exposed = _noted(bench.scene.camera)
        options = f'driver = "ocean"\nbackend = "{backend}"\ntimeout_margin_s = 1.0\n'
        text = bench.bench_toml(clock.speed or 1.0).replace('driver = "ocean"\n', options)
        text = text.replace(bench.resources["attenuator"], over_ftdi(bench, "attenuator", monkeypatch))
        points: list[SweepPoint] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                with open_bench(parse_bench(text), clock) as opened:
                    points.extend(sweep(opened, PLAN))
            except BaseException as exc:  # noqa: BLE001  looked at below
                errors.append(exc)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "it has not come to an end"
        assert bench.fault_log.kinds() == (kind,)
        assert bench.scene.shutter.closed_switch()
        if role == "spectrometer":
            (firing,) = bench.fault_log
            assert opened_s
            assert opened_s[0] <= firing.wall_s, "it happens in the light of the first point"
        if role != "attenuator":
            turned = (bench.scene.mount.angle_deg() - bench.scene.settings.optics.zero_deg) % 90.0
            assert abs(turned - 45.0) < DARKEST_DEG
    if not ends:
        assert errors == []
        assert len(points) == 3
    else:
        (error,) = errors
        assert isinstance(error, InstrumentError)
        assert role in str(error)
        assert ends in str(error)
    for point in points:  # nothing of an older transfer stands in a spectrum
        for frame in point.frames:
            assert any(np.allclose(frame, counts, atol=0.6) for counts in exposed)


def _openings(shutter: Any) -> list[float]:
    """Keep the times, on the wall, at which the shutter was told to open."""
    opened_s: list[float] = []
    command = shutter.command

    def noted(open_: bool) -> Any:
        if open_:
            opened_s.append(time.monotonic())
        return command(open_)

    shutter.command = noted
    return opened_s


def _noted(camera: Any) -> list[Any]:
    """Keep every exposure of the scene, as the model's converter and its host make it."""
    exposed: list[Any] = []
    expose = camera.expose

    def noted(start_s: float, integration_s: float) -> Any:
        counts = expose(start_s, integration_s)
        exposed.append(counts.astype(float))
        return counts

    camera.expose = noted
    return exposed


@pytest.mark.parametrize(("model", "keep"), [("USB2000PLUS", 1000), ("USB2000PLUS", 2048), ("HR4000", 1024)])
def test_no_spectrum_of_compiled_seabreeze_holds_a_part_of_another(
    monkeypatch: pytest.MonkeyPatch, library: Path, model: str, keep: int
) -> None:
    give_shim(monkeypatch, library)
    hit = f'instrument = "spectrometer"\nmatch = "^09$"\nnth = 3\nbytes = {keep}\n'
    clock = SteppedClock()
    with usb_bench(clock, monkeypatch, model, f'[[fault]]\nkind = "usb-short-packet"\n{hit}') as bench:
        exposed = _noted(bench.scene.camera)
        spectrometer = ocean.IsolatedSpectrometer(
            bench.resources["spectrometer"], clock=clock, backend="cseabreeze"
        )
        spectrometer.set_integration(0.01)
        scale = 65535 / spectrometer.info.max_counts
        for _ in range(4):
            counts = scale * spectrometer.acquire().counts
            assert any(np.allclose(counts, whole[: counts.size], atol=0.6 * scale) for whole in exposed)
        assert len(bench.fault_log) == 1
        assert len(exposed) == 5, "the one that was cut is asked for anew"
        spectrometer.close()


def test_a_spectrum_that_holds_a_part_of_the_one_before_is_known_again() -> None:
    one, two, three, four, five = np.random.default_rng(1).normal(1500.0, 5.0, (5, 2048)).round()
    handed_out = HandedOut()
    assert not handed_out.again(one)
    assert handed_out.again(np.concatenate([two[:1700], one[1700:]]))
    assert not handed_out.again(three)
    assert handed_out.again(np.concatenate([four[:700], three[700:1000], four[1000:]]))
    assert not handed_out.again(five)
    assert handed_out.again(five)


def test_pixels_that_are_all_the_same_say_nothing() -> None:
    handed_out = HandedOut()
    saturated = np.full(2048, 65535.0)
    assert not handed_out.again(saturated)
    assert not handed_out.again(saturated)
    one = np.arange(2048.0)
    one[-300:], one[:300] = 0.0, 65535.0
    two = one + (one % 2 - 0.5) * (one != 0.0) * (one != 65535.0)
    assert not handed_out.again(one)
    assert not handed_out.again(two)
