"""A start where a folder of the user's has the name of a package of labctl's: one line says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start Python in a folder, which it looks into first."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ["drivers", "procedures", "simulators"])
@pytest.mark.parametrize("file", ["{}/__init__.py", "{}.py"])
def test_a_folder_in_the_way_is_named_in_one_line(tmp_path: Path, name: str, file: str) -> None:
    mine = tmp_path / file.format(name)
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("raise SystemExit('it was run')\n")
    for command in ("init", "--help"):
        ended = started(tmp_path, "-m", "labctl", command)
        (line,) = ended.stderr.splitlines()
        there = mine.parent if mine.stem == "__init__" else mine
        assert line.startswith(f"labctl: {there} is imported instead of labctl's own {ROOT / name}")
        assert "Try: start Python in another folder, or rename the one that is in the way" in line
        assert (ended.returncode, ended.stdout) == (2, "")


def test_a_script_beside_such_a_folder_is_told_the_same(tmp_path: Path) -> None:
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers/__init__.py").touch()
    ended = started(tmp_path, "-c", "from labctl import open_bench")
    assert ended.stderr.splitlines()[-1].startswith(
        f"ImportError: {tmp_path / 'drivers'} is imported instead"
    )


def test_a_folder_without_python_in_it_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers/sc10.pdf").touch()
    ended = started(tmp_path, "-m", "labctl", "--version")
    assert (ended.returncode, ended.stderr) == (0, "")
