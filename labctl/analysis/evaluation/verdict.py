"""What the curve and its spectra mean together: a verdict from three witnesses, in words.

The kink of the light-light curve, the collapse of the linewidth, and narrow lines above the luminescence.
None alone shows lasing: traps that fill give a kink, amplified luminescence a kink and a narrower emission,
interference fringes narrow peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labctl.analysis.spectra.narrow import NarrowLines
from labctl.analysis.threshold.bounds import ALL_LINES, established
from labctl.model.records import FloatArray
from labctl.model.results.sweep import Threshold
from labctl.model.results.verdict import (
    HEADLINES,
    KINK_ALONE,
    Verdict,
    VerdictStatus,
    Witness,
    WitnessName,
    WitnessState,
)

NARROWED, UNCHANGED = 1.4, 1.2
"""Ratio of the linewidths across the scan from which on it narrows, and below which it does not."""
_SCATTER = 3.0
"""The widths differ by so many of their own scatters where they differ."""
_LATE = 1.5
"""Lines that belong to a kink start below its interval's upper end times this."""
_CLEAR = 0.5
"""Lines of this height over the luminescence are light enough without a narrower emission."""
_LEAST_WIDTHS = 2
_FRINGED = 0.3
"""Part of the points from which on fringes cut the emission at half of its height."""

NOT_MEASURED = "coherence, polarisation and beam were not measured"
AMPLIFIED = (
    "amplified spontaneous emission, or random lasing whose lines are unresolved or averaged; single shots, "
    "the resolution or the stripe length decide"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the points of a sweep show, without references, in any order.

    :param fluence_uj_cm2: shape ``(n,)``.
    :param fwhm_nm: width of the emission, nm, nan where unknown, shape ``(n,)``; None without any.
    :param lines: what stands above the luminescence; None where no spectra are at hand.
    :param equivalent_width_nm: integral over maximum, nm, nan where unknown, shape ``(n,)``.
    """

    fluence_uj_cm2: FloatArray
    fwhm_nm: FloatArray | None
    lines: NarrowLines | None
    equivalent_width_nm: FloatArray | None = None

    @property
    def width_nm(self) -> FloatArray | None:
        """The width to compare: the equivalent one where fringes cut through the half of the maximum."""
        if self.lines is None or self.equivalent_width_nm is None or self.lines.doubtful.mean() < _FRINGED:
            return self.fwhm_nm
        return self.equivalent_width_nm


def judge(threshold: Threshold, seen: Seen) -> Verdict:
    """Put the three witnesses together.

    :param threshold: of the whole emission.
    """
    kink = kink_of(threshold)
    width = width_of(threshold, seen)
    lines, start = lines_of(seen)
    status, headline, sentence = (
        _without_spectra(threshold, kink, width)
        if seen.lines is None
        else _with_spectra(threshold, seen, (kink, width, lines), start)
    )
    return Verdict(status, headline or HEADLINES[status], sentence, (kink, width, lines), start)


Said = tuple[VerdictStatus, str, str]
"""Status, headline if another than the status's own, sentence."""


def _with_spectra(
    threshold: Threshold, seen: Seen, witnesses: tuple[Witness, Witness, Witness], start: float | None
) -> Said:
    kink, width, lines = (w.state for w in witnesses)
    if lines == "unknown":
        return _undecided("one spectrum alone shows lines", "higher fluences decide whether lines are there")
    if lines == "yes":
        assert start is not None
        assert seen.lines is not None
        return _among_lines(threshold, seen.lines, kink, width, start)
    if width == "yes":
        return "narrowing", "", AMPLIFIED
    if kink == "yes":
        return _kink(width)
    if threshold.status == "above_range":
        return _undecided("a kink at the end of the scan", "higher fluences decide")
    if threshold.status == "refused":
        return _undecided("nothing was fitted", threshold.reason)
    if width == "no":
        return "no_threshold", "", "neither kink, nor narrowing, nor lines"
    return _undecided("no kink and no lines", "spectra that show the linewidth at more fluences decide")


def _kink(width: WitnessState) -> Said:
    if width == "no":
        return "kink", "", "traps that fill, heating or a changing collection bend a curve as well"
    return _undecided(
        "a kink, and a linewidth that does not clearly narrow", "higher fluences and brighter spectra decide"
    )


def _among_lines(
    threshold: Threshold, lines: NarrowLines, kink: WitnessState, width: WitnessState, start: float
) -> Said:
    """Narrow lines stand above the luminescence."""
    if kink != "yes":
        if threshold.status == "below_range" or ALL_LINES in threshold.flags:
            return (
                "above_threshold",
                "",
                "every spectrum shows lines; lower fluences are needed for a threshold",
            )
        return _undecided(
            "narrow lines, but no kink inside the scan", f"more fluences around {start:.4g} uJ/cm2 decide"
        )
    high = np.inf if threshold.ci95 is None else threshold.ci95[1]
    if start > _LATE * high:
        return _undecided(
            f"the lines begin at {start:.4g} uJ/cm2, far above the kink",
            f"more fluences between kink and {start:.4g} uJ/cm2 decide",
        )
    if width == "yes" or float(np.max(lines.contrast)) >= _CLEAR:
        return "lasing", "", NOT_MEASURED
    return _undecided("a kink and weak lines, without a narrower emission", "higher fluences decide")


def _without_spectra(threshold: Threshold, kink: Witness, width: Witness) -> Said:
    """A table says no more than that there is a kink."""
    decide = "spectra of each fluence decide whether it lases"
    if kink.state == "yes" and width.state == "yes":
        return "narrowing", "kink and narrowing; spectra not given", decide
    if kink.state == "yes":
        return "kink", "" if width.state == "no" else KINK_ALONE, decide
    if threshold.status == "not_found" and threshold.bound is not None:
        return "no_threshold", "no kink; spectra not given", decide
    if threshold.status == "below_range":
        return "undecided", "undecided; spectra not given", f"lower fluences decide; {decide}"
    return "undecided", "undecided; spectra not given", decide


def _undecided(what: str, decides: str) -> Said:
    return "undecided", "", f"{what}; {decides}"


def kink_of(threshold: Threshold) -> Witness:
    """Say what the light-light curve shows."""
    said: dict[str, tuple[WitnessState, str]] = {
        "found": ("yes", "the light-light curve has a kink"),
        "below_range": ("unknown", "the light-light curve looks like that of a laser above its threshold"),
        "above_range": ("unknown", "the light-light curve bends at the end of the scan"),
        "refused": ("unknown", "no curve was fitted"),
    }
    state, reason = said.get(threshold.status, ("no", "the light-light curve has no significant kink"))
    return _witness("kink", state, reason)


def width_of(threshold: Threshold, seen: Seen) -> Witness:
    """Compare the linewidths below and above the kink, or those of the lowest and the highest third."""
    width_nm = seen.width_nm
    if width_nm is None or np.isfinite(width_nm).sum() < 2 * _LEAST_WIDTHS:
        return _witness("linewidth", "unknown", "the linewidth is not known at enough fluences")
    known = np.isfinite(width_nm) & (width_nm > 0) & np.isfinite(seen.fluence_uj_cm2)
    f, w = seen.fluence_uj_cm2[known], width_nm[known]
    low, high = w[f <= np.quantile(f, 1 / 3)], w[f >= np.quantile(f, 2 / 3)]
    if threshold.ci95 is not None:
        below, above = w[f < threshold.ci95[0]], w[f > threshold.ci95[1]]
        if min(below.size, above.size) >= _LEAST_WIDTHS:
            low, high = below, above
    before, after = float(np.median(low)), float(np.median(high))
    scatter = 1.4826 * float(np.median(np.abs(low - before)))
    said = f"from {before:.3g} to {after:.3g} nm"
    if before >= NARROWED * after and before - after > _SCATTER * scatter / np.sqrt(low.size):
        return _witness("linewidth", "yes", f"the emission narrows {said}")
    if before < UNCHANGED * after:
        return _witness("linewidth", "no", f"the emission does not narrow ({said})")
    return _witness("linewidth", "unknown", f"the emission narrows a little, {said}")


def lines_of(seen: Seen) -> tuple[Witness, float | None]:
    """Say whether lines stand above the luminescence, and from which fluence on.

    A line that most of the higher fluences do not show does not count.
    """
    found = seen.lines
    if found is None:
        return _witness("lines", "unknown", "no spectra are given"), None
    known = np.isfinite(found.count)
    order = np.argsort(seen.fluence_uj_cm2[known], kind="stable")
    f, there = seen.fluence_uj_cm2[known][order], found.count[known][order] > 0
    start = established(there)
    if start is None:
        told = f": {found.said}" if found.said else ""
        return _witness("lines", "no", f"no narrow lines above the luminescence{told}"), None
    most = int(np.nanmax(found.count))
    lines = "a narrow line stands" if most == 1 else f"up to {most} narrow lines stand"
    said = f"{lines} above the luminescence"
    if there[start:].sum() < 2:
        return _witness("lines", "unknown", f"{said}, at the highest fluence alone"), None
    return _witness("lines", "yes", f"{said} from {f[start]:.4g} uJ/cm2 on"), float(f[start])


def _witness(name: WitnessName, state: WitnessState, reason: str) -> Witness:
    return Witness(name, state, reason)
