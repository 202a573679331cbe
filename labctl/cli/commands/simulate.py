"""``labctl simulate``: the simulated instruments, served until asked to stop."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from labctl.cli.common import Json
from labctl.cli.output import write_lines
from labctl.cli.signals import stop_on_signals
from labctl.model.untrusted import write_whole

_SIMULATED = re.compile(
    r"127\.0\.0\.1|^ASRL/dev/(pts/\d+|ttys\d+)::|^USB0::0x1313::0x8078::P0012345::INSTR$|^SIM\d{5}$"
    r"|^ASRL/dev/serial/by-id/usb-(FTDI_FT230X_Basic_UART|Thorlabs_APT)_SIM\w+-if00-port0::INSTR$"
)
"""Where simulated instruments listen: this computer's own network, a pseudo-terminal, the USB bus."""
_MADE_BY = re.compile(r"# labctl simulate ([0-9a-f]{16}):")
_CHANGES = re.compile(r"(?m)^(# labctl simulate [0-9a-f]{16}:|resource =|hand =|time_scale =).*\n")


@dataclass(frozen=True, slots=True)
class SimulateRequest:
    """What to simulate, as the command line says it.

    :param model: of the spectrometer, where it is on USB.
    :param attenuator: key of the driver that the simulated one is for; ``shutter`` likewise.
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
    heater: bool = False
    thermometer: bool = False
    model: str = "usb2000plus"
    attenuator: str = "thorlabs-ell14"
    shutter: str = "thorlabs-sc10"
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
        others = (request.attenuator, request.shutter)
        clock = ScaledClock(request.speed)
        with SimulatedBench(_scene(request), clock, transport, plan, others) as bench:
            fresh = bench.bench_toml(request.speed, nominal=request.uncalibrated)
            done = _write_bench_file(request.bench_file, fresh)
            _announce(request, len(plan.faults), done)
            if bench.usb is not None:
                _say_how_to_attach(bench.usb)
            if request.until_eof:
                threading.Thread(target=_wait_for_eof, args=(stop,), daemon=True).start()
            while not stop.wait(0.2):
                pass
    return 0


def _scene(request: SimulateRequest) -> Any:
    from simulators.presets import scene, uncalibrated, with_usb_spectrometer
    from simulators.scene.settings import HeaterSettings, ThermometerSettings

    values: dict[str, Any] = {
        "spectrometer": request.spectrometer,
        "meter": request.meter,
        "collection": request.collection,
        "bleaching": request.bleaching,
    }
    level: Any = request.scene
    made = scene(request.sample, level, request.seed, chaotic=request.chaotic, spot=request.spot, **values)
    made = uncalibrated(made, request.seed) if request.uncalibrated else made
    made = with_usb_spectrometer(made, request.model.upper()) if request.transport == "usb" else made
    heater = HeaterSettings() if request.heater else made.heater
    sensor = ThermometerSettings() if request.thermometer or request.heater else made.thermometer
    return replace(made, heater=heater, thermometer=sensor)


def _check_transport(transport: str) -> None:
    if transport == "pty" and sys.platform == "win32":
        from labctl.model.errors import ConfigError

        raise ConfigError("Windows has no pseudo-terminals", key="--transport", hint="--transport tcp")


def _check_bench_file(path: Path) -> None:
    """Refuse to change anything but the bench file of an earlier simulation.

    :raises ConfigError: it is another file, or one of its instruments is none of a simulation's.
    """
    from labctl.model.errors import ConfigError

    if path.is_dir():
        raise ConfigError(
            f"{path} is a directory", key="--bench-file", hint="give a file name, e.g. sim.toml"
        )
    if not os.path.lexists(path):
        return
    hint = "choose another name; this file would be overwritten"
    tables = _tables(path)
    bench = tables.get("bench")
    name = bench.get("name") if isinstance(bench, dict) else None
    if not (isinstance(name, str) and name.startswith("simulated ")):
        raise ConfigError(
            f"{path} exists already and was not written by labctl simulate", key="--bench-file", hint=hint
        )
    for role, resource in _resources(tables).items():
        if not _SIMULATED.search(resource):
            reason = f"{path}: {role} is at {resource}, which is not a simulated instrument"
            raise ConfigError(reason, key="--bench-file", hint=hint)


def _write_bench_file(path: Path, fresh: str) -> str:
    """Write the file, or only the addresses where it says more than a simulation does; return what was done.

    :raises ConfigError: it holds edits or calibrations of another simulated bench.
    """
    from labctl.config.benchfile import bench_text, set_values
    from labctl.model.errors import ConfigError

    mark = _mark(fresh)
    whole = f"# labctl simulate {mark}: every start rewrites the addresses; your other edits stay.\n{fresh}"
    if not path.exists():
        write_whole(path, whole)
        return ""
    text = bench_text(path)
    made_by = _MADE_BY.match(text)
    old, new = _tables(path), tomllib.loads(fresh)
    same = made_by[1] == mark if made_by else old["bench"]["name"] == new["bench"]["name"]
    if not same and made_by and made_by[1] == _mark(text):
        write_whole(path, whole)
        return f", rewritten: it was that of {old['bench']['name']} with other options"
    if not same:
        raise ConfigError(
            f"{path} holds edits or calibrations of {old['bench']['name']}, made with different options",
            key="--bench-file",
            hint="choose another name, or use the options it was made with",
        )
    lines = {("bench", key): f"{key} = {json.dumps(new['bench'][key])}" for key in ("hand", "time_scale")}
    for role, resource in _resources(new).items():
        if role in old:
            lines[role, "resource"] = f"resource = {json.dumps(resource)}"
    set_values(path, lines)
    kept = _differing(old, new)
    return f", kept except for the addresses: {', '.join(kept)}" if kept else ""


def _tables(path: Path) -> dict[str, Any]:
    from labctl.config.bench import why_no_toml
    from labctl.config.benchfile import bench_text
    from labctl.model.errors import ConfigError

    try:
        return tomllib.loads(bench_text(path).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(
            f"{path} exists already and is not a bench file: {why_no_toml(exc)}",
            key="--bench-file",
            hint="choose another name; this file would be overwritten",
        ) from exc


def _resources(tables: Mapping[str, Any]) -> dict[str, str]:
    """Return where the instruments of a bench file are, by role."""
    found = {role: table.get("resource") for role, table in tables.items() if isinstance(table, dict)}
    return {role: str(resource) for role, resource in found.items() if resource is not None}


def _mark(text: str) -> str:
    """Return what tells a simulated bench's file from any other, but for what changes with every start."""
    return hashlib.sha256(_CHANGES.sub("", text.replace("\r\n", "\n")).encode()).hexdigest()[:16]


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name the tables and keys that a file has otherwise than the simulation would write them."""
    found = []
    for name in {**old, **new}:
        was, is_now = old.get(name), new.get(name)
        if not (isinstance(was, dict) and isinstance(is_now, dict)):
            found += [] if was == is_now else [f"[{name}]"]
            continue
        for key in {**was, **is_now}:
            if was.get(key) != is_now.get(key) and key not in ("resource", "hand", "time_scale"):
                found.append(f"{name}.{key}")
    return found


def _announce(request: SimulateRequest, faults: int, done: str) -> None:
    wrong = f", with {faults} fault{'s' * (faults > 1)} planned" if faults else ""
    with contextlib.suppress(OSError, ValueError):
        line = f"serving {request.sample}, seed {request.seed}, at {request.speed:g} times real time{wrong}"
        write_lines([f"{line}; bench file {request.bench_file.resolve()}{done}; Ctrl-C to end"], sys.stderr)


def _say_how_to_attach(bus: Any) -> None:
    """Print the line for each device on the bus, and who can reach it."""
    attach = f"usbip --tcp-port {bus.port} attach --remote {bus.host} --busid"
    lines = [f"{attach} {device.bus_id}    # {device.resource}" for device in bus.devices]
    lines.append(
        "run these as root on Linux, after modprobe vhci-hcd; without this module the system does not"
    )
    lines.append("see the devices, and only the USB clients of labctl's own tests reach them")
    with contextlib.suppress(OSError, ValueError):
        write_lines(lines, sys.stderr)


def _wait_for_eof(stop: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.buffer.read(4096):
            pass
    stop.set()


def demo(
    output: Annotated[Path, typer.Option(help="Directory of files and figures.")] = Path("labctl-demo"),
    sample: Annotated[
        Literal["oam", "ola", "both"],
        typer.Option(case_sensitive=False, help="Sample of the paper to sweep."),
    ] = "both",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the simulated bench.")] = 1,
    speed: Annotated[float, typer.Option(min=0.1, max=1000, help="Bench seconds per real second.")] = 60.0,
    as_json: Json = False,
) -> int:
    """Sweep the paper's two samples on a simulated bench.

    Ends with a table and the figures, as PNG, that stand beside the paper's Fig. 5b-e and 6.
    """
    from labctl.cli.commands.demo import run_demo

    samples = ("oam", "ola") if sample == "both" else (sample,)
    return run_demo(output, samples, seed=seed, speed=speed, as_json=as_json)


def simulate(
    sample: Annotated[
        Literal["oam", "ola"], typer.Option(case_sensitive=False, help="Sample of the paper.")
    ] = "ola",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the simulated bench.")] = 1,
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Bench seconds per real second.")] = 1.0,
    bench_file: Annotated[Path, typer.Option(help="The bench file to write.")] = Path("sim.toml"),
    transport: Annotated[
        Literal["tcp", "pty", "usb"],
        typer.Option(case_sensitive=False, help="Sockets, pseudo-terminals, or a USB bus served by USB/IP."),
    ] = "tcp",
    scene: Annotated[
        Literal["ideal", "typical", "nasty"],
        typer.Option(case_sensitive=False, help="Imperfections of the bench."),
    ] = "typical",
    spectrometer: Annotated[
        Literal["fine", "coarse"], typer.Option(case_sensitive=False, help="0.15 nm or 1.3 nm resolution.")
    ] = "fine",
    model: Annotated[
        Literal["usb2000plus", "usb4000", "hr4000", "maya2000pro", "qepro", "sr2", "sr4", "sr6"],
        typer.Option(case_sensitive=False, help="Model of the spectrometer on USB; on TCP it is an FX."),
    ] = "usb2000plus",
    meter: Annotated[
        Literal["photodiode", "thermal", "pyro"],
        typer.Option(case_sensitive=False, help="Type of power meter head."),
    ] = "photodiode",
    attenuator: Annotated[
        Literal["thorlabs-ell14", "thorlabs-apt"],
        typer.Option(case_sensitive=False, help="Elliptec bus, or a K10CR1 (APT)."),
    ] = "thorlabs-ell14",
    shutter: Annotated[
        Literal["thorlabs-sc10", "thorlabs-ksc101"],
        typer.Option(case_sensitive=False, help="SC10, or KSC101 (APT)."),
    ] = "thorlabs-sc10",
    collection: Annotated[
        Literal["centre", "whole"],
        typer.Option(case_sensitive=False, help="Collect light from the centre of the spot, or all of it."),
    ] = "centre",
    bleaching: Annotated[
        Literal["off", "mild", "strong"],
        typer.Option(case_sensitive=False, help="Strength of photobleaching."),
    ] = "off",
    chaotic: Annotated[bool, typer.Option("--chaotic", help="Random peak positions in every shot.")] = False,
    spot: Annotated[int, typer.Option(min=0, help="Number of the spot on the film.")] = 0,
    uncalibrated: Annotated[
        bool,
        typer.Option("--uncalibrated", help="An uncalibrated bench: the bench file holds nominal values."),
    ] = False,
    heater: Annotated[
        bool,
        typer.Option("--heater", help="A heater under the sample, and a thermometer beside it."),
    ] = False,
    thermometer: Annotated[
        bool, typer.Option("--thermometer", help="A thermometer beside the sample.")
    ] = False,
    faults: Annotated[
        Path | None,
        typer.Option(help="Faults to simulate: a plan in TOML.", show_default=False),
    ] = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> int:
    """Serve a simulated bench until Ctrl-C.

    The bench file is written once everything listens: labctl check and labctl sweep work on it.
    """
    request = SimulateRequest(
        sample=sample,
        seed=seed,
        speed=speed,
        bench_file=bench_file,
        transport=transport,
        scene=scene,
        spectrometer=spectrometer,
        meter=meter,
        collection=collection,
        bleaching=bleaching,
        chaotic=chaotic,
        spot=spot,
        uncalibrated=uncalibrated,
        heater=heater,
        thermometer=thermometer,
        model=model,
        attenuator=attenuator,
        shutter=shutter,
        faults=faults,
        until_eof=until_eof,
    )
    return run_simulate(request)
