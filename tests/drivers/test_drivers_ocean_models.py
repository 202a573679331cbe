"""Spectrometers as their models are: units of time, triggers, clipping, coolers, and neighbours on the bus.

The spectrometer features are pyseabreeze's own, in front of a protocol that notes what is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from drivers_stub import stub
from ocean_stub import Device
from seabreeze.pyseabreeze.devices import _model_class_registry
from seabreeze.pyseabreeze.protocol import OBP2Protocol, OBPProtocol, OOIProtocol
from seabreeze.pyseabreeze.transport import USBTransport, USBTransportDeviceInUse

from drivers.spectrometers.ocean import IsolatedSpectrometer
from drivers.spectrometers.ocean_child import OceanSpectrometer
from drivers.support import ocean_usb
from drivers.support.ocean_models import trigger_numbers
from labctl.model.clock import SteppedClock
from labctl.model.errors import NotConnected
from procedures.point.stale_frames import StaleFrameFilter
from simulators import presets
from simulators.bench import SimulatedBench

FPGA = bytes(14) + b"\x80\0"
"""What an FPGA says of itself: it stands at a fast port."""
SATURATION = bytes((0x05, 17)) + 15 * b"\xff"
"""Memory that says nothing of where the detector saturates."""
SET_TIME, SET_TRIGGER = 0x02, 0x0A


class Cooler:
    def __init__(self, *temperatures_c: float) -> None:
        self.set_c: float | None = None
        self.on = False
        self._temperatures_c = list(temperatures_c)

    def set_temperature_setpoint_degrees_celsius(self, celsius: float) -> None:
        self.set_c = celsius

    def enable_tec(self, state: bool) -> None:
        self.on = state

    def read_temperature_degrees_celsius(self) -> float:
        return self._temperatures_c.pop(0) if len(self._temperatures_c) > 1 else self._temperatures_c[0]


class UsbDevice:
    """A device of this model as seabreeze hands one out; ``sent`` is what its protocol was told."""

    def __init__(self, model: str, serial: str = "S1", *, busy: bool = False, **features: object) -> None:
        self.model, self.serial_number, self.is_open, self._busy = model, serial, False, busy
        self._raw_device: Any = None
        self.sent: list[tuple[int, Any]] = []
        kind = _model_class_registry[model]._feature_classes["spectrometer"][0]
        bases = (OOIProtocol, OBP2Protocol, OBPProtocol)
        base = next(each for each in bases if issubclass(kind._required_protocol_cls, each))
        parts = {
            "__init__": lambda _: None,
            "send": self._send,
            "receive": lambda *_, **how: FPGA if how.get("size") == len(FPGA) else SATURATION,
            "query": lambda *_, **__: b"",
            "transport": USBTransport.__new__(USBTransport),
        }
        self._protocol = type("Noted", (base,), parts)()  # a feature holds it by a weak reference
        feature: Any = kind(self._protocol, 0)
        pixels = feature._spectrum_length
        feature.get_wavelengths = lambda: np.linspace(400.0, 900.0, pixels)
        others = {"thermo_electric": None, "temperature": None, "nonlinearity_coefficients": None}
        self.f = SimpleNamespace(spectrometer=feature, **{**others, **features})

    def _send(self, message: int, payload: Any = (), **kwargs: object) -> int:
        self.sent.append((message, payload))
        return 0

    def open(self) -> None:
        if self._busy:
            raise USBTransportDeviceInUse("device probably used by another thread/process")
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def get_serial_number(self) -> str:
        return self.serial_number


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[UsbDevice]]:
    """What each backend sees on the bus."""
    seen: dict[str, list[UsbDevice]] = {"cseabreeze": [], "pyseabreeze": []}
    monkeypatch.setattr(
        ocean_usb,
        "_LISTS",
        {name: lambda name=name: seen[name] for name in seen},
    )
    return seen


def spectrometer(bus: dict[str, list[UsbDevice]], device: UsbDevice, **options: Any) -> OceanSpectrometer:
    bus["pyseabreeze"] = [device]
    return OceanSpectrometer("first", **options)


@pytest.mark.parametrize(
    ("model", "asked_s", "confirmed_s", "told"),
    [
        ("QE65000", 0.0089, 0.009, 9), ("USB2000", 0.0123, 0.012, 12), ("NIRQUEST512", 0.0034, 0.003, 3),
        ("USB2000PLUS", 0.0089, 0.0089, 8900), ("HR4000", 0.00012345, 0.000123, 123),
    ],
)  # fmt: skip
def test_a_time_is_set_in_the_unit_of_the_device_and_returned_as_sent(
    bus: dict[str, list[UsbDevice]], model: str, asked_s: float, confirmed_s: float, told: int
) -> None:
    device = UsbDevice(model)
    alone = spectrometer(bus, device)
    assert alone.set_integration(asked_s) == pytest.approx(confirmed_s, abs=1e-12)
    assert (SET_TIME, told) in device.sent


@pytest.mark.parametrize("model", [m for m in _model_class_registry if m not in ("FX", "ADC1000-USB")])
def test_shortest_and_longest_time_are_times_that_can_be_set(
    bus: dict[str, list[UsbDevice]], model: str
) -> None:
    alone = spectrometer(bus, UsbDevice(model))
    for seconds in (alone.info.integration_min_s, alone.info.integration_max_s):
        assert alone.set_integration(seconds) == seconds


def test_a_time_that_was_rounded_is_not_set_again_and_again(bus: dict[str, list[UsbDevice]]) -> None:
    device = UsbDevice("QE65000")
    stale = StaleFrameFilter(spectrometer(bus, device), SteppedClock(), lambda: 0.0)
    assert (
        stale.set_integration(0.0089)
        == stale.set_integration(0.0089)
        == stale.set_integration(0.009)
        == 0.009
    )
    assert [message for message, _ in device.sent].count(SET_TIME) == 1


@pytest.mark.parametrize(
    ("model", "trigger", "number"),
    [("QEPRO", "edge", 3), ("QEPRO", "level", 1), ("ST", "edge", 3), ("STS", "edge", 1),
     ("USB4000", "sync", 2), ("HDX", "level", 3), ("VENTANA", "edge", 3)],
)  # fmt: skip
def test_trigger_numbers_are_those_of_the_model(
    bus: dict[str, list[UsbDevice]], model: str, trigger: Any, number: int
) -> None:
    device = UsbDevice(model)
    told: list[int] = []
    device.f.spectrometer.set_trigger_mode = told.append
    spectrometer(bus, device, trigger=trigger)
    assert told == [number]
    assert number in device.f.spectrometer._trigger_modes


@pytest.mark.parametrize(
    ("model", "trigger", "others"),
    [("SR4", "edge", "one of free"), ("ST", "level", "free, edge"), ("QE65000", "sync", "free, level, edge")],
)
def test_a_trigger_the_model_has_not_is_refused(
    bus: dict[str, list[UsbDevice]], model: str, trigger: Any, others: str
) -> None:
    with pytest.raises(NotConnected, match=f"{model} has no trigger '{trigger}'") as told:
        spectrometer(bus, UsbDevice(model), trigger=trigger)
    assert others in told.value.failures[0].hint


def test_the_compiled_backend_has_names_and_gaps_of_its_own() -> None:
    assert trigger_numbers("QE-PRO", None, compiled=True)["edge"] == 3
    assert trigger_numbers("Ventana", None, compiled=True) == {"free": 0}
    assert trigger_numbers("Never heard of", None, compiled=True) == {"free": 0}


def test_a_qe_pro_clips_below_its_converter_s_end(bus: dict[str, list[UsbDevice]]) -> None:
    assert UsbDevice("QEPRO").f.spectrometer.get_maximum_intensity() == 262143
    assert spectrometer(bus, UsbDevice("QEPRO")).info.max_counts == 200_000
    assert spectrometer(bus, UsbDevice("HR4000")).info.max_counts == 16383


def test_models_sold_today_are_found_by_the_pure_backend(bus: dict[str, list[UsbDevice]]) -> None:
    bus["pyseabreeze"] = [UsbDevice("SR4", "SR4001")]
    assert OceanSpectrometer("SR4001").info.identity.model == "SR4"
    bus["cseabreeze"] = [UsbDevice("USB4000", "U4")]
    assert OceanSpectrometer("SR4001").info.identity.model == "SR4"
    assert OceanSpectrometer("first").info.identity.model == "USB4000"
    with pytest.raises(NotConnected, match="not among USB4000 U4"):
        OceanSpectrometer("SR4001", backend="cseabreeze")


def test_a_busy_neighbour_is_skipped_and_named(bus: dict[str, list[UsbDevice]]) -> None:
    free = UsbDevice("USB4000", "FREE")
    bus["pyseabreeze"] = [UsbDevice("QE65000", "HELD", busy=True), free]
    assert OceanSpectrometer("FREE").info.identity.serial == "FREE"
    free.close()
    assert OceanSpectrometer("first").info.identity.serial == "FREE"
    free.close()
    with pytest.raises(NotConnected, match=r"QE65000 \(does not open: device probably used.*, USB4000 FREE"):
        OceanSpectrometer("HELD")
    assert not free.is_open


def test_only_the_spectrometer_that_is_taken_is_reset(bus: dict[str, list[UsbDevice]]) -> None:
    resets: list[str] = []
    devices = [
        UsbDevice("QE65000", "HELD", busy=True),
        UsbDevice("USB4000", "OTHER"),
        UsbDevice("USB4000", "MINE"),
    ]
    for device in devices:
        reset = partial(resets.append, device.serial_number)
        device._raw_device = SimpleNamespace(pyusb_device=SimpleNamespace(reset=reset))
    bus["pyseabreeze"] = devices
    OceanSpectrometer("MINE")
    assert resets == ["MINE"]
    assert [device.is_open for device in devices] == [False, False, True]


# -- what other programs leave on ---------------------------------------------------------------------


class Setting:
    """A feature of the compiled backend that remembers; ``stuck`` it cannot be changed."""

    def __init__(self, value: int, *, stuck: bool = False) -> None:
        self.value, self.stuck = value, stuck

    def get(self) -> int:
        return self.value

    def set(self, value: int) -> None:
        self.value = self.value if self.stuck else value


def processing(scans: Setting, boxcar: Setting) -> SimpleNamespace:
    return SimpleNamespace(
        get_scans_to_average=scans.get, set_scans_to_average=scans.set,
        get_boxcar_width=boxcar.get, set_boxcar_width=boxcar.set,
    )  # fmt: skip


def test_averaging_and_smoothing_of_the_compiled_backend_are_read_and_reset(
    bus: dict[str, list[UsbDevice]],
) -> None:
    scans, boxcar = Setting(5), Setting(0)
    bus["cseabreeze"] = [UsbDevice("QEPRO", spectrum_processing=processing(scans, boxcar))]
    alone = OceanSpectrometer("first")
    assert (scans.value, boxcar.value) == (1, 0)
    assert alone.remarks == ("scans to average was 5, left by another program, and is 1 now",)
    stuck = processing(Setting(1), Setting(3, stuck=True))
    bus["cseabreeze"] = [UsbDevice("QEPRO", spectrum_processing=stuck)]
    with pytest.raises(NotConnected, match="keeps boxcar width at 3"):
        OceanSpectrometer("first")


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", level="ideal", seed=3), SteppedClock()) as running:
        yield running


def test_what_is_left_on_in_a_network_spectrometer_is_read_and_reset(bench: SimulatedBench) -> None:
    resource = bench.resources["spectrometer"]
    before = OceanSpectrometer(resource)
    network = before.camera._network  # type: ignore[attr-defined]
    for number, value in ((network.SET_SCANS, 5), (network.SET_BOXCAR, 3), (network.SET_DELAY_US, 250)):
        before.camera._protocol.send(number, value)  # type: ignore[attr-defined]
    before.close()
    after = OceanSpectrometer(resource)
    try:
        assert [remark.split(",")[0] for remark in after.remarks] == [
            "scans to average was 5", "boxcar width was 3", "acquisition delay (us) was 250",
        ]  # fmt: skip
        assert [setting.get() for setting in after.camera.processing()] == [1, 0, 0]
    finally:
        after.close()


def test_a_device_that_does_not_know_the_questions_is_left_alone() -> None:
    with stub(Device()) as server:
        alone = OceanSpectrometer(f"FX@127.0.0.1:{server.port}")
        assert alone.remarks == ()
        alone.close()


# -- coolers ------------------------------------------------------------------------------------------


def test_the_cooler_is_set_and_switched_on(bus: dict[str, list[UsbDevice]]) -> None:
    cooler = Cooler(20.0)
    alone = spectrometer(bus, UsbDevice("NIRQUEST512", thermo_electric=cooler), cooler_c=-10.0)
    assert (cooler.set_c, cooler.on) == (-10.0, True)
    assert alone.temperature_c() == 20.0
    with pytest.raises(NotConnected, match="no cooler that seabreeze can set") as told:
        spectrometer(bus, UsbDevice("USB4000"), cooler_c=-10.0)
    assert "cseabreeze" in told.value.failures[0].hint


def waiting(monkeypatch: pytest.MonkeyPatch, *temperatures_c: float | None, cooler_c: float = -10.0) -> float:
    """Return the bench time that a spectrometer with these temperatures was waited for."""
    clock, left = SteppedClock(), list(temperatures_c)
    info = SimpleNamespace(identity=None)
    monkeypatch.setattr(IsolatedSpectrometer, "_open", lambda self: info)
    monkeypatch.setattr(
        IsolatedSpectrometer, "temperature_c", lambda self: left.pop(0) if len(left) > 1 else left[0]
    )
    IsolatedSpectrometer("first", clock=clock, cooler_c=cooler_c, cooling_timeout_s=60.0)
    return clock.now_s()


def test_a_detector_is_waited_for_until_it_is_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waiting(monkeypatch, 20.0, 0.0, -10.2, -9.0, -9.8, -10.1, -10.0) == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("found_c", "text"), [(4.0, "at 4.0 C after 60 s, not at -10 C"), (None, "not tell")]
)
def test_a_detector_that_stays_warm_is_told(
    monkeypatch: pytest.MonkeyPatch, found_c: float | None, text: str
) -> None:
    with pytest.raises(NotConnected, match=text):
        waiting(monkeypatch, found_c)


def test_wavelengths_that_fold_are_a_matter_of_the_memory_not_of_cables(
    bus: dict[str, list[UsbDevice]],
) -> None:
    device = UsbDevice("USB4000")
    device.f.spectrometer.get_wavelengths = lambda: np.r_[np.linspace(400, 900, 3839), 899.0]
    with pytest.raises(NotConnected, match="do not increase") as told:
        spectrometer(bus, device)
    assert "coefficients" in told.value.failures[0].hint
