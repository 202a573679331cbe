"""The ways to a spectrometer through seabreeze, behind one small interface.

Everything here may raise any of the many exceptions seabreeze lets out; ``ocean_device`` translates them.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from drivers.support.failures import not_connected
from drivers.support.session import use_packaged_libusb
from labctl.model.records import FloatArray

if TYPE_CHECKING:
    from drivers.support.ocean_network import StrictOBP

Backend = Literal["auto", "cseabreeze", "pyseabreeze"]
Coefficients = tuple[float, ...] | None

ROLE = "spectrometer"
NETWORK = re.compile(r"(?P<model>[A-Za-z0-9]+)@(?P<host>[^@:]+):(?P<port>\d{1,5})")
LIBSEABREEZE_NAMES = {"FX": b"FlameX"}
"""How libseabreeze calls the network models it knows."""


class Camera(Protocol):
    """What is asked of a spectrometer, in its own units."""

    device: Any

    def limits_us(self) -> tuple[int, int]:
        """Shortest and longest integration time."""

    def integration_us(self) -> int | None:
        """Integration time in force, None where the device cannot tell."""

    def nonlinearity(self) -> Coefficients:
        """Coefficients c0..cn, None where the device has none."""

    def set_integration_us(self, wanted_us: int) -> int:
        """Set the integration time and return the one the device confirms."""

    def set_trigger(self, number: int) -> int:
        """Set the trigger mode by the model's own number and return the one the device confirms."""

    def counts(self, integration_s: float) -> FloatArray:
        """Raw counts of the next exposure, shape ``(pixel,)``."""

    def trigger(self) -> int | None:
        """Trigger mode in force, by the device's own number; None where it cannot tell."""

    def temperature_c(self) -> float | None:
        """Temperature of the first sensor the device names, None where it has none."""


class LibraryCamera:
    """By what both seabreeze backends offer alike: any USB model, and libseabreeze's network ones.

    There is no question for the integration time here: a refused one is an exception of cseabreeze, and goes
    unnoticed by pyseabreeze.
    """

    def __init__(self, device: Any) -> None:
        self.device = device

    def limits_us(self) -> tuple[int, int]:
        """Return the limits the library knows for the model."""
        low, high = self.device.f.spectrometer.get_integration_time_micros_limits()
        return int(low), int(high)

    def integration_us(self) -> int | None:
        """Return None: seabreeze has no question for it."""
        return None

    def nonlinearity(self) -> Coefficients:
        """Return what the device's memory holds; some models announce coefficients and then fail."""
        feature = self.device.f.nonlinearity_coefficients
        if feature is None:
            return None
        try:
            return usable(feature.get_nonlinearity_coefficients())
        except Exception:  # noqa: BLE001  as seabreeze's own Spectrometer does: then there are none
            return None

    def set_integration_us(self, wanted_us: int) -> int:
        """Set the integration time and return what was sent."""
        self.device.f.spectrometer.set_integration_time_micros(wanted_us)
        return wanted_us

    def set_trigger(self, number: int) -> int:
        """Set the trigger mode and return what was sent."""
        self.device.f.spectrometer.set_trigger_mode(number)
        return number

    def counts(self, integration_s: float) -> FloatArray:
        """Return the next exposure; blocks for as long as the device likes."""
        del integration_s
        return np.asarray(self.device.f.spectrometer.get_intensities(), dtype=np.float64)

    def trigger(self) -> int | None:
        """Return None: seabreeze has no question for it."""
        return None

    def temperature_c(self) -> float | None:
        """Return the cooler's temperature, else that of the first sensor."""
        cooler, sensor = self.device.f.thermo_electric, self.device.f.temperature
        if cooler is not None:
            return float(cooler.read_temperature_degrees_celsius())
        return float(sensor.read_temperature(0)) if sensor is not None else None


class NetworkCamera:
    """By OBP messages of our own beside pyseabreeze's: settings are read back, refusals are noticed."""

    def __init__(self, device: Any) -> None:
        from drivers.support import ocean_network

        self.device = device
        self._network = ocean_network
        self._protocol: StrictOBP = device._transport.protocol

    def _ask(self, message: int, layout: str, *payload: int) -> Any:
        """Return one number; None where the device does not know the question."""
        try:
            data = self._protocol.query(message, payload)
        except self._network.Refused:
            return None
        return struct.unpack_from(layout, data)[0]

    def limits_us(self) -> tuple[int, int]:
        """Ask the device, else take what pyseabreeze says of the model."""
        low, high = self.device.f.spectrometer.get_integration_time_micros_limits()
        network = self._network
        asked_low = self._ask(network.GET_INTEGRATION_MIN_US, "<L")
        asked_high = self._ask(network.GET_INTEGRATION_MAX_US, "<L")
        return int(asked_low or low), int(asked_high or high)

    def integration_us(self) -> int | None:
        """Ask for the integration time."""
        value = self._ask(self._network.GET_INTEGRATION_US, "<L")
        return None if value is None else int(value)

    def nonlinearity(self) -> Coefficients:
        """Ask for the coefficients, which pyseabreeze does not for every model that has them."""
        count = self._ask(self._network.GET_NONLINEARITY_COUNT, "<B") or 0
        return usable([self._ask(self._network.GET_NONLINEARITY, "<f", index) for index in range(count)])

    def set_integration_us(self, wanted_us: int) -> int:
        """Set the integration time and ask for it."""
        self._protocol.send(self._network.SET_INTEGRATION_US, wanted_us)
        return self.integration_us() or wanted_us

    def set_trigger(self, number: int) -> int:
        """Set the trigger mode and ask for it."""
        self.device.f.spectrometer.set_trigger_mode(number)
        found = self._ask(self._network.GET_TRIGGER, "<B")
        return number if found is None else int(found)

    def counts(self, integration_s: float) -> FloatArray:
        """Return the next exposure, which must come within the exposure and 3 s."""
        timeout_ms = round(integration_s * 1000) + self._network.ANSWER_TIMEOUT_MS
        data = self._protocol.query(self._network.GET_SPECTRUM, timeout_ms=timeout_ms)
        return np.frombuffer(data, dtype="<u2").astype(np.float64)

    def trigger(self) -> int | None:
        """Ask for the trigger mode."""
        value = self._ask(self._network.GET_TRIGGER, "<B")
        return None if value is None else int(value)

    def temperature_c(self) -> float | None:
        """Ask the first sensor."""
        value = self._ask(self._network.GET_TEMPERATURE, "<f", 0)
        return None if value is None else float(value)


def usable(coefficients: Any) -> Coefficients:
    """Return the coefficients, or None if the device's memory holds none (all zero, or no numbers).

    >>> usable([0.0, 0.0]), usable([1.0, -1e-6])
    (None, (1.0, -1e-06))
    """
    values = tuple(float(value) for value in np.atleast_1d(np.asarray(coefficients, dtype=np.float64)))
    return values if values and bool(np.all(np.isfinite(values))) and any(values) else None


def open_camera(resource: str, backend: Backend) -> Camera:
    """Open a spectrometer by serial number, "first" or MODEL@HOST:PORT.

    :raises NotConnected: there is none of that description.
    """
    match = NETWORK.fullmatch(resource)
    if match is None:
        return LibraryCamera(_usb_device(resource, "cseabreeze" if backend == "auto" else backend))
    model, host, port = match["model"].upper(), match["host"], int(match["port"])
    if backend == "cseabreeze":
        return LibraryCamera(_libseabreeze_device(resource, model, host, port))
    return _network_camera(resource, model, host, port)


def _network_camera(resource: str, model: str, host: str, port: int) -> NetworkCamera:
    from drivers.support import ocean_network

    models = ocean_network.network_models()
    if model not in models:
        reason = f"no network spectrometer is called {model}"
        raise not_connected(ROLE, resource, reason, f"one of {', '.join(models)}")
    device = ocean_network.network_device(model, host, port)
    device.open()
    return NetworkCamera(device)


def _libseabreeze_device(resource: str, model: str, host: str, port: int) -> Any:
    from seabreeze import cseabreeze

    if model not in LIBSEABREEZE_NAMES:
        reason = f"cseabreeze knows no network spectrometer called {model}"
        raise not_connected(ROLE, resource, reason, 'backend = "pyseabreeze"')
    api = cseabreeze.SeaBreezeAPI()
    api.add_ipv4_device_location(LIBSEABREEZE_NAMES[model], host.encode(), port)
    name = LIBSEABREEZE_NAMES[model].decode().upper()
    return _opened([device for device in api.list_devices() if device.model == name], resource, "first")


def _usb_device(resource: str, backend: str) -> Any:
    if backend == "cseabreeze":
        from seabreeze import cseabreeze

        return _opened(cseabreeze.SeaBreezeAPI().list_devices(), resource, resource)
    from seabreeze.pyseabreeze import api
    from seabreeze.pyseabreeze.transport import USBTransport

    if not use_packaged_libusb():
        hint = "install a libusb: python -m pip install libusb-package"
        raise not_connected(ROLE, resource, "there is no libusb", hint)
    api.SeaBreezeAPI()
    devices = [api._seabreeze_device_factory(handle) for handle in USBTransport.list_devices()]
    return _opened(devices, resource, resource)


def _opened(devices: list[Any], resource: str, wanted: str) -> Any:
    """Open the device with the serial number ``wanted``, or the first; the others are closed again."""
    seen: list[str] = []
    for device in devices:
        if not device.is_open:
            device.open()
        if wanted in ("first", str(device.serial_number)):
            return device
        seen.append(f"{device.model} {device.serial_number}")
        device.close()
    reason = f"not among {', '.join(seen)}" if seen else "no spectrometer is connected"
    raise not_connected(ROLE, resource, reason, opening_advice(resource))


def opening_advice(resource: str) -> str:
    """Return what to try when a spectrometer cannot be opened."""
    if NETWORK.fullmatch(resource):
        return "check host and port, that the spectrometer or simulator runs, and that no other client has it"
    return (
        "check cable and serial number, and close other programs that hold the spectrometer; "
        "on Linux install seabreeze's udev rules, on Windows its USB driver"
    )
