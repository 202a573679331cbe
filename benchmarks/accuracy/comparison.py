"""Does the interval of a ratio of two thresholds hold the true ratio, and does what both runs share cancel?

Two samples of one bench. The truth: two-photon luminescence, clamped above the onset, and a laser line that
rises linearly and rolls over, each sample with its own onset, contrast and roll-over. Every fluence of a
bench is off by the errors of its links (meter 3 %, pick-off 1 %, spot 2 %, in both samples the same ones, or
with another spot calibration for the second sample), and each run by a drift of its own (0.4 %).

    python -m benchmarks.accuracy.comparison --trials 200 [--seed 1]
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from benchmarks.tables import column, share, show, table
from benchmarks.trials import parser
from labctl.analysis.budget import fluence_budget
from labctl.analysis.evaluation.comparison import compared
from labctl.analysis.threshold import fit_threshold
from labctl.model.pump import MalusCurve, PumpSettings, SpotSize
from labctl.model.results.comparison import SampleRun
from labctl.model.results.sweep import BandThreshold, Threshold

METER, PICKOFF, SPOT, DRIFT = 0.03, 0.01, 0.02, 0.004
SETTINGS = PumpSettings(
    wavelength_nm=800.0,
    repetition_rate_hz=1000.0,
    spot=SpotSize("gaussian", 100.0, 100.0),
    convention="peak",
    curve=MalusCurve(12.0, 0.002, 1.0),
    pickoff_ratio=24.0,
    max_pulse_energy_j=400e-9,
    meter_sigma_rel=METER,
    pickoff_sigma_rel=PICKOFF,
    spot_sigma_rel=SPOT,
    repetition_sigma_rel=1e-5,
    drift_sigma_rel=DRIFT,
    background_sigma_w=1e-15,
    sources={"spot_sigma_rel": "spot-a.json, 2026-11-01"},
)
OTHER_SPOT = replace(SETTINGS, sources={"spot_sigma_rel": "spot-b.json, 2026-11-20"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One pair of sweeps: whether there is a ratio and it covers, its half-width, and that with all added."""

    found: float
    covers: float
    without_scale: float
    half_rel: float
    if_all_added: float


def sweep(
    rng: np.random.Generator, onset: float, noise: float, scale: float, settings: PumpSettings
) -> SampleRun:
    """Measure one sample: fluences are shown ``scale`` times what they are."""
    fluence = onset * np.geomspace(0.3, 2.5, 20)
    x = fluence / onset
    above = np.maximum(x - 1, 0.0)
    contrast, roll = float(rng.uniform(4, 20)), float(rng.uniform(3, 30))
    signal = np.minimum(x, 1.0) ** 2 + contrast * above / (1 + above / roll)
    signal *= 500 * (1 + noise * rng.standard_normal(x.size))
    shown = fluence * scale * (1 + 0.002 * rng.standard_normal(x.size))
    result = fit_threshold(shown, signal, fluence_sigma_rel=0.002, photon_order=2)
    given = {f.name: getattr(result, f.name) for f in fields(Threshold)}
    threshold = BandThreshold(**given, convention="peak")
    budget = fluence_budget(settings, result.threshold_uj_cm2).record()
    return SampleRun(f"onset {onset:.3f}", "", "P1", threshold, budget)


def trial(seed: tuple[int, ...], noise: float, *, same_spot: bool) -> Outcome:
    """Measure two samples of one bench and compare them."""
    rng = np.random.default_rng(seed)
    meter, pickoff, spot, other = (
        float(np.exp(sigma * rng.standard_normal())) for sigma in (METER, PICKOFF, 2 * SPOT, 2 * SPOT)
    )
    onsets = [float(np.exp(rng.uniform(math.log(50), math.log(150)))), float(rng.uniform(180, 300))]
    spots = spot, spot if same_spot else other
    runs = [
        sweep(rng, onset, noise, meter * pickoff * size * math.exp(DRIFT * rng.standard_normal()), chain)
        for onset, size, chain in zip(
            onsets, spots, (SETTINGS, SETTINGS if same_spot else OTHER_SPOT), strict=True
        )
    ]
    (ratio,) = compared(runs).ratios
    if ratio.ratio is None or ratio.ci95 is None or ratio.statistical_ci95 is None:
        return Outcome(0.0, math.nan, math.nan, math.nan, math.nan)
    truth = onsets[0] / onsets[1]
    low, high = ratio.ci95
    all_added = math.hypot(METER, PICKOFF, 2 * SPOT, DRIFT) * math.sqrt(2) * 1.96
    half = math.log(high / low) / 2
    statistical = math.log(ratio.statistical_ci95[1] / ratio.statistical_ci95[0]) / 2
    inside = ratio.statistical_ci95[0] <= truth <= ratio.statistical_ci95[1]
    return Outcome(1.0, float(low <= truth <= high), float(inside), half, math.hypot(statistical, all_added))


HEADS = (
    "spot calibration", "noise (%)", "trials", "with a ratio (%)", "95 % interval covers (%)",
    "without the scales (%)", "median half-width (%)", "if nothing cancelled (%)",
)  # fmt: skip


def row(noise: float, trials: int, seed: int, *, same_spot: bool) -> Iterator[object]:
    found = [
        trial((seed, i, round(1e4 * noise), same_spot), noise, same_spot=same_spot) for i in range(trials)
    ]
    with_ratio = [o for o in found if o.found]
    yield from ("the same" if same_spot else "another", f"{100 * noise:g}", trials)
    yield f"{share(column(found, 'found')):.0f}"
    yield from (f"{share(column(with_ratio, key)):.1f}" for key in ("covers", "without_scale"))
    yield from (f"{100 * np.median(column(with_ratio, key)):.2f}" for key in ("half_rel", "if_all_added"))


def main() -> None:
    wanted = parser(__doc__, trials=200, seed=1).parse_args()
    cells = [(noise, same) for same in (True, False) for noise in (0.005, 0.02, 0.05)]
    show(table(HEADS, (row(n, wanted.trials, wanted.seed, same_spot=s) for n, s in cells)))


if __name__ == "__main__":
    main()
