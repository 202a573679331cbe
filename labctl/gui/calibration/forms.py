"""Options of a calibration as fields with units; what is impossible is refused while it is typed."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from labctl.gui.base.fields import Field, NumberField, between, whole
from labctl.gui.base.memory import remembered
from labctl.gui.base.plain import PlainLabel
from labctl.model.calibration import CalibrationKind
from procedures.calibration import CalOptions

Common = dict[str, object]
LABEL_PX = 126


class Choice(QWidget):
    """A labelled choice.

    :ivar changed: something else was chosen.
    """

    changed = Signal()

    def __init__(self, label: str, entries: tuple[tuple[str, str], ...], tip: str) -> None:
        super().__init__()
        name, self.box = PlainLabel(label), QComboBox()
        name.setMinimumWidth(LABEL_PX)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(12)
        for text, data in entries:
            self.box.addItem(text, data)
        self.setToolTip(tip)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(name)
        row.addWidget(self.box, 1)
        self.box.currentIndexChanged.connect(lambda _i: self.changed.emit())

    @property
    def value(self) -> str:
        """What is chosen."""
        return str(self.box.currentData())


def named_numbers(text: str) -> dict[str, float]:
    """Read ``name:number, name:number``.

    :raises ValueError: says which part is none.
    """
    found: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, colon, number = part.rpartition(":")
        if not colon or not name.strip():
            raise ValueError(f"“{part}” is not name:number")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise ValueError(f"“{number.strip()}” is not a number") from None
    return found


class OptionForm(QWidget):
    """The options of one kind.

    :param make: adds the fields of the kind; ``read`` makes options of them and of what all kinds share.
    :ivar changed: something was typed or chosen.
    """

    changed = Signal()

    def __init__(
        self,
        kind: CalibrationKind,
        make: Callable[[OptionForm], None],
        read: Callable[[OptionForm, Common], CalOptions | None],
    ) -> None:
        super().__init__()
        self.kind, self._read = kind, read
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self.fields: dict[str, NumberField | Field | Choice | QCheckBox] = {}
        make(self)
        if kind != "spectrometer":
            self.number("sensor_limit_w", "Sensor survives", None, "mW", "Mean power", between(1e-6, 1e6))
            self.number("readings", "Readings", 4, "a setting", "Averaged", whole(2, 100))
        self.number("valid_days", "Valid for", 30, "days", "Afterwards it warns", between(0.1, 10_000))
        self.words("operator", "Operator", remembered("sweep/operator"), "Who measures")
        self.words("note", "Note", "", "Anything worth keeping")
        self._column.addStretch(1)

    # --- building ----------------------------------------------------------------------------------

    def number(
        self,
        key: str,
        label: str,
        value: float | None,
        unit: str,
        tip: str,
        check: Callable[[float], str],
    ) -> None:
        """Add a number; one without a value may be left empty."""
        field = NumberField(label, value, unit, tip, check, optional=value is None, label_width=LABEL_PX)
        self._add(key, field)

    def words(self, key: str, label: str, text: str, tip: str, unit: str = "") -> None:
        """Add a line of text."""
        self._add(key, Field(label, text, unit, tip, LABEL_PX))

    def choice(self, key: str, label: str, entries: tuple[tuple[str, str], ...], tip: str) -> None:
        """Add a choice."""
        self._add(key, Choice(label, entries, tip))

    def flag(self, key: str, label: str, tip: str, *, on: bool = False) -> None:
        """Add a switch."""
        box = QCheckBox(label)
        box.setToolTip(tip)
        box.setChecked(on)
        box.toggled.connect(lambda _on: self.changed.emit())
        self.fields[key] = box
        self._column.addWidget(box)

    def _add(self, key: str, field: NumberField | Field | Choice) -> None:
        self.fields[key] = field
        field.changed.connect(self.changed)
        self._column.addWidget(field)

    # --- reading -----------------------------------------------------------------------------------

    def options(self) -> CalOptions | None:
        """Return the options, None where a field is refused; the field says why."""
        good = [field.judge() for field in self.fields.values() if isinstance(field, NumberField)]
        common = {
            "operator": self.text("operator"),
            "note": self.text("note"),
            "valid_days": self.value("valid_days") or 30.0,
        }
        if self.kind != "spectrometer":
            limit = self.value("sensor_limit_w")
            common |= {"sensor_limit_w": None if limit is None else 1e-3 * limit}
            common |= {"readings": int(self.value("readings") or 4)}
        return self._read(self, common) if all(good) else None

    def value(self, key: str) -> float | None:
        """Return a number."""
        field = self.fields[key]
        assert isinstance(field, NumberField)
        return field.value

    def text(self, key: str) -> str:
        """Return a text or a choice."""
        field = self.fields[key]
        if isinstance(field, Choice):
            return field.value
        assert isinstance(field, Field)
        return field.text

    def on(self, key: str) -> bool:
        """Return a switch."""
        field = self.fields[key]
        assert isinstance(field, QCheckBox)
        return field.isChecked()

    def refuse(self, key: str, reason: str) -> None:
        """Say why a text is refused."""
        field = self.fields[key]
        assert isinstance(field, Field)
        field.refuse(reason)

    def named(self, key: str) -> dict[str, float] | None:
        """Return names with numbers; None where they are refused."""
        try:
            found = named_numbers(self.text(key))
        except ValueError as exc:
            self.refuse(key, str(exc))
            return None
        self.refuse(key, "")
        return found
