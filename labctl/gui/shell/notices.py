"""The line below the pages: the last message, and errors until somebody acknowledges them.

A message that needs more room than the line has lies over the pages; it moves nothing, and is never cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QWidget

from labctl.gui.base import theme
from labctl.gui.base.benchstate import danger
from labctl.gui.base.fields import PlainLabel

SAID_MS = 12_000
HEIGHT_PX = 34
MOST_OF_WINDOW = 0.6


class Notices(QWidget):
    """A line of fixed height; the sheet over it grows upwards as it must.

    :param window: over the whole width of which the sheet lies.
    :ivar danger: that the beam is to be blocked by hand, and why; empty where nobody has to.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setFixedHeight(HEIGHT_PX)
        self._window = window
        self._lost: Mapping[str, str] = {}
        self._read: set[str] = set()
        self.danger = ""
        self.standing: list[str] = []
        self._passing = ""
        self._hush = QTimer(self)
        self._hush.setSingleShot(True)
        self._hush.timeout.connect(self._pass)
        self.sheet = _Sheet(window)
        self.message = PlainLabel()
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.log_button = QPushButton("Log")
        self.log_button.setCheckable(True)
        self.log_button.setToolTip("Every message so far, with its time and level")
        self.acknowledge_button = QPushButton("Acknowledge")
        self.acknowledge_button.setToolTip("I have read this")
        for button in (self.log_button, self.acknowledge_button):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.acknowledge_button.clicked.connect(self.acknowledge)
        self.sheet.clicked.connect(self.acknowledge)
        self._room = QScrollArea()
        self._room.setWidgetResizable(True)
        self._room.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._room.setStyleSheet("QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; }")
        self._room.setWidget(self.message)
        row = QHBoxLayout(self.sheet)
        row.setContentsMargins(12, 2, 12, 2)
        row.setSpacing(12)
        row.addWidget(self._room, 1)
        row.addWidget(self.acknowledge_button, 0, Qt.AlignmentFlag.AlignBottom)
        row.addWidget(self.log_button, 0, Qt.AlignmentFlag.AlignBottom)
        window.installEventFilter(self)
        self.installEventFilter(self)
        self._show()

    # --- what is said ------------------------------------------------------------------------------

    def say(self, text: str, wrong: bool = False) -> None:
        """Say something; what is wrong stays until it is acknowledged."""
        if wrong:
            if not any(text in line for line in self.standing):
                self.standing.append(f"{text}  [{datetime.now().astimezone():%H:%M:%S}]")
            self._passing = ""
        else:
            self._passing = text
            self._hush.start(SAID_MS)
        self._show()

    def set_lost(self, lost: Mapping[str, str]) -> None:
        """Take in which instruments do not answer; the danger of it stands until acknowledged."""
        if lost != self._lost:
            self._lost = dict(lost)
            self._read &= set(lost)
            self._show()

    def acknowledge(self) -> None:
        """Everything was read: nothing of it stands any more, but for what is still so."""
        self.standing.clear()
        self.danger, self._read = "", set(self._lost)
        self._show()

    def _pass(self) -> None:
        self._passing = ""
        self._show()

    # --- how it is shown ---------------------------------------------------------------------------

    def _show(self) -> None:
        unread = self._lost if set(self._lost) - self._read else {}
        self.danger = danger(unread, self.standing) or self.danger
        self._wrong = bool(self.standing or self.danger)
        self.message.setText("\n".join([*filter(None, [self._passing]), *reversed(self.standing)]))
        self.message.setVisible(bool(self.standing or self._passing))
        ground, text = theme.STATES["danger"] if self._wrong else (theme.PANEL, theme.DIM)
        self.message.setStyleSheet(f"color: {text};")
        self.acknowledge_button.setVisible(self._wrong)
        self.sheet.setStyleSheet(f"QFrame#sheet {{ background: {ground}; }}")
        self._place()

    def _place(self) -> None:
        """Lay the sheet over the line, as high as its text needs."""
        width = self._window.width()
        shown = [self.log_button, *([self.acknowledge_button] if self._wrong else [])]
        buttons = sum(button.sizeHint().width() + 12 for button in shown)
        text = self.message.heightForWidth(max(width - 24 - buttons, 120)) if self.message.text() else 0
        least, most = self.height(), round(MOST_OF_WINDOW * self._window.height())
        height = min(max(text + 8, least), max(most, least))
        foot = self.mapTo(self._window, QPoint(0, 0)).y() + self.height()
        self.sheet.setGeometry(0, foot - height, width, height)
        self.sheet.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow the line's place and the window's size."""
        if event.type() in (QEvent.Type.Resize, QEvent.Type.Move, QEvent.Type.Show):
            self._place()
        return super().eventFilter(watched, event)


class _Sheet(QFrame):
    """Tells a click."""

    clicked = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("sheet")

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Tell."""
        self.clicked.emit()
        event.accept()
