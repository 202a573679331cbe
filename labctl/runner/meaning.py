"""What each flag of a result means: one sentence, in order of weight. Terminal and window print these.

A new flag gets a row here, at the place of its weight; a test looks for flags without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labctl.model.results.sweep import SweepResult, Threshold


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one flag means.

    :param flag: as a result carries it.
    :param sentence: for a physicist who is to act on it; no full stop.
    :param said: words in the reason of a result that already say so; empty: the reason never does.
    """

    flag: str
    sentence: str
    said: str = ""


MEANINGS = (
    Meaning(
        "start_lower",
        "the scan lies, or may lie, above the threshold throughout: measure at lower fluences",
        "start lower",
    ),
    Meaning("all_lines", "every point shows lasing peaks: no point is luminescence alone", "lasing peaks"),
    Meaning(
        "lines_below",
        "points below the interval already show lasing peaks: a lower threshold is likely",
        "lower threshold is likely",
    ),
    Meaning(
        "second_kink",
        "the curve has two kinks: weaker modes may lase below the threshold given: look at each line",
        "two kinks",
    ),
    Meaning(
        "law",
        "the plate moved otherwise than its law says, fluences are not known well: fly again, or sweep",
        "the plate left its law",
    ),
    Meaning(
        "energy_step",
        "the pulse energy stepped during the run; the interval is widened by the step",
        "the pulse energy stepped",
    ),
    Meaning(
        "photon_order",
        "the photon order is not stated and changes the result: state it",
        "photon order is not stated",
    ),
    Meaning(
        "misfit",
        "no shape of the library describes the points within their errors: look at the residuals, and do not "
        "trust the interval",
    ),
    Meaning(
        "outlier",
        "one point disagrees with all others and was left out, and the interval widened: repeat it",
    ),
    Meaning(
        "bleaching",
        "the sample gave less light as its dose grew: the threshold of the fresh sample may be lower",
    ),
    Meaning(
        "brightening",
        "the sample gave more light as its dose grew: the threshold may differ from that of the fresh sample",
    ),
    Meaning(
        "bleaching_not_measured",
        "bleaching not measured: the reference points are not shown to be luminescence (exponent near the "
        "photon order, no lasing peaks): set --reference lower",
    ),
    Meaning(
        "bleaching_not_tested",
        "bleaching not tested: without reference points, a loss of light shifts the threshold unseen",
    ),
    Meaning(
        "hysteresis",
        "the way down differs from the way up: sample or bench changed during the run",
    ),
    Meaning(
        "wander",
        "most of the interval is the declared wander of the fluence, which a sweep in one direction cannot "
        "tell from the curve: measure shuffled, or up and down",
    ),
    Meaning(
        "unseen_wander",
        "the light at the reference scatters by more than its errors: the fluence wanders unseen by the "
        "meter; state it in the bench file (fluence_wander_rel), or the interval is too narrow",
    ),
    Meaning("drift", "the signal drifted during the run beside its dependence on the fluence"),
    Meaning(
        "exponent",
        "below the threshold the signal does not grow with the stated photon order: saturation, background, "
        "bleaching, or another order",
    ),
    Meaning(
        "few_above",
        "fewer than three fluences lie above the interval: the next points may move the threshold",
        "provisional",
    ),
    Meaning(
        "few_points",
        "fewer than 12 points were fitted: the shape of the curve is hardly known",
    ),
    Meaning(
        "plateau",
        "the three brightest points have the same signal: the detector or the converter may be saturated",
    ),
    Meaning("edge", "the interval of the kink reaches the end of the scan: extend the scan", "extends"),
    Meaning(
        "bend",
        "the curve bends, but by no more than drift and nonlinearity could do",
        "within drift and nonlinearity",
    ),
    Meaning(
        "exposures_guessed",
        "the file does not say which exposures its points had left out: the brightest were taken for them",
    ),
    Meaning(
        "decay_misfit",
        "no decay that was tried follows the points: no lifetime is given, and what is left is from the "
        "first and the last points alone",
    ),
    Meaning(
        "no_mixture", "the light begins to fade late, as no mixture of decays does: no lifetime is given"
    ),
    Meaning("not_separable", "the lifetimes of the decay cannot be told apart: only their mean counts"),
    Meaning("extrapolated", "the mean lifetimes rest on the fitted shape beyond the measured time"),
    Meaning("no_decay", "no significant decay of the emission was seen"),
    Meaning(
        "bleaching_corrected",
        "the fit is corrected for the change at the references; its possible laws are in the interval",
    ),
    Meaning(
        "stopped_early",
        "the sweep ended because its interval was narrow; the interval is widened for that",
        "its width ended the sweep",
    ),
    Meaning("budget_points", "the sweep ended at its limit of points, not at its target"),
    Meaning("budget_dose", "the sweep ended at its limit of dose, not at its target"),
    Meaning("budget_time", "the sweep ended at its limit of time, not at its target"),
    Meaning("adaptive", "the sweep chose its fluences by itself"),
    Meaning("step", "the signal jumped: the sample, the spot or the pump is not what it was"),
    Meaning("tracking", "the threshold is tracked by the shape of an earlier curve, and is as true as that"),
)
"""Every flag that a result can carry, the weightiest first."""

_BY_FLAG = {meaning.flag: (weight, meaning) for weight, meaning in enumerate(MEANINGS)}


def sentences(flags: Iterable[str], reason: str = "") -> tuple[str, ...]:
    """Return what flags mean, each once, the weightiest first; those without a row come last, by name.

    :param reason: words that stand beside them: a flag whose meaning these already give is left out.

    >>> sentences(("few_points", "edge"), "threshold above 94 uJ/cm2: its interval extends above the scan")
    ('fewer than 12 points were fitted: the shape of the curve is hardly known',)
    """
    wanted = set(flags)
    known = [meaning for meaning in MEANINGS if meaning.flag in wanted]
    unknown = [f"flag {flag!r}, unknown to this version" for flag in sorted(wanted - set(_BY_FLAG))]
    return (*(m.sentence for m in known if not (m.said and m.said in reason)), *unknown)


def flag_lines(result: SweepResult, found: Threshold | None = None, reason: str = "") -> tuple[str, ...]:
    """Return what the flags of a run's result mean, without those that a line of their own gives in figures.

    :param found: the band that is shown; the whole emission by default.
    :param reason: what is shown beside them.
    """
    found = found or result.threshold
    flags = set(found.flags)
    shown = (
        ({"bleaching", "brightening"}, result.bleaching),
        ({"hysteresis"}, result.hysteresis),
        ({"adaptive", "budget_points", "budget_dose", "budget_time"}, result.adaptive),
        ({"energy_step"}, result.energy_step),
    )
    for names, record in shown:
        flags -= names if record is not None else set()
    if result.stability is not None:
        # Its own line says of these what there is to say.
        told = {"no_decay", "brightening", "extrapolated", "energy_step", "decay_misfit", "no_mixture"}
        flags |= set(result.stability.flags) - told
    used = (f"curve and interval take account of: {'; '.join(found.used)}",) if found.used else ()
    return (*sentences(flags, reason), *used)
