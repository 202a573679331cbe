"""The threshold while the sweep runs: the same fit on the points so far, on coarser grids."""

from __future__ import annotations

import math

from labctl.analysis.threshold.bounds import LineEvidence
from labctl.analysis.threshold.fit import Options, fit_prepared
from labctl.analysis.threshold.result import ThresholdResult
from labctl.analysis.threshold.sweep_data import prepare

# Grid cells times points that a live update may cost; the finer grids make up for a coarse first one.
_BUDGET = 1600
_SMALLEST, _LARGEST = 24, 64


class LiveThreshold:
    """Collects points and fits them on demand, in at most some 30 ms for 64 points.

    :param fluence_sigma_rel: as in :func:`labctl.analysis.threshold.fit_threshold`; ``photon_order``
        likewise.

    >>> live = LiveThreshold()
    >>> live.add(20.0, 100.0)
    >>> live.result().status
    'refused'
    """

    def __init__(self, *, fluence_sigma_rel: float = 0.0, photon_order: int = 2) -> None:
        self._options = Options(fluence_sigma_rel, photon_order)
        self._fluence: list[float] = []
        self._signal: list[float] = []
        self._sigma: list[float] = []
        self._fwhm_nm: list[float] = []
        self._peak_count: list[float] = []
        self._latest: ThresholdResult | None = None

    def __len__(self) -> int:
        return len(self._fluence)

    def add(self, fluence_uj_cm2: float, signal: float, sigma: float | None = None) -> None:
        """Append one point; ``sigma`` is the standard error of its signal, used once every point has one."""
        self._fluence.append(float(fluence_uj_cm2))
        self._signal.append(float(signal))
        self._sigma.append(math.nan if sigma is None else float(sigma))
        self._fwhm_nm.append(math.nan)
        self._peak_count.append(math.nan)
        self._latest = None

    def show(self, *, fwhm_nm: float, peak_count: float) -> None:
        """Say what the spectrum of the point added last shows, nan where it shows nothing.

        :param fwhm_nm: width of its emission, nm; ``peak_count`` the narrow peaks in it.
        """
        self._fwhm_nm[-1], self._peak_count[-1] = float(fwhm_nm), float(peak_count)
        self._latest = None

    def clear(self) -> None:
        """Forget all points: a new sweep begins."""
        self._fluence.clear()
        self._signal.clear()
        self._sigma.clear()
        self._fwhm_nm.clear()
        self._peak_count.clear()
        self._latest = None

    def result(self) -> ThresholdResult:
        """Fit the points so far quickly; the same object until a point is added."""
        if self._latest is None:
            size = min(max(_BUDGET // max(len(self), 1), _SMALLEST), _LARGEST)
            self._latest = self._fit(size)
        return self._latest

    def final(self) -> ThresholdResult:
        """Fit the points with the full grids, as :func:`labctl.analysis.threshold.fit_threshold` does."""
        return self._fit(_LARGEST)

    def _fit(self, size: int) -> ThresholdResult:
        known = bool(self._sigma) and all(math.isfinite(s) and s > 0 for s in self._sigma)
        data = prepare(self._fluence, self._signal, self._sigma if known else None)
        lines = LineEvidence.of(len(self), self._fwhm_nm, self._peak_count)
        o = self._options
        return fit_prepared(data, Options(o.fluence_sigma_rel, o.photon_order, o.definition, size), lines)
