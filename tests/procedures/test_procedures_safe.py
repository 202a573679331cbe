"""Making safe tries everything; a query that timed out is asked once more."""

from __future__ import annotations

import threading

import pytest

from labctl.model.errors import InstrumentFault, InstrumentTimeout
from procedures.gate.safe_state import make_safe, retried


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
