"""The page of stored runs: open, compare, leave points out, export."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyqtgraph.exporters
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QUndoStack
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from labctl.analysis.evaluation.comparison import compared
from labctl.data.csvfile import write_csv
from labctl.gui.base.dialogs import ask_to_replace, file_dialog, show
from labctl.gui.base.fields import PlainLabel, plain, tool_tip
from labctl.gui.plots.runview import RunView
from labctl.model.errors import DataError, LabctlError
from labctl.model.results.comparison import SampleRun
from labctl.runner.fit_process import Fits
from labctl.runner.report import comparison_lines
from labctl.runner.rundata import RunData, RunHead, open_file
from labctl.runner.wording import digits, pretty

PNG_WIDTH_PX = 2000
EXPORTS = (
    "L-L curve as PNG (*.png)",
    "Spectrum as PNG (*.png)",
    "Waterfall as PNG (*.png)",
    "All plots as one PNG (*.png)",
    "Figures of one column as PDF (*.pdf)",
    "Figures of two columns as PDF (*.pdf)",
    "Figures of two columns as SVG (*.svg)",
    "Figures of two columns as PNG (*.png)",
    "Report as HTML (*.html)",
    "L-L curve as CSV (*.csv)",
    "Spectra as CSV (*.csv)",
)


def target(path: Path, chosen: str) -> Path:
    """Return the file that one of :data:`EXPORTS` is written to: the ending is added where it lacks."""
    ending = chosen[chosen.index("*") + 1 : -1]
    return path if path.suffix.lower() == ending else path.with_name(path.name + ending)


def export(view: RunView, path: Path, chosen: str) -> list[Path]:
    """Write one of the figures of :data:`EXPORTS`; the ending is added where it lacks.

    :raises DataError: there is nothing to write, or it cannot be written.
    """
    path = target(path, chosen)
    plots: dict[str, QWidget] = {
        "L-L": view.lightlight.widget,
        "Spectrum": view.spectrum.widget,
        "Waterfall": view.waterfall.widget,
    }
    if view.current is None:
        raise DataError("no run is open")
    if chosen.startswith("All"):
        if not view.grab().save(str(path)):
            raise DataError(f"cannot write {path}")
    else:
        write_figure(plots[chosen.split()[0]], path)
    return [path]


def is_from_data(chosen: str) -> bool:
    """Whether one of :data:`EXPORTS` is made of the data: no window is needed, any thread may make it."""
    return chosen.endswith("(*.csv)") or chosen.startswith(("Figures", "Report"))


def write_data(run: RunData, path: Path, chosen: str) -> list[Path]:
    """Write a table of :data:`EXPORTS`, or what ``labctl figures`` or ``labctl report`` makes.

    :returns: the files.
    :raises LabctlError: there is nothing to write, or it cannot be written.
    """
    if chosen.endswith("(*.csv)"):
        (write_spectra if chosen.startswith("Spectra") else write_curve)(run, path)
        return [path]
    if run.facts.path is None:
        raise DataError(f"{run.facts.title} is not in a file yet")
    if chosen.startswith("Report"):
        from labctl.runner.documents.run_report import write_report

        return [write_report([run.facts.path], path, datetime.now(UTC))]
    from labctl.runner.figures.of_runs import draw_as  # matplotlib takes a second

    return draw_as(run.facts.path, path, "single" if "one column" in chosen else "double")


def write_figure(widget: Any, path: Path) -> None:
    """Write one plot as PNG.

    :raises DataError: it cannot be written.
    """
    try:
        with path.open("wb"):  # Qt fails silently where a file cannot be made
            pass
    except OSError as exc:
        raise DataError(f"cannot write {path}: {exc.strerror or exc}", "choose another file name") from exc
    exporter: Any = pyqtgraph.exporters.ImageExporter(widget.getPlotItem())
    exporter.parameters()["width"] = PNG_WIDTH_PX
    exporter.export(str(path))


def write_curve(run: RunData, path: Path) -> None:
    """Write one row a point: both signals with the bands as they stand, and what was left out.

    :raises DataError: it cannot be written.
    """
    write_csv(path, _about(run), *curve_table(run))


def curve_text(run: RunData) -> str:
    """Return the same with tabs between the columns, as a spreadsheet takes it from the clipboard."""
    header, rows = curve_table(run)
    return "\n".join(["\t".join(header), *("\t".join(map(str, row)) for row in rows)])


def curve_table(run: RunData) -> tuple[list[str], list[list[object]]]:
    """Return headings and rows of a curve, one row a point."""
    fluence = run.column("fluence_uj_cm2")
    emission, lasing = run.signal("emission"), run.signal("lasing")
    header = [
        *_pump_labels(run.facts),
        "Signal (counts per pulse)",
        "Signal error (counts per pulse)",
        "Peaks signal (counts per pulse)",
        "Peaks signal error (counts per pulse)",
        "FWHM (nm)",
        "Left out",
        "Flags",
    ]
    columns = (fluence, fluence * run.column("fluence_sigma_rel"), *emission, *lasing, run.column("fwhm_nm"))
    return header, [
        [*(float(c[at]) for c in columns), int(at in run.excluded), "|".join(run.flags(at))]
        for at in range(len(run))
    ]


def _pump_labels(head: RunHead) -> tuple[str, str]:
    """Return the headings of the pump and of its error."""
    if head.quantity == "fluence" and head.unit == "uJ/cm2":
        return f"{head.convention.capitalize()} fluence (uJ/cm^2)", "Fluence error (uJ/cm^2)"
    return f"Pump {head.quantity} ({head.unit})", f"Pump {head.quantity} error ({head.unit})"


def write_spectra(run: RunData, path: Path) -> None:
    """Write one row a wavelength and one column a point.

    :raises DataError: there are none, or it cannot be written.
    """
    spectra = run.arrays.spectra()
    if not spectra.size:
        raise DataError(f"{run.facts.title} has no spectra")
    header = ["Wavelength (nm)", *(f"{value:.6g} uJ/cm^2" for value in run.column("fluence_uj_cm2"))]
    rows = np.column_stack([run.facts.wavelength_nm, spectra.T])
    write_csv(path, _about(run), header, rows.tolist())


def _about(run: RunData) -> str:
    bands = run.bands
    about = (
        f"{run.facts.title} ({run.status}), {run.facts.convention} fluence; "
        f"emission {bands.emission_nm[0]:.2f} to {bands.emission_nm[1]:.2f} nm, "
        f"lasing {bands.lasing_nm[0]:.2f} to {bands.lasing_nm[1]:.2f} nm"
    )
    return f"{about}; {run.doubt}" if run.doubt else about


RESUMABLE = ("aborted", "failed", "killed")


@dataclass(frozen=True, slots=True)
class Opened:
    """A file was read, or could not be: then ``message`` says why.

    :param quiet: something more important is on the screen.
    """

    path: Path
    run: RunData | None
    message: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """Tables or figures were written, or could not be: then ``problem`` says why."""

    paths: tuple[Path, ...]
    problem: str = ""


class RunsPage(QWidget):
    """A list of runs beside their plots.

    :param post: hands something from another thread to :meth:`take` in Qt's.
    :ivar said: one line for the user.
    :ivar resume_wanted: the run that shall go on; only where there is a bench.
    """

    said = Signal(str, bool)
    resume_wanted = Signal(object)

    def __init__(self, fits: Fits, undo: QUndoStack, post: Callable[[object], None]) -> None:
        super().__init__()
        self._post = post
        self.view = RunView("runs", fits, post, undo)
        self.list = QListWidget()
        self.list.setToolTip(
            "Open runs. Ticked runs are drawn in the L-L curve; the selected run shows its spectra."
        )
        self.list.currentItemChanged.connect(self._chosen)
        self.list.itemChanged.connect(self._ticked)
        self._items: dict[str, QListWidgetItem] = {}
        self._opening: QFileDialog | None = None
        self._exporting: QFileDialog | None = None
        self._exported: RunData | None = None
        self._exported_view = self.view
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(8, 8, 0, 8)
        column.addWidget(PlainLabel("Runs"))
        column.addWidget(self.list, 1)
        self.compared = PlainLabel()
        self.compared.setWordWrap(True)
        self.compared.setToolTip("What the ticked runs of several samples say together")
        self.compared.hide()
        column.addWidget(self.compared)
        for text, tip, act in (
            ("Open…", "Open run files or tables (Ctrl+O)", self.ask_for_files),
            ("Close run", "Close the selected run (Ctrl+W)", self.close_current),
            ("Export…", "Figures for a journal, plots, data, a report (Ctrl+E)", self.ask_for_export),
        ):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _checked=False, act=act: act())
            column.addWidget(button)
        self.resume = QPushButton("Resume run")
        self.resume.setToolTip(
            "Measure the rest of an aborted, failed or killed run on this bench, into the same file; "
            "differences between the benches are shown first (Ctrl+Shift+R)"
        )
        self.resume.clicked.connect(self._resume)
        self.resume.setVisible(False)
        self.view.current_changed.connect(lambda _key: self.judge_resume())
        column.addWidget(self.resume)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(side)
        splitter.addWidget(self.view)
        splitter.setSizes([210, 1200])
        splitter.setStretchFactor(1, 1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(splitter)
        self.empty_text()

    def empty_text(self) -> None:
        """Say what to do where there is nothing to see."""
        self.view.strip.clear("No run is open", "Open one with Ctrl+O, or drop run files onto the window.")

    # --- opening -----------------------------------------------------------------------------------

    def open(self, paths: list[Path], *, quiet: bool = False) -> None:
        """Read files in a thread of their own; each is shown, or told of, when it is there."""
        threading.Thread(target=self._read, args=(list(paths), quiet), name="open-runs", daemon=True).start()

    def _read(self, paths: list[Path], quiet: bool) -> None:
        for path in paths:
            try:
                self._post(Opened(path, open_file(path), quiet=quiet))
            except DataError as exc:
                self._post(Opened(path, None, str(exc)))
            except Exception as exc:  # noqa: BLE001  a message, never a traceback
                self._post(Opened(path, None, f"{path}: {type(exc).__name__}: {exc}"))

    def exported(self, told: Exported) -> None:
        """Say what became of tables or figures."""
        files = ", ".join(map(str, told.paths))
        text = f"not exported: {told.problem}" if told.problem else f"written: {files}"
        self.said.emit(text, bool(told.problem))

    def take(self, opened: Opened) -> None:
        """Show a file that was read."""
        if opened.run is None:
            self.said.emit(opened.message, True)
            return
        run = opened.run
        key = run.facts.key
        self.view.add_run(run)
        if key not in self._items:
            item = QListWidgetItem()
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setData(Qt.ItemDataRole.UserRole, key)
            item.setCheckState(Qt.CheckState.Checked)
            self._items[key] = item
            self.list.addItem(item)
        self._describe(run)
        self.list.setCurrentItem(self._items[key])
        self.judge_resume()
        out = f", {len(run.excluded)} excluded by user" if run.excluded else ""
        if not opened.quiet:
            self.said.emit(f"opened {opened.path.name}: {run.status}, {len(run)} points{out}", False)
        if run.problem:
            self.said.emit(run.problem, True)

    def _describe(self, run: RunData) -> None:
        item = self._items.get(run.facts.key)
        if item is None:
            return
        value = None if run.result is None else run.result.of(self.view.which).threshold_uj_cm2
        text = f"{run.facts.title}\n{run.status}, {len(run)} points"
        if value is not None:
            text += f"\n{digits(value)} {run.facts.unit_shown}"
        blocked = self.list.blockSignals(True)
        item.setText(plain(text))
        item.setForeground(QColor(self.view.colour(run.facts.key)))
        item.setToolTip(tool_tip(run.facts.path or ""))
        self.list.blockSignals(blocked)

    def refresh(self) -> None:
        """Write the thresholds into the list."""
        for run in self.view.runs.values():
            self._describe(run)
        self._compare()

    def _compare(self) -> None:
        """Say what the ticked runs of several samples say together: the ratio of their thresholds."""
        ticked = [
            self.view.runs[key]
            for key, item in self._items.items()
            if item.checkState() == Qt.CheckState.Checked and key in self.view.runs
        ]
        seen = [
            SampleRun(
                run.facts.sample,
                run.facts.spot,
                run.facts.meter,
                run.result.threshold,
                run.result.budget,
                run.result.stability,
            )
            for run in ticked
            if run.result is not None
        ]
        lines = [pretty(line) for line in comparison_lines(compared(seen))]
        self.compared.setText("\n".join(lines))
        self.compared.setVisible(bool(lines))

    # --- the list ----------------------------------------------------------------------------------

    def _chosen(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            key = str(item.data(Qt.ItemDataRole.UserRole))
            if key in self.view.runs:
                self.view.set_current(key)

    def _ticked(self, item: QListWidgetItem) -> None:
        key = str(item.data(Qt.ItemDataRole.UserRole))
        if key in self.view.runs:
            self.view.set_visible(key, item.checkState() == Qt.CheckState.Checked)
            self._compare()

    def close_current(self) -> None:
        """Take the selected run from the list."""
        run = self.view.current
        if run is None:
            return
        key = run.facts.key
        item = self._items.pop(key, None)
        self.view.remove_run(key)
        if item is not None:
            self.list.takeItem(self.list.row(item))
        self._compare()
        if not self.view.runs:
            self.empty_text()
        self.judge_resume()

    # --- going on ----------------------------------------------------------------------------------

    def allow_resume(self) -> None:
        """There is a bench on which runs can go on."""
        self.resume.setVisible(True)
        self.judge_resume()

    def judge_resume(self) -> None:
        """Allow it for a run that was interrupted."""
        run = self.view.current
        self.resume.setEnabled(run is not None and run.facts.is_run and run.status in RESUMABLE)

    def _resume(self) -> None:
        run = self.view.current
        if run is not None and self.resume.isEnabled():
            self.resume.setEnabled(False)  # until it is opened again, as it then is
            self.resume_wanted.emit(run)

    # --- dialogues ---------------------------------------------------------------------------------

    def ask_for_files(self) -> None:
        """Let the user choose files."""
        if self._opening is None:
            self._opening = file_dialog(self, "Open runs", QFileDialog.FileMode.ExistingFiles)
            self._opening.setNameFilters(["Runs and tables (*.h5 *.csv *.txt *.dat)", "All files (*)"])
            self._opening.filesSelected.connect(lambda names: self.open([Path(name) for name in names]))
        show(self._opening)

    def ask_for_export(self, view: RunView | None = None) -> None:
        """Let the user choose what to export, and where.

        :param view: of the run; this page's by default.
        """
        view = view or self.view
        run = view.current
        if run is None:
            self.said.emit("nothing to export: open a run first", True)
            return
        if self._exporting is None:
            self._exporting = file_dialog(self, "Export", QFileDialog.FileMode.AnyFile)
            self._exporting.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
            self._exporting.setNameFilters(list(EXPORTS))
            self._exporting.fileSelected.connect(self._export_chosen)
        if not self._exporting.isVisible():
            self._exported, self._exported_view = run, view
            self._exporting.setWindowTitle(f"Export {run.facts.title}")
            self._exporting.selectFile(str((run.facts.path or Path(run.facts.title)).with_suffix("")))
        show(self._exporting)

    def _export_chosen(self, name: str) -> None:
        """Export the run that the dialog was opened for, whatever has been selected since."""
        assert self._exporting is not None
        run, view = self._exported, self._exported_view
        chosen = self._exporting.selectedNameFilter()
        if run is None or run.facts.key not in view.runs:
            self.said.emit("not exported: the run has been closed", True)
            return
        if view is self.view:
            self.list.setCurrentItem(self._items[run.facts.key])
        ask_to_replace(self, target(Path(name), chosen), lambda: self.export(Path(name), chosen, view))

    def export(self, path: Path, chosen: str, view: RunView | None = None) -> None:
        """Write what is shown; tell the file, or why not."""
        view = view or self.view
        run = view.current
        if run is not None and is_from_data(chosen):
            path = target(path, chosen)
            threading.Thread(target=self._write, args=(run, path, chosen), name="export").start()
            return
        try:
            written = export(view, path, chosen)
        except (DataError, OSError) as exc:
            self.said.emit(f"not exported: {exc}", True)
        else:
            self.said.emit("written: " + ", ".join(str(p) for p in written), False)

    def _write(self, run: RunData, path: Path, chosen: str) -> None:
        """Write data in a thread of its own: thousands of spectra take longer than SAFE may wait."""
        try:
            written = write_data(run, path, chosen)
        except (LabctlError, OSError) as exc:
            self._post(Exported((path,), str(exc)))
        else:
            self._post(Exported(tuple(written)))
