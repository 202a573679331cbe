"""Every page leads on, and no link of a page leads nowhere, on the site or in the folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"})
PLACES = "labctl|drivers|procedures|simulators|benchmarks|tests|docs"
FILE = re.compile(rf"\b((?:{PLACES})/[\w/.-]*\.(?:py|md|ipynb|toml))\b")
BLOCK = re.compile(r"^```.*?^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_what_comes_next(page: Path) -> None:
    if page.parent == ROOT or page.parent.name == "adr":
        return
    assert re.search(r"^(Next: |Back to )\[", page.read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_file_of_the_tree_that_a_page_names_is_there(page: Path) -> None:
    named = FILE.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
    assert sorted({name for name in named if not (ROOT / name).exists()}) == []
