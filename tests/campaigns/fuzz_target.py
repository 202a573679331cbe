"""One thing that is fuzzed, how its inputs are damaged, and what is noted of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Data = bytes
Parse = Callable[[Data], object]
SLOW_S = 1.0
MOST_FINDINGS = 5
NUMBERS = (
    b"0", b"-1", b"nan", b"inf", b"-inf", b"1e999", b"9" * 400, b"1e-400", b"0x10", b"", b"\xff", b"1_0",
)  # fmt: skip
WORDS = (
    b"\r\n", b"\n", b"\r", b">", b"?", b";", b",", b'"', b"=", b"[[", b"]]", b"{", b"}", b"\0", b"..", b"*",
    b"#",
)  # fmt: skip


def damaged(seed: Data, rng: random.Random) -> Data:
    """Return an input with one to six kinds of damage."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(8)
        if what == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif what == 1 and data:
            data[at % len(data)] = rng.randrange(256)
        elif what == 2:
            del data[at : at + rng.randint(1, 8)]
        elif what == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        elif what == 4:
            data[at : at + rng.randint(0, 4)] = rng.choice(NUMBERS)
        elif what == 5:
            data[at:at] = rng.choice(WORDS) * rng.choice((1, 1, 1, 50))
        elif what == 6 and data:
            piece = data[at : at + rng.randint(1, 30)]
            data[rng.randrange(len(data)) :] = piece * rng.randint(1, 3)
        else:
            del data[at:]
    return bytes(data) if rng.random() > 0.03 else rng.randbytes(rng.randint(0, 300))


def scattered(seed: Data, rng: random.Random) -> Data:
    """Return a large binary input with some bytes changed, most of them near each other, now and then cut."""
    data = bytearray(seed)
    near = rng.randrange(len(data))
    for _ in range(rng.randint(1, 12)):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else min(near + rng.randrange(64), len(data) - 1)
        data[at : at + 1] = rng.choice((bytes([rng.randrange(256)]), b"\xff", b"\0"))
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


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
