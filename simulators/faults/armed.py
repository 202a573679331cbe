"""A fault that waits for its moment, and lasts as long as it should."""

from __future__ import annotations

import math

import numpy as np

from simulators.faults.kinds import KINDS
from simulators.faults.plan import Fault


def matches(pattern: str, request: str) -> bool:
    """Return whether a request contains a text; ``^`` before and ``$`` behind it bind it to the ends.

    >>> matches("ens", "ens?"), matches("^ens$", "ens?"), matches("", "anything")
    (True, False, True)
    """
    begins, ends = pattern.startswith("^"), pattern.endswith("$")
    text = pattern[begins : len(pattern) - ends]
    if begins and ends:
        return request == text
    if begins or ends:
        return request.startswith(text) if begins else request.endswith(text)
    return text in request


class Armed:
    """Counts the messages of one fault. Used by one thread.

    Its chance is its own: it depends on the plan's seed, its number and how many messages it saw, and on
    nothing that happens elsewhere.
    """

    def __init__(self, fault: Fault, seed: int) -> None:
        self.fault = fault
        self.layer = KINDS[fault.kind].layer
        self.seen = 0
        self.rng = np.random.default_rng([seed, fault.number])
        self._hits = 0
        self._began_s: float | None = None

    def strikes(self, direction: str, request: str, now_s: float) -> bool:
        """Take notice of a message; return whether it is hit.

        :param request: label of the request it is, or answers.
        """
        fault = self.fault
        if direction != fault.direction or not matches(fault.match, request):
            return False
        self.seen += 1
        hit = self._by_chance() if fault.probability is not None else self._in_turn(now_s)
        self._hits += hit
        return hit

    def _by_chance(self) -> bool:
        chance = self.rng.random() < (self.fault.probability or 0.0)
        return chance and self._hits < (math.inf if self.fault.count is None else self.fault.count)

    def _in_turn(self, now_s: float) -> bool:
        fault = self.fault
        if self._began_s is None:
            if not (self.seen == fault.nth or (fault.at_s is not None and now_s >= fault.at_s)):
                return False
            self._began_s = now_s if fault.at_s is None else fault.at_s
        if self.layer != "bytes":
            return self._hits == 0
        if fault.duration_s is not None:
            return now_s < self._began_s + fault.duration_s
        return self._hits < (fault.count or 1)
