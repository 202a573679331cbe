"""The simulated bench, and public clients of its instruments, unmodified."""

from __future__ import annotations

import dataclasses
import gc
import socket
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import pyvisa
from patience import PATIENCE_S
from pyvisa.resources import MessageBasedResource

from labctl.model.clock import ScaledClock, SteppedClock
from simulators import presets, registry
from simulators.bench import SimulatedBench
from simulators.registry import all_simulators, find

Transport = Literal["tcp", "pty"]
TRANSPORTS: tuple[Transport, ...] = ("tcp",) if sys.platform == "win32" else ("tcp", "pty")


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", seed=1), SteppedClock()) as running:
        yield running


OpenVisa = Callable[..., MessageBasedResource]


@pytest.fixture
def visa() -> Iterator[OpenVisa]:
    """Open a resource by name, with the settings of a message-based one; closed with the manager."""
    manager = pyvisa.ResourceManager("@py")

    def opened(name: str, read_termination: str, write_termination: str) -> MessageBasedResource:
        resource = manager.open_resource(name)
        assert isinstance(resource, MessageBasedResource)
        resource.timeout = 5000
        resource.read_termination, resource.write_termination = read_termination, write_termination
        return resource

    yield opened
    manager.close()


def fx_port(bench: SimulatedBench) -> int:
    name, _, address = bench.resources["spectrometer"].partition("@")
    assert name == "FX"
    return int(address.rpartition(":")[2])


def test_every_instrument_is_found_without_a_list() -> None:
    assert {item.role for item in all_simulators()} == {
        "attenuator",
        "power_meter",
        "spectrometer",
        "shutter",
        "stage",
        "thermometer",
        "heater",
    }
    with pytest.raises(KeyError, match="ocean"):
        find("nonsense")


@dataclasses.dataclass
class Point:
    """An entry point that counts how often it is loaded."""

    name: str
    offered: object
    loaded: int = 0

    def load(self) -> object:
        self.loaded += 1
        return self.offered


def test_an_installed_one_is_loaded_by_its_name_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    acme = dataclasses.replace(find("thorlabs-sc10"), key="acme")
    points = [Point("acme", acme), Point("odd", 3), Point("thorlabs-sc10", acme)]
    monkeypatch.setattr(
        registry, "entry_points", lambda group: points if group == "labctl.simulators" else []
    )
    assert find("thorlabs-sc10").key == "thorlabs-sc10"
    assert [point.loaded for point in points] == [0, 0, 0]
    assert find("acme") is acme
    assert [point.loaded for point in points] == [1, 0, 0]
    with pytest.raises(KeyError, match=r"no simulator 'odd'; there are .*acme"):
        find("odd")


def test_the_bench_file_tells_what_stands_on_the_table(bench: SimulatedBench) -> None:
    text = bench.bench_toml(20)
    data = tomllib.loads(text)
    truth = bench.scene.truth
    assert data["bench"]["time_scale"] == 20.0
    assert {role: data[role]["resource"] for role in bench.resources} == dict(bench.resources)
    assert data["pump"]["attenuator_curve"]["zero_deg"] == truth.zero_deg
    assert data["pump"]["spot"]["x_um"] == truth.w_um
    assert data["pump"]["pickoff_ratio"] == truth.pickoff_ratio
    assert data["pump"]["max_pulse_energy"] == "200 nJ"
    assert data["spectrometer"]["resolution_nm"] == truth.resolution_nm


def test_the_bench_file_follows_the_scene() -> None:
    settings = presets.scene("oam", seed=3)
    optics = replace(settings.optics, zero_deg=-7.5, order=("attenuator", "shutter", "pick-off", "sample"))
    with SimulatedBench(replace(settings, optics=optics), SteppedClock()) as bench:
        data = tomllib.loads(bench.bench_toml(1))
    assert data["pump"]["attenuator_curve"]["zero_deg"] == -7.5
    assert data["pump"]["order"][1] == "shutter"
    assert data["bench"]["name"] == "simulated OAM, seed 3"


def test_several_benches_at_once_keep_apart() -> None:
    clocks = SteppedClock(), SteppedClock()
    with (
        SimulatedBench(presets.scene("ola", seed=1), clocks[0]) as one,
        SimulatedBench(presets.scene("oam", seed=2), clocks[1]) as two,
    ):
        assert set(one.resources.values()).isdisjoint(two.resources.values())
        port = int(one.resources["shutter"].split("::")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            client.sendall(b"ens\r")
            assert client.recv(100).startswith(b"ens")
        assert one.scene.shutter.is_open()
        assert not two.scene.shutter.is_open()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_rotation_mount_over_visa(visa: OpenVisa, transport: Transport) -> None:
    with SimulatedBench(presets.scene("ola", level="ideal"), SteppedClock(), transport) as bench:
        with visa(bench.resources["attenuator"], read_termination="\r\n", write_termination="") as mount:
            assert mount.query("0in").startswith("0IN0E")
            power_up_deg = bench.scene.mount.angle_deg()
            assert power_up_deg != pytest.approx(0.0)
            assert mount.query("0gp") == "0PO00000000"  # it counts from wherever it stood at power-up
            assert mount.query("0ma00000800") == "0PO00000800"
            assert bench.scene.mount.angle_deg() == pytest.approx(power_up_deg + 0x800 * 360 / 143360)
            assert mount.query("0ho0") == "0PO00000000"
            assert bench.scene.mount.angle_deg() == pytest.approx(0.0)
            assert mount.query("0ma00004600") == "0PO00004600"
        assert bench.scene.mount.angle_deg() == pytest.approx(0x4600 * 360 / 143360)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_pymeasures_power_meter(transport: Transport) -> None:
    from pymeasure.instruments.thorlabs import ThorlabsPM100USB

    clock = ScaledClock(50.0)
    with (
        SimulatedBench(presets.scene("ola", level="ideal"), clock, transport) as bench,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FutureWarning)
        serial = {"baud_rate": 115200} if transport == "pty" else {}
        meter = ThorlabsPM100USB(
            bench.resources["power_meter"],
            visa_library="@py",
            read_termination="\n",
            write_termination="\n",
            **serial,
        )
        assert meter.is_power_sensor
        assert meter.wavelength_max == 1100.0
        meter.wavelength = 800
        assert meter.wavelength == 800.0
        beam, truth = bench.scene.mount.angle_deg(), bench.scene.truth
        share = truth.t_min + (truth.t_max - truth.t_min) * np.cos(2 * np.radians(beam - truth.zero_deg)) ** 2
        expected_w = share * truth.max_pulse_energy_j * truth.repetition_rate_hz / truth.pickoff_ratio
        assert meter.power == pytest.approx(expected_w, rel=1e-3)
        meter.adapter.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_shutter_over_visa(visa: OpenVisa, transport: Transport) -> None:
    clock = SteppedClock()
    with (
        SimulatedBench(presets.scene("ola"), clock, transport) as bench,
        visa(bench.resources["shutter"], read_termination="\r", write_termination="\r") as shutter,
    ):
        assert shutter.query("ens?") == "ens?"
        assert shutter.read() == "0"
        assert shutter.query("ens") == "> ens"
        assert shutter.query("closed?") == "> closed?"
        assert shutter.read() == "0"
        assert bench.scene.shutter.is_open()


def test_a_wire_on_a_fast_clock_is_busy_while_the_mount_turns(visa: OpenVisa) -> None:
    with (
        SimulatedBench(presets.scene("ola"), ScaledClock(2.0)) as bench,
        visa(bench.resources["attenuator"], read_termination="\r\n", write_termination="") as mount,
    ):
        mount.write("0ma0000C000")
        assert mount.query("0gs") == "0GS09"
        assert mount.query("0ma00000000") == "0GS09"
        assert mount.read() == "0PO0000C000"
        assert mount.query("0gs") == "0GS00"


# pyseabreeze 2.11 leaves sockets to the garbage collector when it opens a device and when it closes one.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_pyseabreeze_reads_spectra_and_reconnects(bench: SimulatedBench) -> None:
    from seabreeze.pyseabreeze.api import _seabreeze_device_factory
    from seabreeze.pyseabreeze.transport import IPv4Transport, IPv4TransportHandle

    port = fx_port(bench)
    IPv4Transport.register_model("FX", ipv4_address="127.0.0.1", ipv4_port=port)
    for _ in range(2):
        handle = IPv4TransportHandle("127.0.0.1", port)
        device = _seabreeze_device_factory(handle)
        device.open()
        spectrometer = device.f.spectrometer
        assert device.serial_number == bench.scene.camera.serial
        assert np.allclose(spectrometer.get_wavelengths(), bench.scene.camera.wavelength_nm, atol=1e-3)
        before_s = bench.scene.clock.now_s()
        spectrometer.set_integration_time_micros(50_000)
        stale, fresh = spectrometer.get_intensities(), spectrometer.get_intensities()
        assert stale.shape == fresh.shape == (2136,)
        assert 0.05 <= bench.scene.clock.now_s() - before_s <= 0.1001
        handle.socket.close()
        device.close()
    del IPv4Transport.devices_ip_port["127.0.0.1", port]  # or listing devices would fail from now on
    del handle, device, spectrometer
    gc.collect()


CSEABREEZE = """
import sys
import numpy
from seabreeze.cseabreeze import SeaBreezeAPI
api = SeaBreezeAPI()
api.add_ipv4_device_location(b"FlameX", b"127.0.0.1", int(sys.argv[1]))
(device,) = api.list_devices()
for _ in range(2):
    device.open()
    spectrometer, buffer = device.f.spectrometer, device.f.fast_buffer
    assert device.serial_number == sys.argv[2], device.serial_number
    assert device.f.introspection.number_of_pixels() == 2136
    assert len(device.f.nonlinearity_coefficients.get_nonlinearity_coefficients()) == 8
    assert 15.0 < device.f.temperature.temperature_get_all()[0] < 35.0
    assert device.f.stray_light_coefficients.get_stray_light_coefficients() == []
    for mode in (1, 2, 3, 255, 0):
        spectrometer.set_trigger_mode(mode)
    spectrometer.set_integration_time_micros(2000)
    assert spectrometer.get_intensities().shape == (2136,)
    buffer.set_buffering_enable(True)
    buffer.set_consecutive_sample_count(15)
    spectra = spectrometer.get_fast_buffer_spectrum(15)
    assert len(spectra) == 15
    ticks = [meta.microsecond_counter for meta, _ in spectra]
    assert set(numpy.diff(ticks)[1:]) == {2000}, ticks
    assert [meta.spectrum_count - spectra[0][0].spectrum_count for meta, _ in spectra] == list(range(15))
    device.f.data_buffer.clear()
    buffer.set_buffering_enable(False)
    device.close()
print("all well")
"""


def test_cseabreeze_reads_single_and_buffered_spectra(bench: SimulatedBench) -> None:
    """In a process of its own: libseabreeze holds the interpreter's lock while it opens a device."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CSEABREEZE, str(fx_port(bench)), bench.scene.camera.serial],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "all well\n"
