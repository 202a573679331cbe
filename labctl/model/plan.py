"""What a run is to do, as plain data; what follows from it (steps, limits) is in :mod:`procedures.plan`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Spacing = Literal["linear", "log", "list"]
Direction = Literal["up", "down", "up-down", "shuffled"]
Background = Literal["dark", "blank"]
Correction = Literal["off", "excitation", "signal"]
Per = Literal["point", "dose"]
Decay = Literal["best", "single", "double", "stretched"]
Cause = Literal["plan", "target", "above", "points", "dose", "time"]


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A fluence sweep. Fluences are on the sample, in the bench's convention.

    :param start_uj_cm2: lowest fluence, uJ/cm2, > 0.
    :param stop_uj_cm2: highest fluence, uJ/cm2, above the lowest.
    :param points: number of fluences, both ends included, 2 to 10,000.
    :param spacing: "log", "linear", or "list" for ``fluences_uj_cm2``.
    :param fluences_uj_cm2: the fluences themselves with spacing "list", in the order of an upward sweep.
    :param direction: "up-down" visits the highest fluence once; "shuffled" is seeded by ``seed``.
    :param average: exposures at each point, 1 or more.
    :param min_pulses: least number of laser pulses in an exposure that is not triggered.
    :param triggered: whether exposures begin with a pulse of the laser; the bench file decides.
    :param integration_s: exposure times that may be used, s; empty: a ladder of 1, 2, 5 is made.
    :param max_integration_s: longest exposure time of that ladder, s.
    :param aim: share of the full scale that an exposure should reach, 0.05 to 0.9.
    :param max_light_s: longest time of light on the sample at one point, s.
    :param background: "blank" subtracts a blank measured at each fluence beforehand.
    :param keep_open: leave the shutter open between points (darks close it).
    :param seed: of the shuffled order.
    :param remove_spikes: whether cosmic spikes are taken out.
    :param dark_factor: dark exposures over signal exposures, at least 4: its error is common to all points.
    :param dark_max_age_s: a dark older than this is renewed, s.
    :param dark_max_change_c: a dark is renewed when the detector's temperature differs by more, degrees C.
    :param margin_nm: how far outside the bands saturation is looked for, nm.
    :param drift_limit: relative change between the readings round a point above which it is flagged.
    :param retries: how often a point is repeated when the laser dropped out.
    :param reference_every: points between two measurements at the reference fluence; 0: none are made.
    :param reference_uj_cm2: that fluence, which must lie below threshold; None chooses one by ratio a
        quarter of the way from the lowest to the highest.
    :param correct_bleaching: what the loss of light at the reference stands for in the fit. "excitation":
        fewer emitters absorb, so a point counts with the fluence that would excite the fresh sample as much;
        "signal": only the light that is seen faded. What is stored of the points is never changed.
    """

    start_uj_cm2: float = 20.0
    stop_uj_cm2: float = 200.0
    points: int = 24
    spacing: Spacing = "log"
    fluences_uj_cm2: tuple[float, ...] = ()
    direction: Direction = "up"
    average: int = 10
    min_pulses: int = 100
    triggered: bool = False
    integration_s: tuple[float, ...] = ()
    max_integration_s: float = 0.5
    aim: float = 0.6
    max_light_s: float = 60.0
    background: Background = "dark"
    keep_open: bool = False
    seed: int = 0
    remove_spikes: bool = True
    dark_factor: int = 4
    dark_max_age_s: float = 600.0
    dark_max_change_c: float = 0.2
    margin_nm: float = 5.0
    drift_limit: float = 0.02
    retries: int = 2
    reference_every: int = 0
    reference_uj_cm2: float | None = None
    correct_bleaching: Correction = "off"


@dataclass(frozen=True, slots=True)
class AdaptivePlan(SweepPlan):
    """A sweep that begins like any other and then chooses where to measure, between its lowest and highest.

    :param points: space-filling fluences to begin with: 10 or more, unless shape and noise are known.
    :param target_rel: half-width of the 95 % interval over the threshold at which the sweep may end, the
        correction for ending so included; 0.03 is 3 %.
    :param confirm_points: chosen points without which no interval is believed. Between few and exact points
        an interval rests on the shapes alone: of 10 simulated sweeps it covered in 3 after the 10 points to
        begin with, in 7 after one more near the kink, in all after two
        (benchmarks/accuracy/adaptive_sweep.py).
    :param per: what the interval shall shrink fastest for: a "point", or a unit of "dose".
    :param budget_points: most points, the first ones included, those at the reference not.
    :param budget_dose_uj_cm2: most dose (sum of fluence x pulses, trials included); None: the bench's limit.
    :param budget_time_s: most time on the bench's clock, counted as ``elapsed_s`` of a point.
    """

    points: int = 10
    target_rel: float = 0.03
    confirm_points: int = 2
    per: Per = "point"
    budget_points: int = 40
    budget_dose_uj_cm2: float | None = None
    budget_time_s: float | None = None


@dataclass(frozen=True, slots=True)
class StabilityPlan(SweepPlan):
    """A sweep whose fluences are all the same, begun at even intervals; the shutter is closed between points.

    Make one with :func:`stability_plan`.

    :param every_s: from the beginning of one point to that of the next, on the bench's clock. A point that
        takes longer is followed by the next at once.
    :param model: shape of the decay to fit; "best" lets the data choose.
    :param constant: fit a part that stays, too.
    """

    every_s: float = 10.0
    model: Decay = "best"
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a sweep asked for no more points.

    :param cause: "plan": all were measured; "target": the interval is narrow enough; "above": every
        point lies above threshold; else the budget spent.
    :param reason: one sentence for people.
    :param half_width_rel: of the 95 % interval at that moment, its correction for such an end included.
    """

    cause: Cause
    reason: str
    half_width_rel: float | None = None
