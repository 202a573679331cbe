"""Statistics of single shots: python -m benchmarks.accuracy.shots tail|overlap|scene [--trials 200].

tail: alpha-stable shots, 2,000 a trial, with read noise and clipping, and light-tailed ones; overlap:
luminescence of common brightness that scatters, with read and shot noise, and lines; scene: the simulated
bench, peaks of 8 modes, at rising fluence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.benches import scene
from benchmarks.shots import ShotScene, steady
from benchmarks.tables import Array, column, share, show, table
from benchmarks.trials import found, parser
from labctl.analysis.shots.heavy_tail import heavy_tail
from labctl.analysis.shots.overlap import overlap
from labctl.analysis.shots.statistics import shot_statistics
from labctl.analysis.spectra.bands import Bands

SHOTS = 2000


def stable(rng: np.random.Generator, alpha: float, beta: float, n: int) -> Array:
    """Draw from an alpha-stable law (Chambers, Mallows, Stuck 1976), zero and scale of Zolotarev's M."""
    angle, wait = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.exponential(size=n)
    skew = beta * np.tan(np.pi * alpha / 2)
    turn = np.arctan(skew) / alpha
    size = (1 + skew**2) ** (1 / (2 * alpha))
    turned = alpha * (angle + turn)
    x = size * np.sin(turned) / np.cos(angle) ** (1 / alpha)
    return np.asarray(x * (np.cos(angle - turned) / wait) ** ((1 - alpha) / alpha) - skew)


def spectra(rng: np.random.Generator, shots: int, counts: float, cv: float, lines: float = 0.0) -> Array:
    """Draw spectra of 700 pixels: a band of common brightness, lines of their own, read and shot noise.

    :param counts: at the top of the band, a pixel; ``lines`` likewise, log-normal with 0.5.
    """
    place = np.linspace(-1.0, 1.0, 700)
    brightness = np.maximum(1.0 + cv * rng.standard_normal((shots, 1)), 0.0)
    light = counts * np.exp(-((place / 0.5) ** 2)) * brightness
    for centre in (-0.2, 0.1, 0.3):
        light = light + lines * np.exp(rng.normal(0.0, 0.5, (shots, 1)) - ((place - centre) / 0.02) ** 2)
    return np.asarray(light + np.sqrt(10.0**2 + 0.8 * light) * rng.standard_normal(light.shape))


@dataclass(frozen=True)
class Tail:
    """What was said of one set of shots; the half-width is nan where nothing was."""

    covered: bool
    half_width: float
    error: float
    heavy: bool
    stated: bool


TAILS = {
    "alpha 1.2": 1.2, "alpha 1.5": 1.5, "alpha 1.8": 1.8,
    "Gaussian": 2.0, "log-normal, 0.3": 0.3, "log-normal, 0.6": 0.6,
}  # fmt: skip
NOISES = ((0.3, 0.02), (1.0, 0.05))
"""Read noise over the scale of the law, and share of the shots that is clipped."""


def tail(case: tuple[str, float, float, int]) -> Tail:
    name, noise, clipped, seed = case
    rng = np.random.default_rng([seed, *name.encode(), int(100 * noise), int(100 * clipped)])
    alpha = TAILS[name]
    if name.startswith("log"):
        shots, alpha = 3.0 * (np.exp(alpha * rng.standard_normal(SHOTS)) - 1.0) / alpha, 2.0
    elif name == "Gaussian":
        shots = np.sqrt(2.0) * rng.standard_normal(SHOTS)
    else:
        shots = stable(rng, alpha, float(rng.choice((0.0, 0.5, 1.0))), SHOTS)
    shots = 5000.0 + 300.0 * (shots + noise * rng.standard_normal(SHOTS))
    level = float(np.quantile(shots, 1.0 - clipped)) if clipped else np.inf
    said = heavy_tail(np.minimum(shots, level), noise=300.0 * noise, clipped=shots >= level)
    if said.alpha is None or said.ci95 is None:
        return Tail(False, np.nan, np.nan, False, stated=False)
    low, high = said.ci95
    return Tail(
        low <= alpha <= high, 0.5 * (high - low), said.alpha - alpha, said.status == "heavy", stated=True
    )


def tails(trials: int, seed: int, jobs: int) -> Iterator[str]:
    heads = (
        "shots",
        "read noise",
        "clipped",
        "covered (%)",
        "half-width",
        "bias",
        "rms",
        "called heavy (%)",
        "stated (%)",
    )

    def rows() -> Iterator[tuple[object, ...]]:
        for noise, clipped in NOISES:
            for name in TAILS:
                cases = [(name, noise, clipped, seed * 100_000 + i) for i in range(trials)]
                ends = list(found(tail, cases, jobs))
                error = column(ends, "error")
                covered = f"{share([e.covered for e in ends]):.1f}" if not name.startswith("log") else "-"
                yield (
                    name, noise, f"{100 * clipped:.0f} %", covered,
                    f"{np.nanmedian(column(ends, 'half_width')):.3f}", f"{np.nanmean(error):+.3f}",
                    f"{np.sqrt(np.nanmean(error**2)):.3f}", f"{share([e.heavy for e in ends]):.1f}",
                    f"{share([e.stated for e in ends]):.0f}",
                )  # fmt: skip

    yield from table(heads, rows())


@dataclass(frozen=True)
class Overlapping:
    """What was said of the overlap of one set of spectra."""

    ratio: float
    away: float
    above: bool
    raw: float


SPECTRA = {
    "5 counts, CV 10 %": (5.0, 0.1, 0.0), "200 counts, CV 10 %": (200.0, 0.1, 0.0),
    "200 counts, CV 50 %": (200.0, 0.5, 0.0), "5,000 counts, CV 10 %": (5000.0, 0.1, 0.0),
    "200 counts, CV 10 %, lines of 20 counts": (200.0, 0.1, 20.0),
    "200 counts, CV 10 %, lines of 60 counts": (200.0, 0.1, 60.0),
}  # fmt: skip


def overlapping(name: str, seed: int) -> Overlapping:
    counts, cv, lines = SPECTRA[name]
    light = spectra(np.random.default_rng([seed, *name.encode()]), 300, counts, cv, lines)
    said = overlap(light, read_noise=10.0, counts_per_electron=0.8, seed=seed)
    assert said is not None
    return Overlapping(
        said.rms / said.floor_rms,
        (said.rms - said.floor_rms) / said.floor_sigma,
        said.above_floor,
        said.raw_rms,
    )


def overlaps(trials: int, seed: int, jobs: int) -> Iterator[str]:
    heads = (
        "spectra (300 shots)",
        "rms q / floor",
        "2.5 to 97.5 %",
        "rms q, raw",
        "called above the floor (%)",
    )

    def rows() -> Iterator[tuple[object, ...]]:
        for name in SPECTRA:
            ends = list(found(partial(overlapping, name), range(seed, seed + trials), jobs))
            ratio = column(ends, "ratio")
            low, high = np.quantile(ratio, (0.025, 0.975))
            yield (
                name, f"{np.median(ratio):.4f}", f"{low:.4f} to {high:.4f}",
                f"{np.median(column(ends, 'raw')):.3f}", f"{share([e.above for e in ends]):.1f}",
            )  # fmt: skip

    yield from table(heads, rows())


@dataclass(frozen=True)
class SceneRow:
    """What 600 shots of the bench showed at one fluence."""

    own_cv: float
    heavy: bool
    above: bool
    ratio: float
    q: float


FLUENCES = (0.5, 0.9, 1.1, 1.5, 2.0, 2.5)


def of_scene(case: tuple[float, int]) -> SceneRow:
    u, seed = case
    bench = ShotScene(steady(scene("ola", "typical", seed)))
    dark = bench.dark(200).mean(axis=0)
    bench.lay(u * bench.scene.truth.threshold_uj_cm2)
    light = bench.linear(bench.take(600).raw, dark)
    axis = bench.scene.camera.wavelength_nm
    said = shot_statistics(axis, light, u, bands=Bands(), below_threshold=u < 1, resolution_nm=0.15)
    assert said.overlap is not None
    return SceneRow(
        said.moments.own_cv.value or np.nan,
        said.tail.status == "heavy",
        said.overlap.above_floor,
        said.overlap.rms / said.overlap.floor_rms,
        np.nan
        if said.q is None or said.q.median.value is None
        else said.q.median.value / bench.scene.truth.q - 1,
    )


def scenes(trials: int, seed: int, jobs: int) -> Iterator[str]:
    heads = (
        "F/Fth",
        "own CV (%)",
        "called heavy (%)",
        "rms q / floor",
        "above the floor (%)",
        "Q, bias (%)",
        "with a Q (%)",
    )

    def rows() -> Iterator[tuple[object, ...]]:
        for u in FLUENCES:
            ends = list(found(of_scene, [(u, seed + i) for i in range(trials)], jobs))
            cv, q = column(ends, "own_cv"), column(ends, "q")
            yield (
                u, f"{100 * np.nanmedian(cv):.1f}" if np.isfinite(cv).any() else "-",
                f"{share([e.heavy for e in ends]):.0f}", f"{np.median(column(ends, 'ratio')):.3f}",
                f"{share([e.above for e in ends]):.0f}",
                f"{100 * np.nanmedian(q):+.1f}" if np.isfinite(q).any() else "-",
                f"{share(np.isfinite(q)):.0f}",
            )  # fmt: skip

    yield from table(heads, rows())


def main() -> None:
    made = parser(__doc__, trials=200, seed=1, jobs=1)
    made.add_argument("what", choices=("tail", "overlap", "scene"))
    arguments = made.parse_args()
    tables = {"tail": tails, "overlap": overlaps, "scene": scenes}
    show(tables[arguments.what](arguments.trials, arguments.seed, arguments.jobs))


if __name__ == "__main__":
    main()
