"""What the calibrations of a simulated bench should find."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import polynomial

from benchmarks.tables import Array
from labctl.model.calibration import Calibration
from simulators.bench import SimulatedBench
from simulators.scene import Scene

LASING_NM = (530.0, 556.0)
MIDDLE_NM = 543.0


def true_quantities(bench: SimulatedBench) -> dict[str, float]:
    """Return the true value of what calibrations measure, by its name in their files.

    A blade sees the spot averaged over the laser's pointing, so that is what a radius is compared with.
    """
    scene = bench.scene
    truth, blur_um = scene.truth, 2 * scene.settings.laser.pointing_um
    return {
        "zero_deg": truth.zero_deg,
        "leakage": truth.t_min,
        "backlash": scene.settings.mount.backlash_deg,
        "ratio": truth.pickoff_ratio,
        "repetition_rate": truth.repetition_rate_hz,
        "pulse_energy": truth.max_pulse_energy_j,
        "x_um": math.hypot(truth.w_x_um, blur_um),
        "y_um": math.hypot(truth.w_y_um, blur_um),
        "resolution": scene.camera.resolution_nm(MIDDLE_NM),
    }


def off(c: Calibration, bench: SimulatedBench, name: str) -> float:
    """Return how far a quantity is from the truth; a plate looks the same every 90 deg."""
    error = c.quantities[name].value - true_quantities(bench)[name]
    return (error + 45.0) % 90.0 - 45.0 if name == "zero_deg" else error


def axis_off_pixels(c: Calibration, scene: Scene) -> Array:
    """Return the errors of a spectrometer's axis in the lasing band."""
    true_nm = scene.camera.wavelength_nm
    found_nm = polynomial.polyval(np.arange(true_nm.size), c.tables["wavelength_coefficients"])
    inside = (true_nm > LASING_NM[0]) & (true_nm < LASING_NM[1])
    return np.asarray((found_nm - true_nm)[inside] / np.gradient(true_nm)[inside])
