"""What hands shall do, in large text: done, a number, or refused."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout

from labctl.gui import theme
from labctl.gui.fields import NumberField
from labctl.gui.plain import PlainLabel
from labctl.gui.service.asking import Asked, Withdrawn
from labctl.gui.service.calibrating import Refusal
from labctl.gui.service.calmessages import HandTold
from labctl.gui.wording import pretty
from labctl.model.hands import Request

_UNITS = {"um": "µm", "deg": "°"}


class PromptPanel(QFrame):
    """The question that waits; without one, what goes on.

    :param answer: takes the number of the question and the answer: True, a number, or a :class:`Refusal`.
    """

    def __init__(self, answer: Callable[[int, object], None]) -> None:
        super().__init__()
        self._answer = answer
        self.waiting: int | None = None
        self._needs_number = False
        self._after: Callable[[], None] | None = None
        self.text = PlainLabel()
        self.text.setWordWrap(True)
        self.text.setMinimumHeight(96)
        self.text.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.text.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.number = NumberField("Reading", None, "", "The number that was asked for", optional=True)
        self.number.edit.returnPressed.connect(self._done)
        self.number.changed.connect(self._judge)
        self.done, self.refuse = QPushButton("Done"), QPushButton("Refuse")
        self.done.setObjectName("go")
        self.done.setToolTip("It is done: go on (Ctrl+D)")
        self.refuse.setToolTip("It cannot be done: end the calibration, everything is made safe")
        for button in (self.done, self.refuse):
            button.setMinimumHeight(44)
            button.setMinimumWidth(150)
        self.done.clicked.connect(self._done)
        self.refuse.clicked.connect(lambda: self._say(Refusal()))
        row = QHBoxLayout()
        row.addWidget(self.number)
        row.addStretch(1)
        row.addWidget(self.done)
        row.addWidget(self.refuse)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 10, 16, 12)
        column.addWidget(self.text, 1)
        column.addLayout(row)
        self.show_text("")

    def ask(self, asked: Asked) -> None:
        """Show a request and wait for its answer."""
        request = asked.what
        assert isinstance(request, Request)
        self._after = None
        self.waiting, self._needs_number = asked.number, bool(request.number)
        self._dress(theme.THRESHOLD, "#2a2312", theme.WARN)
        self.text.setText(pretty(request.text))
        unit = _UNITS.get(request.number, request.number)
        self.number.setVisible(self._needs_number)
        self.number.set_unit(unit)
        self.number.set_text("")
        for button in (self.done, self.refuse):
            button.setVisible(True)
        self._judge()
        (self.number.edit if self._needs_number else self.done).setFocus()

    def confirm(self, text: str, act: Callable[[], None]) -> None:
        """Show what is left to do, and wait until somebody says that it is done."""
        self.show_text(text)
        self._dress(theme.WARN, "#2a2312", theme.WARN)
        self._after, self._needs_number = act, False
        self.done.setVisible(True)
        self._judge()

    def withdraw(self, told: Withdrawn) -> None:
        """Hide a question that nobody waits for any more."""
        if told.number == self.waiting:
            self.show_text("")

    @property
    def confirming(self) -> bool:
        """Whether somebody has to say first that everything is back."""
        return self._after is not None

    def show_hand(self, told: HandTold) -> None:
        """Show what the simulated bench's hands do."""
        if self.waiting is None:
            word = "Done by the simulated hand: " if told.done else "The simulated hand: "
            self.show_text(word + told.request.text)

    def show_text(self, text: str, colour: str = theme.TEXT) -> None:
        """Show what goes on; nothing is asked."""
        self.waiting = self._after = None
        self._dress(colour, theme.PANEL, theme.LINE)
        self.text.setText(pretty(text))
        for widget in (self.number, self.done, self.refuse):
            widget.setVisible(False)

    def _dress(self, colour: str, ground: str, edge: str) -> None:
        self.setStyleSheet(
            f"PromptPanel {{ background: {ground}; border: 2px solid {edge}; border-radius: 10px; }}"
        )
        self.text.setStyleSheet(f"font-size: 19pt; font-weight: 600; color: {colour};")

    def _judge(self) -> None:
        self.done.setEnabled(not self._needs_number or self.number.value is not None)

    def _done(self) -> None:
        if self.done.isEnabled():
            self._say(self.number.value if self._needs_number else True)

    def _say(self, answer: object) -> None:
        number, after = self.waiting, self._after
        self.show_text("")
        if number is not None:
            self._answer(number, answer)
        elif after is not None:
            after()
