"""What every test needs: no screen, plots that draw into memory, and inputs that are the same every time.

The fixed parts of the campaigns in benchmarks/ find their cells here.

Chance looks for new inputs in benchmarks/fuzz.py, not in the tests: they are never red for another reason
than the change they test, nor because a computer is slow.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture(scope="module")
def cells() -> Any:
    """Return the module that runs and judges one cell of the campaigns."""
    sys.path.insert(0, BENCHMARKS)
    try:
        return importlib.import_module("fault_cells")
    finally:
        sys.path.remove(BENCHMARKS)
