"""A run: how it began and ended, its points with access to their spectra, and what is known beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from labctl.model.plan import Ending
from labctl.model.pump import Bands, PumpSettings
from labctl.model.records import DarkRecord, FloatArray, Identity, SpectrometerInfo, SweepPoint
from labctl.model.results.sweep import NO_EDITS, Edits, EnergyStep, FluenceBudget, QResult, SweepResult

_NOTHING = np.empty((0, 0))


class Points(Protocol):
    """The points of a run, in order of acquisition, wherever they are: in a file, or in memory."""

    @property
    def darks(self) -> Sequence[DarkRecord]:
        """The darks and blanks that the points refer to by number."""

    def __len__(self) -> int:
        """How many points there are."""

    def scalars(self, index: int) -> SweepPoint:
        """Return the ``index``-th point, from 0; its arrays may be empty."""

    def point(self, index: int) -> SweepPoint:
        """Return the ``index``-th point with its raw frames and its spectrum."""

    def spectrum(self, index: int) -> FloatArray:
        """Return the ``index``-th point's spectrum alone, counts per pulse; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class PointList:
    """Points in memory, with the darks that are still known."""

    points: Sequence[SweepPoint] = ()
    darks: Sequence[DarkRecord] = ()

    def __len__(self) -> int:
        return len(self.points)

    def scalars(self, index: int) -> SweepPoint:
        """Return a point."""
        return self.points[index]

    def point(self, index: int) -> SweepPoint:
        """Return a point."""
        return self.points[index]

    def spectrum(self, index: int) -> FloatArray:
        """Return a point's spectrum."""
        return self.points[index].spectrum


def without_arrays(point: SweepPoint) -> SweepPoint:
    """Return a point's scalars: its arrays are empty."""
    return replace(point, frames=_NOTHING, spectrum=_NOTHING.ravel(), spikes=())


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What evaluating a run needs of its bench, and of how it ended.

    What is not known (of an older file, of a table) is None or empty, and what depends on it is not said.

    :param photon_order: photons that excite the sample together, 1 to 4.
    :param convention: what a fluence means, peak or average; None where a table does not say.
    :param bands: of the run, as it was measured, nm; ``edits`` may hold others.
    :param settings: the chain from the laser to the sample, which the budget is made of.
    :param spectrometer: what it says of itself; without it there is no Q.
    :param warnings: on the calibrations of the bench.
    :param edits: later changes by the user.
    :param damaged: points whose numbers do not match their checksums, counted from 0.
    :param unjudged: points that a killed run took since its last closing was looked at.
    :param ending: why the run asked for no more points; None if it was cancelled.
    :param doubt: why nothing is to be said of the sample; empty for most runs.
    :param planned: points that were wanted, at most.
    :param dose_uj_cm2: what the sample was given in all.
    :param sample_temperature_c: of a stability run, at each point.
    :param stored_budget: that an older file holds, whose settings are not known.
    :param stored_q: likewise.
    :param stored_step: likewise.
    """

    photon_order: int = 2
    convention: str | None = None
    bands: Bands | None = None
    settings: PumpSettings | None = None
    spectrometer: SpectrometerInfo | None = None
    warnings: tuple[str, ...] = ()
    edits: Edits = NO_EDITS
    damaged: frozenset[int] = frozenset()
    unjudged: frozenset[int] = frozenset()
    ending: Ending | None = None
    doubt: str = ""
    planned: int | None = None
    dose_uj_cm2: float | None = None
    sample_temperature_c: tuple[float | None, ...] = ()
    stored_budget: FluenceBudget | None = field(default=None, repr=False)
    stored_q: QResult | None = field(default=None, repr=False)
    stored_step: EnergyStep | None = None


@dataclass(frozen=True, slots=True)
class RunStart:
    """How a run began; everything a reader needs to understand the columns.

    :param run_id: unique, of random digits.
    :param procedure: id and version of the procedure, e.g. "fluence-sweep/1".
    :param sample: name of the sample.
    :param operator: who measured.
    :param spot: which spot of the sample.
    :param note: anything worth keeping.
    :param started_utc: ISO 8601, UTC.
    :param config: the resolved bench file, as a plain mapping.
    :param plan: the plan, as a plain mapping.
    :param identities: identity of each instrument, by role.
    :param versions: of labctl and the libraries it stands on.
    :param wavelength_nm: of the pixels, nm, shape ``(pixel,)``.
    :param convention: what a fluence means, peak or average.
    :param facts: what evaluating it needs of the bench; None in the files of an older labctl.
    """

    run_id: str
    procedure: str
    sample: str
    operator: str
    spot: str
    note: str
    started_utc: str
    config: Mapping[str, object]
    plan: Mapping[str, object]
    identities: Mapping[str, Identity]
    versions: Mapping[str, str]
    wavelength_nm: FloatArray
    convention: Literal["peak", "average"]
    facts: RunFacts | None = None


RunStatus = Literal["running", "finished", "aborted", "failed", "killed"]
"""``killed`` is never written: it is what a reader says of a file left "running" by a dead process."""


@dataclass(frozen=True, slots=True)
class RunStop:
    """How a run ended, and what came of it.

    :param status: finished, aborted or failed.
    :param reason: why, in words; empty for a run that simply finished.
    :param stopped_utc: ISO 8601, UTC.
    :param result: what came of it.
    """

    status: Literal["finished", "aborted", "failed"]
    reason: str
    stopped_utc: str
    result: SweepResult = field(default_factory=SweepResult)
