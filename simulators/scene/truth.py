"""What a measurement should find. For tests and benchmarks only; labctl never sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simulators.scene import Scene

RESOLUTION_POINTS = 9


@dataclass(frozen=True, slots=True)
class Truth:
    """What a measurement should find.

    :param threshold_uj_cm2: local onset at this spot, peak fluence.
    :param q: of the brightest mode, which is ``mode_wavelengths_nm[0]``; ``linewidth_nm`` its FWHM without
        the spectrometer. Neighbouring modes follow in no order.
    :param resolution_nm: FWHM of the slit function in the middle of the range, without the pixel's width;
        ``resolution_at_nm`` and ``resolutions_nm`` are wavelengths and the FWHM there.
    :param w_um: the same as ``w_x_um``.
    :param meter_scale: what the meter shows of one true watt at the laser's wavelength.
    :param wavelength_coefficients: true ones, nm as polynomial of the pixel, c0 first.
    :param nonlinearity: measured counts over this polynomial of them are linear, c0 first.
    :param knife_x_um: reading of the blade's scale at which its edge cuts the spot's centre.
    """

    threshold_uj_cm2: float
    q: float
    linewidth_nm: float
    mode_wavelengths_nm: tuple[float, ...]
    mode_linewidths_nm: tuple[float, ...]
    resolution_nm: float
    zero_deg: float
    t_min: float
    t_max: float
    w_um: float
    pickoff_ratio: float
    max_pulse_energy_j: float
    repetition_rate_hz: float
    wavelength_nm: float
    law: str
    contrast: float
    collection: str
    w_x_um: float
    w_y_um: float
    incidence_deg: float
    knife_x_um: float
    knife_y_um: float
    meter_scale: float
    pulse_width_fs: float
    pulse_cv: float
    wavelength_coefficients: tuple[float, ...]
    nonlinearity: tuple[float, ...]
    resolution_at_nm: tuple[float, ...]
    resolutions_nm: tuple[float, ...]


def truth_of(scene: Scene) -> Truth:
    """Collect the truth about a scene."""
    optics, laser, sample = scene.settings.optics, scene.settings.laser, scene.settings.sample
    modes, camera = scene.sample.modes.set, scene.camera
    places = np.linspace(camera.wavelength_nm[0], camera.wavelength_nm[-1], RESOLUTION_POINTS).tolist()
    return Truth(
        threshold_uj_cm2=scene.sample.threshold_uj_cm2,
        q=sample.q,
        linewidth_nm=float(modes.fwhm_nm[0]),
        mode_wavelengths_nm=tuple(modes.wavelength_nm.tolist()),
        mode_linewidths_nm=tuple(modes.fwhm_nm.tolist()),
        resolution_nm=scene.settings.camera.resolution_nm,
        zero_deg=optics.zero_deg,
        t_min=optics.t_min,
        t_max=optics.t_max,
        w_um=optics.w_um,
        pickoff_ratio=optics.pickoff_ratio,
        max_pulse_energy_j=laser.max_pulse_energy_j,
        repetition_rate_hz=laser.repetition_rate_hz,
        wavelength_nm=laser.wavelength_nm,
        law=sample.law,
        contrast=sample.contrast,
        collection=sample.collection,
        w_x_um=optics.radii_um[0],
        w_y_um=optics.radii_um[1],
        incidence_deg=optics.incidence_deg,
        knife_x_um=scene.hand.settings.knife_x_um,
        knife_y_um=scene.hand.settings.knife_y_um,
        meter_scale=1.0 + scene.meter.settings.scale_error,
        pulse_width_fs=laser.pulse_width_fs,
        pulse_cv=laser.pulse_cv,
        wavelength_coefficients=scene.settings.camera.coefficients,
        nonlinearity=camera.true_nonlinearity,
        resolution_at_nm=tuple(places),
        resolutions_nm=tuple(camera.resolution_nm(place) for place in places),
    )
