"""What the window remembers between two starts: an INI file in the user's configuration directory."""

from __future__ import annotations

from PySide6.QtCore import QSettings


def settings() -> QSettings:
    """Return the window's settings."""
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "labctl", "window")


def remembered(key: str, otherwise: str = "") -> str:
    """Return one remembered text."""
    value = settings().value(key, otherwise)
    return value if isinstance(value, str) else otherwise


def remember(key: str, value: str) -> None:
    """Remember one text."""
    settings().setValue(key, value)
