"""Hands that do not do what they were asked, one prompt after the other: the film meets no limit of the bench.

What counts is the truth of the scene, whatever labctl believes: true spot, true energy, true plate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from calibration_scene import CalibrationBench, SceneHands, WatchedShutter

from labctl.model.calibration import CalibrationKind
from labctl.model.clock import Stop
from labctl.model.errors import CalibrationRefused, LabctlError, SafetyStop
from labctl.model.hands import LIGHT, Request
from labctl.model.pump import Element, Limits
from simulators.scene import Scene

FAST: dict[CalibrationKind, dict[str, Any]] = {
    "attenuator": {"points": 10, "pairs": 4, "readings": 2},
    "pickoff": {"points": 5, "readings": 2},
    "energy": {"drift_s": 5.0, "readings": 2},
    "spot": {"method": "hand", "points": 12, "readings": 2},
}
IN_FRONT: tuple[Element, ...] = ("attenuator", "pick-off", "shutter", "sample")
ORDERS: list[tuple[Element, ...]] = [
    (*first, "sample")
    for first in permutations(("attenuator", "pick-off", "shutter"))  # type: ignore[misc]
]
LIMITS = Limits(
    max_fluence_uj_cm2=300.0, max_pulse_energy_j=150e-9, max_average_power_w=150e-6, max_dose_uj_cm2=1e8
)


class FilmShutter(WatchedShutter):
    """A shutter that notes what it lets onto the film; the plate does not turn meanwhile."""

    fluence_uj_cm2 = 0.0
    dose_uj_cm2 = 0.0
    _since_s: float | None = None

    def open(self) -> None:
        self._since_s = self.clock.now_s()
        super().open()
        if self.scene.hand.now.sample:
            self.fluence_uj_cm2 = max(self.fluence_uj_cm2, self.now_uj_cm2)

    def close_beam(self) -> None:
        super().close_beam()
        if self._since_s is not None and self.scene.hand.now.sample:
            pulses = (self.clock.now_s() - self._since_s) * self.scene.truth.repetition_rate_hz
            self.dose_uj_cm2 += pulses * self.now_uj_cm2
        self._since_s = None

    @property
    def now_uj_cm2(self) -> float:
        """Return the true peak fluence that the plate's true angle makes."""
        scene = self.scene
        transmission = float(scene.beam.malus(scene.mount.angle_deg()))
        energy_j = scene.truth.max_pulse_energy_j * transmission
        return energy_j * scene.beam.peak_uj_cm2_per_j


Disobey = Callable[[Request, Scene], dict[str, Any] | None]


def ignored(_request: Request, _scene: Scene) -> dict[str, Any] | None:
    """Enter, and nothing moved."""
    return None


def wrongly(request: Request, scene: Scene) -> dict[str, Any] | None:
    """The opposite of what was asked."""
    values = dict(request.values)
    if "in" in values:
        return {**values, "in": not values["in"]}
    if "blocked" in values:
        return {**values, "blocked": not values["blocked"]}
    if request.action == "meter":
        return {"place": "sample" if values["place"] == "pick-off" else "pick-off"}
    if request.action == "filter":
        return {"name": "", "transmission": 1.0}
    return None


def away(request: Request, scene: Scene) -> dict[str, Any] | None:
    """The sensor lies on the table."""
    return {"place": ""} if request.action == "meter" else None


class BadHands(SceneHands):
    """Does something else at some requests; the film is put in at the ``film_at``-th."""

    def __init__(self, scene: Scene, bad: Callable[[int], bool], instead: Disobey) -> None:
        super().__init__(scene)
        self.bad, self.instead, self.film_at = bad, instead, 0

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        assert self.scene.shutter.closed_switch(), f"hands in the light: {request.text}"
        self.asked.append(request)
        number = len(self.asked)
        values: dict[str, Any] | None = dict(request.values)
        if self.bad(number):
            values = self.instead(request, self.scene)
        done = None if values is None else self.scene.hand.do(request.action, values)
        if number == self.film_at:
            self.scene.hand.do("sample", {"in": True})
        return request.suggested if request.number and done is None else done


def made(seed: int, order: tuple[Element, ...], *, known: bool, level: str = "typical") -> CalibrationBench:
    bench = CalibrationBench(seed, level, order=order)
    shutter = FilmShutter("shutter", bench.scene)
    shutter.breaches = bench.breaches
    bench.shutter = shutter
    bench.roles = replace(bench.roles, shutter=shutter)
    bench.limits = LIMITS
    if known:
        bench.know_the_curve()
    return bench


def run(bench: CalibrationBench, kind: CalibrationKind, hands: BadHands) -> LabctlError | None:
    """Calibrate with these hands; whatever comes of it, no limit was met."""
    bench.hands, failure = hands, None
    try:
        bench.run(kind, **FAST[kind])
    except LabctlError as exc:
        failure = exc
    shutter, limits = bench.shutter, bench.limits
    assert isinstance(shutter, FilmShutter)
    assert shutter.fluence_uj_cm2 <= limits.max_fluence_uj_cm2
    assert limits.max_dose_uj_cm2 is None or shutter.dose_uj_cm2 <= limits.max_dose_uj_cm2
    assert bench.scene.shutter.closed_switch()
    assert not [b for b in bench.breaches if "turned" in b]
    return failure


def prompts(kind: CalibrationKind, order: tuple[Element, ...], *, known: bool) -> int:
    """Return how many different things are asked before the same come again and again."""
    bench = made(3, order, known=known)
    hands = BadHands(bench.scene, lambda _: False, ignored)
    run(bench, kind, hands)
    return min(len(hands.asked), 8)
