"""Help: the keys at once, and the documentation beside the program where there is a working copy."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QMessageBox, QWidget

import labctl

KEYS = (
    ("Esc", "SAFE: close the shutter at once, attenuator to its minimum, stop what runs"),
    ("Ctrl+Return", "put the sweep into the queue and start it"),
    ("Space", "pause, or go on"),
    ("Ctrl+.", "abort the run or the alignment"),
    ("F5", "free-running spectra on or off"),
    ("F6 / F7", "open / close the shutter"),
    ("F8", "take a dark"),
    ("F9", "start the alignment"),
    ("Ctrl+1 … Ctrl+4", "pages: live, alignment, calibration, runs"),
    ("Ctrl+D", "calibration: what was asked for is done"),
    ("Ctrl+Shift+R", "measure the rest of an interrupted run"),
    ("X", "leave the ringed point out, or take it in again"),
    ("Ctrl+Z / Ctrl+Y", "undo / redo"),
    ("← / →", "previous / next point by fluence"),
    ("L, W, K", "log axes, FWHM axis, cross-checks"),
    ("D, G, P", "dark off, ghosts, peaks"),
    ("C, T, A", "waterfall: log colours, by time; see all"),
    ("Ctrl+O, Ctrl+E", "open runs, export"),
)


def docs_page(page: str) -> Path | None:
    """Return one page of the documentation, None where it was not installed."""
    path = Path(labctl.__file__).resolve().parents[1] / "docs" / f"{page}.md"
    return path if path.exists() else None


def show_help(parent: QWidget, page: str) -> None:
    """Open a page, or show the keys where there is none; does not block."""
    path = docs_page(page)
    if path is not None and QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
        return
    show_keys(parent)


def show_keys(parent: QWidget) -> None:
    """Show what every key does; does not block."""
    rows = "".join(f"<tr><td><b>{keys}</b>&nbsp;&nbsp;</td><td>{what}</td></tr>" for keys, what in KEYS)
    box = QMessageBox(QMessageBox.Icon.NoIcon, "labctl: keys", f"<table>{rows}</table>", parent=parent)
    box.setModal(False)
    box.show()
