"""Making safe tries everything; a query that timed out is asked once more."""

from __future__ import annotations

import signal
import threading

import pytest

from labctl.model.errors import Aborted, InstrumentFault, InstrumentTimeout
from procedures.gate.safe_state import Action, SafeState, end_light, make_safe, may_turn, retried

JAMMED = InstrumentFault("shutter", "jammed")


class Shutter:
    """Fails so many times to close, and notes every attempt."""

    name = "shutter"

    def __init__(self, done: list[str], failures: int) -> None:
        self.done, self.failures = done, failures

    @property
    def closing(self) -> Action:
        return Action(self.name, "closing", self.close)

    def close(self) -> None:
        self.done.append("close")
        self.failures -= 1
        if self.failures >= 0:
            raise JAMMED

    def is_meant(self, error: BaseException) -> bool:
        return error is JAMMED


@pytest.mark.parametrize(
    ("failing", "order", "left"),
    [(0, ["close", "drop"], 0), (1, ["close", "drop", "close"], 0), (2, ["close", "drop", "close"], 1)],
)
def test_a_shutter_that_failed_is_tried_again_in_the_least_light(
    failing: int, order: list[str], left: int
) -> None:
    done: list[str] = []
    shutter = Shutter(done, failing)

    def drop(failed: bool) -> list[Exception]:
        assert failed is (failing > 0)
        return make_safe(lambda: done.append("drop"))

    failures, dropped = end_light(lambda: make_safe(shutter.closing), drop)
    assert done == order
    assert (len(failures), len(dropped)) == (left, 0)


@pytest.mark.parametrize(
    ("error", "failing", "order"),
    [
        (Aborted(), 0, ["forget", "close"]),
        (JAMMED, 0, ["forget", "told", "drop", "close"]),
        (Aborted(), 1, ["forget", "close", "drop", "close"]),
    ],
)
def test_only_a_shutter_that_fails_has_the_attenuator_dropped_and_that_is_told_at_once(
    error: Exception, failing: int, order: list[str]
) -> None:
    done: list[str] = []
    state = SafeState(
        Shutter(done, failing),
        Action("attenuator", "dropping", lambda: done.append("drop")),
        tell=lambda _line: done.append("told"),
        forget=lambda: done.append("forget"),
    )
    with pytest.raises(type(error)), state.guarded():
        raise error
    assert done == order


def test_no_ctrl_c_comes_between_a_failure_and_the_closing() -> None:
    done: list[str] = []
    shutter = Shutter(done, 1)
    drop = Action("attenuator", "dropping", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Aborted), SafeState(shutter, drop, tell=done.append).guarded():
        raise Aborted
    assert done == ["close", "close"]


def test_an_attenuator_whose_angle_nobody_knows_stays_where_it_is() -> None:
    assert may_turn("attenuator", referenced=True, lit=True)
    assert not may_turn("attenuator", referenced=False, lit=False)
    with pytest.raises(InstrumentFault, match="is not moved"):
        may_turn("attenuator", referenced=False, lit=True)


def test_every_action_is_tried_in_order_and_failures_are_returned() -> None:
    done: list[str] = []

    def fails() -> None:
        done.append("fails")
        raise InstrumentFault("shutter", "jammed")

    def interrupted() -> None:
        done.append("interrupted")
        raise KeyboardInterrupt

    failures = make_safe(fails, interrupted, lambda: done.append("last"))
    assert done == ["fails", "interrupted", "last"]
    assert [type(f) for f in failures] == [InstrumentFault, RuntimeError]


def test_an_action_that_hangs_costs_its_deadline_only() -> None:
    release = threading.Event()
    done: list[str] = []
    failures = make_safe(release.wait, lambda: done.append("next"), deadline_s=0.05)
    release.set()
    assert done == ["next"]
    assert len(failures) == 1
    assert isinstance(failures[0], InstrumentTimeout)


def test_nothing_to_do_is_safe() -> None:
    assert make_safe() == []


@pytest.mark.parametrize("timeouts", [0, 1, 2])
def test_a_query_is_repeated_once(timeouts: int) -> None:
    asked = 0

    def query() -> str:
        nonlocal asked
        asked += 1
        if asked <= timeouts:
            raise InstrumentTimeout("meter", "no answer")
        return "1.0"

    if timeouts == 2:
        with pytest.raises(InstrumentTimeout):
            retried(query)
    else:
        assert retried(query) == "1.0"
    assert asked == min(timeouts + 1, 2)
