"""What is said of a run when it is over: the same plain values for the JSON, the table and the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

THRESHOLD_KEYS = {
    "status": "status",
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

MORE_KEYS = ("adaptive", "bleaching", "hysteresis")


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run, finished or not.

    :param threshold: a threshold's mapping as in the run file; ``q`` likewise, empty when there is none.
    :param more: ``adaptive``, ``bleaching`` and ``hysteresis`` as in the run file, those that were measured.
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

    def to_json(self) -> dict[str, object]:
        """Return the run as the documented JSON object; absent numbers are None, paths absolute."""
        threshold = {key: self.threshold.get(name) for key, name in THRESHOLD_KEYS.items()}
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
            "threshold": threshold,
            "q": {key: self.q.get(name) for key, name in Q_KEYS.items()},
            **self.more,
        }


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
