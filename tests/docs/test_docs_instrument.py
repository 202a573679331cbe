"""docs/own-instrument.md, followed to the letter: its files are built, installed and used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.build import build_wheel
from patience import PATIENCE_S

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-instrument.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every file of the page and install them, with their entry points, into a folder of their own."""
    folder = tmp_path_factory.mktemp("acme")
    source, installed = folder / "acme-labctl", folder / "installed"
    text = PAGE.read_text(encoding="utf-8")
    for name, body in re.findall(r"^```\w+\n# (\S+\.(?:py|toml))\n(.*?)^```$", text, re.M | re.S):
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(body, encoding="utf-8")
    (source / "acme_labctl" / "__init__.py").touch()
    before = Path.cwd()
    os.chdir(source)
    try:
        wheel = folder / build_wheel(str(folder))
    finally:
        os.chdir(before)
    zipfile.ZipFile(wheel).extractall(installed)
    return folder


def python(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(package / "installed"), str(PAGE.parents[1])))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=package, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def test_its_own_tests_pass(package: Path) -> None:
    arguments = ("-q", "-p", "no:cacheprovider", str(package / "acme-labctl" / "tests"))
    done = python(package, "-m", "pytest", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_bench_with_it_is_served_checked_and_lit(package: Path) -> None:
    path = os.pathsep.join((str(package / "installed"), str(PAGE.parents[1])))
    with subprocess.Popen(
        [sys.executable, "-m", "acme_labctl.serve", "sim.toml"],
        cwd=package, env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as serving:  # fmt: skip
        try:
            assert serving.stdout is not None
            assert serving.stdout.readline().startswith("serving")
            checked = python(package, "-m", "labctl", "check", "--bench", "sim.toml")
            assert checked.returncode == 0, checked.stderr
            assert re.search(
                r"^ok +shutter \(acme-bs1, .*\): ACME BS1 0001 1.0; closed$", checked.stdout, re.M
            )
            command = ("set", "--bench", "sim.toml", "--fluence", "40", "--open", "--for", "5")
            lit = python(package, "-m", "labctl", *command)
            assert lit.returncode == 0, lit.stderr
            assert "shutter open" in lit.stdout
            assert "finished: the shutter is closed" in lit.stdout + lit.stderr
            text = (package / "sim.toml").read_text(encoding="utf-8")
            (package / "typo.toml").write_text(text.replace("acme-bs1", "acme-bs2"), encoding="utf-8")
            typo = python(package, "-m", "labctl", "check", "--bench", "typo.toml")
            assert typo.returncode == 2
            assert "did you mean 'acme-bs1'?" in typo.stderr
        finally:
            assert serving.stdin is not None
            serving.stdin.close()
