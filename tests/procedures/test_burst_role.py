"""A spectrometer that keeps every shot, through the hooks of a bench."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from burst_fakes import FakeBurst
from procedures_fakes import FakeSpectrometer, Table

from labctl.model.errors import InstrumentFault
from labctl.model.roles import bursting
from procedures.gate.hooks import Call, HookedSpectrometer, Hooks


class Diary:
    """Writes the calls down."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        self.calls.append((call.name, call.arguments))
        yield


def test_hooks_hear_of_a_burst_and_pass_its_shots_on() -> None:
    hooks, diary = Hooks(), Diary()
    hooks.attach(diary)
    spectrometer = bursting(HookedSpectrometer(FakeBurst(Table(), batch=3, unseen={1}, lost={2}), hooks))
    assert spectrometer is not None
    assert spectrometer.buffer_shots == 50_000
    spectrometer.arm(5)
    first, second = spectrometer.fetch(), spectrometer.fetch()
    spectrometer.disarm()
    assert first.frames.shape == (3, 1000)
    assert first.frames.dtype == np.uint16
    assert first.device_time_us.tolist() == [0, 3000, 4000]
    assert first.spectrum_count.tolist() == [1, 3, 4]
    assert len(second) == 2
    assert diary.calls == [("arm", (5,)), ("fetch", ()), ("fetch", ()), ("disarm", ())]


def test_a_spectrometer_without_a_buffer_cannot_burst() -> None:
    spectrometer = HookedSpectrometer(FakeSpectrometer(Table()), Hooks())
    assert bursting(spectrometer) is None
    with pytest.raises(InstrumentFault, match="no buffer that keeps every shot"):
        spectrometer.arm(1)
