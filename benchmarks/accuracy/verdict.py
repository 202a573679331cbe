"""How often the verdict is right: sweeps with and without a laser, each point's exposures reduced by labctl.

    python -m benchmarks.accuracy.verdict --trials 200 --seed 1

Truths are written here, on the axis of the simulated spectrometer (2136 pixels, 500 to 564 nm, slit 0.15 nm):
luminescence 25 nm wide, with whatever the kind adds to it. Every trial draws its own number of points, noise,
onset, lines and faults. The whole evaluation of a run decides, from points in memory with their exposures,
darks and a bench's facts. A kind without a laser is held against "consistent with lasing": the upper 95 %
limit of its share is Clopper and Pearson's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from benchmarks.tables import Array, show, table
from benchmarks.trials import parser
from labctl.analysis.evaluation import evaluate
from labctl.analysis.spectra.bands import bands_of
from labctl.analysis.spectra.reduce import reduce_exposures
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands, MalusCurve, PumpSettings, SpotSize
from labctl.model.records import DarkRecord, Identity, SpectrometerInfo, SweepPoint
from labctl.model.run import PointList, RunFacts

AT_NM = np.linspace(500.0, 564.038, 2136)
PITCH_NM = float(AT_NM[1] - AT_NM[0])
SLIT_NM, READ, FULL = 0.15, 10.0, 65535.0
BANDS = Bands((505.0, 560.0), (530.0, 556.0))
INFO = SpectrometerInfo(Identity("", "", ""), AT_NM, FULL, 0.001, 10.0, None, SLIT_NM)
SETTINGS = PumpSettings(
    800.0, 1000.0, SpotSize("gaussian", 50.0, 50.0), "peak", MalusCurve(0.0, 0.0, 1.0), 1.0, 1e-6
)
FACTS = RunFacts(photon_order=2, convention="peak", bands=BANDS, spectrometer=INFO, settings=SETTINGS)
ONSET = 80.0


def line(centre_nm: float, fwhm_nm: float) -> Array:
    """A Gaussian of unit area, per pixel."""
    sigma = fwhm_nm / 2.3548
    return np.asarray(
        np.exp(-0.5 * ((AT_NM - centre_nm) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)) * PITCH_NM
    )


PL = line(525.0, 25.0)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Fluences over the onset, shape (n,), and the mean spectra there, counts per pulse, shape (n, pixel)."""

    u: Array
    spectra: Array


Kind = Callable[[np.random.Generator], Sweep]


def _scan(rng: np.random.Generator, low: float = 0.3, high: float = 2.5) -> Array:
    n = int(rng.choice([16, 20, 24]))
    return np.geomspace(rng.uniform(0.8, 1.2) * low, rng.uniform(0.8, 1.0) * high, n)


def _plain(u: Array, counts: Array) -> Sweep:
    return Sweep(u, counts[:, None] * PL[None, :])


def power(m: float) -> Kind:
    """Luminescence that grows as a power of the fluence."""

    def kind(rng: np.random.Generator) -> Sweep:
        u = _scan(rng)
        return _plain(u, 600.0 * u**m)

    return kind


def saturating(rng: np.random.Generator) -> Sweep:
    u = _scan(rng)
    return _plain(u, 600.0 * u**2 / (1.0 + rng.uniform(0.1, 1.0) * u**2))


def traps(rng: np.random.Generator) -> Sweep:
    """Traps that fill: an upward kink of the luminescence, at its full width."""
    u = _scan(rng)
    over = u**2 - 1.0
    return _plain(u, 60.0 * u**2 + 300.0 * (over + np.sqrt(over**2 + rng.uniform(0.02, 0.3))))


def recombination(rng: np.random.Generator) -> Sweep:
    """From F^4 (two-body) to F^2."""
    u = _scan(rng)
    return _plain(u, 800.0 * u**4 / (1.0 + u**2 * rng.uniform(0.5, 2.0)))


def stripe(rng: np.random.Generator) -> Sweep:
    """Single-pass amplified emission along a stripe: a band that narrows to some nm, and no lines."""
    u = _scan(rng)
    gain = rng.uniform(2.5, 4.5) * np.maximum(u**2 - 0.4, 0.0) / (1.0 + 0.25 * u**2)
    shape = np.exp(-(((AT_NM - 533.0) / rng.uniform(7.0, 11.0)) ** 2))
    g = gain[:, None] * shape[None, :]
    amplified = np.where(g > 1e-9, np.expm1(g) / np.maximum(g, 1e-9), 1.0)
    return Sweep(u, 600.0 * u[:, None] ** 2 * PL[None, :] * amplified)


def drifting(rng: np.random.Generator) -> Sweep:
    u = _scan(rng)
    wander = np.cumsum(rng.normal(0.0, 0.02, u.size))
    return _plain(
        u, 600.0 * u**2 * np.exp(wander - wander.mean() + rng.uniform(-0.3, 0.3) * np.linspace(0, 1, u.size))
    )


def fringes(rng: np.random.Generator) -> Sweep:
    """Traps that fill under a film's interference fringes, which move with the temperature."""
    sweep = traps(rng)
    period, depth = rng.uniform(0.5, 6.0), rng.uniform(0.05, 0.5)
    moved = rng.uniform(-0.3, 0.3) * sweep.u / sweep.u.max()
    phase = 2 * np.pi * (AT_NM[None, :] / period + moved[:, None])
    return Sweep(sweep.u, sweep.spectra * (1.0 + depth * np.cos(phase)))


def faults(rng: np.random.Generator) -> Sweep:
    """Traps that fill, beside the third harmonic of a narrow pump in the second order of the grating."""
    sweep = traps(rng)
    harmonic = rng.uniform(0.0, 50.0) * sweep.u[:, None] ** 3 * line(2 * 800.0 / 3, 0.3)[None, :]
    return Sweep(sweep.u, sweep.spectra + harmonic)


def laser(high: float = 2.5, low: float = 0.3) -> Kind:
    """Lines that share the excess over an onset, irregular and resolved; the luminescence clamps or not."""

    def kind(rng: np.random.Generator) -> Sweep:
        u = _scan(rng, low, high)
        count = int(rng.integers(1, 11))
        places = rng.uniform(532.0, 554.0, count)
        shares = rng.dirichlet(np.full(count, 2.0))
        lines = sum(
            s * line(p, np.hypot(rng.uniform(0.25, 0.7), SLIT_NM))
            for s, p in zip(shares, places, strict=True)
        )
        rise = (np.maximum(u - 1.0, 0.0), np.maximum(u**2 - 1.0, 0.0) / 2, np.hypot(u - 1.0, 0.003) + u - 1.0)
        excess = 600.0 * rng.uniform(8.0, 30.0) * rise[rng.integers(3)]
        pl = 600.0 * (np.minimum(u, 1.2) ** 2 if rng.random() < 0.5 else u**2)
        return Sweep(u, pl[:, None] * PL[None, :] + excess[:, None] * np.asarray(lines)[None, :])

    return kind


KINDS: dict[str, tuple[Kind, tuple[str, ...], bool]] = {
    "F^1.5": (power(1.5), ("no_threshold",), False),
    "F^2": (power(2.0), ("no_threshold",), False),
    "F^3": (power(3.0), ("no_threshold",), False),
    "F^4": (power(4.0), ("no_threshold",), False),
    "saturation": (saturating, ("no_threshold",), False),
    "traps that fill": (traps, ("kink",), False),
    "F^4 to F^2": (recombination, ("no_threshold", "kink"), False),
    "amplified, stripe": (stripe, ("narrowing",), False),
    "F^2, drift": (drifting, ("no_threshold",), False),
    "traps, fringes": (fringes, ("kink",), False),
    "traps, harmonic": (faults, ("kink",), False),
    "laser to 2.5 onsets": (laser(), ("lasing",), True),
    "laser to 1.5 onsets": (laser(1.9), ("lasing",), True),
    "laser, scan above": (laser(8.0, 2.0), ("above_threshold",), True),
}
"""Kind, the verdicts that are right, and whether it lases."""


def points(sweep: Sweep, rng: np.random.Generator) -> PointList:
    """Expose, dark-subtract and reduce each point as a run does; with hot pixels and cosmics."""
    dark_mean = 900.0 + np.zeros(AT_NM.size)
    hot = rng.choice(AT_NM.size, 12, replace=False)
    dark_mean[hot] += rng.uniform(50.0, 4000.0, hot.size)
    exposures, noise = int(rng.choice([1, 3, 5])), rng.choice([0.005, 0.01, 0.02, 0.05])
    response = 1.0 + 0.005 * rng.standard_normal(AT_NM.size)
    darks, made, both = [], [], bands_of(BANDS)
    for i, (u, mean) in enumerate(zip(sweep.u, sweep.spectra, strict=True)):
        pulses = float(np.clip(0.6 * FULL / float(mean.max()), 20.0, 5000.0))
        light = mean * response * pulses * (1.0 + noise * rng.standard_normal())
        size = (exposures, AT_NM.size)
        frames = rng.poisson(np.maximum(light, 0.0), size) + dark_mean + rng.normal(0.0, READ, size)
        for _ in range(rng.poisson(0.3 * exposures)):
            at, which = rng.integers(5, AT_NM.size - 5), rng.integers(exposures)
            frames[which, at : at + rng.integers(1, 3)] += rng.uniform(200.0, 20000.0)
        saturated = int((frames.max(axis=1) >= FULL).sum())
        dark = dark_mean + rng.normal(0.0, READ / np.sqrt(10), AT_NM.size)
        darks.append(DarkRecord(i, "dark", dark, np.full(AT_NM.size, READ), 10, 1.0, 0.0))
        r = reduce_exposures(
            AT_NM, np.minimum(frames, FULL), dark, bands=both, pulses_per_exposure=pulses,
            dark_exposures=10, resolution_nm=SLIT_NM,
        )  # fmt: skip
        f = ONSET * float(u)
        made.append(
            SweepPoint(
                i,
                "up",
                f,
                f,
                0.003,
                1e-8,
                0.0,
                1e-3,
                1e-3,
                1e-6,
                pulses / 1000.0,
                exposures,
                pulses,
                r.signal_whole,
                r.signal_whole_sigma,
                r.signal_peaks,
                r.signal_peaks_sigma,
                r.fwhm_nm,
                r.equivalent_width_nm,
                r.peak_count,
                r.peak_wavelength_nm,
                r.exposure_cv or 0.0,
                0.6,
                saturated,
                len(r.spikes),
                i,
                None,
                None,
                f * pulses * exposures,
                float(i),
                (),
                frames,
                r.spectrum,
                tuple((s.frame, s.pixel, s.removed_counts) for s in r.spikes),
                (),
            )
        )
    return PointList(tuple(made), tuple(darks))


def trial(kind: Kind, rng: np.random.Generator) -> tuple[str, float]:
    """Return the verdict on one sweep, and how long the evaluation took of the processor's time, s."""
    run = points(kind(rng), rng)
    began = time.process_time()
    verdict = evaluate(run, SweepPlan(), FACTS).verdict
    took = time.process_time() - began
    return "none" if verdict is None else verdict.status, took


def upper_95(hits: int, trials: int) -> float:
    """Upper 95 % limit of a share (Clopper and Pearson, one-sided)."""
    return 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 0.95))


def _rows(trials: int, seed: int, chosen: str) -> Iterator[tuple[object, ...]]:
    for number, (name, (kind, right, lases)) in enumerate(KINDS.items()):
        if chosen and chosen not in name:
            continue
        said: Counter[str] = Counter()
        times = []
        for i in range(trials):
            status, took = trial(kind, np.random.default_rng([seed, number, i]))
            said[status] += 1
            times.append(took)
        share = 100 * sum(said[s] for s in right) / trials
        limit = "" if lases else f"{100 * upper_95(said['lasing'], trials):.2f}"
        others = ", ".join(f"{s} {n}" for s, n in said.most_common())
        yield (name, f"{share:.1f}", said["lasing"], limit, said["undecided"], others,
               f"{1e3 * float(np.median(times)):.0f}", trials)  # fmt: skip


def main() -> None:
    options = parser(__doc__, trials=100, seed=1, kind="").parse_args()
    heads = ("kind", "named rightly %", "lasing", "upper 95 % limit %", "undecided", "said", "ms", "trials")
    show(table(heads, _rows(options.trials, options.seed, options.kind)))


if __name__ == "__main__":
    main()
