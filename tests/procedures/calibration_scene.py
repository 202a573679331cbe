"""A simulated bench nobody has measured, without wires, that notes every breach of the rules for light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.scene_roles import BANDS, LIMITS, SceneMount, SceneShutter, scene_pump, scene_roles
from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.clock import SteppedClock, Stop
from labctl.model.errors import Aborted
from labctl.model.pump import Element, MalusCurve
from labctl.model.roles import Request
from procedures.calibration import OPTIONS, PROCEDURES, CalContext, CalStep
from simulators import presets
from simulators.scene import Scene

MOST_POWER_W = 150e-6


class WatchedMount(SceneMount):
    """A mount that notes when it turns in the light."""

    breaches: list[str]

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        if not self.scene.shutter.closed_switch():
            self.breaches.append(f"turned to {angle_deg:.2f} deg with the shutter open")
        return super().move_to(angle_deg, stop)


class WatchedShutter(SceneShutter):
    """A shutter that notes when it opens onto the sample, or before the sensor is there."""

    breaches: list[str]
    opened: int = 0

    def open(self) -> None:
        self.opened += 1
        placed = self.scene.hand.now
        if placed.sample:
            self.breaches.append("opened onto the sample")
        if placed.meter != "sample" and self.scene.settings.optics.order.index("shutter") > 1:
            self.breaches.append("opened with no sensor behind it")
        super().open()


class SceneHands:
    """Does what is asked; may refuse, lie or stop at the n-th request."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.asked: list[Request] = []
        self.refuse_at = self.lie_at = 0
        self.before: Callable[[Request], None] = lambda _: None

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        assert self.scene.shutter.closed_switch(), f"hands in the light: {request.text}"
        self.asked.append(request)
        self.before(request)
        if len(self.asked) == self.refuse_at:
            raise Aborted
        if len(self.asked) == self.lie_at:
            return None
        return self.scene.hand.do(request.action, dict(request.values))


class CalibrationBench:
    """One scene with everything a calibration is given."""

    def __init__(self, seed: int = 1, level: str = "typical", order: tuple[Element, ...] = ()) -> None:
        nominal = presets.scene("ola", level, seed)  # type: ignore[arg-type]
        if order:
            nominal = replace(nominal, optics=replace(nominal.optics, order=order))  # type: ignore[arg-type]
        self.clock = SteppedClock()
        self.scene = Scene(presets.uncalibrated(nominal, seed), self.clock)
        self.truth = self.scene.truth
        self.breaches: list[str] = []
        self.mount, self.shutter = (
            WatchedMount("attenuator", self.scene),
            WatchedShutter("shutter", self.scene),
        )
        self.mount.breaches = self.shutter.breaches = self.breaches
        roles = scene_roles(self.scene, self.clock)
        self.roles = replace(roles, attenuator=self.mount, shutter=self.shutter)
        self.settings = scene_pump(nominal)
        self.limits = replace(LIMITS, max_average_power_w=MOST_POWER_W)
        self.hands = SceneHands(self.scene)
        self.steps: list[CalStep] = []

    def know_the_curve(self) -> None:
        """Let the bench file hold what an attenuator's calibration finds."""
        curve = MalusCurve(self.truth.zero_deg, self.truth.t_min, 1.0)
        self.settings = replace(self.settings, curve=curve, sources={"curve": "attenuator.json, 2026-11-23"})

    def context(self, kind: CalibrationKind, stop: Stop | None = None, **options: Any) -> CalContext:
        return CalContext(
            self.roles,
            self.settings,
            self.limits,
            self.hands,
            OPTIONS[kind](**options),
            bands=BANDS,
            stop=stop,
        )

    def run(self, kind: CalibrationKind, stop: Stop | None = None, **options: Any) -> Calibration:
        steps = PROCEDURES[kind](self.context(kind, stop, **options))
        while True:
            try:
                self.steps.append(next(steps))
            except StopIteration as end:
                found: Calibration = end.value
                return found

    def assert_safe(self, dark: float = 0.3) -> None:
        """The shutter is closed, the plate is at its darker end, and no rule was broken on the way."""
        assert self.scene.shutter.closed_switch()
        assert float(self.scene.beam.malus(self.scene.mount.angle_deg())) < dark
        assert self.breaches == []

    def assert_as_found(self) -> None:
        """Sensor at the pick-off, sample in, nothing left in the beam."""
        placed = self.scene.hand.now
        assert (placed.meter, placed.sample, placed.axis, placed.filter, placed.blocked) == (
            "pick-off", True, None, "", False,
        )  # fmt: skip
