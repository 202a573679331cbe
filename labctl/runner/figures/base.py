"""How every figure looks, where it is to stand, and how it is written.

Drawn without pyplot and without a window, so that any thread of any program may call them.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from labctl.model.records import FloatArray
from labctl.model.untrusted import printable

FORMATS = ("png", "pdf", "svg")
MM = 1 / 25.4
TITLE_WIDTH = 140
"""Characters of a line of the widest figure's title."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a figure is to stand.

    :param width_in: inches; None: the width that suits the figure on a screen.
    :param stacked: whether panels stand below each other instead of beside.
    :param font_pt: size of the text.
    :param titled: whether the figure carries a title; in a journal the caption does.
    :param detail: stretches of a spectrum, each drawn from its lowest to its highest value; None: all pixels.
    """

    width_in: float | None = None
    stacked: bool = False
    font_pt: float = 10.0
    titled: bool = True
    detail: int | None = None

    def size(self, width_in: float, height_in: float, panels: float = 1) -> tuple[float, float]:
        """Return width and height in inches of a figure that is so large on a screen.

        :param panels: that stand beside each other there.
        """
        if self.width_in is None:
            return width_in, height_in
        width = min(self.width_in, width_in)
        if self.stacked:
            return width, width * (0.72 * panels if panels > 1 else 0.9)
        # text shrinks less than the figure, and needs its height
        return width, height_in * (width / width_in) ** 0.55

    def grid(self, panels: int) -> tuple[int, int]:
        """Return rows and columns of so many equal panels."""
        return (panels, 1) if self.stacked else (1, panels)


Columns = Literal["screen", "double", "single"]
SCREEN = Layout()
LAYOUTS: dict[Columns, Layout] = {
    "screen": SCREEN,
    "double": Layout(183 * MM, font_pt=7.0, titled=False),
    "single": Layout(89 * MM, stacked=True, font_pt=7.0, titled=False),
}
"""A screen, and the widths of two columns and of one in most journals."""


def _style(layout: Layout) -> Any:
    font = layout.font_pt
    return {
        "font.size": font,
        "axes.titlesize": 1.05 * font,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.08 * font,
        "lines.linewidth": 0.1 * font,
        "lines.markersize": 0.4 * font,
        "xtick.direction": "in",
        "ytick.direction": "in",
        "legend.frameon": False,
        "legend.fontsize": 0.85 * font,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "savefig.dpi": 160 if layout.width_in is None else 600,
        "pdf.fonttype": 42,  # text that an editor can change
        "svg.fonttype": "path",  # looks the same where a font is missing
        "svg.hashsalt": "labctl",
    }


@contextlib.contextmanager
def styled(layout: Layout) -> Iterator[None]:
    """Give matplotlib the look of the layout while inside."""
    with mpl.rc_context(_style(layout)):
        yield


def write(path: Path, draw: Callable[[Layout], Figure], layout: Layout = SCREEN) -> Path:
    """Draw a figure into a file, in the format of its ending (:data:`FORMATS`), and return its path.

    :raises OSError: it cannot be written.
    """
    kind = path.suffix[1:]
    with styled(layout):
        figure = draw(layout)
        FigureCanvasAgg(figure)
        figure.savefig(path, format=kind, metadata=None if kind == "png" else _DATELESS[kind])
    return path


_DATELESS: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""The same run gives the same file."""


def svg_of(draw: Callable[[Layout], Figure], layout: Layout = SCREEN) -> str:
    """Draw a figure as the text of an SVG."""
    out = io.StringIO()
    with styled(layout):
        draw(layout).savefig(out, format="svg", metadata=_DATELESS["svg"])
    text = out.getvalue()
    return text[text.index("<svg") :]


def shown(draw: Callable[[Layout], Figure], layout: Layout = SCREEN) -> Figure:
    """Draw a figure for a notebook or a window."""
    with styled(layout):
        figure = draw(layout)
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]  # ticks take their look when they are first drawn
    return figure


def outline(x: FloatArray, y: FloatArray, stretches: int | None) -> tuple[FloatArray, FloatArray]:
    """Return a curve of many points as its lowest and highest of each stretch: it looks the same.

    :param stretches: of equal numbers of points; None: every point.

    >>> outline(np.arange(8.0), np.array([0, 5, 1, 2, 3, 9, 8, 7.0]), 2)
    (array([0., 1., 4., 5.]), array([0., 5., 3., 9.]))
    """
    if stretches is None or x.size <= 2 * stretches:
        return x, y
    long = -(-x.size // stretches)
    padded = np.pad(y, (0, long * stretches - x.size), mode="edge").reshape(stretches, long)
    ends = np.sort([np.argmin(padded, axis=1), np.argmax(padded, axis=1)], axis=0)
    chosen = np.minimum((ends + long * np.arange(stretches)).T.ravel(), x.size - 1)
    return x[chosen], y[chosen]


def in_figure(text: str) -> str:
    """Return a text that others wrote as matplotlib takes it literally: printable, and no formula."""
    return printable(text).replace("$", r"\$")


def label_decades(axis: Axis) -> None:
    """Mark and label 1, 2, 3 and 5 of each decade of a logarithmic axis, and no more: ticks cost time."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def labels_power(value: float, _position: float) -> str:
    """Label the decades of a logarithmic axis; plain text is drawn several times faster than a formula."""
    power = round(math.log10(value)) if value > 0 else 0
    return f"10{str(power).translate(_RAISED)}"
