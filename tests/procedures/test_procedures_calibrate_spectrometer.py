"""The spectrometer's calibration on a bench that nobody has measured, lamps put in by a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pytest
from numpy.polynomial import polynomial

from benchmarks.scene_roles import BANDS, LIMITS, SceneSpectrometer, scene_pump, scene_roles
from labctl.model.calibration import Calibration
from labctl.model.clock import SteppedClock, Stop
from labctl.model.errors import Aborted, CalibrationRefused, ConfigError, SafetyStop
from labctl.model.roles import Request, Roles
from procedures.calibration import PROCEDURES, CalContext, CalStep, Steps
from procedures.calibration.context import SpectrometerOptions
from simulators import presets
from simulators.scene import Scene, SceneSettings


@dataclass
class Operator:
    """Puts in what is asked for, or what ``instead`` says; keeps the requests."""

    scene: Scene
    instead: Callable[[str], str] = lambda name: name

    def __post_init__(self) -> None:
        self.asked: list[str] = []

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        assert request.action == "lamp"
        assert self.scene.shutter.closed_switch()
        self.asked.append(str(request.values["name"]))
        return self.scene.hand.do("lamp", {"name": self.instead(str(request.values["name"]))})


class Bench:
    """A scene whose spectrometer is off by pixels and has no nonlinearity of its own, unless stated."""

    def __init__(self, *, seed: int = 3, settings: SceneSettings | None = None, **options: object) -> None:
        clock = SteppedClock()
        plain = settings or presets.scene("ola", "typical", seed, spectrometer="coarse")
        self.settings = presets.uncalibrated(plain, seed)
        self.scene = Scene(self.settings, clock)
        roles = scene_roles(self.scene, clock)
        self.camera = SceneSpectrometer("spectrometer", self.scene)
        pixel = np.arange(self.scene.camera.pixels, dtype=float)
        stored = polynomial.polyval(pixel, self.scene.camera.wavelength_coefficients)
        self.camera.info = replace(
            self.camera.info, wavelength_nm=stored, nonlinearity=None, resolution_nm=None
        )
        self.hands = Operator(self.scene)
        self.roles: Roles = replace(roles, spectrometer=self.camera)
        values: dict[str, object] = {"lamps": ("hg-ar",), "frames": 6}
        self.options = SpectrometerOptions(**(values | options))  # type: ignore[arg-type]
        self.steps: list[CalStep] = []

    def calibrate(self, stop: Stop | None = None) -> Calibration:
        context = CalContext(
            self.roles,
            scene_pump(self.settings),
            LIMITS,
            self.hands,
            self.options,
            {"spectrometer": self.camera.identity()},
            BANDS,
            stop,
            lambda: "2026-01-02T03:04:05+00:00",
        )
        run = PROCEDURES["spectrometer"](context)
        return self._followed(run)

    def _followed(self, run: Steps) -> Calibration:
        while True:
            try:
                self.steps.append(next(run))
            except StopIteration as end:
                return cast("Calibration", end.value)


def test_a_spectrometer_is_measured_with_a_lamp() -> None:
    bench = Bench()
    found = bench.calibrate()
    camera = bench.scene.camera
    axis = polynomial.polyval(np.arange(camera.pixels, dtype=float), found.tables["wavelength_coefficients"])
    off = (axis - camera.wavelength_nm) / np.gradient(camera.wavelength_nm)
    before = (bench.camera.info.wavelength_nm - camera.wavelength_nm) / np.gradient(camera.wavelength_nm)
    assert np.abs(before).max() > 0.3
    assert np.abs(off[300:2000]).max() < 0.1
    assert found.quantities["resolution"].value == pytest.approx(camera.resolution_nm(543.0), rel=0.05)
    at_nm, widths = found.tables["resolution_at_nm"], found.tables["resolution_nm"]
    assert widths[-1] == pytest.approx(camera.resolution_nm(at_nm[-1]), rel=0.05)
    droop = bench.settings.camera.nonlinearity
    assert found.facts["nonlinearity_source"] == "measured"
    measured = polynomial.polyval(50000.0, found.tables["nonlinearity"])
    assert measured == pytest.approx(1 - droop * (50000.0 / 65535) ** 2, abs=0.004)
    assert found.quantities["offset_counts"].value == pytest.approx(1500.0, abs=3.0)
    hot = set(np.flatnonzero(camera._hot > 300.0))
    assert hot <= {int(p) for p in found.tables["hot_pixels"]}
    assert found.bound_to == ("spectrometer",)
    assert found.facts["lamp"] == "hg-ar"
    assert found.quantities["wavelength_rms"].value < 0.05
    assert bench.hands.asked == ["hg-ar", ""]
    assert {"lamp", "linearity", "dark", "line", "fit"} <= {step.what for step in bench.steps}
    assert all(a.progress <= b.progress for a, b in zip(bench.steps, bench.steps[1:], strict=False))


def test_the_many_lines_of_a_neon_lamp_are_its_own_on_the_fine_grating() -> None:
    bench = Bench(settings=presets.scene("ola", "typical", 3), lamps=("ne",))
    found = bench.calibrate()
    pixel = np.arange(bench.scene.camera.pixels, dtype=float)
    true = polynomial.polyval(pixel, bench.scene.truth.wavelength_coefficients)
    ours = polynomial.polyval(pixel, found.tables["wavelength_coefficients"])
    assert np.abs((ours - true) / np.gradient(true))[300:2000].max() < 0.1
    assert len(found.tables["line_nm"]) >= 20


def test_a_mercury_lamp_is_not_taken_for_the_neon_lamp_that_was_asked_for() -> None:
    bench = Bench(settings=presets.scene("ola", "typical", 1), seed=1, lamps=("ne",))
    bench.hands.instead = lambda name: "hg-ar" if name else name
    with pytest.raises(CalibrationRefused, match="not those of the lamp"):
        bench.calibrate()


def test_a_device_with_right_coefficients_keeps_them_and_two_lamps_are_taken_in_turn() -> None:
    bench = Bench(lamps=("hg-ar", "ne"), linearity=True)
    droop = bench.settings.camera.nonlinearity / 65535.0**2
    bench.camera.info = replace(bench.camera.info, nonlinearity=(1.0, 0.0, -droop))
    found = bench.calibrate()
    assert found.facts["nonlinearity_source"] == "device"
    assert "nonlinearity" not in found.tables
    assert abs(float(found.facts["nonlinearity_disagreement_rel"])) < 0.005
    assert bench.hands.asked == ["hg-ar", "ne", ""]
    assert {546.075, 585.2488} < set(found.tables["line_nm"])


def test_a_device_with_wrong_coefficients_is_told_and_ours_are_used() -> None:
    bench = Bench(linearity=True)
    bench.camera.info = replace(bench.camera.info, nonlinearity=(1.0, 2e-6))
    found = bench.calibrate()
    assert found.facts["nonlinearity_source"] == "measured"
    assert any("nonlinearity is off" in flag for flag in found.flags)
    assert "nonlinearity" in found.tables


def test_without_need_the_linearity_is_not_measured() -> None:
    bench = Bench()
    bench.camera.info = replace(bench.camera.info, nonlinearity=(1.0,))
    found = bench.calibrate()
    assert not any(step.what == "linearity" for step in bench.steps)
    assert found.facts["nonlinearity_source"] == "device"


def test_a_lamp_too_bright_for_the_shortest_exposure_is_refused() -> None:
    bench = Bench()
    bench.camera.info = replace(bench.camera.info, integration_min_s=1.0)
    with pytest.raises(CalibrationRefused, match=r"saturates the spectrometer in 1 s.*move the lamp away"):
        bench.calibrate()


def test_no_lamp_or_another_one_is_refused() -> None:
    dark = Bench()
    dark.hands.instead = lambda _name: ""
    with pytest.raises(CalibrationRefused, match="no light of the hg-ar lamp"):
        dark.calibrate()
    other = Bench(lamps=("kr",))
    other.hands.instead = lambda name: "ne" if name else ""
    with pytest.raises(CalibrationRefused, match=r"not those of the lamp|more than one way"):
        other.calibrate()


def test_options_that_make_no_sense_are_refused_before_anything_is_asked() -> None:
    for options, error in (
        ({"lamps": ()}, ConfigError),
        ({"frames": 2}, ConfigError),
        ({"lamps": ("xe",)}, CalibrationRefused),
    ):
        bench = Bench(**options)
        with pytest.raises(error):
            bench.calibrate()
        assert bench.hands.asked == []


def test_a_shutter_that_does_not_confirm_and_a_stop_end_it() -> None:
    bench = Bench()
    bench.roles.shutter.is_open = lambda: True  # type: ignore[method-assign]
    with pytest.raises(SafetyStop, match="does not confirm"):
        bench.calibrate()

    class Now:
        def is_set(self) -> bool:
            return len(stopped.hands.asked) > 0

    stopped = Bench()
    with pytest.raises(Aborted):
        stopped.calibrate(Now())
    assert stopped.scene.shutter.closed_switch()
