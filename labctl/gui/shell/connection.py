"""Every instrument that does not answer, at once, each with what to try."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout

from labctl.gui.base import theme
from labctl.gui.base.fields import Field
from labctl.gui.base.plain import rich
from labctl.model.operator import LIGHT
from labctl.service.asking import Asked, Differences, Insert, Withdrawn
from labctl.service.messages import Link


class ConnectionPanel(QFrame):
    """Shown while the bench could not be connected; hidden otherwise."""

    again = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setStyleSheet(f"ConnectionPanel {{ background: #2a1517; border: 1px solid {theme.DANGER}; }}")
        self.text = QLabel()
        self.text.setWordWrap(True)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        row = QHBoxLayout()
        retry, hide = QPushButton("Try again"), QPushButton("Hide")
        retry.setToolTip("Connect once more")
        retry.clicked.connect(self.again)
        hide.clicked.connect(lambda: self.setVisible(False))
        row.addWidget(retry)
        row.addWidget(hide)
        row.addStretch(1)
        column.addLayout(row)
        self.setVisible(False)

    def show_link(self, link: Link) -> None:
        """List the failures of a link; none hide the panel."""
        if link.state != "failed":
            self.setVisible(False)
            return
        rows = "".join(
            f"<tr><td style='padding-right:14px'><b>{rich(f.role)}</b></td>"
            f"<td style='padding-right:14px'>{rich(f.resource)}</td>"
            f"<td style='padding-right:14px'>{rich(f.reason)}</td>"
            f"<td style='color:{theme.THRESHOLD}'>try: "
            f"{rich(f.hint or 'labctl check says more')}</td></tr>"
            for f in link.failures
        )
        body = f"<table>{rows}</table>" if rows else rich(link.message)
        self.text.setText(f"<b>The bench is not connected.</b>{body}")
        self.setVisible(True)


MOST_PX = 220


class AgreePanel(QFrame):
    """Shown while a run waits for somebody: to agree to differences, or to put something into the beam.

    :param answer: takes the number of the question, and whether it was agreed to.
    """

    def __init__(self, answer: Callable[[int, object], None]) -> None:
        super().__init__()
        self._answer, self._number, self._word = answer, 0, ""
        self.setStyleSheet(f"AgreePanel {{ background: #2a2312; border: 1px solid {theme.WARN}; }}")
        self.text = QLabel()
        self.text.setWordWrap(True)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self.text)
        area.setMaximumHeight(MOST_PX)
        area.setStyleSheet("background: transparent;")
        self.word = Field(f"Light follows: type {LIGHT}", "", "", "A word is not typed by mistake")
        self.word.changed.connect(self._judge)
        self.agree, self.leave = QPushButton(), QPushButton()
        self.agree.setObjectName("go")
        self.agree.clicked.connect(lambda: self._say(True))
        self.leave.clicked.connect(lambda: self._say(False))
        row = QHBoxLayout()
        row.addWidget(self.word)
        row.addWidget(self.agree)
        row.addWidget(self.leave)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.addWidget(area)
        column.addLayout(row)
        self.setVisible(False)

    def ask(self, asked: Asked) -> None:
        """Show a question: :class:`Differences` or :class:`Insert`."""
        self._number = asked.number
        if isinstance(asked.what, Differences):
            lines = "".join(f"<li>{rich(line)}</li>" for line in asked.what.lines)
            self._show(
                "<b>The bench differs from the run's.</b> The shutter is closed; nothing is measured until "
                f"you agree.<ul>{lines}</ul>",
                ("Go on with this bench", "Agree to the differences: they are noted in the run's file"),
                ("Leave the run as it is", "Measure nothing: the file stays as it was"),
            )
        elif isinstance(asked.what, Insert):
            what = asked.what.what
            self._show(
                f"<b>Put the {what} into the beam.</b> The shutter is closed; light follows.",
                (f"The {what} is in the beam", "Go on: the shutter opens"),
                ("End the run", "Every point so far is kept"),
                word=LIGHT,
            )

    def _show(self, text: str, agree: tuple[str, str], leave: tuple[str, str], word: str = "") -> None:
        """Show a text, and two buttons with what each of them does."""
        self._word = word
        self.text.setText(text)
        for button, (label, tip) in ((self.agree, agree), (self.leave, leave)):
            button.setText(label)
            button.setToolTip(tip)
        self.word.setVisible(bool(word))
        self.word.set_text("")
        self._judge()
        self.setVisible(True)

    def _judge(self) -> None:
        self.agree.setEnabled(self.word.text.lower() == self._word)

    def withdraw(self, told: Withdrawn) -> None:
        """Hide a question that nobody waits for any more."""
        if told.number == self._number:
            self.setVisible(False)

    def _say(self, agreed: bool) -> None:
        self.setVisible(False)
        self._answer(self._number, agreed)
