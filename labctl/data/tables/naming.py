"""The heading of each column, from the lines above the numbers, whatever their number and order."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from labctl.data.tables.cells import Line, Sheet, splitter
from labctl.data.tables.headings import Heading, folded, heading
from labctl.data.tables.marks import is_number_like
from labctl.model.errors import DataError
from labctl.model.units import Unit, read_unit

_MOST_WORDS, _MOST_PARTITIONS = 16, 5_000
_NUMBERED = re.compile(
    r"(?i)^(?:col(?:umn)?|spalte|colonne|channel|kanal)\s*\.?\s*#?\s*(\d+|[A-D])\b\s*[:=.\-–)]*\s*(.+)$"
)
_XY = re.compile(r"(?i)^([xy])(?:[ -]?(?:axis|achse|axe|data|label|column|values?))?\s*[:=]\s*(.+)$")
_PAIRS = ("\t", ";", ",", "|")


@dataclass(frozen=True, slots=True)
class Names:
    """Headings as texts, one a column, "" where there is none.

    :param texts: of each column.
    :param line: in which they stand; None without a heading.
    """

    texts: tuple[str, ...]
    line: int | None = None


def names_of(sheet: Sheet) -> Names:
    """Name the columns by the rows of text above them, else by a comment, else by what the lines say of each.

    :raises DataError: the heading names another number of columns than the rows hold.
    """
    rows = _beside_numbers(sheet)
    if rows:
        return rows
    for comment in reversed(sheet.comments[-8:]):
        cells = _cells_of_comment(comment.text, sheet)
        if cells is not None:
            return Names(tuple(cells), comment.number)
    return _listed((*sheet.comments, *sheet.about), sheet.width) or Names(("",) * sheet.width)


def _beside_numbers(sheet: Sheet) -> Names | None:
    """Put the rows of text above the numbers together: names, units, comments."""
    wide: list[tuple[int, list[str]]] = []
    for line, cells in reversed(sheet.above):
        fitted = _fitted(sheet, list(cells), line)
        if fitted is None or (wide and sum(map(bool, fitted)) < 2):
            if wide:
                break
            continue
        if all(is_number_like(c) or not c for c in fitted) and wide:
            break
        wide.append((line, fitted))
    if not wide:
        return None
    units = [row for _, row in wide if _is_units(row)]
    named = [(line, row) for line, row in wide if not _is_units(row)]
    if not named:  # what looks like units names the columns
        return Names(tuple(wide[0][1]), wide[0][0])
    line, best = max(named, key=lambda item: (_recognised(item[1]), item[0]))
    texts = list(best)
    if units:
        texts = [_with_unit(name, unit) for name, unit in zip(best, units[0], strict=True)]
    return Names(tuple(texts), line)


def _is_units(row: Sequence[str]) -> bool:
    cells = [cell.strip("()[]{} ") for cell in row if cell.strip("()[]{}-– ")]
    return bool(cells) and all(read_unit(cell) is not None for cell in cells)


def _with_unit(name: str, unit: str) -> str:
    unit = unit.strip("()[]{} ")
    return f"{name} ({unit})" if unit and name else name or unit


def _recognised(row: Sequence[str]) -> int:
    return sum(heading(cell).role != "unknown" for cell in row if cell)


def _fitted(sheet: Sheet, cells: list[str], line: int) -> list[str] | None:
    """Return the cells of a line as one for each column; None if the line is no heading.

    :raises DataError: it names half as many columns as there are: a decimal comma is the delimiter.
    """
    width = sheet.width
    text = next((a.text for a in sheet.about if a.number == line), None)
    if text is not None:
        cells = splitter(sheet.mark)(text)
    given = len(cells)
    filled = len(cells) - sum(1 for _ in itertools.takewhile(lambda c: not c, reversed(cells)))
    if filled < 2 and width > 1 and sheet.mark and not _is_units(cells):
        return None
    if not sheet.mark:
        return _by_blanks(text or " ".join(cells), sheet)
    cells = cells[:filled]
    if len(cells) > width:
        cells = _joined_units(_closed(cells, sheet.mark))
    if (
        given == len(cells) == width - 1
        and _counts_up(sheet.columns[0])
        and not _counts_up(sheet.columns[-1])
    ):
        cells = ["", *cells]
    if 2 * len(cells) == width and sheet.mark == "," and len(cells) > 1 and _recognised(cells) > 1:
        raise DataError(
            f"{sheet.path}, line {line}: {len(cells)} columns are named, and the rows hold {width} numbers: "
            "a decimal comma is also the delimiter",
            'save with ";" or tabs between columns',
        )
    if len(cells) > width:
        first, last = cells[:width], cells[-width:]
        return None if len(cells) > 2 * width else max(first, last, key=_recognised)  # of equals the first
    return cells + [""] * (width - len(cells))


def _closed(cells: Sequence[str], mark: str) -> list[str]:
    """Join what a delimiter inside of brackets has cut apart: "Fluence (peak", "on the sample)"."""
    found: list[str] = []
    for cell in cells:
        if found and found[-1].count("(") + found[-1].count("[") > found[-1].count(")") + found[-1].count(
            "]"
        ):
            found[-1] += f"{mark} {cell}"
        else:
            found.append(cell)
    return found


def _joined_units(cells: Sequence[str]) -> list[str]:
    """Join "Fluence", "uJ/cm2" to one, where a heading has commas of its own."""
    found: list[str] = []
    for cell in cells:
        unit = read_unit(cell.strip("()[] "))
        if found and unit is not None and not heading(cell).words and heading(found[-1]).unit is None:
            found[-1] = f"{found[-1]} ({cell.strip('()[] ')})"
        else:
            found.append(cell)
    return found


def _counts_up(column: Sequence[str]) -> bool:
    """Whether a column counts its rows, from 0 or 1."""
    try:
        numbers = [int(cell) for cell in column]
    except ValueError:
        return False
    return (
        len(numbers) > 1
        and numbers[0] in (0, 1)
        and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    )


def _cells_of_comment(text: str, sheet: Sheet) -> list[str] | None:
    """Return a comment as a heading, by the file's delimiter or another; None if it is none."""
    for mark in dict.fromkeys((sheet.mark or "\t", *_PAIRS)):
        if mark not in text:
            continue
        cells = splitter(mark)(text)
        if len(cells) != sheet.width:
            cells = _joined_units(cells)
        if len(cells) == sheet.width and any(cells) and not _numbers_only(cells) and _plausible(cells):
            return cells
    cells = _by_blanks(text, sheet) or []
    return cells if len(cells) == sheet.width and _plausible(cells) else None


def _numbers_only(cells: Sequence[str]) -> bool:
    return all(is_number_like(cell) for cell in cells if cell)


def _plausible(cells: Sequence[str]) -> bool:
    """Whether cells name columns, and are not prose: few words each, and one of them is known."""
    known = _recognised(cells) or sum(read_unit(c.strip("()[] ")) is not None for c in cells if c)
    short = all(len(cell.split()) <= 8 for cell in cells)
    prose = len(cells) == 2 and all(cells) and ":" in cells[0]
    return short and not prose and (known > 0 or all(0 < len(c) <= 12 for c in cells))


# --- headings between blanks -----------------------------------------------------------------------


def _by_blanks(text: str, sheet: Sheet) -> list[str] | None:
    """Cut a heading whose columns blanks set apart: by wide gaps, else into the parts that say most."""
    width = sheet.width
    for gap in (r"\t+", r"\s{2,}|\t"):
        cells = [cell for cell in re.split(gap, text.strip()) if cell]
        if len(cells) == width:
            return cells
        if len(cells) == width - 1 and len(cells) > 0 and _counts_up(sheet.columns[0]) and width > 2:
            return ["", *cells]
    words = _held_together(text)
    if len(words) == width:
        return words
    if len(words) == width - 1 and width > 2 and _counts_up(sheet.columns[0]):
        return ["", *words]
    if not width < len(words) <= _MOST_WORDS:
        return None
    return _likeliest(words, width)


def _held_together(text: str) -> list[str]:
    """Split at blanks, but not inside of brackets or quotes, nor before a bracket with a unit."""
    parts = re.findall(r'"[^"]*"|\([^()]*\)|\[[^\[\]]*\]|[^\s\[("]+(?:\([^()]*\)|\[[^\[\]]*\])?', text)
    found: list[str] = []
    for part in parts:
        clean = part.strip('"')
        continues = part[0] in "([" or part in ("/", "in")
        if found and (continues or re.search(r"(?: /| in)$", found[-1])):
            found[-1] += f" {clean}"
        else:
            found.append(clean)
    return found


def _likeliest(words: Sequence[str], width: int) -> list[str] | None:
    """Return the division of words into columns that names most of them, each by the fewest roles."""
    best, most = None, 0.0
    for cuts in itertools.islice(itertools.combinations(range(1, len(words)), width - 1), _MOST_PARTITIONS):
        ends = (0, *cuts, len(words))
        cells = [" ".join(words[a:b]) for a, b in itertools.pairwise(ends)]
        roles = {heading(cell).role for cell in cells}
        worth = sum(_worth(cell) for cell in cells) + ({"pump", "signal"} <= roles)
        if worth > most + 1e-9:
            best, most = cells, worth
    return best


def _worth(cell: str) -> float:
    found = heading(cell)
    words = folded(cell).split()
    if found.role == "unknown":
        return 0.2 if len(words) == 1 else 0.0
    inside = bool(re.search(r"[)\]]\s*\w", cell))  # a unit ends a name
    unit = 0.5 if found.unit is not None else 0.0
    return 1.0 - inside + 0.3 * found.strength + unit - 0.15 * max(len(words) - 3, 0)


# --- lines that describe columns -------------------------------------------------------------------


def _listed(lines: Sequence[Line], width: int) -> Names | None:
    """Read "Column 1: Fluence (mJ/cm2)" and "x: ...", a line a column."""
    texts = [""] * width
    at: int | None = None
    for line in lines:
        for place, text in _described(line.text):
            if 0 <= place < width and not texts[place]:
                texts[place], at = text.strip(), line.number
    return Names(tuple(texts), at) if at is not None else None


def _described(text: str) -> Iterator[tuple[int, str]]:
    for part in re.split(r"\s*[;]\s*", text.strip(' "')):
        numbered, axis = _NUMBERED.match(part), _XY.match(part)
        if numbered:
            where = numbered[1].upper()
            yield (int(where) - 1 if where.isdigit() else "ABCD".index(where)), numbered[2]
        elif axis:
            yield ("xy".index(axis[1].lower()), axis[2])


def headings_of(names: Names, units: Sequence[Unit | None]) -> list[Heading]:
    """Read the heading of every column.

    :param units: that the cells carry; None where they carry none.
    """
    return [
        replace(heading(text, unit), name=" ".join(text.split()) or f"column {at + 1}")
        for at, (text, unit) in enumerate(zip(names.texts, units, strict=True))
    ]
