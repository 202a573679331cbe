"""The strip under the bar: what the bench does, and messages; nothing in it moves what lies below.

What went wrong stays until somebody clicks on it. A message that needs more room than the strip has lies
over what is below; it is never cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from labctl.gui.base import theme
from labctl.gui.base.benchstate import Shown, danger
from labctl.gui.base.fields import PlainLabel

SAID_MS = 12_000
HEIGHT_PX = 46
MOST_OF_WINDOW = 0.6
TONES = {
    "plain": theme.TEXT,
    "dim": theme.DIM,
    "good": theme.GOOD,
    "warn": theme.WARN,
    "light": theme.THRESHOLD,
    "danger": "#ff6b6d",
}


class Notices(QWidget):
    """A strip of fixed height; the sheet over it grows as it must.

    :param window: over the whole width of which the sheet lies.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setFixedHeight(HEIGHT_PX)
        self._window = window
        self._lost: Mapping[str, str] = {}
        self._read: set[str] = set()
        self._banner = ""
        self.standing: list[str] = []
        self._passing = ""
        self._hush = QTimer(self)
        self._hush.setSingleShot(True)
        self._hush.timeout.connect(self._pass)
        self.sheet = _Sheet(window)
        self.banner, self.state, self.message = PlainLabel(), PlainLabel(), PlainLabel()
        self.banner.setStyleSheet("font-size: 19pt; font-weight: 800; color: white;")
        for label in (self.banner, self.message):
            label.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.state.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self.acknowledge_button = QPushButton("Acknowledge")
        self.acknowledge_button.setToolTip("I have read this")
        self.acknowledge_button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.acknowledge_button.clicked.connect(self.acknowledge)
        self.sheet.clicked.connect(self.acknowledge)
        self._room = QScrollArea()
        self._room.setWidgetResizable(True)
        self._room.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._room.setStyleSheet("QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; }")
        self._room.setWidget(self.message)
        column = QVBoxLayout(self.sheet)
        column.setContentsMargins(12, 4, 12, 4)
        column.setSpacing(2)
        column.addWidget(self.banner)
        row = QHBoxLayout()
        row.setSpacing(18)
        row.addWidget(self.state, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._room, 1)
        row.addWidget(self.acknowledge_button, 0, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row)
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

    def set_state(self, shown: Shown) -> None:
        """Show what the bench does."""
        sheet = f"font-size: 14pt; font-weight: 700; color: {TONES[shown.tone]};"
        if self.state.text() != shown.text or self.state.styleSheet() != sheet:
            self.state.setStyleSheet(sheet)
            self.state.setText(shown.text)
            self.state.ensurePolished()
            self.state.setMinimumWidth(self.state.sizeHint().width())  # never cut
            self._place()

    def set_lost(self, lost: Mapping[str, str]) -> None:
        """Take in which instruments do not answer; a banner that they raise stays until acknowledged."""
        if lost != self._lost:
            self._lost = dict(lost)
            self._read &= set(lost)
            self._show()

    def acknowledge(self) -> None:
        """Everything was read: nothing of it stands any more, but for what is still so."""
        self.standing.clear()
        self._banner, self._read = "", set(self._lost)
        self._show()

    def _pass(self) -> None:
        self._passing = ""
        self._show()

    # --- how it is shown ---------------------------------------------------------------------------

    def _show(self) -> None:
        unread = self._lost if set(self._lost) - self._read else {}
        self._banner = danger(unread, self.standing) or self._banner
        wrong = bool(self.standing or self._banner)
        self.banner.setText(self._banner)
        self.banner.setVisible(bool(self._banner))
        self.state.setVisible(not self._banner)  # the banner says it, and louder
        self.message.setText("\n".join([*filter(None, [self._passing]), *reversed(self.standing)]))
        self.message.setVisible(bool(self.standing or self._passing))
        colour = "white" if self._banner else "#ffd7d8" if wrong else theme.DIM
        self.message.setStyleSheet(f"color: {colour};")
        self.acknowledge_button.setVisible(wrong)
        ground = theme.DANGER if self._banner else "#5c1a1d" if wrong else theme.PANEL
        self.sheet.setStyleSheet(f"QFrame#sheet {{ background: {ground}; }}")
        self._place()

    def _place(self) -> None:
        """Lay the sheet over the strip, as high as its text needs."""
        width = self._window.width()
        beside = self.state.sizeHint().width() + 18 if self.state.text() and not self._banner else 18
        wrong = bool(self.standing or self._banner)
        button = self.acknowledge_button.sizeHint().width() + 18 if wrong else 0
        room = max(width - 24 - beside - button, 120)
        text = self.message.heightForWidth(room) if self.message.text() else 0
        banner = self.banner.heightForWidth(max(width - 24, 120)) + 2 if self._banner else 0
        needed = max(text + 4, HEIGHT_PX - 8) + banner + 8
        height = min(needed, max(round(MOST_OF_WINDOW * self._window.height()), HEIGHT_PX))
        self.sheet.setGeometry(0, self.mapTo(self._window, QPoint(0, 0)).y(), width, height)
        self.sheet.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow the strip's place and the window's size."""
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
