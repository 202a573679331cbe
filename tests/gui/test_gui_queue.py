"""The list of sweeps: progress and file of each, order, duplicates, and the parameters of an earlier one."""

from __future__ import annotations

from pathlib import Path

import pytest
from gui_bench import forget
from pytestqt.qtbot import QtBot

from labctl.config import parse_bench
from labctl.gui.live.alignment import AlignPage
from labctl.gui.shell.app import make_application
from labctl.gui.sweep.panel import SweepPanel
from labctl.gui.sweep.queue import QueuePanel
from labctl.model.clock import SteppedClock
from labctl.model.plan import AdaptivePlan, SweepPlan
from labctl.runner.events import Moved, RunFiles, Started
from labctl.runner.facts import RunRequest
from labctl.service.messages import AlignEnded, Command, Job, JobEnded, JobTold
from simulators.bench import SimulatedBench
from simulators.presets import scene


def test_what_stops_does_not_look_like_what_starts(qtbot: QtBot) -> None:
    make_application()
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        config = parse_bench(bench.bench_toml(1.0))
    page = AlignPage(config, lambda _command: None, lambda: None)
    qtbot.addWidget(page)
    plan = page.plan()
    assert plan is not None
    assert page.go.objectName() == "go"
    page.begin(plan)
    assert (page.go.text(), page.go.objectName()) == ("Stop alignment", "stop")
    page.ended(AlignEnded("stopped"))
    assert (page.go.text(), page.go.objectName()) == ("Start alignment", "go")


def queue_of(qtbot: QtBot, names: str) -> tuple[QueuePanel, list[Command]]:
    make_application()
    posted: list[Command] = []
    queue = QueuePanel(posted.append, lambda: None)
    qtbot.addWidget(queue)
    for name in names:
        queue.add(SweepPlan(points=9), RunRequest(Path(), name))
    return queue, posted


def shown(queue: QueuePanel) -> list[str]:
    items = (queue.tree.topLevelItem(at) for at in range(queue.tree.topLevelItemCount()))
    return [item.text(0) for item in items if item is not None]


def begun(posted: list[Command]) -> list[str]:
    return [job.request.sample for job in posted if isinstance(job, Job)]


def test_the_order_of_what_waits_can_be_changed(qtbot: QtBot) -> None:
    queue, posted = queue_of(qtbot, "abcd")
    assert shown(queue) == ["1  a", "2  b", "3  c", "4  d"]
    queue.shift(4, -1)
    queue.shift(2, -1)  # the first one runs: nothing goes before it
    assert shown(queue) == ["1  a", "2  b", "4  d", "3  c"]
    queue.shift(3, 1)
    queue.shift(2, 1)
    for number in (1, 4, 2, 3):
        queue.ended(JobEnded(number, "aborted", None))
    assert begun(posted) == ["a", "d", "b", "c"]


def test_a_sweep_is_queued_once_more_and_its_parameters_are_offered(qtbot: QtBot) -> None:
    queue, posted = queue_of(qtbot, "a")
    queue.duplicate(1)
    assert shown(queue) == ["1  a", "2  a"]
    wanted: list[SweepPlan] = []
    queue.parameters_wanted.connect(wanted.append)
    actions = {action.text(): action for action in queue.menu_of(1).actions()}
    assert {text: action.isEnabled() for text, action in actions.items()} == {
        "Use these parameters": True, "Duplicate": True, "Earlier": False, "Later": False, "Remove": False,
    }  # fmt: skip
    actions["Use these parameters"].trigger()
    assert wanted == [SweepPlan(points=9)]
    queue.add_rest(Path("x.h5"), "rest")
    assert not queue.menu_of(3).actions()[0].isEnabled()  # its plan stands in its file
    assert len(posted) == 1


def test_each_sweep_says_how_far_it_is_and_where_it_is_stored(qtbot: QtBot, tmp_path: Path) -> None:
    queue, _posted = queue_of(qtbot, "ab")
    files = [RunFiles(tmp_path / f"{n}.csv", tmp_path / f"{n}.h5", tmp_path / f"{n}.log") for n in "ab"]
    queue.take(JobTold(1, Started("a", files[0], 9)))
    item = queue.tree.topLevelItem(0)
    assert item is not None
    assert item.text(2) == "a.h5"
    assert str(tmp_path) in item.toolTip(2)
    queue.take(JobTold(1, Moved(files[1], "the files have moved")))
    assert item.text(2) == "b.h5"
    assert "the files have moved" in queue.text.text()


@pytest.mark.parametrize(
    "plan",
    [
        SweepPlan(start_uj_cm2=30, stop_uj_cm2=150, points=11, direction="up-down", reference_every=0),
        AdaptivePlan(start_uj_cm2=30, stop_uj_cm2=150, target_rel=0.05),
        SweepPlan(spacing="list", fluences_uj_cm2=(20.0, 45.5, 90.0), average=3),
    ],
)
def test_the_panel_takes_the_parameters_of_a_plan(qtbot: QtBot, tmp_path: Path, plan: SweepPlan) -> None:
    make_application()
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        config = parse_bench(bench.bench_toml(1.0))
    panel = SweepPanel(config, tmp_path)
    qtbot.addWidget(panel)
    panel.show_plan(plan)
    assert panel.plan() == plan
    forget(panel)
