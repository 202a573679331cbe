"""How well the calibrations' intervals hold, on scans simulated here with numpy alone.

    python benchmarks/calibration_accuracy.py --seeds 1000
    python benchmarks/calibration_accuracy.py --only "attenuator" --seeds 200

Coverage is that of the statistical 95 % intervals; "spread" the rms relative (or absolute) error, "sigma" the
median standard error stated, "bias" the mean error. The laser has noise from reading to reading, a slow
wander (Ornstein-Uhlenbeck) and a straight drift; the plate repeatability and play; the micrometer reading
errors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from calibration_trials import (
    FADING,
    NASTY,
    TYPICAL,
    Row,
    Trial,
    decay,
    knife,
    malus,
    pickoff,
    plate,
    pulses,
    table,
)
from numpy.typing import NDArray

from labctl.model.errors import CalibrationRefused

Floats = NDArray[np.floating[Any]]


def cases() -> Iterator[tuple[str, Trial, int]]:
    """Names, trials, and for how many times fewer seeds they are run."""
    few = replace(TYPICAL, sigmas=10)
    yield "attenuator, typical, 37 points", malus(TYPICAL, 37, given=True, both=False), 1
    yield "attenuator, typical, nothing given, 19 points", malus(TYPICAL, 19, given=False, both=False), 1
    yield "attenuator, typical, sigmas of 10 readings", malus(few, 37, given=True, both=False), 1
    yield "attenuator, nasty, both ways, 2 x 25 points", malus(NASTY, 25, given=True, both=True), 1
    yield "spot, typical, 25 points", knife(TYPICAL, 25, given=True, step_s=3.0), 1
    yield "spot, typical, nothing given, 17 points", knife(TYPICAL, 17, given=False, step_s=3.0), 1
    yield "spot, typical, by hand, 41 points", knife(TYPICAL, 41, given=True, step_s=10.0), 1
    yield "spot, nasty, by hand, 31 points", knife(NASTY, 31, given=True, step_s=10.0), 1
    yield "pick-off, typical, 10 levels, 1 visit", pickoff(TYPICAL, 10, 1), 1
    yield "pick-off, nasty, 10 levels, 2 visits", pickoff(NASTY, 10, 2), 1
    yield "graded wheel, typical, 40 points", table(TYPICAL, 40), 1
    yield "mount, typical, 10 from each side", plate(TYPICAL, 10), 1
    yield "mount, nasty, 10 from each side", plate(NASTY, 10), 1
    yield "pulses, typical, 1000 of CV 1.5 %", pulses(0.015, 0.01, 1000), 1
    yield "pulses, nasty, 200 of CV 4 %", pulses(0.04, 0.02, 200), 1
    for kind in FADING:
        yield f"fading, {kind}, typical, 60 points", decay(kind, TYPICAL, 60, given=True), 5
    yield "fading, stretched, nasty, 600 points", decay("stretched", NASTY, 600, given=False), 5


def report(name: str, rows: list[Row], refused: int, seconds: float) -> None:
    each = seconds / max(len(rows), 1) * 1e3
    print(f"{name}  ({len(rows)} seeds, {refused} refused, {each:.0f} ms of CPU each)")
    keys: dict[str, list[tuple[bool, float, float]]] = {}
    for row in rows:
        for key, value in row.items():
            keys.setdefault("curve at 5 angles" if key.startswith("curve") else key, []).append(value)
    for key, values in keys.items():
        covered = 100 * sum(v[0] for v in values) / len(values)
        errors, sigmas = np.array([v[1] for v in values]), np.array([v[2] for v in values])
        spread = float(np.sqrt(np.mean(errors**2)))
        print(
            f"    {key:20s} covers {covered:5.1f} %   spread {spread:9.3g}   sigma {np.median(sigmas):9.3g}"
            f"   bias {errors.mean():+9.2g}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    args = parser.parse_args()
    for name, trial, fewer in cases():
        if not name.startswith(args.only):
            continue
        rows, refused, begin = [], 0, time.process_time()
        for seed in range(max(args.seeds // fewer, 1)):
            try:
                rows.append(trial(seed))
            except CalibrationRefused as error:
                refused += 1
                if refused <= 2:
                    print(f"    refused: {error}")
        report(name, rows, refused, time.process_time() - begin)


if __name__ == "__main__":
    main()
