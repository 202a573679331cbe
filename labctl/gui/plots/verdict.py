"""The threshold in large digits with its interval, and in words everything that qualifies it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QTextBrowser, QVBoxLayout, QWidget

from labctl.gui.base import theme
from labctl.gui.base.fields import PlainLabel, plain, rich, tool_tip
from labctl.model.results.modes import ModeOnset
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.runner.meaning import flag_lines
from labctl.runner.report import (
    Outcome,
    Tally,
    beside_number,
    definition_lines,
    more_lines,
    outcome,
    tally,
)
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


@dataclass(frozen=True, slots=True)
class Section:
    """One part of what is said of a run: a title, and its lines."""

    title: str
    lines: tuple[str, ...]


def words_of(run: RunData, which: Signal = "emission") -> tuple[Section, ...]:
    """Return all that is said of a run, as the terminal says it; parts without a line are left out."""
    result = run.result or SweepResult()
    found = result.of(which)
    said = outcome_of(run, None if run.result is None else found)
    reason = beside_number(said.reason)
    known = run.result is not None and not result.doubt
    headline: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    if known and result.verdict is not None:
        headline = (f"{result.verdict.headline}: {result.verdict.sentence}",)
        witnesses = tuple(f"{_SAYS[w.state]} {w.name}: {w.reason}" for w in result.verdict.witnesses)
    parts = (
        ("Verdict", (*headline, *witnesses)),
        ("Threshold", (*_number(run, found), reason, _scale(run.result, which))),
        ("By each definition", tuple(definition_lines(result)) if known else ()),
        ("Mode by mode", _modes(result) if known else ()),
        ("What to know", flag_lines(result, found, reason) if known else ()),
        ("The run", (*notes_of(run), *(more_lines(result) if known else ()))),
    )
    return tuple(
        Section(title, tuple(pretty(line) for line in lines if line)) for title, lines in parts if any(lines)
    )


_SAYS = {"yes": "yes,", "no": "no,", "unknown": "unknown,"}


def _number(run: RunData, found: BandThreshold) -> tuple[str, ...]:
    value = found.threshold_uj_cm2
    if value is None:
        return ()
    return (
        f"{digits(value)} {UNIT} ({interval(found.ci95)}), {run.facts.convention} fluence",
        f"{found.definition}, shape “{found.shape}”",
    )


def _modes(result: SweepResult) -> tuple[str, ...]:
    modes = () if result.modes is None else result.modes.modes
    return tuple(_mode(mode) for mode in modes)


def _mode(mode: ModeOnset) -> str:
    if mode.onset_uj_cm2 is None:
        return f"{mode.wavelength_nm:.2f} nm: {mode.reason or mode.status.replace('_', ' ')}"
    return f"{mode.wavelength_nm:.2f} nm from {digits(mode.onset_uj_cm2)} {UNIT}, {interval(mode.ci95)}"


def notes_of(run: RunData) -> list[str]:
    """Say why a run ended, how many points it has, and what was changed by hand."""
    notes = [run.reason, "1 point" if len(run) == 1 else f"{len(run)} points"]
    if run.excluded:
        notes.append(f"{len(run.excluded)} excluded by user")
    if run.moved:
        notes.append("bands moved")
    return [note for note in notes if note]


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
    return order, [digits(fluence[i], 3) for i in order], f"Fluence ({UNIT})"


SHORT = 12
"""Letters of a headline that is shown as large as a number."""
STRIP_PX = 112


class VerdictStrip(QFrame):
    """One strip of fixed height above the plots: the number, and in one sentence what it is worth."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(STRIP_PX)
        self.setStyleSheet(f"VerdictStrip {{ background: {theme.PANEL}; border-radius: 8px; }}")
        self.value, self.interval, self.title, self.details = (PlainLabel() for _ in range(4))
        self.headline = PlainLabel()
        self.value.setWordWrap(True)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for label in (self.value, self.interval):
            label.setAlignment(right)
        self.headline.setStyleSheet(f"font-size: 12pt; font-weight: 700; color: {theme.ACCENT};")
        self.interval.setStyleSheet(f"font-size: 13pt; color: {theme.THRESHOLD};")
        self.title.setStyleSheet("font-size: 13pt; font-weight: 700;")
        self.details.setStyleSheet(f"font-size: 10pt; color: {theme.DIM};")
        self.details.setWordWrap(True)
        self.details.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.details.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        for label in (self.title, self.headline):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._whole = ""
        left = QVBoxLayout()
        left.setSpacing(0)
        for label, stretch in ((self.title, 0), (self.headline, 0), (self.details, 1)):
            left.addWidget(label, stretch)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(14, 4, 14, 4)
        layout.addLayout(left, 3)
        numbers = QVBoxLayout()
        numbers.setSpacing(0)
        numbers.addWidget(self.value, 1)
        numbers.addWidget(self.interval)
        layout.addLayout(numbers, 2)
        self.setToolTip(
            f"Onset of the light-light curve in {UNIT}, in the run's convention, with its total 95 % "
            "interval: statistical error and choice of the curve's shape. “In words”, beside the "
            "spectra, says what kink, linewidth and lines show together."
        )
        self.clear()

    def clear(self, title: str = "", details: str = "", value: str = "–") -> None:
        """Show no threshold."""
        self.title.setText(title)
        self._tell(details)
        self._set_value(value, "plain" if value != "–" else "dim")
        self.interval.setText("")
        self.headline.setText("")

    def show_threshold(
        self,
        title: str,
        found: BandThreshold,
        said: Outcome | None = None,
        result: SweepResult | None = None,
    ) -> None:
        """Show a threshold, or why there is none. Its interval lacks the error of a scale nobody stated.

        :param said: what came of the run, in words; of a running one by default.
        :param result: all that was said of the run, for its verdict.
        """
        said = said or outcome(found, "running", Tally(0))
        self.title.setText(title)
        value, reason = found.threshold_uj_cm2, pretty(beside_number(said.reason))
        if value is not None and said.tone == "good":
            self._set_value(f"{digits(value)} {typographic(found.unit)}", "number")
            marks = ["provisional"] if found.provisional else []
            marks += ["statistical only"] if found.scale_rel is None else []
            self.interval.setText("  ·  ".join([interval(found.ci95), *marks]))
        else:
            bound = _bound(found) if said.tone != "danger" else ""
            self._set_value(bound or said.headline or "–", "number" if bound else said.tone)
            self.interval.setText("")
        verdict = None if result is None or result.doubt or said.tone == "danger" else result.verdict
        self.headline.setText("" if verdict is None else verdict.headline)
        parts = [_first_mode(result, found), reason, "" if verdict is None else pretty(verdict.sentence)]
        if found.outliers:
            parts.append("repeat point " + ", ".join(str(i + 1) for i in found.outliers))
        self._tell(".  ".join(part for part in parts if part))

    def _tell(self, text: str) -> None:
        self._whole = text
        self.details.setToolTip(tool_tip(text))
        self._fit()

    def _fit(self) -> None:
        """Cut the sentence where its room ends; the whole stands in the words, and in the tip."""
        metrics, room = self.details.fontMetrics(), self.details.size()
        lines = max(room.height() // max(metrics.lineSpacing(), 1), 1)
        width = max(room.width(), 1) * lines - (30 * lines if lines > 1 else 0)
        self.details.setText(metrics.elidedText(plain(self._whole), Qt.TextElideMode.ElideRight, width))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Follow the room there is."""
        super().resizeEvent(event)
        self._fit()

    def _set_value(self, text: str, tone: str) -> None:
        """Show a number as large as can be, words so that all of them can be read."""
        self.value.setText(text)
        size = 32 if len(text) <= SHORT else 25 if tone == "number" else 15
        colour = {"number": theme.THRESHOLD, "danger": theme.WRONG, "warn": theme.WARN}.get(tone, theme.DIM)
        self.value.setStyleSheet(f"font-size: {size}pt; font-weight: 800; color: {colour};")


class Words(QTextBrowser):
    """All that is said of a run, in the words of the terminal; it can be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenLinks(False)
        self._shown: tuple[Section, ...] | None = None
        self.show_sections(())

    def show_sections(self, sections: tuple[Section, ...]) -> None:
        """Show the parts, each with its title."""
        if sections == self._shown:
            return
        self._shown = sections
        place = self.verticalScrollBar().value()
        self.setHtml(
            "".join(
                f"<h4 style='color: {theme.ACCENT}; margin: 6px 0 2px 0'>{rich(section.title)}</h4>"
                + "".join(f"<p style='margin: 0 0 3px 0'>{rich(line)}</p>" for line in section.lines)
                for section in sections
            )
            or f"<p style='color: {theme.DIM}'>Nothing was measured yet.</p>"
        )
        self.verticalScrollBar().setValue(place)


def _first_mode(result: SweepResult | None, found: BandThreshold) -> str:
    """Name a mode that lases below the interval shown; it stands before all else."""
    first = None if result is None or result.modes is None else result.modes.first
    return pretty(first.text) if first is not None and "lines_below" in found.flags else ""


def _bound(found: BandThreshold) -> str:
    low, high = (None, None) if found.bound_condition or found.bound is None else found.bound
    if low is not None:
        return f"> {digits(low, 3)} {typographic(found.unit)}"
    return "" if high is None else f"< {digits(high, 3)} {typographic(found.unit)}"
