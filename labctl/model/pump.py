"""How the pump light reaches the sample: plain facts of a bench, without any behaviour.

Uncertainties are relative standard uncertainties (k = 1) of a SCALE, common to all points of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from labctl.model.records import FloatArray

Convention = Literal["peak", "average"]
Element = Literal["attenuator", "pick-off", "shutter", "sample"]


@dataclass(frozen=True, slots=True)
class MalusCurve:
    """T = t_min + (t_max - t_min) cos^2 2(angle - zero); maximum at ``zero_deg``.

    The branch used is the 45 degrees above (``branch`` = "+") or below ("-") the zero.
    """

    zero_deg: float
    t_min: float
    t_max: float
    branch: Literal["+", "-"] = "+"


@dataclass(frozen=True, slots=True)
class TableCurve:
    """A measured, strictly monotone table; both arrays have shape ``(n,)``, n >= 2."""

    angle_deg: FloatArray
    transmission: FloatArray


@dataclass(frozen=True, slots=True)
class SpotSize:
    """Size of the pump spot on the sample.

    "gaussian": 1/e2 radii; "ellipse": semi-axes of a flat top; "stripe": half-lengths of a rectangle. In um.
    """

    shape: Literal["gaussian", "ellipse", "stripe"]
    x_um: float
    y_um: float


@dataclass(frozen=True, slots=True)
class PumpSettings:
    """The chain from the laser to the sample.

    :param max_pulse_energy_j: nominal energy on the sample at full transmission; what can be reached is
        planned with it, what is reached is measured.
    :param pickoff_ratio: power on the sample over power on the meter, at any transmission, > 0.
    :param order: the four elements along the beam; "sample" is last.
    :param pulse_width_fs: at the sample, FWHM; None when unknown. Its standard uncertainty beside it.
    :param spot_sigma_rel: of both sizes alike, one error that counts twice; ``spot_x_sigma_rel`` and
        ``spot_y_sigma_rel`` are what each has of its own.
    :param angle_sigma_deg: repeatability of the mount; redrawn at every move, so no part of the scale.
    :param curve_sigma_deg: of the curve's zero, ``leak_sigma`` of its least transmission, both common to all.
    :param background_sigma_w: of the meter's zero, at the meter.
    :param drift_sigma_rel: how far the chain between meter and sample may have moved since it was measured.
    :param laser_drift_rel: of the pulses' energy, as it was watched; the meter follows it. None when unknown.
    :param fluence_wander_rel: standard deviation of the fluence on the sample over that of the meter, as it
        wanders in the course of a run (pick-off ratio, pointing); no part of the scale.
    :param fluence_wander_time_s: after which 1/e of a wander is left; None where there is none.
    :param pulse_cv: standard deviation of the pulses' energies over their mean; None when unknown. Its
        standard uncertainty beside it.
    :param absorptance: absorbed part of the light, for one-photon pumping alone; None when unknown.
    :param collection_radius_um: of the disc about the spot's middle whose emission is collected; None when
        unknown.
    :param collection_edge_rel: fluence at the edge of what is collected over that at the peak, in its place.
    :param sources: where a number or its uncertainty comes from, by the name of the field; what is not named
        comes from the bench file.
    """

    wavelength_nm: float
    repetition_rate_hz: float
    spot: SpotSize
    convention: Convention
    curve: MalusCurve | TableCurve
    pickoff_ratio: float
    max_pulse_energy_j: float
    order: tuple[Element, Element, Element, Element] = ("attenuator", "pick-off", "shutter", "sample")
    incidence_deg: float = 0.0
    pulse_width_fs: float | None = None
    photon_order: int = 2
    meter_sigma_rel: float = 0.0
    pickoff_sigma_rel: float = 0.0
    spot_sigma_rel: float = 0.0
    repetition_sigma_rel: float = 0.0
    spot_x_sigma_rel: float = 0.0
    spot_y_sigma_rel: float = 0.0
    incidence_sigma_deg: float = 0.0
    angle_sigma_deg: float = 0.05
    curve_sigma_deg: float = 0.0
    leak_sigma: float = 0.0
    background_sigma_w: float = 0.0
    drift_sigma_rel: float = 0.0
    laser_drift_rel: float | None = None
    pulse_width_sigma_fs: float = 0.0
    fluence_wander_rel: float = 0.0
    fluence_wander_time_s: float | None = None
    pulse_cv: float | None = None
    pulse_cv_sigma: float = 0.0
    absorptance: float | None = None
    absorptance_sigma: float = 0.0
    collection_radius_um: float | None = None
    collection_edge_rel: float | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What must never be exceeded on the sample. None means no limit of that kind.

    :param max_fluence_uj_cm2: in the bench's own convention.
    :param max_dose_uj_cm2: sum of fluence x pulses over one run.
    :param angle_range_deg: the mount may not leave it.
    :param set_ratio: allowed relative disagreement between the energy asked for and the energy measured.
    """

    max_fluence_uj_cm2: float
    max_pulse_energy_j: float | None = None
    max_average_power_w: float | None = None
    max_dose_uj_cm2: float | None = None
    angle_range_deg: tuple[float, float] | None = None
    set_ratio: float = 0.2


@dataclass(frozen=True, slots=True)
class Bands:
    """Where the emission is looked for, in nm; the lasing band lies inside or equals the emission's."""

    emission_nm: tuple[float, float]
    lasing_nm: tuple[float, float]
