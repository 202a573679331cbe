"""How true, how sure and how quick the alignment is: python -m benchmarks.accuracy.alignment [--seeds 8].

Without --real time is stepped: the physics is the same and takes seconds. With --real one alignment runs in
real time, and the time from readout to readout is what a person at the bench would see. Half way through,
the sample's true threshold is raised by a fifth.
"""

from __future__ import annotations

import json

import numpy as np

from benchmarks.benches import opened, scene
from benchmarks.trials import parser
from labctl.model.clock import ScaledClock
from labctl.model.plan import SweepPlan
from procedures.alignment import AlignmentPlan, Readout, align

READOUTS, STEP_AT, STEP = 24, 14, 1.2


def followed(seed: int, *, real: bool) -> list[tuple[float, Readout]]:
    """Return each readout with the threshold that was true during it."""
    found = []
    sweep = SweepPlan(start_uj_cm2=28.0, stop_uj_cm2=180.0, points=16, average=3)
    plan = AlignmentPlan(reference=sweep, max_readouts=READOUTS)
    clock = ScaledClock(1.0) if real else None
    with opened(scene("ola", "typical", seed), clock) as (simulated, bench):
        sample = simulated.scene.sample
        for event in align(plan, bench.roles, bench.pump, bench.bands):
            if isinstance(event, Readout):
                found.append((sample.threshold_uj_cm2, event))
                if event.number == STEP_AT:
                    sample.threshold_uj_cm2 *= STEP
    return found


def main() -> None:
    made = parser(__doc__, seeds=8)
    made.add_argument("--real", action="store_true", help="one alignment in real time")
    arguments = made.parse_args()
    seeds = [1] if arguments.real else range(1, arguments.seeds + 1)
    errors, covered, took, late = [], [], [], []
    for seed in seeds:
        rows = followed(seed, real=arguments.real)
        for truth, readout in rows:
            value, ends = readout.result.threshold_uj_cm2, readout.result.ci95
            took.append(readout.took_s)
            if value is None or ends is None:
                continue
            errors.append(abs(value / truth - 1))
            covered.append(ends[0] <= truth <= ends[1])
        after = [(t, r) for t, r in rows if r.number > STEP_AT]
        near = [
            i for i, (t, r) in enumerate(after, 1) if abs((r.result.threshold_uj_cm2 or 0) / t - 1) < 0.03
        ]
        late.append(near[0] if near else len(after) + 1)
    print(
        json.dumps(
            {
                "alignments": len(late),
                "readouts": len(took),
                "without_answer": len(took) - len(errors),
                "median_error": float(np.median(errors)),
                "p95_error": float(np.quantile(errors, 0.95)),
                "covered": float(np.mean(covered)),
                "readout_s_median": float(np.median(took)),
                "readout_s_p95": float(np.quantile(took, 0.95)),
                "readouts_to_follow_a_step_of_20_percent": sorted(late),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
