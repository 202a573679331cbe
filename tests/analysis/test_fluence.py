"""Energy and fluence, their uncertainty, dose, pulse width."""

import doctest
import math
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from labctl.analysis import fluence
from labctl.analysis.spectra import lines, reduce
from labctl.model.pump import Convention, SpotSize

CIRCLE = SpotSize("gaussian", 100.0, 100.0)
SPOTS = st.builds(
    SpotSize, st.sampled_from(["gaussian", "ellipse", "stripe"]), st.floats(1, 1e4), st.floats(1, 1e4)
)
CONVENTIONS = st.sampled_from(["peak", "average"])


@pytest.mark.parametrize("module", [fluence, reduce, lines], ids=lambda m: m.__name__)
def test_the_examples_of_the_docstrings(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


def test_the_worked_example() -> None:
    """80 uJ/cm2 peak on w = 100 um is 12.566 nJ."""
    assert fluence.pulse_energy_j(80.0, CIRCLE, "peak") == pytest.approx(12.566e-9, rel=1e-4)
    assert fluence.fluence_uj_cm2(12.566e-9, CIRCLE, "average") == pytest.approx(40.0, rel=1e-4)


def test_the_peak_fluence_is_that_of_the_profile_with_this_energy() -> None:
    spot = SpotSize("gaussian", 80.0, 150.0)
    peak = fluence.fluence_uj_cm2(1e-8, spot, "peak")

    def profile(y_um: float, x_um: float) -> float:
        return peak * math.exp(-2 * (x_um / 80) ** 2 - 2 * (y_um / 150) ** 2)

    energy_uj = integrate.dblquad(profile, -400, 400, -750, 750)[0] * 1e-8
    assert energy_uj == pytest.approx(1e-2, rel=1e-6)


@given(SPOTS, CONVENTIONS, st.floats(-80, 80), st.floats(1e-12, 1e-3))
def test_energy_to_fluence_and_back(
    spot: SpotSize, convention: Convention, angle: float, energy: float
) -> None:
    there = fluence.fluence_uj_cm2(energy, spot, convention, incidence_deg=angle)
    assert fluence.pulse_energy_j(there, spot, convention, incidence_deg=angle) == pytest.approx(energy)


@given(SPOTS, st.floats(1e-3, 1e3))
def test_conventions_differ_by_two_for_gaussians_only(spot: SpotSize, value: float) -> None:
    ratio = 2.0 if spot.shape == "gaussian" else 1.0
    energy = fluence.pulse_energy_j(value, spot, "average")
    assert fluence.fluence_uj_cm2(energy, spot, "peak") == pytest.approx(ratio * value)


def test_flat_tops_are_energy_over_area() -> None:
    assert fluence.fluence_uj_cm2(1e-6, SpotSize("stripe", 2000.0, 250.0), "peak") == pytest.approx(1 / 0.02)
    disc = fluence.fluence_uj_cm2(1e-6, SpotSize("ellipse", 100.0, 50.0), "average")
    assert disc == pytest.approx(1 / (math.pi * 0.01 * 0.005))


def test_a_tilted_sample_gets_less() -> None:
    straight = fluence.fluence_uj_cm2(1e-8, CIRCLE, "peak")
    assert fluence.fluence_uj_cm2(1e-8, CIRCLE, "peak", incidence_deg=60.0) == pytest.approx(straight / 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: fluence.effective_area_cm2(SpotSize("gaussian", 0.0, 1.0), "peak"),
        lambda: fluence.effective_area_cm2(SpotSize("gaussian", math.inf, 1.0), "peak"),
        lambda: fluence.effective_area_cm2(CIRCLE, "mean"),  # type: ignore[arg-type]
        lambda: fluence.effective_area_cm2(SpotSize("disc", 1.0, 1.0), "peak"),  # type: ignore[arg-type]
        lambda: fluence.fluence_uj_cm2(1e-8, CIRCLE, "peak", incidence_deg=90.0),
        lambda: fluence.stretched_pulse_fs(0.0, 600.0),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"must|unknown|not between"):
        call()  # type: ignore[operator]


def test_the_two_photon_gain_of_noisy_pulses() -> None:
    pulses = np.random.default_rng(1).normal(1, 0.05, 500_000)
    factor = np.mean(pulses**2) / np.mean(pulses) ** 2
    assert fluence.mean_square_factor(0.05) == pytest.approx(factor, rel=1e-4)


def test_glass_stretches_a_pulse() -> None:
    """600 fs^2 turn 35 fs into 59 fs."""
    behind = fluence.stretched_pulse_fs(35.0, 600.0)
    assert behind == pytest.approx(59.1, abs=0.1)
    assert fluence.stretched_pulse_fs(35.0, -600.0) == behind
