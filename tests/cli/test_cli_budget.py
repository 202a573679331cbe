"""``labctl budget`` and ``labctl calibrations``: what they print, and what they exit with."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from calibration_files import calibration, stored

from labctl.cli import main
from labctl.config import EXAMPLE
from labctl.data.calibrations import write_calibration
from labctl.model.mapping import record_of
from labctl.model.results.sweep import FluenceBudget
from labctl.runner.documents.budget import budget_lines

BENCH = EXAMPLE[: EXAMPLE.index("\n[calibrations]\n")]
RUN = Path(__file__).resolve().parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"
OLD = {"measured_utc": "2020-01-01T00:00:00+00:00", "valid_until_utc": "2020-02-01T00:00:00+00:00"}


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    file = tmp_path / "bench.toml"
    made = (calibration("pickoff"), calibration("spot"), calibration("energy", **OLD))
    file.write_text(BENCH + stored(tmp_path, *made), encoding="utf-8")
    return file


def test_the_budget_of_a_bench(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["budget", "--bench", str(bench)]) == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    row = {line.split("  ")[0]: line for line in lines}
    assert row["pick-off ratio"].split("  ")[-1].strip() == "pickoff-20261123-101500.json, 2026-11-23"
    assert "0.2 %" in row["pick-off ratio"]
    assert "105 um" in row["spot x"]
    assert "10 deg" in row["incidence angle"]
    assert "-0.00308 / deg" in row["incidence angle"]
    assert "bench file" in row["meter calibration"]
    parts = (0.03, 0.002, 1e-5, 0.002, 0.5 / 105, 0.4 / 95, 0.5 * math.radians(math.tan(math.radians(10))))
    assert f"{100 * math.hypot(*parts):.3g} %" in row["combined, k = 1"]
    assert f"{200 * math.hypot(*parts):.3g} %" in row["expanded, k = 2"]
    assert (
        "pulse width:  59 fs +- 3 fs at the sample (computed, energy-20200101-000000.json, 2020-01-01)"
        in text
    )
    assert "<F^2>/<F>^2 = 1.0004" in text
    assert "not stated:   meter zero, drift of the chain" in text
    assert "warning: calibrations.energy: energy-20200101-000000.json expired on 2020-02-01" in text
    assert "peak, in the centre of the spot" in text


def test_the_budget_as_json_and_at_a_fluence(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["budget", "--bench", str(bench), "--fluence", "80", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fluence_uj_cm2"] == 80.0
    assert found["file"] == str(bench.resolve())
    contributions = [term["contribution_rel"] or 0.0 for term in found["terms"]]
    assert [t["uncertainty"] for t in found["terms"] if t["source"] == "not stated"] == [None, None]
    assert found["combined_rel"] == pytest.approx(math.hypot(*contributions))
    assert found["expanded_rel"] == 2 * found["combined_rel"]


def test_an_unknown_pulse_width_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.toml"
    text = "\n".join(line for line in BENCH.splitlines() if not line.startswith("pulse_width_fs"))
    file.write_text(text, encoding="utf-8")
    assert main(["budget", "--bench", str(file)]) == 0
    said = capsys.readouterr().out
    assert "pulse width:  unknown: a two-photon threshold scales as sqrt(pulse width)" in said
    assert "pulse noise:  unknown" in said


def test_the_budget_of_a_run_that_carries_none_is_that_of_its_bench(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["budget", str(RUN), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fluence_uj_cm2"] == pytest.approx(79.81, rel=0.02)
    assert len(found["terms"]) >= 10
    assert main(["budget", str(RUN), "--fluence", "40"]) == 0
    assert "at 40 uJ/cm2" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["run.h5", "--bench", "bench.toml"]])
def test_one_source_is_wanted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["budget", *arguments]) == 2
    assert "give a run file, or --bench" in capsys.readouterr().err


def test_a_fluence_that_is_none_is_told(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["budget", "--bench", str(bench), "--fluence", "0"]) == 2
    assert "--fluence" in capsys.readouterr().err


def test_a_budget_from_a_stranger_is_printed_and_steers_nothing() -> None:
    terms = [{"name": "a", "value": "b", "note": "\x1b[2J"}, 5]
    strange = record_of(FluenceBudget, {"terms": terms, "warnings": "x", "convention": None})
    assert strange == FluenceBudget()
    assert "not stated" in " ".join(budget_lines(strange))


def test_a_directory_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_calibration(calibration("attenuator", flags=("drift",), note="new plate"), tmp_path)
    assert main(["calibrations", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for words in (
        "valid       attenuator    ",
        "attenuator-20261123-101500.json",
        "measured 2026-11-23, valid until 2126-01-01, for attenuator ELL14 11400123",
        "zero_deg 11.5 +- 0.02 deg",
        "warning: drift",
        "new plate",
    ):
        assert words in said
    write_calibration(calibration("energy", **OLD), tmp_path)
    (tmp_path / "spot-20260101-000000.json").write_text("{}")
    assert main(["calibrations", str(tmp_path), "--json"]) == 5
    listed = json.loads(capsys.readouterr().out)["calibrations"]
    assert [entry["state"] for entry in listed] == ["valid", "expired", "damaged"]
    assert "does not have the schema" in listed[2]["reason"]
    assert main(["calibrations", str(tmp_path)]) == 5
    assert "DAMAGED" in capsys.readouterr().out


def test_those_of_a_bench_are_listed_even_where_it_cannot_be_loaded(
    bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = bench.read_text().replace("[calibrations]", '[calibrations]\nspectrometer = "none.json"')
    text = text.replace("pickoff = ", "attenuator = ")
    bench.write_text(text)
    assert main(["calibrations", "--bench", str(bench), "--json"]) == 5
    listed = {Path(e["file"]).name: e for e in json.loads(capsys.readouterr().out)["calibrations"]}
    assert listed["none.json"]["state"] == "missing"
    assert listed["energy-20200101-000000.json"]["state"] == "expired"
    wrong = listed["pickoff-20261123-101500.json"]
    assert (wrong["state"], wrong["reason"]) == (
        "wrong kind",
        "the bench file uses it as a calibration of kind attenuator",
    )
    assert listed["spot-20261123-101500.json"]["state"] == "valid"


def test_an_empty_directory_and_a_missing_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrations", str(tmp_path)]) == 0
    assert "no calibrations" in capsys.readouterr().out
    assert main(["calibrations", str(tmp_path / "none")]) == 5
    assert main(["calibrations", str(tmp_path), "--bench", "bench.toml"]) == 2
