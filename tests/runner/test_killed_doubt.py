"""A run that is killed the moment its shutter was found to lie: its file carries the doubt all the same."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.config import parse_bench
from labctl.data import read_run
from labctl.data.verify import verify
from labctl.model.clock import SteppedClock
from labctl.model.errors import DataError
from labctl.model.plan import SweepPlan
from labctl.model.pump import Element
from labctl.model.results.sweep import DOUBT
from labctl.runner.events import Event, Measured
from labctl.runner.refit import refit
from labctl.runner.resume import resume_run
from labctl.runner.run import RunRequest, run_sweep
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan

SCRIPT = """
import os, sys
from test_killed_doubt import lying_sweep
import procedures.gate.shutter
procedures.gate.shutter.ShutterLied = lambda *_words: os._exit(9)
lying_sweep(sys.argv[1], sys.argv[2] == "behind")
"""
KEPT_OPEN = """
import os, sys
from test_killed_doubt import lying_sweep
lying_sweep(sys.argv[1], True, kept_open=lambda number: number == 4 and os._exit(9))
"""
FRONT: tuple[Element, Element, Element, Element] = ("attenuator", "pick-off", "shutter", "sample")
BEHIND: tuple[Element, Element, Element, Element] = ("attenuator", "shutter", "pick-off", "sample")


def lying_sweep(directory: str, behind: bool, kept_open: Callable[[int], object] | None = None) -> None:
    """Sweep a bench whose blade sticks open at its third closing; or one that is honest, and kept open.

    :param kept_open: told the number of each point.
    """
    settings = presets.scene("ola", "typical", 5)
    optics = dataclasses.replace(settings.optics, order=BEHIND if behind else FRONT)
    plan = FaultPlan.parse(
        '[[fault]]\nkind = "failed-shutter"\ninstrument = "shutter"\nmatch = "^ens$"\nnth = 6\n'
        'readback = "commanded"\n'
    )
    clock = SteppedClock()

    def told(event: Event) -> None:
        if kept_open is not None and isinstance(event, Measured):
            kept_open(event.number)

    faults = plan if kept_open is None else FaultPlan(())
    with SimulatedBench(dataclasses.replace(settings, optics=optics), clock, faults=faults) as bench:
        run_sweep(
            parse_bench(bench.bench_toml(1.0)),
            SweepPlan(
                start_uj_cm2=40.0, stop_uj_cm2=120.0, points=5, average=2, keep_open=kept_open is not None
            ),
            RunRequest(Path(directory), "OLA"),
            stop=threading.Event(),
            on_event=told,
            clock=clock,
        )


@pytest.mark.parametrize("where", ["before", "behind"])
def test_a_killed_run_in_which_the_shutter_lied_says_nothing_of_its_sample(
    tmp_path: Path, where: str
) -> None:
    words = [sys.executable, "-c", SCRIPT, str(tmp_path), where]
    done = subprocess.run(words, cwd=Path(__file__).parent, check=False, capture_output=True, timeout=300)
    assert done.returncode == 9, done.stderr.decode()
    (h5,) = tmp_path.glob("*.h5")
    run = read_run(h5)
    assert run.status == "killed"
    assert len(run) > 0
    assert verify(h5) == ()
    assert any(event.text.startswith(DOUBT) for event in run.events)
    report = refit(h5)
    assert (report.threshold.status, report.threshold.reason) == ("refused", DOUBT)
    with pytest.raises(DataError, match="the shutter was open although it reported closed"):
        _resumed(h5)


def _resumed(h5: Path) -> None:
    resume_run(h5, stop=threading.Event(), on_event=lambda _event: None, confirm=lambda _lines: None)


def test_points_after_the_last_closing_that_was_looked_at_are_left_out(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KEPT_OPEN, str(tmp_path)]
    done = subprocess.run(words, cwd=Path(__file__).parent, check=False, capture_output=True, timeout=300)
    assert done.returncode == 9, done.stderr.decode()
    (h5,) = tmp_path.glob("*.h5")
    run = read_run(h5)
    newest = [int(number) for number in run.column("dark_number")]
    judged = newest.index(max(newest)) + 1
    assert len(run) >= 4 > judged
    points = refit(h5).threshold.points
    assert points is not None
    assert points.used.tolist() == [True] * judged + [False] * (len(run) - judged)
    assert any(f"points from {judged + 1} on are excluded" in note for note in refit(h5).notes)
