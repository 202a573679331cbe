"""Figures for journals: formats and widths, what each shows, and that nothing overlaps or is cut."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import labctl
from labctl.cli import main
from labctl.data import read_run
from labctl.model.errors import DataError
from labctl.runner.figures.base import LAYOUTS, Columns, outline, shown, svg_of, write
from labctl.runner.figures.light_light import Residuals
from labctl.runner.figures.sweep import RunPicture, drawings, picture_of

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"


@pytest.fixture(scope="module")
def picture() -> RunPicture:
    return picture_of(read_run(EXAMPLE))


def texts(figure: Any) -> Iterator[Text]:
    """Titles, labels of axes, and legends as a whole: what must neither overlap nor be cut."""
    for part in (figure, *getattr(figure, "subfigs", ())):
        if part is not figure:
            yield from texts(part)
    for axes in figure.axes:
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            if text.get_text():
                yield text


def boxes(figure: Any) -> list[tuple[str, Bbox]]:
    found = {id(text): (text.get_text(), text.get_window_extent()) for text in texts(figure)}
    named = list(found.values())
    legends = (*figure.legends, *(axes.get_legend() for axes in figure.axes))
    named += [("legend", legend.get_window_extent()) for legend in legends if legend is not None]
    if figure.get_suptitle():
        named.append(("title of the figure", figure._suptitle.get_window_extent()))
    return named


@pytest.mark.parametrize("columns", ["screen", "double", "single"])
@pytest.mark.parametrize("name", ["spectra", "threshold", "peak", "lines"])
def test_nothing_overlaps_and_nothing_is_cut(picture: RunPicture, name: str, columns: Columns) -> None:
    figure = shown(drawings(picture)[name], LAYOUTS[columns])
    whole = figure.bbox
    named = boxes(figure)
    for said, box in named:
        assert whole.x0 - 1 <= box.x0, said
        assert box.x1 <= whole.x1 + 1, said
        assert whole.y0 - 1 <= box.y0, said
        assert box.y1 <= whole.y1 + 1, said
    for (one, a), (other, b) in combinations(named, 2):
        assert not (a.overlaps(b) and "legend" not in (one, other)), f"{one} and {other}"
    for axes in figure.axes:
        for label in (axes.get_xlabel(), axes.get_ylabel()):
            assert re.search(r"\(.+\)|normalised|^$|Power", label), label
    assert any(axes.get_xlabel() for axes in figure.axes)


@pytest.mark.parametrize("columns", ["double", "single"])
def test_a_figure_for_a_journal_has_its_width_and_no_title(picture: RunPicture, columns: Columns) -> None:
    figure = shown(drawings(picture)["threshold"], LAYOUTS[columns])
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx({"double": 183, "single": 89}[columns])
    assert not figure.get_suptitle()
    assert figure.get_facecolor() == (1, 1, 1, 1)


def test_the_legend_lies_outside_of_the_curves(picture: RunPicture) -> None:
    figure = shown(drawings(picture)["threshold"], LAYOUTS["double"])
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert all(axes.get_legend() is None for axes in figure.axes)
    assert not any(axes.get_window_extent().overlaps(box) for axes in figure.axes)


def test_points_within_the_interval_are_coloured_as_neither_side(picture: RunPicture) -> None:
    assert picture.ci95 is not None
    middle = picture.shown[len(picture.shown) // 2]
    at = float(picture.fluence_uj_cm2[middle])
    moved = replace(picture, threshold_uj_cm2=at, ci95=(0.999 * at, 1.001 * at))
    figure = shown(drawings(moved)["spectra"], LAYOUTS["screen"])
    stacked = figure.axes[-1].get_lines()
    red, green, blue, _ = np.array([line.get_color() for line in stacked]).T
    inside = picture.shown.index(middle)
    assert red[inside] == green[inside] == blue[inside]
    assert (blue[:inside] > red[:inside]).all()
    assert (red[inside + 1 :] > blue[inside + 1 :]).all()
    below, above = (figure.axes[n].get_title() for n in (0, 1))
    assert below.startswith("below the onset")
    assert above.startswith("from the onset on")


def test_all_counts_are_per_pulse(picture: RunPicture) -> None:
    assert picture.peak is not None
    assert picture.peak.unit == "counts per pulse"
    brightest = int(np.nanargmax(picture.fluence_uj_cm2))
    top = picture.spectra[brightest, picture.pixels].max()
    assert picture.peak.counts.max() == pytest.approx(top, rel=0.05)
    for name in ("spectra", "threshold", "peak"):
        for axes in shown(drawings(picture)[name]).axes:
            assert "per exposure" not in axes.get_ylabel()


def test_residuals_hold_the_points_against_the_fit() -> None:
    fluence = np.geomspace(10.0, 100.0, 50)
    curve = (fluence, fluence**2, 0.98 * fluence**2, 1.03 * fluence**2)
    at = np.array([5.0, 20.0, 50.0, np.nan])
    signal = np.array([25.0, 1.1 * 400.0, np.nan, 1.0])
    found = Residuals.of(curve, at, signal, np.full(4, 0.01), 0.03 * signal)
    assert found.fluence_uj_cm2.tolist() == [20.0]
    assert found.percent == pytest.approx([10.0], rel=1e-3)
    assert found.sigma == pytest.approx([100 * np.hypot(0.033, 2 * 0.01)], rel=1e-3)
    assert found.band[0] == pytest.approx(-2.0)
    assert found.band[1] == pytest.approx(3.0)


def test_the_same_run_gives_the_same_file(picture: RunPicture, tmp_path: Path) -> None:
    draw = drawings(picture)["peak"]
    for kind, begins in (("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")):
        one, two = (write(tmp_path / f"{n}.{kind}", draw, LAYOUTS["single"]) for n in "ab")
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes().startswith(begins)
    assert b"Type3" not in (tmp_path / "a.pdf").read_bytes()
    assert svg_of(draw).startswith("<svg")


def test_a_notebook_gets_the_figures_of_the_command() -> None:
    found = labctl.figures(EXAMPLE, columns="single")
    assert list(found) == ["spectra", "threshold", "peak", "lines"]
    assert found["peak"].get_size_inches()[0] == pytest.approx(89 / 25.4)


def test_the_command_draws_each_run_and_all_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [shutil.copy(EXAMPLE, tmp_path / name) for name in ("a.h5", "b.h5")]
    given = [*map(str, runs), "--format", "svg", "--columns", "single", "--output", str(tmp_path / "out")]
    assert main(["figures", *given]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    own = {f"{stem}_{name}.svg" for stem in "ab" for name in ("spectra", "threshold", "peak", "lines")}
    assert names == own | {"a_thresholds_compared.svg"}
    assert set(capsys.readouterr().out.split()) == {str(tmp_path / "out" / name) for name in names}


def test_a_run_without_points_has_no_figures(picture: RunPicture) -> None:
    none = np.empty(0)
    assert drawings(replace(picture, fluence_uj_cm2=none, signal=none)) == {}


def test_a_figure_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    assert main(["figures", str(EXAMPLE), "--output", str(blocked)]) == 5
    assert "cannot be written" in capsys.readouterr().err
    with pytest.raises(DataError):
        labctl.figures(tmp_path / "nothing.h5")


def test_an_outline_keeps_every_peak_and_dip() -> None:
    x, y = np.arange(1000.0), np.random.default_rng(1).normal(size=1000)
    y[500] = 50.0
    thin_x, thin_y = outline(x, y, 40)
    assert thin_x.size == 80
    assert (np.diff(thin_x) >= 0).all()
    assert (thin_y.max(), thin_y.min()) == (50.0, y.min())
    assert all(y[int(at)] == value for at, value in zip(thin_x, thin_y, strict=True))
    assert outline(x, y, None)[0] is x
    assert outline(x[:7], y[:7], 40)[0].size == 7
