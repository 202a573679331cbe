"""Where a table stands in a file, how its cells are set apart, how its numbers are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from table_text import PUMP, SIGNAL, curve, rows, table_of

from labctl.model.errors import DataError

LINES = rows(list(PUMP), list(SIGNAL))
TABBED = rows(list(PUMP), list(SIGNAL), mark="\t")
BLANKS = rows(list(PUMP), list(SIGNAL), mark="    ")
BODY, TABS, BLANK_BODY = "\n".join(LINES) + "\n", "\n".join(TABBED) + "\n", "\n".join(BLANKS) + "\n"
HEAD = "Fluence (uJ/cm2),Signal\n"


def german(value: float) -> str:
    """Write 1234.5 as "1.234,5"."""
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def pairs(write: Callable[[float, float], str]) -> str:
    """Write every point as a line."""
    return "\n".join(write(x, y) for x, y in zip(PUMP.tolist(), SIGNAL.tolist(), strict=True))


def two_units(x: float, y: float) -> str:
    return f"{x:g} uJ/cm2;{y:g}" if x < 100 else f"{x / 1000:g} mJ/cm2;{y:g}"


def counted(lines: list[str], mark: str, first: int = 0) -> str:
    return "\n".join(f"{number}{mark}{line}" for number, line in enumerate(lines, first))


def lying(*quantities: tuple[str, np.ndarray]) -> str:
    return "\n".join(",".join([name, *(f"{v:g}" for v in values)]) for name, values in quantities)


def swiss(value: float) -> str:
    return f"{value:,.1f}".replace(",", "'")


LAYOUTS: dict[str, str | bytes] = {
    "plain": HEAD + BODY,
    "no header": BODY,
    "comment header of savetxt": "# Fluence (uJ/cm2) Signal\n" + BLANK_BODY,
    "comment header with commas over blanks": "# Fluence (uJ/cm2), Signal\n" + BLANK_BODY,
    "comment lines around the header": "# measured in May\n# Fluence (uJ/cm2)\tSignal\n#\n" + TABS,
    "percent comment": "% Fluence [uJ/cm^2], PL [a.u.]\n" + BODY,
    "metadata rows with numbers": "Rep rate (Hz),1000\nSpot,12,3\n" + HEAD + BODY,
    "metadata, blank line, table": "Instrument: X\nDate: 2024-05-01\nExposures: 10\n\n" + HEAD + BODY,
    "numbers only above the heading": "1000,35\n" + HEAD + BODY,
    "units in a second row": "Fluence,Signal\nuJ/cm2,counts\n" + BODY,
    "units in brackets in a second row": "Fluence,Signal\n(uJ/cm2),(counts)\n" + BODY,
    "three rows of Origin": "Fluence\tSignal\nuJ/cm2\ta.u.\nsample 1\tsample 1\n" + TABS,
    "units above the names": "uJ/cm2,counts\nFluence,Signal\n" + BODY,
    "semicolons": HEAD.replace(",", ";") + BODY.replace(",", ";"),
    "sep line of a spreadsheet": "sep=;\n" + HEAD.replace(",", ";") + BODY.replace(",", ";"),
    "tabs": HEAD.replace(",", "\t") + TABS,
    "blanks": "Fluence   Signal\n" + BLANK_BODY,
    "names of several words between blanks": "Pump fluence   Integrated PL\n" + BLANK_BODY,
    "names of several words between single blanks": "Pump fluence (uJ/cm2) Integrated PL\n" + BLANK_BODY,
    "blanks, then tabs": "\n".join(BLANKS[:4] + TABBED[4:]) + "\n",
    "tabs, then blanks": "\n".join(TABBED[:9] + BLANKS[9:]) + "\n",
    "byte order mark": b"\xef\xbb\xbf" + (HEAD + BODY).encode(),
    "UTF-16": (HEAD + BODY).encode("utf-16"),
    "UTF-16 without mark": (HEAD + BODY).encode("utf-16-le"),
    "Latin-1": ("Fluence (µJ/cm²),Signal\n" + BODY).encode("latin-1"),
    "CRLF": (HEAD + BODY).replace("\n", "\r\n"),
    "CR": (HEAD + BODY).replace("\n", "\r"),
    "quoted": '"Fluence (uJ/cm2)","Signal"\n' + pairs(lambda x, y: f'"{x:g}","{y:g}"'),
    "a line break in a quoted heading": '"Fluence\n(uJ/cm2)","Signal"\n' + BODY,
    "a comma in an unquoted heading": "Fluence, uJ/cm2, Signal, counts\n" + BODY,
    "delimiters at the ends": HEAD.strip() + ",\n" + BODY.replace("\n", ",\n"),
    "a pipe table": "| Fluence (uJ/cm2) | Signal |\n|---|---|\n" + pairs(lambda x, y: f"| {x} | {y} |"),
    "thousands of the US": HEAD + pairs(lambda x, y: f'{x:g},"{y:,.1f}"'),
    "thousands beside hundreds, tabs": "Fluence\tCounts\n" + pairs(lambda x, y: f"{x:g}\t{y:,.1f}"),
    "German": "Fluenz (µJ/cm²);Signal\n" + pairs(lambda x, y: f"{german(x)};{german(y)}"),
    "Swiss": "Fluence;Signal\n" + pairs(lambda x, y: f"{x:g};{swiss(y)}"),
    "decimal comma between tabs": "Fluence\tSignal\n" + TABS.replace(".", ","),
    "decimal comma between blanks": "Fluence  Signal\n" + BLANK_BODY.replace(".", ","),
    "powers of ten": HEAD + pairs(lambda x, y: f"{x:.6e},{y / 1e3:.6g}x10^3"),
    "exponents of Fortran": HEAD + pairs(lambda x, y: f"{x:.6E},{y:.6E}".replace("E", "D")),
    "units in the cells": "Pump;PL\n" + pairs(lambda x, y: f"{x:g} uJ/cm2;{y:g} counts"),
    "several units in the cells": "Pump;PL\n" + pairs(two_units),
    "index of pandas": ",Fluence (uJ/cm2),Signal\n" + counted(LINES, ","),
    "index without a heading": counted(LINES, ",", 1),
    "index and blanks of to_string": "    Fluence  Signal\n" + counted(BLANKS, "   "),
    "numbered columns of pandas": ",0,1\n" + counted(LINES, ","),
    "on its side": lying(("Fluence (uJ/cm2)", PUMP), ("Signal", SIGNAL)),
    "column lines": "# Column 1: Fluence (uJ/cm2)\n# Column 2: Signal\n" + BODY,
    "x and y lines": "# x: Fluence (uJ/cm2)\n# y: PL\n" + BODY,
    "the heading repeated": HEAD + "\n".join(LINES[:7]) + "\n" + HEAD + "\n".join(LINES[7:]) + "\n",
    "a remark at the end of a row": HEAD + BODY.replace("\n", ",ok\n", 1),
    "signal first": "Signal,Fluence (uJ/cm2)\n" + "\n".join(rows(list(SIGNAL), list(PUMP))),
    "text column": "Sample,Fluence (uJ/cm2),Signal\n" + "\n".join(f"film a,{line}" for line in LINES),
    "units of the header in a line above": "Fluence unit: uJ/cm2\n\nFluence,Signal\n" + BODY,
}  # fmt: skip
"""The same fourteen points in every file."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_points(tmp_path: Path, name: str) -> None:
    table = table_of(tmp_path, LAYOUTS[name])
    order = np.argsort(table.pump)
    assert table.fluence_uj_cm2[order] == pytest.approx(PUMP, rel=1e-6)
    assert table.signal[order] == pytest.approx(SIGNAL, rel=1e-6)


def test_a_decimal_comma_that_is_also_the_delimiter_is_refused(tmp_path: Path) -> None:
    lines = pairs(lambda x, y: f"{x:.2f},{y:.1f}")
    with pytest.raises(DataError, match="decimal comma is also the delimiter"):
        table_of(tmp_path, "Fluence,Signal\n" + lines.replace(",", ";").replace(".", ",").replace(";", ","))


def test_thousands_that_cut_rows_apart_are_refused_with_their_line(tmp_path: Path) -> None:
    lines = pairs(lambda x, y: f"{x:g},{y:,.0f}")
    with pytest.raises(DataError, match=r"line \d+: 3 numbers, where most rows hold 2"):
        table_of(tmp_path, HEAD + lines)


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (["138", "950", "1.234", "9.311"], [138, 950, 1234, 9311]),
        (["0.138", "0.950", "1.234", "9.311"], [0.138, 0.95, 1.234, 9.311]),
        (["138", "950", "1,234", "9,311"], [138, 950, 1234, 9311]),
        (["3", "3.497", "18.874", "22"], [3, 3.497, 18.874, 22]),
        (["3", "3,497", "18,874", "22"], [3, 3.497, 18.874, 22]),
        (["1,234", "12,345", "123,456", "1,234,567"], [1234, 12345, 123456, 1234567]),
        (["138", "950", "1234", "9311"], [138, 950, 1234, 9311]),
        (["138,0", "950,5", "1.234,5", "9.311,25"], [138, 950.5, 1234.5, 9311.25]),
        (["138.0", "950.5", "1,234.5", "9,311.25"], [138, 950.5, 1234.5, 9311.25]),
        (["138", "950", "1 234", "9 311"], [138, 950, 1234, 9311]),
        (["138", "950", "1\u202f234", "9\u202f311"], [138, 950, 1234, 9311]),
        (["−138", "950", "1234", "9311"], [-138, 950, 1234, 9311]),
    ],
)
def test_marks_are_decided_by_the_whole_column(
    tmp_path: Path, column: list[str], wanted: list[float]
) -> None:
    lines = "\n".join(f"{x}\t{y}" for x, y in zip((10, 20, 40, 80), column, strict=True))
    assert table_of(tmp_path, f"Fluence\tSignal\n{lines}\n").signal.tolist() == wanted


def test_marks_that_nothing_decides_are_refused(tmp_path: Path) -> None:
    lines = "\n".join(f"{x}\t{y}" for x, y in zip((10, 20, 40), ("1,234", "2,345", "5,120"), strict=True))
    with pytest.raises(DataError, match=r"'1,234' is 1234 or 1\.234"):
        table_of(tmp_path, f"Fluence\tSignal\n{lines}\n")


def test_two_tables_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two tables: the second begins at line 17"):
        table_of(tmp_path, HEAD + BODY + "\nFluence (uJ/cm2),FWHM (nm)\n" + BODY)


LEFT_OUT = {
    "n/a": ("40,n/a", "Signal: not a number: 'n/a'"),
    "nothing": ("40,", "Signal: empty"),
    "9.9E+37": ("40,9.9E+37", "Signal: over-range mark '9.9E+37'"),
    "9.91e37": ("40,9.91e37", "Signal: over-range mark '9.91e37'"),
    "infinity": ("40,inf", "Signal: over-range mark 'inf'"),
    "OVER": ("40,OVER", "Signal: over-range mark 'OVER'"),
    "OL": ("40,O.L.", "Signal: over-range mark 'O.L.'"),
    "a bound": ("40,<5", "Signal: a bound, '<5'"),
    "-999": ("40,-999", "Signal: -999 stands for no number"),
    "999999": ("40,999999", "Signal: 999999 stands for no number"),
    "2147483647": ("40,2147483647", "Signal: 2147483647 is the limit of a 32-bit number"),
    "65535": ("240,65535", "Signal: 65535 is the full scale of 16 bits: clipped"),
    "below zero": ("-3,100", "Fluence (uJ/cm2): below zero"),
    "pump lost": ("nan,100", "Fluence (uJ/cm2): not a number: 'nan'"),
    "text": ("filter changed", "text: filter changed"),
    "a row in a comment": ("#40,150", "a comment that holds numbers"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_no_row_vanishes_untold(tmp_path: Path, name: str) -> None:
    line, why = LEFT_OUT[name]
    table = table_of(tmp_path, HEAD + "\n".join([*LINES[:6], line, *LINES[6:]]) + "\n")
    assert [(one.line, one.why) for one in table.left_out] == [(8, why)]
    assert table.usable == PUMP.size


def test_a_counter_that_wrapped_is_told(tmp_path: Path) -> None:
    counts = np.round(SIGNAL * 5).astype(int)
    signed = np.where(counts > 32767, counts - 65536, counts)
    assert (signed < 0).any()
    lines = "\n".join(f"{x:g},{y}" for x, y in zip(PUMP, signed, strict=True))
    table = table_of(tmp_path, HEAD + lines)
    assert {one.line for one in table.left_out} == {int(i) + 2 for i in np.flatnonzero(signed < 0)}
    assert all("16-bit number that wrapped" in one.why for one in table.left_out)


def test_an_unsigned_counter_that_wrapped_is_told(tmp_path: Path) -> None:
    counts = np.round(SIGNAL * 10).astype(int) % 65536
    lines = "\n".join(f"{x:g},{y}" for x, y in zip(PUMP, counts, strict=True))
    table = table_of(tmp_path, HEAD + lines)
    assert table.left_out
    assert all("16-bit counter that wrapped" in one.why for one in table.left_out)


def test_a_detector_that_clips_is_told(tmp_path: Path) -> None:
    table = table_of(tmp_path, curve("Fluence,Signal").replace(f"{SIGNAL[-1]:.12g}", "5000").replace(
        f"{SIGNAL[-2]:.12g}", "5000").replace(f"{SIGNAL[-3]:.12g}", "5000"))  # fmt: skip
    assert [one.line for one in table.left_out] == [13, 14, 15]
    assert all("clipped" in one.why for one in table.left_out)


@pytest.mark.parametrize(
    "text",
    [
        ">>>>>Begin Spectral Data<<<<<\n" + "\n".join(f"{500 + i}\t{100 + i % 7}" for i in range(40)),
        "Wavelength (nm),Intensity\n" + "\n".join(f"{500 + i},{100 + i % 7}" for i in range(40)),
        "Wellenlänge;Zählrate\n" + "\n".join(f"{500 + i};{100 + i % 7}" for i in range(40)),
        "Raman shift (cm-1)\tCounts\n" + "\n".join(f"{500 + i}\t{100 + i % 7}" for i in range(40)),
        "Wavelength (nm),10 uJ/cm2,20 uJ/cm2\n"
        + "\n".join(f"{500 + i},{100 + i % 7},{i}" for i in range(40)),
        "\n".join(f"{500 + 0.2 * i:.1f} {100 + 50 * np.exp(-(((i - 60) / 9) ** 2)):.2f}" for i in range(120)),
    ],
)
def test_a_spectrum_is_told_from_a_curve(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="is a spectrum, not a curve of pump against signal"):
        table_of(tmp_path, text)


def test_a_workbook_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"workbook|binary"):
        table_of(tmp_path, b"PK\x03\x04" + bytes(range(256)))
