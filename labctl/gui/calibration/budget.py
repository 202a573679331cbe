"""Which calibrations are in use, until when they hold, and what each link adds to a fluence's error."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from labctl.analysis.budget import UNSTATED, Budget, Term, fluence_budget
from labctl.config import BenchConfig
from labctl.config.calibrated import NamedCalibration
from labctl.data.calibrations import is_expired
from labctl.gui.base import theme
from labctl.gui.base.fields import PlainLabel, plain, tool_tip
from labctl.gui.calibration.kinds import ABOUT
from labctl.model.calibration import KINDS, Calibration
from labctl.runner.wording import UNIT, digits, energy, power, pretty, scale
from procedures.calibration.record import shown

_FILES = ("Calibration", "State", "Measured", "Valid until", "For", "Result", "File")
_LINKS = ("Link", "Value", "Uncertainty, k = 1", "Of the fluence", "From")
_TOLD = {
    "attenuator": (("zero_deg", "zero"), ("leakage", "leakage")),
    "pickoff": (("ratio", "ratio"),),
    "energy": (("repetition_rate", "rate"), ("pulse_energy", "energy")),
    "spot": (("x_um", "x"), ("y_um", "y")),
    "spectrometer": (("resolution", "resolution"),),
}


def state_of(named: NamedCalibration | None) -> tuple[str, str]:
    """Return a word on a calibration in use, and its colour."""
    if named is None:
        return "not measured", theme.DIM
    if is_expired(named.calibration, datetime.now(UTC)):
        return "expired", theme.WARN
    return "valid", theme.GOOD


class BudgetView(QWidget):
    """Two tables: files, and links of the chain.

    :ivar statement: what is known of the scale of all fluences; ``known``: whether it is stated.
    :ivar recheck_wanted: look whether the attenuator still is what its calibration says.
    """

    recheck_wanted = Signal()
    statement, known = "", False

    def __init__(self, config: BenchConfig) -> None:
        super().__init__()
        self.files, self.links = _table(_FILES), _table(_LINKS)
        header = self.files.horizontalHeader()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(_FILES.index("Result"), QHeaderView.ResizeMode.Stretch)
        self.files.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.files.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.sum, self.notes = PlainLabel(), PlainLabel()
        self.sum.setWordWrap(True)
        self.notes.setProperty("role", "dim")
        self.notes.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 10, 12, 10)
        self.recheck = QPushButton("Re-check the attenuator")
        self.recheck.setToolTip("A few angles, in seconds, with the shutter closed; warns if it has drifted")
        self.recheck.clicked.connect(self.recheck_wanted)
        row = QHBoxLayout()
        row.addWidget(_heading("Calibrations in use"))
        row.addStretch(1)
        row.addWidget(self.recheck)
        column.addLayout(row)
        column.addWidget(self.files)
        column.addWidget(_heading("Uncertainty budget"))
        column.addWidget(self.sum)
        column.addWidget(self.links, 1)
        column.addWidget(self.notes)
        self.show_config(config)

    def set_enabled(self, enabled: bool) -> None:
        """Allow what needs an idle bench."""
        self.recheck.setEnabled(enabled and self._has_attenuator)

    def show_config(self, config: BenchConfig) -> None:
        """Show another bench file."""
        named = config.calibrations.named() if config.calibrations else {}
        self._has_attenuator = "attenuator" in named
        self.set_enabled(False)
        rows = []
        for kind in KINDS:
            found = named.get(kind)
            state, colour = state_of(found)
            rows.append(([ABOUT[kind].name, state, *_dates(found)], {1: colour}))
        _fill(self.files, rows)
        height = self.files.horizontalHeader().sizeHint().height() + 12
        self.files.setFixedHeight(height + sum(self.files.rowHeight(i) for i in range(len(rows))))
        try:
            budget = fluence_budget(config.pump_settings())
        except ValueError as exc:
            self.statement, self.known = "the fluence scale is not known", False
            self.sum.setText("no budget")
            self.notes.setText(str(exc))
            return
        self._show_budget(budget)

    def _show_budget(self, budget: Budget) -> None:
        largest = max((term.contribution_rel for term in budget.terms), default=0.0)
        rows = []
        for term in budget.terms:
            heavy = term.contribution_rel > 0.5 * largest > 0
            unstated = term.name in budget.unstated
            colours = {3: theme.THRESHOLD} if heavy else {4: theme.WARN} if unstated else {}
            rows.append((_link(term), colours))
        _fill(self.links, rows)
        combined, text = budget.combined_rel, scale(budget.record())
        self.statement, self.known = text, combined is not None
        expanded = "" if combined is None else f"   ·   ± {_percent(2 * combined)} (k = 2, about 95 %)"
        self.sum.setText(f"{text[0].upper()}{text[1:]}{expanded}")
        self.sum.setStyleSheet(
            f"font-size: 19pt; font-weight: 700; color: {theme.THRESHOLD if expanded else theme.WARN};"
        )
        self.notes.setText("  ·  ".join(_notes(budget)))


def _dates(found: NamedCalibration | None) -> list[str]:
    if found is None:
        return ["–", "–", "–", "from the bench file", "–"]
    calibration = found.calibration
    bound = [calibration.instruments[role] for role in calibration.bound_to]
    serials = ", ".join(who.serial or who.model for who in bound)
    days = (calibration.measured_utc[:10], calibration.valid_until_utc[:10])
    return [*days, serials or "any instrument", _results(calibration), found.file]


def _results(calibration: Calibration) -> str:
    found, told = calibration.quantities, _TOLD[calibration.kind]
    return pretty(",  ".join(f"{word} {shown(name, found[name])}" for name, word in told if name in found))


def _link(term: Term) -> list[str]:
    value = "" if term.value is None else _with_unit(term.value, term.unit)
    relative = term.relative and term.unit != "1"
    error = _percent(term.uncertainty) if relative else _with_unit(term.uncertainty, term.unit)
    part = _percent(term.contribution_rel) if term.sensitivity else "–"
    if not term.is_stated:
        error, part = UNSTATED, UNSTATED if term.sensitivity else "–"
    note = f"  ({term.note})" if term.note else ""
    return [term.name, value, error, part, pretty(f"{term.source}{note}")]


def _with_unit(value: float, unit: str) -> str:
    if unit == "W":
        return power(value)
    if unit == "J":
        return energy(value)
    return pretty(f"{digits(value)} {'' if unit == '1' else unit}".rstrip())


def _percent(relative: float) -> str:
    return f"{100 * relative:.2g} %" if math.isfinite(relative) else "–"


def _notes(budget: Budget) -> list[str]:
    notes = [f"{budget.convention} fluence, at {digits(budget.fluence_uj_cm2)} {UNIT}"]
    if budget.pulse_width_fs is None:
        notes.append(f"pulse width {budget.pulse_width_source}")
    else:
        notes.append(f"pulse width at the sample {digits(budget.pulse_width_fs)} fs")
    if budget.unstated:
        notes.append(f"not stated: {', '.join(budget.unstated)}")
    return notes


def _heading(text: str) -> QLabel:
    label = PlainLabel(text)
    label.setStyleSheet("font-size: 14pt; font-weight: 600;")
    return label


def _table(columns: tuple[str, ...]) -> QTableWidget:
    table = QTableWidget(0, len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.verticalHeader().setVisible(False)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setShowGrid(False)
    header = table.horizontalHeader()
    header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setStretchLastSection(True)
    return table


def _fill(table: QTableWidget, rows: list[tuple[list[str], dict[int, str]]]) -> None:
    table.setRowCount(len(rows))
    for at, (cells, colours) in enumerate(rows):
        for column, text in enumerate(cells):
            item = QTableWidgetItem(plain(text))
            item.setToolTip(tool_tip(text))
            if column in colours:
                item.setForeground(QBrush(QColor(colours[column])))
            table.setItem(at, column, item)
