"""SAFE and a shutter that is just being opened: whoever opens it closes it again, whatever comes first."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from patience import PATIENCE_S

from labctl.model.errors import Aborted
from labctl.service.service import SafetyLine
from procedures.gate.hooks import Call

OPEN = Call("shutter", "open", "shutter S")


class Blade:
    """A shutter that only the thread which opens it can reach: what SAFE's own thread asks comes too late."""

    name = "shutter S"
    travel_s = 0.05

    def __init__(self) -> None:
        self.opened = False
        self.opener = threading.current_thread()
        self.asked, self.let = threading.Event(), threading.Event()

    def close_beam(self) -> None:
        if threading.current_thread() is not self.opener:
            self.asked.set()
            assert self.let.wait(PATIENCE_S)
        self.opened = False


@pytest.fixture
def blade() -> Iterator[Blade]:
    found = Blade()
    yield found
    found.let.set()


@pytest.fixture
def line(blade: Blade) -> Iterator[SafetyLine]:
    made = SafetyLine(lambda _told: None)
    made.adopt(blade)  # type: ignore[arg-type]
    yield made
    blade.let.set()
    made.end()


def test_safe_while_the_shutter_opens_closes_it_before_anybody_uses_the_light(
    line: SafetyLine, blade: Blade
) -> None:
    def opens() -> None:
        with line.around(OPEN):
            line.safe()
            assert blade.asked.wait(PATIENCE_S)
            blade.opened = True

    with pytest.raises(Aborted):
        opens()
    assert not blade.opened
    assert not blade.let.is_set()


def test_after_safe_nothing_opens_until_everything_is_safe(line: SafetyLine, blade: Blade) -> None:
    line.safe()
    with pytest.raises(Aborted), line.around(OPEN):
        blade.opened = True
    assert not blade.opened
    line.unlatch()
    with line.around(OPEN):
        blade.opened = True
    assert blade.opened


def test_what_opens_nothing_passes_while_it_is_latched(line: SafetyLine) -> None:
    line.safe()
    passed = []
    for call in (Call("shutter", "close_beam", "shutter S"), Call("attenuator", "move_to", "mount A")):
        with line.around(call):
            passed.append(call.name)
    assert passed == ["close_beam", "move_to"]
