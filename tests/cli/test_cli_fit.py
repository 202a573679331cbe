"""``labctl fit`` of tables: what it says, what it asks, what it refuses."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from labctl.cli import main

PUMP = np.round(np.geomspace(30.0, 220.0, 14), 2)
_NOISE = np.random.default_rng(7).normal(0.0, 0.02, PUMP.size)
SIGNAL = np.round((120 + 0.02 * PUMP**2 + 60 * np.maximum(PUMP - 80, 0)) * (1 + _NOISE), 1)
VOLTS = np.linspace(1.4, 1.66, PUMP.size)


def written(path: Path, head: str, *columns: np.ndarray) -> str:
    lines = [",".join(f"{v:.12g}" for v in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def diode(tmp_path: Path) -> str:
    return written(tmp_path / "diode.csv", "SMU Volt (V),SMU Curr (mA),PD Volt (V)", VOLTS, PUMP, SIGNAL)


def test_columns_are_named_with_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(
        tmp_path / "a.csv", "No,Fluence (mJ/cm2),FWHM (nm),PL", PUMP * 0 + 1, PUMP / 1e3, PUMP, SIGNAL
    )
    assert main(["fit", file]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "pump: 'Fluence (mJ/cm2)' (line 1), a fluence by its name and unit; converted from mJ/cm2" in shown
    assert "signal: 'PL', a signal by its name" in shown
    assert "not used: 'No' (an index)" in shown
    assert "convention not stated" in shown


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_two_readings_are_refused_with_the_option(
    diode: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", diode, *more]) == 5
    said = capsys.readouterr()
    assert "which column is the pump? 'SMU Volt (V)' or 'SMU Curr (mA)'" in said.err
    assert "--x" in said.err
    assert not said.out


def test_options_name_the_columns(diode: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", diode, "--x", "curr", "--y", "3", "--photon-order", "2", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["runs"][0]
    assert run["columns"]["names"] == ["SMU Curr (mA)", "PD Volt (V)"]
    assert run["threshold"]["unit"] == "mA"
    assert run["threshold"]["value"] == pytest.approx(80.0, rel=0.03)


def test_the_unit_option_converts_and_states_the_convention(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "a.csv", "Fluence,PL", PUMP / 1e3, SIGNAL)
    assert main(["fit", file, "--unit", "mJ/cm2, peak", "--json"]) == 0
    threshold = json.loads(capsys.readouterr().out)["runs"][0]["threshold"]
    assert threshold["value"] == pytest.approx(80.0, rel=0.03)
    assert (threshold["convention"], threshold["unit_stated"]) == ("peak", True)
    assert main(["fit", file, "--unit", "parsec/fortnight"]) == 2
    assert "is not a unit" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--x", "--y", "--sigma"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    diode: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", diode, option, "fluence"]) == 5
    said = capsys.readouterr().err
    assert f"{option} 'fluence': no column is named so; the columns are 'SMU Volt (V)'" in said


@pytest.mark.parametrize("typed", ["2\n", "SMU Curr (mA)\n"])
def test_a_terminal_is_asked(
    diode: str, typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["fit", diode]) == 0
    said = capsys.readouterr()
    assert "1  SMU Volt (V)" in said.err
    assert "--x 'SMU Curr (mA)' answers this without a question" in said.err
    assert "onset (mA)" in said.out


def test_an_empty_answer_cancels(
    diode: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["fit", diode]) == 130
    assert not capsys.readouterr().out


def test_a_spectrum_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nm = np.linspace(500, 560, 61)
    file = written(
        tmp_path / "s.csv", "Wavelength (nm),Counts", nm, 100 + 50 * np.exp(-(((nm - 530) / 9) ** 2))
    )
    assert main(["fit", file]) == 5
    assert "is a spectrum, not a curve of pump against signal" in capsys.readouterr().err
