"""Devices that never stop talking, or never stop working: every wait ends, and memory stays what it was."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from drivers_stub import Stub, stub
from patience import PATIENCE_S

from drivers.attenuators.thorlabs_ell14 import ThorlabsELL14
from drivers.support.session import LONGEST_ANSWER
from labctl.model.clock import SteppedClock
from labctl.model.errors import InstrumentError, InstrumentTimeout, ProtocolError

HELLO = b"0IN0E1140042120231701016800023000\r\n"
TIMEOUT_S = 0.3


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_s(monkeypatch, TIMEOUT_S)


def wait_s(monkeypatch: pytest.MonkeyPatch, timeout_s: float) -> None:
    monkeypatch.setattr(ThorlabsELL14, "port", dataclasses.replace(ThorlabsELL14.port, timeout_s=timeout_s))


@contextmanager
def chatter(server: Stub, line: bytes) -> Iterator[None]:
    """Send a line unasked, again and again, as fast as it is taken."""
    quiet = threading.Event()

    def talk() -> None:
        while not quiet.is_set():
            try:
                server.send(line)
            except OSError:
                return
            quiet.wait(0.002)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield
    finally:
        quiet.set()
        thread.join(PATIENCE_S)


def gives_up(act: Callable[[], object], error: type[Exception], match: str) -> None:
    """Act, which must come to an end; a slow computer may take long over it, a hang takes for ever."""
    told: list[Exception] = []

    def ends() -> None:
        try:
            act()
        except Exception as exc:  # noqa: BLE001  looked at below
            told.append(exc)

    thread = threading.Thread(target=ends, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert isinstance(told[0], error)
    assert re.search(match, str(told[0]))


@contextmanager
def mount_at(answer: Callable[[bytes], bytes | None]) -> Iterator[tuple[ThorlabsELL14, Stub]]:
    with stub(lambda data: HELLO if data == b"0in" else answer(data)) as server:
        mount = ThorlabsELL14(server.resource, clock=SteppedClock(), move_timeout_s=0.5)
        try:
            yield mount, server
        finally:
            mount.close()


@pytest.mark.parametrize(
    "line",
    [
        b"1PO00000000\r\n",  # another module's motions
        b"0BO00000010\r\n",  # a handset whose button is stuck
        b"\r\n",
    ],
)
def test_a_bus_that_is_never_quiet_ends_a_question_at_its_deadline(line: bytes) -> None:
    with mount_at(lambda _data: b"") as (mount, server), chatter(server, line):
        gives_up(mount.angle_deg, InstrumentError, "no answer|cannot be parsed")


def test_a_bus_that_is_never_quiet_ends_a_motion_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.support.elliptec.ASK_AFTER_S", 0.2)
    with mount_at(lambda _data: b"") as (mount, server), chatter(server, b"1PO00000000\r\n"):
        gives_up(lambda: mount.move_to(90.0), InstrumentTimeout, "no answer")


def test_an_answer_among_the_chatter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_s(monkeypatch, PATIENCE_S)
    with (
        mount_at(lambda data: b"0PO00008C00\r\n" if data.endswith(b"0gp") else b"") as (mount, server),
        chatter(server, b"1PO00000000\r\n"),
    ):
        assert mount.angle_deg() == pytest.approx(90.0)


def test_a_line_that_never_ends_is_given_up_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_s(monkeypatch, PATIENCE_S)  # by its length, not by the time it takes
    with mount_at(lambda _data: b"") as (mount, server), chatter(server, b"x" * 2000):
        gives_up(mount.angle_deg, ProtocolError, "cannot be parsed")
        assert len(mount._partial) <= 2 * LONGEST_ANSWER


def busy(after_s: float) -> Callable[[bytes], bytes]:
    """Answer that it is busy, after a while."""
    never = threading.Event()

    def answer(_data: bytes) -> bytes:
        never.wait(after_s)
        return b"0GS09\r\n"

    return answer


# With 0.22 s the last question is asked just before the deadline, and answered after it.
@pytest.mark.parametrize("after_s", [0.0, 0.22])
def test_a_module_that_is_busy_for_ever_ends_at_the_deadline(
    after_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers each time that it is busy: no single answer is late, on a slow computer neither."""
    wait_s(monkeypatch, PATIENCE_S)
    with mount_at(busy(after_s)) as (mount, _):
        gives_up(lambda: mount.move_to(90.0), InstrumentTimeout, "still busy 0.5 s after")


def test_a_module_that_refuses_every_motion_as_busy_but_says_it_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait_s(monkeypatch, PATIENCE_S)
    answers = {b"0gs": b"0GS00\r\n", b"0gp": b"0PO00000000\r\n"}
    with mount_at(lambda data: answers.get(data, b"0GS09\r\n")) as (mount, _):
        gives_up(lambda: mount.move_to(90.0), InstrumentTimeout, "still busy 0.5 s after")
