"""A stability run: emission against time at one fluence, its decay, and what is left at the end.

The machinery is a sweep's, the file is a run file; what is said of it stands in the result's ``stability``.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from labctl.config import BenchConfig
from labctl.data import read_run
from labctl.model.clock import Clock
from labctl.model.errors import DataError, InstrumentError
from labctl.model.plan import StabilityPlan
from labctl.runner.csv_worker import PointBuffer
from labctl.runner.events import OnEvent
from labctl.runner.fit_process import Fits
from labctl.runner.refit import STABILITY_ID, refit_stability
from labctl.runner.report import RunReport
from labctl.runner.run import RunKind, RunRequest, run_sweep
from labctl.session import Bench
from procedures.fluence_sweep import Pause


def run_stability(
    bench: Bench | BenchConfig | Path | str,
    plan: StabilityPlan,
    request: RunRequest,
    *,
    stop: threading.Event,
    on_event: OnEvent,
    clock: Clock | None = None,
    pause: Pause | None = None,
    fits: Fits | None = None,
) -> RunReport:
    """Measure a stability run; what it says is in the report's ``result.stability``.

    Parameters and errors are those of :func:`labctl.runner.run.run_sweep`.
    """
    return run_sweep(
        bench,
        plan,
        request,
        stop=stop,
        on_event=on_event,
        clock=clock,
        pause=pause,
        kind=stability_kind(),
        fits=fits,
    )


def stability_kind() -> RunKind:
    """Return the kind of one run: it remembers that run's temperatures."""
    temperatures: dict[int, float] = {}

    def seen(bench: Bench, buffer: PointBuffer) -> None:
        """Read the thermometer, where there is one; its failure is no reason to end a run of hours."""
        thermometer = bench.roles.thermometer or bench.roles.heater
        if thermometer is None:
            return
        index = buffer.latest.index
        try:
            temperatures[index] = thermometer.temperature_c()
            text = f"point {index + 1}: sample at {temperatures[index]:.2f} C"
        except InstrumentError as exc:
            text = f"point {index + 1}: sample temperature unknown: {exc.message}"
        buffer.event(bench.roles.clock.now_s(), text)

    def temperature_c(buffer: PointBuffer) -> tuple[float | None, ...]:
        return tuple(temperatures.get(p.index) for p in buffer.points) if temperatures else ()

    return RunKind(STABILITY_ID, live=False, seen=seen, temperature_c=temperature_c)


def write_table(path: Path) -> Path:
    """Write ``<run>_stability.csv`` beside a run file: time, light, dose and temperatures, one row a point.

    :raises DataError: the file is no stability run, or cannot be read or written.
    """
    run = read_run(path)
    measured, _ = refit_stability(run)
    sample = list(run.facts.sample_temperature_c)
    sample += [None] * (len(run) - len(sample))
    table = path.with_name(f"{path.stem}_stability.csv")
    head = (
        "Time (s),Light over that of the first points,Light error,Fluence (uJ/cm^2),Dose (uJ/cm^2),"
        "Sample temperature (degC),Detector temperature (degC),Used"
    )
    detector = run.column("temperature_c")
    rows = [
        f"{measured.time_s[i]:.3f},{measured.light[i]:.6g},{measured.sigma[i]:.3g},{measured.fluence_uj_cm2[i]:.6g},"
        f"{measured.dose_uj_cm2[i]:.6g},{_cell(sample[i])},{_cell(detector[i])},{int(measured.usable[i])}"
        for i in range(len(run))
    ]
    try:
        table.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    except OSError as exc:
        raise DataError(f"cannot write {table}: {exc.strerror or exc}") from exc
    return table


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) and np.isfinite(value) else ""
