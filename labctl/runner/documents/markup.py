"""HTML that opens anywhere: texts are escaped, figures and the numbers behind them are in the file."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from matplotlib.figure import Figure

from labctl.model.untrusted import printable
from labctl.runner.figures.base import Layout, svg_of
from labctl.runner.wording import pretty

WIDE = Layout(9.6, font_pt=9.0, titled=False, detail=400)
NARROW = Layout(3.6, stacked=True, font_pt=8.5, titled=False, detail=400)
SMALL = Layout(4.4, font_pt=9.0, titled=False)
"""Layouts of a report: on a screen and on paper, on a telephone, and of one panel on both."""
_ENCODED = {ord(sign): f"%{ord(sign):02X}" for sign in "%#\"'<>& \n"}
"""What an address in a page must not hold as it is."""
_SHORT = 24
"""Characters of a cell that is not broken."""
_DIGITS = re.compile(r"(\.\d\d)\d+")
_PATHS = re.compile(r' d="[^"]*"')


def text(value: object) -> str:
    """Return what somebody wrote, or a number, as it is shown: escaped, printable, with typographic units."""
    return html.escape(pretty(printable(value)))


def paragraphs(lines: Sequence[str]) -> str:
    """Return sentences, a paragraph each."""
    return "".join(f"<p>{text(line)}</p>" for line in lines)


def listed(lines: Sequence[str]) -> str:
    """Return sentences as a list; empty without any."""
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>" if lines else ""


def table(heading: Sequence[object], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """Return a table that scrolls where it is too wide; the first cell of a row names the row."""
    above = f"<caption>{text(caption)}</caption>" if caption else ""
    head = "".join(f'<th scope="col">{text(cell)}</th>' for cell in heading)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    thead = f"<thead><tr>{head}</tr></thead>" if heading else ""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{text(caption or "table")}">'
        f"<table>{above}{thead}<tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[object]) -> str:
    first, *rest = row
    return f'<th scope="row">{text(first)}</th>' + "".join(map(_cell, rest))


def _cell(cell: object) -> str:
    """Return a cell; a number with its unit, or an interval, stays in one line."""
    shown = text(cell)
    kind = ' class="short"' if len(shown) <= _SHORT else ""
    return f"<td{kind}>{shown}</td>"


def section(title: str, *parts: str) -> str:
    """Return a section of a run; empty where it has nothing in it."""
    inside = "".join(parts)
    return f"<section><h3>{text(title)}</h3>{inside}</section>" if inside else ""


def folded(title: str, inside: str) -> str:
    """Return what is shown when somebody asks for it, and on paper never."""
    return f"<details><summary>{text(title)}</summary>{inside}</details>" if inside else ""


@dataclass(frozen=True, slots=True)
class Data:
    """A table of numbers that the reader can save.

    :param name: of the file.
    :param heading: of its columns, with units.
    :param rows: one a line; nan is left empty.
    """

    name: str
    heading: Sequence[str]
    rows: Sequence[Sequence[object]]

    @property
    def csv(self) -> str:
        """The text of the file."""
        lines = [",".join(f'"{cell}"' if "," in cell else cell for cell in self.heading)]
        lines += [",".join(map(_number, row)) for row in self.rows]
        return "\n".join(lines) + "\n"

    def link(self, kind: str = "") -> str:
        """Return a link that saves the table.

        :param kind: class of the link, by which a script finds it.
        """
        mark = f' class="{kind}"' if kind else ""
        content = self.csv.translate(_ENCODED)
        return (
            f'<a{mark} download="{text(self.name)}" href="data:text/csv;charset=utf-8,{content}">'
            f"{text(self.name)}</a>"
        )


def _number(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return str(value)


def figure(draw: Callable[[Layout], Figure], caption: str, alt: str, *data: str, small: bool = False) -> str:
    """Return a figure as vectors, drawn for a wide and for a narrow screen.

    :param alt: what it shows, for readers who do not see it.
    :param data: links to the numbers behind it.
    :param small: it has one panel, and is drawn once: it fits both.
    """
    links = f' <span class="data">Data: {", ".join(data)}</span>' if data else ""
    shown = f'<img src="{_embedded(draw, SMALL if small else WIDE)}" alt="{text(alt)}">'
    if not small:
        narrow = _embedded(draw, NARROW)
        shown = f'<source media="screen and (max-width: 640px)" srcset="{narrow}">{shown}'
    kind = ' class="small"' if small else ""
    return f"<figure{kind}><picture>{shown}</picture><figcaption>{text(caption)}{links}</figcaption></figure>"


def _embedded(draw: Callable[[Layout], Figure], layout: Layout) -> str:
    """Return a figure as an address that holds it; a hundredth of a point is fine enough."""
    drawn = _PATHS.sub(lambda path: _DIGITS.sub(r"\1", path[0]), svg_of(draw, layout))
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode()


def page(title: str, body: str) -> str:
    """Return a whole page; nothing in it comes from a network, and nothing may."""
    here = files(__package__)
    style = (here / "report.css").read_text(encoding="utf-8")
    script = (here / "report.js").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{text(title)}</title><link rel="icon" href="data:,"><style>{style}</style></head>\n'
        f"<body><main>{body}</main><script>{script}</script></body></html>\n"
    )
