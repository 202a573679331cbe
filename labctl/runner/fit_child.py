"""The process of the fits: a question a line in, an answer a line out, both JSON.

What is asked of a run is answered from its file, while it goes on as well: nothing is said of points that are
not on disk. A process of its own, because a fit beside the acquisition thread or the window's would hold the
interpreter when a point or a frame is due, and one that hangs can only be ended from outside. It ends when
its input does; where a fit hangs and the program that would end it is gone, some time after the deadline.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.evaluation import evaluate
from labctl.analysis.spectra.bands import Band, band_slice
from labctl.analysis.spectra.lines import deconvolve_width
from labctl.analysis.spectra.peaks import find_peaks
from labctl.data import read_run, read_table
from labctl.data.tables.table import is_hdf5
from labctl.model.errors import LabctlError
from labctl.model.mapping import plain, record_of
from labctl.model.records import FloatArray
from labctl.model.results.sweep import NO_EDITS, PeakMark, SweepResult
from labctl.runner.fit_process import FileQuestion, PeaksQuestion
from labctl.runner.table_fit import evaluate_table

MOST_PEAKS = 8
_RESOLVED = 1.3
"""Widths of the slit from which a line is taken for resolved."""


def evaluate_file(question: FileQuestion) -> SweepResult:
    """Say what came of a run, or of a table.

    :raises DataError: it cannot be read.
    """
    path = Path(question.path)
    if not is_hdf5(path):
        return evaluate_table(read_table(path), question.edits or NO_EDITS)
    run = read_run(path)
    facts = run.facts if question.edits is None else replace(run.unedited_facts, edits=question.edits)
    if run.status == "running":
        facts = replace(
            facts,
            ending=question.ending,
            planned=question.planned,
            dose_uj_cm2=question.dose_uj_cm2,
            sample_temperature_c=question.sample_temperature_c,
        )
    found = evaluate(run, run.plan, facts, shots=question.shots)
    return found if question.shots else replace(found, shots=run.result.shots)


def peak_marks(question: PeaksQuestion) -> tuple[PeakMark, ...]:
    """Find the narrow peaks of one spectrum, each with its width and Q."""
    axis, clipped = question.wavelength_nm, question.clipped
    inside = band_slice(axis, Band(*question.band_nm, "lasing"))
    at_nm, counts = axis[inside], question.counts[inside]
    found = find_peaks(at_nm, counts, resolution_nm=question.resolution_nm)
    strongest = sorted(found, key=lambda p: p.area_counts, reverse=True)[:MOST_PEAKS]
    return tuple(
        _mark(p.wavelength_nm, p.fwhm_nm, float(counts[p.index]), axis, clipped, question.resolution_nm)
        for p in sorted(strongest, key=lambda p: p.wavelength_nm)
    )


def _mark(
    wavelength_nm: float,
    seen_nm: float,
    height: float,
    axis: FloatArray,
    clipped: NDArray[np.bool_],
    resolution_nm: float | None,
) -> PeakMark:
    """Return a peak, the slit taken out where it is resolved, else with what its Q is at least."""
    if clipped[np.abs(axis - wavelength_nm) <= seen_nm].any():  # what was cut off nobody knows
        return PeakMark(wavelength_nm, height, None, None, at_least=False)
    if resolution_nm is not None and seen_nm > _RESOLVED * resolution_nm:
        own = float(deconvolve_width(seen_nm, 0.0, resolution_nm, "lorentzian")[0])
        if own > 0:
            return PeakMark(wavelength_nm, height, own, wavelength_nm / own, at_least=False)
    return PeakMark(wavelength_nm, height, seen_nm, wavelength_nm / max(seen_nm, 1e-6), at_least=True)


TASKS: Mapping[str, Callable[[Mapping[str, object]], object]] = {
    FileQuestion.DO: lambda asked: evaluate_file(record_of(FileQuestion, asked)),
    PeaksQuestion.DO: lambda asked: peak_marks(record_of(PeaksQuestion, asked)),
}

AFTER_S = 10.0
"""Wall time after a question's deadline; who asked has ended this process long before, if it lives."""


def answer(line: str) -> str:
    """Answer one question; what fails is an answer too."""
    asked = json.loads(line)
    found: dict[str, object]
    try:
        found = {"found": TASKS[asked["do"]](asked)}
    except LabctlError as exc:
        found = {"problem": str(exc)}
    except Exception as exc:  # noqa: BLE001  whoever asked goes on, and says why there is no answer
        found = {"problem": f"{type(exc).__name__}: {exc}"}
    return json.dumps(plain(found, stored=False), allow_nan=False)


@contextlib.contextmanager
def ending_after(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer, from a thread that needs no interpreter."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        with ending_after(json.loads(line)["within_s"] + AFTER_S):
            found = answer(line)
        sys.stdout.write(found + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
