"""What is said of sweeps that lie wholly above or wholly below threshold, with spectra and without.

    python -m benchmarks.accuracy.threshold_bounds --trials 60

A spectrum is made of each point: luminescence of 25 nm that carries the truth's luminescence, and lines of
0.4 nm that share its excess, on a detector with shot and read noise, four exposures of at most 0.5 s at
1 kHz. labctl's own reduction finds widths and peaks in them. "Wrong" is a lower bound above the onset that
hangs on no condition, or an interval wholly above the onset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy.threshold_truths import INSIDE, OUTSIDE, Noise, Truth
from benchmarks.tables import Array, show, table
from benchmarks.trials import parser
from labctl.analysis.spectra.bands import Band, Bands
from labctl.analysis.spectra.reduce import ReducedPoint, reduce_exposures
from labctl.analysis.threshold import START_LOWER, ThresholdResult, fit_threshold

ONSET_UJ_CM2 = 79.81
ABOVE = ((1.3, 3.0), (1.5, 6.0), (2.0, 8.0), (3.0, 12.0))
BELOW = ((0.1, 0.6), (0.2, 0.9))
BY_NAME = {truth.name: truth for truth in (*INSIDE, *OUTSIDE)}
ONE_PHOTON_HINGE = Truth("hinge, N = 1", excess=BY_NAME["hinge"].excess, lum=lambda u: u, photon_order=1)
SHAPES = (
    *(BY_NAME[n] for n in ("hinge", "roll-over", "impulsive", "impulsive, whole spot")),
    ONE_PHOTON_HINGE,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """The spectrometer: pitch and slit in nm, counts of noise a pixel, and what it may expose.

    :ivar lines: lasing lines that share the excess.
    """

    pitch_nm: float = 0.05
    slit_nm: float = 0.15
    read_counts: float = 8.0
    exposures: int = 4
    most_pulses: float = 500.0
    full_counts: float = 60000.0
    lines: int = 6

    def reduced(self, lum: float, excess: float, rng: np.random.Generator) -> ReducedPoint:
        """Expose and reduce one point; ``lum`` and ``excess`` in counts per pulse over the whole band."""
        at_nm = np.arange(495.0, 565.0, self.pitch_nm)
        shape = lum * _gauss(at_nm, 525.0, 25.0)
        modes = np.random.default_rng(7)  # of the sample: the same at every point
        shares = modes.dirichlet(np.full(self.lines, 2.0))
        for share, centre in zip(shares, modes.uniform(530.0, 552.0, self.lines), strict=True):
            shape = shape + excess * share * _gauss(at_nm, centre, float(np.hypot(0.4, self.slit_nm)))
        per_pulse = shape * self.pitch_nm
        pulses = float(
            np.clip(0.6 * self.full_counts / max(float(per_pulse.max()), 1e-9), 1.0, self.most_pulses)
        )
        size = (self.exposures, at_nm.size)
        frames = rng.poisson(per_pulse * pulses, size) + rng.normal(1000.0, self.read_counts, size)
        dark = 1000.0 + rng.normal(0.0, self.read_counts / np.sqrt(4 * self.exposures), at_nm.size)
        bands = Bands(Band(495.5, 564.5, "whole"), Band(527.0, 556.0, "peaks"))
        return reduce_exposures(at_nm, frames, dark, bands=bands, pulses_per_exposure=pulses)


def _gauss(at_nm: Array, centre_nm: float, fwhm_nm: float) -> Array:
    """A line of unit area, per nm."""
    width = fwhm_nm / 2.3548
    return np.asarray(np.exp(-0.5 * ((at_nm - centre_nm) / width) ** 2) / (width * np.sqrt(2 * np.pi)))


@dataclass(frozen=True, slots=True)
class Cell:
    """Some sweeps of one truth over one range; ``up_down`` visits every fluence but the highest twice.

    :ivar lost: share of the emitters that the sweep destroys, evenly from its first point to its last.
    """

    truth: Truth
    low: float
    high: float
    noise: float
    n: int = 16
    up_down: bool = False
    lost: float = 0.0

    def sweep(self, rng: np.random.Generator, bench: Bench) -> tuple[Array, Array, Array, Array]:
        """Draw fluence (uJ/cm2), signal, FWHM (nm) and peak count, shape (n,)."""
        u = np.geomspace(self.low, self.high, self.n)
        if self.up_down:
            u = np.concatenate([u[::2], u[-2::-2] if self.n % 2 else u[::-2]])
        left = np.linspace(1.0, 1.0 - self.lost, u.size)
        signal = Noise(multiplicative=self.noise).measure(self.truth.signal, u, rng) * left
        lum, excess = 300.0 * self.truth.lum(u), self.truth.excess(u, 6000.0)
        points = [bench.reduced(a, b, rng) for a, b in zip(lum * left, excess * left, strict=True)]
        width = np.array([np.nan if p.fwhm_nm is None else p.fwhm_nm for p in points])
        return ONSET_UJ_CM2 * u, signal, width, np.array([float(p.peak_count) for p in points])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many sweeps of a cell say what.

    :ivar number_above: an interval wholly above the onset, which is as wrong as a bound.
    :ivar bounded: a lower bound that hangs on nothing; ``wrong`` of these above the onset.
    """

    trials: int
    found: int
    number_above: int
    bounded: int
    wrong: int
    conditional: int
    start_lower: int

    @classmethod
    def of(cls, results: list[ThresholdResult]) -> Outcome:
        free = [r.bound[0] for r in results if r.bound and r.bound[0] is not None and not r.bound_condition]
        return cls(
            len(results),
            sum(r.status == "found" for r in results),
            sum(r.ci95 is not None and r.ci95[0] > ONSET_UJ_CM2 for r in results),
            len(free),
            sum(low > ONSET_UJ_CM2 for low in free),
            sum(r.bound_condition is not None for r in results),
            sum(START_LOWER in r.flags for r in results),
        )


def run(cell: Cell, trials: int, seed: int, bench: Bench = Bench()) -> tuple[Outcome, Outcome]:
    """Simulate a cell: what is said with the spectra, and without them."""
    rng = np.random.default_rng([seed, cell.n, int(1000 * cell.low), int(1000 * cell.noise)])
    seen, unseen = [], []
    for _ in range(trials):
        f, y, width, peaks = cell.sweep(rng, bench)
        order = cell.truth.photon_order
        seen.append(fit_threshold(f, y, photon_order=order, fwhm_nm=width, peak_count=peaks))
        unseen.append(fit_threshold(f, y, photon_order=order))
    return Outcome.of(seen), Outcome.of(unseen)


def cells() -> Iterator[Cell]:
    for truth in SHAPES:
        for low, high in (*BELOW, *ABOVE):
            for noise in (0.02, 0.05):
                yield Cell(truth, low, high, noise)
    for low, high in ((0.2, 0.9), (2.0, 8.0)):
        yield Cell(SHAPES[0], low, high, 0.05, n=8)
        yield Cell(SHAPES[0], low, high, 0.05, up_down=True)
        yield Cell(SHAPES[0], low, high, 0.05, lost=0.2)


SEEN = ("wrong bounds", "numbers above", "bounds", "conditional", "start lower")
UNSEEN = ("without: bounds", "without: numbers above", "without: conditional", "without: start lower")


def _rows(trials: int) -> Iterator[tuple[object, ...]]:
    for seed, cell in enumerate(cells()):
        seen, unseen = run(cell, trials, seed)
        counts = (seen.wrong, seen.number_above, seen.bounded, seen.conditional, seen.start_lower)
        blind = (unseen.bounded, unseen.number_above, unseen.conditional, unseen.start_lower)
        scan = f"{cell.low:g}-{cell.high:g}{', up-down' if cell.up_down else ''}"
        scan += f", {100 * cell.lost:g} % lost" if cell.lost else ""
        yield (cell.truth.name, scan, f"{100 * cell.noise:g}", cell.n, *counts, *blind, trials)


def main() -> None:
    trials = parser(__doc__, trials=60).parse_args().trials
    show(table(("truth", "scan, onsets", "noise %", "points", *SEEN, *UNSEEN, "trials"), _rows(trials)))


if __name__ == "__main__":
    main()
