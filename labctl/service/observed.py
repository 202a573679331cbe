"""The instruments as procedures use them, with an eye on what passes: the window shows it, nobody waits."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from labctl.model.errors import InstrumentError, InstrumentFault
from labctl.model.records import FloatArray, PowerReading, Spectrum
from labctl.runner.rundata import Exposure
from procedures.gate.hooks import Call

QUICK_S, SHUTTER_S = 3.0, 5.0
"""Wall time within which an instrument answers a question that moves nothing; then it counts as silent."""
PREPARING_S = 10.0
"""The same for settings, of which some take their time."""
NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Seen:
    """The last that was seen of the bench; None where nothing was.

    :param computed: whether the fluence follows from the plate's angle: the meter was not read there yet.
    :param unseen: whether the shutter is open by its word alone: no light is seen behind it.
    :param streaming: whether spectra are taken by hand, one after another.
    :param lost: role and reason of every instrument whose last call failed or is not answered.
    :param doubtful: roles that were not heard of since another one was lost.
    """

    angle_deg: float | None = None
    referenced: bool | None = None
    power_w: float | None = None
    pulse_energy_j: float | None = None
    fluence_uj_cm2: float | None = None
    shutter_open: bool | None = None
    dose_uj_cm2: float | None = None
    computed: bool = False
    unseen: bool = False
    streaming: bool = False
    lost: Mapping[str, str] = field(default_factory=dict)
    doubtful: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Optics:
    """How powers and angles stand for light on the sample.

    :param energy_of: pulse energy (J) and fluence (uJ/cm2) of a power (W) at an angle (degrees).
    :param energy_at: the same, as the angle alone promises.
    :param in_front: whether the meter sees light while the shutter is closed.
    """

    energy_of: Callable[[float, float], tuple[float, float]]
    energy_at: Callable[[float], tuple[float, float]]
    in_front: bool


class BenchState:
    """Holds what was seen; the latest wins, readers take it whole.

    :ivar optics: None while nobody knows what a power stands for, as in a calibration.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seen = Seen()
        self._latest: dict[bool, tuple[int, Spectrum]] = {}
        self._number = 0
        self._darks: dict[float, FloatArray] = {}
        self._calls: dict[tuple[str, int], float] = {}
        self._heard: dict[str, int] = {}
        self._lost_at = self._count = 0
        self.optics: Optics | None = None

    def note(self, **changes: object) -> None:
        """Take in single values."""
        with self._lock:
            self.seen = replace(self.seen, **changes)  # type: ignore[arg-type]

    @contextmanager
    def calling(self, role: str, patience_s: float = QUICK_S) -> Iterator[None]:
        """Mark an instrument as lost when the call inside fails, and as there when it does not.

        :param patience_s: wall time after which it counts as silent meanwhile.
        """
        call = (role, threading.get_ident())
        with self._lock:
            before = self._calls.get(call)
            self._calls[call] = max(before or -math.inf, time.monotonic() + patience_s)
        try:
            yield
        except InstrumentError as exc:
            self.failed(role, f"fault: {exc.message}" if isinstance(exc, InstrumentFault) else exc.message)
            raise
        else:
            self.answered(role)
        finally:
            with self._lock:
                del self._calls[call]
                if before is not None:
                    self._calls[call] = before

    def failed(self, role: str, reason: str) -> None:
        """Take in that an instrument does not do what it is asked."""
        with self._lock:
            self._count += 1
            self._lost_at = self._lost_at or self._count
            self.seen = replace(self.seen, lost={**self.seen.lost, role: reason})

    def answered(self, role: str) -> None:
        """Take in that an instrument answers."""
        with self._lock:
            self._count += 1
            self._heard[role] = self._count
            if role in self.seen.lost:
                left = {other: why for other, why in self.seen.lost.items() if other != role}
                self._lost_at = self._lost_at if left else 0
                self.seen = replace(self.seen, lost=left)

    def look(self) -> Seen:
        """Return what was seen, with those that owe an answer now."""
        with self._lock:
            now_s, seen = time.monotonic(), self.seen
            silent = {role: NO_ANSWER for (role, _), due_s in self._calls.items() if due_s < now_s}
            if not (silent or seen.lost):
                return seen
            lost, since = {**silent, **seen.lost}, self._lost_at or self._count
            doubtful = frozenset(
                role for role, at in self._heard.items() if role not in lost and (silent or at < since)
            )
            return replace(seen, lost=lost, doubtful=doubtful)

    def power(self, power_w: float) -> None:
        """Take in a reading of the meter, and what it stands for on the sample."""
        angle, optics = self.seen.angle_deg, self.optics
        energy = fluence = None
        if optics is not None and angle is not None and (optics.in_front or self.seen.shutter_open):
            energy, fluence = optics.energy_of(power_w, angle)
        self.note(power_w=power_w, pulse_energy_j=energy, fluence_uj_cm2=fluence, computed=False)

    def moved(self, angle_deg: float) -> None:
        """Take in where the plate went; what the meter read elsewhere does not hold there."""
        energy = fluence = None
        if self.optics is not None:
            energy, fluence = self.optics.energy_at(angle_deg)
        self.note(angle_deg=angle_deg, pulse_energy_j=energy, fluence_uj_cm2=fluence, computed=True)

    def exposure(self, spectrum: Spectrum) -> None:
        """Take in an exposure; one behind the closed shutter is a dark of its time."""
        with self._lock:
            self._number += 1
            is_dark = self.seen.shutter_open is False
            self._latest[is_dark] = (self._number, spectrum)
            if is_dark:
                self._dark(spectrum)

    def _dark(self, spectrum: Spectrum) -> None:
        key = round(spectrum.integration_s, 6)
        before = self._darks.get(key)
        self._darks[key] = spectrum.counts if before is None else 0.7 * before + 0.3 * spectrum.counts
        if len(self._darks) > 32:
            del self._darks[next(iter(self._darks))]

    def dark(self, integration_s: float, counts: FloatArray) -> None:
        """Take in a dark that was taken as one."""
        with self._lock:
            self._darks[round(integration_s, 6)] = counts

    def latest(self, after: int, *, light_only: bool = False) -> tuple[int, Exposure, float] | None:
        """Return number, exposure and bench time of the latest one, None if none came after ``after``.

        :param light_only: pass over those behind the closed shutter.
        """
        with self._lock:
            kinds = (False,) if light_only else (False, True)
            found = max(
                ((*self._latest[kind], kind) for kind in kinds if kind in self._latest),
                key=lambda one: one[0],
                default=None,
            )
            if found is None or found[0] <= after:
                return None
            number, spectrum, is_dark = found
            dark = self._darks.get(round(spectrum.integration_s, 6))
        exposure = Exposure(spectrum.counts, dark, spectrum.integration_s, is_dark=is_dark)
        return number, exposure, spectrum.stop_s

    def forget(self, *, lost: bool = False) -> None:
        """The bench is gone; which of its instruments were lost is forgotten only if that is asked for."""
        with self._lock:
            self.seen = Seen() if lost else Seen(lost=self.seen.lost)
            self._latest.clear()
            self._darks.clear()
            self._heard.clear()
            if lost:
                self._lost_at = 0


class Observer:
    """A hook that notes what passes.

    :param state: where it is noted.
    """

    def __init__(self, state: BenchState) -> None:
        self._state = state

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        """Note a call before it begins, whether it is answered, and the answer."""
        if call.role == "shutter" and call.name == "open":
            self._state.note(shutter_open=True)
        with self._state.calling(call.role, _patience_s(call)):
            yield
        self._note(call, call.result)

    def _note(self, call: Call, result: object) -> None:
        state = self._state
        match call.role, call.name, result:
            case "attenuator", "is_referenced", bool(known):
                state.note(referenced=known)
            case "attenuator", "angle_deg", float(angle_deg):
                state.note(angle_deg=angle_deg)
            case "attenuator", "move_to", float(angle_deg):
                state.moved(angle_deg)
            case "power_meter", "read", PowerReading() as reading:
                state.power(reading.power_w)
            case "spectrometer", "acquire", Spectrum() as spectrum:
                state.exposure(spectrum)
            case "shutter", "is_open", bool(is_open):
                state.note(shutter_open=is_open)
            case "shutter", "close_beam", _:
                state.note(shutter_open=False)


def _patience_s(call: Call) -> float:
    """Wall time after which a call that is not answered counts as silence."""
    if call.role == "spectrometer" or call.name in ("home", "move_to"):
        return math.inf
    if call.role == "shutter":
        return SHUTTER_S
    if call.name == "prepare":
        return PREPARING_S
    return QUICK_S + (cast("int", call.arguments[0]) if call.name == "read" else 0.0)
