"""Is the first mode named, and does its interval hold? A weak mode before strong ones.

    python -m benchmarks.accuracy.modes --trials 500 [--seed 1] [--jobs 1]

Spectra of its own: an unsymmetrical band of luminescence (F^2), lines of 0.45 nm seen through a slit of
0.15 nm on pixels of 0.06 nm, shot and read noise in every pixel, noise of the whole point (1, 2 or 5 %), each
line's share scattering by 3 %, lines that shift by 0.03 nm a threshold and together by 0.02 nm at random. The
slope of all modes is 12 times the luminescence's at the first onset. The first mode has 5 or 15 % of it; the
others begin at 1.5 or 1.3, at places of their own. "Clamped": the first mode keeps half of its slope once the
others lase; "rounded": pulses scatter by 2 %. Four points or more lie between the onsets. "As a table": the
same signals, summed over the band, without spectra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.tables import Array, share, show, table
from benchmarks.trials import found, parser
from labctl.analysis.spectra.follow import follow_lines, mode_onsets
from labctl.analysis.threshold import fit_threshold

AXIS_NM: Array = np.asarray(495.0 + 0.06 * np.arange(1200), dtype=np.float64)
ONSET_UJ_CM2, CONTRAST, BAND_COUNTS = 80.0, 12.0, 30_000.0


@dataclass(frozen=True, slots=True)
class Case:
    """One cell: weight of the first mode, onset of the others; ``plain``: no weak mode."""

    weight: float
    second: float
    points: int
    noise: float
    kind: str = "hinge"
    plain: bool = False


CASES = tuple(
    Case(weight, second, points, noise, kind)
    for weight, second, points in ((0.05, 1.5, 20), (0.05, 1.5, 32), (0.15, 1.3, 32))
    for noise in (0.01, 0.02, 0.05)
    for kind in ("hinge", "clamped", "rounded")
    if kind == "hinge" or noise == 0.02
)
PLAIN = tuple(
    Case(1.0, 1.0, points, noise, kind, plain=True)
    for points in (16, 32)
    for noise in (0.01, 0.05)
    for kind in ("hinge", "rounded")
)


def _above(u: Array, onset: float, kind: str) -> Array:
    if kind != "rounded":
        return np.maximum(u - onset, 0.0)
    z = np.linspace(-2.4, 2.4, 25)
    p = np.exp(-0.5 * z * z)
    return np.asarray(np.maximum(u[:, None] * (1 + 0.02 * z) - onset, 0.0) @ (p / p.sum()))


def _light(case: Case, u: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return luminescence, shape (n,), and the light of every mode, (n, mode), the first mode first."""
    slope = 2.0 * CONTRAST * BAND_COUNTS
    count = int(rng.integers(2, 6))
    parts: Array = rng.dirichlet(np.full(count, 4.0))
    later = [case.second * (1 + 0.12 * rng.uniform() * (i > 0)) for i in range(count)]
    first = case.weight * _above(u, 1.0, case.kind)
    if case.kind == "clamped":
        first -= 0.5 * case.weight * _above(u, case.second, case.kind)
    parts = parts * (0.6 if case.plain else 1 - case.weight)
    onsets = [1.0] * count if case.plain else later
    others = [part * _above(u, at, case.kind) for part, at in zip(parts, onsets, strict=True)]
    first = 0.4 * _above(u, 1.0, case.kind) if case.plain else first
    return BAND_COUNTS * u**2, slope * np.stack([first, *others], axis=1)


def _profile(at_nm: float, width_nm: float, lorentzian: bool) -> Array:
    seen = np.hypot(width_nm, 0.15)
    x = AXIS_NM - at_nm
    square = (x / seen) ** 2
    shape = 1.0 / (1.0 + 4.0 * square) if lorentzian else np.exp(-4 * np.log(2) * square)
    return np.asarray(shape / shape.sum())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial; ``first`` whether the true first mode is named first."""

    first: bool
    covered: bool
    width: float
    flagged: bool
    table_covers: bool
    table_flagged: bool
    table_found: bool


def spectra(case: Case, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """Draw a sweep: fluence in uJ/cm2, spectra (n, pixel) in counts, and where the first mode is, nm."""
    low = rng.uniform(0.45, 0.6)
    high = rng.uniform(1.9, 2.3) if case.second > 1.4 else rng.uniform(1.7, 2.0)
    u = np.geomspace(low, high, case.points)
    luminescence, modes = _light(case, u, rng)
    band = np.exp(-(((AXIS_NM - 520) / np.where(AXIS_NM < 520, 12.5, 17.0)) ** 2))
    band /= band.sum()
    count, lorentzian = modes.shape[1], bool(rng.integers(2))
    at_nm = rng.permutation(531.0 + np.cumsum(1.1 + rng.exponential(0.9, count)))
    width: Array = np.asarray(0.43 * np.exp(0.1 * rng.standard_normal(count)))
    shift: Array = np.asarray(0.03 * rng.standard_normal(count))
    out = np.empty((case.points, AXIS_NM.size))
    for i, v in enumerate(u):
        common = 0.02 * rng.standard_normal()
        light: Array = luminescence[i] * band
        for j in range(count):
            own = modes[i, j] * (1 + 0.03 * rng.standard_normal())
            light = light + own * _profile(at_nm[j] + shift[j] * (v - 1) + common, width[j], lorentzian)
        light = light * (1 + case.noise * rng.standard_normal())
        # Exposure follows the light, so that the brightest pixel holds some 40,000 counts in ten exposures.
        per = min(4e5 / max(float(light.max()), 1e-9), 40.0)
        read = 5.0 * np.sqrt(10) * rng.standard_normal(AXIS_NM.size)
        counts = rng.poisson(np.maximum(light * per, 0.0)) + read
        out[i] = counts / per
    return ONSET_UJ_CM2 * u, out, float(at_nm[0])


def trial(case: Case, seed: tuple[int, ...]) -> Outcome:
    """Draw a sweep and evaluate it both ways."""
    rng = np.random.default_rng(seed)
    fluence, light, at_nm = spectra(case, rng)
    followed = follow_lines(
        AXIS_NM, light, fluence, emission_nm=(498.0, 565.0), lasing_nm=(525.0, 560.0), resolution_nm=0.15
    )
    first = mode_onsets(followed).first
    named = first is not None and (case.plain or abs(first.wavelength_nm - at_nm) < 0.3)
    low, high = (np.nan, np.nan) if first is None or first.ci95 is None else first.ci95
    fit = fit_threshold(fluence, light.sum(axis=1))
    return Outcome(
        first=named,
        covered=low <= ONSET_UJ_CM2 <= high,
        width=(high - low) / 2 / ONSET_UJ_CM2,
        flagged=fit.ci95 is not None and high < fit.ci95[0],
        table_covers=fit.ci95 is not None and fit.ci95[0] <= ONSET_UJ_CM2 <= fit.ci95[1],
        table_flagged="second_kink" in fit.flags,
        table_found=fit.status == "found",
    )


def _one(job: tuple[Case, tuple[int, ...]]) -> tuple[Case, Outcome]:
    return job[0], trial(*job)


def rows(trials: int, seed: int, jobs: int) -> Iterator[tuple[object, ...]]:
    """Yield a line for each case."""
    for number, case in enumerate((*CASES, *PLAIN)):
        work = [(case, (seed, number, i)) for i in range(trials)]
        every = [o for _, o in (found(partial(_one), work, jobs) if jobs > 1 else map(_one, work))]
        named = [o for o in every if o.first]
        silent = [o.table_found and not (o.table_covers or o.table_flagged) for o in every]
        label = "one onset" if case.plain else f"{100 * case.weight:.0f} % at 1, rest from {case.second:g}"
        yield (
            label, case.kind, case.points, f"{100 * case.noise:.0f}",
            f"{share([o.first for o in every]):.1f}", f"{share([o.covered for o in named]):.1f}",
            f"{100 * np.median([o.width for o in named]):.2f}" if named else "-",
            f"{share([o.flagged for o in every]):.1f}",
            f"{share([o.table_covers for o in every]):.1f}", f"{share([o.table_flagged for o in every]):.1f}",
            f"{share(silent):.1f}", trials,
        )  # fmt: skip


def main() -> None:
    args = parser(__doc__, trials=200, seed=1, jobs=1).parse_args()
    heads = (
        "modes", "kind", "points", "noise %", "first named %", "its interval covers %", "half-width %",
        "lies below the kink %", "table alone: covers %", "flagged %", "found, neither %", "trials",
    )  # fmt: skip
    show(table(heads, rows(args.trials, args.seed, args.jobs)))


if __name__ == "__main__":
    main()
