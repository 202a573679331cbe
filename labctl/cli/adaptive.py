"""The options of an adaptive sweep: from words such as "3%" and "10min" to a plan."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labctl.model.errors import ConfigError

if TYPE_CHECKING:
    from labctl.model.plan import SweepPlan


@dataclass(frozen=True, slots=True)
class AdaptiveWords:
    """The options as typed; ``None`` where one was left out."""

    adaptive: bool = False
    target: str | None = None
    per: str | None = None
    start_points: int | None = None
    budget_points: int | None = None
    budget_dose: str | None = None
    budget_time: str | None = None


def with_adaptive(plan: SweepPlan, words: AdaptiveWords, points: int | None) -> SweepPlan:
    """Make the plan adaptive if that was asked for.

    :param points: ``--points`` as typed, which an adaptive sweep does not take.
    :raises ConfigError: an option that belongs to the other kind of sweep, or one that cannot be read.
    """
    from labctl.model.plan import AdaptivePlan

    given = {
        f.name: getattr(words, f.name)
        for f in dataclasses.fields(words)
        if getattr(words, f.name) is not None
    }
    if not given.pop("adaptive"):
        if given:
            option = next(iter(given)).replace("_", "-")
            raise ConfigError("only an adaptive sweep takes it", key=f"--{option}", hint="add --adaptive")
        return plan
    if points is not None:
        raise ConfigError(
            "an adaptive sweep chooses how many",
            key="--points",
            hint="--start-points for those to begin with, --budget-points for the most",
        )
    shared = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan) if f.name != "points"}
    return AdaptivePlan(**shared, **_settings(given))


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the plan that the options name."""
    readers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "target": ("target_rel", share),
        "per": ("per", str),
        "start_points": ("points", int),
        "budget_points": ("budget_points", int),
        "budget_dose": (
            "budget_dose_uj_cm2",
            lambda text: amount(text, "fluence", "uJ/cm2", "--budget-dose", "2 J/cm2"),
        ),
        "budget_time": ("budget_time_s", lambda text: amount(text, "time", "s", "--budget-time", "10min")),
    }
    return {readers[name][0]: readers[name][1](value) for name, value in given.items()}


def share(text: str) -> float:
    """Read a share of one.

    :raises ConfigError: it is none.

    >>> share("3%"), share("0.03")
    (0.03, 0.03)
    """
    value = amount(text, "share", "", "--target", "3%")
    if "%" not in text and value >= 1:
        raise ConfigError(f"{text!r} could be a share or a percentage", key="--target", hint=f"{text}%")
    return value


def amount(text: str, kind: str, unit: str, key: str, example: str) -> float:
    """Read a positive number, with a unit of its kind or in ``unit``.

    :raises ConfigError: it is none.

    >>> amount("10min", "time", "s", "--budget-time", "10min")
    600.0
    """
    from labctl.config.units import typed

    with contextlib.suppress(ValueError):
        if (value := typed(text, kind, unit)) >= 0:
            return value
    raise ConfigError(f"{text!r} is not a number with a unit that is known here", key=key, hint=example)
