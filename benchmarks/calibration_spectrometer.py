"""Does the calibration of the spectrometer find the truth? Wavelength, resolution and linearity.

"synthetic": lamp spectra drawn for each seed, true axis off the device's own by pixels, a stretch and a bend.
"bench": the whole procedure on the simulated bench nobody has measured, lamps put in by script, on a stepped
clock; scene and procedure without wires between. Pulls are those of statistical errors.

    python benchmarks/calibration_spectrometer.py --synthetic 1000 --bench 200 [--lamps ne,hg-ar]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.polynomial import polynomial
from scipy import special

from labctl.analysis.calibration.lamps import lamp_lines
from labctl.analysis.calibration.lines import FoundLine, find_lines, lamp_noise
from labctl.analysis.calibration.resolution import fit_resolution
from labctl.analysis.calibration.wavelength import LampSpectrum, fit_wavelength
from labctl.model.calibration import Calibration
from labctl.model.clock import Clock, SteppedClock, Stop
from labctl.model.errors import CalibrationRefused
from labctl.model.hands import Request
from labctl.model.pump import Bands, Limits, MalusCurve, PumpSettings, SpotSize
from labctl.model.records import FloatArray, Identity, SpectrometerInfo, Spectrum
from labctl.model.roles import Roles
from procedures.calibration import PROCEDURES, CalContext, SpectrometerOptions
from simulators import presets
from simulators.scene import Scene
from simulators.scene.settings import SpectrometerKind

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
LASING_NM = (530.0, 556.0)
PIXEL = np.arange(2136.0)
AXES: dict[str, tuple[tuple[float, ...], float]] = {
    "fine": ((500.0, 0.0304, -1.9e-7), 0.15),
    "coarse": ((200.0, 0.405, -2.3e-6), 1.3),
}
OFFSET, READ, GAIN, FULL = 1500.0, 10.0, 1 / 1.3, 65535.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One calibration: pull in the lasing band, largest error in the band and over the lines (pixels),
    relative errors of resolution and linearity."""

    pull: float
    band_pixels: float
    lines_pixels: float
    resolution_rel: float
    linearity_rel: float = 0.0


def pixel_fwhm(pitch_nm: float) -> float:
    """FWHM of the Gaussian with a pixel's variance."""
    return FWHM_PER_SIGMA * pitch_nm / math.sqrt(12.0)


def judged(
    found_nm: FloatArray, true_nm: FloatArray, sigma_nm: float, lines_nm: Sequence[float], fwhm_rel: float
) -> Outcome:
    """Hold an axis against the true one."""
    off = (found_nm - true_nm) / np.gradient(true_nm)
    band = (true_nm >= LASING_NM[0]) & (true_nm <= LASING_NM[1])
    pitch = float(true_nm[1] - true_nm[0])
    lines = (true_nm >= lines_nm[0] - pitch) & (true_nm <= lines_nm[-1] + pitch)
    middle = int(np.searchsorted(true_nm, 0.5 * sum(LASING_NM)))
    pull = float(found_nm[middle] - true_nm[middle]) / sigma_nm
    return Outcome(pull, float(np.abs(off[band]).max()), float(np.abs(off[lines]).max()), fwhm_rel)


# --- synthetic ---------------------------------------------------------------------------------------------


def drawn(kind: str, lamp: str, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    """Return the device's axis, the true one, the slit's FWHM and the lamp's light."""
    coefficients, resolution = AXES[kind]
    device = polynomial.polyval(PIXEL, coefficients)
    pitch = coefficients[1]
    off = rng.uniform(-1, 1, 3) * (min(1.0, 6 * pitch), 1.5 * pitch, 0.3 * pitch)
    true = device + polynomial.polyval(2 * PIXEL / PIXEL[-1] - 1, off)
    slit = resolution * float(rng.uniform(0.9, 1.2))
    edges = np.interp(np.arange(PIXEL.size + 1) - 0.5, PIXEL, true)
    light = np.zeros(PIXEL.size)
    for line in lamp_lines(lamp):
        if true[0] < line.wavelength_nm < true[-1]:
            height = 10 ** (line.strength + 0.4 * rng.standard_normal())
            z = (edges - line.wavelength_nm) / (slit / FWHM_PER_SIGMA * math.sqrt(2))
            light += height * np.diff(special.erf(z))
    return device, true, slit, light * (40000.0 / light.max())


def exposed(light: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    noise = np.sqrt(READ**2 + GAIN * light) * rng.standard_normal((count, light.size))
    return np.asarray(np.clip(np.rint(light + noise + OFFSET), 0, FULL))


def synthetic(kind: str, lamp: str, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    device, true, slit, light = drawn(kind, lamp, rng)
    darks = exposed(0.0 * light, 40, rng)
    lines: list[FoundLine] = []
    for times in (1.0, 20.0):
        frames = exposed(times * light, 10, rng)
        mean = frames.mean(axis=0) - darks.mean(axis=0)
        clipped = np.asarray((frames >= 0.98 * FULL).any(axis=0), dtype=np.bool_)
        lines += find_lines(mean, lamp_noise(frames, darks), saturated=clipped)
    spectra = [LampSpectrum(lines, lamp_lines(lamp))]
    fit = fit_wavelength(spectra, device, AXES[kind][1])
    widths = fit_resolution(spectra, fit, AXES[kind][1])
    middle_nm = 0.5 * sum(LASING_NM)
    pitch = float(np.interp(middle_nm, true, np.gradient(true)))
    rel = widths.at(middle_nm)[0] / math.hypot(slit, pixel_fwhm(pitch)) - 1
    pixel = float(np.searchsorted(true, middle_nm))
    return judged(fit.axis_nm(), true, fit.sigma_nm(pixel)[0], fit.line_nm, rel)


# --- the simulated bench -----------------------------------------------------------------------------------


class SceneCamera:
    """The scene's spectrometer without wires."""

    name = "spectrometer scene"

    def __init__(self, scene: Scene) -> None:
        camera, self._scene = scene.camera, scene
        self.info = SpectrometerInfo(
            identity=self.identity(),
            wavelength_nm=polynomial.polyval(PIXEL, camera.wavelength_coefficients),
            max_counts=float(camera.max_counts),
            integration_min_s=camera.integration_min_us * 1e-6,
            integration_max_s=camera.integration_max_us * 1e-6,
        )
        self._seconds = 0.1

    def identity(self) -> Identity:
        return Identity("scene", "FX", "1")

    def close(self) -> None:
        """Nothing to close."""

    def set_integration(self, seconds: float) -> float:
        self._seconds = seconds
        return seconds

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        start = self._scene.clock.now_s()
        self._scene.clock.sleep(self._seconds + 0.0012, stop)
        counts = self._scene.camera.expose(start, self._seconds).astype(np.float64)
        return Spectrum(counts, self._seconds, start, self._scene.clock.now_s())

    def temperature_c(self) -> float | None:
        return self._scene.camera.temperature_c(self._scene.clock.now_s())


class ClosedShutter:
    """A shutter that nobody opens."""

    name, travel_s = "shutter scene", 0.05

    def identity(self) -> Identity:
        return Identity("scene", "shutter", "1")

    def close(self) -> None:
        """Nothing to close."""

    def is_open(self) -> bool:
        return False

    def open(self) -> None:
        raise AssertionError("nothing in this calibration opens the shutter")

    def close_beam(self) -> None:
        """It is closed."""


class SceneHands:
    """Does at once what is asked for."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def do(self, request: Request, stop: Stop | None = None) -> float | None:  # noqa: ARG002
        return self._scene.hand.do(request.action, request.values)


def context(scene: Scene, clock: Clock, lamps: tuple[str, ...]) -> CalContext:
    nothing: object = None  # neither plate nor meter is touched
    roles = Roles(nothing, nothing, SceneCamera(scene), ClosedShutter(), clock)  # type: ignore[arg-type]
    settings = PumpSettings(
        800.0, 1000.0, SpotSize("gaussian", 100.0, 100.0), "peak", MalusCurve(12.0, 0.002, 1.0), 24.0, 2e-7
    )
    options = SpectrometerOptions(lamps=lamps)
    bands = Bands((505.0, 560.0), LASING_NM)
    return CalContext(roles, settings, Limits(700.0), SceneHands(scene), options, bands=bands)


def calibrated(run: CalContext) -> Calibration:
    steps = PROCEDURES["spectrometer"](run)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Calibration = end.value
            return result


def simulated(kind: SpectrometerKind, lamps: tuple[str, ...], seed: int) -> Outcome:
    clock = SteppedClock()
    settings = presets.uncalibrated(presets.scene("ola", "typical", seed, spectrometer=kind), seed)
    scene = Scene(settings, clock)
    result = calibrated(context(scene, clock, lamps))
    true = scene.camera.wavelength_nm
    middle_nm = 0.5 * sum(LASING_NM)
    pitch = float(np.interp(middle_nm, true, np.gradient(true)))
    seen = math.hypot(scene.camera.resolution_nm(middle_nm), pixel_fwhm(pitch))
    outcome = judged(
        polynomial.polyval(PIXEL, result.tables["wavelength_coefficients"]),
        true,
        float(result.facts["axis_sigma_nm"]),
        result.tables["line_nm"],
        result.quantities["resolution"].value / seen - 1,
    )
    counts = np.linspace(5000.0, 55000.0, 11)
    ours = polynomial.polyval(counts, result.tables["nonlinearity"])
    droop = 1 - settings.camera.nonlinearity * (counts / FULL) ** 2
    worst = float(np.abs((ours / ours[0]) / (droop / droop[0]) - 1).max())
    return Outcome(outcome.pull, outcome.band_pixels, outcome.lines_pixels, outcome.resolution_rel, worst)


# --- report ------------------------------------------------------------------------------------------------


def row(name: str, run: Callable[[int], Outcome], seeds: int) -> str:
    """Write one line of the table."""
    found: list[Outcome] = []
    refused = 0
    for seed in range(seeds):
        try:
            found.append(run(seed))
        except CalibrationRefused as exc:
            refused += 1
            print(f"{name}, seed {seed}: refused: {exc}", flush=True)
    pull, band, lines, width, linear = (
        np.array([getattr(o, key) for o in found])
        for key in ("pull", "band_pixels", "lines_pixels", "resolution_rel", "linearity_rel")
    )
    cells = (
        name,
        str(seeds),
        str(refused),
        f"{100 * np.mean(np.abs(pull) < 1.96):.1f}",
        f"{np.std(pull):.2f}",
        f"{np.median(band):.3f} / {np.quantile(band, 0.95):.3f} / {band.max():.3f}",
        f"{np.median(lines):.3f} / {np.quantile(lines, 0.95):.3f} / {lines.max():.3f}",
        f"{100 * np.median(width):+.2f} / {100 * np.abs(width).max():.2f}",
        f"{100 * linear.max():.2f}",
    )
    return "| " + " | ".join(cells) + " |"


HEAD = """\
| lamp | seeds | refused | pulls within 1.96 (%) | their sd | lasing band: median / 95 % / worst (pixels) \
| over the lines: median / 95 % / worst (pixels) | resolution: median / worst (%) | linearity: worst (%) |
|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--synthetic", type=int, default=0)
    parser.add_argument("--bench", type=int, default=0)
    parser.add_argument("--lamps", default="", help="of the bench; by default ne, hg-ar, and ne with hg-ar")
    wanted = parser.parse_args()
    print(HEAD, flush=True)
    if wanted.synthetic:
        for kind, lamp in (
            ("fine", "hg-ar"),
            ("fine", "ne"),
            ("coarse", "hg-ar"),
            ("coarse", "ne"),
            ("coarse", "kr"),
        ):
            print(
                row(f"synthetic {kind} {lamp}", partial(synthetic, kind, lamp), wanted.synthetic),
                flush=True,
            )
    if wanted.bench:
        sets = [tuple(wanted.lamps.split(","))] if wanted.lamps else [("ne",), ("hg-ar",), ("hg-ar", "ne")]
        kinds: tuple[SpectrometerKind, ...] = ("fine", "coarse")
        for kind in kinds:
            for lamps in sets:
                name = f"bench {kind} {' + '.join(lamps)}"
                print(row(name, partial(simulated, kind, lamps), wanted.bench), flush=True)


if __name__ == "__main__":
    main()
