"""How good can a threshold be? The same estimator, told what it cannot know: which shape made the data.

    python -m benchmarks.accuracy.threshold_limits --trials 200

"own shape" knows the very curve (of an S-curve its beta); "the truths" knows that it is one of the curves of
the table and nothing else. What lies between the second and labctl's own figures is the price of being ready
for other samples; what lies between the second and the bars of the acceptance table, no estimator can give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.accuracy.threshold import Setting
from benchmarks.accuracy.threshold_truths import INSIDE
from benchmarks.tables import rms, show, table
from benchmarks.trials import parser
from labctl.analysis.threshold.likelihood import fit_profile
from labctl.analysis.threshold.result import summarise
from labctl.analysis.threshold.shapes import library
from labctl.analysis.threshold.sweep_data import prepare

OWN = {
    "hinge": ("hinge",),
    "roll-over": ("roll-over-0.45", "roll-over-1"),
    "impulsive": ("impulsive",),
    "S-curve 0.001": ("s-curve-0.001",),
    "S-curve 0.01": ("s-curve-0.01",),
    "two-photon spot": ("spot-two-photon",),
    "one-photon spot": ("spot-one-photon",),
}
LIBRARIES = {
    "own shape": None,
    "the first six truths": tuple(n for t, names in OWN.items() if t != "one-photon spot" for n in names),
    "the seven truths": tuple(n for names in OWN.values() for n in names),
}


def cell(setting: Setting, names: tuple[str, ...], trials: int) -> tuple[float, float]:
    """Return median bias and RMSE, per cent, with every shape but ``names`` ruled out."""
    whole = library(setting.truth.photon_order)
    prior = np.where(np.isin(whole.names, names), 0.0, -60.0)
    known = replace(whole, log_prior=prior)
    rng, error = np.random.default_rng([99, setting.n]), []
    with np.errstate(all="ignore"):
        for _ in range(trials):
            f, y = setting.sweep(rng, 1.0)
            data = prepare(f, y, None)
            profile = fit_profile(data, known)
            if np.isfinite(profile.rss):
                error.append(np.exp(summarise(profile).ln_t) * data.fluence_scale - 1.0)
    return float(100 * np.median(error)), 100 * rms(error)


def _rows(trials: int) -> Iterator[tuple[object, ...]]:
    for n in (16, 32):
        for truth in (truth for truth in INSIDE if truth.name in OWN):
            cells = [cell(Setting(truth, n), k or OWN[truth.name], trials) for k in LIBRARIES.values()]
            yield (truth.name, n, *(f"{bias:+.1f}, {rmse:.1f}" for bias, rmse in cells))


def main() -> None:
    trials = parser(__doc__, trials=200).parse_args().trials
    show(table(("truth", "n", *(f"{name}: bias %, RMSE %" for name in LIBRARIES)), _rows(trials)))


if __name__ == "__main__":
    main()
