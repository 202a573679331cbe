"""The lock of a connection: reentrant, in order, and it gives up in time."""

from __future__ import annotations

import threading

import pytest
from patience import PATIENCE_S, until

from drivers.support.visa import FairLock


def started(target: object) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_it_may_be_taken_again_by_its_holder() -> None:
    lock = FairLock()
    with lock, lock:
        assert lock.acquire(timeout=0)
        lock.release()
        refused: list[bool] = []
        started(lambda: refused.append(lock.acquire(timeout=0))).join(PATIENCE_S)
        assert refused == [False]
    with pytest.raises(RuntimeError, match="another thread"):
        lock.release()


def test_who_waits_longest_is_next_even_against_one_that_takes_it_again_at_once() -> None:
    lock, order, go = FairLock(), list[int](), 0

    def take(number: int) -> None:
        with lock:
            order.append(number)

    with lock:
        threads = []
        for number in range(5):
            threads.append(started(lambda number=number: take(number)))
            until(lambda: len(lock._waiting) == len(threads))
    with lock:  # asked for last, so served last
        go = len(order)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert go == 5
    assert order == [0, 1, 2, 3, 4]


def test_a_thread_that_hammers_does_not_starve_another() -> None:
    lock, turns, done = FairLock(), [0, 0], threading.Event()

    def hammer() -> None:
        while not done.is_set():
            with lock:
                turns[0] += 1

    thread = started(hammer)
    until(lambda: turns[0] > 0)
    for _ in range(200):
        with lock:
            turns[1] += 1
            until(lambda: len(lock._waiting) == 1)
    done.set()
    thread.join(PATIENCE_S)
    assert turns[1] == 200
    assert turns[0] >= 200  # and each time it had its turn in between


def test_it_gives_up_in_time_and_leaves_the_queue() -> None:
    lock, got = FairLock(), list[bool]()
    with lock:
        thread = started(lambda: got.append(lock.acquire(timeout=0.05)))
        thread.join(PATIENCE_S)
        assert got == [False]
        assert len(lock._waiting) == 0
    assert lock.acquire(timeout=0)
    lock.release()
