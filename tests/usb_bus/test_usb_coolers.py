"""A cooled spectrometer on USB: what compiled seabreeze tells its cooler, and how long it is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from shim import built
from usb_bench import give_shim, usb_bench

from drivers.spectrometers.ocean import IsolatedSpectrometer
from labctl.model.clock import ScaledClock
from labctl.model.errors import NotConnected

SERIAL = "SIM00001"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("shim"))


def test_a_cooled_detector_is_set_and_waited_for(monkeypatch: pytest.MonkeyPatch, library: Path) -> None:
    clock = ScaledClock(50.0)
    with usb_bench(clock, monkeypatch, "QEPRO"):
        give_shim(monkeypatch, library)
        before_s = clock.now_s()
        cold = IsolatedSpectrometer(SERIAL, clock=clock, backend="cseabreeze", cooler_c=-10.0)
        assert cold.temperature_c() == pytest.approx(-10.0, abs=0.5)
        assert clock.now_s() - before_s > 30.0  # from 25 C with 15 s
        assert cold.info.max_counts <= 200_000
        cold.close()
        with pytest.raises(NotConnected, match=r"detector is at .* after 5 s, not at -35 C"):
            IsolatedSpectrometer(
                SERIAL, clock=clock, backend="cseabreeze", cooler_c=-35.0, cooling_timeout_s=5.0
            )
