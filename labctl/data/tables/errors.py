"""What a table leaves open, and what of it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.model.errors import DataError


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row of the file that the table does not use.

    :param line: in the file, counted from 1.
    :param why: in a few words.
    """

    line: int
    why: str


class TableUnclear(DataError):  # noqa: N818  a question, where a person can answer
    """Two readings of a table are possible, and an option decides.

    :param path: the file.
    :param message: what is unclear.
    :param option: that decides: "x", "y", "sigma" or "unit".
    :param answers: what may be given for it, likeliest first; empty where it is free text.
    """

    def __init__(self, path: Path, message: str, option: str, answers: Sequence[str] = ()) -> None:
        listed = f", e.g. --{option} {_quoted(answers[0])}" if answers else ""
        super().__init__(f"{path}: {message}", f"say which with --{option}{listed}")
        self.path, self.question, self.option, self.answers = path, message, option, tuple(answers)


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text or "(" in text else text
