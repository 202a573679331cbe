"""A bench that cannot be left safe: whoever used it is told, and the watchdog tries once more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from labctl.config import BenchConfig, parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, InstrumentFault, NotMadeSafe
from labctl.session import Bench, open_bench
from labctl.session.bench import _all_safe
from labctl.session.watchdog.parent import watching
from procedures.gate.shutter import SafeReport
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.presets import scene

STUCK = FaultPlan.parse('[[fault]]\nkind = "failed-shutter"\nmatch = "^ens$"\nnth = 2')


@pytest.fixture
def simulated() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "ideal", 3), SteppedClock(), faults=STUCK) as bench:
        yield bench


@pytest.fixture
def config(simulated: SimulatedBench) -> BenchConfig:
    return parse_bench(simulated.bench_toml(1.0))


def lit(bench: Bench) -> None:
    bench.pump.prepare()
    bench.pump.set_fluence(60.0)
    bench.pump.open()
    bench.roles.clock.sleep(0.5)  # the blade has arrived


@pytest.mark.parametrize("end", [None, Aborted()])
def test_a_shutter_that_stays_open_is_an_error_also_after_a_good_end(
    simulated: SimulatedBench, config: BenchConfig, end: Exception | None
) -> None:
    def use() -> None:
        with open_bench(config, simulated.scene.clock) as bench:
            lit(bench)
            if end is not None:
                raise end

    with pytest.raises(NotMadeSafe, match="the blade does not close"):
        use()
    assert not simulated.scene.shutter.closed_switch()


class Dog:
    """A watchdog that remembers how it was left."""

    pid = 1

    def __init__(self, *_: object) -> None:
        self.bench_safe = True
        self.words: list[str] = []

    def leave(self) -> None:
        self.words.append("leave" if self.bench_safe else "rescue")

    def done(self) -> None:
        self.words.append("done")


class Unsafe:
    """A pump that is made safe, or not."""

    def __init__(self, dog: Dog, failures: list[Exception]) -> None:
        self._dog, self._failures = dog, failures

    def safe(self) -> SafeReport:
        assert not self._dog.bench_safe  # whatever interrupts it, it is not safe yet
        return SafeReport("the shutter", "the attenuator", tuple(self._failures))


@pytest.mark.parametrize(
    ("failures", "word"), [([], "leave"), ([InstrumentFault("shutter", "stuck")], "rescue")]
)
def test_the_watchdog_is_dismissed_only_from_a_safe_bench(
    config: BenchConfig, monkeypatch: pytest.MonkeyPatch, failures: list[Exception], word: str
) -> None:
    monkeypatch.setattr("labctl.session.watchdog.parent.Watchdog", Dog)
    with watching(config, SteppedClock(), wanted=True, log=None, tell=print) as watchdog:
        dog = cast("Dog", watchdog)
        _all_safe(Unsafe(dog, failures), dog)  # type: ignore[arg-type]
    assert dog.words[0] == word
