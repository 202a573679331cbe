"""A table fitted: its own unit in every output, its errors, its left-out lines, many rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labctl import compare
from labctl.cli.commands.sweep import with_figures
from labctl.cli.table import print_result
from labctl.data.tables.choosing import Asked
from labctl.data.tables.errors import TableUnclear
from labctl.runner.refit import refit, spot_spread
from labctl.runner.report import RunReport, dump_json
from labctl.runner.rundata import open_file

PUMP = np.round(np.geomspace(30.0, 220.0, 14), 2)
_NOISE = np.random.default_rng(7).normal(0.0, 0.02, PUMP.size)
SIGNAL = np.round((120 + 0.02 * PUMP**2 + 60 * np.maximum(PUMP - 80, 0)) * (1 + _NOISE), 1)


def written(path: Path, head: str, *columns: np.ndarray) -> Path:
    lines = [",".join(f"{v:.12g}" for v in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def energies(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    path = tmp_path_factory.mktemp("energies") / "energies.csv"
    return refit(written(path, "Pulse energy (nJ),PL", PUMP / 10, SIGNAL))


def test_an_energy_stays_an_energy_in_number_text_and_json(
    energies: RunReport, capsys: pytest.CaptureFixture[str]
) -> None:
    threshold = energies.threshold
    assert threshold.threshold_uj_cm2 == pytest.approx(8.0, rel=0.03)
    assert (threshold.quantity, threshold.unit) == ("pulse energy", "nJ")
    text = dump_json([energies])
    assert "uj_cm2" not in text
    assert "uJ/cm2" not in text
    run = json.loads(text)["runs"][0]
    assert (run["threshold"]["unit"], run["threshold"]["quantity"]) == ("nJ", "pulse energy")
    assert run["threshold"]["convention"] is None
    assert run["result"]["threshold"]["threshold_nj"] == threshold.threshold_uj_cm2
    assert run["columns"]["names"] == ["Pulse energy (nJ)", "PL"]
    print_result([energies], as_json=False, definitions=True)
    shown = capsys.readouterr().out
    assert "onset (nJ)" in shown
    assert "uJ/cm2" not in shown
    assert "fluences" not in shown


def test_the_figure_of_a_table_is_in_its_unit(energies: RunReport, monkeypatch: pytest.MonkeyPatch) -> None:
    from labctl.runner.figures import sweep

    picture = sweep.picture_of_table("energies", energies.result)
    assert picture.fluence_label == "Pulse energy (nJ)"
    drawn = with_figures(energies).figures
    assert [path.name for path in drawn] == ["energies_threshold.png"]
    assert drawn[0].stat().st_size > 20_000
    labels = [axes.get_xlabel() for axes in sweep.threshold_figure(picture).axes]
    assert {label for label in labels if label} == {
        "Pulse energy (nJ)",
        "Threshold by each definition (nJ), 95 % interval",
    }
    assert "µJ" not in picture.verdict


def test_the_window_shows_a_table_in_its_unit(energies: RunReport) -> None:
    assert energies.csv is not None
    run = open_file(energies.csv)
    assert (run.facts.quantity, run.facts.unit_shown) == ("pulse energy", "nJ")


def test_a_fluence_without_unit_or_convention_says_so(tmp_path: Path) -> None:
    report = refit(written(tmp_path / "a.csv", "Fluence,Signal", PUMP, SIGNAL))
    assert report.threshold.unit == "uJ/cm2"
    threshold = report.to_json()["threshold"]
    assert isinstance(threshold, dict)
    assert (threshold["unit_stated"], threshold["convention"]) == (False, "not stated")
    assert any("not stated: taken as uJ/cm2" in note for note in report.notes)
    assert "fluence convention (peak or average): not stated" in report.notes


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("Peak fluence (uJ/cm2),PL", "Average fluence (uJ/cm2),PL", "their convention differs"),
        ("Fluence (uJ/cm2),PL", "Pulse energy (nJ),PL", "their pump differs"),
        ("Power (mW),PL", "Power (uW),PL", "their unit differs"),
    ],
)
def test_what_is_not_alike_is_not_compared(tmp_path: Path, first: str, second: str, said: str) -> None:
    files = [
        written(tmp_path / name, head, PUMP, SIGNAL) for name, head in (("a.csv", first), ("b.csv", second))
    ]
    ratio = compare(*files).ratios[0]
    assert ratio.status == "refused"
    assert said in ratio.reason


def test_a_ratio_of_unstated_conventions_is_marked(tmp_path: Path) -> None:
    files = [
        written(tmp_path / "a.csv", "Fluence (uJ/cm2),PL", PUMP, SIGNAL),
        written(tmp_path / "b.csv", "Fluence,PL", PUMP * 2, SIGNAL),
    ]
    ratio = compare(*files).ratios[0]
    assert ratio.status == "marked"
    assert ratio.ratio == pytest.approx(0.5, rel=1e-3)
    assert {"if their convention is the same", "if their unit is the same"} <= set(ratio.conditions)


def test_spots_of_other_units_are_not_averaged(tmp_path: Path) -> None:
    heads = ("Fluence (uJ/cm2),PL", "Pulse energy (nJ),PL", "Fluence (uJ/cm2),PL")
    runs = []
    for number, head in enumerate(heads):
        folder = tmp_path / str(number)
        folder.mkdir()
        runs.append(refit(written(folder / "film.csv", head, PUMP, SIGNAL)))
    spread = spot_spread(runs)
    assert [(one.spots, one.unit) for one in spread] == [(2, "uJ/cm2")]


def test_stated_errors_weigh_the_points(tmp_path: Path) -> None:
    signal = SIGNAL.copy()
    signal[5] *= 1.8
    sigma = 0.02 * signal
    sigma[5] = 0.8 * signal[5]
    told = refit(written(tmp_path / "a.csv", "Fluence (uJ/cm2),PL,PL error", PUMP, signal, sigma))
    untold = refit(
        written(tmp_path / "b.csv", "Fluence (uJ/cm2),PL,PL error", PUMP, signal, sigma),
        None,
        Asked(sigma="none"),
    )
    assert told.threshold.threshold_uj_cm2 == pytest.approx(80.0, rel=0.03)
    assert "outlier" not in told.threshold.flags
    assert "outlier" in untold.threshold.flags
    assert any("'PL error', absolute" in note for note in told.notes)


@pytest.mark.parametrize(("word", "size"), [("percent", 0.01), ("fraction", 1.0)])
def test_errors_that_may_be_percent_are_asked(tmp_path: Path, word: str, size: float) -> None:
    from labctl.data import read_table

    path = written(tmp_path / "a.csv", "Fluence,PL,err", PUMP, SIGNAL, np.full(PUMP.size, 2.0))
    with pytest.raises(TableUnclear, match="per cent, a fraction, or in the unit of 'PL'") as caught:
        refit(path)
    assert caught.value.option == "sigma"
    assert caught.value.answers[0] == "err:percent"
    table = read_table(path, Asked(sigma=f"err:{word}"))
    assert table.signal_sigma == pytest.approx(2.0 * size * SIGNAL)


def test_lines_that_are_left_out_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "Fluence (uJ/cm2),PL", PUMP, SIGNAL)
    path.write_text(path.read_text() + "230,OVER\n240,OVER\n250,n/a\n", encoding="utf-8")
    report = refit(path)
    (said,) = (note for note in report.notes if "skipped" in note)
    assert said.startswith("3 lines skipped: ")
    assert "lines 16, 17: PL: over-range mark 'OVER'" in said
    assert "line 18: PL: not a number: 'n/a'" in said
    assert report.columns is not None
    assert [one.line for one in report.columns.left_out] == [16, 17, 18]


def test_many_rows_are_averaged_and_said(tmp_path: Path) -> None:
    pump = np.linspace(20.0, 220.0, 3000)
    noise = np.random.default_rng(3).normal(0, 0.05, pump.size)
    signal = (120 + 0.02 * pump**2 + 60 * np.maximum(pump - 80, 0)) * (1 + noise)
    report = refit(written(tmp_path / "a.csv", "Fluence (uJ/cm2),PL", pump, signal))
    assert report.points == 3000
    assert report.threshold.threshold_uj_cm2 == pytest.approx(80.0, rel=0.02)
    assert any("3000 rows, averaged over neighbouring pumps to 48 points" in note for note in report.notes)
