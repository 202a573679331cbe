"""How well a fluence is known: every link from the meter's reading to the sample, and all of them together.

F = P x ratio / rate x cos(incidence) / area, with P the meter's reading less its zero. Uncertainties are
standard ones (k = 1) of what is COMMON to all points of a run; what is redrawn at every point belongs to the
points. Combined to first order as in the GUM (JCGM 100:2008, 5.1): the contributions in quadrature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from labctl.analysis.fluence import fluence_uj_cm2 as fluence_of
from labctl.analysis.fluence import mean_square_factor
from labctl.model.mapping import record_of
from labctl.model.pump import Convention, MalusCurve, PumpSettings
from labctl.model.results.sweep import FluenceBudget

UNSTATED = "not stated"
BENCH_FILE = "bench file"
METER, PICKOFF, SPOT = "meter calibration", "pick-off ratio", "spot (common to x and y)"
HEAVY = (METER, PICKOFF, SPOT)
"""Links that make most of any budget: while one of them is not stated, no sum of the others is given."""
SCALE = "scale uncertainty"
UNKNOWN_PULSE_WIDTH = "unknown: a two-photon threshold scales as sqrt(pulse width)"
_MIDDLE = 0.5
"""Relative transmission at which the terms that depend on it are given, where no fluence is asked for."""


@dataclass(frozen=True, slots=True)
class Term:
    """One link of the chain.

    :param value: in ``unit``; None for a factor that is 1 by definition.
    :param uncertainty: standard; relative to the value where ``relative``, else in ``unit``.
    :param sensitivity: relative change of the fluence for a relative change, or for one ``unit``, of it.
    :param source: where the uncertainty comes from, or that nobody stated it.
    :param note: why it counts as it does.
    """

    name: str
    value: float | None
    unit: str
    uncertainty: float
    relative: bool
    sensitivity: float
    source: str
    note: str = ""

    @property
    def is_stated(self) -> bool:
        """Whether anybody stated the uncertainty: if not, it is unknown, and not zero."""
        return self.source != UNSTATED

    @property
    def contribution_rel(self) -> float:
        """Relative standard uncertainty of the fluence that this term alone makes; 0 if nobody stated it."""
        return abs(self.sensitivity * self.uncertainty)

    def to_mapping(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "uncertainty": self.uncertainty if self.is_stated else None,
            "uncertainty_unit": "1" if self.relative else self.unit,
            "sensitivity": self.sensitivity,
            "contribution_rel": self.contribution_rel if self.is_stated else None,
            "source": self.source,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Budget:
    """The whole chain.

    :param fluence_uj_cm2: at which it holds, in ``convention``.
    :param two_photon_factor: <F^2>/<F>^2 of the pulses, by which their noise raises a two-photon signal; None
        when the noise is unknown.
    """

    terms: tuple[Term, ...]
    fluence_uj_cm2: float
    convention: Convention
    photon_order: int
    pulse_width_fs: float | None
    pulse_width_sigma_fs: float
    pulse_width_source: str
    pulse_cv: float | None
    two_photon_factor: float | None
    absorptance: float | None
    absorptance_sigma: float

    @property
    def stated_rel(self) -> float:
        """Relative standard uncertainty, k = 1, that the stated terms make: no more than a lower bound."""
        return math.hypot(*(term.contribution_rel for term in self.terms))

    @property
    def combined_rel(self) -> float | None:
        """Relative standard uncertainty of the scale of all fluences, k = 1; None while a heavy link lacks.

        The others that nobody stated (:attr:`unstated`) are left out of it, and named wherever it is said.
        """
        return None if set(self.unstated) & set(HEAVY) else self.stated_rel

    @property
    def links(self) -> int:
        """Number of the terms that count."""
        return sum(bool(t.sensitivity and t.source) for t in self.terms)

    @property
    def unstated(self) -> tuple[str, ...]:
        """Names of the terms that count and whose uncertainty nobody stated."""
        return tuple(t.name for t in self.terms if not t.is_stated and t.sensitivity)

    def to_mapping(self) -> dict[str, object]:
        """Return it as plain values, for a run file or JSON."""
        return {
            "terms": [term.to_mapping() for term in self.terms],
            "fluence_uj_cm2": self.fluence_uj_cm2,
            "convention": self.convention,
            "combined_rel": self.combined_rel,
            "expanded_rel": None if self.combined_rel is None else 2 * self.combined_rel,
            "links": self.links,
            "unstated": list(self.unstated),
            "photon_order": self.photon_order,
            "pulse_width_fs": self.pulse_width_fs,
            "pulse_width_sigma_fs": self.pulse_width_sigma_fs,
            "pulse_width_source": self.pulse_width_source,
            "pulse_cv": self.pulse_cv,
            "two_photon_factor": self.two_photon_factor,
            "absorptance": self.absorptance,
            "absorptance_sigma": self.absorptance_sigma,
        }

    def record(self, warnings: tuple[str, ...] = ()) -> FluenceBudget:
        """Return what of it is kept with a run.

        :param warnings: on the calibrations its numbers come from.
        """
        return replace(record_of(FluenceBudget, self.to_mapping()), warnings=warnings)


def fluence_budget(settings: PumpSettings, fluence_uj_cm2: float | None = None) -> Budget:
    """Return the budget of a bench.

    :param fluence_uj_cm2: where the terms that depend on it are taken (the meter's zero weighs more in weak
        light); half of what the bench can make by default.
    :raises ValueError: a size, an angle or an energy that is none.
    """
    s = settings
    full = fluence_of(s.max_pulse_energy_j, s.spot, s.convention, incidence_deg=s.incidence_deg)
    at = _MIDDLE * full if fluence_uj_cm2 is None else fluence_uj_cm2
    if not (math.isfinite(at) and at > 0):
        raise ValueError(f"no budget at {at} uJ/cm2")
    transmission = min(at / full, 1.0)
    return Budget(
        terms=(*_energy_terms(s, transmission), *_area_terms(s)),
        fluence_uj_cm2=at,
        convention=s.convention,
        photon_order=s.photon_order,
        pulse_width_fs=s.pulse_width_fs,
        pulse_width_sigma_fs=s.pulse_width_sigma_fs,
        pulse_width_source=_pulse_width_source(s),
        pulse_cv=s.pulse_cv,
        two_photon_factor=None if s.pulse_cv is None else mean_square_factor(s.pulse_cv),
        absorptance=s.absorptance,
        absorptance_sigma=s.absorptance_sigma,
    )


def scale_rel(budget: FluenceBudget | None) -> float | None:
    """Return the relative standard uncertainty (k = 1) of a budget; None if it is not stated.

    A budget that an older labctl stored took what nobody stated for 0: it is judged like any other.
    """
    if budget is None or set(budget.unstated) & set(HEAVY):
        return None
    return budget.combined_rel


def scale_statement(budget: FluenceBudget | None) -> str:
    """Say what is known of the scale of all fluences; which links are missing from a number is said with it.

    :param budget: None where there is none.

    >>> scale_statement(FluenceBudget(links=9, unstated=("pick-off ratio",)))
    'scale uncertainty: not stated (1 of 9 links)'
    >>> scale_statement(FluenceBudget(combined_rel=0.03, unstated=("repetition rate",)))
    'scale uncertainty: +-3 % (k = 1), without repetition rate'
    """
    known = scale_rel(budget)
    missing, links = ((), None) if budget is None else (budget.unstated, budget.links)
    if known is None:
        how_many = f" ({len(missing)} of {links} links)" if missing and links else ""
        return f"{SCALE}: {UNSTATED}{how_many or _named(missing)}"
    without = f", without {', '.join(missing)}" if missing else ""
    return f"{SCALE}: +-{100 * known:.2g} % (k = 1){without}"


def _named(missing: Sequence[str]) -> str:
    return f" ({', '.join(missing)})" if missing else ""


def _energy_terms(s: PumpSettings, transmission: float) -> tuple[Term, ...]:
    return (
        _term(s, METER, None, "", "meter_sigma_rel", 1.0),
        _background(s, transmission),
        _term(s, PICKOFF, s.pickoff_ratio, "", "pickoff_sigma_rel", 1.0),
        _term(s, "repetition rate", s.repetition_rate_hz, "Hz", "repetition_sigma_rel", -1.0),
        *_plate(s, transmission),
        _drift(s),
        *_wander(s),
        *_laser_drift(s),
    )


def _area_terms(s: PumpSettings) -> tuple[Term, ...]:
    both = _term(s, SPOT, None, "", "spot_sigma_rel", -2.0, note="one error, common to both sizes")
    x = _term(s, "spot x", s.spot.x_um, "um", "spot_x_sigma_rel", -1.0)
    y = _term(s, "spot y", s.spot.y_um, "um", "spot_y_sigma_rel", -1.0)
    if (
        s.spot_sigma_rel or s.spot_x_sigma_rel or s.spot_y_sigma_rel
    ):  # what is left out of one is in the other
        both, x, y = (_in_another(term, s.sources.get("spot", BENCH_FILE)) for term in (both, x, y))
    else:
        x, y = (_in_another(term, "") for term in (x, y))
    # d ln cos(theta) = -tan(theta) d theta
    per_deg = -math.radians(math.tan(math.radians(s.incidence_deg)))
    incidence = _term(
        s, "incidence angle", s.incidence_deg, "deg", "incidence_sigma_deg", per_deg, relative=False
    )
    return both, x, y, incidence


def _background(s: PumpSettings, transmission: float) -> Term:
    """Return the meter's zero: an offset, which weighs the more the less light falls on the meter."""
    if s.order.index("shutter") < s.order.index("pick-off"):
        source = s.sources.get("background_sigma_w", BENCH_FILE)
        note = "measured with the shutter closed and subtracted"
        return Term("meter zero", 0.0, "W", s.background_sigma_w, False, 0.0, source, note)
    seen = 1.0 if _unattenuated(s) else transmission
    power_w = s.max_pulse_energy_j * seen * s.repetition_rate_hz / s.pickoff_ratio
    name, key = "meter zero", "background_sigma_w"
    note = f"of {power_w * 1e6:.3g} uW at the meter"
    return _term(s, name, 0.0, "W", key, -1.0 / power_w, relative=False, note=note)


def _plate(s: PumpSettings, transmission: float) -> tuple[Term, ...]:
    """Return what the attenuator's curve adds where the meter does not see what the attenuator did."""
    zero = s.curve.zero_deg if isinstance(s.curve, MalusCurve) else None
    if not _unattenuated(s):
        note = "the meter is behind the attenuator"
        assumed = s.angle_sigma_deg == PumpSettings.__dataclass_fields__["angle_sigma_deg"].default
        source = s.sources.get("angle_sigma_deg", "assumed" if assumed else BENCH_FILE)
        return (Term("plate angle", zero, "deg", s.angle_sigma_deg, False, 0.0, source, note),)
    per_deg, per_leak = _slopes(s, transmission)
    note = f"at a transmission of {transmission:.3g}; the repeatability is a point-to-point error"
    angle = _term(s, "plate angle", zero, "deg", "curve_sigma_deg", per_deg, relative=False, note=note)
    if not isinstance(s.curve, MalusCurve):
        return (angle,)
    least = s.curve.t_min / s.curve.t_max
    leak = _term(s, "leakage", least, "1", "leak_sigma", per_leak, relative=False, note=note)
    return angle, leak


def _drift(s: PumpSettings) -> Term:
    """Return the drift since the chain was measured, less what of it the points of a run carry already."""
    name, key = "drift of the chain", "drift_sigma_rel"
    if not (s.fluence_wander_rel and s.drift_sigma_rel):
        return _term(s, name, None, "", key, 1.0)
    left = math.sqrt(max(s.drift_sigma_rel**2 - s.fluence_wander_rel**2, 0.0))
    note = f"of {s.drift_sigma_rel:.2g}, less the wander, which is in the interval of a threshold"
    return replace(_term(s, name, None, "", key, 1.0, note=note), uncertainty=left)


def _wander(s: PumpSettings) -> tuple[Term, ...]:
    if not s.fluence_wander_rel:
        return ()
    source = s.sources.get("fluence_wander_rel", BENCH_FILE)
    note = f"over {s.fluence_wander_time_s:g} s; in the interval of a threshold, not in the scale"
    return (Term("wander of the fluence", None, "", s.fluence_wander_rel, True, 0.0, source, note),)


def _laser_drift(s: PumpSettings) -> tuple[Term, ...]:
    if s.laser_drift_rel is None:
        return ()
    source = s.sources.get("laser_drift_rel", BENCH_FILE)
    note = "the meter is read before and after every exposure"
    return (Term("drift of the laser", None, "", s.laser_drift_rel, True, 0.0, source, note),)


def _slopes(s: PumpSettings, transmission: float) -> tuple[float, float]:
    """d ln T over d angle (per degree) and over d leakage, at a relative transmission."""
    if isinstance(s.curve, MalusCurve):
        least = s.curve.t_min / s.curve.t_max
        cos2 = min(max((transmission - least) / (1 - least), 0.0), 1.0)
        turn = 2 * math.acos(math.sqrt(cos2))  # T = least + (1 - least) cos^2(turn / 2)
        # For T far above the leakage this is 4 tan(2 (angle - zero)).
        per_rad = 2 * (1 - least) * math.sin(turn) / max(transmission, least, 1e-12)
        return math.radians(per_rad), (1 - cos2) / max(transmission, least, 1e-12)
    log_t = np.log(s.curve.transmission / np.max(s.curve.transmission))
    slope = np.gradient(log_t, s.curve.angle_deg)
    order = np.argsort(log_t)
    return float(np.interp(math.log(transmission), log_t[order], slope[order])), 0.0


def _unattenuated(s: PumpSettings) -> bool:
    return s.order.index("pick-off") < s.order.index("attenuator")


def _term(
    s: PumpSettings,
    name: str,
    value: float | None,
    unit: str,
    key: str,
    sensitivity: float,
    *,
    relative: bool = True,
    note: str = "",
) -> Term:
    uncertainty = float(getattr(s, key))
    source = s.sources.get(key) or (BENCH_FILE if uncertainty else UNSTATED)
    return Term(name, value, unit, uncertainty, relative, sensitivity, source, note)


def _in_another(term: Term, source: str) -> Term:
    """Do not count an error of the spot as left out that was stated, or left out, in another of the three."""
    return term if term.source != UNSTATED else replace(term, source=source)


def _pulse_width_source(s: PumpSettings) -> str:
    if s.pulse_width_fs is None:
        return UNKNOWN_PULSE_WIDTH if s.photon_order > 1 else "unknown"
    return s.sources.get("pulse_width_fs", BENCH_FILE)
