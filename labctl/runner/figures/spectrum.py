"""One spectrum: its figure, and its file of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from labctl.model.errors import DataError
from labctl.runner.figures.base import Layout, in_figure, write
from labctl.session.spectrum import Snapshot


def write_spectrum(taken: Snapshot, table: Path, picture: Path) -> None:
    """Write a spectrum as a table (CSV) and as a figure (PNG); neither may be there yet.

    :raises DataError: one of them is, or cannot be written.
    """
    columns = {"wavelength_nm": taken.info.wavelength_nm, "counts": taken.counts}
    if taken.sigma is not None:
        columns["counts_standard_error"] = taken.sigma
    try:
        with table.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(f"# {described(taken)}\n")
            stream.write(",".join(columns) + "\n")
            np.savetxt(stream, np.column_stack(list(columns.values())), fmt="%.6g", delimiter=",")
        if picture.exists():
            raise FileExistsError(17, "File exists", str(picture))
        write(picture, lambda layout: spectrum_figure(taken, layout))
    except OSError as exc:
        raise DataError(f"{exc.filename or table}: {exc.strerror or exc}", "choose another name") from exc


def described(taken: Snapshot) -> str:
    """Return in one line what was taken, with what, and when."""
    cold = "" if taken.temperature_c is None else f", detector at {taken.temperature_c:.1f} C"
    times = f"{taken.exposures} exposures" if taken.exposures > 1 else "1 exposure"
    when = f"{times} of {taken.integration_s:g} s{cold}, {taken.at_utc}"
    return f"raw counts of {taken.info.identity}, {when}"


def spectrum_figure(taken: Snapshot, layout: Layout) -> Figure:
    """Draw the counts over the wavelength."""
    figure = Figure(figsize=layout.size(7.0, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(taken.info.wavelength_nm, taken.counts, color="#2a6f97")
    axes.set(xlabel="Wavelength (nm)", ylabel="Raw counts")
    axes.margins(x=0.0)
    if layout.titled:
        axes.set_title(in_figure(described(taken)), fontsize="small")
    return figure
