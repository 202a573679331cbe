"""The notebook: it runs as it stands, and what it shows is what it prints today."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((DOCS / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))
    return notebook


@pytest.fixture(scope="module")
def executed(stored: dict[str, Any]) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("execute_notebook", DOCS / "execute_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    done: dict[str, Any] = module.executed(stored, speed=100.0)
    return done


def said(notebook: dict[str, Any]) -> list[str]:
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return ["".join(output["text"]) for output in outputs if "text" in output]


def drawn(notebook: dict[str, Any]) -> int:
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_every_cell_runs_and_has_its_outputs_stored(stored: dict[str, Any], executed: dict[str, Any]) -> None:
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in code)
    assert drawn(stored) == drawn(executed) == 1
    measured, *read = said(stored)
    measured_now, *read_now = said(executed)
    assert read == read_now, "python docs/execute_notebook.py stores them anew"  # of a stored run
    assert measured.count("counts per pulse") == measured_now.count("counts per pulse") == 22
    assert "threshold 79." in read[-1]
