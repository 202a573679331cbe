"""Questions to the process of the fits: the latest wins, and the end of a run comes before all others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from patience import PATIENCE_S

from labctl.model.clock import Stop
from labctl.model.mapping import plain
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.runner.fit_process import Answer, FileQuestion, FitFailed, FitProcess, Fits


class Process(FitProcess):
    """Answers what it was asked, once it is let; ends the question that holds it for the sake of another."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.let_go, self.begun, self.ended = (threading.Event() for _ in range(3))
        self._broken = threading.Event()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()

    def ask(
        self, question: Mapping[str, object], within_s: float, stop: Stop | None = None
    ) -> dict[str, object]:
        path = str(question["path"])
        if path == "urgent":
            self._broken.set()
            assert self.ended.wait(PATIENCE_S)
            return {"found": plain(SweepResult(BandThreshold("refused", path)))}
        self.asked.append(path)
        self.begun.set()
        while not self.let_go.wait(0.005):
            if self._broken.is_set():
                self._broken.clear()
                self.ended.set()
                raise FitFailed("was ended")
        return (
            {"problem": path}
            if path == "wrong"
            else {"found": plain(SweepResult(BandThreshold(reason=path)))}
        )


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def fits(process: Process) -> Iterator[Fits]:
    with Fits(process) as made:
        yield made


def about(path: str) -> Callable[[], FileQuestion]:
    return lambda: FileQuestion(path)


def said(answer: Answer) -> str:
    assert isinstance(answer.found, SweepResult)
    return answer.found.threshold.reason


def test_for_each_subject_the_latest_question_wins(process: Process, fits: Fits) -> None:
    told: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    fits.ask(("run",), about("first"), told.put)
    assert process.begun.wait(PATIENCE_S)
    for number in range(5):
        fits.ask(("run",), about(f"run {number}"), told.put)
    last = fits.ask(("other",), about("other"), told.put)
    fits.ask(("forgotten",), about("forgotten"), told.put)
    fits.forget(("forgotten",))
    assert not fits.idle
    process.let_go.set()
    found = [told.get(timeout=PATIENCE_S) for _ in range(3)]
    assert [said(answer) for answer in found] == ["first", "run 4", "other"]
    assert (found[-1].subject, found[-1].number) == (("other",), last)
    assert process.asked == ["first", "run 4", "other"]


def test_the_end_of_a_run_comes_before_all_others_and_what_it_ended_is_asked_again(
    process: Process, fits: Fits
) -> None:
    told: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    fits.ask(("run",), about("live"), told.put)
    assert process.begun.wait(PATIENCE_S)
    assert fits.evaluate(FileQuestion("urgent"), 100.0).threshold.reason == "urgent"
    process.let_go.set()
    assert said(told.get(timeout=PATIENCE_S)) == "live"
    assert process.asked == ["live", "live"]


def test_what_has_no_answer_says_why(process: Process, fits: Fits) -> None:
    told: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    process.let_go.set()

    def broken() -> FileQuestion:
        raise RuntimeError("no question")

    fits.ask(("a",), about("wrong"), told.put)
    first = told.get(timeout=PATIENCE_S)
    assert (first.found, first.problem) == (None, "failed: wrong")
    fits.ask(("b",), broken, told.put)
    assert "no question" in told.get(timeout=PATIENCE_S).problem
    with pytest.raises(FitFailed, match="wrong"):
        fits.evaluate(FileQuestion("wrong"), 100.0)


def test_a_closed_queue_tells_nothing_more(process: Process, fits: Fits) -> None:
    told: list[Any] = []
    fits.ask(("a",), about("a"), told.append)
    assert process.begun.wait(PATIENCE_S)
    fits.close()
    assert fits._thread is not None
    fits._thread.join(PATIENCE_S)
    assert not fits._thread.is_alive()
    assert told == []
