"""Simulated benches of this process: drivers over sockets, a stepped clock, and what is true of them."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial import polynomial

from benchmarks.tables import Array
from labctl.config import BenchConfig, parse_bench
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.clock import Clock, SteppedClock
from labctl.model.plan import SweepPlan
from labctl.runner.calibrate import run_calibration
from labctl.runner.run import RunRequest
from labctl.session import Bench, open_bench
from labctl.session.operator import ScriptedOperator, SimulatedOperator
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene import Scene
from simulators.scene.settings import Element, SceneSettings

BEHIND: tuple[Element, Element, Element, Element] = ("attenuator", "shutter", "pick-off", "sample")
"""The pick-off behind the shutter."""
SWEEPS = {
    "oam": SweepPlan(start_uj_cm2=65, stop_uj_cm2=640),
    "ola": SweepPlan(start_uj_cm2=20, stop_uj_cm2=200),
}
"""A sweep over the threshold of each sample."""
LASING_NM, MIDDLE_NM = (530.0, 556.0), 543.0


def scene(sample: str, level: str, seed: int, **more: Any) -> SceneSettings:
    """Return a preset, named by the words of a command line."""
    return presets.scene(sample, level, seed, **more)  # type: ignore[arg-type]


def behind(settings: SceneSettings) -> SceneSettings:
    return dataclasses.replace(settings, optics=dataclasses.replace(settings.optics, order=BEHIND))


@contextmanager
def served(
    settings: SceneSettings, clock: Clock | None = None
) -> Iterator[tuple[SimulatedBench, BenchConfig]]:
    """Serve a bench, on a stepped clock by default; the configuration is that of its bench file."""
    with SimulatedBench(settings, clock or SteppedClock()) as bench:
        yield bench, parse_bench(bench.bench_toml(1.0))


@contextmanager
def opened(settings: SceneSettings, clock: Clock | None = None) -> Iterator[tuple[SimulatedBench, Bench]]:
    with served(settings, clock) as (bench, config), open_bench(config, bench.scene.clock) as open_:
        yield bench, open_


@contextmanager
def filed(settings: SceneSettings, clock: Clock, speed: float) -> Iterator[tuple[SimulatedBench, Path]]:
    """Serve a bench to other programs; its bench file lies in a folder that is removed in the end."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        SimulatedBench(settings, clock) as bench,
    ):
        file = Path(folder) / "bench.toml"
        file.write_text(bench.bench_toml(speed), encoding="utf-8")
        yield bench, file


def calibrated(
    bench: SimulatedBench, config: BenchConfig, kind: CalibrationKind, output: Path, options: Any = None
) -> tuple[Calibration, Path]:
    """Measure a calibration; what a person would do, the simulated hands do, and a question is answered."""
    operator = ScriptedOperator(["..."], then=SimulatedOperator(bench.hand))
    words: dict[str, Any] = {"stop": None, "on_event": lambda _event: None, "clock": bench.scene.clock}
    return run_calibration(config, kind, options, operator=operator, output=output, **words)


def run_to_end(run: Any, bench: SimulatedBench, config: BenchConfig, plan: Any, folder: Path) -> Any:
    """Have ``run_sweep`` or ``run_stability`` store a run that nobody stops or watches; return its report."""
    words: dict[str, Any] = {"stop": threading.Event(), "on_event": lambda _event: None}
    return run(config, plan, RunRequest(folder, "OLA"), clock=bench.scene.clock, **words)


def true_quantities(bench: SimulatedBench) -> dict[str, float]:
    """Return the true value of what calibrations measure, by its name in their files.

    A blade sees the spot averaged over the laser's pointing, so that is what a radius is compared with.
    """
    scene = bench.scene
    truth, blur_um = scene.truth, 2 * scene.settings.laser.pointing_um
    return {
        "zero_deg": truth.zero_deg,
        "leakage": truth.t_min,
        "backlash": scene.settings.mount.backlash_deg,
        "ratio": truth.pickoff_ratio,
        "repetition_rate": truth.repetition_rate_hz,
        "pulse_energy": truth.max_pulse_energy_j,
        "x_um": math.hypot(truth.w_x_um, blur_um),
        "y_um": math.hypot(truth.w_y_um, blur_um),
        "resolution": scene.camera.resolution_nm(MIDDLE_NM),
    }


def off(c: Calibration, bench: SimulatedBench, name: str) -> float:
    """Return how far a quantity is from the truth; a plate looks the same every 90 deg."""
    error = c.quantities[name].value - true_quantities(bench)[name]
    return (error + 45.0) % 90.0 - 45.0 if name == "zero_deg" else error


def axis_off_pixels(c: Calibration, scene: Scene) -> Array:
    """Return the errors of a spectrometer's axis in the lasing band."""
    true_nm = scene.camera.wavelength_nm
    found_nm = polynomial.polyval(np.arange(true_nm.size), c.tables["wavelength_coefficients"])
    inside = (true_nm > LASING_NM[0]) & (true_nm < LASING_NM[1])
    return np.asarray((found_nm - true_nm)[inside] / np.gradient(true_nm)[inside])
