"""What a run is to do, as plain data; what follows from it (steps, limits) is in :mod:`procedures.plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from labctl.model.options import Option, documented, option, options

Spacing = Literal["linear", "log", "list"]
Direction = Literal["up", "down", "up-down", "shuffled"]
Background = Literal["dark", "blank"]
Correction = Literal["auto", "off", "excitation", "signal"]
Per = Literal["point", "dose"]
Decay = Literal["best", "single", "double", "stretched"]
Cause = Literal["plan", "target", "above", "points", "dose", "time"]

LEAST_EXPOSURES, MOST_EXPOSURES = 3, 200
"""At a point, where the precision decides: their scatter is seen, and a spike stands out of two others."""
MOST_POINTS = 10_000
"""A sweep of more is a slip of the finger: at a second or two a point it would last a working day."""
FLUENCES, MEASUREMENT, ADAPTIVE = "Fluence", "Measurement", "Adaptive"
REFERENCE, EXPOSURE, BACKGROUND = "Reference and bleaching", "Exposure", "Background"
CHECKS, STABILITY, SHOTS, FLY = "Checks", "Stability", "Every shot", "Fly scan"
_FLUENCE = "uJ/cm2"
_POINTS: dict[str, Any] = {"least": 2, "most": MOST_POINTS}


@documented
@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A fluence sweep. Fluences are on the sample, in the bench's convention.

    :param triggered: Whether exposures begin with a pulse of the laser; the bench file decides.
    """

    start_uj_cm2: float = option(20.0, "Start fluence", FLUENCES, "Lowest fluence.", unit=_FLUENCE, above=0)
    stop_uj_cm2: float = option(200.0, "Stop fluence", FLUENCES, "Highest fluence.", unit=_FLUENCE, above=0)
    points: int = option(24, "Points", FLUENCES, "Number of fluences, both ends included.", **_POINTS)
    spacing: Spacing = option(
        "log", "Spacing", FLUENCES, "Spacing of the fluences; list: use the listed fluences."
    )
    fluences_uj_cm2: tuple[float, ...] = option(
        (),
        "Fluences listed",
        FLUENCES,
        "List of fluences instead of a range: 20, 30, 45.",
        unit=_FLUENCE,
        above=0,
    )
    direction: Direction = option(
        "up", "Direction", FLUENCES, "Order of the fluences; up-down measures the highest once."
    )
    average: int | None = option(
        None,
        "Exposures per point",
        MEASUREMENT,
        "Fixed number of exposures at each fluence; default: as many as the precision needs.",
        least=1,
        most=1_000_000,
    )
    precision: float = option(
        0.01,
        "Precision",
        MEASUREMENT,
        "Relative standard error of a point's signal: time and number of the exposures are chosen for it "
        "before they are taken, within the longest light of a point, and not beyond what the error of the "
        "fluence makes useful.",
        above=0,
        below=1,
        percent=True,
    )
    shots: int | None = option(
        None,
        "Single shots per point",
        MEASUREMENT,
        "Number of single shots kept at each fluence, one laser pulse each, instead of exposures of many "
        "pulses; the spectrometer needs a buffer of its own and the laser's trigger.",
        least=20,
        most=10_000,
    )
    min_pulses: int = option(
        100,
        "Least pulses per exposure",
        EXPOSURE,
        "Minimum number of laser pulses per untriggered exposure.",
        least=1,
    )
    triggered: bool = False
    integration_s: tuple[float, ...] = option(
        (),
        "Exposure times",
        EXPOSURE,
        "Allowed exposure times; default: a 1-2-5 series.",
        unit="s",
        above=0,
    )
    max_integration_s: float = option(
        0.5, "Longest exposure", MEASUREMENT, "Longest exposure time of the 1-2-5 series.", unit="s", above=0
    )
    aim: float = option(
        0.6,
        "Target fill level",
        EXPOSURE,
        "Fraction of full scale that an exposure should reach.",
        least=0.05,
        most=0.9,
        percent=True,
    )
    max_light_s: float = option(
        60.0,
        "Longest light",
        EXPOSURE,
        "Longest illumination time of the sample at one point.",
        unit="s",
        above=0,
    )
    background: Background = option(
        "dark", "Background", BACKGROUND, "Subtract a dark, or a blank measured first at each fluence."
    )
    keep_open: bool = option(
        False, "Keep shutter open", MEASUREMENT, "Leave the shutter open between points; darks close it."
    )
    seed: int = option(0, "Shuffle seed", FLUENCES, "Seed of the shuffled order.", least=0)
    remove_spikes: bool = option(True, "Remove spikes", BACKGROUND, "Remove cosmic spikes from the spectra.")
    dark_factor: int = option(
        4,
        "Dark exposures",
        BACKGROUND,
        "Dark exposures per exposure of a point: the error of a dark is common to all points.",
        least=4,
        most=10_000,
    )
    dark_max_age_s: float = option(
        600.0, "Oldest dark", BACKGROUND, "An older dark is retaken.", unit="s", above=0
    )
    dark_max_change_c: float = option(
        0.2,
        "Dark temperature change",
        BACKGROUND,
        "A dark is retaken when the detector temperature differs by more.",
        unit="C",
        above=0,
    )
    margin_nm: float = option(
        5.0,
        "Margin of the bands",
        EXPOSURE,
        "Range outside the bands that is checked for saturation.",
        unit="nm",
        least=0,
    )
    drift_limit: float = option(
        0.02,
        "Drift flagged above",
        CHECKS,
        "Relative change between the readings before and after a point above which it is flagged.",
        above=0,
        below=1,
        percent=True,
    )
    retries: int = option(
        2, "Repeats", CHECKS, "How often a point is repeated after a laser dropout.", least=0, most=1000
    )
    reference_every: int | None = option(
        None,
        "Reference every",
        REFERENCE,
        "Points between two measurements at the reference fluence; 0: no reference points; default: at the "
        "start, just above the kink and at the end.",
        least=0,
        most=MOST_POINTS,
    )
    reference_uj_cm2: float | None = option(
        None,
        "Reference fluence",
        REFERENCE,
        "The reference fluence, below threshold; default: a quarter of the way, on a log scale, from the "
        "lowest "
        "to the highest.",
        unit=_FLUENCE,
        above=0,
    )
    correct_bleaching: Correction = option(
        "auto",
        "Correct bleaching",
        REFERENCE,
        "Correct the fit with the reference points. excitation: fewer emitters absorb, so a point counts "
        "with the fluence that would excite the fresh sample equally; signal: only the detected light "
        "decreased; auto: both, weighted by the data; off: fit the points as measured. Stored points are "
        "never changed.",
    )

    @property
    def least_exposures(self) -> int:
        """Exposures of a point, at least."""
        return self.shots or self.average or LEAST_EXPOSURES

    @property
    def most_exposures(self) -> int:
        """Exposures of a point, at most; fewer where they are long."""
        return self.shots or self.average or MOST_EXPOSURES

    @property
    def counted(self) -> bool:
        """Whether the number of exposures is given, and no precision chooses it."""
        return bool(self.shots or self.average)

    @property
    def cleans(self) -> bool:
        """Whether cosmic spikes are removed; never from single shots: a line of one shot may be real."""
        return self.remove_spikes and self.shots is None


@documented
@dataclass(frozen=True, slots=True)
class AdaptivePlan(SweepPlan):
    """A sweep that begins like any other and then chooses where to measure, between its lowest and highest.

    Between few and exact points an interval rests on the shapes alone: of 10 simulated sweeps it covered in 3
    after the 10 points to begin with, in 7 after one more near the kink, in all after two
    (benchmarks/accuracy/adaptive_sweep.py).
    """

    points: int = option(
        10,
        "Start points",
        ADAPTIVE,
        "Initial space-filling points; fewer than 10 if shape and noise are known.",
        name="start_points",
        **_POINTS,
    )
    target_rel: float = option(
        0.03,
        "Target",
        ADAPTIVE,
        "Relative half-width of the 95 % interval at which the sweep may end, including the correction for "
        "stopping early.",
        above=0.005,
        below=1,
        percent=True,
    )
    confirm_points: int = option(
        2,
        "Confirming points",
        ADAPTIVE,
        "Minimum number of chosen points before the interval is trusted.",
        least=0,
        most=MOST_POINTS,
    )
    per: Per = option("point", "Narrow per", ADAPTIVE, "Narrow the interval fastest per point or per dose.")
    budget_points: int = option(
        40,
        "Most points",
        ADAPTIVE,
        "Maximum number of points, including the start points but not the reference points.",
        **_POINTS,
    )
    budget_dose_uj_cm2: float | None = option(
        None,
        "Most dose",
        ADAPTIVE,
        "Maximum dose (sum of fluence x pulses, trial exposures included); default: the limit of the bench.",
        unit=_FLUENCE,
        above=0,
        most=1e15,
    )
    budget_time_s: float | None = option(
        None, "Most time", ADAPTIVE, "Maximum time on the bench clock.", unit="s", above=0
    )


@documented
@dataclass(frozen=True, slots=True)
class StabilityPlan(SweepPlan):
    """A sweep whose fluences are all the same, begun at even intervals; the shutter is closed between points.

    Make one with :func:`procedures.plan.stability_plan`.
    """

    every_s: float = option(
        10.0,
        "Interval",
        STABILITY,
        "From the start of one point to that of the next; after a longer point the next follows at once.",
        unit="s",
        above=0,
    )
    model: Decay = option("best", "Shape of the decay", STABILITY, "Model to fit; best: chosen by the data.")
    constant: bool = option(False, "Constant part", STABILITY, "Fit a constant part as well.")
    temperature_c: float | None = option(
        None,
        "Temperature",
        STABILITY,
        "Hold the sample at this temperature, between points too; default: no heating.",
        unit="C",
        above=0,
        most=1000,
    )
    tolerance_c: float = option(
        0.5,
        "Temperature tolerance",
        STABILITY,
        "Begin once the heater is this near, and say so where it is not later on.",
        unit="C",
        above=0,
        most=100,
    )
    settle_s: float = option(
        60.0, "Settling", STABILITY, "Time within the tolerance before the first point.", unit="s", least=0
    )
    heating_limit_s: float = option(
        1800.0, "Longest heating", STABILITY, "The run is refused if heating takes longer.", unit="s", above=0
    )
    end_temperature_c: float | None = option(
        None,
        "Temperature at the end",
        STABILITY,
        "Hold the sample at this temperature after the run; default: the heater is switched off.",
        unit="C",
        above=0,
        most=1000,
    )


@documented
@dataclass(frozen=True, slots=True)
class FlyPlan(SweepPlan):
    """A sweep whose points are made of single shots, taken while the plate turns between its two ends."""

    points: int = option(
        60, "Points", FLY, "Ranges of fluence whose shots make a point each, at most.", **_POINTS
    )
    passes: int = option(
        4, "Passes", FLY, "Passes over the flank, an even number: it ends at the low end.", least=2, most=1000
    )
    average: int | None = 30  # of the sweep that the points could be of; only the file's layout asks
    reference_every: int | None = 0
    correct_bleaching: Correction = "off"


@documented
@dataclass(frozen=True, slots=True)
class ShotsPlan:
    """Every shot at one fluence or several, each exposure begun by a pulse of the laser.

    :param triggered: Whether exposures begin with a pulse of the laser; the bench file decides.
    """

    fluences_uj_cm2: tuple[float, ...] = option(
        (),
        "Fluences",
        SHOTS,
        "Fluence, in the bench's convention, or several: 60, 80, 120.",
        unit=_FLUENCE,
        above=0,
        name="fluence",
    )
    shots: int = option(
        2000,
        "Shots",
        SHOTS,
        "Number of shots in the light at each fluence.",
        name="count",
        least=1,
        most=100_000_000,
    )
    dark_shots: int = option(
        200,
        "Dark shots",
        SHOTS,
        "Number of shots with the shutter closed, before the light and again after it.",
        least=20,
        most=100_000,
    )
    integration_s: float | None = option(
        None,
        "Exposure time",
        SHOTS,
        "Exposure time of a shot, shorter than the time between two pulses; default: 90 % of that time.",
        unit="s",
        above=0,
    )
    most_lost: int = option(
        100, "Most lost in a row", SHOTS, "The light ends if more shots in a row are missing.", least=1
    )
    triggered: bool = False


def dark_shots(shots: int) -> int:
    """Return the number of shots in the dark, before the light of a point of a sweep and again after it.

    :param shots: in the light. The dark is that of all of them: its noise must not be most of their mean's.
    """
    return max(200, shots // 2)


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


def sweep_options() -> Mapping[str, Option]:
    """Return every option of a sweep by its name, those of an adaptive one included."""
    return {**options(SweepPlan), **options(AdaptivePlan)}


def sweep_plan(given: Mapping[str, object], *, adaptive: bool = False) -> SweepPlan:
    """Return the plan that options ask for.

    :param given: values by the names of options; what is left out has its default, but for the ends.
    :raises ConfigError: two options contradict each other, or one is missing; values are not judged.
    """
    every = sweep_options()
    listed = given.get("spacing", "list" if given.get("fluences") else "") == "list"
    if adaptive and "points" in given:
        raise every["points"].wrong(
            "an adaptive sweep chooses how many",
            "--start-points for those to begin with, --budget-points for the most",
        )
    for name in given:
        if not adaptive and name not in options(SweepPlan):
            raise every[name].wrong("applies only to an adaptive sweep", "add --adaptive")
        if listed and name in ("start", "stop", "points"):
            raise every[name].wrong("cannot be combined with --fluences", "give only one of them")
    usual = every["precision"].default
    if given.get("average") is not None and given.get("precision", usual) != usual:
        raise every["precision"].wrong("cannot be combined with --average", "give only one of them")
    if given.get("shots") is not None and given.get("precision", usual) != usual:
        raise every["precision"].wrong("cannot be combined with --shots", "give only one of them")
    for name in () if listed else ("start", "stop"):
        if name not in given:
            raise every[name].wrong("missing", "a fluence in uJ/cm2")
    values: dict[str, Any] = {every[name].field: value for name, value in given.items()}
    return (AdaptivePlan if adaptive else SweepPlan)(**(values | ({"spacing": "list"} if listed else {})))
