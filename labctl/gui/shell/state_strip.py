"""The strip under the bench bar: what the bench does, and the sign of an open shutter; of fixed height."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QFont, QFontMetrics
from PySide6.QtWidgets import QFrame, QHBoxLayout

from labctl.gui.base import theme
from labctl.gui.base.benchstate import Shown
from labctl.gui.base.fields import PlainLabel

HEIGHT_PX = 46
WORDS_PT, SIGN_PT = 16, 26
"""Of the state; of the sign, whose capitals are 6 mm high: 5 minutes of arc at 4 m."""
LEAST_PT = 9
"""Words that are too long for the strip are made smaller, down to this."""


class StateStrip(QFrame):
    """State of the bench in words on a ground whose colour has the same meaning.

    :ivar words: what the bench does; before all else, that the beam is to be blocked.
    :ivar sign: filled over the whole width while the shutter is open, or may be.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("state")
        self.setFixedHeight(HEIGHT_PX)
        self.words, self.sign = PlainLabel(), PlainLabel()
        self.words.setMinimumWidth(1)  # a long sentence asks for no wider window
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 0, 14, 0)
        row.setSpacing(18)
        row.addWidget(self.words, 1)
        row.addWidget(self.sign)
        self.words.installEventFilter(self)
        self.setToolTip("What the bench does. Filled amber: the shutter is open, light may be on the sample.")
        self._shown: tuple[Shown, str] | None = None

    def show_state(self, state: Shown, sign: str = "") -> None:
        """Show what the bench does.

        :param sign: of an open shutter; empty for none.
        """
        if self._shown == (state, sign):
            return
        self._shown = state, sign
        tone = "light" if sign and state.tone != "danger" else state.tone
        ground, text = theme.STATES[tone]
        self.setStyleSheet(f"QFrame#state {{ background: {ground}; }} QLabel {{ color: {text}; }}")
        self.sign.setStyleSheet(f"font-size: {SIGN_PT}pt; font-weight: 900; color: {text};")
        self.sign.setText(sign)
        self.sign.setVisible(bool(sign))
        self.words.setText(state.text)
        self._fit()

    def _fit(self) -> None:
        """Make words that are too long for the strip smaller: none of them is cut off."""
        if self._shown is None:
            return
        font = QFont(self.words.font())
        for size in range(WORDS_PT, LEAST_PT - 1, -1):
            font.setPointSize(size)
            font.setWeight(QFont.Weight.Bold)
            if QFontMetrics(font).horizontalAdvance(self.words.text()) <= self.words.width():
                break
        sheet = f"font-size: {size}pt; font-weight: 700; color: {theme.STATES[self._tone][1]};"
        if sheet != self.words.styleSheet():
            self.words.setStyleSheet(sheet)

    @property
    def _tone(self) -> str:
        assert self._shown is not None
        state, sign = self._shown
        return "light" if sign and state.tone != "danger" else state.tone

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow the room that the words have."""
        if event.type() == QEvent.Type.Resize:
            self._fit()
        return super().eventFilter(watched, event)
