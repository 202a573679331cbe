"""A driver package as pip leaves it: a module and its metadata in a folder of the import path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def install(folder: Path, name: str, source: str, keys: dict[str, str]) -> None:
    """Write a package.

    :param name: of its module, and of the distribution.
    :param keys: name of each entry point of ``labctl.drivers``, and the object of the module.
    """
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    entries = "".join(f"{key} = {name}:{item}\n" for key, item in keys.items())
    (info / "entry_points.txt").write_text(f"[labctl.drivers]\n{entries}", encoding="utf-8")


def put_on_the_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it found in this process and in those that are started from it."""
    monkeypatch.syspath_prepend(folder)
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), known))))
    for name in [path.stem for path in folder.glob("*.py")]:
        monkeypatch.delitem(sys.modules, name, raising=False)
