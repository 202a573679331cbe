"""The process that holds a spectrometer: reads commands on stdin, answers on stdout, ends when stdin does.

Run as a module by :class:`drivers.spectrometers.ocean.IsolatedSpectrometer`. Whatever a library prints
goes to stderr, so that it cannot get between the frames. If a call hangs and the parent is gone too, a
watchdog thread of the interpreter's own, which needs no lock, ends the process.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from typing import Any, BinaryIO

from drivers.support.child import read_frame, write_frame
from drivers.support.ocean_device import OceanSpectrometer
from labctl.model.errors import (
    InstrumentError,
    InstrumentFault,
    InstrumentTimeout,
    NotConnected,
    ProtocolError,
)
from labctl.model.records import SpectrometerInfo

GRACE_S = 5.0
"""How long after the parent's deadline the watchdog waits: the parent kills first."""

Answer = tuple[dict[str, object], bytes]


def main() -> None:
    """Serve one parent until it closes our stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    commands, answers = sys.stdin.buffer, _private_stdout()
    holder = _Holder()
    while (frame := read_frame(commands)) is not None:
        command, _ = frame
        faulthandler.dump_traceback_later(float(command["deadline_s"]) + GRACE_S, exit=True)
        header, body = holder.answer(command)
        faulthandler.cancel_dump_traceback_later()
        try:
            write_frame(answers, {"id": command["id"], **header}, body)
        except OSError:
            break
    holder.close()


def _private_stdout() -> BinaryIO:
    """Keep the pipe for ourselves and send everybody else's output to stderr."""
    if sys.platform == "win32":
        import msvcrt

        for stream in (sys.stdin, sys.stdout):
            msvcrt.setmode(stream.fileno(), os.O_BINARY)
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return os.fdopen(pipe, "wb")


class _Holder:
    """The spectrometer and what may be asked of it."""

    def __init__(self) -> None:
        self._spectrometer: OceanSpectrometer | None = None

    def answer(self, command: dict[str, Any]) -> Answer:
        try:
            return getattr(self, f"_do_{command['do']}")(**command["arguments"])  # type: ignore[no-any-return]
        except InstrumentError as exc:
            return _failure(exc), b""
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
        return _described(self._spectrometer.info, self._spectrometer.initial_integration_s)

    def _do_identity(self) -> Answer:
        found = self._open.identity()
        return {"identity": [found.vendor, found.model, found.serial, found.firmware]}, b""

    def _do_set_integration(self, seconds: float) -> Answer:
        return {"seconds": self._open.set_integration(seconds)}, b""

    def _do_acquire(self) -> Answer:
        spectrum = self._open.acquire()
        return {"integration_s": spectrum.integration_s}, spectrum.counts.astype("<f8").tobytes()

    def _do_temperature(self) -> Answer:
        return {"temperature_c": self._open.temperature_c()}, b""


def _described(info: SpectrometerInfo, integration_s: float | None) -> Answer:
    found = info.identity
    return {
        "identity": [found.vendor, found.model, found.serial, found.firmware],
        "max_counts": info.max_counts,
        "integration_min_s": info.integration_min_s,
        "integration_max_s": info.integration_max_s,
        "nonlinearity": info.nonlinearity,
        "integration_s": integration_s,
    }, info.wavelength_nm.astype("<f8").tobytes()


def _failure(exc: InstrumentError) -> dict[str, object]:
    if isinstance(exc, NotConnected):
        failure = exc.failures[0]
        return {"error": "not_connected", "text": failure.reason, "hint": failure.hint}
    kinds = {InstrumentTimeout: "timeout", InstrumentFault: "fault", ProtocolError: "protocol"}
    kind = next((word for cls, word in kinds.items() if isinstance(exc, cls)), "other")
    return {"error": kind, "text": exc.message.removeprefix(f"{exc.instrument}: "), "hint": exc.hint}


if __name__ == "__main__":
    main()
