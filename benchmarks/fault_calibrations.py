"""Calibrations on a bench where something goes wrong: what is stored must be true, or say it is not sure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from fault_judge import SIGMAS, judge_error
from fault_records import Outcome, ProcedureName
from fault_truth import Reference, Truth

from labctl.config import load_bench
from labctl.config.benchfile import use_calibration
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.runner.calibrate import run_calibration
from labctl.session import open_bench
from labctl.session.hands import ScriptHands, SocketHands
from procedures.calibration import OPTIONS
from procedures.calibration.recheck import recheck_attenuator
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
BAND_NM = (530.0, 556.0)
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
    bench: SimulatedBench, outcome: Outcome, _truth: Truth, reference: Reference, folder: Path
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
    for name, off, sigma in errors(calibration, bench):
        outcome.worst = max(outcome.worst, abs(off) / sigma)
        if not abs(off) <= SIGMAS * sigma:
            outcome.problems.append(f"{name} off by {off:+.4g}, {abs(off) / sigma:.1f} sigma, no flag")
    return None


def recheck(
    bench: SimulatedBench, outcome: Outcome, truth: Truth, reference: Reference, folder: Path
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
    return run_calibration(
        load_bench(file),
        kind,
        OPTIONS[kind](**QUICK[kind]),  # type: ignore[arg-type]
        hands=ScriptHands(["..."], then=SocketHands(bench.hand)),
        stop=None,
        on_event=lambda _event: None,
        clock=bench.scene.clock,
        output=output,
    )


def errors(c: Calibration, bench: SimulatedBench) -> list[tuple[str, float, float]]:
    """Return of each number how far it is from the truth, and its standard error as the file has it."""
    truth, q = bench.scene.truth, c.quantities
    if c.kind == "spectrometer":
        return _of_spectrometer(c, bench)
    if c.kind == "attenuator":
        zero = (q["zero_deg"].value - truth.zero_deg + 45.0) % 90.0 - 45.0
        mount = bench.scene.settings.mount
        return [
            ("zero", zero, q["zero_deg"].total),
            ("leakage", q["leakage"].value - truth.t_min, q["leakage"].total),
            ("backlash", q["backlash"].value - mount.backlash_deg, q["backlash"].total),
        ]
    true = {"ratio": truth.pickoff_ratio, "repetition_rate": truth.repetition_rate_hz}
    true["pulse_energy"] = truth.max_pulse_energy_j
    blur_um = 2 * bench.scene.settings.laser.pointing_um  # a blade sees the spot averaged over the pointing
    true["x_um"], true["y_um"] = math.hypot(truth.w_x_um, blur_um), math.hypot(truth.w_y_um, blur_um)
    return [(name, q[name].value - value, q[name].total) for name, value in true.items() if name in q]


def _of_spectrometer(c: Calibration, bench: SimulatedBench) -> list[tuple[str, float, float]]:
    true_nm = bench.scene.camera.wavelength_nm
    found_nm = np.polynomial.polynomial.polyval(
        np.arange(true_nm.size), np.asarray(c.tables["wavelength_coefficients"])
    )
    inside = (true_nm > BAND_NM[0]) & (true_nm < BAND_NM[1])
    off = np.abs((found_nm - true_nm)[inside] / np.gradient(true_nm)[inside]).max()
    resolution = c.quantities["resolution"]
    true_fwhm = bench.scene.camera.resolution_nm(0.5 * sum(BAND_NM))
    return [
        ("axis", float(off), AXIS_PIXELS / SIGMAS),
        ("resolution", resolution.value - true_fwhm, resolution.total),
    ]
