"""What the campaigns' fixed parts share: the cells of benchmarks/, judged by the truth."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(scope="module")
def cells() -> Any:
    """Return the module that runs and judges one cell."""
    sys.path.insert(0, BENCHMARKS)
    try:
        return importlib.import_module("fault_cells")
    finally:
        sys.path.remove(BENCHMARKS)
