"""What hands shall do, in large text: done, a number or a word that is typed, or refused."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout

from labctl.gui.base import theme
from labctl.gui.base.fields import Field
from labctl.gui.base.plain import PlainLabel
from labctl.model.errors import Aborted, CalibrationRefused
from labctl.model.operator import Request
from labctl.runner.wording import pretty
from labctl.service.asking import Asked, Withdrawn
from labctl.service.calibrating import Refusal
from labctl.service.messages import HandTold
from labctl.session.operator import understood

_UNITS = {"um": "µm", "deg": "°"}


class PromptPanel(QFrame):
    """The question that waits; without one, what goes on.

    :param answer: takes the number of the question and the answer: True, a number, or a :class:`Refusal`.
    """

    def __init__(self, answer: Callable[[int, object], None]) -> None:
        super().__init__()
        self._answer = answer
        self.waiting: int | None = None
        self._request: Request | None = None
        self._after: Callable[[], None] | None = None
        self.text = PlainLabel()
        self.text.setWordWrap(True)
        self.text.setMinimumHeight(96)
        self.text.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.text.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.number = Field("Reading", "", "", "What was asked for, with its unit or without")
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
        self.waiting, self._request = asked.number, request
        self._dress(theme.THRESHOLD, "#2a2312", theme.WARN)
        self.text.setText(pretty(request.text))
        typed = bool(request.number or request.word)
        self.number.setVisible(typed)
        self.number.set_label("Position read" if request.action == "knife" else "Reading")
        if request.word:
            self.number.set_label(f"Light follows: type {request.word}")
        self.number.set_unit(_UNITS.get(request.number, request.number))
        self.number.set_text("" if request.suggested is None else f"{request.suggested:g}")
        for button in (self.done, self.refuse):
            button.setVisible(True)
        self._judge()
        (self.number.edit if typed else self.done).setFocus()
        self.number.edit.selectAll()

    def confirm(self, text: str, act: Callable[[], None]) -> None:
        """Show what is left to do, and wait until somebody says that it is done."""
        self.show_text(text)
        self._dress(theme.WARN, "#2a2312", theme.WARN)
        self._after, self._request = act, None
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
        self.waiting = self._after = self._request = None
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
        answer, why = self._read()
        self.done.setEnabled(answer is not None)
        self.number.refuse(why if self.number.text else "")

    def _read(self) -> tuple[object, str]:
        """Return what is answered, None for nothing yet, and why."""
        request = self._request
        if request is None or not (request.number or request.word):
            return True, ""
        if not self.number.text:
            return None, ""
        try:
            number = understood(request, self.number.text)
        except (Aborted, CalibrationRefused) as exc:
            return None, getattr(exc, "message", "press Refuse instead")
        return (True if number is None else number), ""

    def _done(self) -> None:
        if self.done.isEnabled():
            self._say(self._read()[0])

    def _say(self, answer: object) -> None:
        number, after = self.waiting, self._after
        self.show_text("")
        if number is not None:
            self._answer(number, answer)
        elif after is not None:
            after()
