"""What a referee asks of a claim of lasing, and what a run answers.

The questions are those of the checklist that Nature Photonics gives to authors (Nature Photonics 11, 139
(2017), doi 10.1038/nphoton.2017.28), in our words. What labctl does not measure is answered so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labctl.data.run import Run
from labctl.model.results.sweep import SweepResult
from labctl.runner.documents.methods import pumping, temperature
from labctl.runner.report import RunReport, stability_verdict

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Answer:
    """One item of the checklist; ``answer`` begins with "not measured" where labctl does not know it."""

    question: str
    answer: str


def checklist(run: Run, report: RunReport, together: Sequence[RunReport]) -> tuple[Answer, ...]:
    """Answer every item for one run.

    :param together: the runs of the same report, this one among them.
    """
    result = report.result
    return (
        Answer("Does the output, over a wide range of pump, show a clear threshold?", _threshold(report)),
        Answer(
            "Do spectra below, around and above the threshold show the line narrow, and at which resolution?",
            _narrowing(run, result),
        ),
        Answer("Is the emission coherent, or polarised?", f"{NOT_MEASURED} by labctl"),
        Answer("Is there a well-defined beam above the threshold?", f"{NOT_MEASURED} by labctl"),
        Answer(
            "Under which conditions was it pumped, at which temperature, and is the threshold a density?",
            _conditions(run, report),
        ),
        Answer(
            "Were other explanations excluded: amplified spontaneous emission, scattering, a filter?",
            _others(result),
        ),
        Answer(
            "Does theory say that threshold, linewidth and efficiency are realistic?",
            f"{NOT_MEASURED}: gain, loss and efficiency are not known to labctl",
        ),
        Answer("How many devices were tested, and how long do they live?", _statistics(report, together)),
    )


def _threshold(report: RunReport) -> str:
    points = report.threshold.points
    used = None if points is None else points.used & (points.fluence_uj_cm2 > 0) & (points.signal > 0)
    if points is None or used is None or not used.any():
        return f"{NOT_MEASURED}: no usable points"
    fluence, signal = points.fluence_uj_cm2[used], points.signal[used]
    return (
        f"{int(used.sum())} points from {fluence.min():.4g} to {fluence.max():.4g} uJ/cm2, the emission "
        f"rises {signal.max() / signal.min():.3g} times; {report.outcome.reason or report.outcome.headline}"
    )


def _narrowing(run: Run, result: SweepResult) -> str:
    verdict = result.verdict
    said = next((w.reason for w in verdict.witnesses if w.name == "linewidth"), "") if verdict else ""
    info = run.facts.spectrometer
    known = None if info is None else info.resolution_nm
    resolution = "not stated" if known is None else f"{known:.3g} nm"
    if result.q is not None:
        resolution = result.q.resolution_said
    return f"{said or NOT_MEASURED}; resolution of the spectrometer (FWHM): {resolution}"


def _conditions(run: Run, report: RunReport) -> str:
    threshold = report.threshold
    density = f"thresholds are fluences in uJ/cm2 on the sample, {threshold.convention or 'not stated'}"
    warm = temperature(run) or f"temperature: {NOT_MEASURED}"
    return f"{pumping(run) or 'pump: not stated'}; {warm}; {density}"


def _others(result: SweepResult) -> str:
    verdict = result.verdict
    lines = next((w.reason for w in verdict.witnesses if w.name == "lines"), "") if verdict else ""
    places = "" if result.randomness is None else result.randomness.text
    said = "; ".join(part for part in (lines, places) if part)
    rest = f"gain length, stripe length, direction and background of scattered pump: {NOT_MEASURED}"
    return f"{said}; {rest}" if said else rest


def _statistics(report: RunReport, together: Sequence[RunReport]) -> str:
    own = [run for run in together if run.sample == report.sample]
    sweeps = [run for run in own if run.result.stability is None]
    places = {run.spot or number for number, run in enumerate(sweeps)}
    samples = len({run.sample for run in together})
    lives = [stability_verdict(run.result.stability) for run in own if run.result.stability is not None]
    count = (
        f"in this report: {_count(len(sweeps), 'sweep')} of this sample at {_count(len(places), 'spot')}, "
        f"{_count(samples, 'sample')} in all"
    )
    return f"{count}; lifetime: {'; '.join(lives) or NOT_MEASURED}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def answered(answers: Sequence[Answer]) -> int:
    """Return how many items a run answers."""
    return int(np.sum([not one.answer.startswith(NOT_MEASURED) for one in answers]))
