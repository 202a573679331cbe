"""What must be agreed to before a run goes on: how the bench differs from that of the run."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout

from labctl.gui import theme
from labctl.gui.plain import rich
from labctl.gui.service.asking import Asked, Differences, Withdrawn

MOST_PX = 220


class AgreePanel(QFrame):
    """Shown while differences wait to be agreed to; hidden otherwise.

    :param answer: takes the number of the question, and whether it was agreed to.
    """

    def __init__(self, answer: Callable[[int, object], None]) -> None:
        super().__init__()
        self._answer, self._number = answer, 0
        self.setStyleSheet(f"AgreePanel {{ background: #2a2312; border: 1px solid {theme.WARN}; }}")
        self.text = QLabel()
        self.text.setWordWrap(True)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self.text)
        area.setMaximumHeight(MOST_PX)
        area.setStyleSheet("background: transparent;")
        self.agree = QPushButton("Go on with this bench")
        self.agree.setObjectName("go")
        self.agree.setToolTip("Agree to the differences: they are noted in the run's file")
        self.leave = QPushButton("Leave the run as it is")
        self.leave.setToolTip("Measure nothing: the file stays as it was")
        self.agree.clicked.connect(lambda: self._say(True))
        self.leave.clicked.connect(lambda: self._say(False))
        row = QHBoxLayout()
        row.addWidget(self.agree)
        row.addWidget(self.leave)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.addWidget(area)
        column.addLayout(row)
        self.setVisible(False)

    def ask(self, asked: Asked) -> None:
        """Show a question."""
        assert isinstance(asked.what, Differences)
        self._number = asked.number
        lines = "".join(f"<li>{rich(line)}</li>" for line in asked.what.lines)
        self.text.setText(
            "<b>The bench differs from the run's.</b> The shutter is closed; nothing is measured until you "
            f"agree.<ul>{lines}</ul>"
        )
        self.setVisible(True)

    def withdraw(self, told: Withdrawn) -> None:
        """Hide a question that nobody waits for any more."""
        if told.number == self._number:
            self.setVisible(False)

    def _say(self, agreed: bool) -> None:
        self.setVisible(False)
        self._answer(self._number, agreed)
