"""Between the energy of a pulse and the fluence on the sample, and what the fluence does afterwards.

Fluence is in uJ/cm2, energy in J, lengths in um. For a Gaussian spot of 1/e2 radii wx, wy:

- "peak":    F = 2 E / (pi wx wy), the fluence in the centre;
- "average": F = E / (pi wx wy), the energy over the area of the 1/e2 ellipse.

They differ by 2, so a fluence without its convention means nothing. For flat tops (an ellipse of semi-axes, a
stripe of half-lengths) the two are the same, E over the area.

At an angle of incidence theta from the normal the same pulse covers 1/cos theta more of the surface: F is
multiplied by cos theta, with the spot measured across the beam.
"""

import math

from labctl.model.pump import Convention, SpotSize

UJ_PER_J = 1e6
CM2_PER_UM2 = 1e-8


def effective_area_cm2(spot: SpotSize, convention: Convention) -> float:
    """Area by which an energy is divided to give the fluence at normal incidence, cm2.

    :raises ValueError: a size that is not positive and finite, an unknown shape or convention.

    >>> round(effective_area_cm2(SpotSize("gaussian", 100.0, 100.0), "peak") * 1e4, 4)
    1.5708
    """
    if not (0 < spot.x_um < math.inf and 0 < spot.y_um < math.inf):
        raise ValueError(f"spot of {spot.x_um} x {spot.y_um} um: both must be positive")
    if convention not in ("peak", "average"):
        raise ValueError(f"unknown fluence convention {convention!r}; peak or average")
    product_cm2 = spot.x_um * spot.y_um * CM2_PER_UM2
    if spot.shape == "gaussian":
        return math.pi * product_cm2 * (0.5 if convention == "peak" else 1.0)
    if spot.shape == "ellipse":
        return math.pi * product_cm2
    if spot.shape == "stripe":
        return 4.0 * product_cm2
    raise ValueError(f"unknown spot shape {spot.shape!r}; gaussian, ellipse or stripe")


def fluence_uj_cm2(
    pulse_energy_j: float, spot: SpotSize, convention: Convention, *, incidence_deg: float = 0.0
) -> float:
    """Fluence on the sample, uJ/cm2, of a pulse of this energy.

    :param incidence_deg: angle from the normal, -90 < angle < 90.
    :raises ValueError: an angle out of range; see ``effective_area_cm2``.

    >>> round(fluence_uj_cm2(12.566e-9, SpotSize("gaussian", 100.0, 100.0), "peak"), 2)
    80.0
    """
    return pulse_energy_j * UJ_PER_J * _cos(incidence_deg) / effective_area_cm2(spot, convention)


def pulse_energy_j(
    fluence_uj_cm2: float, spot: SpotSize, convention: Convention, *, incidence_deg: float = 0.0
) -> float:
    """Energy of a pulse, J, that makes this fluence (uJ/cm2) on the sample; inverse of ``fluence_uj_cm2``."""
    return fluence_uj_cm2 * effective_area_cm2(spot, convention) / UJ_PER_J / _cos(incidence_deg)


def convert_convention(
    fluence_uj_cm2: float, spot: SpotSize, source: Convention, target: Convention
) -> float:
    """The same pulse's fluence in the other convention, uJ/cm2."""
    return fluence_uj_cm2 * effective_area_cm2(spot, source) / effective_area_cm2(spot, target)


def _cos(incidence_deg: float) -> float:
    if not -90 < incidence_deg < 90:
        raise ValueError(f"angle of incidence {incidence_deg} degrees is not between -90 and 90")
    return math.cos(math.radians(incidence_deg))


def mean_square_factor(pulse_cv: float) -> float:
    """<F^2> / <F>^2 = 1 + CV^2 for pulses of coefficient of variation CV: what a two-photon signal gains by
    noise.

    >>> mean_square_factor(0.1)
    1.01
    """
    return 1.0 + pulse_cv**2


def stretched_pulse_fs(transform_limited_fs: float, gdd_fs2: float) -> float:
    """FWHM of a Gaussian pulse behind glass of this group-delay dispersion, fs.

    tau = tau0 sqrt(1 + (4 ln2 GDD / tau0^2)^2).

    :raises ValueError: a width that is not positive.

    >>> round(stretched_pulse_fs(35.0, 600.0))
    59
    """
    if not transform_limited_fs > 0:
        raise ValueError(f"pulse width {transform_limited_fs} fs must be positive")
    return transform_limited_fs * math.hypot(1.0, 4.0 * math.log(2.0) * gdd_fs2 / transform_limited_fs**2)
