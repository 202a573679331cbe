"""Every instrument that does not answer, at once, each with what to try."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from labctl.gui import theme
from labctl.gui.plain import rich
from labctl.gui.service.messages import Link


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
