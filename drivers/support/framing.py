"""Frames between labctl and the process that holds a spectrometer: a length, a JSON header, raw bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

MAGIC = b"labctl1\n"
PREFIX = struct.Struct("<8sII")
LONGEST_HEADER = 1 << 20
LONGEST_BODY = 1 << 26


class BrokenFrame(Exception):  # noqa: N818  it names what arrived
    """What arrived is no frame."""


def write_frame(stream: IO[bytes], header: Mapping[str, object], body: bytes = b"") -> None:
    """Write one frame and flush it.

    :raises OSError: the other side is gone.
    """
    text = json.dumps(header).encode()
    stream.write(PREFIX.pack(MAGIC, len(text), len(body)) + text + body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame; None at the end of the stream, also in the middle of a frame.

    :raises BrokenFrame: the bytes are none of ours.
    """
    prefix = stream.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    magic, header_size, body_size = PREFIX.unpack(prefix)
    if magic != MAGIC or header_size > LONGEST_HEADER or body_size > LONGEST_BODY:
        raise BrokenFrame(f"not a frame: {prefix!r}")
    text, body = stream.read(header_size), stream.read(body_size)
    if len(text) < header_size or len(body) < body_size:
        return None
    try:
        header = json.loads(text)
    except ValueError as exc:
        raise BrokenFrame(f"not a header: {text[:200]!r}") from exc
    if not isinstance(header, dict):
        raise BrokenFrame(f"not a header: {text[:200]!r}")
    return header, body
