"""A fluence and a signal are found in anybody's table, or the file is refused with the reason."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from data_runs import finished_run, make_point
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labctl.data import schema
from labctl.data.tables.cells import MOST_ROWS
from labctl.data.tables.choosing import Asked
from labctl.data.tables.table import Table, read_table
from labctl.model.errors import DataError


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return finished_run(tmp_path)


TABLES: dict[str, tuple[str, list[float], list[float]]] = {
    "header": ("Fluence (uJ/cm^2),Signal\n1,10\n2,20\n", [1, 2], [10, 20]),
    "no header": ("1,10\n2,20\n", [1, 2], [10, 20]),
    "order": ("intensity;power;fluence\n10;7;1\n20;7;2\n", [1, 2], [10, 20]),
    "decimal comma": ("Fluence;Signal\n1,5;10,25\n2,5;20\n", [1.5, 2.5], [10.25, 20]),
    "decimal comma, tab": ("1,5\t10,25\n2,5\t20,5\n", [1.5, 2.5], [10.25, 20.5]),
    "decimal comma, blanks": ("1,5 10,25\n2,5 20,5\n", [1.5, 2.5], [10.25, 20.5]),
    "whitespace": ("  1.5   10\n  2e0   -20\n", [1.5, 2], [10, -20]),
    "comments and blanks": ("# by hand\n% so\n\n1 10\n\n2 20\n", [1, 2], [10, 20]),
    "mark and CRLF": ("\ufefffluence,signal\r\n1,10\r\n2,20\r\n", [1, 2], [10, 20]),
    "unit": ("Fluence (mJ/cm2),counts\n1,10\n2,20\n", [1000, 2000], [10, 20]),
    "per square metre": ("energy density / J/m^2\tcounts\n1\t10\n2\t20\n", [100, 200], [10, 20]),
    "quotes": ('"fluence, peak","signal"\n"1","10"\n"2","20"\n', [1, 2], [10, 20]),
    "text column": ("name,fluence,signal\na,1,10\nb,2,20\n", [1, 2], [10, 20]),
    "unnamed": ("a,b\n1,10\n2,20\n", [1, 2], [10, 20]),
    "preamble": ("Spectrometer: FX\nDate: 2024-03-01\n\nsignal,fluence\n10,1\n20,2\n", [1, 2], [10, 20]),
    "units below": ("fluence,signal\nmJ/cm2,counts\n1,10\n2,20\n", [1000, 2000], [10, 20]),
    "thousands": ("fluence;signal\n1;1,010.50\n2;20.25\n", [1, 2], [1010.5, 20.25]),
    "no end of line": ("1,10\n2,20", [1, 2], [10, 20]),
}


def table_of(directory: Path, text: str | bytes) -> Table:
    path = directory / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_the_world(tmp_path: Path, name: str) -> None:
    text, fluence, signal = TABLES[name]
    table = table_of(tmp_path, text)
    assert table.fluence_uj_cm2.tolist() == pytest.approx(fluence, rel=1e-12)
    assert table.signal.tolist() == signal


def test_columns_taken_are_named(tmp_path: Path) -> None:
    table = table_of(tmp_path, "signal error,signal,peak fluence (uJ/cm^2)\n1,10,5\n2,20,6\n")
    assert table.taken == ("peak fluence (uJ/cm^2)", "signal", "signal error")
    assert table.convention == "peak"
    assert table.signal_sigma is not None
    assert table.signal_sigma.tolist() == [1, 2]


def test_cells_that_are_no_numbers_stay_in_their_row(tmp_path: Path) -> None:
    table = table_of(tmp_path, "fluence,signal\n1,10\n2,\n3,n/a\n4,40\n5,50\n6,inf\n")
    assert np.array_equal(table.signal[:5], [10, np.nan, np.nan, 40, 50], equal_nan=True)
    assert table.fluence_uj_cm2.tolist() == [1, 2, 3, 4, 5, 6]


def test_columns_are_named_by_the_line_above_the_numbers(tmp_path: Path) -> None:
    table = table_of(tmp_path, "by hand, in May\nfluence;signal\nuJ/cm2;\n1;10\n2;20\n")
    assert table.taken == ("fluence (uJ/cm2)", "signal")
    absent = table_of(tmp_path, "fluence,signal\nNaN,NaN\n1,10\n2,20\n")
    assert absent.taken == ("fluence", "signal")
    assert absent.signal.size == 3


def test_utf16_from_a_spreadsheet(tmp_path: Path) -> None:
    assert table_of(tmp_path, "fluence\tsignal\n1\t10\n2\t20\n".encode("utf-16")).signal.tolist() == [10, 20]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"# only a comment\n", "no rows"),
        (b"\x00\x01\x02\xff" * 50, "binary"),
        (b"fluence,signal\n", r"0 numeric column"),
        (b"fluence\n1\n2\n", r"1 numeric column"),
        (b"name,signal\na,1\nb,2\n", r"1 numeric column"),
        (b"fluence,signal\n" + b"1" * 200_000 + b",2\n", "has a row of"),
        (b"fluence,signal\n" + b"1,2\n" * MOST_ROWS, "has 200001 rows, more than 200000"),
        (b"some prose, of a letter\nand more of it\n", r"0 numeric column"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        table_of(tmp_path, content)
    assert caught.value.exit_code == 5


def test_missing_and_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_table(path)


def test_a_run_file_is_a_table(finished: Path) -> None:
    table = read_table(finished)
    assert table.fluence_uj_cm2.tolist() == [20.0 + i for i in range(8)]
    assert table.convention == "peak"
    assert table.pump_sigma_rel is not None


def pymeasure_csv(rows: list[dict[str, schema.Scalar]]) -> str:
    lines = [",".join(str(row[label]) for label in schema.DATA_COLUMNS) for row in rows]
    head = (
        "#Procedure: <procedures.procedure.FluenceSweepProcedure>\n#Parameters:\n#\tSample: OLA, 2\n#Data:\n"
    )
    return head + "\n".join([",".join(schema.DATA_COLUMNS), *lines]) + "\n"


def test_the_csv_of_a_run_without_its_h5(tmp_path: Path) -> None:
    points = [make_point(index, fwhm_nm=None if index == 1 else 2.5) for index in range(3)]
    whole = pymeasure_csv([schema.row(point) for point in points])
    path = tmp_path / "run.csv"
    path.write_text(whole[:-20], encoding="utf-8")
    table = read_table(path)
    assert table.taken == (
        "Fluence (uJ/cm^2)",
        "Signal (counts per pulse)",
        "Signal error (counts per pulse)",
    )
    assert table.fluence_uj_cm2.tolist() == [20.0, 21.0]


def test_a_row_is_plain_scalars_and_survives_text() -> None:
    point = make_point(3, fwhm_nm=None, blank_number=4, flags=("a,b", "c|d", "ok"), exposure_cv=0.1 + 0.2)
    row = schema.row(point)
    assert list(row) == schema.DATA_COLUMNS
    assert {type(value) for value in row.values()} == {int, float, str}
    back = schema.fields({c.field: str(row[c.label]) for c in schema.COLUMNS})
    assert back["flags"] == ("a_b", "c_d", "ok")
    assert (back["fwhm_nm"], back["blank_number"], back["exposure_cv"]) == (None, 4, 0.1 + 0.2)


def test_pymeasure_accepts_the_columns() -> None:
    from pymeasure.experiment import Procedure

    units = Procedure.parse_columns(schema.DATA_COLUMNS)
    assert {str(unit) for unit in units.values()} >= {"nanometer", "joule", "watt", "second"}


def test_too_many_flags_are_cut_at_a_word() -> None:
    text = str(schema.row(make_point(0, flags=tuple(f"flag-number-{i}" for i in range(40))))["Flags"])
    assert len(text) <= 160
    assert text.endswith("|more")
    assert all(word.startswith("flag-number-") for word in text.split("|")[:-1])


NUMBER = st.floats(-1e12, 1e12, allow_subnormal=False).map(lambda value: float(f"{value:.9g}"))


@settings(max_examples=120, deadline=None, database=None)
@given(
    rows=st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=12),
    style=st.sampled_from(
        [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), (" ", "."), ("  ", ",")]
    ),
    header=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
@example(rows=[(1.5, 2.5)], style=(" ", ","), header=False, end="\n")
def test_any_style_reads_back(
    rows: list[tuple[float, float]], style: tuple[str, str], header: bool, end: str
) -> None:
    mark, point = style
    lines = [mark.join(repr(value).replace(".", point) for value in row) for row in rows]
    text = end.join([mark.join(["fluence", "signal"]), *lines] if header else lines) + end
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "table.csv"
        path.write_text(text, encoding="utf-8")
        try:
            table = read_table(path, Asked(x="1", y="2", unit="uJ/cm2"))
        except DataError as exc:
            if not re.search(r"is \d+ or \d+\.\d+|no row has both", exc.message):
                raise
            return  # told: nothing decides a mark, or every row is left out
    told = {one.line for one in table.left_out}
    for line, row, *read in zip(table.lines, rows, table.pump, table.signal, strict=True):
        assert read == list(row) or line in told


@settings(max_examples=200, deadline=None, database=None)
@given(st.one_of(st.binary(max_size=300), st.text("0123456789,.;\t -+eE\n#\"'infa_µ\x00", max_size=300)))
@example('"1\n2,3\n')
@example("1,2\n" + "," * 300)
def test_any_bytes_give_a_table_or_a_data_error(content: bytes | str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            table = table_of(Path(directory), content)
        except DataError:
            return
    assert table.fluence_uj_cm2.shape == table.signal.shape
    assert np.isfinite(table.fluence_uj_cm2).any()
    assert len(table.taken) in (2, 3)
