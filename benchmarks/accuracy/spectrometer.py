"""Does the calibration of the spectrometer find the truth? Wavelength, resolution and linearity.

"synthetic": lamp spectra drawn for each seed, true axis off the device's own by pixels, a stretch and a bend.
"bench": the whole procedure over the wires of a simulated bench nobody has measured, lamps put in by its own
hands, on a stepped clock. Pulls are those of statistical errors.

    python -m benchmarks.accuracy.spectrometer --synthetic 1000 --bench 200 [--lamps ne,hg-ar]
"""

from __future__ import annotations

import math
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.polynomial import polynomial
from scipy import special

from benchmarks.benches import LASING_NM, MIDDLE_NM, calibrated, scene
from benchmarks.tables import column, share, show, spread, table
from benchmarks.trials import parser
from labctl.analysis.calibration.lamp_lines import FoundLine, find_lines, lamp_lines, lamp_noise
from labctl.analysis.calibration.wavelength import LampSpectrum, fit_resolution, fit_wavelength
from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray
from procedures.calibration.context import SpectrometerOptions
from simulators import presets
from simulators.bench import SimulatedBench

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
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
    middle = int(np.searchsorted(true_nm, MIDDLE_NM))
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
    pitch = float(np.interp(MIDDLE_NM, true, np.gradient(true)))
    rel = widths.at(MIDDLE_NM)[0] / math.hypot(slit, pixel_fwhm(pitch)) - 1
    pixel = float(np.searchsorted(true, MIDDLE_NM))
    return judged(fit.axis_nm(), true, fit.sigma_nm(pixel)[0], fit.line_nm, rel)


# --- the simulated bench -----------------------------------------------------------------------------------


def simulated(kind: str, lamps: tuple[str, ...], seed: int) -> Outcome:
    settings = presets.uncalibrated(scene("ola", "typical", seed, spectrometer=kind), seed)
    with SimulatedBench(settings, SteppedClock()) as bench, tempfile.TemporaryDirectory() as folder:
        config, options = parse_bench(bench.bench_toml(1.0, nominal=True)), SpectrometerOptions(lamps=lamps)
        result, _ = calibrated(bench, config, "spectrometer", Path(folder), options)
    camera = bench.scene.camera
    true = camera.wavelength_nm
    pitch = float(np.interp(MIDDLE_NM, true, np.gradient(true)))
    seen = math.hypot(camera.resolution_nm(MIDDLE_NM), pixel_fwhm(pitch))
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
    return replace(outcome, linearity_rel=float(np.abs((ours / ours[0]) / (droop / droop[0]) - 1).max()))


# --- report ------------------------------------------------------------------------------------------------


def row(name: str, run: Callable[[int], Outcome], seeds: int) -> tuple[object, ...]:
    found: list[Outcome] = []
    for seed in range(seeds):
        try:
            found.append(run(seed))
        except CalibrationRefused as exc:
            print(f"{name}, seed {seed}: refused: {exc}", flush=True)
    pull, width = column(found, "pull"), column(found, "resolution_rel")
    return (
        name,
        seeds,
        seeds - len(found),
        f"{share(np.abs(pull) < 1.96):.1f}",
        f"{np.std(pull):.2f}",
        spread(column(found, "band_pixels"), 3),
        spread(column(found, "lines_pixels"), 3),
        f"{100 * np.median(width):+.2f} / {100 * np.abs(width).max():.2f}",
        f"{100 * column(found, 'linearity_rel').max():.2f}",
    )


HEADS = (
    "lamp", "seeds", "refused", "pulls within 1.96 (%)", "their sd",
    "lasing band: median / 95 % / worst (pixels)", "over the lines: median / 95 % / worst (pixels)",
    "resolution: median / worst (%)", "linearity: worst (%)",
)  # fmt: skip
SYNTHETIC = (("fine", "hg-ar"), ("fine", "ne"), ("coarse", "hg-ar"), ("coarse", "ne"), ("coarse", "kr"))


def rows(wanted: Namespace) -> Iterator[tuple[object, ...]]:
    if wanted.synthetic:
        for kind, lamp in SYNTHETIC:
            yield row(f"synthetic {kind} {lamp}", partial(synthetic, kind, lamp), wanted.synthetic)
    if wanted.bench:
        sets = [tuple(wanted.lamps.split(","))] if wanted.lamps else [("ne",), ("hg-ar",), ("hg-ar", "ne")]
        for kind in ("fine", "coarse"):
            for lamps in sets:
                yield row(f"bench {kind} {' + '.join(lamps)}", partial(simulated, kind, lamps), wanted.bench)


def main() -> None:
    made = parser(__doc__, synthetic=0, bench=0)
    made.add_argument("--lamps", default="", help="of the bench; by default ne, hg-ar, and ne with hg-ar")
    show(table(HEADS, rows(made.parse_args())))


if __name__ == "__main__":
    main()
