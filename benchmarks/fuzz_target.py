"""One thing that is fuzzed, and what is noted of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fuzz_damage import Data, damaged

SLOW_S = 1.0
MOST_FINDINGS = 5

Parse = Callable[[Data], object]


@dataclass
class Target:
    """A parser, inputs it takes, and the errors it may raise."""

    name: str
    parse: Parse
    seeds: list[Data]
    refusals: tuple[type[BaseException], ...]
    damage: Callable[[Data, random.Random], Data] = damaged
    runs: int = 0
    slowest_s: float = 0.0
    findings: list[str] = field(default_factory=list)

    def run(self, data: Data) -> None:
        """Feed one input and note what should not happen."""
        began = time.perf_counter()
        try:
            self.parse(data)
        except self.refusals:
            pass
        except Exception as exc:  # noqa: BLE001  it is the finding
            if len(self.findings) < MOST_FINDINGS:
                self.findings.append(f"{type(exc).__name__}: {str(exc)[:100]} <- {data[:160]!r}")
        took = time.perf_counter() - began
        self.slowest_s = max(self.slowest_s, took)
        if took > SLOW_S and len(self.findings) < MOST_FINDINGS:
            self.findings.append(f"{took:.1f} s <- {data[:160]!r}")
        self.runs += 1
