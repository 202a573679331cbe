"""What is said of a run when it is over: the same plain values for the JSON, the table and the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labctl.model.mapping import plain
from labctl.model.results import BandThreshold, SweepResult
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

MORE_KEYS = ("adaptive", "bleaching", "hysteresis", "stability", "energy_step")


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run, finished or not.

    :param result: what came of it.
    :param counted: its points: how many were planned, saturated, usable.
    :param nominal_uj_cm2: what the paper states, for the demonstration's table.
    :param table: of a stability run, beside its files.
    """

    sample: str
    status: str
    csv: Path | None
    h5: Path | None
    points: int
    result: SweepResult
    figures: tuple[Path, ...] = ()
    spot: str = ""
    nominal_uj_cm2: float | None = None
    notes: tuple[str, ...] = field(default=())
    counted: Tally | None = None
    table: Path | None = None

    @property
    def threshold(self) -> BandThreshold:
        """The threshold of the whole emission."""
        return self.result.threshold

    @property
    def outcome(self) -> Outcome:
        """What is said of its threshold, or why there is none."""
        return outcome(self.threshold, self.status, self.counted or Tally(self.points, usable=self.points))

    def to_json(self) -> dict[str, object]:
        """Return the run as the documented JSON object; absent numbers are None, paths absolute.

        ``result`` is all that came of it, as a run file holds it; the other keys show parts of that.
        """
        result = plain(self.result)
        stated, q = {**result["threshold"], "budget": result["budget"]}, result["q"] or {}
        more = {key: result[key] for key in MORE_KEYS if result[key] is not None}
        if self.table is not None and "stability" in more:
            more["stability"] = {**more["stability"], "table": _absolute(self.table)}
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
            "result": result,
            "threshold": {key: stated[name] for key, name in THRESHOLD_KEYS.items()},
            "q": {key: q.get(name) for key, name in Q_KEYS.items()},
            **more,
        }


def dump_json(runs: Sequence[RunReport], extra: Mapping[str, object] | None = None) -> str:
    """Return the document of ``demo``, ``sweep`` and ``fit``: valid JSON, ASCII, never NaN."""
    document = {"runs": [run.to_json() for run in runs], **(extra or {})}
    return json.dumps(plain(document), indent=2, allow_nan=False)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
