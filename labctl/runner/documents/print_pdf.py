"""A report as PDF, printed by a browser that is there already: Chromium, Chrome or Edge."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labctl.model.errors import DataError

_COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_EDGE = ("microsoft-edge", "msedge")
_WINDOWS = (r"Google\Chrome\Application\chrome.exe", r"Microsoft\Edge\Application\msedge.exe")
_MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
DEADLINE_S = 120.0


def browser() -> Path | None:
    """Return a browser that prints without a window; None where there is none."""
    return next((path for path in _candidates() if path.is_file()), None)


def _candidates() -> Iterator[Path]:
    for name in (*_COMMANDS, *_EDGE):
        if (found := shutil.which(name)) is not None:
            yield Path(found)
    if sys.platform == "win32":
        homes = (os.environ.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"))
        yield from (Path(home) / program for home in homes if home for program in _WINDOWS)
    yield from map(Path, _MAC)


def arguments(profile: Path) -> list[str]:
    """Return how a browser is started without a window, and without anything of the user's.

    :param profile: an empty directory.
    """
    every = [
        "--headless=new",
        "--disable-gpu",
        "--no-first-run",
        "--disable-extensions",
        f"--user-data-dir={profile}",
    ]
    # Chromium refuses root unless told so; the page is ours, and forbids itself every address.
    root = sys.platform != "win32" and os.geteuid() == 0
    return [*every, *(["--no-sandbox"] if root else [])]


def print_pdf(page: Path, pdf: Path) -> Path:
    """Print a page into a PDF file and return its path.

    :raises DataError: no browser is there, or it printed nothing.
    """
    program = browser()
    if program is None:
        raise DataError(
            "no PDF: none of Chromium, Chrome and Edge was found", f"open {page} in a browser, and print it"
        )
    pdf.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="labctl-", ignore_cleanup_errors=True) as profile:
        command = [
            str(program), *arguments(Path(profile)), "--no-pdf-header-footer",
            f"--print-to-pdf={pdf.absolute()}", page.absolute().as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise DataError(f"no PDF: {program}: {exc}", f"open {page} in a browser, and print it") from exc
    if not pdf.is_file():
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise DataError(f"no PDF: {program.name}: {said}", f"open {page} in a browser, and print it")
    return pdf
