"""Sets of parameters of a sweep: ours, the user's own, and the one round a threshold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from labctl.gui.base.fields import remember, remembered
from labctl.model.options import options
from labctl.model.plan import FLUENCES, SweepPlan
from procedures.gate.fluence import Beam

PRESETS: dict[str, dict[str, object]] = {
    "Standard: 24 points": {"points": 24, "average": 10, "spacing": "log", "direction": "up"},
    "Quick look: 12 points": {"points": 12, "average": 3, "spacing": "log", "direction": "up"},
    "Fine: 40 points": {"points": 40, "average": 10, "spacing": "log", "direction": "up"},
    "Adaptive to 3 %": {
        "adaptive": True,
        "start_points": 10,
        "average": 6,
        "target": "3 %",
        "direction": "up",
    },
    "Up and down (bleaching)": {"points": 16, "average": 6, "spacing": "log", "direction": "up-down"},
}
"""Values by the names of options; what is not named stays as it is, but for ``adaptive``."""
_OWN = "sweep/presets"
_RATIOS = (0.5, 0.62, 0.75, *(0.84 + 0.04 * n for n in range(10)), 1.3, 1.5, 1.75, 2.1)


def known_presets() -> dict[str, dict[str, object]]:
    """Return every preset by name, ours first."""
    try:
        own = json.loads(remembered(_OWN, "{}"))
    except ValueError:
        own = {}
    kept = own.items() if isinstance(own, dict) else ()
    return PRESETS | {name: _as_now(values) for name, values in kept if isinstance(values, dict)}


def _as_now(values: dict[str, object]) -> dict[str, object]:
    """Return a preset by the names of options; older windows kept a mode, and the target in per cent."""
    if "mode" not in values:
        return values
    found = {"max_integration" if key == "max_integration_s" else key: v for key, v in values.items()}
    mode, target, points = found.pop("mode"), found.pop("target", None), found.get("points")
    if mode != "adaptive":
        return found | {"spacing": mode}
    return found | {"adaptive": True, "target": f"{target} %", "start_points": points}


def keep_preset(name: str, values: Mapping[str, object]) -> None:
    """Keep a preset of the user's own."""
    own = {key: value for key, value in known_presets().items() if key not in PRESETS}
    remember(_OWN, json.dumps({**own, name: dict(values)}))


def refined(threshold_uj_cm2: float, beam: Beam, base: SweepPlan) -> SweepPlan:
    """Return a sweep that is dense round a threshold and spans it, as far as the bench allows.

    :param base: says everything but the fluences.
    """
    wanted = tuple(round(ratio * threshold_uj_cm2, 3) for ratio in _RATIOS)
    values: dict[str, Any] = {
        option.field: getattr(base, option.field)
        for option in options(SweepPlan).values()
        if option.group != FLUENCES
    }
    dense = tuple(f for f in wanted if not beam.forbidden(f))
    return SweepPlan(spacing="list", fluences_uj_cm2=dense, **values)
