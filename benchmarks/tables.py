"""The one table printer, and what is said of many numbers at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = Sequence[float] | NDArray[np.float64] | NDArray[np.bool_]


def line(*cells: object) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*names: str) -> str:
    """Return the heading of a table, and what stands below it."""
    return f"{line(*names)}\n|{' --- |' * len(names)}"


def show(lines: Iterable[str]) -> list[str]:
    """Print lines as they come, so that a long campaign shows what it has; return them, one by one."""
    printed: list[str] = []
    for text in lines:
        print(text, flush=True)
        printed += text.strip("\n").splitlines()
    return printed


def table(names: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield a whole table, its rows as they are measured."""
    yield head(*names)
    for cells in rows:
        yield line(*cells)


def column(outcomes: Iterable[object], name: str) -> Array:
    """Return one attribute of every outcome."""
    return np.array([getattr(outcome, name) for outcome in outcomes], dtype=np.float64)


def share(truths: Numbers) -> float:
    """Return how many are true, per cent."""
    return 100 * float(np.mean(truths))


def rms(errors: Numbers) -> float:
    """Return the root of the mean square of what is known."""
    return float(np.sqrt(np.nanmean(np.square(errors))))


def spread(values: Numbers, digits: int) -> str:
    """Say median, 95 % quantile and largest."""
    numbers = np.quantile(np.asarray(values, dtype=np.float64), (0.5, 0.95, 1.0))
    return " / ".join(f"{number:.{digits}f}" for number in numbers)
