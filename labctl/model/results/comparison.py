"""What is found where runs of several samples are compared: plain records, as those of one run are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labctl.model.results.sweep import BandThreshold, Estimate, FluenceBudget, Interval, StabilityResult


@dataclass(frozen=True, slots=True)
class SampleRun:
    """One run, as a comparison sees it.

    :param sample: its name; runs of one name are of one sample.
    :param spot: place on the sample; empty where none was named: then each run counts as a place of its own.
    :param meter: serial number of the power meter; empty where it is not known.
    :param threshold: of the whole emission.
    :param budget: of its fluences; None where the chain to the sample is not known.
    :param stability: of a stability run; None for others.
    """

    sample: str
    spot: str
    meter: str
    threshold: BandThreshold
    budget: FluenceBudget | None = None
    stability: StabilityResult | None = None


@dataclass(frozen=True, slots=True)
class ThresholdRatio:
    """The threshold of one sample over that of another.

    :param sample: whose threshold is above the line.
    :param over: whose threshold is below it.
    :param status: "compared"; "marked" where a condition that is not proved must hold; "refused".
    :param reason: why it is refused; empty otherwise.
    :param ratio: of the geometric means over spots; None where it is refused.
    :param ci95: 95 % interval, with what of the two scales does not cancel.
    :param statistical_ci95: without the scales.
    :param scale_rel: standard uncertainty (k = 1) that the scales leave in the ratio; None where a part of it
        is not stated.
    :param cancelled: links of the chain that are common to both, and cancel.
    :param added: links that do not cancel, each with why; their errors are in ``ci95``, in quadrature.
    :param unstated: links that do not cancel and whose error is not stated: they are in no interval.
    :param conditions: what must hold beside, one sentence each.
    :param spots: number of places on ``sample`` and on ``over``.
    :param between_spots_rel: standard deviation of the thresholds over those places, relative; None for a
        sample with one place, of whose material the ratio then says nothing.
    """

    sample: str
    over: str
    status: Literal["compared", "marked", "refused"]
    reason: str = ""
    ratio: float | None = None
    ci95: Interval | None = None
    statistical_ci95: Interval | None = None
    scale_rel: float | None = None
    cancelled: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    unstated: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    spots: tuple[int, int] = (1, 1)
    between_spots_rel: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, slots=True)
class RetainedDifference:
    """How much more of its light one stability run kept than another.

    :param sample: of the run that kept more.
    :param over: of the other one.
    :param difference: of the retained shares, 0 to 1.
    :param conditions: what differs between the runs beside the samples, one sentence each.
    """

    sample: str
    over: str
    difference: Estimate
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What several runs say together.

    :param ratios: of thresholds, for each pair of samples.
    :param retained: what stability runs kept of their light, for each pair of two samples.
    """

    ratios: tuple[ThresholdRatio, ...] = ()
    retained: tuple[RetainedDifference, ...] = ()
