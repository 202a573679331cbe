"""Ocean Optics / Ocean Insight spectrometers through seabreeze, held by a process that can be killed.

seabreeze's compiled calls have no time-out, and some hold the interpreter's lock while they wait: a silent
spectrometer would freeze the whole program. So the driver runs in a child process; past a deadline the child
is killed, and the next request opens the device anew, once. Tried on a simulator only.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from drivers.support.child import Child, ChildDied, ChildHangs, Frame
from drivers.support.exposures import ExposureBounds, emptied_at_s
from drivers.support.failures import not_connected
from drivers.support.spec import DriverConfig, DriverSpec, Support
from labctl.model.clock import Clock, ScaledClock, Stop, check_heard
from labctl.model.errors import InstrumentError, InstrumentFault, InstrumentTimeout, ProtocolError
from labctl.model.records import Identity, SpectrometerInfo, Spectrum
from labctl.model.shots import ShotBatch

log = logging.getLogger(__name__)

ROLE = "spectrometer"
CHILD_MODULE = "drivers.spectrometers.ocean_child"
OPEN_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 5.0
COLD_WITHIN_C, COLD_LOOKS, COLD_LOOK_S = 0.5, 3, 0.5
"""How near to its set point a cooled detector must be, in how many looks, and the bench time between two."""
ERRORS: dict[str, type[InstrumentError]] = {
    "timeout": InstrumentTimeout,
    "fault": InstrumentFault,
}


class IsolatedSpectrometer:
    """A spectrometer in a child process.

    :param resource: a serial number, "first", or MODEL@HOST:PORT (FX and HDX) for a network one.
    :param options: keyword arguments of :class:`drivers.spectrometers.ocean_child.OceanSpectrometer`.
    :param cooler_c: what the cooler of the detector is set to, degrees Celsius; None leaves it alone.
    :param cooling_timeout_s: bench time within which the detector must have come near it.
    :param timeout_margin_s: wall time an exposure may take beyond its integration time, waiting for a
        trigger included.
    :raises NotConnected: there is none, or it cannot be opened.
    """

    isolated = True

    def __init__(
        self,
        resource: str = "first",
        *,
        clock: Clock | None = None,
        resolution_nm: float | None = None,
        timeout_margin_s: float = 5.0,
        cooler_c: float | None = None,
        cooling_timeout_s: float = 300.0,
        **options: Any,
    ) -> None:
        self.resource = resource
        self.clock: Clock = clock or ScaledClock()
        self._options = {"resource": resource, "cooler_c": cooler_c, **options}
        self._resolution_nm = resolution_nm
        self._timeout_margin_s = timeout_margin_s
        self._integration_s: float | None = None
        self._child: Child | None = None
        self._closed = False
        self._tried_again = False
        self.remarks: tuple[str, ...] = ()
        self._info = self._open()
        if cooler_c is not None:
            try:
                self._await_cold(cooler_c, cooling_timeout_s)
            except BaseException:
                self.close()
                raise

    @property
    def name(self) -> str:
        """Role and address."""
        return f"{ROLE} {self.resource}"

    @property
    def info(self) -> SpectrometerInfo:
        """Pixels, wavelengths and limits, asked for once when it was opened."""
        return self._info

    def _open(self) -> SpectrometerInfo:
        try:
            self._child = Child(CHILD_MODULE)
        except OSError as exc:
            raise not_connected(ROLE, self.resource, f"its process does not start: {exc}", "") from exc
        try:
            header, body = self._ask("open", self._options, OPEN_TIMEOUT_S)
        except InstrumentTimeout as exc:
            hint = "check that it is powered and answers, then connect again"
            raise not_connected(ROLE, self.resource, "it does not answer", hint) from exc
        except BaseException:
            self._drop()
            raise
        self._bounds = ExposureBounds(header["integration_s"])
        self._buffer_shots = int(header["buffer_shots"])
        self.remarks = tuple(header["remarks"])
        for remark in self.remarks:
            log.warning("%s: %s", self.name, remark)
        return SpectrometerInfo(
            identity=Identity(*header["identity"]),
            wavelength_nm=np.frombuffer(body, dtype="<f8").astype(np.float64),
            max_counts=float(header["max_counts"]),
            integration_min_s=float(header["integration_min_s"]),
            integration_max_s=float(header["integration_max_s"]),
            nonlinearity=None if header["nonlinearity"] is None else tuple(header["nonlinearity"]),
            resolution_nm=self._resolution_nm,
        )

    def _await_cold(self, celsius: float, timeout_s: float) -> None:
        """Wait until the detector has been at its temperature for some looks in a row.

        :raises NotConnected: it does not come near it in time, or does not tell its temperature.
        :raises Aborted: a stop is heard.
        """
        end_s, near = self.clock.now_s() + timeout_s, 0
        while near < COLD_LOOKS:
            check_heard()
            found_c = self.temperature_c()
            if found_c is None:
                raise not_connected(
                    ROLE, self.resource, "it does not tell its temperature", "leave cooler_c out"
                )
            near = near + 1 if abs(found_c - celsius) <= COLD_WITHIN_C else 0
            if near < COLD_LOOKS and self.clock.now_s() > end_s:
                reason = f"its detector is at {found_c:.1f} C after {timeout_s:g} s, not at {celsius:g} C"
                hint = "check the power of its cooler; set a higher cooler_c or a longer cooling_timeout_s"
                raise not_connected(ROLE, self.resource, reason, hint)
            self.clock.sleep(COLD_LOOK_S)

    def reopen(self) -> None:
        """Open the device anew, after its process was lost, and set its integration time again.

        :raises NotConnected: it does not come back.
        :raises InstrumentFault: another device answers now.
        """
        self._drop()
        self._closed = False
        info = self._open()
        if info.identity != self._info.identity:
            self._drop()
            raise InstrumentFault(self.name, f"{info.identity} answers instead of {self._info.identity}")
        self._info = info
        if self._integration_s is not None:
            self._ask("set_integration", {"seconds": self._integration_s}, ANSWER_TIMEOUT_S)
            self._bounds.changed(self._integration_s)

    def identity(self) -> Identity:
        """Ask the device who it is."""
        return Identity(*self._request("identity", {}, ANSWER_TIMEOUT_S)[0]["identity"])

    def set_integration(self, seconds: float) -> float:
        """Set the nearest integration time the device can keep; return the one it confirms, in s.

        :raises InstrumentFault: outside the device's limits, or it keeps another time.
        """
        header, _ = self._request("set_integration", {"seconds": seconds}, ANSWER_TIMEOUT_S)
        self._integration_s = float(header["seconds"])
        self._bounds.changed(self._integration_s)
        return self._integration_s

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure. Its deadline is the integration time and the margin.

        :raises InstrumentTimeout: it did not come; the device is opened anew at the next request.
        """
        request_s = self.clock.now_s()
        deadline_s = (self._integration_s or 0.0) + self._timeout_margin_s
        header, body = self._request("acquire", {}, deadline_s, stop)
        reply_s = self.clock.now_s()
        counts = np.frombuffer(body, dtype="<f8").astype(np.float64)
        if counts.shape != self._info.wavelength_nm.shape:
            raise ProtocolError(self.name, f"{counts.size} pixels instead of {self._info.wavelength_nm.size}")
        integration_s = float(header["integration_s"])
        start_s = self._bounds.earliest_start_s(request_s, reply_s)
        return Spectrum(counts, integration_s, start_s, reply_s)

    @property
    def buffer_shots(self) -> int:
        """Number of shots that the device's own buffer holds; 0 where it has none that can be read."""
        return self._buffer_shots

    def arm(self, shots: int, stop: Stop | None = None) -> None:
        """Empty the device's buffer and keep one shot a trigger from now on.

        :raises InstrumentFault: it has no buffer, runs freely, has no exposure time yet, or does not obey.
        """
        self._request("arm", {"shots": shots}, ANSWER_TIMEOUT_S, stop)

    def fetch(self, stop: Stop | None = None) -> ShotBatch:
        """Return the next shots, all that wait in the buffer, at most 150.

        A process that was lost is not started anew: the shots in between are unknown.

        :raises InstrumentTimeout: none came within 1 s of wall time.
        :raises InstrumentFault: it is not armed, or all shots asked for were delivered.
        """
        if self._child is None:
            raise InstrumentError(self.name, "was lost in a burst", "start the burst again")
        request_s = self.clock.now_s()
        header, body = self._request("fetch", {}, ANSWER_TIMEOUT_S, stop)
        reply_s = self.clock.now_s()
        shots, pixels = int(header["shots"]), self._info.wavelength_nm.size
        if len(body) != shots * (2 * 8 + 2 * pixels):
            raise ProtocolError(self.name, f"{len(body)} bytes for {shots} shots of {pixels} pixels")
        numbers = np.frombuffer(body, "<i8", 2 * shots).reshape(2, shots).astype(np.int64)
        frames = (
            np.frombuffer(body, "<u2", offset=2 * 8 * shots)
            .reshape(shots, pixels)
            .astype(np.uint16, copy=False)
        )
        emptied_s = None if header["emptied_s"] is None else float(header["emptied_s"])
        after_s = emptied_at_s(request_s, emptied_s, self.clock.speed)
        seconds = float(header["integration_s"])
        return ShotBatch(frames, numbers[0], numbers[1], seconds, reply_s, after_s)

    def disarm(self) -> None:
        """Keep no more shots; those not fetched are lost. May be called twice.

        :raises InstrumentFault: it does not confirm it.
        """
        if self._child is not None:  # a process that ended has let go of the device
            self._request("disarm", {}, ANSWER_TIMEOUT_S)

    def temperature_c(self) -> float | None:
        """Temperature of the cooler or the first sensor, in degrees Celsius; None where it has none."""
        value = self._request("temperature", {}, ANSWER_TIMEOUT_S)[0]["temperature_c"]
        return None if value is None else float(value)

    def close(self) -> None:
        """Release the device and end its process. Never raises, may be called twice."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _request(
        self, do: str, arguments: dict[str, Any], deadline_s: float, stop: Stop | None = None
    ) -> Frame:
        """Ask, opening the device anew first if its process was lost since; once, until it answers again."""
        if self._closed:
            raise InstrumentError(self.name, "is closed")
        if self._child is None:
            if self._tried_again:
                raise InstrumentError(self.name, "is lost", "check cable and power, then connect again")
            self._tried_again = True
            self.reopen()
        frame = self._ask(do, arguments, deadline_s, stop)
        self._tried_again = False
        return frame

    def _ask(self, do: str, arguments: dict[str, Any], deadline_s: float, stop: Stop | None = None) -> Frame:
        if self._child is None:
            raise InstrumentError(self.name, "is lost")
        try:
            frame = self._child.call(do, arguments, deadline_s, stop)
        except ChildHangs:
            self._drop()
            text = f"no answer to {do!r} within {deadline_s:g} s; its process was ended"
            raise InstrumentTimeout(self.name, text, "check that it is powered and connected") from None
        except ChildDied as exc:
            self._drop()
            raise InstrumentError(self.name, f"its process ended during {do!r}: {exc}") from exc
        if "error" in frame[0]:
            self._raise(frame[0])
        return frame

    def _raise(self, header: dict[str, Any]) -> None:
        kind, text, hint = str(header["error"]), str(header["text"]), str(header["hint"])
        if kind != "fault":  # nobody knows what is still on its way: begin anew at the next request
            self._drop()
        if kind == "not_connected":
            raise not_connected(ROLE, self.resource, text, hint)
        if kind == "protocol":
            raise ProtocolError(self.name, text)
        raise ERRORS.get(kind, InstrumentError)(self.name, text, hint)


class OceanConfig(DriverConfig):
    """``[spectrometer]`` with ``driver = "ocean"``."""

    driver: Literal["ocean"]
    resolution_nm: Annotated[float, Field(gt=0)] | None = None
    resolution_sigma_nm: Annotated[float, Field(ge=0)] | None = None
    saturation_counts: Annotated[float, Field(gt=0)] | None = None
    trigger: Literal["free", "edge", "level", "sync"] = "free"
    timeout_margin_s: Annotated[float, Field(gt=0, le=600)] = 5.0
    nonlinearity: Literal["device", "off"] = "device"
    backend: Literal["auto", "cseabreeze", "pyseabreeze"] = "auto"
    cooler_c: Annotated[float, Field(ge=-60, le=30)] | None = None
    cooling_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 300.0


def _open(config: OceanConfig, clock: Clock) -> IsolatedSpectrometer:
    return IsolatedSpectrometer(
        config.resource,
        clock=clock,
        resolution_nm=config.resolution_nm,
        timeout_margin_s=config.timeout_margin_s,
        cooler_c=config.cooler_c,
        cooling_timeout_s=config.cooling_timeout_s,
        backend=config.backend,
        trigger=config.trigger,
        nonlinearity=config.nonlinearity,
    )


DRIVER = DriverSpec(
    "ocean",
    "spectrometer",
    OceanConfig,
    _open,
    "Ocean Optics / Insight spectrometers (seabreeze)",
    Support(
        "by USB: Ocean Optics / Insight USB2000, USB2000+, USB4000, USB650, HR2000, HR2000+, HR4000, "
        "Flame, QE65000, QE Pro, Maya, NIRQuest, Torus, Apex, Jaz, STS, Spark, Ventana, HDX, SR2, SR4, "
        "SR6, HR2, HR4, HR6; by Ethernet: FX and HDX",
        "USB (seabreeze's compiled backend first, then the pure one), TCP",
        "simulated Ocean FX on TCP; simulated USB2000+, USB4000, HR4000, Maya2000 Pro, QE Pro, SR2, SR4 "
        "and SR6 on a USB bus; both backends where they know the model",
        (
            "ST: seabreeze 2.11 reads twice as many values as it has pixels, so every spectrum is refused",
            "SR, HR2/4/6, HDX and USB650 by USB are known to pyseabreeze only; SR and HR2/4/6 run freely "
            "only",
            "USB4000 and HR4000 have 3840 pixels by pyseabreeze and 3648 by cseabreeze: a calibration "
            "holds for the backend it was made with",
            "coolers are set by cseabreeze, for the models it has one for; by pyseabreeze for the "
            "NIRQuest512 only",
            "scans to average, boxcar and delay that another program left on are seen by pyseabreeze over "
            "TCP; by cseabreeze where it has a feature for the model, which it has not for FX, QE Pro and "
            "USB4000; by pyseabreeze on USB never",
            "nonlinearity and temperature are told by cseabreeze for most models, by pyseabreeze for few",
            "every shot out of the device's own buffer: Ocean FX over TCP only",
        ),
    ),
)
