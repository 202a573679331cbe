"""Questions in windows of their own that hold nothing up: no exec(), no native dialog, nothing modal to SAFE.

Each stays with the widget that asks and is shown again: it remembers its directory, and a second press
raises it instead of opening another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QFileDialog,
    QInputDialog,
    QLabel,
    QMessageBox,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

import labctl


def show(dialog: QDialog) -> None:
    """Show a dialog beside the window, or raise it."""
    dialog.setModal(False)  # a message box is born modal
    dialog.show()
    dialog.raise_()
    dialog.activateWindow()


def file_dialog(parent: QWidget, title: str, mode: QFileDialog.FileMode) -> QFileDialog:
    """Return Qt's own dialog: the system's runs a loop of its own, in which SAFE would hear nothing."""
    dialog = QFileDialog(parent, title)
    dialog.setOption(QFileDialog.Option.DontUseNativeDialog)
    dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)  # asked by the caller, who knows the ending
    dialog.setFileMode(mode)
    for view in dialog.findChildren(QAbstractItemView):
        view.setDragDropMode(QAbstractItemView.DragDropMode.NoDragDrop)  # a drag has a loop of its own
    dialog.resize(940, 520)
    for table in dialog.findChildren(QTreeView):
        table.header().resizeSection(0, 400)
    return dialog


def text_dialog(parent: QWidget, title: str, label: str, take: Callable[[str], None]) -> QInputDialog:
    """Return a dialog for one line; a line without a character is not taken."""
    dialog = QInputDialog(parent)
    dialog.setWindowTitle(title)
    dialog.setLabelText(label)
    dialog.textValueSelected.connect(lambda text: take(text.strip()) if text.strip() else None)
    return dialog


def ask_to_replace(parent: QWidget, path: Path, act: Callable[[], None]) -> None:
    """Do something that replaces a file, once somebody has agreed to that; at once where there is none."""
    if not path.exists():
        act()
        return
    ask(parent, "Replace the file?", f"{path} exists.", ("Replace it", "Cancel"), act)


def ask(
    parent: QWidget, title: str, text: str, words: tuple[str, str], act: Callable[[], None]
) -> QMessageBox:
    """Ask beside the window, and do something once somebody has agreed.

    :param words: on the button that agrees, and on the other one, which is the default.
    """
    box = QMessageBox(QMessageBox.Icon.Question, title, text, QMessageBox.StandardButton.NoButton, parent)
    box.setTextFormat(Qt.TextFormat.PlainText)
    agree = box.addButton(words[0], QMessageBox.ButtonRole.AcceptRole)
    leave = box.addButton(words[1], QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(leave)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    agree.clicked.connect(lambda _checked=False: act())
    show(box)
    return box


Key = tuple[str, str, str]

BENCH_KEYS: tuple[Key, ...] = (
    (
        "Esc",
        "SAFE: close the shutter, set the lowest transmission, stop whatever is running",
        "always, even with a dialog open",
    ),
    (
        "F7",
        "close the shutter; this also ends a sweep, an alignment or a calibration",
        "always, even with a dialog open",
    ),
    ("Ctrl+.", "end the sweep, the alignment or the calibration; queued sweeps continue", "one is running"),
    ("Ctrl+Return", "start the sweep, after those that wait", "all fields are valid"),
    ("Space", "pause or continue", "a sweep is running; in a field it types a space"),
    ("Ctrl+R", "refine around the threshold", "a threshold was found"),
    ("Ctrl+Shift+R", "resume the run", "an interrupted run is selected among the runs"),
    ("F5", "free run on or off", "nothing is running"),
    ("F6", "open the shutter", "nothing is running"),
    ("F8", "take a dark", "nothing is running"),
    ("F9", "start or stop the alignment", "nothing else is running"),
    ("Ctrl+D", "confirm that the requested action is done", "the question is on the screen"),
    ("Ctrl+1, Ctrl+2, Ctrl+3, Ctrl+4", "live, alignment, calibration, runs", "always"),
    ("V", "show new exposures as they arrive", "live"),
    ("Ctrl+B", "connect or disconnect; whatever is running is ended first", "always"),
)
"""Keys of a window on a bench, what they do, and when; docs/window.md holds the same table."""

VIEW_KEYS: tuple[Key, ...] = (
    ("X", "exclude the ringed point, or include it again", "live, runs"),
    ("Ctrl+Z, Ctrl+Y", "undo, redo", "always; in a field: its text"),
    ("Left, Right", "previous, next point by fluence", "live, runs; in a field: the cursor"),
    ("L, W, K", "log axes, FWHM axis, cross-checks", "live, runs"),
    ("D, G, P", "dark off, ghosts, peaks", "live, runs"),
    ("C, T, A", "log colours, waterfall by time, see all", "live, runs"),
    ("Ctrl+O, Ctrl+E, Ctrl+W", "open, export, close a run", "always"),
    ("Ctrl+Q", "quit: the bench is made safe", "always"),
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
