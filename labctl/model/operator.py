"""What only an operator can do on a bench: moving a sensor, a blade, a filter, a lamp.

A procedure asks; a person at a terminal or a window, a script, or a simulated bench answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from labctl.model.clock import Stop

Action = Literal["meter", "knife", "filter", "lamp", "sample", "beam", "confirm"]


LIGHT = "light"
"""Typed where light follows: a word is not typed by mistake."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to do by hand.

    :param action: "meter": put the sensor at ``values["place"]`` ("pick-off" or "sample"); "knife": put the
        blade at ``values["position_um"]`` of axis ``values["axis"]`` ("x" or "y"; position None: out of the
        beam); "filter": put the filter named ``values["name"]`` (transmission ``values["transmission"]``,
        name "" for none) before the sensor; "lamp": put the lamp ``values["name"]`` ("hg-ar", "ne", "kr", ""
        for none) before the spectrometer; "sample": put the sample in (``values["in"]`` True) or take it
        out; "beam": block or free the beam by hand (``values["blocked"]``); "confirm": agree.
    :param text: what to do, in words, for a person.
    :param number: unit of the number to answer with ("um", "W"), or "" where doing it is the answer.
    :param suggested: the number that is meant, where one reads a scale: what stands there is answered.
    :param word: to be typed, where light follows; "" where agreeing is enough.
    """

    action: Action
    text: str
    values: Mapping[str, str | float | bool | None] = field(default_factory=dict)
    number: str = ""
    suggested: float | None = None
    word: str = ""


class Operator(Protocol):
    """Does what is asked and says so."""

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        """Return once it is done, with the number where one was asked for.

        :raises Aborted: it was refused, or ``stop`` was set meanwhile.
        """
