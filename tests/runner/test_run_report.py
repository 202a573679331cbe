"""What is said of a run: JSON without NaN, tables, progress, the running fit and the spread of spots."""

from __future__ import annotations

import json
import math
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from patience import PATIENCE_S

from labctl.analysis.light_light import light_light
from labctl.cli.progress import LineProgress, LiveProgress, left_text, point_texts, threshold_text
from labctl.cli.table import print_result, q_cell, threshold_cells
from labctl.data import RunWriter
from labctl.model.mapping import plain
from labctl.model.records import DarkRecord, SweepPoint
from labctl.model.results.comparison import Comparison, ThresholdRatio
from labctl.model.results.modes import Randomness
from labctl.model.results.sweep import BandThreshold, QResult, SweepResult, ThresholdStatus
from labctl.model.run import RunStart
from labctl.runner.csv_worker import PointBuffer
from labctl.runner.events import Connected, Evaluated, Measured, Message, RunFiles, Started
from labctl.runner.figures.compared import draw_compared
from labctl.runner.fit_process import FileQuestion, Fits
from labctl.runner.refit import compare, spot_spread, spread_line
from labctl.runner.report import Q_KEYS, THRESHOLD_KEYS, RunReport, comparison_lines, dump_json
from labctl.runner.run import LiveFit
from procedures.point.exposure import NoSink


def point(index: int, fluence: float, signal: float, **changes: object) -> SweepPoint:
    values: dict[str, object] = {
        "index": index,
        "direction": "up",
        "fluence_set_uj_cm2": fluence,
        "fluence_uj_cm2": fluence,
        "fluence_sigma_rel": 0.002,
        "pulse_energy_j": fluence * 1.57e-10,
        "angle_deg": 40.0,
        "power_before_w": 1e-6,
        "power_after_w": 1e-6,
        "power_sigma_w": 1e-9,
        "integration_s": 0.1,
        "exposures": 4,
        "pulses_per_exposure": 100.0,
        "signal": signal,
        "signal_sigma": 1.0,
        "peaks_signal": signal / 2,
        "peaks_signal_sigma": 1.0,
        "fwhm_nm": 25.0,
        "equivalent_width_nm": 26.0,
        "peak_count": 0,
        "peak_wavelength_nm": 525.0,
        "exposure_cv": 0.01,
        "saturation": 0.5,
        "saturated_exposures": 0,
        "spikes_removed": 0,
        "dark_number": 1,
        "blank_number": None,
        "temperature_c": None,
        "dose_uj_cm2": 1.0,
        "elapsed_s": 1.0,
        "flags": (),
        "frames": np.zeros((4, 16)),
        "spectrum": np.zeros(16),
    }
    return SweepPoint(**(values | changes))  # type: ignore[arg-type]


def kink(n: int = 16) -> list[SweepPoint]:
    fluences = np.geomspace(30.0, 200.0, n)
    return [point(i, f, 0.05 * f**2 + 40 * max(f - 80.0, 0.0)) for i, f in enumerate(fluences)]


def report(sample: str, value: float | None, **changes: object) -> RunReport:
    ci95 = None if value is None else (0.99 * value, 1.01 * value)
    threshold = BandThreshold("found" if value else "not_found", threshold_uj_cm2=value, ci95=ci95)
    result = SweepResult(threshold, q=cast("QResult | None", changes.pop("q", None)))
    values: dict[str, object] = {"csv": None, "h5": Path("run.h5"), "points": 3}
    return RunReport(sample, "finished", result=result, **(values | changes))  # type: ignore[arg-type]


def quality(value: float, sigma: float, resolution_nm: float | None, *, at_least: bool = False) -> QResult:
    return QResult(value, sigma, 540.0, 0.4, resolution_nm, at_least, 5, 0.5, "gaussian", 1.0)


def live(
    points: int,
    status: ThresholdStatus,
    value: float | None = None,
    ci95: tuple[float, float] | None = None,
    *,
    provisional: bool = False,
) -> Evaluated:
    flags = ("few_above",) if provisional else ()
    threshold = BandThreshold(status, threshold_uj_cm2=value, ci95=ci95, flags=flags)
    return Evaluated(points, SweepResult(threshold))


def test_json_has_every_key_absolute_paths_and_no_nan() -> None:
    run = report("OLA", None, q=quality(math.nan, np.float64(2.0), 0.1, at_least=True))
    (stored,) = json.loads(dump_json([run]))["runs"]
    assert list(stored["threshold"]) == list(THRESHOLD_KEYS)
    assert list(stored["q"]) == list(Q_KEYS)
    assert stored["threshold"]["value"] is None
    assert stored["threshold"]["unit"] == "uJ/cm2"
    assert stored["threshold"]["flags"] == []
    assert stored["q"]["value"] is None
    assert (stored["q"]["sigma"], stored["q"]["lower_bound"]) == (2.0, True)
    assert stored["files"] == {"csv": None, "h5": str(Path("run.h5").resolve()), "figures": []}


def test_plain_unpacks_what_json_cannot_hold() -> None:
    packed = {"a": np.arange(2), "b": np.float64(math.inf), "c": (np.int64(1), Path("x")), 4: None}
    assert plain(packed) == {"a": [0, 1], "b": None, "c": [1, "x"], "4": None}


def test_the_table_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = report("OLA", 79.9, nominal_uj_cm2=79.81)
    missing = report("OAm", None, spot="3", q=quality(410.0, 1.0, 1.3, at_least=True))
    print_result([found, missing], as_json=False)
    said = capsys.readouterr().out
    assert all(
        word in said
        for word in ("79.90", "79.10 to 80.70", "79.81", "not found", "OAm, spot 3", ">= 410 (1.30 nm)")
    )


def test_the_table_holds_the_spread_beside_each_interval(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [report("A", 80.0, spot="1"), report("A", 84.0, spot="2"), report("B", 250.0)]
    print_result(runs, as_json=False, spread=spot_spread(runs))
    said = capsys.readouterr().out
    assert said.count("+-3.4 %") == 2
    assert "A: 2 spots, mean 82.00 uJ/cm2, from spot to spot 2.83 uJ/cm2" in said
    print_result(runs, as_json=True, spread=spot_spread(runs))
    assert json.loads(capsys.readouterr().out)["spread"][0]["spots"] == 2


def test_cells() -> None:
    low = replace(report("A", None), result=SweepResult(BandThreshold("below_range")))
    assert threshold_cells(low) == ("below range", "-")
    assert threshold_cells(report("A", 80.0))[0] == "80.00 (convention not stated)"
    assert q_cell(None) == "-"
    assert q_cell(quality(1000.4, 9.6, 0.15)) == "1000 +- 10 (0.15 nm, error not stated)"
    known = replace(quality(1000.4, 9.6, 0.15), resolution_sigma_nm=0.0075)
    assert q_cell(known) == "1000 +- 10 (0.15 nm +- 5 %)"
    assert q_cell(quality(1000.0, 9.6, None, at_least=True)) == ">= 1000 (unknown)"


def test_progress_lines_hold_all_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress() as show:
        show(live(9, "found", 79.81, (79.0, 80.5)))
        show(Measured(10, 24, point(9, 81.5, 900.0, saturated_exposures=2, flags=("drift",)), 61.0))
        show(Message("hello"))
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    assert captured.out == ""
    for word in ("10/24", "81.5 uJ/cm2", "12.8 nJ", "900 counts", "25.00 nm", "50 %, 2 exposures", "drift"):
        assert word in first
    assert "threshold 79.81 uJ/cm2 (95 %: 79 to 80.5); 1 min 01 s left" in first
    assert second == "hello"


def test_a_threshold_that_is_not_there_yet_names_no_number_of_points_that_lags(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with LineProgress() as show:
        show(live(1, "refused"))
        show(Measured(2, 24, point(1, 21.0, 50.0), 30.0))
    assert "; threshold not yet; 30 s left" in capsys.readouterr().err


def test_the_threshold_of_one_run_is_not_shown_in_the_next(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = RunFiles(tmp_path / "a.csv", tmp_path / "a.h5", tmp_path / "a.log")
    with LineProgress() as show:
        show(live(24, "found", 256.9, (255.5, 258.3)))
        show(Started("OLA", files, 24))
        show(Measured(1, 24, point(0, 25.0, 50.0), 30.0))
    assert "256.9" not in capsys.readouterr().err


def test_the_live_table_takes_every_event(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    files = RunFiles(tmp_path / "a.csv", tmp_path / "a.h5", tmp_path / "a.log")
    with LiveProgress() as show:
        show(Connected({"shutter": "Thorlabs SC10"}))
        show(Started("OLA [x]", files, 24))
        show(Measured(10, 24, point(9, 81.5, 900.0), 61.0))
        show(live(9, "found", 79.81, (79.0, 80.5)))
    captured = capsys.readouterr()
    assert captured.out == ""
    for word in ("Thorlabs SC10", "OLA [x]: 24 points", "81.5 uJ/cm2", "1 min 01 s left", "95 %: 79 to 80.5"):
        assert word in captured.err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s left"), (59.6, "1 min 00 s left"), (7322, "2 h 02 min left")]
)
def test_time_left(seconds: float, text: str) -> None:
    assert left_text(seconds) == text


def test_a_threshold_that_is_not_there_yet_is_said_so() -> None:
    assert threshold_text(live(3, "refused")) == "not yet (3 points)"
    assert threshold_text(live(1, "refused")) == "not yet (1 point)"
    assert threshold_text(live(9, "above_range")) == "above range (9 points)"
    early = live(17, "found", 79.81, (79.0, 80.5), provisional=True)
    assert threshold_text(early) == "79.81 uJ/cm2 (95 %: 79 to 80.5), provisional"
    assert ("FWHM", "none") in point_texts(point(0, 1.0, 1.0, fwhm_nm=None))


def test_the_running_fit_answers_for_the_latest_points(tmp_path: Path) -> None:
    answers: list[Evaluated] = []
    last = threading.Event()

    def take(answer: Evaluated) -> None:
        answers.append(answer)
        if answer.points == 16:
            last.set()

    points = kink()
    with RunWriter(tmp_path, "run") as writer, Fits() as fits:
        writer.begin(
            RunStart(
                run_id="r", procedure="fluence-sweep/1", sample="film", operator="", spot="", note="",
                started_utc="", config={}, plan={}, identities={}, versions={},
                wavelength_nm=np.linspace(510.0, 560.0, 16), convention="peak",
            )
        )  # fmt: skip
        with LiveFit(lambda: FileQuestion(str(writer.paths.h5)), take, fits) as running:
            for one in points:
                writer.append(one)
                running.offer()
            assert last.wait(PATIENCE_S)
    assert answers[-1].result.threshold.status == "found"
    assert answers[-1].result.threshold.threshold_uj_cm2 == pytest.approx(80.0, rel=0.02)
    assert len(answers) < len(points)


def test_points_without_an_unsaturated_exposure_are_no_signal() -> None:
    points = [point(0, 50.0, 10.0), point(1, 60.0, 99.0, saturated_exposures=4)]
    curve = light_light(points)
    assert curve.signal[0] == 10.0
    assert math.isnan(curve.signal[1])
    assert curve.typical_fluence_sigma_rel == 0.002
    assert light_light([]).signal.shape == (0,)


def test_the_keeper_holds_scalars_alone() -> None:
    buffer = PointBuffer(NoSink())
    for number in range(1, 40):
        buffer.dark(DarkRecord(number, "dark", np.zeros(16), np.zeros(16), 16, 0.1, 0.0))
        buffer.append(point(number, float(number), 1.0, peak_count=2, dark_number=number))
    assert len(buffer.points) == 39
    assert all(p.frames.size == p.spectrum.size == 0 for p in buffer.points)
    assert buffer.latest.frames.size > 0


def test_the_spread_of_spots_stands_beside_their_intervals() -> None:
    runs = [report("A", 80.0), report("A", 84.0), report("A", None), report("B", 250.0)]
    (spread,) = spot_spread(runs)
    assert (spread.sample, spread.spots, spread.mean) == ("A", 2, 82.0)
    assert spread.sd == pytest.approx(math.sqrt(8.0))
    assert spread.interval_rel == pytest.approx(0.01)
    assert spread.named is False
    here, again = report("A", 80.0, spot="1"), report("A", 82.0, spot="1")
    there = report("A", 85.0, spot="2")
    (spread,) = spot_spread([here, again, there, report("A", 99.0)])
    assert (spread.spots, spread.mean, spread.named) == (2, 83.0, True)
    assert spot_spread([here, again, report("A", 99.0)]) == []
    assert spot_spread([report("A", 80.0)]) == []


def test_lines_that_recur_at_another_spot_stand_beside_chance() -> None:
    places = ((530.0, 535.0, 541.0, 550.0), (530.1, 537.0, 543.0, 549.0))
    runs = [
        replace(one, result=replace(one.result, randomness=Randomness(wavelength_nm=nm)))
        for one, nm in zip((report("A", 80.0), report("A", 84.0)), places, strict=True)
    ]
    (spread,) = spot_spread(runs)
    assert spread.lines_shared == pytest.approx(0.25)
    assert spread.lines_by_chance == pytest.approx(0.06, abs=0.01)
    assert "25% of the lines recur at another spot, 6% would by chance" in spread_line(spread)
    (bare,) = spot_spread([report("A", 80.0), report("A", 84.0)])
    assert bare.lines_shared is None


def test_two_samples_have_a_ratio_in_the_terminal_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [report("OAm", 257.0), report("OLA", 80.0)]
    print_result(runs, as_json=False)
    said = capsys.readouterr().out
    assert "ratio of thresholds OLA / OAm: 0.311, 95 % interval 0.307 to 0.316" in said
    assert "of these two spots, not of the materials" in said
    print_result(runs, as_json=True)
    (ratio,) = json.loads(capsys.readouterr().out)["ratios"]
    assert ratio["ratio"] == pytest.approx(80 / 257)


def test_one_sample_has_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    print_result([report("OLA", 79.0, spot="1"), report("OLA", 80.0, spot="2")], as_json=False)
    assert "ratio" not in capsys.readouterr().out


def test_a_ratio_says_what_cancels_and_what_does_not() -> None:
    found = ThresholdRatio(
        "OLA", "OAm", "compared", ratio=0.31, ci95=(0.3, 0.32), cancelled=("spot",),
        added=("pick-off ratio (a and b)",), spots=(3, 1), between_spots_rel=(0.08, None),
    )  # fmt: skip
    head, rests = comparison_lines(Comparison((found,)))
    assert "OLA: 3 spots, 8 % from spot to spot; OAm: one spot, not the material" in head
    assert head.startswith(
        "ratio of thresholds OLA / OAm: 0.31, 95 % interval 0.3 to 0.32; less than a third; "
    )
    assert rests == "of the scales, cancels: spot; added: pick-off ratio (a and b)"
    refused = ThresholdRatio("OLA", "OAm", "refused", "their convention differs: average and peak")
    assert comparison_lines(Comparison((refused,))) == [
        "ratio of thresholds OLA / OAm: none: their convention differs: average and peak"
    ]


EXAMPLE_RUN = Path(__file__).parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"


def test_several_light_light_curves_stand_in_one_figure(tmp_path: Path) -> None:
    files = [Path(shutil.copy(EXAMPLE_RUN, tmp_path / name)) for name in ("a.h5", "b.h5")]
    (drawn,) = draw_compared(files)
    assert drawn == tmp_path / "a_thresholds_compared.png"
    assert drawn.stat().st_size > 10_000
    assert draw_compared(files[:1]) == []


def test_files_of_one_sample_are_not_compared() -> None:
    assert compare(EXAMPLE_RUN, EXAMPLE_RUN) == Comparison()
