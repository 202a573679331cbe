"""Help: the keys at once, and the documentation beside the program where there is a working copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

import labctl
from labctl.gui.dialogs import show

Key = tuple[str, str, str]

BENCH_KEYS: tuple[Key, ...] = (
    ("Esc", "SAFE: close the shutter, take the least light, end what runs", "always, whatever is open"),
    (
        "F7",
        "close the shutter; a sweep, an alignment or a calibration is ended with it",
        "always, whatever is open",
    ),
    ("Ctrl+.", "end the sweep, the alignment or the calibration; sweeps that wait go on", "one runs"),
    ("Ctrl+Return", "queue the sweep", "no field refuses"),
    ("Space", "pause or go on", "a sweep runs; in a field it is a blank"),
    ("Ctrl+R", "refine round the threshold", "a threshold was found"),
    ("Ctrl+Shift+R", "resume the run", "an interrupted run is selected among the runs"),
    ("F5", "free run on or off", "nothing runs"),
    ("F6", "open the shutter", "nothing runs"),
    ("F8", "take a dark", "nothing runs"),
    ("F9", "start or stop the alignment", "nothing else runs"),
    ("Ctrl+D", "what was asked for is done", "the question is on the screen"),
    ("Ctrl+1, Ctrl+2, Ctrl+3, Ctrl+4", "live, alignment, calibration, runs", "always"),
    ("V", "show exposures as they come", "live"),
    ("Ctrl+B", "connect or disconnect; what runs is ended first", "always"),
)
"""Keys of a window on a bench, what they do, and when; docs/window.md holds the same table."""

VIEW_KEYS: tuple[Key, ...] = (
    ("X", "leave the ringed point out, or take it in again", "live, runs"),
    ("Ctrl+Z, Ctrl+Y", "undo, redo", "always; in a field its text"),
    ("Left, Right", "previous, next point by fluence", "live, runs; in a field the cursor"),
    ("L, W, K", "log axes, FWHM axis, cross-checks", "live, runs"),
    ("D, G, P", "dark off, ghosts, peaks", "live, runs"),
    ("C, T, A", "log colours, waterfall by time, see all", "live, runs"),
    ("Ctrl+O, Ctrl+E, Ctrl+W", "open, export, close a run", "always"),
    ("Ctrl+Q", "leave: everything is made safe", "always"),
    ("F1, Shift+F1, Ctrl+F1", "this page, troubleshooting, the keys", "always"),
)
"""Keys of every window."""


def docs_page(page: str) -> Path | None:
    """Return one page of the documentation, None where it was not installed."""
    path = Path(labctl.__file__).resolve().parents[1] / "docs" / f"{page}.md"
    return path if path.exists() else None


def show_help(parent: QWidget, page: str, keys: Sequence[Key]) -> None:
    """Open a page, or show the keys where there is none; does not block."""
    path = docs_page(page)
    if path is not None and QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
        return
    show_keys(parent, keys)


def show_keys(parent: QWidget, keys: Sequence[Key]) -> None:
    """Show what every key does, and when; does not block."""
    rows = "".join(
        f"<tr><td><b>{name}</b>&nbsp; </td><td>{does}&nbsp; </td><td>{when}</td></tr>".replace(" ", "&nbsp;")
        for name, does, when in keys
    )  # unbroken: with broken lines the box is higher than a screen
    box = QDialog(parent)  # a message box gives no more than half of the screen to its text
    box.setWindowTitle("labctl: keys")
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    QVBoxLayout(box).addWidget(QLabel(f"<table>{rows}</table>"))
    show(box)
