"""What the window says of the bench: pure functions from what is known to text and colour, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from labctl.runner.wording import digits, duration, energy
from labctl.service.messages import LinkState
from labctl.service.observed import Seen

Tone = Literal["plain", "dim", "good", "warn", "light", "danger"]
NAMES = {
    "attenuator": "Attenuator",
    "power_meter": "Meter",
    "spectrometer": "Spectrometer",
    "shutter": "Shutter",
    "stage": "Stage",
    "thermometer": "Thermometer",
    "heater": "Heater",
}
BLOCK = "BLOCK THE BEAM MANUALLY."
NOT_SAFE = "NOT MADE SAFE"
NOTHING = Seen()


@dataclass(frozen=True, slots=True)
class Shown:
    """One text with the colour that its meaning has; ``struck`` out where the value holds no more."""

    text: str
    tone: Tone = "plain"
    struck: bool = False


@dataclass(frozen=True, slots=True)
class RunNow:
    """A sweep that has the bench.

    :param wanted: a pause is wanted; ``standing``: it does stand, with the shutter confirmed closed.
    :param begun: its file exists.
    """

    name: str
    done: int = 0
    total: int = 0
    left_s: float | None = None
    begun: bool = False
    wanted: bool = False
    standing: bool = False
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class BenchNow:
    """All that the sentence on the bench follows from.

    :param answered: while it connects: how many instruments answer, and how many there are.
    :param busy: what the bench's thread does beyond a sweep, an alignment or a calibration.
    """

    link: LinkState = "disconnected"
    seen: Seen = NOTHING
    run: RunNow | None = None
    aligning: bool = False
    calibrating: bool = False
    stopping: bool = False
    busy: str = ""
    answered: tuple[int, int] = (0, 0)


# --- values ----------------------------------------------------------------------------------------------


def shutter(seen: Seen) -> Shown:
    """Say how the shutter stands; what does not answer is unknown, whatever it said last."""
    if "shutter" in seen.lost or "shutter" in seen.doubtful:
        return Shown("unknown", "danger")
    if seen.shutter_open is None:
        return Shown("–")
    if seen.shutter_open and seen.unseen:
        return Shown("open?", "warn")
    return Shown("OPEN", "light") if seen.shutter_open else Shown("closed", "good")


def fluence(seen: Seen) -> Shown:
    """Say what is on the sample, or would be; what is only calculated from the plate's angle says so."""
    return _light(seen, seen.fluence_uj_cm2, digits(seen.fluence_uj_cm2))


def pulse_energy(seen: Seen) -> Shown:
    """Say the energy of a pulse on the sample."""
    return _light(seen, seen.pulse_energy_j, energy(seen.pulse_energy_j))


def _light(seen: Seen, value: float | None, text: str) -> Shown:
    unseen = bool(seen.unseen and seen.shutter_open)
    if value is not None:
        text = f"{'≤ ' if unseen else '≈ ' if seen.computed else ''}{text}"
    if any(role in seen.lost or role in seen.doubtful for role in ("power_meter", "attenuator")):
        return Shown(text, "danger", struck=True)
    return Shown(text, "dim" if seen.shutter_open is False else "warn" if unseen else "plain")


def angle(seen: Seen) -> Shown:
    """Say where the plate stands; amber while its reference is not known."""
    text = "–" if seen.angle_deg is None else f"{seen.angle_deg:.3f}°"
    if "attenuator" in seen.lost or "attenuator" in seen.doubtful:
        return Shown(text, "danger", struck=True)
    return Shown(text, "warn" if seen.referenced is False else "plain")


def lamp(role: str, link: LinkState, seen: Seen, failed: Iterable[str], identity: str) -> Shown:
    """Say whether an instrument answers: the text beside its name, and its light."""
    if role in seen.lost:
        return Shown("fault" if seen.lost[role].startswith("fault: ") else "no answer", "danger")
    if role in failed:
        return Shown("no answer", "danger")
    if (link == "connecting" and not identity) or role in seen.doubtful:
        return Shown("", "warn")
    return Shown(identity, "good") if link in ("connected", "connecting") else Shown("", "dim")


# --- sentences -------------------------------------------------------------------------------------------


def sentence(now: BenchNow) -> Shown:
    """Say in a few words what the bench does; the state itself stands first, in capitals."""
    if now.seen.lost:
        block = f". {BLOCK}" if "shutter" in now.seen.lost else ""
        return Shown(f"LOST: {_roles(now.seen.lost)}{block}", "danger")
    if now.link != "connected":
        words: dict[str, Shown] = {
            "connecting": Shown(connecting(now.answered), "warn"),
            "failed": Shown("NOT CONNECTED", "danger"),
        }
        return words.get(now.link, Shown("NOT CONNECTED", "dim"))
    if now.run is not None:
        return run_sentence(now.run)
    if now.stopping and (now.aligning or now.calibrating):
        return Shown("STOPPING …", "warn")
    if now.aligning or now.calibrating:
        return _with_light("ALIGNING" if now.aligning else "CALIBRATING", now.seen)
    return _idle(now)


def connecting(answered: tuple[int, int]) -> str:
    """Say how far connecting is.

    >>> connecting((0, 4)), connecting((3, 4))
    ('CONNECTING …', 'CONNECTING … 3 of 4 instruments answer')
    """
    some = f" {answered[0]} of {answered[1]} instruments answer" if answered[0] else ""
    return f"CONNECTING …{some}"


def _idle(now: BenchNow) -> Shown:
    if now.busy:
        return _with_light(f"BUSY, {now.busy}", now.seen)
    if now.seen.shutter_open:
        return _with_light("MANUAL", now.seen)
    homed = ": the attenuator is not homed" if now.seen.referenced is False else ""
    return Shown(f"READY{homed}", "warn" if homed else "good")


def _with_light(what: str, seen: Seen) -> Shown:
    if seen.shutter_open and seen.unseen:
        return Shown(f"{what}, no light seen: the shutter may be open", "warn")
    return Shown(f"{what}, light on", "light") if seen.shutter_open else Shown(what, "plain")


def sign(seen: Seen) -> str:
    """Return the sign of an open shutter; empty while the sensor reports it closed, or nobody knows."""
    return {"OPEN": "SHUTTER OPEN", "open?": "SHUTTER OPEN?"}.get(shutter(seen).text, "")


def run_sentence(run: RunNow) -> Shown:
    """Say how far a sweep is, and which."""
    of = f"{run.done} of {run.total}"
    if run.stopping:
        return Shown(f"STOPPING: {run.name}", "warn")
    if run.standing:
        return Shown(f"PAUSED, shutter closed, {of}: {run.name}", "warn")
    if run.wanted:
        return Shown(f"PAUSING after this point, {of}: {run.name}", "warn")
    if not run.begun:
        return Shown(f"SWEEP, preparing: {run.name}")
    left = "" if run.left_s is None else f", {duration(run.left_s)} left"
    return Shown(f"SWEEP {of}{left}: {run.name}")


def progress(run: RunNow | None) -> str:
    """Return what stands in the bar of a sweep."""
    if run is None:
        return "nothing runs"
    if run.stopping:
        return "stopping …"
    if run.standing:
        return "paused: the shutter is closed"
    if run.wanted:
        return "pausing …"
    if not run.begun:
        return "preparing"
    left = "" if run.left_s is None else f"  ·  {duration(run.left_s)} left"
    return f"{run.done} of {run.total}{left}"


def danger(lost: Mapping[str, str], texts: Iterable[str] = ()) -> str:
    """Return the banner: that the beam is to be blocked by hand, and what does not answer; else nothing.

    :param lost: instruments that do not answer, by role.
    :param texts: messages that nobody has acknowledged yet.
    """
    texts = tuple(texts)
    if "shutter" not in lost and not any(is_danger(text) for text in texts):
        return ""
    if lost:
        return f"{BLOCK} {_roles(lost)} {'does' if len(lost) == 1 else 'do'} not answer."
    return f"{BLOCK} The bench was not made safe." if any(NOT_SAFE in text for text in texts) else BLOCK


def is_danger(text: str) -> bool:
    """Return whether a message says that light may pass."""
    return NOT_SAFE in text or "block the beam" in text.lower()


def _roles(lost: Mapping[str, str]) -> str:
    known = [name for role, name in NAMES.items() if role in lost]
    return ", ".join([known[0], *(name.lower() for name in known[1:])]) if known else ", ".join(lost)
