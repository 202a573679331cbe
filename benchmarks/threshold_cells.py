"""One cell of the threshold tables: sweeps of one truth under one noise, fitted and scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threshold_truths import Noise, Truth, scan

from labctl.analysis.threshold import ThresholdResult, fit_threshold

Array = NDArray[np.float64]
ONSETS_UJ_CM2 = (257.34, 79.81)
BENCH_NOISE = Noise()


@dataclass(frozen=True, slots=True)
class Setting:
    """One cell: what is measured and how."""

    truth: Truth
    n: int
    noise: Noise = BENCH_NOISE
    contrast: float = 20.0
    baseline: float = 100.0
    declared_fluence: float = 0.0
    spread: str = "log"
    high: float | None = None

    def sweep(self, rng: np.random.Generator, onset: float) -> tuple[Array, Array]:
        """Draw one sweep: fluence in uJ/cm2 and counts."""
        u = scan(self.n, rng)
        if self.high is not None:
            u = np.geomspace(u[0], self.high, self.n)
        if self.spread == "linear":
            u = np.linspace(u[0], u[-1], self.n)
        elif self.spread == "few above":
            u = np.concatenate([np.geomspace(u[0], 1.02, self.n - 4), np.geomspace(1.15, u[-1], 4)])
        elif self.spread == "random":
            u = np.exp(np.sort(rng.uniform(np.log(u[0]), np.log(u[-1]), self.n)))
        signal = self.noise.measure(lambda v: self.truth.signal(v, self.contrast, self.baseline), u, rng)
        return onset * u, signal


@dataclass(frozen=True, slots=True)
class Cell:
    """Outcome of a cell; relative numbers in per cent, over the sweeps with status found."""

    found: float
    bias: float
    rmse: float
    coverage: float
    half_width: float
    naive_rmse: float
    trimmed_rmse: float
    bound_right: float
    trials: int

    def row(self, *labels: object) -> str:
        """Write as a line of a table."""
        numbers = (
            self.bias,
            self.rmse,
            self.coverage,
            self.half_width,
            self.found,
            self.naive_rmse,
            self.trimmed_rmse,
        )
        return "| " + " | ".join([*map(str, labels), *(f"{x:.2f}" for x in numbers), str(self.trials)]) + " |"


def trimmed_hinge(f: Array, y: Array) -> float:
    """The field's other habit: unweighted continuous hinge, points that fall behind a line above dropped."""
    best, keep = np.inf, np.ones(f.size, bool)
    answer = float("nan")
    for _ in range(2):
        best = np.inf
        for t in np.linspace(np.sort(f)[1], np.sort(f)[-2], 60):
            columns = np.stack([np.ones(f.size), f, np.maximum(f - t, 0)], axis=1)
            beta, *_ = np.linalg.lstsq(columns[keep], y[keep], rcond=None)
            rss = float(((y - columns @ beta)[keep] ** 2).sum())
            if rss < best:
                best, answer, fit = rss, float(t), columns @ beta
        keep = (f < answer) | (y > 0.93 * fit)
        if keep.sum() < 6:
            break
    return answer


def run(setting: Setting, trials: int, seed: int, *, compare: bool = True) -> Cell:
    """Simulate one cell, alternating between the two nominal onsets."""
    rng = np.random.default_rng([seed, setting.n])
    outcomes: list[tuple[float, ThresholdResult]] = []
    naive, trimmed = [], []
    for i in range(trials):
        onset = ONSETS_UJ_CM2[i % 2]
        f, y = setting.sweep(rng, onset)
        result = fit_threshold(
            f, y, fluence_sigma_rel=setting.declared_fluence, photon_order=setting.truth.photon_order
        )
        outcomes.append((onset, result))
        if compare:
            top = f > onset * 1.05
            if top.sum() >= 2:
                slope, offset = np.polyfit(f[top], y[top], 1)
                naive.append(-offset / slope / onset - 1)
            if i < 100:
                trimmed.append(trimmed_hinge(f, y) / onset - 1)
    return _cell(outcomes, np.array(naive), np.array(trimmed))


def _cell(outcomes: list[tuple[float, ThresholdResult]], naive: Array, trimmed: Array) -> Cell:
    found = [(o, r) for o, r in outcomes if r.threshold_uj_cm2 is not None and r.ci95 is not None]
    error = np.array([(r.threshold_uj_cm2 or 0) / o - 1 for o, r in found])
    ends = np.array([[x / o - 1 for x in (r.ci95 or (0, 0))] for o, r in found]).reshape(-1, 2)
    sided = [(o, r.bound) for o, r in outcomes if r.bound is not None]
    right = [(lo is None or lo <= o) and (hi is None or o <= hi) for o, (lo, hi) in sided]

    def root(x: Array) -> float:
        return float(100 * np.sqrt(np.mean(np.clip(x, -1, 1) ** 2))) if x.size else float("nan")

    if not found:
        return Cell(0.0, *(float("nan"),) * 4, root(naive), root(trimmed), float("nan"), len(outcomes))
    return Cell(
        100 * len(found) / len(outcomes),
        float(100 * np.median(error)),
        root(error),
        float(100 * np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))),
        float(50 * np.median(ends[:, 1] - ends[:, 0])),
        root(naive),
        root(trimmed),
        float(100 * np.mean(right)) if right else float("nan"),
        len(outcomes),
    )
