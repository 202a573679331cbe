"""The first screen: what one can do, each with the one thing that is missing for it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from labctl.gui.base import theme
from labctl.gui.base.fields import PlainLabel, dress
from labctl.gui.base.guide import Card, Situation, cards
from labctl.gui.plots.verdict import STRIP_PX


class StartCards(QWidget):
    """Four cards side by side, above the axes of the sweep that is planned.

    :ivar wanted: a button was pressed: what it does.
    """

    wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.setFixedHeight(STRIP_PX)  # the plots stay where they are when a run begins
        self._now: Situation | None = None
        self.cards = [_CardFrame(self.wanted.emit) for _ in range(4)]
        for card in self.cards:
            row.addWidget(card, 1)
        self.show_situation(Situation())

    def show_situation(self, now: Situation) -> None:
        """Say what is missing now."""
        if now != self._now:
            self._now = now
            for frame, card in zip(self.cards, cards(now), strict=True):
                frame.show_card(card)


class _CardFrame(QFrame):
    def __init__(self, press: Callable[[str], None]) -> None:
        super().__init__()
        self.setObjectName("card")
        self._card: Card | None = None
        self.title, self.text, self.button = PlainLabel(), PlainLabel(), QPushButton()
        self.button.setStyleSheet("padding: 3px 8px;")
        self.title.setStyleSheet("font-size: 12pt; font-weight: 700;")
        self.text.setWordWrap(True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._press = press
        self.button.clicked.connect(self._pressed)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 4, 10, 6)
        column.setSpacing(1)
        column.addWidget(self.title)
        column.addWidget(self.text, 1)
        column.addWidget(self.button)

    def _pressed(self) -> None:
        if self._card is not None:
            self._press(self._card.act)

    def show_card(self, card: Card) -> None:
        """Show what it holds."""
        if card == self._card:
            return
        self._card = card
        self.title.setText(card.title)
        self.text.setText(card.text)
        self.button.setText(card.label)
        self.button.setEnabled(card.possible)
        dress(self.button, "go" if card.act == "sweep" else "")
        colour = theme.TONES[card.tone]
        self.text.setStyleSheet(
            f"font-size: 10pt; color: {colour if card.tone in ('warn', 'danger') else theme.DIM};"
        )
        edge = f"border-top: 4px solid {colour}; border-radius: 6px;"
        self.setStyleSheet(f"QFrame#card {{ background: {theme.PANEL}; {edge} }}")
