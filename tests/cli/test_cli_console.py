"""Signals and a closed console: each asks to stop, and the closing waits for the bench."""

from __future__ import annotations

import signal
import sys
import threading

import pytest
from patience import PATIENCE_S

from labctl.cli.signals import CLOSE, LOGOFF, SHUTDOWN, on_event, stop_on_signals


@pytest.mark.parametrize("event", [CLOSE, LOGOFF, SHUTDOWN])
def test_a_closed_console_waits_for_the_end_of_the_run(event: int) -> None:
    asked, over, returned = threading.Event(), threading.Event(), threading.Event()

    def handler() -> None:
        assert on_event(event, asked.set, over, PATIENCE_S)
        returned.set()

    thread = threading.Thread(target=handler)
    thread.start()
    assert asked.wait(PATIENCE_S)
    assert not returned.is_set()
    over.set()
    thread.join(PATIENCE_S)
    assert returned.is_set()


def test_a_run_that_does_not_end_holds_the_closing_up_no_longer_than_allowed() -> None:
    assert on_event(CLOSE, lambda: None, threading.Event(), 0.01)


@pytest.mark.parametrize("event", [0, 1])
def test_ctrl_c_and_ctrl_break_are_left_to_the_signals(event: int) -> None:
    assert not on_event(event, lambda: pytest.fail("asked"), threading.Event())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_signal_asks_to_stop_and_is_given_back(name: str) -> None:
    number = getattr(signal, name)
    # Whoever runs the tests may ignore it, as nohup does.
    given = signal.signal(number, signal.default_int_handler)
    try:
        with stop_on_signals() as stop:
            assert not stop.is_set()
            signal.raise_signal(number)
            assert stop.is_set()
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, given)
