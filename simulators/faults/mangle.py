"""What can happen to the bytes of one message."""

from __future__ import annotations

import numpy as np

from simulators.spectrometers.obp import Decoder, Frame, encode


def garbled(message: bytes, number: int | None, rng: np.random.Generator) -> bytes:
    """Return the message with ``number`` of its bytes changed, all of them for None.

    A changed byte is another byte for certain, and a line feed or a carriage return may be among the lost.
    """
    array = np.frombuffer(message, np.uint8).copy()
    places = rng.permutation(array.size)[:number]
    array[places] ^= rng.integers(1, 256, places.size, dtype=np.uint8)
    return array.tobytes()


def truncated(message: bytes, number: int | None) -> bytes:
    """Return the first ``number`` bytes, the first half for None; never the whole message."""
    keep = len(message) // 2 if number is None else number
    return message[: min(keep, len(message) - 1)]


def shortened(message: bytes, number: int) -> bytes:
    """Return a frame of the Ocean Binary Protocol that is sound, but whose payload lacks its last bytes.

    What is no frame comes back as it is.
    """
    frames = Decoder().feed(message)
    if len(frames) != 1 or frames[0].error:
        return message
    f = frames[0]
    payload = f.payload[: max(len(f.payload) - number, 0)]
    return encode(Frame(f.message, payload, f.flags, f.regarding, f.checksum))
