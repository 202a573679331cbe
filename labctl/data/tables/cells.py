"""From text to cells: delimiter, lines above the numbers, the rows themselves, and what is no row."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from labctl.data.tables.errors import LeftOut
from labctl.data.tables.marks import is_missing, is_number_like
from labctl.model.errors import DataError

HINT = "a table needs a column of pump and a column of signal"
MOST_ROWS, MOST_COLUMNS, MOST_CELLS = 200_000, 5_000, 1_000_000
"""A light-light curve has tens of points; what is far larger would take the machine's memory."""
_LONGEST_ROW = 30 * MOST_COLUMNS
_SAMPLE = 400
_MARKS = ("\t", ";", "|", ",", "")
"""Delimiters, the likelier first where two do equally well; "" is any number of blanks and tabs."""
_COMMENT = re.compile(r"\s*(?:#|%|!|//|REM\b)+\s*")
_RULER = re.compile(r"[\s|+:=\-_*~]*[|+=\-_*~]{3}[\s|+:=\-_*~]*")
_TOP_ROWS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: its number, counted from 1, and its text."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """The cells of a table.

    :param path: the file.
    :param mark: the delimiter; "" where blanks and tabs are.
    :param above: rows of text above the numbers, as cells; each with its line. The last is the nearest.
    :param comments: lines of comment above the numbers, without their mark.
    :param about: other lines above the numbers.
    :param columns: cells of each column, one list a column, all of the same length.
    :param lines: line of each row in the file.
    :param left_out: lines among or above the rows that are none.
    """

    path: Path
    mark: str
    above: tuple[tuple[int, tuple[str, ...]], ...]
    comments: tuple[Line, ...]
    about: tuple[Line, ...]
    columns: tuple[list[str], ...]
    lines: tuple[int, ...]
    left_out: tuple[LeftOut, ...] = field(default=())

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.columns)


def read_sheet(path: Path, text: str) -> Sheet:
    """Take a text apart.

    :raises DataError: it has no rows, too many cells, or rows that do not agree.
    """
    every = _whole_lines(text)
    sep = re.fullmatch(r"(?i)\s*sep\s*=\s*(.)\s*", every[0].text) if every else None
    every = every[1:] if sep else every
    mine = [line for line in every if not _is_comment(line.text) and not _RULER.fullmatch(line.text)]
    semicolons = sum(";" in line.text.lstrip()[1:] for line in mine) * 2 > len(mine)
    if not semicolons:
        mine = [line for line in mine if not line.text.lstrip().startswith(";")]
    if not mine:
        raise DataError(f"{path} has no rows", HINT)
    if len(mine) > MOST_ROWS:
        raise DataError(f"{path} has {len(mine)} rows, more than {MOST_ROWS}", "average or bin them first")
    _refuse_too_wide(path, [line.text for line in mine])
    mark = sep[1] if sep else _delimiter(mine)
    rows = _split(mine, mark)
    turned = _transposed(rows)
    if turned is not None:
        names, columns = turned
        numbers = tuple(range(1, len(columns[0]) + 1))
        return Sheet(path, mark, ((mine[0].number, names),), (), (), columns, numbers)
    others = sorted(set(every) - set(mine), key=lambda line: line.number)
    comments = [Line(line.number, uncommented(line.text)) for line in others]
    return _arranged(path, mark, mine, rows, comments)


def splitter(mark: str) -> Callable[[str], list[str]]:
    """Return what splits one line by a delimiter; "" is blanks and tabs."""

    def split(text: str) -> list[str]:
        if not mark:
            return [cell.strip("\"'") for cell in text.split()]
        try:
            cells = next(csv.reader([text], delimiter=mark, skipinitialspace=True), [])
        except csv.Error:
            cells = text.split(mark)
        return [cell.strip().strip("\"'").strip() for cell in cells]

    return split


def uncommented(text: str) -> str:
    """Return a line without the mark of a comment."""
    return _COMMENT.sub("", text, count=1).strip()


def _is_comment(text: str) -> bool:
    return bool(_COMMENT.match(text))


def _whole_lines(text: str) -> list[Line]:
    """Return the lines that hold something; a quoted cell may go over several."""
    found: list[Line] = []
    physical = text.split("\n")
    at = 0
    while at < len(physical):
        line, number = physical[at], at + 1
        at += 1
        if line.count('"') % 2:
            end = next((n for n in range(at, min(at + 4, len(physical))) if physical[n].count('"') % 2), None)
            if end is not None:
                line = " ".join((line, *physical[at : end + 1]))
                at = end + 1
            else:
                line = line.replace('"', "")
        if line.strip().strip(",;|\t\f"):
            found.append(Line(number, line.replace("\f", " ")))
    return found


def _refuse_too_wide(path: Path, lines: Sequence[str]) -> None:
    """Count cells before anything is made of them: a million of them in one row is no light-light curve."""
    if (longest := max(map(len, lines))) > _LONGEST_ROW:
        raise DataError(f"{path} has a row of {longest} characters, more than {_LONGEST_ROW}", HINT)
    widths = [max(map(line.count, ",;\t |")) + 1 for line in lines]
    if max(widths) > MOST_COLUMNS or sum(widths) > MOST_CELLS:
        raise DataError(
            f"{path} has {len(lines)} rows of up to {max(widths)} cells, more than {MOST_COLUMNS} in a row "
            f"or {MOST_CELLS} in all",
            "keep the columns of pump and signal",
        )


def _delimiter(lines: Sequence[Line]) -> str:
    """Return the delimiter by which most rows fall into numbers, equally many in each."""
    step = max(len(lines) // _SAMPLE, 1)
    sample = [line.text for line in (*lines[:60], *lines[60::step])]

    def agreement(mark: str) -> float:
        split = splitter(mark)
        rows = [cells for cells in map(split, sample) if len(cells) > 1]
        shares = [(len(c), sum(map(is_number_like, c)), sum(map(is_missing, c))) for c in rows]
        good = [(width, (n + 0.5 * m) / width) for width, n, m in shares if n]
        if not good:
            return 0.0
        usual = Counter(width for width, _ in good).most_common(1)[0][0]
        return sum(share for width, share in good if width == usual)

    return max(_MARKS, key=agreement)  # of equals the first


def _split(lines: Sequence[Line], mark: str) -> list[list[str]]:
    """Return the cells of every line, by pandas' reader."""
    import pandas as pd

    split = splitter(mark)
    width = max(len(split(text)) for text in _widest(lines, mark))
    text = "\n".join(line.text.strip(" \r") if mark == "\t" else line.text.strip() for line in lines)
    try:
        frame = pd.read_csv(
            StringIO(text),
            sep=mark or r"\s+",
            header=None,
            names=range(width),
            index_col=False,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            engine="c",
        )
        cells: list[list[str]] = frame.to_numpy(dtype=object).tolist()
    except (ValueError, OverflowError, pd.errors.ParserError):
        cells = []
    if len(cells) != len(lines):  # quotes in strange places: line by line
        return [split(line.text) for line in lines]
    clean = str.maketrans("", "", "\"'") if not mark else None
    return [[_clean(cell, clean) for cell in row] for row in cells]


def _clean(cell: object, drop: Mapping[int, int | None] | None) -> str:
    text = cell if isinstance(cell, str) else ""
    text = text.strip()
    if drop is not None:
        return text.translate(drop)
    return text.strip('"').strip() if text[:1] in ('"', "'") else text


def _widest(lines: Sequence[Line], mark: str) -> Iterator[str]:
    """Return the lines that can hold the most cells; of those without quotes one is enough."""
    counts = [line.text.count(mark) if mark else len(line.text.split()) for line in lines]
    most = max(counts)
    plain = False
    for line, count in zip(lines, counts, strict=True):
        quoted = '"' in line.text
        if count == most and (quoted or not plain):
            plain = plain or not quoted
            yield line.text


def _transposed(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], tuple[list[str], ...]] | None:
    """A table that lies on its side: a name, then numbers, in each of a few rows."""
    filled = [list(row) for row in rows]
    for row in filled:
        while row and not row[-1]:
            row.pop()
    if not 2 <= len(filled) <= 6 or len({len(row) for row in filled}) != 1 or len(filled[0]) < 6:
        return None
    if any(is_number_like(row[0]) or not row[0] for row in filled):
        return None
    if not all(all(is_number_like(c) or is_missing(c) for c in row[1:]) for row in filled):
        return None
    return tuple(row[0] for row in filled), tuple(row[1:] for row in filled)


def _arranged(
    path: Path, mark: str, lines: Sequence[Line], rows: list[list[str]], comments: Sequence[Line]
) -> Sheet:
    """Tell rows of numbers from lines of text, and find where the table begins."""
    numeric = [[is_number_like(cell) for cell in row] for row in rows]
    usual = _usual_width(rows, numeric)
    mask = _number_columns(numeric, usual)
    kinds = [_kind(row, flags, mask) for row, flags in zip(rows, numeric, strict=True)]
    begin = _begin(path, lines, rows, kinds)
    first = next((at for at in range(begin, len(rows)) if kinds[at] == "row"), len(rows))
    left_out = [
        LeftOut(lines[at].number, "stands above the heading") for at in range(begin) if kinds[at] == "row"
    ]
    above = [(lines[at].number, tuple(_filled(rows[at]))) for at in range(first)]
    body: list[int] = []
    top = {tuple(_filled(rows[at])) for at in range(first)}
    for at in range(first, len(rows)):
        if kinds[at] == "row":
            body.append(at)
        else:
            again = tuple(_filled(rows[at])) in top
            said = "the heading again" if again else f"text: {_shortened(lines[at].text)}"
            left_out.append(LeftOut(lines[at].number, said))
    line_numbers = [lines[at].number for at in body]
    start, end = (line_numbers[0], line_numbers[-1]) if body else (0, 0)
    left_out += [
        LeftOut(c.number, "a comment that holds numbers")
        for c in comments
        if start < c.number < end and sum(map(is_number_like, splitter(mark)(c.text))) > 1
    ]
    _refuse_cut_thousands(path, mark, rows, body, line_numbers, usual)
    columns = tuple([rows[at][c] if c < len(rows[at]) else "" for at in body] for c in range(usual))
    about = tuple(lines[at] for at in range(first))
    before = tuple(c for c in comments if not body or c.number < line_numbers[0])
    return Sheet(
        path, mark, tuple(above[-_TOP_ROWS:]), before, about, columns, tuple(line_numbers), tuple(left_out)
    )


def _filled(row: Sequence[str]) -> list[str]:
    """Return a row without the empty cells at its end."""
    cells = list(row)
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _usual_width(rows: Sequence[Sequence[str]], numeric: Sequence[Sequence[bool]]) -> int:
    """Number of cells of most rows that hold two numbers or more."""
    widths = Counter(len(_filled(r)) for r, n in zip(rows, numeric, strict=True) if sum(n) > 1)
    widths = widths or Counter(len(_filled(r)) for r, n in zip(rows, numeric, strict=True) if any(n))
    return max(widths, key=lambda w: (widths[w], w)) if widths else max(map(len, rows))


def _number_columns(numeric: Sequence[Sequence[bool]], width: int) -> list[int]:
    rows = [flags for flags in numeric if sum(flags) > 1] or [flags for flags in numeric if any(flags)]
    return [c for c in range(width) if 2 * sum(len(f) > c and f[c] for f in rows) >= max(len(rows), 1)]


def _kind(row: Sequence[str], flags: Sequence[bool], mask: Sequence[int]) -> str:
    """A row of the table holds numbers, or words for none, wherever the others hold numbers."""
    own = [c for c in mask if c < len(row)]
    if not any(flags[c] for c in own):
        nothing = bool(mask) and all(is_missing(row[c]) for c in own) and any(row[c] for c in own)
        return "row" if nothing else "text"
    strange = [c for c in own if not flags[c] and not is_missing(row[c])]
    leading = bool(mask) and mask[0] in strange
    return "text" if leading or 2 * len(strange) > len(own) else "row"


def _begin(path: Path, lines: Sequence[Line], rows: Sequence[Sequence[str]], kinds: Sequence[str]) -> int:
    """Return where the heading of the table ends: behind the last line of names that most rows follow."""
    names = [
        at
        for at, row in enumerate(rows)
        if kinds[at] == "text" and sum(bool(c) and not is_number_like(c) for c in row) > 1
    ]
    total = kinds.count("row")
    begin, seen = 0, tuple[str, ...]()
    for at in names:
        before, after = kinds[:at].count("row"), kinds[at:].count("row")
        same = tuple(_filled(rows[at])) == seen
        if before < 3 and after >= max(total - before, 1):
            begin, seen = at + 1, tuple(_filled(rows[at]))
        elif before >= 3 and after >= 3 and not same and len(_filled(rows[at])) > 1 and _is_heading(rows[at]):
            raise DataError(
                f"{path} holds two tables: the second begins at line {lines[at].number} "
                f"({_shortened(lines[at].text)})",
                "save each in a file of its own",
            )
    return begin


def _is_heading(row: Sequence[str]) -> bool:
    cells = _filled(row)
    return all(not is_number_like(c) for c in cells) and all(cells)


def _refuse_cut_thousands(
    path: Path,
    mark: str,
    rows: Sequence[Sequence[str]],
    body: Sequence[int],
    lines: Sequence[int],
    usual: int,
) -> None:
    """Refuse rows that hold more numbers than there are columns: their thousands are cut apart."""
    wide = [
        (line, row[usual : len(_filled(row))])
        for line, row in zip(lines, (rows[at] for at in body), strict=True)
        if len(_filled(row)) > usual
    ]
    cut = [
        line
        for line, more in wide
        if mark in (",", "") and all(re.fullmatch(r"\d{1,3}(?:[.,]\d*)?", c) for c in more)
    ]
    if cut:
        raise DataError(
            f"{path}, line {cut[0]}: {usual + 1} numbers, where most rows hold {usual}: a mark between "
            f"thousands, or a decimal comma, looks like the delimiter",
            'save with ";" or tabs between columns, or without marks between thousands',
        )


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else f"{text[:37]}..."
