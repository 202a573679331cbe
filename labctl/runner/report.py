"""What is said of a run when it is over: the same plain values for the JSON, the table and the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from labctl.analysis.budget import K95, total_interval
from labctl.runner.outcome import Outcome, Tally, outcome

THRESHOLD_KEYS = {
    "status": "status",
    "reason": "reason",
    "bound": "bound",
    "bound_condition": "bound_condition",
    "value": "threshold_uj_cm2",
    "unit": "unit",
    "ci95": "ci95",
    "statistical_ci95": "statistical_ci95",
    "systematic": "systematic_rel",
    "definition": "definition",
    "shape": "shape",
    "exponent": "exponent",
    "exponent_ci95": "exponent_ci95",
    "convention": "convention",
    "band": "band",
    "scale_rel": "scale_rel",
    "total_ci95": "total_ci95",
    "statistical_rel95": "statistical_rel95",
    "model_rel95": "model_rel95",
    "scale_rel95": "scale_rel95",
    "total_rel95": "total_rel95",
    "budget": "budget",
    "flags": "flags",
}
"""Keys of a threshold in the JSON, and the names they have in a run file's result."""

Q_KEYS = {
    "value": "value",
    "sigma": "sigma",
    "wavelength_nm": "wavelength_nm",
    "fwhm_nm": "fwhm_nm",
    "resolution_nm": "resolution_nm",
    "lower_bound": "lower_bound",
}

MORE_KEYS = ("adaptive", "bleaching", "hysteresis", "budget", "stability", "energy_step")


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run, finished or not.

    :param threshold: a threshold's mapping as in the run file; ``q`` likewise, empty when there is none.
    :param more: ``adaptive``, ``bleaching``, ``hysteresis`` and ``budget`` as in the run file, where there.
    :param counted: its points: how many were planned, saturated, usable.
    :param doubt: why what was measured says nothing of the sample; empty if it does.
    :param nominal_uj_cm2: what the paper states, for the demonstration's table.
    """

    sample: str
    status: str
    csv: Path | None
    h5: Path | None
    points: int
    threshold: Mapping[str, object]
    q: Mapping[str, object]
    figures: tuple[Path, ...] = ()
    spot: str = ""
    nominal_uj_cm2: float | None = None
    notes: tuple[str, ...] = field(default=())
    more: Mapping[str, object] = field(default_factory=dict)
    counted: Tally | None = None
    doubt: str = ""

    @property
    def outcome(self) -> Outcome:
        """What is said of its threshold, or why there is none."""
        return outcome(self.threshold, self.status, self.counted or Tally(self.points, usable=self.points))

    def to_json(self) -> dict[str, object]:
        """Return the run as the documented JSON object; absent numbers are None, paths absolute."""
        stated = {**with_scale(self.threshold), "budget": self.more.get("budget")}
        threshold = {key: stated.get(name) for key, name in THRESHOLD_KEYS.items()}
        threshold["unit"] = "uJ/cm2"
        threshold["flags"] = list(_listed(self.threshold.get("flags")))
        return {
            "sample": self.sample,
            "status": self.status,
            "files": {
                "csv": _absolute(self.csv),
                "h5": _absolute(self.h5),
                "figures": [_absolute(f) for f in self.figures],
            },
            "points": self.points,
            "saturated_points": None if self.counted is None else self.counted.saturated,
            "threshold": threshold,
            "q": {key: self.q.get(name) for key, name in Q_KEYS.items()},
            **{key: value for key, value in self.more.items() if key != "budget"},
        }


def with_scale(threshold: Mapping[str, object]) -> dict[str, object]:
    """Return a threshold's mapping with its uncertainty taken apart and put together again.

    ``statistical_rel95``, ``model_rel95`` (what the choice of shape adds), ``scale_rel95`` and all of it,
    ``total_rel95``, are relative half-widths at 95 %; ``total_ci95`` is the interval with the scale in it.
    None where it is not known: without a threshold, or while the heavy links of the budget are not stated.
    """
    value, interval = threshold.get("threshold_uj_cm2"), threshold.get("ci95")
    scale = _stated(threshold.get("scale_rel"))
    total: list[float] | None = None
    if isinstance(value, (int, float)) and scale is not None and _is_interval(interval):
        low, high = cast("Sequence[float]", interval)
        total = list(total_interval(float(value), (low, high), scale))
    model = threshold.get("systematic_rel")
    return {
        **threshold,
        "scale_rel": scale,
        "total_ci95": total,
        "statistical_rel95": _half_width(threshold.get("statistical_ci95")),
        "model_rel95": model if isinstance(model, (int, float)) else None,
        "scale_rel95": None if scale is None else K95 * scale,
        "total_rel95": _half_width(total),
    }


def _stated(scale: object) -> float | None:
    """Return the error of a scale; 0 is what older files hold where nobody stated it."""
    return float(scale) if isinstance(scale, (int, float)) and scale > 0 else None


def _is_interval(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(end, (int, float)) and end > 0 for end in value)
    )


def _half_width(interval: object) -> float | None:
    if not _is_interval(interval):
        return None
    low, high = cast("Sequence[float]", interval)
    return math.log(high / low) / 2


def more_of(result: Mapping[str, object]) -> dict[str, object]:
    """Return what a run file's result holds beyond thresholds and Q; none of it for most sweeps."""
    return {key: result[key] for key in MORE_KEYS if isinstance(result.get(key), Mapping)}


def dump_json(runs: Sequence[RunReport], extra: Mapping[str, object] | None = None) -> str:
    """Return the document of ``demo``, ``sweep`` and ``fit``: valid JSON, ASCII, never NaN."""
    document = {"runs": [run.to_json() for run in runs], **(extra or {})}
    return json.dumps(plain(document), indent=2, allow_nan=False)


def plain(value: object) -> object:
    """Return ``value`` in JSON's own types: numpy scalars and arrays unpacked, nan and inf as None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    unpack = getattr(value, "tolist", None)
    return plain(unpack()) if unpack is not None else str(value)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()
