"""How fast this computer is: a bar on what something costs is set in the time of a fixed piece of work."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

REFERENCE_S = 0.0042
"""Thread time of :func:`_work` on the computer the bars were set on."""


def _work() -> float:
    total, values, counts = 0.0, np.arange(20_000.0), dict[int, float]()
    for _ in range(40):
        values = np.sqrt(values * 1.0001 + 1.0)
        total += float(values.mean())
    for number in range(6000):
        counts[number % 97] = counts.get(number % 97, 0.0) + 0.5 * number
    return total + counts[0]


def cost_s(action: Callable[[], object], times: int = 10) -> float:
    """Return the least thread time of several goes: other work on the computer does not count."""
    spent = []
    for _ in range(times):
        began = time.thread_time()
        action()
        spent.append(time.thread_time() - began)
    return min(spent)


def slowness() -> float:
    """Return how much slower than the reference this computer is now, at least 1."""
    return max(cost_s(_work) / REFERENCE_S, 1.0)
