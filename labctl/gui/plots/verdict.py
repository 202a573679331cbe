"""The threshold in large digits, with its interval and everything that qualifies it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from labctl.gui.base import theme
from labctl.gui.base.fields import PlainLabel
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.runner.meaning import flag_lines
from labctl.runner.report import Outcome, Tally, definition_lines, more_lines, outcome, tally
from labctl.runner.rundata import RunData, Signal
from labctl.runner.wording import UNIT, digits, duration, interval, pretty, scale, typographic


def signal_label(which: Signal) -> str:
    """Return the label of the axis of signals."""
    return f"{'Whole emission' if which == 'emission' else 'Light in lasing peaks'} (counts per pulse)"


def title_of(run: RunData) -> str:
    """Return the name of a run, with its status where it did not simply finish."""
    status = "paused" if run.paused and run.status == "running" else run.status
    return run.facts.title if status == "finished" else f"{run.facts.title}  –  {status}"


def counted(run: RunData) -> Tally:
    """Count the points of a run."""
    columns = (run.column(name) for name in ("saturated_exposures", "exposures", "integration_s"))
    out = sum(not one for one in run.clipped()[list(run.excluded)])
    return tally(*columns, planned=run.facts.planned, left_out=out)


def outcome_of(run: RunData, found: BandThreshold | None) -> Outcome:
    """Say what came of a run.

    :param found: the fitted threshold, None before there is one.
    """
    if found is None and not counted(run).all_saturated and run.status in ("running", "finished"):
        return Outcome("", "", "plain")
    return outcome(found or BandThreshold(), run.status, counted(run))


def notes_of(run: RunData, result: SweepResult | None, which: Signal = "emission") -> str:
    """Return one line: why it ended, how many points, what was changed by hand, what else its plan showed.

    :param result: what was said of it last, None before there is anything.
    """
    notes = [run.reason, "1 point" if len(run) == 1 else f"{len(run)} points"]
    if run.excluded:
        notes.append(f"{len(run.excluded)} excluded by user")
    if run.moved:
        notes.append("bands moved")
    if result is not None:
        notes += [pretty(line) for line in more_lines(result)]
    return "  ·  ".join(part for part in (*notes, _scale(result, which)) if part)


def _scale(result: SweepResult | None, which: Signal) -> str:
    """Say how well the fluences themselves are known; the interval in large digits does not hold that."""
    text = scale(None if result is None else result.budget)
    total = None if result is None else result.of(which).total_ci95
    if result is not None and total is not None:
        text += f", 95 % with it {digits(total[0])} – {digits(total[1])} {typographic(result.of(which).unit)}"
    return text


def waterfall_rows(run: RunData, *, by_time: bool) -> tuple[NDArray[np.intp], list[str], str]:
    """Return the order of the points as rows, a label for each, and that of the axis."""
    fluence, elapsed = run.column("fluence_uj_cm2"), run.column("elapsed_s")
    if by_time:
        order = np.arange(len(run))
        return order, [duration(elapsed[i]) for i in order], "Time since the start"
    order = np.argsort(fluence, kind="stable")
    return order, [digits(fluence[i], 3) for i in order], f"Fluence, {run.facts.convention} ({UNIT})"


SHORT = 12
"""Letters of a headline that is shown as large as a number."""


class VerdictStrip(QFrame):
    """One strip above the plots; readable from across the room."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setStyleSheet(f"VerdictStrip {{ background: {theme.PANEL}; border-radius: 8px; }}")
        self.headline, self.value, self.interval, self.title, self.details = (
            PlainLabel(),
            PlainLabel(),
            PlainLabel(),
            PlainLabel(),
            PlainLabel(),
        )
        self.value.setWordWrap(True)
        self.value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.headline.setStyleSheet("font-size: 14pt; font-weight: 600;")
        self.headline.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.headline.setWordWrap(True)
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
        right.addWidget(self.headline)
        right.addWidget(self.value, 1)
        right.addWidget(self.interval, 0, Qt.AlignmentFlag.AlignRight)
        layout.addLayout(right, 2)
        self.setToolTip(
            f"Onset of the light-light curve in {UNIT}, in the run's convention, with its total 95 % "
            "interval: statistical error and choice of the curve's shape. Above it stands what kink, "
            "linewidth and lines show together."
        )
        self.clear()

    def clear(self, title: str = "", details: str = "", value: str = "–") -> None:
        """Show no threshold."""
        self.title.setText(title)
        self.details.setText(details)
        self._set_value(value, "plain" if value != "–" else "dim")
        self.interval.setText("")
        self.headline.setText("")

    def show_threshold(
        self,
        title: str,
        convention: str,
        found: BandThreshold,
        note: str = "",
        said: Outcome | None = None,
        result: SweepResult | None = None,
    ) -> None:
        """Show a threshold, or why there is none. Its interval lacks the error of a scale nobody stated.

        :param said: what came of the run, in words; of a running one by default.
        :param result: all that was said of the run, for what its flags mean.
        """
        said = said or outcome(found, "running", Tally(0))
        self.title.setText(title)
        value = found.threshold_uj_cm2
        parts = [said.reason.replace("uJ/cm2", UNIT)]
        if value is not None and said.tone == "good":
            self._set_value(f"{digits(value)} {typographic(found.unit)}", "number")
            marks = ["provisional"] if found.provisional else []
            marks += ["statistical only"] if found.scale_rel is None else []
            self.interval.setText("  ·  ".join([interval(found.ci95), *marks]))
            own = found.reason.replace("uJ/cm2", UNIT)
            beside = parts[0].removesuffix(own).strip("; ")
            first = _first_mode(result, found)
            pump = f"{convention} {found.quantity}" if found.on_area else found.quantity
            parts = [
                first,
                f"{found.definition}, shape “{found.shape}”, {pump}",
                beside,
            ]
        else:
            bound = _bound(found) if said.tone != "danger" else ""
            self._set_value(bound or said.headline or "–", "number" if bound else said.tone)
            self.interval.setText("")
        verdict = None if result is None or said.tone == "danger" else result.verdict
        self.headline.setText("" if verdict is None else verdict.headline)
        if verdict is not None:
            parts = [verdict.sentence, *(w.reason for w in verdict.witnesses), *parts]
        defined = [] if result is None else definition_lines(result)
        self.value.setToolTip("\n".join(pretty(line) for line in defined))
        meant = flag_lines(result or SweepResult(found), found, "" if value is not None else said.reason)
        parts += [pretty(sentence) for sentence in meant]
        if found.outliers:
            parts.append("repeat point " + ", ".join(str(i + 1) for i in found.outliers))
        self.details.setText("  ·  ".join(part for part in (*parts, note) if part))

    def _set_value(self, text: str, tone: str) -> None:
        """Show a number as large as can be, words so that all of them can be read."""
        self.value.setText(text)
        size = 34 if tone == "number" or len(text) <= SHORT else 18
        colour = {"number": theme.THRESHOLD, "danger": theme.WRONG, "warn": theme.WARN}.get(tone, theme.DIM)
        self.value.setStyleSheet(f"font-size: {size}pt; font-weight: 800; color: {colour};")


def _first_mode(result: SweepResult | None, found: BandThreshold) -> str:
    """Name a mode that lases below the interval shown; it stands before all else."""
    first = None if result is None or result.modes is None else result.modes.first
    return pretty(first.text) if first is not None and "lines_below" in found.flags else ""


def _bound(found: BandThreshold) -> str:
    low, high = (None, None) if found.bound_condition or found.bound is None else found.bound
    if low is not None:
        return f"> {digits(low, 3)} {typographic(found.unit)}"
    return "" if high is None else f"< {digits(high, 3)} {typographic(found.unit)}"
