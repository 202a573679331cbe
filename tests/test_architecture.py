"""The shape of the house: what is installed, and that every module has its place in the order of imports."""

from __future__ import annotations

import os
import tomllib
import zipfile
from pathlib import Path

from hatchling.build import build_wheel

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"labctl", "drivers", "procedures", "simulators"}


def _layers() -> set[str]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    return {name.strip(" ()") for layer in layers for name in layer.split("|")}


def test_every_module_of_labctl_stands_in_the_layers_contract() -> None:
    modules = {
        f"labctl.{path.stem}"
        for path in (ROOT / "labctl").iterdir()
        if (path.suffix == ".py" and path.stem not in {"__init__", "__main__"})
        or (path.is_dir() and (path / "__init__.py").exists())
    }
    assert modules <= _layers()


def test_the_wheel_holds_exactly_the_four_rooms(tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        wheel = tmp_path / build_wheel(str(tmp_path))
    finally:
        os.chdir(before)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == ROOMS
    assert {f"{room}/py.typed" for room in ROOMS} <= set(names)
