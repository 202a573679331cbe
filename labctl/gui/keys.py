"""Keys of the whole window: Qt drops a button's own shortcut when the text of the button changes, and does
not hear it on a page that is not shown."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QAbstractButton, QWidget


def window_key(window: QWidget, keys: str, act: Callable[[], None]) -> QShortcut:
    """Let a key of the window do something; a field in which it means a character comes first."""
    shortcut = QShortcut(QKeySequence(keys), window)
    shortcut.setAutoRepeat(False)
    shortcut.activated.connect(act)
    return shortcut


class ButtonKey(QObject):
    """A key of the window that presses a button, on whatever page it stands and whatever it says.

    :param refused: told in words where the button cannot be pressed now; None leaves the key to what has
        the focus.
    :param seen: the button must be on the screen: it answers a question that has to be read.
    """

    def __init__(
        self,
        window: QWidget,
        keys: str,
        button: QAbstractButton,
        refused: Callable[[str], None] | None = None,
        *,
        seen: bool = False,
    ) -> None:
        super().__init__(button)
        self._button, self._keys, self._refused, self._seen = button, keys, refused, seen
        self._shortcut = window_key(window, keys, self._press)
        button.installEventFilter(self)
        self._follow()

    @property
    def _possible(self) -> bool:
        button = self._button
        return button.isEnabled() and (button.isVisible() if self._seen else not button.isHidden())

    def _press(self) -> None:
        if self._possible:
            self._button.click()
        elif self._refused is not None:
            self._refused(f"“{self._button.text()}” ({self._keys}) is not possible now")

    def _follow(self) -> None:
        self._shortcut.setEnabled(self._refused is not None or self._possible)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow what becomes of the button."""
        if event.type() in (QEvent.Type.EnabledChange, QEvent.Type.Show, QEvent.Type.Hide):
            self._follow()
        return False
