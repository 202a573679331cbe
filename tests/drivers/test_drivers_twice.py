"""An answer that comes twice is not taken for the next one, whatever the two were about."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from drivers.spectrometers.ocean_child import OceanSpectrometer
from labctl.model.clock import SteppedClock
from labctl.model.errors import NotConnected
from labctl.model.records import SpectrometerInfo
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan


def opened(plan: str = "") -> tuple[SpectrometerInfo, list[str]]:
    """Return what a spectrometer says of itself, and the requests whose answers were tampered with."""
    faults = FaultPlan.parse(plan) if plan else None
    clock = SteppedClock()
    with SimulatedBench(presets.scene("ola", "typical", 5), clock, faults=faults) as bench:
        device = OceanSpectrometer(bench.resources["spectrometer"], clock=clock)
        try:
            return device.info, [str(firing.request) for firing in bench.fault_log]
        finally:
            device.close()


@pytest.fixture(scope="module")
def sound() -> SpectrometerInfo:
    return opened()[0]


@pytest.mark.parametrize("copies", [1, 3])
def test_no_answer_that_comes_twice_shifts_the_ones_after_it(copies: int, sound: SpectrometerInfo) -> None:
    hit = []
    for nth in range(1, 23):
        info, requests = opened(
            f'[[fault]]\nkind = "duplicate"\ninstrument = "spectrometer"\nnth = {nth}\ncopies = {copies}\n'
        )
        hit += requests
        np.testing.assert_array_equal(info.wavelength_nm, sound.wavelength_nm)
        assert info.nonlinearity == sound.nonlinearity
        assert (info.max_counts, info.integration_min_s, info.integration_max_s) == (
            sound.max_counts, sound.integration_min_s, sound.integration_max_s,
        )  # fmt: skip
        assert info.identity == sound.identity
    # Wavelengths and nonlinearity, each asked for coefficient by coefficient, were among them.
    assert {"00180101", "00181101"} <= set(hit)


def test_an_axis_that_no_spectrometer_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rising and finite is not enough: a coefficient in another's place gave 500 to 137,286 nm."""
    monkeypatch.setattr("drivers.spectrometers.ocean_child.LONGEST_NM", 520.0)
    with pytest.raises(
        NotConnected, match=r"its wavelengths, 500 to 564\.\d+ nm, are not those of a spectrometer"
    ):
        opened()


@pytest.mark.parametrize(
    "asked", ["*IDN?", "SYST:SENS:IDN?", "SENS:CORR:WAV? MIN", "SYST:ERR?", "SENS:CORR:WAV?", "MEAS:POW?"]
)
def test_a_meter_whose_answer_comes_twice_is_set_and_read_all_the_same(asked: str) -> None:
    plan = f'[[fault]]\nkind = "duplicate"\ninstrument = "power_meter"\nmatch = "^{asked}$"\nnth = 1\n'
    clock = SteppedClock()
    with SimulatedBench(presets.scene("ola", "typical", 5), clock, faults=FaultPlan.parse(plan)) as bench:
        meter = ThorlabsPM100(bench.resources["power_meter"], clock=clock)
        try:
            meter.prepare(800.0)
            reading = meter.read(3)
            assert meter.altered() == ""
            assert (meter.wavelength_nm, meter.identity().model) == (800.0, "PM100D + S130C")
            assert abs(reading.power_w) < 1e-3
        finally:
            meter.close()
        assert [str(firing.request) for firing in bench.fault_log] == [asked]
