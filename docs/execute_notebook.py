"""Run the notebook against the simulated bench, and store what its cells print and draw.

python docs/execute_notebook.py
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl

from labctl.model.clock import ScaledClock
from simulators.bench import SimulatedBench
from simulators.presets import scene

EXAMPLES = Path(__file__).parent / "examples"
NOTEBOOK = EXAMPLES / "notebook.ipynb"


def executed(notebook: dict[str, Any], speed: float) -> dict[str, Any]:
    """Run every cell, in a folder that holds what the notebook asks for; return it with its outputs.

    :param speed: of the simulated bench, times real time.
    """
    mpl.use("Agg")
    names: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, SimulatedBench(scene("ola"), ScaledClock(speed)) as bench:
        shutil.copytree(EXAMPLES / "run", Path(folder, "run"))
        Path(folder, "sim.toml").write_text(bench.bench_toml(speed), encoding="utf-8")
        before = Path.cwd()
        os.chdir(folder)
        try:
            cells = [_run(cell, names, number) for number, cell in enumerate(notebook["cells"], start=1)]
        finally:
            os.chdir(before)
    return {**notebook, "cells": cells}


def _run(cell: dict[str, Any], names: dict[str, object], number: int) -> dict[str, Any]:
    if cell["cell_type"] != "code":
        return cell
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    outputs: list[dict[str, Any]] = []
    if said.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": said.getvalue().splitlines(True)})
    for picture in _drawn():
        drawn = {"data": {"image/png": picture}, "metadata": {}, "output_type": "display_data"}
        outputs.append(drawn)
    return {**cell, "outputs": outputs}


def _drawn() -> list[str]:
    """Take every figure that a cell has left open."""
    from matplotlib import pyplot as plt

    pictures = []
    for number in plt.get_fignums():
        drawn = io.BytesIO()
        plt.figure(number).savefig(drawn, dpi=100)
        plt.close(number)
        pictures.append(base64.b64encode(drawn.getvalue()).decode("ascii"))
    return pictures


if __name__ == "__main__":
    done = executed(json.loads(NOTEBOOK.read_text(encoding="utf-8")), speed=20.0)
    NOTEBOOK.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
