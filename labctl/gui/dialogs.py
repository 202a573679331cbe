"""Questions in windows of their own that hold nothing up: no exec(), no native dialog, nothing modal to SAFE.

Each stays with the widget that asks and is shown again: it remembers its directory, and a second press
raises it instead of opening another.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QFileDialog,
    QInputDialog,
    QMessageBox,
    QTreeView,
    QWidget,
)


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
    box = QMessageBox(
        QMessageBox.Icon.Question,
        "Replace the file?",
        f"{path} exists.",
        QMessageBox.StandardButton.Cancel,
        parent,
    )
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    replace = box.addButton("Replace it", QMessageBox.ButtonRole.AcceptRole)
    replace.clicked.connect(lambda _checked=False: act())
    show(box)
