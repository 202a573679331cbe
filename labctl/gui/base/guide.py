"""The first screen: what one can do at the bench, and the one thing missing for it; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from labctl.gui.base.benchstate import NAMES, NOTHING, Tone, connecting
from labctl.service.messages import LinkState
from labctl.service.observed import Seen

Act = Literal["connect", "home", "calibrate", "sweep", "field", "align", "open"]


@dataclass(frozen=True, slots=True)
class Card:
    """One thing to do.

    :param text: what is missing, or that nothing is; ``label`` of the button that helps.
    :param act: what the button does.
    :param possible: whether the button can be pressed.
    """

    title: str
    text: str
    label: str
    act: Act
    tone: Tone = "plain"
    possible: bool = True


@dataclass(frozen=True, slots=True)
class Situation:
    """What the cards follow from.

    :param answered: instruments that answer, and how many there are.
    :param failed: instruments that did not, by role, with the reason.
    :param scale: what is known of the scale of all fluences, in words; ``scale_known`` whether it is.
    :param planned: what the sweep will ask of time and light; empty where a field refuses.
    :param refused: which field of the sweep is refused, and why.
    :param aligned: the same for the alignment, empty for none.
    :param opened: number of runs that are open.
    """

    link: LinkState = "disconnected"
    answered: tuple[int, int] = (0, 0)
    failed: Mapping[str, str] | None = None
    seen: Seen = NOTHING
    scale: str = ""
    scale_known: bool = False
    planned: str = ""
    refused: str = ""
    aligned: str = ""
    opened: int = 0


def cards(now: Situation) -> tuple[Card, Card, Card, Card]:
    """Return set up, sweep, align and open runs, in the order in which a day goes."""
    return _set_up(now), _sweep(now), _align(now), _runs(now)


def _set_up(now: Situation) -> Card:
    title = "Set up the bench"
    if now.link == "connecting":
        return Card(title, connecting(now.answered).capitalize(), "Connect", "connect", "warn", False)
    if now.link != "connected":
        lost = {**now.seen.lost, **(now.failed or {})}
        who = next((name for role, name in NAMES.items() if role in lost), "")
        text = f"{who} does not answer" if who else "Not connected"
        return Card(
            title, text, "Connect again" if who else "Connect", "connect", "danger" if who else "warn"
        )
    if now.seen.referenced is False:
        return Card(title, "The mount is not homed", "Home", "home", "warn")
    if not now.scale_known:
        return Card(title, _sentence(now.scale), "Calibrate", "calibrate", "warn")
    return Card(title, f"Nothing is missing; {now.scale}", "Calibrate", "calibrate", "good")


def _sweep(now: Situation) -> Card:
    title = "Sweep the fluence"
    if now.refused:
        return Card(title, now.refused, "Show the field", "field", "warn")
    if now.link != "connected":
        return Card(title, "The bench is not connected", "Start sweep", "sweep", "warn", False)
    return Card(title, now.planned, "Start sweep", "sweep", "good")


def _align(now: Situation) -> Card:
    title = "Align"
    if now.aligned:
        return Card(title, now.aligned, "Show the fields", "align", "warn")
    if now.link != "connected":
        return Card(title, "The bench is not connected", "To the alignment", "align", "warn")
    return Card(
        title, "The threshold in large digits, with the light left on", "To the alignment", "align", "good"
    )


def _runs(now: Situation) -> Card:
    title = "Open runs"
    if not now.opened:
        return Card(title, "No run is open; a bench is not needed", "Open…", "open")
    count = "1 run is open" if now.opened == 1 else f"{now.opened} runs are open"
    return Card(title, count, "Open…", "open", "good")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
