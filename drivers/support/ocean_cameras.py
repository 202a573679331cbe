"""The ways to a spectrometer through seabreeze, behind one small interface.

Everything here may raise any of the many exceptions seabreeze lets out; ``ocean_device`` translates them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.support.failures import not_connected
from drivers.support.ocean_models import Trigger, max_counts, time_base_us, trigger_numbers
from drivers.support.ocean_usb import ROLE, Library, usb_advice, usb_device
from labctl.model.records import FloatArray

if TYPE_CHECKING:
    from drivers.support.ocean_network import StrictOBP

Backend = Literal["auto", "cseabreeze", "pyseabreeze"]
Coefficients = tuple[float, ...] | None

NETWORK = re.compile(r"(?P<model>[A-Za-z0-9]+)@(?P<host>[^@:]+):(?P<port>\d{1,5})")
LIBSEABREEZE_NAMES = {"FX": b"FlameX"}
"""How libseabreeze calls the network models it knows."""


MOST_IN_A_MESSAGE = 15
METADATA_BYTES = 64
PIXEL_U16 = 1


@dataclass(frozen=True, slots=True)
class Buffered:
    """Spectra out of a device's buffer, oldest first.

    A spectrum is 64 bytes of metadata, two bytes a pixel and a check sum of 4 bytes whose kind is not
    published and that is not looked at. Source: libseabreeze, OBP message 0x00100980.

    :param frames: raw counts, shape ``(shot, pixel)``.
    :param time_us: the device's counter, us, shape ``(shot,)``.
    :param count: its spectrum count, shape ``(shot,)``.
    :param integration_us: exposure time of all of them; None of none.
    :param left: number of spectra that waited in the buffer besides, when it was asked.
    """

    frames: NDArray[np.uint16]
    time_us: NDArray[np.int64]
    count: NDArray[np.int64]
    integration_us: int | None
    left: int = 0

    @classmethod
    def of(cls, data: bytes, pixels: int, left: int = 0) -> Buffered:
        """Take the spectra of some answers apart.

        :raises ValueError: the bytes are no whole spectra of so many pixels, or differ in exposure time.
        """
        layout = np.dtype(
            [
                ("version", "<u2"), ("metadata_bytes", "<u2"), ("pixel_bytes", "<u4"), ("time_us", "<u8"),
                ("integration_us", "<u4"), ("pixel_format", "<u4"), ("count", "<u4"), ("last_count", "<u4"),
                ("last_time_us", "<u8"), ("scans", "<u2"), ("reserved", "V22"),
                ("pixels", "<u2", (pixels,)), ("check_sum", "<u4"),
            ]
        )  # fmt: skip
        if len(data) % layout.itemsize:
            raise ValueError(f"{len(data)} bytes of spectra of {layout.itemsize} bytes")
        blocks = np.frombuffer(data, layout)
        as_expected = {"metadata_bytes": METADATA_BYTES, "pixel_bytes": 2 * pixels, "pixel_format": PIXEL_U16}
        for name, value in (*as_expected.items(), ("scans", 1)):
            if (wrong := blocks[name] != value).any():
                raise ValueError(f"{name} {blocks[name][wrong][0]} instead of {value} in a buffered spectrum")
        times = set(blocks["integration_us"].tolist())
        if len(times) > 1:
            raise ValueError(f"buffered spectra of several exposure times: {sorted(times)} us")
        return cls(
            blocks["pixels"],
            blocks["time_us"].astype(np.int64),
            blocks["count"].astype(np.int64),
            times.pop() if times else None,
            left,
        )


@dataclass(frozen=True, slots=True)
class Processing:
    """Something a device does to exposures by itself, and how it is left off.

    :param what: in words. :param plain: its value where it does nothing.
    :param get: asks for it; None where the device does not know the question.
    """

    what: str
    plain: int
    get: Callable[[], int | None]
    set: Callable[[int], object]


class Camera(Protocol):
    """What is asked of a spectrometer, in its own units."""

    device: Any

    def triggers(self) -> dict[Trigger, int]:
        """Trigger modes it has, by its own numbers."""

    def max_counts(self) -> float:
        """Most counts of a pixel."""

    def possible_us(self, wanted_us: int) -> int:
        """Nearest integration time that the device can keep."""

    def processing(self) -> tuple[Processing, ...]:
        """What it may do to exposures by itself."""

    def cool(self, celsius: float) -> bool:
        """Set the cooler and switch it on; False where there is none."""

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

    def buffer_shots(self) -> int:
        """Number of spectra that the device's own buffer holds, 0 where it has none."""

    def start_buffering(self) -> bool:
        """Empty the buffer and keep one spectrum a trigger from now on; return whether the device does so."""

    def stop_buffering(self) -> bool:
        """Keep no more; return whether the device confirms it."""

    def buffered(self, most: int) -> Buffered:
        """Return the oldest spectra in the buffer, at most ``most``; none where it is empty."""


class LibraryCamera:
    """By what both seabreeze backends offer alike: any USB model, and libseabreeze's network ones.

    There is no question for the integration time here: a refused one is an exception of cseabreeze, and goes
    unnoticed by pyseabreeze.
    """

    def __init__(self, device: Any, library: Library) -> None:
        self.device = device
        self._compiled = library == "cseabreeze"
        self._base_us = time_base_us(str(device.model), device.f.spectrometer)

    def limits_us(self) -> tuple[int, int]:
        """Return the limits the library knows for the model, in whole units of the device.

        The upper one is not allowed by pyseabreeze.
        """
        low, high = map(int, self.device.f.spectrometer.get_integration_time_micros_limits())
        base = self._base_us
        return -(-low // base) * base, (high if self._compiled else high - 1) // base * base

    def triggers(self) -> dict[Trigger, int]:
        """Return those of the model that the library lets through."""
        feature = self.device.f.spectrometer
        return trigger_numbers(str(self.device.model), feature, compiled=self._compiled)

    def max_counts(self) -> float:
        """Return what the library says of the model, or less where the model clips."""
        return max_counts(str(self.device.model), self.device.f.spectrometer)

    def possible_us(self, wanted_us: int) -> int:
        """Round to the unit in which the device counts, within its limits."""
        low, high = self.limits_us()
        return min(max(round(wanted_us / self._base_us) * self._base_us, low), high)

    def processing(self) -> tuple[Processing, ...]:
        """Return what the compiled backend can ask of the model; the pure one can ask nothing."""
        found: list[Processing] = []
        features = self.device.f
        if (scans := getattr(features, "spectrum_processing", None)) is not None:
            found += [
                Processing("scans to average", 1, scans.get_scans_to_average, scans.set_scans_to_average),
                Processing("boxcar width", 0, scans.get_boxcar_width, scans.set_boxcar_width),
            ]
        if (delay := getattr(features, "acquisition_delay", None)) is not None:
            ask, tell = delay.get_delay_microseconds, delay.set_delay_microseconds
            found.append(Processing("acquisition delay (us)", 0, ask, tell))
        return tuple(found)

    def cool(self, celsius: float) -> bool:
        """Set the cooler's temperature and switch it on, where the library has a cooler for the model."""
        cooler = self.device.f.thermo_electric
        if cooler is None:
            return False
        cooler.set_temperature_setpoint_degrees_celsius(celsius)
        cooler.enable_tec(True)
        return True

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

    def buffer_shots(self) -> int:
        """Return 0: seabreeze reads no buffer in the same way from all of them."""
        return 0

    def start_buffering(self) -> bool:
        """Return False: there is no buffer."""
        return False

    def stop_buffering(self) -> bool:
        """Return True: nothing is kept."""
        return True

    def buffered(self, most: int) -> Buffered:
        """Return no spectra."""
        del most
        return Buffered.of(b"", 0)


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

    def triggers(self) -> dict[Trigger, int]:
        """Return those of the model."""
        return trigger_numbers(str(self.device.model), self.device.f.spectrometer, compiled=False)

    def max_counts(self) -> float:
        """Return what pyseabreeze says of the model."""
        return max_counts(str(self.device.model), self.device.f.spectrometer)

    def possible_us(self, wanted_us: int) -> int:
        """Return the same: these models count in us."""
        return wanted_us

    def processing(self) -> tuple[Processing, ...]:
        """Return what the network models are known to do."""
        network = self._network
        kinds = (
            ("scans to average", 1, network.GET_SCANS, network.SET_SCANS, "<H"),
            ("boxcar width", 0, network.GET_BOXCAR, network.SET_BOXCAR, "<B"),
            ("acquisition delay (us)", 0, network.GET_DELAY_US, network.SET_DELAY_US, "<L"),
        )
        return tuple(
            Processing(what, plain, partial(self._ask, get, layout), partial(self._protocol.send, set_))
            for what, plain, get, set_, layout in kinds
        )

    def cool(self, celsius: float) -> bool:
        """Return False: none of them has a cooler."""
        del celsius
        return False

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

    def buffer_shots(self) -> int:
        """Ask how many spectra its buffer holds at most; a model without one refuses the question."""
        return int(self._ask(self._network.GET_LARGEST_BUFFER, "<L") or 0)

    def start_buffering(self) -> bool:
        """Use the whole buffer, keep one spectrum a trigger, begin empty; have it confirmed."""
        network = self._network
        self._protocol.send(network.SET_BUFFER_SIZE, self.buffer_shots())
        self._protocol.send(network.SET_PER_TRIGGER, 1)
        self._protocol.send(network.SET_BUFFERING, 1)
        self._protocol.send(network.CLEAR_BUFFER)
        return self._buffering() and bool(self._ask(network.GET_PER_TRIGGER, "<L") == 1)

    def stop_buffering(self) -> bool:
        """Keep no more, and ask whether that is so."""
        if self._buffering():
            self._protocol.send(self._network.SET_BUFFERING, 0)
        return not self._buffering()

    def _buffering(self) -> bool:
        return bool(self._ask(self._network.GET_BUFFERING, "<B"))

    def buffered(self, most: int) -> Buffered:
        """Ask how many spectra wait, and fetch them in messages of 15, the most that one carries."""
        found = int(self._ask(self._network.GET_BUFFERED_COUNT, "<L") or 0)
        waiting = min(found, most)
        answers = [
            self._protocol.query(self._network.GET_BUFFERED, min(MOST_IN_A_MESSAGE, waiting - first))
            for first in range(0, waiting, MOST_IN_A_MESSAGE)
        ]
        return Buffered.of(b"".join(answers), self._pixels, found - waiting)

    @cached_property
    def _pixels(self) -> int:
        return int(self.device.f.spectrometer.get_wavelengths().size)


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
        libraries: tuple[Library, ...] = ("cseabreeze", "pyseabreeze") if backend == "auto" else (backend,)
        found = usb_device(resource, libraries)
        return LibraryCamera(found.device, found.library)
    model, host, port = match["model"].upper(), match["host"], int(match["port"])
    if backend == "cseabreeze":
        return LibraryCamera(_libseabreeze_device(resource, model, host, port), "cseabreeze")
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
    for device in api.list_devices():
        if device.model == name:
            if not device.is_open:
                device.open()
            return device
    raise not_connected(ROLE, resource, "no spectrometer is connected", opening_advice(resource))


def opening_advice(resource: str) -> str:
    """Return what to try when a spectrometer cannot be opened."""
    if NETWORK.fullmatch(resource):
        return "check host and port, that the spectrometer or simulator runs, and that no other client has it"
    return usb_advice()
