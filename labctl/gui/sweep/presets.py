"""Sets of parameters of a sweep: ours, the user's own, and the one round a threshold."""

from __future__ import annotations

import json
from collections.abc import Mapping

from labctl.gui.base.memory import remember, remembered
from labctl.model.errors import ConfigError
from labctl.model.plan import SweepPlan
from procedures.gate.fluence import Beam

PRESETS: dict[str, dict[str, object]] = {
    "Standard: 24 points": {"points": 24, "average": 10, "mode": "log", "direction": "up"},
    "Quick look: 12 points": {"points": 12, "average": 3, "mode": "log", "direction": "up"},
    "Fine: 40 points": {"points": 40, "average": 10, "mode": "log", "direction": "up"},
    "Adaptive to 3 %": {"points": 10, "average": 6, "mode": "adaptive", "direction": "up"},
    "Up and down (bleaching)": {"points": 16, "average": 6, "mode": "log", "direction": "up-down"},
}
_OWN = "sweep/presets"
_RATIOS = (0.5, 0.62, 0.75, *(0.84 + 0.04 * n for n in range(10)), 1.3, 1.5, 1.75, 2.1)


def known_presets() -> dict[str, object]:
    """Return every preset by name, ours first."""
    try:
        own = json.loads(remembered(_OWN, "{}"))
    except ValueError:
        own = {}
    return {**PRESETS, **(own if isinstance(own, dict) else {})}


def keep_preset(name: str, values: Mapping[str, object]) -> None:
    """Keep a preset of the user's own."""
    own = {key: value for key, value in known_presets().items() if key not in PRESETS}
    remember(_OWN, json.dumps({**own, name: dict(values)}))


def listed_fluences(text: str) -> tuple[float, ...]:
    """Read fluences, separated by commas, semicolons or blanks.

    :raises ConfigError: there is something else among them.
    """
    try:
        return tuple(float(word) for word in text.replace(";", " ").replace(",", " ").split())
    except ValueError as exc:
        raise ConfigError("not a list of numbers: 20, 30, 45", key="fluences") from exc


def refined(threshold_uj_cm2: float, beam: Beam, base: SweepPlan) -> SweepPlan:
    """Return a sweep that is dense round a threshold and spans it, as far as the bench allows."""
    wanted = tuple(round(ratio * threshold_uj_cm2, 3) for ratio in _RATIOS)
    return SweepPlan(
        spacing="list",
        fluences_uj_cm2=tuple(f for f in wanted if not beam.forbidden(f)),
        average=base.average,
        max_integration_s=base.max_integration_s,
        keep_open=base.keep_open,
    )
