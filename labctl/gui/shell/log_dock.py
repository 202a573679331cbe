"""The log: every message of the window and of its runs, with time and level."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication
from PySide6.QtWidgets import (
    QComboBox,
    QDockWidget,
    QHBoxLayout,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from labctl.gui.base import theme
from labctl.gui.base.fields import PlainLabel, plain, tool_tip

Level = Literal["info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("info", "warning", "error")
MOST = 2000
"""Lines that are kept; the log file of a run holds all of its own."""


class LogDock(QDockWidget):
    """A list that can be folded, moved and let float."""

    def __init__(self) -> None:
        super().__init__("Log")
        self.setObjectName("log")
        self.setAllowedAreas(Qt.DockWidgetArea.BottomDockWidgetArea | Qt.DockWidgetArea.RightDockWidgetArea)
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["Time", "Level", "Message"])
        self.tree.setRootIsDecorated(False)
        self.tree.setUniformRowHeights(True)
        self.tree.setColumnWidth(0, 90)
        self.tree.setColumnWidth(1, 80)
        self.level = QComboBox()
        for text, least in (("All", "info"), ("Warnings and errors", "warning"), ("Errors", "error")):
            self.level.addItem(text, least)
        self.level.setToolTip("Which messages are listed")
        self.level.currentIndexChanged.connect(lambda _index: self._filter())
        copy = QPushButton("Copy")
        copy.setToolTip("Copy the listed messages to the clipboard")
        copy.clicked.connect(self.copy)
        row = QHBoxLayout()
        row.addWidget(PlainLabel("Show"))
        row.addWidget(self.level)
        row.addStretch(1)
        row.addWidget(copy)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 4, 6, 4)
        column.addLayout(row)
        column.addWidget(self.tree, 1)
        self.setWidget(inside)

    def add(self, text: str, level: Level = "info") -> None:
        """Take in a message, the newest at the bottom."""
        at = f"{datetime.now().astimezone():%H:%M:%S}"
        item = QTreeWidgetItem([at, level, plain(text).replace("\n", "  ")])
        item.setData(1, Qt.ItemDataRole.UserRole, level)
        item.setToolTip(2, tool_tip(text))
        colour = {"info": theme.TEXT, "warning": theme.WARN, "error": theme.WRONG}[level]
        for column in (1, 2):
            item.setForeground(column, QColor(colour))
        self.tree.addTopLevelItem(item)
        item.setHidden(not self._listed(item))
        if self.tree.topLevelItemCount() > MOST:
            self.tree.takeTopLevelItem(0)
        self.tree.scrollToBottom()

    def lines(self) -> list[str]:
        """Return what is listed, one line each."""
        items = (self.tree.topLevelItem(n) for n in range(self.tree.topLevelItemCount()))
        return ["  ".join(i.text(c) for c in range(3)) for i in items if i is not None and not i.isHidden()]

    def copy(self) -> None:
        """Put what is listed on the clipboard."""
        QGuiApplication.clipboard().setText("\n".join(self.lines()))

    def _filter(self) -> None:
        for number in range(self.tree.topLevelItemCount()):
            item = self.tree.topLevelItem(number)
            if item is not None:
                item.setHidden(not self._listed(item))

    def _listed(self, item: QTreeWidgetItem) -> bool:
        least, own = self.level.currentData(), item.data(1, Qt.ItemDataRole.UserRole)
        return LEVELS.index(own) >= LEVELS.index(least)


class LogTap(logging.Handler):
    """Hands warnings and errors of every part of labctl to the window; any thread.

    :param post: takes the records; must not wait.
    """

    def __init__(self, post: Callable[[object], None]) -> None:
        super().__init__(logging.WARNING)
        self._post = post
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one on."""
        self._post(record)

    def end(self) -> None:
        """Hand on nothing any more."""
        logging.getLogger().removeHandler(self)
