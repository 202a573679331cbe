"""Panels that lie over the top of the pages while they are wanted: nothing below them moves."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

_PANEL = frozenset(
    (QEvent.Type.ShowToParent, QEvent.Type.HideToParent, QEvent.Type.LayoutRequest, QEvent.Type.Resize)
)


class Cover(QFrame):
    """Holds the panels one below the other, as wide as what they lie over.

    :param over: the pages; the panels come to lie on their top.
    """

    def __init__(self, over: QWidget, *panels: QWidget) -> None:
        super().__init__(over)
        self._over, self._panels = over, panels
        self._column = column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for panel in panels:
            column.addWidget(panel)
            panel.installEventFilter(self)
        over.installEventFilter(self)
        self._place()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow the panels that come and go, and the size of the window."""
        wanted = _PANEL if watched is not self._over else frozenset((QEvent.Type.Resize,))
        if event.type() in wanted:
            self._place()
        return super().eventFilter(watched, event)

    def _place(self) -> None:
        self.setVisible(not all(panel.isHidden() for panel in self._panels))
        if self.isHidden():
            return
        width, column = self._over.width(), self._column
        column.activate()
        wanted = column.heightForWidth(width) if column.hasHeightForWidth() else self.sizeHint().height()
        self.setGeometry(0, 0, width, min(wanted, self._over.height()))
        self.raise_()
