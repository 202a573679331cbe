"""The part of SCPI a Thorlabs console understands: headers, the tree path, parameters, errors.

Source: SCPI-99 volume 1, chapters 6 and 7, and the vendor's PM101 and PM400 command references, from which
the canonical forms are taken (upper case is the short form; brackets may be left out).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ERRORS = {
    -104: "Data type error", -108: "Parameter not allowed", -109: "Missing parameter",
    -113: "Undefined header", -200: "Execution error", -221: "Settings conflict", -222: "Data out of range",
    -224: "Illegal parameter value", -230: "Data corrupt or stale", -350: "Queue overflow",
    -363: "Input buffer overrun", -365: "Time out error", -410: "Query INTERRUPTED",
}  # fmt: skip


class ScpiError(Exception):
    """A message unit that could not be carried out; it goes to the error queue."""

    def __init__(self, code: int) -> None:
        super().__init__(f'{code},"{ERRORS[code]}"')
        self.code = code


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer that is not there yet: ask ``result`` once the clock has reached ``due_s``."""

    due_s: float
    result: Callable[[], Answer]


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Answer = str | Pending | None
Handler = Callable[[list[str]], Answer]


def expand(canonical: str) -> Iterator[str]:
    """Yield every header a canonical form allows, still with its upper and lower case.

    >>> sorted(expand("SENSe:AVERage[:COUNt]"))
    ['SENSe:AVERage', 'SENSe:AVERage:COUNt']
    """
    begin = canonical.find("[")
    if begin < 0:
        yield canonical
        return
    depth, end = 0, begin
    for end in range(begin, len(canonical)):
        depth += {"[": 1, "]": -1}.get(canonical[end], 0)
        if depth == 0:
            break
    before, inside, after = canonical[:begin], canonical[begin + 1 : end], canonical[end + 1 :]
    yield from expand(before + after)
    yield from expand(before + inside + after)


class Tree:
    """All commands of an instrument, found by short or long form, in any case."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, ...], Handler] = {}
        self._short: dict[str, str] = {}

    def add(self, canonical: str, handler: Handler) -> None:
        """Enter a command; a query's canonical form ends with a question mark."""
        query = "?" if canonical.endswith("?") else ""
        for header in expand(canonical.rstrip("?")):
            key = []
            for node in header.strip(":").split(":"):
                short = re.sub("[a-z]", "", node)
                self._short[short] = self._short[node.upper()] = short
                key.append(short)
            self._handlers[(*key, query)] = handler

    def find(self, header: str, path: tuple[str, ...]) -> tuple[Handler, tuple[str, ...]]:
        """Return the handler of one header and the tree path that holds for the next one.

        :param path: what the header before left behind.
        :raises ScpiError: -113, no such command.
        """
        query = "?" if header.endswith("?") else ""
        text = header.removesuffix("?").upper()
        if text.startswith("*"):
            nodes: tuple[str, ...] = (text,)
            here = path
        else:
            names = tuple(self._short.get(_unnumbered(name), "") for name in text.lstrip(":").split(":"))
            nodes = names if text.startswith(":") else path + names
            here = nodes[:-1]
        handler = self._handlers.get((*nodes, query))
        if handler is None:
            raise ScpiError(-113)
        return handler, here


def _unnumbered(node: str) -> str:
    """Drop the channel suffix of a node: these consoles have one channel, 1."""
    return node[:-1] if node.endswith("1") else node


def number(text: str, low: float, high: float, default: float) -> float:
    """Read a numeric parameter: a number, MIN, MAX or DEF.

    :raises ScpiError: -104 not a number, -222 outside ``low`` to ``high``.
    """
    named = {"MIN": low, "MINIMUM": low, "MAX": high, "MAXIMUM": high, "DEF": default, "DEFAULT": default}
    if (value := named.get(text.upper())) is not None:
        return value
    if not _NUMBER.fullmatch(text):
        raise ScpiError(-104)
    value = float(text)
    if not low <= value <= high:
        raise ScpiError(-222)
    return value


def boolean(text: str) -> bool:
    """Read ON, OFF, 0 or 1.

    :raises ScpiError: -104 anything else.
    """
    value = {"0": False, "OFF": False, "1": True, "ON": True}.get(text.upper())
    if value is None:
        raise ScpiError(-104)
    return value


def only(arguments: list[str]) -> str:
    """Return the one parameter a command takes.

    :raises ScpiError: -109 there is none, -108 there are more.
    """
    if not arguments:
        raise ScpiError(-109)
    if len(arguments) > 1:
        raise ScpiError(-108)
    return arguments[0]


def none(arguments: list[str]) -> None:
    """Check that there is no parameter.

    :raises ScpiError: -108 there is one.
    """
    if arguments:
        raise ScpiError(-108)
