"""Operator that do not do what they were asked, one prompt after the other: no limit is passed on the film.

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
from labctl.model.pump import Element, Limits
from labctl.model.roles import Request
from simulators.scene import Scene

FAST: dict[CalibrationKind, dict[str, Any]] = {
    "attenuator": {"points": 10, "pairs": 4, "readings": 2},
    "pickoff": {"points": 5, "readings": 2},
    "energy": {"drift_s": 5.0, "readings": 2},
    "spot": {"method": "hand", "points": 12, "readings": 2},
}
IN_FRONT: tuple[Element, ...] = ("attenuator", "pick-off", "shutter", "sample")
MOVABLE: tuple[Element, ...] = ("attenuator", "pick-off", "shutter")
ORDERS: list[tuple[Element, ...]] = [(*first, "sample") for first in permutations(MOVABLE)]
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


def run(bench: CalibrationBench, kind: CalibrationKind, hands: SceneHands) -> LabctlError | None:
    """Calibrate with these hands; whatever comes of it, no limit was met."""
    failure: LabctlError | None = None
    bench.hands = hands
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


def disobeyed(
    kind: CalibrationKind,
    number: int,
    instead: Disobey,
    seed: int = 3,
    *,
    order: tuple[Element, ...] = IN_FRONT,
) -> tuple[CalibrationBench, LabctlError | None]:
    """Calibrate with hands that disobey one prompt, 0 for each of them."""
    bench = made(seed, order, known=True)
    hands = BadHands(bench.scene, lambda n: number in (0, n), instead)
    return bench, run(bench, kind, hands)


@pytest.mark.parametrize("kind", FAST)
@pytest.mark.parametrize("known", [True, False])
def test_nothing_moved_at_any_prompt_lets_no_light_onto_the_film(kind: CalibrationKind, known: bool) -> None:
    bench = made(3, IN_FRONT, known=known)
    failure = run(bench, kind, BadHands(bench.scene, lambda _: True, ignored))
    assert isinstance(failure, CalibrationRefused)
    assert failure.hint
    assert bench.shutter.opened == 0


@pytest.mark.parametrize("instead", [ignored, wrongly, away])
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (kind, n)
        for kind, most in (("attenuator", 3), ("pickoff", 7), ("energy", 4))
        for n in range(1, most + 1)
    ]
    + [("spot", n) for n in range(1, 5)],
)
def test_one_prompt_disobeyed_passes_no_limit(kind: CalibrationKind, number: int, instead: Disobey) -> None:
    disobeyed(kind, number, instead)


@pytest.mark.parametrize("kind", ["pickoff", "energy", "spot"])
def test_a_sensor_left_at_the_pickoff_is_found_with_the_shutter_closed(kind: CalibrationKind) -> None:
    bench, failure = disobeyed(kind, 5 if kind == "pickoff" else 2, ignored)
    assert isinstance(failure, CalibrationRefused)
    assert "still at the pick-off" in str(failure)
    assert bench.shutter.opened == 0


@pytest.mark.parametrize("order", ORDERS[1:])
@pytest.mark.parametrize("kind", ["pickoff", "energy", "spot"])
def test_in_every_order_of_the_beam_no_limit_is_passed(
    kind: CalibrationKind, order: tuple[Element, ...]
) -> None:
    for number in (0, 1, 2, 4, 5):
        disobeyed(kind, number, ignored, order=order)


@pytest.mark.parametrize("order", ORDERS[1:])
@pytest.mark.parametrize("kind", FAST)
def test_where_no_curve_is_known_and_none_can_be_seen_in_the_dark_nothing_opens(
    kind: CalibrationKind, order: tuple[Element, ...]
) -> None:
    bench = made(3, order, known=False)
    failure = run(bench, kind, BadHands(bench.scene, lambda _: False, ignored))
    assert isinstance(failure, CalibrationRefused)
    assert "the attenuator curve is still unknown" in str(failure)
    assert bench.shutter.opened == 0


class KeepsTheFilm(SceneHands):
    """Does everything but take the sample out."""

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        if request.action == "sample":
            self.asked.append(request)
            return None
        return super().do(request, stop)


@pytest.mark.parametrize("level", ["typical", "nasty"])
@pytest.mark.parametrize(
    ("limits", "seed"),
    [
        (Limits(max_fluence_uj_cm2=700.0, max_dose_uj_cm2=1e10), 5),
        (Limits(max_fluence_uj_cm2=80.0), 17),
        (Limits(max_fluence_uj_cm2=1e4, max_pulse_energy_j=30e-9), 11),
        (Limits(max_fluence_uj_cm2=1e4, max_average_power_w=5e-6), 29),
        (Limits(max_fluence_uj_cm2=300.0, max_dose_uj_cm2=1e6), 41),
    ],
)
def test_each_limit_binds_with_the_film_in(limits: Limits, seed: int, level: str) -> None:
    """The sample is never taken out; spot, energy and ratio are others than the bench file says."""
    for kind in ("pickoff", "energy"):
        bench = made(seed, IN_FRONT, known=True, level=level)
        bench.limits = limits
        run(bench, kind, KeepsTheFilm(bench.scene))
        truth, shutter = bench.truth, bench.shutter
        assert isinstance(shutter, FilmShutter)
        energy_j = shutter.fluence_uj_cm2 / bench.scene.beam.peak_uj_cm2_per_j
        assert energy_j <= (limits.max_pulse_energy_j or math.inf)
        assert energy_j * truth.repetition_rate_hz <= (limits.max_average_power_w or math.inf)


@pytest.mark.parametrize("kind", ["pickoff", "energy", "spot"])
def test_a_sample_that_was_not_taken_out_is_seen_to_emit(kind: CalibrationKind) -> None:
    bench = made(3, IN_FRONT, known=True)
    failure = run(bench, kind, KeepsTheFilm(bench.scene))
    assert isinstance(failure, CalibrationRefused)
    assert "the sample is still in place" in str(failure)


@pytest.mark.parametrize("kind", ["attenuator", "energy", "pickoff"])
def test_a_shutter_stuck_open_is_seen_before_the_plate_turns_far(kind: CalibrationKind) -> None:
    """It says "closed" from the start; the film is in, and the plate is scanned at the pick-off."""
    bench = made(3, IN_FRONT, known=True)
    bench.mount.home()
    bench.shutter.is_open = lambda: False  # type: ignore[method-assign]
    bench.shutter.close_beam = lambda: None  # type: ignore[method-assign]
    bench.clock.sleep(bench.scene.shutter.command(True) - bench.clock.now_s())
    film: list[float] = []
    move = bench.mount.move_to

    def noted(angle_deg: float, stop: Stop | None = None) -> float:
        reached = move(angle_deg, stop)
        assert isinstance(bench.shutter, FilmShutter)
        film.append(0.0 if bench.scene.hand.now.blocked else bench.shutter.now_uj_cm2)
        return reached

    bench.mount.move_to = noted  # type: ignore[method-assign]
    bench.hands.do = lambda request, stop=None: bench.scene.hand.do(  # type: ignore[method-assign]
        request.action, dict(request.values)
    )
    with pytest.raises((SafetyStop, CalibrationRefused), match=r"spectrometer sees|shutter leaks"):
        bench.run(kind, **FAST[kind])
    assert 0 < max(film) <= bench.limits.max_fluence_uj_cm2


class LyingShutter(FilmShutter):
    """Says "closed" and stays open from its ``lies_from``-th closing after an opening on."""

    lies_from = 1
    lying = False

    def is_open(self) -> bool:
        return False if self.lying else super().is_open()

    def close_beam(self) -> None:
        if self.opened >= self.lies_from and not self.scene.shutter.closed_switch():
            self.lying = True
        if not self.lying:
            super().close_beam()


@pytest.mark.parametrize("kind", ["pickoff", "energy", "spot"])
def test_a_shutter_that_lies_is_found_by_the_meter_behind_it(kind: CalibrationKind) -> None:
    bench = made(3, IN_FRONT, known=True)
    shutter = LyingShutter("shutter", bench.scene)
    shutter.breaches, shutter.lies_from = bench.breaches, 2
    bench.roles = replace(bench.roles, shutter=shutter)
    with pytest.raises(SafetyStop, match="reports closed, but") as stop:
        bench.run(kind, **FAST[kind])
    assert any("NOT MADE SAFE" in note for note in getattr(stop.value, "__notes__", [])) or "NOT" in str(
        stop.value
    )
    assert float(bench.scene.beam.malus(bench.scene.mount.angle_deg())) < 1.5 * bench.truth.t_min
