"""The process that holds a spectrometer: reads commands on stdin, answers on stdout, ends when stdin does.

Run as a module by :class:`drivers.spectrometers.ocean.IsolatedSpectrometer`. Whatever a library prints
goes to stderr, so that it cannot get between the frames. If a call hangs and the parent is gone too, a
watchdog thread of the interpreter's own, which needs no lock, ends the process.
"""

from __future__ import annotations

import math
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import numpy as np

from drivers.support.child import ends_itself, failure, private_stdout, read_frame, write_frame
from drivers.support.exposures import ExposureBounds, HandedOut, emptied_at_s
from drivers.support.failures import not_connected
from drivers.support.ocean_cameras import Backend, Camera, open_camera, opening_advice
from drivers.support.ocean_models import Trigger
from drivers.support.ocean_usb import ROLE, on_the_bus
from labctl.model.clock import Clock, ScaledClock, Stop, check_stop
from labctl.model.errors import (
    InstrumentError,
    InstrumentFault,
    InstrumentTimeout,
    NotConnected,
    ProtocolError,
)
from labctl.model.records import Identity, SpectrometerInfo, Spectrum
from labctl.model.shots import ShotBatch

Nonlinearity = Literal["device", "off"]

MOST_SHOTS = 150
"""Shots in one batch: 0.65 MB, 0.15 s of a laser of 1 kHz."""
FIRST_SHOT_S = 1.0
EMPTY_BUFFER_S = 0.005
"""Wall time: how long a first shot may take, and until an empty buffer is asked again."""
TRIGGER_ADVICE = "check the laser, the cable from its trigger output, and the trigger level"

MEMORY_ADVICE = "write the wavelength coefficients of its data sheet into it with the maker's program"

SHORTEST_NM, LONGEST_NM = 100.0, 10_000.0


class OceanSpectrometer:
    """A spectrometer of Ocean Optics / Ocean Insight; ``device`` is seabreeze's own object.

    :param resource: a serial number, "first", or MODEL@HOST:PORT (FX and HDX) for a network one.
    :param backend: "auto" is pyseabreeze over a network, where it notices errors; on USB cseabreeze, then
        pyseabreeze, which knows the models sold today.
    :param trigger: "free" runs by itself; the others wait for a signal, where the model knows them.
    :param nonlinearity: "off" leaves the device's coefficients out of ``info``.
    :param cooler_c: what the cooler of the detector is set to, degrees Celsius; None leaves it alone.
    :raises NotConnected: there is none, or it cannot be opened.
    """

    isolated = False

    def __init__(
        self,
        resource: str = "first",
        *,
        backend: Backend = "auto",
        trigger: Trigger = "free",
        nonlinearity: Nonlinearity = "device",
        resolution_nm: float | None = None,
        cooler_c: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.resource = resource
        self.clock: Clock = clock or ScaledClock()
        self._integration_s: float | None = None
        self._trigger = 0
        self._handed_out = HandedOut()
        self._owed_shots = 0
        self._emptied_s: float | None = None
        self._camera: Camera | None = None
        try:
            with self._translated("opening it"):
                self._camera = open_camera(resource, backend)
                self._set_trigger(trigger)
                self.remarks = self._leave_exposures_alone()
                if cooler_c is not None:
                    self._cool(cooler_c)
                self.initial_integration_s = seconds_or_none(self._camera.integration_us())
                self._info = self._read_info(nonlinearity, resolution_nm)
                self._buffer_shots = self._camera.buffer_shots()
                if self._buffer_shots:
                    self._camera.stop_buffering()  # a program that was killed may have left it on
        except NotConnected:
            self.close()
            raise
        except InstrumentError as exc:
            self.close()
            reason = exc.message.removeprefix(f"{self.name}: ")
            told = exc.hint if isinstance(exc, InstrumentFault) else ""
            raise not_connected(ROLE, resource, reason, told or opening_advice(resource)) from exc
        self._bounds = ExposureBounds(self.initial_integration_s)

    @property
    def name(self) -> str:
        """Role and address."""
        return f"{ROLE} {self.resource}"

    @property
    def camera(self) -> Camera:
        """The open device.

        :raises InstrumentError: it was closed.
        """
        if self._camera is None:
            raise InstrumentError(self.name, "is closed")
        return self._camera

    @property
    def info(self) -> SpectrometerInfo:
        """Pixels, wavelengths and limits, asked for once when it was opened."""
        return self._info

    def identity(self) -> Identity:
        """Ask the device who it is."""
        device = self.camera.device
        with self._translated("its serial number"):
            return Identity("Ocean Insight", str(device.model), str(device.get_serial_number()))

    def _set_trigger(self, trigger: Trigger) -> None:
        model, numbers = str(self.camera.device.model).upper(), self.camera.triggers()
        if trigger not in numbers:
            hint = f"one of {', '.join(numbers)}"
            raise InstrumentFault(self.name, f"{model} has no trigger {trigger!r}", hint)
        confirmed = self.camera.set_trigger(numbers[trigger])
        if confirmed != numbers[trigger]:
            raise InstrumentFault(self.name, f"keeps trigger mode {confirmed} instead of {numbers[trigger]}")
        self._trigger = confirmed

    def _leave_exposures_alone(self) -> tuple[str, ...]:
        """Switch off what another program may have left on; return what that was.

        :raises InstrumentFault: it stays on.
        """
        remarks: list[str] = []
        for setting in self.camera.processing():
            try:
                found = setting.get()
            except Exception:  # noqa: BLE001  some models announce it and then do not know it
                continue
            if found is None or found == setting.plain:
                continue
            setting.set(setting.plain)
            if (kept := setting.get()) != setting.plain:
                hint = "set it in the maker's program, then power-cycle the spectrometer"
                raise InstrumentFault(self.name, f"keeps {setting.what} at {kept}", hint)
            remarks.append(f"{setting.what} was {found}, left by another program, and is {setting.plain} now")
        return tuple(remarks)

    def _cool(self, celsius: float) -> None:
        if not self.camera.cool(celsius):
            hint = 'leave cooler_c out, or try backend = "cseabreeze", which knows more coolers'
            raise InstrumentFault(self.name, "has no cooler that seabreeze can set", hint)

    def _read_info(self, nonlinearity: Nonlinearity, resolution_nm: float | None) -> SpectrometerInfo:
        feature = self.camera.device.f.spectrometer
        wavelength_nm = np.asarray(feature.get_wavelengths(), dtype=np.float64)
        if wavelength_nm.ndim != 1 or not np.all(np.diff(wavelength_nm) > 0):
            raise InstrumentFault(self.name, "its wavelengths do not increase", MEMORY_ADVICE)
        if not SHORTEST_NM <= wavelength_nm[0] <= wavelength_nm[-1] <= LONGEST_NM:
            found = f"{wavelength_nm[0]:g} to {wavelength_nm[-1]:g} nm"
            text = f"its wavelengths, {found}, are not those of a spectrometer"
            raise InstrumentFault(self.name, text, MEMORY_ADVICE)
        low_us, high_us = self.camera.limits_us()
        return SpectrometerInfo(
            identity=self.identity(),
            wavelength_nm=wavelength_nm,
            max_counts=self.camera.max_counts(),
            integration_min_s=low_us / 1e6,
            integration_max_s=high_us / 1e6,
            nonlinearity=self.camera.nonlinearity() if nonlinearity == "device" else None,
            resolution_nm=resolution_nm,
        )

    def set_integration(self, seconds: float) -> float:
        """Set the nearest integration time the device can keep; return the one it confirms, in s.

        :raises InstrumentFault: outside the device's limits, or it keeps another time.
        """
        low_s, high_s = self.info.integration_min_s, self.info.integration_max_s
        if not low_s <= seconds <= high_s:
            raise InstrumentFault(self.name, f"{seconds:g} s is outside {low_s:g} to {high_s:g} s")
        wanted_us = self.camera.possible_us(round(seconds * 1e6))
        with self._translated("the integration time"):
            confirmed_us = self.camera.set_integration_us(wanted_us)
        if abs(confirmed_us - wanted_us) > max(1.0, 1e-3 * wanted_us):
            raise InstrumentFault(self.name, f"keeps {confirmed_us} us instead of {wanted_us} us")
        self._integration_s = confirmed_us / 1e6
        self._bounds.changed(self._integration_s)
        return self._integration_s

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure; blocks until the device delivers it.

        It is labelled with the integration time that the device has afterwards, where it can tell. One that
        is equal, bit by bit, to one handed out before is an old one, since noise never repeats itself: it is
        asked for anew, once.

        :raises InstrumentFault: no integration time was set yet, or the device repeats itself.
        """
        check_stop(stop)
        if self._integration_s is None:
            raise InstrumentFault(self.name, "no integration time was set", "call set_integration first")
        for _ in range(2):
            request_s = self.clock.now_s()
            with self._translated("a spectrum"):
                counts = self.camera.counts(self._integration_s)
            reply_s = self.clock.now_s()
            if counts.shape != self.info.wavelength_nm.shape:
                text = f"sent {counts.size} pixels instead of {self.info.wavelength_nm.size}"
                raise ProtocolError(self.name, text)
            if not self._handed_out.again(counts):
                start_s = self._bounds.earliest_start_s(request_s, reply_s)
                return Spectrum(counts, self._in_force(), start_s, reply_s)
        hint = "power-cycle it"
        raise InstrumentFault(self.name, "returns a spectrum that it has already returned", hint)

    def _in_force(self) -> float:
        """Ask which settings the exposure had: after a restart they are others, and nobody tells.

        :raises InstrumentError: the trigger mode is not the one that was set.
        """
        with self._translated("its settings"):
            seconds = seconds_or_none(self.camera.integration_us())
            trigger = self.camera.trigger() if self._trigger else None
        if trigger is not None and trigger != self._trigger:
            raise InstrumentError(self.name, f"has trigger mode {trigger} instead of {self._trigger}")
        wanted_s = self._integration_s or 0.0
        if seconds is None or abs(seconds - wanted_s) <= max(1e-6, 1e-3 * wanted_s):
            return wanted_s
        return seconds

    @property
    def buffer_shots(self) -> int:
        """Number of shots that the device's own buffer holds; 0 where it has none that can be read."""
        return self._buffer_shots

    def arm(self, shots: int, stop: Stop | None = None) -> None:
        """Empty the device's buffer and keep one shot a trigger from now on.

        :raises InstrumentFault: it has no buffer, runs freely, has no exposure time yet, or does not obey.
        """
        check_stop(stop)
        if not self._buffer_shots:
            raise InstrumentFault(self.name, "has no buffer that keeps every shot")
        if not self._trigger:
            hint = 'trigger = "edge" in [spectrometer], with the laser\'s trigger output wired to it'
            raise InstrumentFault(self.name, "runs freely: a shot would hold any pulses", hint)
        if self._integration_s is None:
            raise InstrumentFault(self.name, "no integration time was set", "call set_integration first")
        self._emptied_s = time.monotonic()
        with self._translated("starting its buffer"):
            if not self.camera.start_buffering():
                raise InstrumentFault(self.name, "does not confirm that it keeps one spectrum a trigger")
        self._owed_shots = shots

    def fetch(self, stop: Stop | None = None) -> ShotBatch:
        """Return the next shots, all that wait in the buffer, at most :data:`MOST_SHOTS`.

        :raises InstrumentTimeout: none came within :data:`FIRST_SHOT_S`.
        :raises InstrumentFault: it is not armed, or all shots asked for were delivered.
        """
        if self._owed_shots <= 0:
            raise InstrumentFault(self.name, "is not armed for more shots", "call arm first")
        begin_s, request_s = time.monotonic(), self.clock.now_s()
        end = begin_s + FIRST_SHOT_S
        while True:
            check_stop(stop)
            asked_s = time.monotonic()
            with self._translated("its buffer"):
                found = self.camera.buffered(min(self._owed_shots, MOST_SHOTS))
            if found.count.size:
                break
            self._emptied_s = asked_s
            if time.monotonic() > end:
                text = f"no shot within {FIRST_SHOT_S:g} s: no trigger reaches it"
                raise InstrumentTimeout(self.name, text, TRIGGER_ADVICE)
            time.sleep(EMPTY_BUFFER_S)  # noqa: TID251  the device's own time, not the bench's
        self._owed_shots -= found.count.size
        integration_s = seconds_or_none(found.integration_us) or self._integration_s or 0.0
        emptied_s = None if self._emptied_s is None else self._emptied_s - begin_s
        after_s = emptied_at_s(request_s, emptied_s, self.clock.speed)
        self._emptied_s = None if found.left else asked_s
        return ShotBatch(found.frames, found.time_us, found.count, integration_s, self.clock.now_s(), after_s)

    def disarm(self) -> None:
        """Keep no more shots; those not fetched are lost. May be called twice.

        :raises InstrumentFault: it does not confirm it.
        """
        self._owed_shots = 0
        with self._translated("stopping its buffer"):
            if not self.camera.stop_buffering():
                raise InstrumentFault(self.name, "goes on filling its buffer", "power-cycle it")

    def temperature_c(self) -> float | None:
        """Temperature of the cooler or the first sensor, in degrees Celsius; None where it has none."""
        with self._translated("its temperature"):
            return self.camera.temperature_c()

    def close(self) -> None:
        """Release the device. Never raises, may be called twice."""
        camera, self._camera = self._camera, None
        if camera is not None:
            with suppress(Exception):
                camera.device.close()

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turn the many kinds of exception seabreeze lets out into ``InstrumentError``."""
        try:
            yield
        except InstrumentError:
            raise
        except TimeoutError as exc:
            raise InstrumentTimeout(self.name, f"no answer to {doing}") from exc
        except OSError as exc:
            raise InstrumentError(self.name, f"the connection is lost ({exc})") from exc
        except (struct.error, AssertionError, LookupError, ValueError, TypeError) as exc:
            text = f"{doing}: the answer cannot be parsed ({type(exc).__name__}: {exc})"
            raise ProtocolError(self.name, text) from exc
        except Exception as exc:
            raise InstrumentFault(self.name, f"{doing}: {type(exc).__name__}: {exc}") from exc


def seconds_or_none(microseconds: int | None) -> float | None:
    """Convert a time the device may not know."""
    return None if microseconds is None else microseconds / 1e6


Answer = tuple[dict[str, object], bytes]


def main() -> None:
    """Serve one parent until it closes our stdin."""
    commands, answers = sys.stdin.buffer, private_stdout()
    holder = _Holder()
    while (frame := read_frame(commands)) is not None:
        command, _ = frame
        with ends_itself(float(command["deadline_s"])):
            header, body = holder.answer(command)
        try:
            write_frame(answers, {"id": command["id"], **header}, body)
        except OSError:
            break
    holder.close()


class _Holder:
    """The spectrometer and what may be asked of it."""

    def __init__(self) -> None:
        self._spectrometer: OceanSpectrometer | None = None

    def answer(self, command: dict[str, Any]) -> Answer:
        try:
            return getattr(self, f"_do_{command['do']}")(**command["arguments"])  # type: ignore[no-any-return]
        except InstrumentError as exc:
            return failure(exc), b""
        except Exception as exc:  # noqa: BLE001  the parent must hear of it instead of losing us
            return {"error": "other", "text": f"{type(exc).__name__}: {exc}", "hint": ""}, b""

    def close(self) -> None:
        if self._spectrometer is not None:
            self._spectrometer.close()

    @property
    def _open(self) -> OceanSpectrometer:
        if self._spectrometer is None:
            raise InstrumentError("spectrometer", "is not open")
        return self._spectrometer

    def _do_open(self, **options: Any) -> Answer:
        self._spectrometer = OceanSpectrometer(**options)
        return _described(self._spectrometer)

    def _do_identity(self) -> Answer:
        found = self._open.identity()
        return {"identity": [found.vendor, found.model, found.serial, found.firmware]}, b""

    def _do_set_integration(self, seconds: float) -> Answer:
        return {"seconds": self._open.set_integration(seconds)}, b""

    def _do_acquire(self) -> Answer:
        spectrum = self._open.acquire()
        return {"integration_s": spectrum.integration_s}, spectrum.counts.astype("<f8").tobytes()

    def _do_arm(self, shots: int) -> Answer:
        self._open.arm(shots)
        return {}, b""

    def _do_fetch(self) -> Answer:
        began_s = self._open.clock.now_s()
        batch = self._open.fetch()
        emptied_s = batch.after_s - began_s
        header: dict[str, object] = {
            "shots": len(batch),
            "integration_s": batch.integration_s,
            "emptied_s": emptied_s if math.isfinite(emptied_s) else None,
        }
        numbers = np.stack([batch.device_time_us, batch.spectrum_count]).astype("<i8")
        return header, numbers.tobytes() + batch.frames.astype("<u2", copy=False).tobytes()

    def _do_disarm(self) -> Answer:
        self._open.disarm()
        return {}, b""

    def _do_list(self) -> Answer:
        found = []
        for each in on_the_bus(("cseabreeze", "pyseabreeze")):
            found.append([each.library, each.model, each.serial, each.why])
            if each.device is not None:
                each.device.close()
        return {"found": found}, b""

    def _do_temperature(self) -> Answer:
        return {"temperature_c": self._open.temperature_c()}, b""


def _described(spectrometer: OceanSpectrometer) -> Answer:
    info = spectrometer.info
    found = info.identity
    return {
        "identity": [found.vendor, found.model, found.serial, found.firmware],
        "max_counts": info.max_counts,
        "integration_min_s": info.integration_min_s,
        "integration_max_s": info.integration_max_s,
        "nonlinearity": info.nonlinearity,
        "integration_s": spectrometer.initial_integration_s,
        "buffer_shots": spectrometer.buffer_shots,
        "remarks": list(spectrometer.remarks),
    }, info.wavelength_nm.astype("<f8").tobytes()


if __name__ == "__main__":
    main()
