"""Whole sweeps over USB: meter by USBTMC, spectrometer by either library, mount and shutter by FTDI."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from shim import built
from usb_bench import give_shim, over_ftdi, usb_bench

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.plan import SweepPlan
from labctl.runner.events import Event
from labctl.runner.run import RunRequest, run_sweep
from simulators.usb.usbip import UsbServer

THRESHOLD_UJ_CM2 = 79.81
"""Of OLA in the demo."""
PLAN = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=180.0, points=12, average=4, reference_every=0)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize(
    ("backend", "model", "instruments"),
    [
        ("cseabreeze", "USB2000PLUS", ()),  # an ELL14; the SC10 has no USB
        ("pyseabreeze", "SR4", ("thorlabs-apt", "thorlabs-ksc101")),
    ],
)
def test_a_sweep_over_usb_finds_the_threshold(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    library: Path,
    caplog: pytest.LogCaptureFixture,
    backend: str,
    model: str,
    instruments: tuple[str, ...],
) -> None:
    give_shim(monkeypatch, library)
    clock, events = SteppedClock(), list[Event]()
    with usb_bench(clock, monkeypatch, model, level="typical", instruments=instruments) as bench:
        text = bench.bench_toml(1.0).replace(
            'driver = "ocean"\n', f'driver = "ocean"\nbackend = "{backend}"\n'
        )
        for role in ("attenuator", "shutter"):
            if isinstance(bench.server(role), UsbServer):
                text = text.replace(bench.resources[role], over_ftdi(bench, role, monkeypatch))
        config = parse_bench(text)
        assert config.power_meter.resource.startswith("USB0::0x1313")
        report = run_sweep(
            config,
            PLAN,
            RunRequest(tmp_path, "OLA"),
            stop=threading.Event(),
            on_event=events.append,
            clock=clock,
        )
        assert bench.scene.shutter.closed_switch()
    assert report.status == "finished"
    assert f"spectrometer: Ocean Insight {model} SIM00001" in caplog.text
    assert report.threshold.ci95 is not None
    low, high = report.threshold.ci95
    assert low < THRESHOLD_UJ_CM2 < high
