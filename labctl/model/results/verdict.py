"""What a light-light curve means: a verdict from three witnesses, and the threshold by each definition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

VerdictStatus = Literal["lasing", "narrowing", "kink", "no_threshold", "above_threshold", "undecided"]
WitnessName = Literal["kink", "linewidth", "lines"]
WitnessState = Literal["yes", "no", "unknown"]

HEADLINES: dict[VerdictStatus, str] = {
    "lasing": "consistent with lasing",
    "narrowing": "narrowing without resolved lines",
    "kink": "kink without narrowing: no evidence of lasing",
    "no_threshold": "no threshold in the scan",
    "above_threshold": "scan above threshold",
    "undecided": "undecided",
}
KINK_ALONE = "kink; linewidth not given"
"""Headline of a kink of which no spectrum is known: a table says no more."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What one kind of evidence says.

    :param name: "kink" of the light-light curve, "linewidth" of the emission, "lines" above the luminescence.
    :param state: whether it speaks for lasing; "unknown" where it was not measured or cannot tell.
    :param reason: one sentence, without a full stop.
    """

    name: WitnessName
    state: WitnessState
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run shows, in words.

    :param status: lasing ("consistent with lasing"), narrowing (amplified luminescence, or lines that are not
        resolved), kink (no narrowing, or nothing known of it), no_threshold, above_threshold or undecided.
    :param headline: the same in a few words.
    :param sentence: what follows, and what was not measured or would decide; no full stop.
    :param witnesses: the three, in the order kink, linewidth, lines.
    :param lines_from_uj_cm2: lowest fluence from which on lines stand above the luminescence, uJ/cm2; None
        without any.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ()

    status: VerdictStatus
    headline: str
    sentence: str
    witnesses: tuple[Witness, ...] = ()
    lines_from_uj_cm2: float | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """The threshold by one of the definitions in use.

    :param name: onset, x_intercept, line_crossing, log_crossing, width_collapse, first_line or s_curve.
    :param label: the same in words.
    :param value_uj_cm2: uJ/cm2 in the run's convention; None where it is not defined.
    :param ci95: its 95 % interval, without the error of the fluence's scale; None likewise.
    :param reason: why it is not defined here; empty where it is.
    :param note: what else belongs to the number.
    """

    name: str
    label: str
    value_uj_cm2: float | None = None
    ci95: tuple[float, float] | None = None
    reason: str = ""
    note: str = ""
