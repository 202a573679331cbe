"""Keys of the whole window: Qt drops a button's own shortcut when the text of the button changes, and does
not hear it on a page that is not shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt, QTimer
from PySide6.QtGui import QKeyEvent, QKeySequence, QPointerEvent, QShortcut
from PySide6.QtWidgets import QAbstractButton, QApplication, QDialog, QWidget


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


_PRESSES = frozenset(
    (
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonDblClick,
        QEvent.Type.TouchBegin,
        QEvent.Type.TabletPress,
    )
)
_KEYS = frozenset((QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress))
_LOOKS_DOWN_MS = 150
MOST_POPUPS = 20


class SafeWatch(QObject):
    """Installed while a window has a bench.

    :param button: SAFE; ``pressed`` is called for a press on it, whatever has grabbed the mouse.
    :param keys: what a key does, whatever has the focus; a popup closes with it, and so does a dialog.
    """

    def __init__(
        self, button: QAbstractButton, pressed: Callable[[], None], keys: Mapping[Qt.Key, Callable[[], None]]
    ) -> None:
        super().__init__(button)
        self._button, self._act = button, pressed
        self._keys = {int(key): act for key, act in keys.items()}
        self._done_at: int | None = None
        self.start()

    def start(self) -> None:
        """See every event, before any other filter does."""
        application = QApplication.instance()
        if application is not None:
            application.installEventFilter(self)

    def end(self) -> None:
        """See nothing any more."""
        application = QApplication.instance()
        if application is not None:
            application.removeEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Act on what is for SAFE, and leave everything else alone."""
        kind = event.type()
        if kind in _PRESSES:
            return self._press(event)
        if kind in _KEYS:
            return self._key(event)
        if kind == QEvent.Type.Show:
            _free(watched)
        elif kind == QEvent.Type.DragEnter:
            self.start()  # whoever drags has put a filter of its own before this one
        return False

    # --- keys --------------------------------------------------------------------------------------

    def _key(self, event: QEvent) -> bool:
        """Act once for a key that is pressed: Qt tells it first as one that may be a shortcut."""
        if not isinstance(event, QKeyEvent):
            return False
        act = self._keys.get(event.key())
        if act is None:
            return False
        again = event.type() == QEvent.Type.KeyPress and self._done_at == event.timestamp()
        self._done_at = event.timestamp() if event.type() == QEvent.Type.ShortcutOverride else None
        event.accept()
        if not again and not event.isAutoRepeat():
            act()
            window = QApplication.activeWindow()
            if not _close_popups() and isinstance(window, QDialog):
                window.reject()
        return True

    # --- presses -----------------------------------------------------------------------------------

    def _press(self, event: QEvent) -> bool:
        if not isinstance(event, QPointerEvent) or not self._button.isVisible():
            return False
        if not any(self._is_hit(point.globalPosition().toPoint()) for point in event.points()):
            return False
        event.accept()
        self._button.setDown(True)
        QTimer.singleShot(_LOOKS_DOWN_MS, self._button, lambda: self._button.setDown(False))
        self._act()
        _close_popups()
        return True

    def _is_hit(self, place: QPoint) -> bool:
        """Whether SAFE is what is seen at this place of the screen; a tip over it does not hide it."""
        button = self._button
        if not QRect(button.mapToGlobal(QPoint(0, 0)), button.size()).contains(place):
            return False
        top = QApplication.topLevelAt(place)
        return top is None or top is button.window() or top.windowType() == Qt.WindowType.ToolTip


def _close_popups() -> bool:
    """Close every menu and list; return whether there was one."""
    for number in range(MOST_POPUPS):
        popup = QApplication.activePopupWidget()
        if popup is None:
            return number > 0
        popup.close()
    return True


def _free(watched: QObject) -> None:
    """Make a dialog that is about to be shown no obstacle: a modal one would keep presses from SAFE."""
    if isinstance(watched, QWidget) and watched.isWindow() and watched.isModal():
        # Not by setWindowModality(): a message box makes its window anew at that, and is not shown.
        watched.setAttribute(Qt.WidgetAttribute.WA_ShowModal, False)
