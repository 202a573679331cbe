"""The simulated bench's pair of hands: one line of JSON in, one line of text out.

A line ``{"action": "meter", "values": {"place": "sample"}}`` is answered by ``ok``, by ``ok 4321.0`` where
there is a number to tell, or by ``error`` and the reason; other keys are ignored. What can be asked for
stands in :mod:`simulators.scene.hand`.
"""

from __future__ import annotations

import json
from typing import Any

from simulators.link import Wire
from simulators.scene import Scene
from simulators.scene.hand import HandError

LONGEST_LINE = 4096
"""Bytes of a request; a longer line is refused and skipped to its end."""


class HandWire(Wire):
    """Does on the table what each line asks for."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene.clock)
        self._hand = scene.hand
        self._rest = b""
        self._skipping = False

    def new_client(self) -> None:
        """Forget half a line."""
        self._rest, self._skipping = b"", False

    def receive(self, data: bytes) -> None:
        """Take bytes and answer every line they complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif line.strip():
                self._send(self._answer(line).encode("ascii", "backslashreplace") + b"\n")
        if self._skipping or len(self._rest) > LONGEST_LINE:
            if not self._skipping:
                self._send(f"error a line is longer than {LONGEST_LINE} bytes\n".encode("ascii"))
            self._rest, self._skipping = b"", True

    def _answer(self, line: bytes) -> str:
        try:
            if len(line) > LONGEST_LINE:
                raise HandError(f"a line is longer than {LONGEST_LINE} bytes")
            action, values = _request(line)
            number = self._hand.do(action, values)
        except HandError as exc:
            return "error " + " ".join(str(exc).split())
        return "ok" if number is None else f"ok {number!r}"


def _request(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        request = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise HandError("not a line of JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("action"), str):
        raise HandError('not an object with an "action"')
    values = request.get("values", {})
    if not isinstance(values, dict):
        raise HandError("values: an object")
    return request["action"], values
