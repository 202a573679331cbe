"""Which columns are taken, and what is asked rather than guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from table_text import PUMP, SIGNAL, rows, table_of

from labctl.data.tables.choosing import Asked
from labctl.data.tables.errors import TableUnclear
from labctl.model.errors import ConfigError, DataError

ONES, COUNT = np.ones(PUMP.size), np.arange(1.0, PUMP.size + 1)
COLUMNS = {
    "P": PUMP, "S": SIGNAL, "1": ONES, "n": COUNT, "0": COUNT - 1, "p": PUMP * 0.01,
    "s": SIGNAL * 0.02, "2": 2 * ONES,
    "E": PUMP / 10, "Q": PUMP**1.1, "T": SIGNAL * 2, "L": np.log10(PUMP), "M": np.log10(SIGNAL),
    "u": SIGNAL * 0.03,
}  # fmt: skip


def text_of(head: str, letters: str) -> str:
    body = "\n".join(rows(*(list(COLUMNS[letter]) for letter in letters), mark="\t"))
    return f"{head}\n{body}\n" if head else f"{body}\n"


TAKEN = {
    "Set power (mW)|Measured power (mW)|PL": ("QPS", "Measured power (mW)", "PL"),
    "Fluence set|Fluence meas|Signal": ("QPS", "Fluence meas", "Signal"),
    "Setpoint|Signal": ("PS", "Setpoint", "Signal"),
    "Pulse energy (nJ)|Fluence (uJ/cm2)|Emission": ("EPS", "Fluence (uJ/cm2)", "Emission"),
    "Fluence|Dark signal|Signal": ("P1S", "Fluence", "Signal"),
    "pump|background|counts": ("P1S", "pump", "counts"),
    "Fluence|FWHM (nm)|PL": ("P1S", "Fluence", "PL"),
    "No.|Pump (uJ/cm2)|PL": ("nPS", "Pump (uJ/cm2)", "PL"),
    "Unnamed: 0|Pump energy (nJ)|PL": ("0PS", "Pump energy (nJ)", "PL"),
    "Time (s)|Fluence|PL": ("nPS", "Fluence", "PL"),
    "Peak wavelength (nm)|Fluence|PL": ("1PS", "Fluence", "PL"),
    "T (K)|Pump (uJ/cm2)|PL": ("1PS", "Pump (uJ/cm2)", "PL"),
    "Pump|PL|Reference diode (V)": ("PSE", "Pump", "PL"),
    "Pump intensity (kW/cm2)|PL intensity": ("PS", "Pump intensity (kW/cm2)", "PL intensity"),
    "PL intensity|Pump intensity (kW/cm2)": ("SP", "Pump intensity (kW/cm2)", "PL intensity"),
    "Input energy (mJ)|Output energy (uJ)": ("PS", "Input energy (mJ)", "Output energy (uJ)"),
    "Drive current (A)|Optical power (W)": ("PS", "Drive current (A)", "Optical power (W)"),
    "I / A|P / W": ("PS", "I / A", "P / W"),
    "Laser (mW)|Spectrometer": ("PS", "Laser (mW)", "Spectrometer"),
    "Pin|Pout": ("PS", "Pin", "Pout"),
    "I0|I": ("PS", "I0", "I"),
    "P_exc[uW]|I[a.u.]": ("PS", "P_exc[uW]", "I[a.u.]"),
    "Messpunkt|Anregungsleistung [mW]|Emissionsintensität [w. E.]": (
        "nPS", "Anregungsleistung [mW]", "Emissionsintensität [w. E.]",
    ),
    "N°|Énergie par impulsion (µJ)|Aire sous la courbe (u.a.)": (
        "nPS", "Énergie par impulsion (µJ)", "Aire sous la courbe (u.a.)",
    ),
    "Плотность энергии (мкДж/см²)|Сигнал": ("PS", "Плотность энергии (мкДж/см²)", "Сигнал"),
    "a|b": ("PS", "a", "b"),
    "V1|V2": ("PS", "V1", "V2"),
    "": ("nPS", "column 2", "column 3"),
    "Fluence (peak, on sample)|PL (520-550 nm)": ("PS", "Fluence (peak, on sample)", "PL (520-550 nm)"),
    "Pump|Pump-normalised PL": ("PS", "Pump", "Pump-normalised PL"),
    "Count rate (kHz)|Pump fluence (uJ/cm2)": ("SP", "Pump fluence (uJ/cm2)", "Count rate (kHz)"),
    "Fluence|PL|Fit": ("PST", "Fluence", "PL"),
}  # fmt: skip


@pytest.mark.parametrize("head", TAKEN)
def test_columns_that_are_taken(tmp_path: Path, head: str) -> None:
    letters, pump, signal = TAKEN[head]
    table = table_of(tmp_path, text_of(head.replace("|", "\t"), letters))
    assert table.taken[:2] == (pump, signal)
    assert table.signal == pytest.approx(SIGNAL)


ASKED = {
    "SMU Volt (V)|SMU Curr (A)|PD Volt (V)": ("EPS", "x", "which column is the pump"),
    "Current (mA)|Voltage (V)|Power (mW)": ("PES", "x", "which column is the pump"),
    "Power (mW)|Power (uW)": ("PS", "x", "which column is the pump"),
    "Pulse energy (nJ)|Fluence (uJ/cm2)|Emission": ("QPS", "x", "which column is the pump"),
    "Fluence A|PL A|Fluence B|PL B": ("PSPS", "x", "which column is the pump"),
    "Fluence|Sample A|Sample B": ("PST", "y", "which column is the signal"),
    "Fluence|PL TE|PL TM": ("PST", "y", "which column is the signal"),
    "Fluence|PL|ASE": ("PST", "y", "which column is the signal"),
    "Fluence|Integrated intensity|Peak intensity": ("PST", "y", "which column is the signal"),
    "Fluence|PL raw|PL corrected": ("PST", "y", "which column is the signal"),
    "Fluence|FWHM (nm)": ("P1", "y", "no column is a signal"),
    "HWP angle (deg)|PL": ("nS", "x", "no column is a pump"),
    "OD|PL": ("nS", "x", "no column is a pump"),
    "log F|log PL": ("LM", "x", "a logarithm to base 10, or the natural one"),
    "Fluence (?J/cm?)|PL": ("PS", "unit", "cannot be read"),
    "Fluence (foo/cm2)|PL": ("PS", "unit", "cannot be read"),
    "FLUENCE (MJ/CM2)|PL": ("PS", "unit", "may be meant as milli"),
    "Fluence (mJ/cm)|PL": ("PS", "unit", "is not one of a pump"),
    "Fluence|PL|err": ("PS2", "sigma", "per cent, a fraction, or"),
    "Fluence|PL|err|N": ("PSsn", "sigma", "standard deviations of single measurements, or"),
    "": ("nS", "x", "an index, or the pump"),
    " ": ("SP", "x", "runs in regular steps as a pump does"),
}
"""Two readings are possible: the option that decides, and what is said."""


@pytest.mark.parametrize("head", ASKED)
def test_what_is_not_clear_is_asked(tmp_path: Path, head: str) -> None:
    letters, option, said = ASKED[head]
    with pytest.raises(TableUnclear, match=said.replace("?", r"\?")) as caught:
        table_of(tmp_path, text_of(head.strip().replace("|", "\t"), letters))
    assert caught.value.option == option
    assert caught.value.answers
    assert f"--{option}" in caught.value.hint


ERRORS = {
    "Fluence|dF|PL|dPL": ("PpSs", SIGNAL * 0.02),
    "Fluence|±|PL|±": ("PpSs", SIGNAL * 0.02),
    "Fluence|PL|rel. error (%)": ("PS2", SIGNAL * 0.02),
    "Fluence|PL|PL SD [%]": ("PS2", SIGNAL * 0.02),
    "Fluence|PL mean|PL SD": ("PSs", SIGNAL * 0.02),
    "Fluence|PL|std|n": ("PSsn", SIGNAL * 0.02 / np.sqrt(COUNT)),
    "Fluence|PL|SEM|n": ("PSsn", SIGNAL * 0.02),
    "Fluence|PL|PL_err_upper|PL_err_lower": ("PSsu", SIGNAL * 0.025),
    "PL error|PL|Fluence": ("sSP", SIGNAL * 0.02),
}


@pytest.mark.parametrize("head", ERRORS)
def test_errors_belong_to_their_column(tmp_path: Path, head: str) -> None:
    letters, wanted = ERRORS[head]
    table = table_of(tmp_path, text_of(head.replace("|", "\t"), letters))
    assert table.signal_sigma == pytest.approx(wanted)
    assert (table.pump_sigma_rel is not None) == ("p" in letters)
    assert any(said.startswith("errors: ") for said in table.said)


def test_errors_behind_a_plus_minus_sign(tmp_path: Path) -> None:
    lines = "\n".join(f"{x} ± 0.3;{y} ± {0.02 * y:.1f}" for x, y in zip(PUMP, SIGNAL, strict=True))
    table = table_of(tmp_path, f"Fluence;PL\n{lines}\n")
    assert table.signal_sigma == pytest.approx(0.02 * SIGNAL, abs=0.051)
    assert table.pump_sigma_rel == pytest.approx(0.3 / PUMP)


LOGS = {
    "log10(F/(uJ/cm2))|log10(PL)": ("LM", NOTHING := Asked()),
    "lg F|lg PL": ("LM", NOTHING),
    "log F|log PL": ("LM", Asked(x="log F:log10", y="log PL:log10")),
}


@pytest.mark.parametrize("head", LOGS)
def test_logarithms_are_undone(tmp_path: Path, head: str) -> None:
    letters, asked = LOGS[head]
    table = table_of(tmp_path, text_of(head.replace("|", "\t"), letters), asked)
    assert table.fluence_uj_cm2 == pytest.approx(PUMP)
    assert table.signal == pytest.approx(SIGNAL)


def test_decibels_are_undone_and_said(tmp_path: Path) -> None:
    body = "\n".join(rows(list(10 * np.log10(PUMP)), list(10 * np.log10(SIGNAL))))
    table = table_of(tmp_path, f"Pump power (dBm),PL (dB)\n{body}\n")
    assert (table.quantity, table.unit) == ("power", "mW")
    assert table.pump == pytest.approx(PUMP)
    assert table.signal == pytest.approx(SIGNAL)
    assert any("dBm is converted to mW" in said for said in table.said)


@pytest.mark.parametrize("x", ["SMU Curr (A)", "smu curr", "Curr", "2"])
def test_a_column_is_named_in_full_in_part_or_by_number(tmp_path: Path, x: str) -> None:
    table = table_of(tmp_path, text_of("SMU Volt (V)\tSMU Curr (A)\tPD Volt (V)", "EPS"), Asked(x=x))
    assert table.taken == ("SMU Curr (A)", "PD Volt (V)")
    assert (table.quantity, table.unit) == ("current", "A")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(x="fluenz"), "no column is named so; the columns are 'Fluence', 'PL', 'name'"),
        (Asked(x="PL", y="PL"), "name the same column"),
        (Asked(y="name"), "holds text"),
        (Asked(x="e"), "2 columns are named so"),
    ],
)
def test_a_column_that_cannot_be_taken_is_refused(tmp_path: Path, asked: Asked, message: str) -> None:
    lines = "\n".join(f"{x:g},{y:g},film" for x, y in zip(PUMP, SIGNAL, strict=True))
    with pytest.raises(DataError, match=message):
        table_of(tmp_path, f"Fluence,PL,name\n{lines}\n", asked)


def test_a_unit_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a unit"):
        table_of(tmp_path, text_of("Fluence\tPL", "PS"), Asked(unit="banana"))


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    table = table_of(tmp_path, text_of("No\tFluence\tDark\tPL", "nP1S"))
    assert "not used: 'No' (an index), 'Dark' (a dark or a background)" in table.said
