"""Thresholds of flights over the simulated scene: python -m benchmarks.accuracy.fly [--seeds 200].

In this process, without wires: the plate is commanded on the scene's clock, every pulse in the light is one
exposure. The clock of the shots is off by up to 3 ms, evenly drawn, and the law knows nothing of it; the
end of each pass is known within 4 ms, 10 ms later the next one begins. ``--speed 1.02``: a plate that is
faster than its law says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.benches import scene
from benchmarks.shots import ShotScene
from benchmarks.tables import Array, column, rms, share, show, table
from benchmarks.trials import found, parser
from labctl.analysis.fly.flight import fly_threshold
from labctl.analysis.fly.motion import Curve
from labctl.analysis.shots.statistics import peak_signal
from labctl.analysis.spectra.background import noise_model
from labctl.analysis.spectra.bands import Bands, band_slice
from labctl.analysis.threshold.shapes import Smear
from labctl.model.results.flight import Anchor, FlightResult, PlateLaw, Shots, Turn

START, STOP = 30.0, 205.0
FULL_J = 35e-9
REPLY_S = 0.004
"""Within so much the end of a motion is known from the reply of the plate."""
METER_SIGMA = 2e-10
"""Noise of an averaged reading, W, see simulators.presets."""


@dataclass(frozen=True)
class Case:
    seed: int
    light_s: float = 1.0
    level: str = "typical"
    speed: float = 1.0
    latency_s: float | None = None
    band: str = "peaks"


@dataclass(frozen=True)
class Outcome:
    error: float
    covered: bool
    half_width: float
    latency_error_s: float
    duration_rel: float
    flagged: bool
    found: bool
    motion_rel: float
    shots: int
    dose: float


class Flight:
    """One flight of a scene, as a procedure would fly it."""

    def __init__(self, case: Case) -> None:
        settings = scene("ola", case.level, case.seed)
        settings = replace(settings, laser=replace(settings.laser, max_pulse_energy_j=FULL_J))
        self.case, self.bench = case, ShotScene(settings)
        self.scene, self.clock = self.bench.scene, self.bench.clock
        self.rng = np.random.default_rng([case.seed, 77])
        self.offset_s = float(self.rng.uniform(-3e-3, 3e-3)) if case.latency_s is None else case.latency_s
        optics = settings.optics
        # The angles of the flank, by the calibrated curve.
        self.ends = [self._angle(f) for f in (START, STOP)]
        self.curve = Curve(optics.zero_deg, 0.02, optics.t_min, 1e-4)
        way = abs(self.ends[1] - self.ends[0])
        duration = settings.mount.overhead_s + way / settings.mount.speed_deg_s
        self.law = PlateLaw(duration, 0.003 * duration, way, 0.0, 3e-3)
        self.scene.mount.speed_rel = case.speed

    def _angle(self, fluence: float) -> float:
        optics = self.scene.settings.optics
        part = (fluence / self.bench.full_uj_cm2 - optics.t_min) / (optics.t_max - optics.t_min)
        return optics.zero_deg + float(np.degrees(np.arccos(np.sqrt(part)))) / 2

    def _go(self, angle: float) -> tuple[float, float]:
        """Move and wait; return when the command left and when it arrived."""
        begin = self.clock.now_s()
        end = self.scene.mount.move_to(angle)
        self.clock.sleep(end - begin + 0.001)
        return begin, end

    def anchor(self, angle: float) -> Anchor:
        """Read the meter at an angle, 300 pulses, the shutter closed."""
        self._go(angle)
        self.clock.sleep(0.35)
        pulses = self.scene.laser.between(self.clock.now_s() - 0.31, 300.0)
        optics, laser = self.scene.settings.optics, self.scene.settings.laser
        power = float(np.mean(self.scene.beam.at_meter(pulses))) * laser.repetition_rate_hz
        power += METER_SIGMA * float(self.rng.standard_normal())
        fluence = power * optics.pickoff_ratio / laser.repetition_rate_hz * self.scene.beam.peak_uj_cm2_per_j
        return Anchor(angle, fluence, float(np.hypot(METER_SIGMA / power, 1.5e-3)), METER_SIGMA / power)

    def fly(self) -> FlightResult:
        case = self.case
        dark = self.bench.dark(300)
        anchors = [self.anchor(self.ends[1]), self.anchor(self.ends[0])]
        opened = self.scene.shutter.command(True)
        self.clock.sleep(opened - self.clock.now_s() + 0.002)
        begin, turns, here = self.clock.now_s(), [], 0
        while self.clock.now_s() + self.law.duration_s < begin + case.light_s:
            start, stop = self.ends[here], self.ends[1 - here]
            command, arrival = self._go(stop)
            phase = float(self.rng.uniform(-0.5, 0.5)) * REPLY_S
            turns.append(Turn(command, start, stop, arrival + phase))
            self.clock.sleep(0.01)
            here = 1 - here
        end = self.clock.now_s()
        self.clock.sleep(self.scene.shutter.command(False) - end + 0.01)
        taken = self.bench.between(begin - 0.01, int((end - begin + 0.02) * 1000))
        shots = self.shots(taken.raw, taken.times_s, dark.mean(axis=0))
        lit = (begin + self.offset_s, end + self.offset_s)
        return fly_threshold(
            shots, turns, anchors, self.law, self.curve, lit,
            smear=Smear(self.scene.settings.laser.pulse_cv), pulse_cv_sigma=0.002, arrival_sigma_deg=0.03,
        )  # fmt: skip

    def shots(self, raw: Array, times_s: Array, dark: Array) -> Shots:
        axis, bands = self.scene.camera.wavelength_nm, Bands()
        light = self.bench.linear(raw, dark)
        whole = band_slice(axis, bands.whole)
        if self.case.band == "peaks":
            signal, _ = peak_signal(axis, light, bands, noise_model(light[:, whole]))
        else:
            signal = light[:, whole].sum(axis=1)
        return Shots(times_s + self.offset_s, signal, np.asarray(np.any(raw[:, whole] >= 65535, axis=1)))


def flown(case: Case) -> Outcome:
    flight = Flight(case)
    result = flight.fly()
    truth, value, ends = (
        flight.scene.truth.threshold_uj_cm2,
        result.threshold.threshold_uj_cm2,
        result.threshold.ci95,
    )
    there = value is not None and ends is not None
    # Nothing delays the plate of the scene: the clock of the shots is all that is off.
    true_duration = flight.scene.settings.mount
    duration = true_duration.overhead_s + flight.law.way_deg / (true_duration.speed_deg_s * case.speed)
    return Outcome(
        value / truth - 1 if there else np.nan,  # type: ignore[operator]
        there and ends[0] <= truth <= ends[1],  # type: ignore[index]
        (ends[1] - ends[0]) / 2 / value if there else np.nan,  # type: ignore[index, operator]
        result.motion.latency_s.value - flight.offset_s,
        result.motion.duration_s.value / duration - 1,
        bool(result.motion.flags),
        there,
        result.motion_rel or np.nan,
        int(result.shots.sum()),
        result.dose_uj_cm2,
    )


def main() -> None:
    arguments = parser(
        __doc__, seeds=200, first=1, jobs=1, light=1.0, level="typical", speed=1.0, band="peaks"
    ).parse_args()
    a = arguments
    cases = [Case(seed, a.light, a.level, a.speed, band=a.band) for seed in range(a.first, a.first + a.seeds)]
    ends = list(found(flown, cases, a.jobs))
    error, width = column(ends, "error"), column(ends, "half_width")
    rows = (
        ("flights, found", f"{len(ends)}, {sum(e.found for e in ends)}"),
        ("shots in points, median", f"{np.median(column(ends, 'shots')):.0f}"),
        ("dose (J/cm2), median", f"{1e-6 * np.median(column(ends, 'dose')):.3f}"),
        ("bias, RMSE (%)", f"{100 * np.nanmean(error):+.2f}, {100 * rms(error):.2f}"),
        ("95 % interval covers", f"{sum(e.covered for e in ends)} of {len(ends)}"),
        ("half-width (%), median", f"{100 * np.nanmedian(width):.2f}"),
        ("half-width (%), 90 % are below", f"{100 * np.nanquantile(width, 0.9):.2f}"),
        ("of the motion (%), median", f"{196 * np.nanmedian(column(ends, 'motion_rel')):.2f}"),
        ("latency: rms error (ms)", f"{1e3 * rms(column(ends, 'latency_error_s')):.2f}"),
        ("duration of a pass: rms error (%)", f"{100 * rms(column(ends, 'duration_rel')):.2f}"),
        ("flagged (%)", f"{share([e.flagged for e in ends]):.1f}"),
    )  # fmt: skip
    show(table(("flights", f"{a.level}, {a.light:g} s, {a.band} band, speed x {a.speed:g}"), rows))


if __name__ == "__main__":
    main()
