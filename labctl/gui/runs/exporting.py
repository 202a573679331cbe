"""Figures of what is on the screen as PNG and SVG, and its numbers as CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph.exporters
from PySide6.QtGui import QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from labctl.model.errors import DataError
from labctl.runner.rundata import RunData

if TYPE_CHECKING:
    from labctl.gui.plots.runview import RunView

PNG_WIDTH_PX = 2000
EXPORTS = (
    "L-L curve as PNG (*.png)",
    "L-L curve as SVG (*.svg)",
    "Spectrum as PNG (*.png)",
    "Spectrum as SVG (*.svg)",
    "Waterfall as PNG (*.png)",
    "All plots as one PNG (*.png)",
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


def is_table(chosen: str) -> bool:
    """Whether one of :data:`EXPORTS` is a table: it needs no window, and may be written in any thread."""
    return chosen.endswith("(*.csv)")


def write_table(run: RunData, path: Path, chosen: str) -> None:
    """Write one of the tables of :data:`EXPORTS`.

    :raises DataError: there is nothing to write, or it cannot be written.
    """
    (write_spectra if chosen.startswith("Spectra") else write_curve)(run, path)


def write_figure(widget: Any, path: Path) -> None:
    """Write one plot, by the ending of ``path``.

    :raises DataError: it cannot be written.
    """
    try:
        with path.open("wb"):  # Qt fails silently where a file cannot be made
            pass
    except OSError as exc:
        raise DataError(f"cannot write {path}: {exc.strerror or exc}", "name another file") from exc
    if path.suffix == ".svg":
        _write_svg(widget, path)
        return
    exporter: Any = pyqtgraph.exporters.ImageExporter(widget.getPlotItem())
    exporter.parameters()["width"] = PNG_WIDTH_PX
    exporter.export(str(path))


def _write_svg(widget: Any, path: Path) -> None:
    """Let Qt draw it: pyqtgraph's own exporter stumbles over filled bands and images."""
    generator = QSvgGenerator()
    generator.setFileName(str(path))
    generator.setSize(widget.size())
    generator.setViewBox(widget.rect())
    painter = QPainter(generator)
    try:
        widget.render(painter)
    finally:
        painter.end()


def write_curve(run: RunData, path: Path) -> None:
    """Write one row a point: both signals with the bands as they stand, and what was left out.

    :raises DataError: it cannot be written.
    """
    fluence = run.column("fluence_uj_cm2")
    emission, lasing = run.signal("emission"), run.signal("lasing")
    header = [
        f"{run.facts.convention.capitalize()} fluence (uJ/cm^2)",
        "Fluence error (uJ/cm^2)",
        "Signal (counts per pulse)",
        "Signal error (counts per pulse)",
        "Peaks signal (counts per pulse)",
        "Peaks signal error (counts per pulse)",
        "FWHM (nm)",
        "Left out",
        "Flags",
    ]
    columns = (fluence, fluence * run.column("fluence_sigma_rel"), *emission, *lasing, run.column("fwhm_nm"))
    rows = (
        [*(float(c[at]) for c in columns), int(at in run.excluded), "|".join(run.flags(at))]
        for at in range(len(run))
    )
    _write(path, run, header, rows)


def write_spectra(run: RunData, path: Path) -> None:
    """Write one row a wavelength and one column a point.

    :raises DataError: there are none, or it cannot be written.
    """
    spectra = run.arrays.spectra()
    if not spectra.size:
        raise DataError(f"{run.facts.title} has no spectra")
    header = ["Wavelength (nm)", *(f"{value:.6g} uJ/cm^2" for value in run.column("fluence_uj_cm2"))]
    rows = np.column_stack([run.facts.wavelength_nm, spectra.T])
    _write(path, run, header, rows.tolist())


def _write(path: Path, run: RunData, header: list[str], rows: Any) -> None:
    bands = run.bands
    about = (
        f"# {run.facts.title} ({run.status}), {run.facts.convention} fluence; "
        f"emission {bands.emission_nm[0]:.2f} to {bands.emission_nm[1]:.2f} nm, "
        f"lasing {bands.lasing_nm[0]:.2f} to {bands.lasing_nm[1]:.2f} nm"
    )
    about += f"; {run.doubt}" if run.doubt else ""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            file.write(about.replace("\n", " ").replace("\r", " ") + "\n")
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as exc:
        raise DataError(f"cannot write {path}: {exc.strerror or exc}", "name another file") from exc
