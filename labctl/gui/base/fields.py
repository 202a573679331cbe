"""Fields that refuse impossible values while they are typed, and say why."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from labctl.gui.base.plain import PlainLabel

Check = Callable[[float], str]


def between(low: float, high: float, unit: str = "") -> Check:
    """Return a check of a number: what it says is why the number is refused."""
    end = f" {unit}" if unit else ""

    def check(value: float) -> str:
        if value < low:
            return f"at least {low:g}{end}"
        return f"at most {high:g}{end}" if value > high else ""

    return check


def whole(low: int, high: int) -> Check:
    """Return a check of a whole number."""
    inside = between(low, high)
    return lambda value: inside(value) or ("" if value == int(value) else "a whole number")


class Field(QWidget):
    """A labelled line with its unit; below it, in red, why it is refused.

    :ivar changed: something was typed.
    """

    changed = Signal()

    def __init__(
        self, label: str, text: str = "", unit: str = "", tip: str = "", label_width: int = 140
    ) -> None:
        super().__init__()
        self.edit, self.reason = QLineEdit(text), PlainLabel()
        self.edit.setAccessibleName(label)
        self._name = name = PlainLabel(label)
        name.setMinimumWidth(label_width)
        self._suffix = suffix = PlainLabel(unit)
        suffix.setProperty("role", "dim")
        suffix.setMinimumWidth(58)
        self.reason.setProperty("role", "wrong")
        self.reason.setWordWrap(True)
        self.reason.setVisible(False)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(name)
        row.addWidget(self.edit, 1)
        row.addWidget(suffix)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addLayout(row)
        column.addWidget(self.reason)
        self.setToolTip(f"{tip} ({unit})" if unit and tip else tip)
        self.edit.textChanged.connect(lambda _text: self.changed.emit())

    @property
    def text(self) -> str:
        """What was typed."""
        return self.edit.text().strip()

    def set_text(self, text: str) -> None:
        """Type for the user."""
        self.edit.setText(text)

    def set_label(self, label: str) -> None:
        """Ask for something else."""
        self._name.setText(label)
        self.edit.setAccessibleName(label)

    def set_unit(self, unit: str) -> None:
        """Show another unit."""
        self._suffix.setText(unit)

    def refuse(self, reason: str) -> None:
        """Say why it is refused; an empty reason takes it."""
        if reason == self.reason.text():
            return
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        self.edit.setProperty("wrong", "true" if reason else "false")
        self.edit.style().unpolish(self.edit)
        self.edit.style().polish(self.edit)


class NumberField(Field):
    """A field for one number.

    :param check: says why a number is refused.
    :param optional: may be left empty.
    """

    def __init__(
        self,
        label: str,
        value: float | None,
        unit: str = "",
        tip: str = "",
        check: Check = lambda _value: "",
        *,
        optional: bool = False,
        label_width: int = 140,
    ) -> None:
        super().__init__(label, "" if value is None else f"{value:g}", unit, tip, label_width)
        self._check, self._optional = check, optional
        self.changed.connect(self.judge)

    @property
    def value(self) -> float | None:
        """The number, None where it is refused or absent."""
        number, reason = self._read()
        return None if reason else number

    def judge(self) -> bool:
        """Say why the number is refused; return whether it is taken."""
        _, reason = self._read()
        self.refuse(reason)
        return not reason

    def set_check(self, check: Check) -> None:
        """Judge by other limits."""
        self._check = check
        self.judge()

    def _read(self) -> tuple[float | None, str]:
        text = self.text.replace(",", ".")
        if not text:
            return None, "" if self._optional else "a number is needed"
        try:
            number = float(text)
        except ValueError:
            return None, f"“{text}” is not a number"
        if not math.isfinite(number):
            return None, "a finite number is needed"
        return number, self._check(number)
