"""All that the command line prints passes here: nothing of a stranger's reaches the terminal as it is.

While a command runs, ``sys.stdout`` and ``sys.stderr`` let only printable text and newlines through, whoever
writes. Lines are made by :func:`write_lines`, so that no name can make one; colours by :func:`make_console`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast

from labctl.model.untrusted import printable

if TYPE_CHECKING:
    from rich.console import Console


class PrintableStream:
    """A text stream that shows what it cannot print; everything else is that of the stream below.

    :ivar below: the stream itself, for text that a console has made of printable parts.
    """

    def __init__(self, below: TextIO) -> None:
        self.below = below

    def __getattr__(self, name: str) -> Any:
        """Look everything else up in the stream below."""
        return getattr(self.below, name)

    def write(self, text: str) -> int:
        """Write printable text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.below.write(printable(text, keep="\n"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write printable texts."""
        for line in lines:
            self.write(line)


@contextlib.contextmanager
def printable_streams() -> Iterator[None]:
    """Guard the standard streams while inside."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", PrintableStream(below(stream))) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def below(stream: TextIO) -> TextIO:
    """Return the stream that a guarded one writes to, or the stream itself."""
    return stream.below if isinstance(stream, PrintableStream) else stream


def write_lines(lines: Iterable[str], out: TextIO | None = None) -> None:
    """Write each text as one line, on stdout by default; a newline inside is shown as such."""
    out = out or sys.stdout
    out.write("".join(f"{printable(line)}\n" for line in lines))
    out.flush()


def write_json(document: object) -> None:
    """Write a JSON document on stdout, pure ASCII; a text is taken to be one."""
    text = document if isinstance(document, str) else json.dumps(document, indent=2, allow_nan=False)
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")


def make_console(*, stderr: bool = False, width: int | None = None, soft_wrap: bool = False) -> Console:
    """Return a console of rich that takes every text literally, as one line, and printable."""
    from rich.console import Console
    from rich.text import Text

    class Literal(Console):
        def render_str(self, text: str, **settings: Any) -> Text:
            return super().render_str(printable(text), **{**settings, "markup": False, "emoji": False})

    stream = below(sys.stderr if stderr else sys.stdout)
    return Literal(file=stream, width=width, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False)


def write_styled(text: str) -> None:
    """Write on stdout what a console of :func:`make_console` has captured."""
    below(sys.stdout).write(text)
