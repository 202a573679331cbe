"""What became of the light when a bench was made safe, in words that say by what it was confirmed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SafeReport:
    """What was done to each element of the beam, and what failed.

    :param shutter: such as "the shutter is closed (its sensor and the power meter behind it)".
    :param attenuator: such as "the attenuator is at its least transmission".
    :param failures: what could not be made safe, in the order in which it was tried; empty for a safe bench.
    """

    shutter: str
    attenuator: str
    failures: tuple[Exception, ...] = ()

    def __str__(self) -> str:
        """Return the sentence that is shown, without a full stop.

        >>> str(SafeReport("the shutter is closed (its sensor alone)", "the attenuator was NOT moved"))
        'the shutter is closed (its sensor alone), the attenuator was NOT moved'
        """
        return f"{self.shutter}, {self.attenuator}"
