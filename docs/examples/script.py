"""Sweep a bench from a script, find the threshold, and read a stored run.

labctl simulate --speed 20 --bench-file sim.toml      in one terminal, or a bench.toml of your own
python script.py sim.toml                             in another
python script.py sim.toml runs/OLA-20260101-120000.h5 also prints a run that labctl sweep stored
"""

import sys

import numpy as np

from labctl import SweepPlan, SweepResult, evaluate, open_bench, read_run, sweep


def measure(bench_file: str) -> SweepResult:
    plan = SweepPlan(start_uj_cm2=30, stop_uj_cm2=160, points=12, average=4)
    points = []
    with open_bench(bench_file) as bench:  # on the way out: shutter closed, least light, disconnected
        for point in sweep(bench, plan):
            print(f"{point.fluence_uj_cm2:8.2f} uJ/cm2  {point.signal:10.1f} counts per pulse")
            points.append(point)
        facts = bench.facts
    return evaluate(points, plan, facts)


def describe(run_file: str) -> str:
    run = read_run(run_file)
    brightest = int(np.argmax(run.fluence_uj_cm2))
    top = run.wavelength_nm[np.argmax(run.spectrum(brightest))]
    return (
        f"{run.start.sample}: {run.status}, {len(run)} points up to {run.fluence_uj_cm2.max():.1f} uJ/cm2 "
        f"({run.start.convention}), strongest at {top:.2f} nm"
    )


if __name__ == "__main__":
    print(measure(sys.argv[1]).threshold.reason)
    for path in sys.argv[2:]:
        print(describe(path))
