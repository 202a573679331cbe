"""SAFE over menus, lists and dialogs that have grabbed mouse and keyboard, on a real X server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import PATIENCE_S

HERE = Path(__file__).resolve().parent
NEEDED = ("Xvfb", "xdotool")
INSISTS = "LABCTL_TEST_X"
"""Set where these tests must run: a skip is a failure there."""


@contextmanager
def x_server() -> Iterator[str]:
    """Start an X server that chooses a free display itself."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
        pass_fds=(write,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as told:
            yield f":{int(told.readline())}"
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


@pytest.mark.timeout(900)
def test_safe_closes_the_shutter_whatever_is_open() -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.name == "nt":
        why = f"needs {' and '.join(missing)}"
        if os.environ.get(INSISTS):
            pytest.fail(why)
        pytest.skip(why)
    with x_server() as display:
        environment = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTEST_ADDOPTS": ""}
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-n",
                "0",
                "-q",
                "-p",
                "no:cacheprovider",
                str(HERE / "on_x.py"),
            ],
            env=environment,
            cwd=HERE.parents[1],
            capture_output=True,
            text=True,
            timeout=800.0,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout
