"""Calibrations on a bench where something goes wrong: what is stored must be true, or say it is not sure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from fault_judge import SIGMAS, Outcome, ProcedureName, Reference, judge_error

from benchmarks.benches import axis_off_pixels, calibrated, off
from benchmarks.scene_truth import SceneTruth
from labctl.config import load_bench
from labctl.config.benchfile import use_calibration
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.session import open_bench
from procedures.calibration import OPTIONS
from procedures.calibration.attenuator import recheck_attenuator
from simulators.bench import SimulatedBench

QUICK: Mapping[CalibrationKind, Mapping[str, object]] = {
    "attenuator": {"points": 16, "pairs": 4, "readings": 2},
    "pickoff": {"points": 6, "readings": 2},
    "energy": {"drift_s": 5.0, "readings": 2},
    "spot": {"points": 16, "readings": 2},
    "spectrometer": {"frames": 6, "linearity": True},
}
REPEATED = "readings repeated"
"""A flag that says nothing of the numbers and excuses none."""
AXIS_PIXELS = 0.25
"""The axis must be right to this in the lasing band; lines are found to some 0.05 pixels."""
JUDGED = (
    "zero_deg", "leakage", "backlash", "ratio", "repetition_rate", "pulse_energy", "x_um", "y_um",
    "resolution",
)  # fmt: skip
DRIFTED_DEG = 0.3


def kind_of(procedure: ProcedureName) -> CalibrationKind:
    """Return the kind of calibration that a procedure measures."""
    return next(kind for kind in QUICK if procedure == f"cal {kind}")


def needed_by(procedures: Iterable[ProcedureName]) -> Sequence[CalibrationKind]:
    """Return the kinds that have to be measured first: those before, and its own for its usual flags."""
    kinds = list(QUICK)
    wanted = [1 + kinds.index(kind_of(name)) for name in procedures if name[4:] in QUICK]
    wanted += [1 for name in procedures if name == "cal check"]
    return kinds[: max(wanted, default=0)]


def run(
    bench: SimulatedBench, outcome: Outcome, _truth: SceneTruth, reference: Reference, folder: Path
) -> BaseException | None:
    """Measure a calibration after those that come before it, and compare it with the truth."""
    kind = kind_of(outcome.cell.procedure)
    file = bench_file(bench, folder, reference.files, kind)
    output = folder / "new"
    try:
        calibration, _ = _measured(bench, file, kind, output)
    except Exception as exc:  # noqa: BLE001  it is the finding
        if list(output.glob("*.json")):
            outcome.problems.append("it failed, and something is stored")
        return judge_error(outcome, exc)
    outcome.ended, outcome.points = "finished", 1
    usual = set(reference.files.get(f"{kind}.flags", b"").decode().split("\n"))
    if set(calibration.flags) - usual - {REPEATED}:
        outcome.flagged, outcome.told = 1, "; ".join(calibration.flags)
        return None
    for name, error, sigma in errors(calibration, bench):
        outcome.worst = max(outcome.worst, abs(error) / sigma)
        if not abs(error) <= SIGMAS * sigma:
            outcome.problems.append(f"{name} off by {error:+.4g}, {abs(error) / sigma:.1f} sigma, no flag")
    return None


def recheck(
    bench: SimulatedBench, outcome: Outcome, truth: SceneTruth, reference: Reference, folder: Path
) -> BaseException | None:
    """Look whether the attenuator is as calibrated; it is, unless the fault has moved it."""
    config = load_bench(bench_file(bench, folder, reference.files, "pickoff"))
    named = config.calibrations.attenuator if config.calibrations else None
    assert named is not None
    try:
        with open_bench(config, bench.scene.clock) as opened:
            settings, limits = opened.pump.settings, opened.pump.limits
            found = recheck_attenuator(named.calibration, opened.roles, settings, limits)
    except Exception as exc:  # noqa: BLE001  it is the finding
        return judge_error(outcome, exc)
    outcome.points, outcome.told = 1, "; ".join(found.warnings)
    outcome.ended = "told" if found.warnings else "finished"
    slipped = abs(float(np.sum(truth.scene.mount.slips.total(np.array([bench.scene.clock.now_s()])))))
    if slipped > DRIFTED_DEG and not found.warnings and found.checked:
        outcome.problems.append(f"the plate has slipped by {slipped:g} deg: {found.text}")
    return None


def bench_file(
    bench: SimulatedBench, folder: Path, files: Mapping[str, bytes], until: CalibrationKind | None
) -> Path:
    """Write the bench file of a bench that was calibrated up to a kind, without it."""
    file = folder / "bench.toml"
    text = bench.bench_toml(1.0, nominal=True)
    file.write_text(
        text.replace("[spectrometer]", "[spectrometer]\ntimeout_margin_s = 2.0"), encoding="utf-8"
    )
    for kind in QUICK:
        if kind == until:
            break
        path = folder / f"{kind}.json"
        path.write_bytes(files[path.name])
        use_calibration(file, kind, path)
    return file


def measured(bench: SimulatedBench, folder: Path, files: dict[str, bytes], kind: CalibrationKind) -> None:
    """Measure an undisturbed calibration and add its file, and its flags, to ``files``."""
    calibration, path = _measured(bench, bench_file(bench, folder, files, kind), kind, folder / "new")
    files[f"{kind}.json"], files[f"{kind}.flags"] = path.read_bytes(), "\n".join(calibration.flags).encode()


def _measured(
    bench: SimulatedBench, file: Path, kind: CalibrationKind, output: Path
) -> tuple[Calibration, Path]:
    return calibrated(bench, load_bench(file), kind, output, OPTIONS[kind](**QUICK[kind]))  # type: ignore[arg-type]


def errors(c: Calibration, bench: SimulatedBench) -> list[tuple[str, float, float]]:
    """Return of each number how far it is from the truth, and its standard error as the file has it."""
    found = [(name, off(c, bench, name), c.quantities[name].total) for name in JUDGED if name in c.quantities]
    if c.kind == "spectrometer":
        found.append(("axis", float(np.abs(axis_off_pixels(c, bench.scene)).max()), AXIS_PIXELS / SIGMAS))
    return found
