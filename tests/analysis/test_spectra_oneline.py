"""One line that stands alone: found wherever it lies in its pixels, its error honest in shot noise."""

from __future__ import annotations

import numpy as np
import pytest

from labctl.analysis.spectra.lines import LineShape, fit_line

FWHM_NM = 0.5


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian"])
@pytest.mark.parametrize("noise_is_told", [False, True])
def test_a_line_in_the_middle_of_its_pixels_is_fitted_and_covered(
    shape: LineShape, noise_is_told: bool
) -> None:
    rng = np.random.default_rng(2)
    x = np.linspace(528.2, 531.8, 119)
    inside = np.zeros(2)
    trials = 40
    for _ in range(trials):
        centre = 530 + 0.02 * float(rng.standard_normal())
        offset = (x - centre) / FWHM_NM
        line = np.exp(-4 * np.log(2) * offset**2) if shape == "gaussian" else 1 / (1 + 4 * offset**2)
        clean = 3000 * line + 40 + 2 * (x - 530)
        sigma = np.sqrt(clean + 25)
        found = fit_line(x, clean + sigma * rng.standard_normal(x.size), shape,
                         noise=sigma if noise_is_told else None)  # fmt: skip
        assert found is not None
        inside += [
            abs(found.centre_nm - centre) < 1.96 * found.centre_sigma_nm,
            abs(found.fwhm_nm - FWHM_NM) < 1.96 * found.fwhm_sigma_nm,
        ]
    assert (inside >= 0.85 * trials).all()


def test_pixels_symmetric_about_a_peak_give_its_very_place() -> None:
    x = np.linspace(538.8, 541.2, 81)
    found = fit_line(x, 1000 * np.exp(-4 * np.log(2) * ((x - 540.004) / 0.4) ** 2) + 10, noise=1.0)
    assert found is not None
    assert found.centre_nm == pytest.approx(540.004, abs=1e-6)
    assert found.fwhm_nm == pytest.approx(0.4, abs=1e-5)
