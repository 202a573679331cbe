"""A PM100D on USB: unmodified pyvisa-py and pymeasure, and labctl's own driver on top of them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator

import pytest
import pyvisa
import usb.core
from patience import PATIENCE_S, until
from pyvisa.resources import MessageBasedResource
from pyvisa_py.usb import USBInstrSession
from usb_bench import usb_bench

from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from labctl.model.clock import ScaledClock
from labctl.model.errors import Aborted, InstrumentError, NotConnected
from simulators.bench import SimulatedBench
from simulators.meters.pm100 import Pm100
from simulators.usb.usbip import UsbServer

RESOURCE = "USB0::0x1313::0x8078::P0012345::INSTR"
SPEED = 20.0


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedBench]:
    with usb_bench(ScaledClock(SPEED), monkeypatch) as bench:
        yield bench


@pytest.fixture
def meter(bench: SimulatedBench) -> Iterator[ThorlabsPM100]:
    meter = ThorlabsPM100(bench.resources["power_meter"], clock=bench.scene.clock)
    yield meter
    meter.close()


@pytest.fixture
def visa(bench: SimulatedBench) -> Iterator[MessageBasedResource]:
    manager = pyvisa.ResourceManager("@py")
    resource = manager.open_resource(RESOURCE, read_termination="\n", write_termination="\n")
    assert isinstance(resource, MessageBasedResource)
    yield resource
    resource.close()
    manager.close()


def has_errors(bench: SimulatedBench) -> bool:
    """Whether anything stands in the console's error queue, without asking it over the bus."""
    wire = bench.server("power_meter").wire
    assert isinstance(wire, Pm100)
    return bool(wire.status.byte() & 4)


def server(bench: SimulatedBench) -> UsbServer:
    found = bench.server("power_meter")
    assert isinstance(found, UsbServer)
    return found


def test_pyvisa_lists_it_and_asks_it(bench: SimulatedBench, visa: MessageBasedResource) -> None:
    assert "USB0::4883::32888::P0012345::0::INSTR" in USBInstrSession.list_resources()
    assert visa.query("*IDN?") == "THORLABS,PM100D,P0012345,2.4.0"
    long = ":".join(
        ("SENS:POW:UNIT?;", "SENS:CORR:WAV?;", "SENS:AVER?;", "SENS:CORR?;", "SENS:POW:RANG:AUTO?")
    )
    assert len(long) > 64, "longer than a packet"
    assert visa.query(long).split(";")[0] == "W"
    assert visa.query("SYST:ERR?").endswith('"No error"')


def test_pymeasures_meter_reads_it(bench: SimulatedBench) -> None:
    from pymeasure.instruments.thorlabs import ThorlabsPM100USB

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        meter = ThorlabsPM100USB(RESOURCE, visa_library="@py", read_termination="\n", write_termination="\n")
    meter.wavelength = 800
    assert meter.wavelength == 800.0
    assert meter.power > 0
    meter.adapter.close()


def test_an_answer_nobody_fetched_is_thrown_away_and_counts_as_an_error(visa: MessageBasedResource) -> None:
    visa.write("*IDN?")
    assert float(visa.query("SENS:AVER?")) == 1
    assert visa.query("SYST:ERR?").startswith("-410,")


def test_a_read_without_a_question_times_out_is_aborted_and_leaves_an_error(
    visa: MessageBasedResource,
) -> None:
    visa.timeout = 50
    with pytest.raises(pyvisa.VisaIOError, match="VI_ERROR_TMO"):
        visa.read()
    visa.timeout = 1000 * PATIENCE_S
    assert visa.query("SYST:ERR?").startswith("-420,")
    assert visa.query("*IDN?").startswith("THORLABS")


def test_the_driver_makes_no_error_on_the_bus(bench: SimulatedBench, meter: ThorlabsPM100) -> None:
    meter.prepare(800.0)
    assert meter.read(2).power_w > 0
    assert meter.altered() == ""
    assert meter.identity().serial == "P0012345"
    assert not has_errors(bench)


def test_many_averages_are_read_without_holding_the_bus(bench: SimulatedBench) -> None:
    meter = ThorlabsPM100(RESOURCE, average_count=3000, clock=bench.scene.clock)
    meter.prepare(800.0)
    assert meter.read(1).power_w > 0
    assert not has_errors(bench)
    meter.close()


def test_a_meter_that_another_program_holds_is_named_busy(
    bench: SimulatedBench, visa: MessageBasedResource
) -> None:
    with pytest.raises(NotConnected, match="Resource busy") as refused:
        ThorlabsPM100(RESOURCE, clock=bench.scene.clock)
    assert "close the vendor's software" in str(refused.value)


def test_unplugged_is_said_at_once_and_plugged_in_again_it_has_its_settings(
    bench: SimulatedBench, meter: ThorlabsPM100
) -> None:
    meter.identity()
    meter.prepare(800.0)
    on = server(bench)
    on.call(lambda: on.hang_up(3600.0))
    until(lambda: not on.plugged_in)
    with pytest.raises(NotConnected):
        meter.averages  # noqa: B018  asks
    on.call(lambda: on.hang_up(0.0))
    until(lambda: on.plugged_in)
    assert meter.averages == 100
    assert meter.altered() == ""


def test_a_stop_is_heard_while_the_bus_only_says_nak(bench: SimulatedBench, meter: ThorlabsPM100) -> None:
    meter.prepare(800.0)
    on = server(bench)
    on.call(lambda: on.be_mute(3600.0))
    until(lambda: on.mute)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Aborted):
        meter.read(1, stop)


def test_nak_for_ever_ends_by_our_own_deadline(bench: SimulatedBench, meter: ThorlabsPM100) -> None:
    meter.prepare(800.0)
    on = server(bench)
    on.call(lambda: on.be_mute(3600.0))
    until(lambda: on.mute)
    with pytest.raises(InstrumentError, match="AVER"):
        meter.averages  # noqa: B018  asks
    on.call(lambda: on.be_mute(0.0))
    until(lambda: not on.mute)
    assert meter.averages == 100


def test_no_libusb_of_the_system_is_asked(bench: SimulatedBench) -> None:
    assert {(d.idVendor, d.idProduct) for d in usb.core.find(find_all=True)} >= {(0x1313, 0x8078)}
