"""The library that compiled seabreeze is given in place of libusb, built with gcc when a test needs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("libusb_shim.c")
MUST = "LABCTL_TEST_USB"
"""Environment variable: a test that cannot build it fails instead of being skipped."""


def built(folder: Path) -> Path:
    """Return the shared library, built into a folder."""
    compiler, linux = shutil.which("gcc"), sys.platform.startswith("linux")
    if compiler is None or not linux:
        (pytest.fail if os.environ.get(MUST) else pytest.skip)("needs gcc on Linux")
    library = folder / "libusb_shim.so"
    flags = ("-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC")
    subprocess.run([compiler, *flags, "-o", str(library), str(SOURCE)], check=True)
    return library
