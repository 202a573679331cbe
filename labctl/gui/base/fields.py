"""Fields that refuse impossible values while they are typed, and say why."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QEvent, QObject, QPoint, QSettings, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractScrollArea,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from labctl.config.units import decimal_point, typed
from labctl.model.errors import ConfigError
from labctl.model.options import Option
from labctl.model.untrusted import printable
from labctl.runner.wording import UNIT


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


def dress(widget: QWidget, name: str) -> None:
    """Give a widget the look of its style sheet under another name: "go" for what starts, "" for others."""
    widget.setObjectName(name)
    widget.style().unpolish(widget)
    widget.style().polish(widget)


class PlainLabel(QLabel):
    """A label that shows its text as it is, with its lines."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802
        """Show a text, printable."""
        super().setText(plain(text))


def plain(text: object) -> str:
    """Return a text of several lines that shows all it holds, for what takes no markup."""
    return printable(text, keep="\n")


def rich(text: object) -> str:
    """Return a text as a piece of Qt's rich text."""
    return html.escape(plain(text)).replace("\n", "<br>")


def tool_tip(text: object) -> str:
    """Return a text as a tool tip: as it is, or escaped where Qt would read markup."""
    shown = plain(text)
    return f"<qt>{rich(shown)}</qt>" if "<" in shown or "&" in shown else shown


Check = Callable[[float], str]


def between(low: float, high: float, unit: str = "") -> Check:
    """Return a check of a number: what it says is why the number is refused."""
    end = f" {unit}" if unit else ""

    def check(value: float) -> str:
        if value < low:
            return f"must be {low:g}{end} or more, not {value:g}{end}"
        return f"must be {high:g}{end} or less, not {value:g}{end}" if value > high else ""

    return check


def whole(low: int, high: int) -> Check:
    """Return a check of a whole number."""
    inside = between(low, high)
    return lambda value: inside(value) or ("" if value == int(value) else f"{value:g} is not a whole number")


class Row(QWidget):
    """A label, what is filled in, and its unit.

    Why it is refused, or how it was read, lies under the field while somebody is at it; it moves nothing.

    :ivar changed: something was filled in.
    :ivar reason: why it is refused; empty where it is not.
    """

    changed = Signal()

    def __init__(self, label: str, control: QWidget, unit: str, tip: str, label_width: int = 140) -> None:
        super().__init__()
        self.control, self.reason = control, PlainLabel()
        control.setAccessibleName(label)
        self.label = label
        self._name = name = PlainLabel(label)
        name.setMinimumWidth(label_width)
        self._suffix = suffix = PlainLabel(unit)
        suffix.setProperty("role", "dim")
        suffix.setMinimumWidth(58)
        self.note = PlainLabel()
        for bubble, role in ((self.reason, "refusal"), (self.note, "note")):
            bubble.setParent(self)
            bubble.setProperty("role", role)
            bubble.setWordWrap(True)
            bubble.setVisible(False)
        control.installEventFilter(self)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(name)
        row.addWidget(control, 1)
        row.addWidget(suffix)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addLayout(row)
        self.setToolTip(f"{tip} ({unit})" if unit and tip else tip)

    def refuse(self, reason: str) -> None:
        """Say why it is refused; an empty reason takes it."""
        if reason == self.reason.text():
            return
        self.reason.setText(reason)
        self._show_bubble()
        self.control.setProperty("wrong", "true" if reason else "false")
        self.control.style().unpolish(self.control)
        self.control.style().polish(self.control)

    def tell(self, note: str) -> None:
        """Say how what was typed is read; an empty note says nothing."""
        if note != self.note.text():
            self.note.setText(note)
            self._show_bubble()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Show what there is to say while somebody is at the field."""
        if event.type() in _AT_FIELD:
            self._show_bubble()
        return super().eventFilter(watched, event)

    def _show_bubble(self) -> None:
        here = self.control.isVisible() and (self.control.hasFocus() or self.control.underMouse())
        for bubble, wanted in ((self.reason, True), (self.note, not self.reason.text())):
            bubble.setVisible(False)
            if here and wanted and bubble.text():
                self._place(bubble)

    def _place(self, bubble: QLabel) -> None:
        """Lay it under the field, or above it where there is no room below; it scrolls with the field."""
        host: QWidget = self
        while not host.isWindow() and (above := host.parentWidget()) is not None:
            if isinstance(above.parentWidget(), QAbstractScrollArea):
                break
            host = above
        bubble.setParent(host)
        width = max(self.width(), 200)
        height = bubble.heightForWidth(width)
        at = self.control.mapTo(host, QPoint(0, self.control.height() + 2))
        if at.y() + height > host.height():
            at.setY(max(at.y() - self.control.height() - height - 4, 0))
        left = min(self.mapTo(host, QPoint(0, 0)).x(), max(host.width() - width, 0))
        bubble.setGeometry(left, at.y(), width, height)
        bubble.setVisible(True)
        bubble.raise_()


_AT_FIELD = frozenset(
    (QEvent.Type.FocusIn, QEvent.Type.FocusOut, QEvent.Type.Enter, QEvent.Type.Leave, QEvent.Type.Hide)
)


class Field(Row):
    """A row for text."""

    def __init__(
        self, label: str, text: str = "", unit: str = "", tip: str = "", label_width: int = 140
    ) -> None:
        self.edit = QLineEdit(text)
        super().__init__(label, self.edit, unit, tip, label_width)
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


class OptionField(Row):
    """A row for an option of a plan: a line, a list or a tick, as its kind asks for.

    :param option: declares label, unit, limits and help, and reads and refuses what is filled in.
    :param value: shown at the beginning; None: the option's default.
    """

    def __init__(self, option: Option, value: object = None) -> None:
        self.option = option
        unit = shown(option.shown_unit)
        self.edit, self.box, self.tick = QLineEdit(), QComboBox(), QCheckBox()
        control = {"word": self.box, "yes": self.tick}.get(option.kind, self.edit)
        for word in option.words:
            self.box.addItem(word, word)
        said = f"{option.help[:-1]}; {shown(option.limits)}" if option.limits else option.help[:-1]
        super().__init__(option.label, control, unit, said)
        self._name.setWordWrap(True)
        self.edit.setPlaceholderText("left out" if option.textual else "")
        self._suffix.setVisible(control is self.edit)
        self.fill(option.default if value is None else value)
        self.edit.textChanged.connect(lambda _text: self.changed.emit())
        self.box.currentIndexChanged.connect(lambda _index: self.changed.emit())
        self.tick.toggled.connect(lambda _on: self.changed.emit())

    def fill(self, value: object) -> None:
        """Show a value, or text as it would be typed."""
        text = value if isinstance(value, str) else self.option.write(value)
        if self.control is self.edit:
            self.edit.setText(text.removesuffix(" %") if self.option.percent else text)
        elif self.control is self.box:
            self.box.setCurrentIndex(max(self.box.findData(text), 0))
        else:
            self.tick.setChecked(text == "yes")

    @property
    def text(self) -> str:
        """What is filled in, as the option reads it."""
        if self.control is self.box:
            return str(self.box.currentData())
        if self.control is self.tick:
            return "yes" if self.tick.isChecked() else "no"
        text = self.edit.text().strip()
        if self.option.kind == "number":
            text = _with_point(text)
        return f"{text.rstrip('% ')} %" if self.option.percent and text else text

    @property
    def value(self) -> Any:
        """The value that is filled in.

        :raises ConfigError: it is refused.
        """
        return self.option.read(self.text, typed)

    def judge(self) -> bool:
        """Say why the value is refused; return whether it is taken."""
        typed_text = self.edit.text() if self.control is self.edit else ""
        try:
            if self.option.kind == "number":
                decimal_point(typed_text)
            value = self.value
        except (ConfigError, ValueError) as exc:
            self.refuse(shown(exc.reason if isinstance(exc, ConfigError) else str(exc)))
            self.tell("")
            return False
        self.refuse("")
        read = self.option.write(value) if "," in typed_text else ""
        self.tell(f"read as {read}" if read != typed_text.strip() and read else "")
        return True

    @property
    def usual(self) -> bool:
        """Whether the option has its default."""
        try:
            return bool(self.value == self.option.default)
        except ConfigError:
            return False


def _with_point(text: str) -> str:
    try:
        return decimal_point(text)
    except ValueError:
        return text  # it is refused as it was typed


def shown(text: str) -> str:
    """Return a text with units as the window writes them."""
    return text.replace("uJ/cm2", UNIT).replace("/cm2", "/cm²").replace(" C", " °C") if text != "C" else "°C"


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
        number, reason = self._read()
        self.refuse(reason)
        self.tell(f"read as {number:g}" if "," in self.text and number is not None and not reason else "")
        return not reason

    def set_check(self, check: Check) -> None:
        """Judge by other limits."""
        self._check = check
        self.judge()

    def _read(self) -> tuple[float | None, str]:
        if not self.text:
            return None, "" if self._optional else "a number is needed"
        try:
            text = decimal_point(self.text)
        except ValueError as exc:
            return None, str(exc)
        try:
            number = float(text)
        except ValueError:
            return None, f"“{text}” is not a number; write it as 20 or 0.5"
        if not math.isfinite(number):
            return None, f"“{text}” is not finite"
        return number, self._check(number)
