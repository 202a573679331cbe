"""How many exposures a point gets: for a precision, within its light, and without a bias by the stopping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from procedures_fakes import BANDS, FakeBench, FakeSink, limits, pump_settings

from labctl.model.errors import ConfigError
from labctl.model.plan import LEAST_EXPOSURES, SweepPlan, sweep_plan
from labctl.model.records import SweepPoint
from procedures.fluence_sweep import sweep
from procedures.gate.pump import Pump
from procedures.point.precision import Exposures, Lit

RATE_HZ = 1000.0
TIMES_S = (0.1, 0.2, 0.5)
PLAN = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=120.0, points=6, reference_every=0)


def exposures(plan: SweepPlan = PLAN, **seen: float) -> Exposures:
    made = Exposures(plan, 2, RATE_HZ)
    values = {
        "fluence_uj_cm2": 50.0,
        "counts_per_s": 1e5,
        "noise_counts2": 1e4,
        "pulse_variance": 0.0,
        "fluence_sigma_rel": 0.0,
    }
    made.guess(Lit(**(values | seen)))
    return made


def error_rel(made: tuple[float, int], counts_per_s: float, noise_counts2: float) -> float:
    counts = counts_per_s * made[0]
    return float(np.sqrt((counts + noise_counts2) / counts**2 / made[1]))


@pytest.mark.parametrize("precision", [0.005, 0.01, 0.03])
@pytest.mark.parametrize("noise_counts2", [1e2, 1e4, 1e5])
def test_the_least_light_that_reaches_the_precision(precision: float, noise_counts2: float) -> None:
    chosen = exposures(replace(PLAN, precision=precision), noise_counts2=noise_counts2).choose(50.0, TIMES_S)
    assert error_rel(chosen, 1e5, noise_counts2) <= precision
    assert chosen[1] >= LEAST_EXPOSURES
    light_s = chosen[0] * (chosen[1] + 1)
    for seconds in TIMES_S:
        for count in range(LEAST_EXPOSURES, 400):
            if seconds * (count + 1) < light_s - 1e-9:
                assert error_rel((seconds, count), 1e5, noise_counts2) > precision


def test_a_point_stays_within_its_light() -> None:
    seconds, count = exposures(replace(PLAN, max_light_s=2.0), noise_counts2=1e12).choose(50.0, TIMES_S)
    assert seconds * (count + 1) <= 2.0


def test_no_more_exposures_than_the_error_of_the_fluence_makes_useful() -> None:
    sure, unsure = (
        exposures(pulse_variance=0.5, fluence_sigma_rel=sigma).choose(50.0, TIMES_S) for sigma in (0.0, 0.03)
    )
    assert unsure[0] * unsure[1] < 0.2 * sure[0] * sure[1]


def test_darks_are_few_where_the_light_is_bright() -> None:
    bright, faint = exposures(counts_per_s=1e7), exposures(counts_per_s=3e4)
    assert bright.darks(50.0, 0.1, 3) == 8
    assert faint.darks(50.0, 0.1, 10) == 40


def test_a_fixed_number_stays() -> None:
    made = exposures(replace(PLAN, average=7), counts_per_s=1e3)
    assert made.choose(50.0, TIMES_S) == (0.5, 7)
    assert made.darks(50.0, 0.5, 7) == 28
    with pytest.raises(ConfigError, match="cannot be combined with --average"):
        sweep_plan({"start": 20.0, "stop": 200.0, "average": 5, "precision": 0.02})


def test_many_fixed_ones_where_one_is_wanted() -> None:
    assert sweep_plan({"start": 20.0, "stop": 200.0}).average is None
    assert sweep_plan({"start": 20.0, "stop": 200.0, "average": 10}).least_exposures == 10


def point(fluence: float, means: np.ndarray[Any, Any], pulses: float) -> SweepPoint:
    """Return a point as far as the next number of exposures hangs on it."""
    values: dict[str, Any] = dict.fromkeys(SweepPoint.__dataclass_fields__, 0.0)
    values |= {
        "fluence_uj_cm2": fluence,
        "signal": float(means.mean()),
        "pulses_per_exposure": pulses,
        "exposure_cv": float(means.std(ddof=1) / means.mean()),
        "exposures": len(means),
        "integration_s": pulses / RATE_HZ,
    }
    return SweepPoint(**values)


@pytest.mark.parametrize(("alpha", "precision"), [(1.5, 0.08), (2.0, 0.05)])
def test_the_number_is_set_before_the_series_and_biases_nothing(alpha: float, precision: float) -> None:
    """Shots with a heavy tail, cut where a detector would clip: the points' mean is that of the shots."""
    rng = np.random.default_rng(5)
    top = 1e3
    cut = 1 - top**-alpha
    true = alpha / (alpha - 1) * (1 - top ** (1 - alpha)) / cut
    made, shown, counts = exposures(replace(PLAN, precision=precision), counts_per_s=1e7), [], []
    for _ in range(12_000):
        seconds, count = made.choose(50.0, TIMES_S)
        shots = (1 - cut * rng.random((count, round(seconds * RATE_HZ)))) ** (-1 / alpha)
        means = shots.mean(axis=1)
        made.learn_point(point(50.0, 1e4 * means, seconds * RATE_HZ), 1e4)
        shown.append(means.mean() / true - 1)
        counts.append(count)
    error = np.std(shown) / np.sqrt(len(shown))
    assert len(set(counts)) > 3, "the number never followed the scatter"
    assert error < 0.001
    assert abs(np.mean(shown)) < 0.002


def test_a_sweep_reaches_its_precision_with_less_light() -> None:
    doses, errors = [], []
    for more in ({"average": 10}, {}):
        bench = FakeBench()
        rng = np.random.default_rng(3)
        bench.spectrometer.on_exposure = lambda b=bench, r=rng: setattr(  # type: ignore[misc]
            b.spectrometer, "gain", float(np.exp(0.02 * r.standard_normal()))
        )
        pump = Pump(bench.roles, pump_settings(), limits())
        points = list(sweep(replace(PLAN, **more), bench.roles, pump, BANDS, sink=FakeSink()))  # type: ignore[arg-type]
        bench.assert_safe()
        doses.append(points[-1].dose_uj_cm2)
        errors.append(float(np.median([p.exposure_cv / np.sqrt(p.exposures) for p in points])))
    assert all(p.exposures >= LEAST_EXPOSURES and p.pulses_per_exposure >= 100 for p in points)
    assert doses[1] < doses[0]
    assert errors[1] < 0.015
