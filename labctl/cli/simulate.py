"""``labctl simulate``: the simulated instruments, served until asked to stop."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.cli.output import write_lines
from labctl.cli.signals import stop_on_signals


@dataclass(frozen=True, slots=True)
class SimulateRequest:
    """What to simulate, as the command line says it.

    :param uncalibrated: draw what a calibration finds, from the seed, and keep it out of the bench file.
    :param faults: file with a plan of what shall go wrong.
    :param until_eof: end when standard input ends as well, so that no simulator outlives who started it.
    """

    sample: str
    seed: int
    speed: float
    bench_file: Path
    transport: str
    scene: str
    spectrometer: str
    meter: str
    collection: str
    bleaching: str
    chaotic: bool = False
    spot: int = 0
    uncalibrated: bool = False
    faults: Path | None = None
    until_eof: bool = False


def run_simulate(request: SimulateRequest) -> int:
    """Serve until Ctrl-C or SIGTERM, then leave the bench file in place.

    :raises ConfigError: pseudo-terminals were asked for where there are none, the plan of faults is wrong, or
        the bench file to write is somebody's own.
    :raises DataError: the bench file cannot be written.
    """
    with stop_on_signals() as stop:
        from labctl.model.clock import ScaledClock
        from simulators.bench import SimulatedBench
        from simulators.faults import FaultPlan, load_faults

        _check_transport(request.transport)
        _check_bench_file(request.bench_file)
        transport: Any = request.transport
        plan = FaultPlan() if request.faults is None else load_faults(request.faults)
        with SimulatedBench(_scene(request), ScaledClock(request.speed), transport, plan) as bench:
            write_whole(request.bench_file, bench.bench_toml(request.speed, nominal=request.uncalibrated))
            _announce(request, len(plan.faults))
            if request.until_eof:
                threading.Thread(target=_wait_for_eof, args=(stop,), daemon=True).start()
            while not stop.wait(0.2):
                pass
    return 0


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever sees it sees all of it.

    :raises DataError: it cannot be written.
    """
    from labctl.model.errors import DataError

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {exc.strerror or exc}") from exc


def _scene(request: SimulateRequest) -> Any:
    from simulators.presets import scene, uncalibrated

    values: dict[str, Any] = {
        "spectrometer": request.spectrometer,
        "meter": request.meter,
        "collection": request.collection,
        "bleaching": request.bleaching,
    }
    level: Any = request.scene
    made = scene(request.sample, level, request.seed, chaotic=request.chaotic, spot=request.spot, **values)
    return uncalibrated(made, request.seed) if request.uncalibrated else made


def _check_transport(transport: str) -> None:
    if transport == "pty" and sys.platform == "win32":
        from labctl.model.errors import ConfigError

        raise ConfigError("Windows has no pseudo-terminals", key="--transport", hint="--transport tcp")


def _check_bench_file(path: Path) -> None:
    """Refuse to write over anything but the bench file of an earlier simulation."""
    from labctl.model.errors import ConfigError

    if path.is_dir():
        raise ConfigError(f"{path} is a directory", key="--bench-file", hint="name a file, e.g. sim.toml")
    if path.exists() and b'name = "simulated ' not in path.read_bytes()[:1000]:
        reason = f"{path} is there already, and no simulation wrote it"
        raise ConfigError(reason, key="--bench-file", hint="another name; this one would be lost")


def _announce(request: SimulateRequest, faults: int) -> None:
    wrong = f", with {faults} fault{'s' * (faults > 1)} planned" if faults else ""
    with contextlib.suppress(OSError, ValueError):
        line = f"serving {request.sample}, seed {request.seed}, at {request.speed:g} times real time{wrong}"
        write_lines([f"{line}; bench file {request.bench_file.resolve()}; Ctrl-C ends it"], sys.stderr)


def _wait_for_eof(stop: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.buffer.read(4096):
            pass
    stop.set()
