"""Pump light in the spectra of shots: darks, taken with the shutter closed, do not hold it."""

from __future__ import annotations

import math

import numpy as np

from labctl.analysis.spectra.bands import Bands, band_mask
from labctl.model.records import FloatArray
from labctl.model.results.flight import PumpScatter

MARGIN_NM = 5.0
_PUMP_WIDTH = 0.05
"""Half-width, over its wavelength, of what is kept clear round the pump and its harmonics."""


def pump_scatter(
    wavelength_nm: FloatArray,
    light: FloatArray,
    fluence_uj_cm2: FloatArray,
    bands: Bands,
    pump_nm: float,
) -> PumpScatter | None:
    """Measure the light outside of the emission that grows with the fluence; None without pixels there.

    The emission scatters in the spectrometer as well, but grows faster than the fluence: the shots of the
    lower half of the fluences decide.

    :param wavelength_nm: rising, nm, shape ``(pixel,)``.
    :param light: of each shot, dark subtracted and linear, counts, shape ``(shot, pixel)``.
    :param fluence_uj_cm2: of each shot, shape ``(shot,)``.
    :param bands: of the emission.
    :param pump_nm: wavelength of the pump.
    """
    outside = (wavelength_nm < bands.whole.low_nm - MARGIN_NM) | (
        wavelength_nm > bands.whole.high_nm + MARGIN_NM
    )
    for order in (1, 2, 3):
        outside &= np.abs(wavelength_nm * order / pump_nm - 1.0) > _PUMP_WIDTH
    low = fluence_uj_cm2 <= np.median(fluence_uj_cm2)
    if outside.sum() < 20 or low.sum() < 20:
        return None
    f, y = fluence_uj_cm2[low], light[low][:, outside].mean(axis=1)
    design = np.stack([np.ones_like(f), f], axis=1)
    fitted, *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ fitted
    variance = float(residual @ residual) / (f.size - 2) * np.linalg.inv(design.T @ design)
    inside = band_mask(wavelength_nm, bands.whole)
    weakest = f <= np.quantile(f, 0.2)
    signal = float(light[low][weakest][:, inside].sum(axis=1).mean())
    under = float(fitted[1]) * float(f[weakest].mean()) * int(inside.sum())
    return PumpScatter(float(fitted[1]), math.sqrt(variance[1, 1]), under / signal if signal > 0 else None)
