r"""What a stranger wrote, made fit to be shown: nothing in it steers a terminal or hides from the eye.

Names, files and answers of instruments stay as they are in data and in JSON; they pass through here where a
person reads them. ``\x1b`` and the like are shown as such, ordinary Unicode stays.
"""

from __future__ import annotations

import logging
import unicodedata

_INVISIBLE = frozenset(
    chr(code)
    for code in (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0),
        *range(0xE0100, 0xE01F0),
    )
)
"""Letters and marks that show nothing, though their category says otherwise."""


def printable(text: object, keep: str = "") -> str:
    r"""Return ``text`` with all that does not show replaced by its escape, e.g. ``\x1b`` or ``\u202e``.

    Controls (C0, DEL, C1), line and paragraph separators, what turns the direction of writing, what has no
    width, unpaired surrogates of names that are no UTF-8, and characters without a meaning.

    :param keep: characters that stay; a text of several lines keeps the newlines that are its own.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _shows(c) else _escaped(c) for c in text)


def _shows(character: str) -> bool:
    if character in _INVISIBLE:
        return False
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class PrintableFormatter(logging.Formatter):
    """Formats a record so that its message is one line, and its traceback holds nothing but lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line of the message."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback, which another handler may have made already."""
        return printable(super().format(record), keep="\n")
