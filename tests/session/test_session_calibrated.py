"""Calibrations on an open bench: for these instruments alone, in time, and in what a run says and holds."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration_files import CAMERA, calibration, stored

from labctl.analysis.spectra.reduce import polynomial_problem
from labctl.cli import main
from labctl.cli.table import print_result
from labctl.config import BenchConfig, RoleName, load_bench, parse_bench
from labctl.config.calibrated import NamedCalibration
from labctl.config.example import EXAMPLE
from labctl.data import read_run
from labctl.model.calibration import Calibration, CalibrationKind, Quantity
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, ConfigError
from labctl.model.mapping import plain
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import Identity, SpectrometerInfo
from labctl.model.results.sweep import BandThreshold, FluenceBudget, SweepResult
from labctl.model.roles import Spectrometer
from labctl.runner.events import Message, Started
from labctl.runner.refit import refit
from labctl.runner.report import RunReport, dump_json
from labctl.runner.resume import resume_run
from labctl.runner.run import RunRequest, run_sweep
from labctl.session import open_bench
from labctl.session.check import CheckReport, check_bench, recheck_bench
from labctl.session.opening import (
    Remark,
    calibrated_info,
    measured_info,
    open_all,
    refuse_calibrations,
    remarks_on_identity,
    remarks_on_time,
    stated_info,
)
from simulators.bench import SimulatedBench
from simulators.presets import scene

OLD = {"measured_utc": "2020-01-01T00:00:00+00:00", "valid_until_utc": "2020-02-01T00:00:00+00:00"}
PLAN = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=180.0, points=8, average=2, reference_every=0)


@pytest.fixture
def simulated() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        yield bench


@pytest.fixture(scope="module")
def identities() -> dict[RoleName, Identity]:
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        opened = open_all(parse_bench(bench.bench_toml(1.0)), bench.scene.clock)
        opened.close()
    return dict(opened.identities)


def loaded(simulated: SimulatedBench, directory: Path, *made: Calibration, rules: str = "") -> BenchConfig:
    text = simulated.bench_toml(1.0)
    if "max_dose_uj_cm2" not in text:
        text = text.replace("[bands]", 'max_average_power = "1 mW"\nmax_dose_uj_cm2 = 1e10\n\n[bands]')
    file = directory / "bench.toml"
    file.write_text(text + stored(directory, *made, rules=rules), encoding="utf-8")
    return load_bench(file)


def measured(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], kind: CalibrationKind, **changes: Any
) -> Calibration:
    """A calibration of this very bench, true but for its stated errors."""
    truth, optics = simulated.scene.truth, simulated.scene.settings.optics
    made = calibration(kind)
    true: dict[CalibrationKind, dict[str, Quantity]] = {
        "attenuator": {
            "zero_deg": Quantity(truth.zero_deg, "deg", 0.01),
            "leakage": Quantity(optics.t_min / optics.t_max, "1", 1e-5),
            "repeatability": Quantity(0.03, "deg", 0.003),
        },
        "pickoff": {"ratio": Quantity(truth.pickoff_ratio, "1", 0.004 * truth.pickoff_ratio)},
        "energy": {"repetition_rate": Quantity(1000.0, "Hz", 0.1)},
        "spot": {
            "x_um": Quantity(optics.w_um, "um", 0.003 * optics.w_um, 0.001 * optics.w_um),
            "y_um": Quantity(optics.w_um, "um", 0.004 * optics.w_um, 0.001 * optics.w_um),
        },
        "spectrometer": {"resolution": Quantity(0.21, "nm", 0.005)},
    }
    by_name = {str(role): identity for role, identity in identities.items()}
    who = {role: by_name[role] for role in ("power_meter", *made.bound_to)}
    return replace(made, **{"quantities": true[kind], "instruments": who, **changes})


def swept(simulated: SimulatedBench, config: BenchConfig, directory: Path) -> RunReport:
    return run_sweep(
        config,
        PLAN,
        RunRequest(directory, "OLA"),
        stop=threading.Event(),
        on_event=lambda event: None,
        clock=simulated.scene.clock,
    )


def opening_said(simulated: SimulatedBench, config: BenchConfig) -> str:
    with pytest.raises(ConfigError) as caught, open_bench(config, simulated.scene.clock):
        pass
    assert simulated.scene.shutter.closed_switch()
    return str(caught.value)


@pytest.mark.parametrize("kind", ["attenuator", "pickoff", "energy", "spectrometer"])
def test_a_calibration_of_another_instrument_is_refused(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], kind: CalibrationKind, tmp_path: Path
) -> None:
    made = measured(simulated, identities, kind)
    (role,) = made.bound_to
    mine = made.instruments[role]
    assert remarks_on_identity(loaded(simulated, tmp_path, made), identities) == ()
    other = replace(made, note="b", instruments={**made.instruments, role: replace(mine, serial="99999999")})
    (remark,) = remarks_on_identity(loaded(simulated, tmp_path, other), identities)
    with pytest.raises(ConfigError) as caught:
        refuse_calibrations((remark,))
    said = str(caught.value)
    assert said.startswith(f"calibrations.{kind}: {kind}-20261123-101500-2.json is for the {role} ")
    assert "99999999" in said
    assert mine.serial in said


def test_all_that_is_foreign_is_told_at_once_before_any_light(
    simulated: SimulatedBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[bool] = []
    command = simulated.scene.shutter.command

    def watched(open_: bool) -> float:
        commands.append(open_)
        return command(open_)

    monkeypatch.setattr(simulated.scene.shutter, "command", watched)
    said = opening_said(
        simulated, loaded(simulated, tmp_path, calibration("attenuator"), calibration("energy"))
    )
    assert "calibrations.attenuator: " in said
    assert "calibrations.energy: " in said
    assert "11400123" in said
    assert True not in commands


def test_another_head_on_the_same_meter_is_another_instrument(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> None:
    head = replace(identities["power_meter"], model="PM100D + S302C")
    made = measured(simulated, identities, "pickoff", instruments={"power_meter": head})
    (remark,) = remarks_on_identity(loaded(simulated, tmp_path, made), identities)
    assert remark.refuses
    assert "PM100D + S302C" in remark.text


def test_firmware_may_change_and_an_unknown_serial_is_only_told(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> None:
    def remarks(who: Identity) -> tuple[Remark, ...]:
        made = measured(simulated, identities, "pickoff", instruments={"power_meter": who})
        return remarks_on_identity(loaded(simulated, tmp_path, made), identities)

    assert remarks(replace(identities["power_meter"], firmware="9.9")) == ()
    (remark,) = remarks(replace(identities["power_meter"], serial=""))
    assert "no serial number" in remark.text
    assert not remark.refuses
    refuse_calibrations((remark,))


def test_what_expired_warns_or_is_refused_by_rule(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> None:
    made = measured(simulated, identities, "spot", **OLD)
    config = loaded(simulated, tmp_path, made, rules='expired = "refuse"')
    said = opening_said(simulated, config)
    assert "calibrations.spot: spot-20200101-000000.json expired on 2020-02-01. Try: measure it again" in said
    assert remarks_on_time(config, datetime(2020, 1, 31, tzinfo=UTC)) == ()
    assert [r.refuses for r in remarks_on_time(loaded(simulated, tmp_path, made))] == [False]


def test_an_expired_calibration_is_told_as_a_run_begins(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> None:
    config = loaded(simulated, tmp_path, measured(simulated, identities, "spot", **OLD))
    stop, told = threading.Event(), []

    def on_event(event: object) -> None:
        told.append(event)
        if isinstance(event, Started):
            stop.set()

    with suppress(Aborted):
        run_sweep(
            config,
            PLAN,
            RunRequest(tmp_path, "OLA"),
            stop=stop,
            on_event=on_event,
            clock=simulated.scene.clock,
        )
    warnings = [event.text for event in told if isinstance(event, Message) and "expired" in event.text]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: calibrations.spot: spot-20200101-000000.json expired")


def test_what_is_required_must_be_named(simulated: SimulatedBench, tmp_path: Path) -> None:
    config = loaded(simulated, tmp_path, calibration("spot"), rules='required = ["spot", "energy"]')
    assert opening_said(simulated, config).startswith(
        "calibrations.energy: is required, but no file is named"
    )


def test_the_spectrometer_has_the_axis_that_was_measured(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> None:
    made = (measured(simulated, identities, "spectrometer"), measured(simulated, identities, "spot", **OLD))
    with open_bench(loaded(simulated, tmp_path, *made), simulated.scene.clock) as bench:
        assert bench.warnings == ("calibrations.spot: spot-20200101-000000.json expired on 2020-02-01",)
        info = bench.roles.spectrometer.info
        assert isinstance(bench.roles.spectrometer, Spectrometer)
        pixel = np.arange(info.wavelength_nm.size)
        np.testing.assert_allclose(info.wavelength_nm, 500.2 + 0.03 * pixel + 1e-7 * pixel**2, rtol=1e-12)
        bench.roles.spectrometer.set_integration(0.1)
        assert bench.roles.spectrometer.acquire().counts.shape == pixel.shape
        assert bench.roles.spectrometer.identity() == identities["spectrometer"]


def test_nothing_is_judged_while_calibrating(simulated: SimulatedBench, tmp_path: Path) -> None:
    rules = 'expired = "refuse"\nrequired = ["energy"]'
    made = (calibration("attenuator", **OLD), calibration("spectrometer"))
    config = loaded(simulated, tmp_path, *made, rules=rules)
    with open_bench(config, simulated.scene.clock, calibrations="ignore") as bench:
        assert bench.warnings == ()
        assert bench.roles.spectrometer.info.wavelength_nm[0] != 500.2


OWN = SpectrometerInfo(CAMERA, np.linspace(480.0, 600.0, 2048), 65535.0, 1e-3, 10.0, (1.0, 2e-7), 0.15)
BANDS = Bands((505.0, 560.0), (530.0, 556.0))


@pytest.mark.parametrize(
    ("coefficients", "why"),
    [
        ((1.0, 2e-7), ""),
        ((), ""),
        ((0.0, 1e-5), "from 0 to"),
        ((3.4e38, 1.0), "staying near 1"),
        ((-1.0,), "staying near 1"),
        ((1.0, float("nan")), "not a number"),
        ((1.0, 0.0, 0.0, 0.0, 2.6e-20), "more light look like less"),
    ],
)
def test_a_nonlinearity_that_no_detector_has_is_left_off(coefficients: tuple[float, ...], why: str) -> None:
    assert why in polynomial_problem(coefficients, 65535.0)
    assert bool(why) == bool(polynomial_problem(coefficients, 65535.0))
    info = stated_info(replace(OWN, nonlinearity=coefficients or None), parse_bench(EXAMPLE))
    assert info.nonlinearity == (None if why else coefficients or None)


def test_the_bench_file_says_where_the_detector_clips_and_how_well_its_resolution_is_known() -> None:
    more = "resolution_nm = 0.15\nresolution_sigma_nm = 0.01\nsaturation_counts = 60000"
    text = EXAMPLE.replace("resolution_nm = 0.15 ", f"{more} ", 1)
    info = measured_info(OWN, parse_bench(text))
    assert info is not None
    assert (info.max_counts, info.resolution_sigma_nm) == (60000.0, 0.01)
    assert measured_info(OWN, parse_bench(EXAMPLE)) is None


def test_the_error_of_a_resolution_that_was_measured_is_its_own() -> None:
    info = calibrated_info(OWN, NamedCalibration(calibration("spectrometer"), "a.json"), BANDS)
    stated = calibration("spectrometer").quantities["resolution"]
    assert info.resolution_nm is not None
    assert info.resolution_sigma_nm == pytest.approx(stated.total_rel * info.resolution_nm)


def test_resolution_and_nonlinearity_are_ours_where_they_were_measured() -> None:
    info = calibrated_info(OWN, NamedCalibration(calibration("spectrometer"), "a.json"), BANDS)
    assert info.resolution_nm == pytest.approx(0.2 + 0.1 * 0.43)  # at 543 nm, the middle of the lasing band
    assert info.nonlinearity == (1.0, -1e-7)
    plain = calibration(
        "spectrometer", facts={"nonlinearity_source": "device"}, tables={"nonlinearity": (1.0, 0.0)}
    )
    info = calibrated_info(OWN, NamedCalibration(plain, "a.json"), BANDS)
    assert (info.nonlinearity, info.resolution_nm) == (OWN.nonlinearity, 0.21)
    np.testing.assert_array_equal(info.wavelength_nm, OWN.wavelength_nm)
    bare = calibration("spectrometer", quantities={}, tables={})
    assert calibrated_info(OWN, NamedCalibration(bare, "a.json"), BANDS) == OWN


@pytest.mark.parametrize(
    "coefficients", [(500.0, -0.1), (500.0, 0.1, -1e-3), (-500.0, 0.1), (500.0,), (1e308, 1e308)]
)
def test_wavelengths_that_do_not_rise_are_refused(coefficients: tuple[float, ...]) -> None:
    made = calibration("spectrometer", tables={"wavelength_coefficients": coefficients})
    with pytest.raises(
        ConfigError, match=r"calibrations\.spectrometer: the wavelengths of a\.json do not increase"
    ):
        calibrated_info(OWN, NamedCalibration(made, "a.json"), BANDS)


def test_the_check_says_what_a_sweep_would_refuse(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> None:
    made = (calibration("attenuator"), measured(simulated, identities, "spectrometer"))
    report = check_bench(loaded(simulated, tmp_path, *made), clock=simulated.scene.clock)
    assert report.failures == ()
    (spoken,) = [w for w in report.warnings if "calibrations" in w]
    assert "calibrations.attenuator" in spoken
    assert spoken.endswith(": a sweep would be refused")
    assert "resolution 0.243 nm" in next(c.reading for c in report.instruments if c.role == "spectrometer")


@pytest.fixture
def run(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> tuple[RunReport, BenchConfig]:
    kinds: tuple[CalibrationKind, ...] = ("attenuator", "pickoff", "energy", "spot")
    config = loaded(simulated, tmp_path, *(measured(simulated, identities, kind) for kind in kinds))
    config = config.model_copy(
        update={"pump": config.pump.model_copy(update={"meter_sigma_rel": 0.03, "pulse_width_fs": None})}
    )
    return swept(simulated, config, tmp_path), config


def test_a_run_carries_calibrations_and_budget_and_says_the_total(
    simulated: SimulatedBench, run: tuple[RunReport, BenchConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    report, config = run
    assert report.h5 is not None
    assert report.status == "finished"
    held = read_run(report.h5)
    copies: Any = held.start.config["calibrations"]
    assert config.calibrations is not None
    assert copies["spot"]["calibration"] == config.calibrations.named()["spot"].to_mapping()["calibration"]

    budget, threshold = held.result.budget, held.result.threshold
    assert budget is not None
    terms = {term.name: term for term in budget.terms}
    assert terms["pick-off ratio"].source == "pickoff-20261123-101500.json, 2026-11-23"
    assert terms["meter calibration"].source == "bench file"
    parts = (0.03, 0.004, 1e-4, 0.002, 0.003, 0.004)  # meter, pick-off, rate, both sizes, x, y
    assert budget.combined_rel == pytest.approx(math.hypot(*parts), rel=1e-6)
    assert threshold.scale_rel == budget.combined_rel
    assert budget.fluence_uj_cm2 == threshold.threshold_uj_cm2
    assert budget.combined_rel is not None
    assert threshold.scale_rel95 == pytest.approx(1.96 * budget.combined_rel, rel=1e-4)
    assert threshold.total_ci95 is not None
    assert threshold.ci95 is not None
    assert threshold.scale_rel95 is not None
    low, high = threshold.total_ci95
    assert low < threshold.ci95[0] < threshold.ci95[1] < high
    assert low < simulated.scene.truth.threshold_uj_cm2 < high
    onset = threshold.threshold_uj_cm2
    assert onset is not None
    sides = (math.log(onset / threshold.ci95[0]), math.log(threshold.ci95[1] / onset))
    wider = [math.hypot(side, threshold.scale_rel95) for side in sides]
    assert threshold.total_rel95 == pytest.approx(sum(wider) / 2, rel=1e-4)

    again = refit(report.h5)
    assert again.threshold.total_ci95 == threshold.total_ci95
    (document,) = json.loads(dump_json([again]))["runs"]
    assert document["threshold"]["budget"] == plain(budget)
    assert document["threshold"]["total_ci95"] == list(threshold.total_ci95)
    assert main(["budget", str(report.h5), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(report.h5.resolve()), **plain(budget)}
    print_result([report], as_json=False)
    said = capsys.readouterr().out
    for words in (
        "with scale",
        f"{low:.2f} to {high:.2f}",
        "scale +-6",
        "statistical +-",
        "model +-",
        "unknown: a two-photon",
    ):
        assert words in said


def test_a_run_goes_on_with_its_copies_and_asks_about_another_calibration(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> None:
    first = measured(simulated, identities, "spot")
    config = loaded(simulated, tmp_path, first)
    stop = threading.Event()
    report = run_sweep(
        config,
        PLAN,
        RunRequest(tmp_path, "OLA"),
        stop=stop,
        on_event=lambda event: stop.set() if type(event).__name__ == "Measured" else None,
        clock=simulated.scene.clock,
    )
    assert report.status == "aborted"
    assert report.h5 is not None
    second = replace(first, measured_utc="2026-11-24T08:00:00+00:00", note="once more")
    asked: list[str] = []

    def disagree(found: tuple[str, ...]) -> None:
        asked.extend(found)
        raise ConfigError("no")

    def resumed(bench: BenchConfig | None) -> RunReport:
        assert report.h5 is not None
        return resume_run(
            report.h5,
            bench,
            stop=threading.Event(),
            on_event=lambda event: None,
            confirm=disagree,
            trust=lambda lines: None,
            clock=simulated.scene.clock,
        )

    with pytest.raises(ConfigError, match="no"):
        resumed(loaded(simulated, tmp_path, second))
    (line,) = asked
    assert line.startswith(
        "calibrations.spot: was spot-20261123-101500.json of 2026-11-23T10:15:00+00:00 (sha256 "
    )
    assert "is spot-20261124-080000.json" in line
    for file in (tmp_path / "cal").iterdir():
        file.unlink()
    assert resumed(None).status == "finished"


def test_a_report_without_a_scale_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    threshold = BandThreshold("found", threshold_uj_cm2=80.0, ci95=(79.0, 81.0), scale_rel=0.0)
    budget = FluenceBudget(pulse_width_fs=35.0, photon_order=2, warnings=("calibrations.spot: old",))
    report = RunReport("A", "finished", None, None, 9, SweepResult(threshold, budget=budget))
    print_result([report], as_json=False)
    said = capsys.readouterr().out
    assert "the interval is statistical only; scale uncertainty: not stated" in said
    assert "warning: calibrations.spot: old" in said
    assert "with scale" not in said
    assert "unknown" not in said.replace("(unknown)", "")
    assert BandThreshold().total_ci95 is None
    assert threshold.total_ci95 is None


def test_the_attenuator_is_checked_against_its_calibration_behind_the_closed_shutter(
    simulated: SimulatedBench, identities: dict[RoleName, Identity], tmp_path: Path
) -> None:
    laser, optics = simulated.scene.settings.laser, simulated.scene.settings.optics
    full_w = laser.max_pulse_energy_j * laser.repetition_rate_hz / optics.pickoff_ratio
    true = {
        "zero_deg": Quantity(optics.zero_deg, "deg", 0.01),
        "leakage": Quantity(optics.t_min / optics.t_max, "1", 1e-5),
        "max_power": Quantity(full_w, "W", 1e-9),
        "repeatability": Quantity(0.03, "deg", 0.003),
    }
    report = CheckReport((), ())

    def rechecked(**changes: Quantity) -> CheckReport:
        made = measured(simulated, identities, "attenuator", quantities=true | changes)
        return recheck_bench(loaded(simulated, tmp_path, made), report, simulated.scene.clock)

    found = rechecked()
    assert found.warnings == ()
    assert "zero moved by" in found.recheck
    (warning,) = rechecked(zero_deg=Quantity(optics.zero_deg + 0.6, "deg", 0.01)).warnings
    assert warning.startswith("attenuator: the attenuator's zero has moved by")
    assert simulated.scene.shutter.closed_switch()
    without = recheck_bench(loaded(simulated, tmp_path), report, simulated.scene.clock)
    assert "names no attenuator calibration" in without.recheck
