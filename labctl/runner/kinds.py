"""What distinguishes one kind of run from another, where the machinery is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from labctl.runner.facts import PROCEDURE_ID, BenchFacts
from labctl.runner.keeper import Keeper
from labctl.session import Bench


def _nothing_more(_keeper: Keeper, _facts: BenchFacts, _fitted: Mapping[str, object]) -> dict[str, object]:
    return {}


def _unseen(_bench: Bench, _keeper: Keeper) -> None:
    """Nothing is read beside a point."""


@dataclass(frozen=True, slots=True)
class RunKind:
    """A kind of run.

    :param procedure: what the run file says of itself.
    :param live: whether a threshold is fitted while it goes on.
    :param seen: called in the acquisition thread once a point is stored.
    :param decay: how its decay is fitted at the end; None where there is none to fit.
    :param more: what the run's result holds beside what was fitted, which it is given; never raises.
    """

    procedure: str = PROCEDURE_ID
    live: bool = True
    seen: Callable[[Bench, Keeper], None] = _unseen
    decay: Mapping[str, object] | None = None
    more: Callable[[Keeper, BenchFacts, Mapping[str, object]], dict[str, object]] = _nothing_more


SWEEP = RunKind()
