"""The threshold in large digits, with its interval and everything that qualifies it."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from labctl.gui import theme
from labctl.gui.fits import pair
from labctl.gui.plain import PlainLabel
from labctl.gui.wording import UNIT, digits, interval, verdict


class VerdictStrip(QFrame):
    """One strip above the plots; readable from across the room."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setStyleSheet(f"VerdictStrip {{ background: {theme.PANEL}; border-radius: 8px; }}")
        self.value, self.interval, self.title, self.details = (
            PlainLabel(),
            PlainLabel(),
            PlainLabel(),
            PlainLabel(),
        )
        self.value.setStyleSheet(f"font-size: 34pt; font-weight: 800; color: {theme.THRESHOLD};")
        self.interval.setStyleSheet(f"font-size: 17pt; color: {theme.THRESHOLD};")
        self.title.setStyleSheet("font-size: 14pt; font-weight: 600;")
        self.details.setStyleSheet(f"color: {theme.DIM};")
        self.details.setWordWrap(True)
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        left = QVBoxLayout()
        left.setSpacing(2)
        left.addWidget(self.title)
        left.addWidget(self.details)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(14, 6, 14, 6)
        layout.addLayout(left, 3)
        right = QVBoxLayout()
        right.setSpacing(0)
        right.addWidget(self.value, 0, Qt.AlignmentFlag.AlignRight)
        right.addWidget(self.interval, 0, Qt.AlignmentFlag.AlignRight)
        layout.addLayout(right, 2)
        self.setToolTip(
            f"Lasing threshold in {UNIT}, in the run's convention, with its total 95 % interval: what chance "
            "and the choice of the curve's shape add. The definition is the operational onset."
        )
        self.clear()

    def clear(self, title: str = "", details: str = "") -> None:
        """Show no threshold."""
        self.title.setText(title)
        self.details.setText(details)
        self.value.setText("–")
        self.interval.setText("")

    def show_threshold(
        self, title: str, convention: str, found: Mapping[str, object], note: str = ""
    ) -> None:
        """Show a threshold's mapping, or why there is none."""
        self.title.setText(title)
        value = found.get("threshold_uj_cm2")
        if isinstance(value, (int, float)):
            self.value.setText(f"{digits(float(value))} {UNIT}")
            shown = interval(pair(found.get("ci95")))
            self.interval.setText(f"{shown}  ·  provisional" if found.get("provisional") else shown)
        else:
            self.value.setText(_without_number(found))
            self.interval.setText("")
        parts = [str(found["error"]) if "error" in found else verdict(found)]
        if isinstance(value, (int, float)):
            parts[0] = f"{found.get('definition')} by shape “{found.get('shape')}”, {convention} fluence"
        flags = found.get("flags")
        if isinstance(flags, (list, tuple)) and flags:
            parts.append("flags: " + ", ".join(str(f) for f in flags))
        outliers = found.get("outliers")
        if isinstance(outliers, (list, tuple)) and outliers:
            parts.append("repeat point " + ", ".join(str(int(i) + 1) for i in outliers))
        self.details.setText("  ·  ".join(part for part in (*parts, note) if part))


def _without_number(found: Mapping[str, object]) -> str:
    bound = None if found.get("bound_condition") else found.get("bound")
    if isinstance(bound, (list, tuple)) and len(bound) == 2:
        low, high = bound
        if isinstance(low, (int, float)):
            return f"> {digits(float(low), 3)} {UNIT}"
        if isinstance(high, (int, float)):
            return f"< {digits(float(high), 3)} {UNIT}"
    return {"refused": "not yet", "not_found": "none found"}.get(str(found.get("status")), "–")
