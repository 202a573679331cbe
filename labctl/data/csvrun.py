"""Read the CSV that pymeasure writes for a run, without importing what its header names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labctl.data.columns import COLUMNS
from labctl.data.textfile import read_text
from labctl.model.errors import DataError
from labctl.model.records import FloatArray


@dataclass(frozen=True, slots=True)
class CsvRun:
    """The scalar table of a run.

    :param parameters: the procedure's parameters as the header shows them, text to text.
    :param labels: the columns in the file's order; ``columns`` holds their cells, shape ``(n,)``, as text.
    """

    path: Path
    parameters: dict[str, str]
    labels: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, field: str) -> FloatArray:
        """Return a numeric field of ``SweepPoint``, shape ``(n,)``, NaN where a cell is no number.

        :raises DataError: the file has no such column.
        """
        label = next((column.label for column in COLUMNS if column.field == field), field)
        if label not in self.columns:
            raise DataError(f"{self.path} has no column {label!r}")
        return np.array([_number(cell) for cell in self.columns[label]], dtype=np.float64)


def read_csv_run(path: Path | str) -> CsvRun:
    """Read a run's CSV. A last line without its end, which a kill leaves, is left out.

    :raises DataError: missing, empty, binary, or not a CSV of pymeasure's.
    """
    path = Path(path)
    text = read_text(path)
    lines = text[: text.rfind("\n") + 1].splitlines()
    header = [line[1:] for line in lines if line.startswith("#")]
    table = [line for line in lines if line and not line.startswith("#")]
    if not header or not header[0].startswith("Procedure:") or not table:
        raise DataError(f"{path} is not the CSV of a run", "labctl fit reads other tables")
    labels = tuple(table[0].split(","))
    rows = [cells for line in table[1:] if len(cells := line.split(",")) == len(labels)]
    parameters = dict(line.strip().split(": ", 1) for line in header[1:] if ": " in line)
    columns = {label: tuple(row[number] for row in rows) for number, label in enumerate(labels)}
    return CsvRun(path, parameters, labels, columns)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
