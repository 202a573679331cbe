"""Texts that others wrote, shown by Qt: never taken for markup, and nothing in them hides.

Qt takes any text that looks like HTML for HTML, in labels, tool tips and message boxes alike.
"""

from __future__ import annotations

import html

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QWidget

from labctl.model.untrusted import printable


class PlainLabel(QLabel):
    """A label that shows its text as it is, with its lines."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802
        """Show a text, printable."""
        super().setText(plain(text))


def plain(text: object) -> str:
    """Return a text of several lines that shows all it holds, for what takes no markup."""
    return printable(text, keep="\n")


def rich(text: object) -> str:
    """Return a text as a piece of Qt's rich text."""
    return html.escape(plain(text)).replace("\n", "<br>")


def tool_tip(text: object) -> str:
    """Return a text as a tool tip: as it is, or escaped where Qt would read markup."""
    shown = plain(text)
    return f"<qt>{rich(shown)}</qt>" if "<" in shown or "&" in shown else shown
