"""From a bench nobody has measured to a threshold: all calibrations, then a sweep, many benches.

Zero and leakage of the plate, pick-off ratio, both radii of the spot, pulse energy, repetition rate, the
meter's scale and the spectrometer's axis are drawn anew for each seed; the bench file holds data-sheet
values. Every calibration goes over the real wires, hands are the simulated bench's own, and each is named in
the bench file before the next begins. Truth is read from the scene, never by labctl. A blade sees the spot
averaged over the laser's pointing, so that is what its radius is compared with.

    python benchmarks/calibrated_bench.py --seeds 200 --jobs 2 --output calibrated.jsonl

Results are appended as JSON lines; seeds that stand in the file are not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from labctl.analysis.budget import fluence_budget
from labctl.analysis.evaluation import fit_curve
from labctl.analysis.light_light import light_light
from labctl.config import load_bench
from labctl.config.benchfile import use_calibration
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.clock import SteppedClock
from labctl.model.results import K95, total_interval
from labctl.runner.calibrate import run_calibration
from labctl.runner.keeper import Keeper
from labctl.session import open_bench
from labctl.session.hands import SocketHands
from procedures import fluence_sweep
from procedures.plan import SweepPlan
from simulators import presets
from simulators.bench import SimulatedBench

KINDS: tuple[CalibrationKind, ...] = ("attenuator", "pickoff", "energy", "spot", "spectrometer")
PLANS = {
    "oam": SweepPlan(start_uj_cm2=65, stop_uj_cm2=640),
    "ola": SweepPlan(start_uj_cm2=20, stop_uj_cm2=200),
}
MIDDLE_NM = 543.0
"""Of the lasing band."""
Row = dict[str, float | str]


def measure(seed: int, sample: str, level: str, kinds: Sequence[CalibrationKind], *, sweep: bool) -> Row:
    """Calibrate one bench and sweep on it; what failed is part of the row."""
    began, row = time.perf_counter(), Row(seed=float(seed), sample=sample, level=level)
    try:
        _measure(seed, sample, level, kinds, row, sweep=sweep)
    except Exception as exc:  # noqa: BLE001  a failure is a result
        row["error"] = f"{type(exc).__name__}: {exc}"
        row["traceback"] = traceback.format_exc()[-1500:]
    row["wall_s"] = time.perf_counter() - began
    return row


def _measure(
    seed: int, sample: str, level: str, kinds: Sequence[CalibrationKind], row: Row, *, sweep: bool
) -> None:
    clock = SteppedClock()
    settings = presets.uncalibrated(presets.scene(sample, level, seed), seed)  # type: ignore[arg-type]
    with SimulatedBench(settings, clock) as bench, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.toml"
        file.write_text(bench.bench_toml(1.0, nominal=True), encoding="utf-8")
        for kind in kinds:
            hands, started = SocketHands(bench.hand), clock.now_s()
            calibration, path = run_calibration(
                load_bench(file), kind, None, hands=hands, stop=None, on_event=lambda _: None, clock=clock,
                output=Path(folder) / "calibrations",
            )  # fmt: skip
            use_calibration(file, kind, path)
            row[f"{kind}_bench_s"] = clock.now_s() - started
            _compare(row, calibration, bench)
        _fluence(row, file, bench)
        if sweep:
            _sweep(row, file, clock, bench, sample)


def _compare(row: Row, c: Calibration, bench: SimulatedBench) -> None:
    """Set the numbers of one calibration beside the truth: relative errors, and errors over their sigma."""
    truth, q = bench.scene.truth, c.quantities
    if c.kind == "attenuator":
        off = (q["zero_deg"].value - truth.zero_deg + 45.0) % 90.0 - 45.0
        row["zero_off_deg"], row["zero_pull"] = off, off / q["zero_deg"].statistical
        row["leakage_off_rel"] = q["leakage"].value / truth.t_min - 1
        row["leakage_pull"] = (q["leakage"].value - truth.t_min) / q["leakage"].statistical
        row["repeatability_deg"], row["backlash_deg"] = q["repeatability"].value, q["backlash"].value
        row["curve_off_rel"] = _curve_off(c, bench)
    elif c.kind == "pickoff":
        row["ratio_off_rel"] = q["ratio"].value / truth.pickoff_ratio - 1
        row["ratio_pull"] = (q["ratio"].value - truth.pickoff_ratio) / q["ratio"].total
    elif c.kind == "energy":
        rate, energy = truth.repetition_rate_hz, truth.max_pulse_energy_j * truth.meter_scale
        row["rate_off_rel"] = q["repetition_rate"].value / rate - 1
        row["rate_pull"] = (q["repetition_rate"].value - rate) / q["repetition_rate"].total
        row["energy_off_rel"] = q["pulse_energy"].value / energy - 1
        row["pulse_cv"] = q["pulse_cv"].value
    elif c.kind == "spot":
        for axis, w_um in (("x", truth.w_x_um), ("y", truth.w_y_um)):
            seen_um = math.hypot(w_um, 2 * bench.scene.settings.laser.pointing_um)
            found = q[f"{axis}_um"]
            row[f"w_{axis}_off_rel"] = found.value / w_um - 1
            row[f"w_{axis}_pull"] = (found.value - seen_um) / found.statistical
            row[f"w_{axis}_sigma_rel"] = found.statistical / w_um
    else:
        _compare_spectrometer(row, c, bench)


def _curve_off(c: Calibration, bench: SimulatedBench) -> float:
    """Largest relative error of the transmission, from full down to 2 % of it."""
    truth, q = bench.scene.truth, c.quantities
    away = np.degrees(np.arccos(np.sqrt(np.geomspace(1.0, 0.02, 40)))) / 2

    def transmission(zero_deg: float, leak: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return leak + (1 - leak) * np.cos(np.radians(2 * (truth.zero_deg + away - zero_deg))) ** 2

    zero = (q["zero_deg"].value - truth.zero_deg + 45.0) % 90.0 - 45.0 + truth.zero_deg
    found, true = transmission(zero, q["leakage"].value), transmission(truth.zero_deg, truth.t_min)
    return float(np.max(np.abs(found / true - 1)))


def _compare_spectrometer(row: Row, c: Calibration, bench: SimulatedBench) -> None:
    q = c.quantities
    true_nm = bench.scene.camera.wavelength_nm
    pixel = np.arange(true_nm.size)
    found_nm = np.polynomial.polynomial.polyval(pixel, c.tables["wavelength_coefficients"])
    inside = (true_nm > 530.0) & (true_nm < 556.0)
    off = (found_nm - true_nm)[inside] / np.gradient(true_nm)[inside]
    row["axis_off_pixel"] = float(np.max(np.abs(off)))
    row["axis_mean_off_pixel"] = float(np.mean(off))
    true_fwhm = bench.scene.camera.resolution_nm(MIDDLE_NM)
    row["resolution_off_rel"] = q["resolution"].value / true_fwhm - 1
    if q["resolution"].total > 0:
        row["resolution_pull"] = (q["resolution"].value - true_fwhm) / q["resolution"].total


def _fluence(row: Row, file: Path, bench: SimulatedBench) -> None:
    """Compare the fluence that labctl makes of a reading with the true one; the meter's scale divided out."""
    truth, s = bench.scene.truth, load_bench(file).pump_settings()
    found = s.pickoff_ratio / s.repetition_rate_hz / (s.spot.x_um * s.spot.y_um)
    true = truth.pickoff_ratio / truth.repetition_rate_hz / (truth.w_x_um * truth.w_y_um)
    scale_rel = fluence_budget(s).stated_rel
    row["fluence_off_rel"] = found / true - 1
    row["meter_scale"], row["scale_rel"] = truth.meter_scale, scale_rel
    row["fluence_total_pull"] = math.log(found / true * truth.meter_scale) / scale_rel


def _sweep(row: Row, file: Path, clock: SteppedClock, bench: SimulatedBench, sample: str) -> None:
    keeper = Keeper(fluence_sweep.NoSink())
    with open_bench(load_bench(file), clock) as opened:
        pump, bands = opened.pump, opened.bands
        plan = PLANS[sample]
        least = 1.1 * pump.aim.reach_uj_cm2()[0]  # some of the attenuators drawn leak a per cent
        plan = replace(plan, start_uj_cm2=max(plan.start_uj_cm2, least))
        for _ in fluence_sweep.sweep(plan, opened.roles, pump, bands, sink=keeper):
            pass
        order, scale_rel = pump.settings.photon_order, fluence_budget(pump.settings).stated_rel
    result = fit_curve(light_light(keeper.points), order)
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
    """Return the table."""
    good = [row for row in rows if "error" not in row]
    lines = [f"benches {len(rows)}, failed {len(rows) - len(good)}"]
    for name in ("zero", "leakage", "ratio", "rate", "w_x", "w_y", "resolution", "fluence_total"):
        if (pulls := _column(good, f"{name}_pull")).size:
            covered = int(np.sum(np.abs(pulls) <= K95))
            rms = float(np.sqrt(np.mean(pulls**2)))
            lines.append(
                f"  {name}: 95 % intervals cover {covered}/{pulls.size}, pulls' rms {rms:.2f}, "
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


def _column(
    rows: Iterable[Mapping[str, float | str]], name: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--sample", default="ola", choices=tuple(PLANS))
    parser.add_argument("--scene", default="typical", choices=("ideal", "typical", "nasty"))
    parser.add_argument("--kinds", default=",".join(KINDS), help="which calibrations, in this order")
    parser.add_argument("--no-sweep", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("calibrated_bench.jsonl"))
    args = parser.parse_args()
    rows = [r for r in _done(args.output) if r.get("sample") == args.sample and r.get("level") == args.scene]
    known = {int(float(row["seed"])) for row in rows}
    missing = [s for s in range(args.first, args.first + args.seeds) if s not in known]
    kinds = tuple(args.kinds.split(","))
    with (
        ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool,
        args.output.open("a", encoding="utf-8") as stream,
    ):
        jobs = [
            pool.submit(measure, seed, args.sample, args.scene, kinds, sweep=not args.no_sweep)
            for seed in missing
        ]
        for job in as_completed(jobs):
            rows.append(job.result())
            stream.write(json.dumps(rows[-1]) + "\n")
            stream.flush()
            if "error" in rows[-1]:
                print(f"seed {rows[-1]['seed']:.0f}: {rows[-1]['error']}", flush=True)
    print(summary(rows))


if __name__ == "__main__":
    main()
