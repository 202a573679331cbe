"""How child processes are started: they find this very labctl, and no Ctrl-C of the terminal reaches them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import labctl


def child_environment() -> dict[str, str]:
    """Return an environment in which a child finds this very labctl, installed or not."""
    root = str(Path(labctl.__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + known if known else "")}


def own_group() -> dict[str, object]:
    """Return the Popen arguments that keep the terminal's Ctrl-C from a child: labctl ends it itself."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    else:  # noqa: RET505  mypy checks only the branch of its platform
        return {"start_new_session": True}
