"""The light-light curve of a sweep as arrays: what every verdict on a sweep begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.threshold.sweep_data import NOTHING_KNOWN, Known
from labctl.model.pump import PumpSettings
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.results.sweep import BandName

__all__ = ["REFERENCE_FLAG", "BandName", "LightLight", "is_reference", "light_light", "middle_dose"]

REFERENCE_FLAG = "reference"
"""Marks a point that repeats the reference fluence; it belongs to no grid."""


def is_reference(point: SweepPoint) -> bool:
    """Return whether a point was measured to watch the sample, not to map the curve."""
    return REFERENCE_FLAG in point.flags


@dataclass(frozen=True, slots=True)
class LightLight:
    """One band of a sweep, every array of shape ``(n,)`` in order of acquisition, references included.

    :param fluence_uj_cm2: measured; ``fluence_set_uj_cm2`` as it was asked for.
    :param signal: counts per pulse, nan where every exposure was saturated; ``signal_sigma`` its error.
    :param dose_uj_cm2: since the run began, in the middle of the point's own light.
    :param reference: whether the point is one at the reference fluence.
    :param fwhm_nm: width of the emission, nan where none was found; ``peak_count`` its narrow peaks; None
        where no spectra were reduced.
    :param exposures: from how many each error of the signal was estimated; None where nobody knows.
    :param time_s: since the run began; None where nobody knows.
    :param stated_sigma: whether ``signal_sigma`` is a stated error that weighs the points as it is.
    :param known: what else is known of the bench.
    """

    fluence_uj_cm2: FloatArray
    fluence_set_uj_cm2: FloatArray
    fluence_sigma_rel: FloatArray
    signal: FloatArray
    signal_sigma: FloatArray
    dose_uj_cm2: FloatArray
    reference: NDArray[np.bool_]
    fwhm_nm: FloatArray | None = None
    peak_count: FloatArray | None = None
    time_s: FloatArray | None = None
    exposures: FloatArray | None = None
    known: Known = NOTHING_KNOWN
    stated_sigma: bool = False

    @property
    def grid(self) -> LightLight:
        """The same without the points at the reference."""
        return self.only(~self.reference)

    @property
    def at_reference(self) -> NDArray[np.bool_]:
        """Which points are at the reference fluence, not repeated at another one; shape ``(n,)``."""
        if not self.reference.any():
            return self.reference
        found, count = np.unique(np.round(self.fluence_set_uj_cm2[self.reference], 6), return_counts=True)
        own = np.isclose(self.fluence_set_uj_cm2, found[int(np.argmax(count))], rtol=1e-6)
        return np.asarray(self.reference & own)

    @property
    def typical_fluence_sigma_rel(self) -> float:
        """Median of the finite point-to-point errors of the fluence, 0 where there is none."""
        finite = self.fluence_sigma_rel[np.isfinite(self.fluence_sigma_rel)]
        return float(np.median(finite)) if finite.size else 0.0

    def only(self, chosen: NDArray[np.bool_]) -> LightLight:
        """Return the chosen points; ``chosen`` has shape ``(n,)``."""
        return LightLight(
            self.fluence_uj_cm2[chosen],
            self.fluence_set_uj_cm2[chosen],
            self.fluence_sigma_rel[chosen],
            self.signal[chosen],
            self.signal_sigma[chosen],
            self.dose_uj_cm2[chosen],
            self.reference[chosen],
            None if self.fwhm_nm is None else self.fwhm_nm[chosen],
            None if self.peak_count is None else self.peak_count[chosen],
            None if self.time_s is None else self.time_s[chosen],
            None if self.exposures is None else self.exposures[chosen],
            self.known,
            self.stated_sigma,
        )


def light_light(
    points: Sequence[SweepPoint],
    band: BandName = "emission",
    left_out: Set[int] = frozenset(),
    settings: PumpSettings | None = None,
) -> LightLight:
    """Collect one band of a sweep: the whole "emission", or the "lasing" peaks alone.

    :param left_out: points, counted from 0, that keep their place, with nan for a signal.
    :param settings: the chain to the sample, where it is known.
    """

    def column(values: Iterable[float]) -> FloatArray:
        return np.fromiter(values, dtype=np.float64, count=len(points))

    whole = band == "emission"
    lost = clipped = np.array([p.saturated_exposures >= p.exposures for p in points], dtype=np.bool_)
    if left_out:
        lost = clipped | np.isin(np.arange(len(points)), sorted(left_out))
    signal = column(p.signal if whole else p.peaks_signal for p in points)
    return LightLight(
        fluence_uj_cm2=column(p.fluence_uj_cm2 for p in points),
        fluence_set_uj_cm2=column(p.fluence_set_uj_cm2 for p in points),
        fluence_sigma_rel=column(p.fluence_sigma_rel for p in points),
        signal=np.where(lost, np.nan, signal),
        signal_sigma=column(p.signal_sigma if whole else p.peaks_signal_sigma for p in points),
        dose_uj_cm2=middle_dose(column(p.dose_uj_cm2 for p in points)),
        reference=np.array([is_reference(p) for p in points], dtype=np.bool_),
        # An older labctl stored the width of a flat top.
        fwhm_nm=np.where(clipped, np.nan, column(np.nan if p.fwhm_nm is None else p.fwhm_nm for p in points)),
        peak_count=column(p.peak_count for p in points),
        time_s=column(p.elapsed_s for p in points),
        exposures=column(p.exposures - p.saturated_exposures for p in points),
        known=Known.of(settings),
    )


def middle_dose(dose_uj_cm2: FloatArray) -> FloatArray:
    """Turn the dose after each point, shape ``(n,)``, into that in the middle of its light.

    >>> middle_dose(np.array([2.0, 6.0]))
    array([1., 4.])
    """
    before = np.concatenate([[0.0], dose_uj_cm2[:-1]]) if dose_uj_cm2.size else dose_uj_cm2
    return np.asarray((before + dose_uj_cm2) / 2)


_LEAST_REFERENCES, _BEYOND_CHANCE = 5, 1e-3


def unseen_wander_rel(curve: LightLight, photon_order: int) -> float | None:
    """Return by how much the fluence wanders from reference to reference; None within the errors.

    Each reference is held against the straight line in dose between its two neighbours, so that a sample that
    fades makes none. At least five references are needed.
    """
    usable = curve.at_reference & (curve.signal > 0) & (curve.fluence_uj_cm2 > 0)
    ref = curve.only(usable)
    if ref.signal.size < _LEAST_REFERENCES or not (np.diff(ref.dose_uj_cm2) > 0).all():
        return None
    light = np.log(ref.signal) - photon_order * np.log(ref.fluence_uj_cm2)
    error = np.hypot(ref.signal_sigma / ref.signal, photon_order * np.nan_to_num(ref.fluence_sigma_rel))
    square = np.maximum(np.nan_to_num(error), 1e-4) ** 2
    dose = ref.dose_uj_cm2
    share = (dose[1:-1] - dose[:-2]) / (dose[2:] - dose[:-2])
    off = light[1:-1] - (1 - share) * light[:-2] - share * light[2:]
    noise = square[1:-1] + (1 - share) ** 2 * square[:-2] + share**2 * square[2:]
    # Neighbouring differences share references: half of them count as independent.
    freedom = off.size / 2
    if scipy.special.chdtrc(freedom, freedom * float(np.mean(off**2 / noise))) > _BEYOND_CHANCE:
        return None
    size = (off**2 - noise) / (1 + (1 - share) ** 2 + share**2)
    return float(np.sqrt(max(np.mean(size), 0.0))) / photon_order
