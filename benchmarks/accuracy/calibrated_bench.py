"""From a bench nobody has measured to a threshold: all calibrations, then a sweep, many benches.

Zero and leakage of the plate, pick-off ratio, both radii of the spot, pulse energy, repetition rate, the
meter's scale and the spectrometer's axis are drawn anew for each seed; the bench file holds data-sheet
values. Every calibration goes over the real wires, hands are the simulated bench's own, and each is named in
the bench file before the next begins. Truth is read from the scene, never by labctl.

    python -m benchmarks.accuracy.calibrated_bench --seeds 200 --jobs 2 --output calibrated.jsonl

Results are appended as JSON lines; seeds that stand in the file are not measured again.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.benches import SWEEPS, axis_off_pixels, calibrated, off, scene, true_quantities
from benchmarks.tables import Array, rms
from benchmarks.trials import Failed, outcomes, parser
from labctl.analysis.budget import fluence_budget
from labctl.analysis.evaluation import fit_curve
from labctl.analysis.light_light import light_light
from labctl.config import load_bench
from labctl.config.benchfile import use_calibration
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.clock import SteppedClock
from labctl.model.results.sweep import K95, total_interval
from labctl.runner.csv_worker import PointBuffer
from labctl.session import open_bench
from procedures import fluence_sweep
from procedures.point.exposure import NoSink
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene import SceneSettings

KINDS: tuple[CalibrationKind, ...] = ("attenuator", "pickoff", "energy", "spot", "spectrometer")
Row = dict[str, float | str]


def measure(seed: int, sample: str, level: str, kinds: Sequence[CalibrationKind], *, sweep: bool) -> Row:
    """Calibrate one bench and sweep on it; what failed is part of the row."""
    began, row = time.perf_counter(), Row(seed=float(seed), sample=sample, level=level)
    try:
        _measure(row, presets.uncalibrated(scene(sample, level, seed), seed), kinds, sweep=sweep)
    except Exception as exc:  # noqa: BLE001  a failure is a result
        row["error"] = f"{type(exc).__name__}: {exc}"
        row["traceback"] = traceback.format_exc()[-1500:]
    row["wall_s"] = time.perf_counter() - began
    return row


def _measure(row: Row, settings: SceneSettings, kinds: Sequence[CalibrationKind], *, sweep: bool) -> None:
    clock = SteppedClock()
    with SimulatedBench(settings, clock) as bench, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.toml"
        file.write_text(bench.bench_toml(1.0, nominal=True), encoding="utf-8")
        for kind in kinds:
            started = clock.now_s()
            calibration, path = calibrated(bench, load_bench(file), kind, Path(folder) / "calibrations")
            use_calibration(file, kind, path)
            row[f"{kind}_bench_s"] = clock.now_s() - started
            _compare(row, calibration, bench)
        _fluence(row, file, bench)
        if sweep:
            _sweep(row, file, clock, bench)


NAMES: dict[CalibrationKind, dict[str, str]] = {
    "attenuator": {"zero_deg": "zero", "leakage": "leakage"},
    "pickoff": {"ratio": "ratio"},
    "energy": {"repetition_rate": "rate"},
    "spot": {"x_um": "w_x", "y_um": "w_y"},
    "spectrometer": {"resolution": "resolution"},
}
"""Of each calibration, the quantities that are held against the truth."""
STATISTICAL = ("attenuator", "spot")
"""Calibrations whose pulls are those of statistical errors."""


def _compare(row: Row, c: Calibration, bench: SimulatedBench) -> None:
    """Set the numbers of one calibration beside the truth: relative errors, and errors over their sigma."""
    truth, q, true = bench.scene.truth, c.quantities, true_quantities(bench)
    for key, name in NAMES[c.kind].items():
        sigma = q[key].statistical if c.kind in STATISTICAL else q[key].total
        row[f"{name}_off_rel"] = q[key].value / true[key] - 1
        if sigma > 0:
            row[f"{name}_pull"] = off(c, bench, key) / sigma
    if c.kind == "attenuator":
        row["zero_off_deg"] = off(c, bench, "zero_deg")
        row["repeatability_deg"], row["backlash_deg"] = q["repeatability"].value, q["backlash"].value
        row["curve_off_rel"] = _curve_off(c, bench)
    elif c.kind == "energy":
        row["energy_off_rel"] = q["pulse_energy"].value / (true["pulse_energy"] * truth.meter_scale) - 1
        row["pulse_cv"] = q["pulse_cv"].value
    elif c.kind == "spot":
        for axis, w_um in (("x", truth.w_x_um), ("y", truth.w_y_um)):
            row[f"w_{axis}_off_rel"] = q[f"{axis}_um"].value / w_um - 1
            row[f"w_{axis}_sigma_rel"] = q[f"{axis}_um"].statistical / w_um
    elif c.kind == "spectrometer":
        pixels = axis_off_pixels(c, bench.scene)
        row["axis_off_pixel"], row["axis_mean_off_pixel"] = (
            float(np.max(np.abs(pixels))),
            float(pixels.mean()),
        )


def _curve_off(c: Calibration, bench: SimulatedBench) -> float:
    """Largest relative error of the transmission, from full down to 2 % of it."""
    truth, q = bench.scene.truth, c.quantities
    away = np.degrees(np.arccos(np.sqrt(np.geomspace(1.0, 0.02, 40)))) / 2

    def transmission(zero_deg: float, leak: float) -> Array:
        return leak + (1 - leak) * np.cos(np.radians(2 * (truth.zero_deg + away - zero_deg))) ** 2

    zero = truth.zero_deg + off(c, bench, "zero_deg")
    found, true = transmission(zero, q["leakage"].value), transmission(truth.zero_deg, truth.t_min)
    return float(np.max(np.abs(found / true - 1)))


def _fluence(row: Row, file: Path, bench: SimulatedBench) -> None:
    """Compare the fluence that labctl makes of a reading with the true one; the meter's scale divided out."""
    truth, s = bench.scene.truth, load_bench(file).pump_settings()
    found = s.pickoff_ratio / s.repetition_rate_hz / (s.spot.x_um * s.spot.y_um)
    true = truth.pickoff_ratio / truth.repetition_rate_hz / (truth.w_x_um * truth.w_y_um)
    scale_rel = fluence_budget(s).stated_rel
    row["fluence_off_rel"] = found / true - 1
    row["meter_scale"], row["scale_rel"] = truth.meter_scale, scale_rel
    row["fluence_total_pull"] = math.log(found / true * truth.meter_scale) / scale_rel


def _sweep(row: Row, file: Path, clock: SteppedClock, bench: SimulatedBench) -> None:
    buffer = PointBuffer(NoSink())
    with open_bench(load_bench(file), clock) as opened:
        pump, bands = opened.pump, opened.bands
        plan = SWEEPS[str(row["sample"])]
        least = 1.1 * pump.aim.reach_uj_cm2()[0]  # some of the attenuators drawn leak a per cent
        plan = replace(plan, start_uj_cm2=max(plan.start_uj_cm2, least))
        for _ in fluence_sweep.sweep(plan, opened.roles, pump, bands, sink=buffer):
            pass
        order, scale_rel = pump.settings.photon_order, fluence_budget(pump.settings).stated_rel
    result = fit_curve(light_light(buffer.points), order)
    truth = bench.scene.truth.threshold_uj_cm2
    row["status"], row["threshold_truth"] = result.status, truth
    if result.threshold_uj_cm2 is None or result.ci95 is None:
        return
    low, high = total_interval(result.threshold_uj_cm2, result.ci95, scale_rel)
    row["threshold"], row["threshold_total_low"], row["threshold_total_high"] = (
        result.threshold_uj_cm2,
        low,
        high,
    )
    row["threshold_off_rel"] = result.threshold_uj_cm2 / truth / bench.scene.truth.meter_scale - 1
    row["threshold_covered"] = float(low <= truth <= high)
    row["threshold_half_rel"] = (high - low) / 2 / result.threshold_uj_cm2


def summary(rows: Sequence[Mapping[str, float | str]]) -> str:
    good = [row for row in rows if "error" not in row]
    lines = [f"benches {len(rows)}, failed {len(rows) - len(good)}"]
    for name in ("zero", "leakage", "ratio", "rate", "w_x", "w_y", "resolution", "fluence_total"):
        if (pulls := _column(good, f"{name}_pull")).size:
            covered = int(np.sum(np.abs(pulls) <= K95))
            lines.append(
                f"  {name}: 95 % intervals cover {covered}/{pulls.size}, pulls' rms {rms(pulls):.2f}, "
                f"mean {np.mean(pulls):+.2f}"
            )
    for name, unit, factor in (
        ("curve_off_rel", "%", 100.0), ("ratio_off_rel", "%", 100.0), ("rate_off_rel", "%", 100.0),
        ("energy_off_rel", "%", 100.0), ("w_x_off_rel", "%", 100.0), ("w_y_off_rel", "%", 100.0),
        ("axis_off_pixel", "pixel", 1.0), ("resolution_off_rel", "%", 100.0), ("fluence_off_rel", "%", 100.0),
        ("threshold_off_rel", "%", 100.0),
    ):  # fmt: skip
        if (off := np.abs(_column(good, name)) * factor).size:
            lines.append(
                f"  |{name}|: median {np.median(off):.3g} {unit}, 95 % below {np.quantile(off, 0.95):.3g}, "
                f"worst {off.max():.3g} {unit}"
            )
    if (covered_all := _column(good, "threshold_covered")).size:
        half = _column(good, "threshold_half_rel")
        lines.append(
            f"  threshold: total intervals cover {int(covered_all.sum())}/{covered_all.size}, "
            f"half-width {np.median(half):.2%} (median), {half.max():.2%} (widest)"
        )
    seconds = [_column(good, f"{kind}_bench_s") for kind in KINDS]
    spent = ", ".join(f"{k} {np.median(s):.0f} s" for k, s in zip(KINDS, seconds, strict=True) if s.size)
    return "\n".join([*lines, f"  bench time: {spent}"])


def _column(rows: Iterable[Mapping[str, float | str]], name: str) -> Array:
    return np.array([row[name] for row in rows if name in row], dtype=np.float64)


def _done(file: Path) -> list[Row]:
    if not file.exists():
        return []
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the last line of a run that was killed
            continue
    return rows


def main() -> None:
    """Measure what is missing and print the table."""
    made = parser(__doc__, seeds=20, first=1, jobs=2)
    made.add_argument("--sample", default="ola", choices=tuple(SWEEPS))
    made.add_argument("--scene", default="typical", choices=("ideal", "typical", "nasty"))
    made.add_argument("--kinds", default=",".join(KINDS), help="which calibrations, in this order")
    made.add_argument("--no-sweep", action="store_true")
    made.add_argument("--output", type=Path, default=Path("calibrated_bench.jsonl"))
    args = made.parse_args()
    rows = [r for r in _done(args.output) if r.get("sample") == args.sample and r.get("level") == args.scene]
    known = {int(float(row["seed"])) for row in rows}
    missing = [s for s in range(args.first, args.first + args.seeds) if s not in known]
    kinds = tuple(args.kinds.split(","))
    run = partial(measure, sample=args.sample, level=args.scene, kinds=kinds, sweep=not args.no_sweep)
    with args.output.open("a", encoding="utf-8") as stream:
        for seed, found in outcomes(run, missing, args.jobs):
            row = Row(seed=seed, error=found.what) if isinstance(found, Failed) else found
            rows.append(row)
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            if "error" in row:
                print(f"seed {row['seed']:.0f}: {row['error']}", flush=True)
    print(summary(rows))


if __name__ == "__main__":
    main()
