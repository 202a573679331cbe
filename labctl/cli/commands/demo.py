"""``labctl demo``: both samples of the paper, each on a simulated bench in a process of its own.

From the bench file on it is exactly what ``labctl sweep`` does, over real connections and the real drivers.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.cli.signals import stop_on_signals
from labctl.model.errors import Aborted

if TYPE_CHECKING:
    from labctl.cli.progress import Progress
    from labctl.runner.report import RunReport

START_DEADLINE_S = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class DemoSweep:
    """One sample of the paper: its name there, its nominal threshold, and the fluences to sweep, uJ/cm2.

    Thresholds from Xiong et al., Photonics Research 2022, doi 10.1364/PRJ.442659, Fig. 5c and 5e.
    """

    name: str
    nominal_uj_cm2: float
    start_uj_cm2: float
    stop_uj_cm2: float


SWEEPS = {"oam": DemoSweep("OAm", 257.34, 80.0, 600.0), "ola": DemoSweep("OLA", 79.81, 25.0, 200.0)}


def run_demo(output: Path, samples: Sequence[str], *, seed: int, speed: float, as_json: bool) -> int:
    """Sweep the samples one after another, draw the figures, print the table."""
    with stop_on_signals() as stop, ExitStack() as benches:
        folder = Path(benches.enter_context(tempfile.TemporaryDirectory(prefix="labctl-demo-")))
        files = {name: folder / f"{name}.toml" for name in samples}
        processes = {
            name: benches.enter_context(simulated_bench(name, files[name], seed=seed, speed=speed))
            for name in samples
        }
        from labctl.cli.commands.sweep import with_compared
        from labctl.cli.progress import make_progress
        from labctl.cli.table import print_result

        runs: list[RunReport] = []
        failure: BaseException | None = None
        with make_progress() as progress:
            for name in samples:
                wait_for(files[name], processes[name], stop)
                report, failure = _sweep(name, files[name], output, stop, progress)
                runs.append(report)
                if report.status != "finished":
                    break
        print_result(with_compared(runs), as_json=as_json)
    if failure is not None:
        raise failure
    if runs[-1].status == "aborted":
        raise Aborted
    return 0


def _sweep(
    name: str, bench: Path, output: Path, stop: threading.Event, progress: Progress
) -> tuple[RunReport, BaseException | None]:
    """Sweep one sample; what failed after the first point comes back beside what there is."""
    from labctl.cli.commands.sweep import sweep_once
    from labctl.model.plan import SweepPlan
    from labctl.runner.facts import RunRequest
    from labctl.runner.run import RunFailed

    sweep = SWEEPS[name]
    plan = SweepPlan(start_uj_cm2=sweep.start_uj_cm2, stop_uj_cm2=sweep.stop_uj_cm2)
    labels = RunRequest(output, sweep.name, note="simulated bench")
    failure: BaseException | None = None
    try:
        report = sweep_once(bench, plan, labels, stop, progress, figures=True)
    except RunFailed as failed:
        report, failure = failed.report, failed.error
    return dataclasses.replace(report, nominal_uj_cm2=sweep.nominal_uj_cm2), failure


@contextmanager
def simulated_bench(
    sample: str, bench_file: Path, *, seed: int, speed: float
) -> Iterator[subprocess.Popen[bytes]]:
    """Start ``labctl simulate`` as a process that ends when this block, or this process, does."""
    from labctl.runner.fit_process import child_environment, own_group

    command = [sys.executable, "-m", "labctl", "simulate", "--sample", sample, "--seed", str(seed)]
    command += ["--speed", f"{speed:g}", "--bench-file", str(bench_file), "--until-eof"]
    options: Any = own_group()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=child_environment(), **options,
    )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=3.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


def wait_for(bench_file: Path, process: subprocess.Popen[bytes], stop: threading.Event) -> None:
    """Wait until the bench file is there: then everything listens.

    :raises InstrumentError: the simulators ended or did not start in time.
    :raises Aborted: ``stop`` was set.
    """
    from labctl.model.clock import ScaledClock
    from labctl.model.errors import InstrumentError

    clock = ScaledClock()
    deadline = clock.now_s() + START_DEADLINE_S
    while not bench_file.exists():
        if process.poll() is not None:
            assert process.stderr is not None
            said = process.stderr.read().decode("utf-8", "replace").strip()
            raise InstrumentError("simulated bench", f"ended with code {process.returncode}: {said}")
        if clock.now_s() > deadline:
            raise InstrumentError("simulated bench", f"did not start within {START_DEADLINE_S:.0f} s")
        clock.sleep(0.05, stop)
