"""One answer: window, terminal, file, ``labctl fit`` and a script say the same of a run, to the last bit."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import pytest
from patience import PATIENCE_S

from labctl import evaluate, read_run
from labctl.cli import main
from labctl.config import parse_bench
from labctl.data.edits import record_bands, record_edit
from labctl.gui.plots.light_light import run_question
from labctl.model.clock import SteppedClock
from labctl.model.mapping import plain
from labctl.model.plan import AdaptivePlan, SweepPlan
from labctl.model.pump import Bands
from labctl.model.results.sweep import DOUBT, Edits
from labctl.runner import run
from labctl.runner.events import Evaluated, Event, Measured
from labctl.runner.fit_process import Fits
from labctl.runner.report import RunReport, dump_json
from labctl.runner.resume import resume_run
from labctl.runner.run import RunFailed, RunRequest, run_sweep
from labctl.runner.rundata import open_file
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.presets import scene

MOVED = Bands((515.0, 558.0), (532.0, 552.0))
LIES = (
    '[[fault]]\nkind = "failed-shutter"\ninstrument = "shutter"\nmatch = "^ens$"\nnth = 8\n'
    'readback = "commanded"\n'
)


def plan(**changes: Any) -> SweepPlan:
    return SweepPlan(**({"start_uj_cm2": 30.0, "stop_uj_cm2": 180.0, "points": 10, "average": 2} | changes))


REFERENCED = {"reference_every": 3}
PLANS: dict[str, SweepPlan] = {
    "up": plan(),
    "down": plan(direction="down"),
    "shuffled": plan(direction="shuffled", seed=4),
    "up and down": plan(points=7, direction="up-down"),
    "referenced": plan(**REFERENCED),
    "corrected": plan(**REFERENCED, correct_bleaching="excitation"),
    "corrected signal": plan(**REFERENCED, correct_bleaching="signal"),
    "adaptive": AdaptivePlan(start_uj_cm2=30.0, stop_uj_cm2=170.0, average=2, target_rel=0.2),
    "saturated": plan(start_uj_cm2=60.0, stop_uj_cm2=400.0, integration_s=(0.5,)),
    "aborted": plan(points=14),
    "resumed": plan(),
    "doubted": plan(points=6),
}


@dataclasses.dataclass
class Ran:
    """A run of each kind: what its end reported, and what was said while it went on."""

    report: RunReport
    live: list[Evaluated]


def swept(folder: Path, wanted: SweepPlan, *, stop_at: int = 0, faults: str = "") -> Ran:
    clock, stop, live = SteppedClock(), threading.Event(), list[Evaluated]()
    bench = SimulatedBench(
        scene("ola", "typical", 3, bleaching="strong"), clock, faults=FaultPlan.parse(faults)
    )

    def told(event: Event) -> None:
        if isinstance(event, Evaluated):
            live.append(event)
        elif isinstance(event, Measured) and event.number == stop_at:
            stop.set()

    with bench:
        config = parse_bench(bench.bench_toml(1.0))
        try:
            report = run_sweep(
                config, wanted, RunRequest(folder, "OLA"), stop=stop, on_event=told, clock=clock
            )
        except RunFailed as failed:
            report = failed.report
    return Ran(report, live)


def resumed(folder: Path) -> Ran:
    first = swept(folder, PLANS["resumed"], stop_at=4)
    assert first.report.h5 is not None
    clock = SteppedClock()
    with SimulatedBench(scene("ola", "typical", 3, bleaching="strong"), clock) as bench:
        report = resume_run(
            first.report.h5,
            parse_bench(bench.bench_toml(1.0)),
            stop=threading.Event(),
            on_event=lambda _event: None,
            confirm=lambda _lines: None,
            clock=clock,
        )
    return Ran(report, [])


@pytest.fixture(autouse=True, scope="module")
def patient() -> Iterator[None]:
    """A computer that has much to do fits a run that was stopped, too."""
    with patch.object(run, "LONGEST_STOPPED_FIT_S", PATIENCE_S):
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    made: dict[str, Ran] = {}

    def run_of(kind: str) -> Ran:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
            if kind == "resumed":
                made[kind] = resumed(folder)
            else:
                stop_at, faults = (9 if kind == "aborted" else 0), (LIES if kind == "doubted" else "")
                made[kind] = swept(folder, PLANS[kind], stop_at=stop_at, faults=faults)
        return made[kind]

    return run_of


@pytest.fixture(scope="module")
def fits() -> Iterator[Fits]:
    with Fits() as asked:
        yield asked


def from_terminal(report: RunReport) -> object:
    return json.loads(dump_json([report]))["runs"][0]["result"]


def from_file(h5: Path) -> object:
    return plain(read_run(h5).result)


def from_fit(h5: Path, capsys: pytest.CaptureFixture[str]) -> object:
    capsys.readouterr()
    assert main(["fit", str(h5), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["runs"][0]["result"]


def from_window(h5: Path, fits: Fits) -> object:
    """Ask as the window does, of the process that it asks."""
    return plain(fits.evaluate(run_question(open_file(h5)), 100.0))


def from_script(h5: Path) -> object:
    run = read_run(h5)
    return json.loads(json.dumps(plain(evaluate(run, run.plan, run.facts))))


@pytest.mark.parametrize("kind", PLANS)
def test_everybody_says_the_same_of_a_run(
    kind: str, runs: Callable[[str], Ran], fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    report = runs(kind).report
    assert report.h5 is not None
    told = from_terminal(report)
    assert from_file(report.h5) == told
    assert from_fit(report.h5, capsys) == told
    assert from_window(report.h5, fits) == told
    assert from_script(report.h5) == told


@pytest.mark.parametrize(
    ("kind", "flags", "shown"),
    [
        ("up and down", set(), {"hysteresis", "bleaching"}),
        ("referenced", set(), {"bleaching"}),
        ("corrected", {"bleaching_corrected"}, {"bleaching"}),
        ("adaptive", {"adaptive", "stopped_early"}, {"adaptive", "bleaching"}),
        ("doubted", set(), set()),
    ],
)
def test_each_kind_shows_what_it_was_made_to_show(
    kind: str, flags: set[str], shown: set[str], runs: Callable[[str], Ran]
) -> None:
    result = runs(kind).report.result
    assert flags <= set(result.threshold.flags)
    parts = {name for name in ("adaptive", "bleaching", "hysteresis") if getattr(result, name) is not None}
    assert parts == shown
    assert (result.doubt == DOUBT) is (kind == "doubted")


def test_the_running_answer_is_that_of_the_points_so_far(runs: Callable[[str], Ran]) -> None:
    """The last one, of all points, differs from the end's by what only the end knows."""
    for kind in ("corrected", "adaptive", "up and down"):
        ran = runs(kind)
        assert ran.report.h5 is not None
        stored = read_run(ran.report.h5)
        for told in ran.live:
            assert told.result.threshold.points is not None
            assert told.points == told.result.threshold.points.signal.size <= len(stored)
        whole = [told.result for told in ran.live if told.points == len(stored)]
        if whole and kind != "adaptive":
            assert whole[-1].threshold == ran.report.threshold


def test_what_is_changed_by_hand_changes_it_for_everybody(
    tmp_path: Path, fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = swept(tmp_path, plan(points=12, reference_every=0))
    h5 = ran.report.h5
    assert h5 is not None
    before, stored = from_terminal(ran.report), h5.read_bytes()
    changes: list[Callable[[], object]] = [
        lambda: record_edit(h5, 2, out=True),
        lambda: record_edit(h5, 11, out=True),
        lambda: record_bands(h5, MOVED),
        lambda: record_edit(h5, 2, out=False),
    ]
    for change in changes:
        change()
        said = from_fit(h5, capsys)
        assert said != before
        assert from_window(h5, fits) == said
        assert from_script(h5) == said
    assert isinstance(said, dict)
    assert said["edits"]["left_out"] == [11]
    assert said["edits"]["bands"]["emission_nm"] == list(MOVED.emission_nm)
    assert said["threshold"]["n_points"] == 11
    # The run itself stays what it was, and so does what its end said of it.
    assert h5.read_bytes() == stored
    assert from_file(h5) == before
    run = read_run(h5)
    assert plain(evaluate(run, run.plan, run.unedited_facts)) == before


def test_moved_bands_sum_the_very_exposures_that_the_run_used(runs: Callable[[str], Ran]) -> None:
    """Moved to where they are, every number of every point stays, saturated exposures or not."""
    from labctl.analysis.evaluation.evaluate import moved_points

    h5 = runs("saturated").report.h5
    assert h5 is not None
    run = read_run(h5)
    again, guessed = moved_points(run, run.plan, run.facts, run.bands)
    assert not guessed
    some = [i for i in range(len(run)) if run.point(i).left_out]
    for index, point in enumerate(again):
        stored = run.scalars(index)
        for name in ("signal", "peaks_signal", "signal_sigma", "peaks_signal_sigma", "fwhm_nm", "peak_count"):
            assert getattr(point, name) == getattr(stored, name), (index, name)
    assert all(why == "saturated" for i in some for _, why in run.point(i).left_out or ())


def test_of_an_older_file_the_exposures_left_out_are_guessed_and_that_is_said(
    runs: Callable[[str], Ran],
) -> None:
    h5 = runs("up").report.h5
    assert h5 is not None
    stored = read_run(h5)
    assert stored.point(3).left_out == ()
    older = dataclasses.replace(stored, left_out=None)
    assert older.point(3).left_out is None
    facts = dataclasses.replace(stored.facts, edits=Edits(bands=MOVED))
    saturated = [1 if at == 3 else 0 for at in range(len(stored))]
    points = [
        dataclasses.replace(older.point(at), saturated_exposures=count) for at, count in enumerate(saturated)
    ]
    assert "exposures_guessed" in evaluate(points, stored.plan, facts).threshold.flags
    one: tuple[tuple[int, str], ...] = ((0, "saturated"),)
    known = [dataclasses.replace(p, left_out=one if at == 3 else ()) for at, p in enumerate(points)]
    assert "exposures_guessed" not in evaluate(known, stored.plan, facts).threshold.flags


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"settings": 3, "photon_order": "two", "bands": [], "spectrometer": {"max_counts": "many"}},
        {"photon_order": 9, "convention": "\x1b[2J", "warnings": "none"},
        {"settings": {"spot": {"x_um": 0.0, "y_um": -1.0}, "pickoff_ratio": 0.0, "max_pulse_energy_j": -1.0}},
        {"bands": {"emission_nm": [600, 500], "lasing_nm": [1, 2]}},
    ],
)
def test_facts_from_a_stranger_end_in_words(
    nonsense: dict[str, Any], runs: Callable[[str], Ran], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in a file for the facts of its bench, it is evaluated, or refused with a reason."""
    h5 = runs("up").report.h5
    assert h5 is not None
    path = tmp_path / "strange.h5"
    shutil.copy(h5, path)
    with h5py.File(path, "r+") as file:
        facts = json.loads(file["entry/record/facts"][()])
        for key, value in nonsense.items():
            facts[key] = {**facts[key], **value} if isinstance(value, dict) else value
        del file["entry/record/facts"]
        file["entry/record"].create_dataset("facts", data=json.dumps(facts if nonsense else {}))
    run = read_run(path)
    moved = dataclasses.replace(run.unedited_facts, edits=Edits(bands=MOVED))
    for known in (run.facts, moved):
        assert evaluate(run, run.plan, known).threshold.reason
    assert main(["fit", str(path)]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out
