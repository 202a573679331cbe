"""What distinguishes one kind of run from another, where the machinery is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labctl.runner.facts import PROCEDURE_ID
from labctl.runner.keeper import Keeper
from labctl.session import Bench


def _unseen(_bench: Bench, _keeper: Keeper) -> None:
    """Nothing is read beside a point."""


def _unknown(_keeper: Keeper) -> tuple[float | None, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class RunKind:
    """A kind of run.

    :param procedure: what the run file says of itself.
    :param live: whether it is evaluated while it goes on.
    :param seen: called in the acquisition thread once a point is stored.
    :param temperature_c: of the sample at each point, where it was read; called once, at the end.
    """

    procedure: str = PROCEDURE_ID
    live: bool = True
    seen: Callable[[Bench, Keeper], None] = _unseen
    temperature_c: Callable[[Keeper], tuple[float | None, ...]] = _unknown


SWEEP = RunKind()
