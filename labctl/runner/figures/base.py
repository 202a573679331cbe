"""How every figure looks and is written.

Drawn without pyplot and without a window, so that any thread of any program may call them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from labctl.model.untrusted import printable

STYLE: Any = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.linewidth": 0.8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fontsize": 8.5,
    "savefig.dpi": 160,
}
"""How every figure looks."""
TITLE_WIDTH = 140
"""Characters of a line of the widest figure's title."""


def write(path: Path, draw: Callable[[], Figure]) -> Path:
    """Draw a figure into a PNG file and return its path.

    :raises OSError: it cannot be written.
    """
    with mpl.rc_context(STYLE):
        figure = draw()
        FigureCanvasAgg(figure)
        figure.savefig(path, format="png")
    return path


def in_figure(text: str) -> str:
    """Return a text that others wrote as matplotlib takes it literally: printable, and no formula."""
    return printable(text).replace("$", r"\$")


def labels_235(value: float, _position: float) -> str:
    """Label 2, 3 and 5 of each decade of a logarithmic axis."""
    return f"{value:g}" if f"{value:.0e}"[0] in "235" else ""
