"""Plain laboratory English in what a user reads: the forms that other languages leave behind are not used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("labctl", "procedures", "drivers")
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

FORBIDDEN = {
    r"\b(?:is|are) none of\b": "invalid value 'x'; choose a or b",
    r"(?<!there )\b(?:is|are) no (?!longer|more\b)\w+": "is not a ...",
    r"\banew\b": "again",
    r"\bwh(?:o|at)ever (?:comes|wants)\b": "the next ...",
    r"\b(?:no|any|some)body\b": "say who or what",
    r"\bthe list says it all\b": "cannot be combined with ...",
    r"\bwho answered\b": "the instruments that answer",
    r"\bbeyond chance\b": "no significant ...",
    r"\bmakes? no sense\b": "is not valid",
    r"\bby hand\b": "manually, in manual mode, excluded by user",
    r"\bleft out by\b": "excluded by",
    r"\bunsteady\b": "unstable",
    r"\bfluence'?s? budget\b": "uncertainty budget",
    r"\bkink beyond\b": "no significant threshold",
    r"\bplay (?:of|between|and)\b": "backlash",
    r"\bzero of the plate\b": "angle of maximum transmission",
    r"\bsays that (?:it|the shutter) is (?:closed|open)\b": "reports closed",
    r"\ball the same\b": "anyway",
    r"\bcareful:": "warning:",
    r"\bmost are \d": "the limit is ...",
}
"""What is not written, and what to write instead."""


def _strings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield what may reach a screen: every string that is neither a docstring nor one word."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documents = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            parts = (p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
            yield node.lineno, "".join(str(part) for part in parts)
    for node in ast.walk(tree):
        known = id(node) in documents or id(node) in inner
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value and not known:
            yield node.lineno, node.value


def _lines(page: Path) -> Iterator[tuple[int, str]]:
    yield from enumerate(page.read_text(encoding="utf-8").split("\n"), 1)


def found(name: str, texts: Iterable[tuple[int, str]]) -> list[str]:
    """Return where a text holds a form that is not written, and what to write."""
    return [
        f"{name}:{line}: {hit[0]!r}, write: {better}"
        for line, text in texts
        for form, better in FORBIDDEN.items()
        if (hit := re.search(form, text, re.I))
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_messages_are_plain_english(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert [hit for f in files for hit in found(str(f.relative_to(ROOT)), _strings(f))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_plain_english(page: Path) -> None:
    assert found(page.name, _lines(page)) == []


def test_each_form_is_recognised() -> None:
    assert found(
        "a", iter([(3, "'x' is none of up, down"), (4, "told to write it anew"), (5, "is no longer")])
    ) == [
        "a:3: 'is none of', write: invalid value 'x'; choose a or b",
        "a:4: 'anew', write: again",
    ]
