"""The threshold in large digits, with its interval and everything that qualifies it."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from labctl.gui import theme
from labctl.gui.fits import pair
from labctl.gui.plain import PlainLabel
from labctl.gui.wording import UNIT, digits, interval
from labctl.runner.outcome import Outcome, Tally, outcome

SHORT = 12
"""Letters of a headline that is shown as large as a number."""


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
        self.value.setWordWrap(True)
        self.value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
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
        right.addWidget(self.value, 1)
        right.addWidget(self.interval, 0, Qt.AlignmentFlag.AlignRight)
        layout.addLayout(right, 2)
        self.setToolTip(
            f"Lasing threshold in {UNIT}, in the run's convention, with its total 95 % interval: what chance "
            "and the choice of the curve's shape add. The definition is the operational onset."
        )
        self.clear()

    def clear(self, title: str = "", details: str = "", value: str = "–") -> None:
        """Show no threshold."""
        self.title.setText(title)
        self.details.setText(details)
        self._set_value(value, "plain" if value != "–" else "dim")
        self.interval.setText("")

    def show_threshold(
        self,
        title: str,
        convention: str,
        found: Mapping[str, object],
        note: str = "",
        said: Outcome | None = None,
        *,
        scaled: bool = False,
    ) -> None:
        """Show a threshold's mapping, or why there is none.

        :param said: what came of the run, in words; of a running one by default.
        :param scaled: whether the error of the fluences' scale is stated; else the interval lacks it.
        """
        said = said or outcome(found, "running", Tally(0))
        self.title.setText(title)
        value = found.get("threshold_uj_cm2")
        parts = [said.reason.replace("uJ/cm2", UNIT)]
        if isinstance(value, (int, float)) and said.tone == "good":
            self._set_value(f"{digits(float(value))} {UNIT}", "number")
            marks = ["provisional"] if found.get("provisional") else []
            marks += [] if scaled else ["statistical only"]
            self.interval.setText("  ·  ".join([interval(pair(found.get("ci95"))), *marks]))
            own = str(found.get("reason") or "").replace("uJ/cm2", UNIT)
            beside = parts[0].removesuffix(own).strip("; ")
            parts = [
                f"{found.get('definition')} by shape “{found.get('shape')}”, {convention} fluence",
                beside,
            ]
        else:
            bound = _bound(found) if said.tone != "danger" else ""
            self._set_value(bound or said.headline or "–", "number" if bound else said.tone)
            self.interval.setText("")
        flags = found.get("flags")
        if isinstance(flags, (list, tuple)) and flags:
            parts.append("flags: " + ", ".join(str(f) for f in flags))
        outliers = found.get("outliers")
        if isinstance(outliers, (list, tuple)) and outliers:
            parts.append("repeat point " + ", ".join(str(int(i) + 1) for i in outliers))
        self.details.setText("  ·  ".join(part for part in (*parts, note) if part))

    def _set_value(self, text: str, tone: str) -> None:
        """Show a number as large as can be, words so that all of them can be read."""
        self.value.setText(text)
        size = 34 if tone == "number" or len(text) <= SHORT else 18
        colour = {"number": theme.THRESHOLD, "danger": "#ff6b6d", "warn": theme.WARN}.get(tone, theme.DIM)
        self.value.setStyleSheet(f"font-size: {size}pt; font-weight: 800; color: {colour};")


def _bound(found: Mapping[str, object]) -> str:
    bound = None if found.get("bound_condition") else found.get("bound")
    if isinstance(bound, (list, tuple)) and len(bound) == 2:
        low, high = bound
        if isinstance(low, (int, float)):
            return f"> {digits(float(low), 3)} {UNIT}"
        if isinstance(high, (int, float)):
            return f"< {digits(float(high), 3)} {UNIT}"
    return ""
