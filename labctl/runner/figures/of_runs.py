"""Every figure of a run, or of several together: for the command, the window and a notebook alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from labctl.data import read_run
from labctl.model.errors import DataError
from labctl.runner.figures.base import LAYOUTS, Columns, Layout, shown, write
from labctl.runner.figures.compared import Evaluated, compared_drawings
from labctl.runner.figures.stability import stability_drawing
from labctl.runner.figures.sweep import drawings, picture_of
from labctl.runner.refit import STABILITY_ID

Draw = Callable[[Layout], Figure]


def figures(*runs: Path | str, columns: Columns = "screen") -> dict[str, Figure]:
    """Draw the figures of a run, or of several runs together, in matplotlib.

    :param runs: run files; of several the figures in which they stand together are drawn.
    :param columns: where the figures are to stand: on a "screen", over two columns of a journal ("double",
        183 mm) or in one ("single", 89 mm).
    :returns: figures by name: "spectra", "threshold", "peak" and "lines" of a sweep, "stability" of a
        stability run; of several runs "thresholds" and "stability".
    :raises DataError: a file cannot be read, or there is nothing to draw.

    >>> from labctl import figures                                            # doctest: +SKIP
    >>> figures("OLA.h5", columns="single")["threshold"].savefig("fig5.pdf")  # doctest: +SKIP
    """
    every = [Evaluated.of(read_run(run)) for run in runs]
    found = of_run(every[0]) if len(every) == 1 else of_runs(every)
    if not found:
        raise DataError(f"{', '.join(map(str, runs))}: nothing to draw", "give runs with points")
    return {name: shown(draw, LAYOUTS[columns]) for name, draw in found.items()}


def of_run(one: Evaluated) -> Mapping[str, Draw]:
    """Return what draws each figure of a run; nothing for one without points.

    :raises CalibrationRefused: it is a stability run that cannot be fitted.
    """
    if not len(one.run):
        return {}
    if one.run.start.procedure == STABILITY_ID:
        return {"stability": stability_drawing(one.run)}
    return drawings(picture_of(one.run, one.report.result))


def of_runs(every: Sequence[Evaluated]) -> Mapping[str, Draw]:
    """Return what draws runs together; nothing where no two are of a kind."""
    return {name: draw for name, (_, draw) in compared_drawings(every).items()}


def draw_as(run: Path, path: Path, columns: Columns) -> list[Path]:
    """Draw the figures of one run under another name: ``x_threshold.pdf`` and others for ``x.pdf``.

    :raises DataError: the run cannot be read or has no points, or a figure cannot be written.
    """
    found = of_run(Evaluated.of(read_run(run)))
    if not found:
        raise DataError(f"{run}: nothing to draw", "choose a run with points")
    stem, kind = path.with_suffix(""), path.suffix
    return _written([(Path(f"{stem}_{name}{kind}"), draw) for name, draw in found.items()], columns)


def _written(wanted: Sequence[tuple[Path, Draw]], columns: Columns) -> list[Path]:
    try:
        return [write(path, draw, LAYOUTS[columns]) for path, draw in wanted]
    except OSError as exc:
        raise DataError(f"a figure cannot be written: {exc}", "name another directory") from exc


def draw_figures(
    runs: Sequence[Path], columns: Columns = "screen", kind: str = "png", output: Path | None = None
) -> list[Path]:
    """Draw the figures of every run, and those of all together, and return their paths.

    :param kind: of the files, one of :data:`labctl.runner.figures.base.FORMATS`.
    :param output: directory of the files; None: beside each run.
    :raises DataError: a run cannot be read, or a figure cannot be written.
    """
    every = [Evaluated.of(read_run(run)) for run in runs]
    wanted: list[tuple[Path, Draw]] = []
    for one in every:
        stem = one.run.path.with_suffix("")
        wanted += [(Path(f"{stem}_{name}.{kind}"), draw) for name, draw in of_run(one).items()]
    if len(every) > 1:
        stem = every[0].run.path.with_suffix("")
        wanted += [(Path(f"{stem}_{name}_compared.{kind}"), draw) for name, draw in of_runs(every).items()]
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DataError(f"figures cannot be written: {exc}", "name another directory: --output") from exc
        wanted = [(output / path.name, draw) for path, draw in wanted]
    return _written(wanted, columns)
