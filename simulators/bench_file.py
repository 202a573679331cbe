"""The bench file of a simulated bench: with the truth in it, or with what a data sheet would say."""

from __future__ import annotations

from collections.abc import Mapping

from simulators.scene import SceneSettings

_BENCH = """\
[bench]
name = "simulated {sample}, seed {seed}"
time_scale = {time_scale!r}
visa_library = "@py"
hand = "{hand}"

[attenuator]
driver = "thorlabs-ell14"
resource = "{attenuator}"
address = "0"

[power_meter]
driver = "thorlabs-pm100"
resource = "{power_meter}"
averages = 100

[spectrometer]
driver = "ocean"
resource = "{spectrometer}"
resolution_nm = {resolution_nm!r}

[shutter]
driver = "thorlabs-sc10"
resource = "{shutter}"
travel_s = 0.05
"""

_STAGE = """
[stage]
driver = "thorlabs-ell20"
resource = "{stage}"
address = "0"
"""

_THERMOMETER = """
[thermometer]
driver = "scpi-thermometer"
resource = "{thermometer}"
"""

_PUMP = """
[pump]
wavelength_nm = {wavelength_nm!r}
repetition_rate_hz = {repetition_rate_hz!r}
pulse_width_fs = {pulse_width_fs!r}
convention = "peak"
pickoff_ratio = {pickoff_ratio!r}
max_pulse_energy = "{max_pulse_energy_nj:g} nJ"
order = [{order}]
incidence_deg = {incidence_deg!r}
photon_order = 2
meter_sigma_rel = {meter_sigma_rel!r}

[pump.spot]
shape = "{shape}"
x_um = {w_x_um!r}
y_um = {w_y_um!r}

[pump.attenuator_curve]
kind = "malus"
zero_deg = {zero_deg!r}
t_min = {t_min!r}
t_max = {t_max!r}
branch = "+"

[limits]
max_fluence_uj_cm2 = {max_fluence!r}
max_pulse_energy = "150 nJ"
max_average_power = "{max_average_power_mw:g} mW"
max_dose_uj_cm2 = 1e10

[bands]
emission_nm = [505.0, 560.0]
lasing_nm = [530.0, 556.0]
"""

MAX_FLUENCE_UJ_CM2 = 700.0
CAUTIOUS_UJ_CM2 = {"ola": 300.0, "oam": 700.0}
"""Where the spot is not known, by sample: what its luminescence and its laser line need, and little more."""


def bench_file(
    settings: SceneSettings, resources: Mapping[str, str], hand: str, time_scale: float, *, nominal: bool
) -> str:
    """Return a complete bench file.

    :param settings: of the scene. :param resources: by role, optional ones among them.
    :param hand: address of the hands.
    :param nominal: keep the truth back: say what ``settings.nominal`` says, rounded.
    """
    values = _nominal(settings) if nominal else _true(settings)
    text = _BENCH + (_STAGE if "stage" in resources else "")
    text += (_THERMOMETER if "thermometer" in resources else "") + _PUMP
    laser, optics = settings.laser, settings.optics
    return text.format(
        **resources,
        **values,
        max_average_power_mw=150e-6 * float(values["repetition_rate_hz"]),
        hand=hand,
        sample=settings.sample.name.upper(),
        seed=settings.seed,
        time_scale=float(time_scale),
        wavelength_nm=laser.wavelength_nm,
        pulse_width_fs=laser.pulse_width_fs,
        order=", ".join(f'"{element}"' for element in optics.order),
        incidence_deg=optics.incidence_deg,
        meter_sigma_rel=settings.meter.scale_sigma,
    )


def _true(settings: SceneSettings) -> dict[str, float | str]:
    laser, optics = settings.laser, settings.optics
    w_x_um, w_y_um = optics.radii_um
    return {
        "repetition_rate_hz": laser.repetition_rate_hz,
        "pickoff_ratio": optics.pickoff_ratio,
        "max_pulse_energy_nj": laser.max_pulse_energy_j * 1e9,
        "shape": "gaussian" if w_x_um == w_y_um else "ellipse",
        "w_x_um": w_x_um,
        "w_y_um": w_y_um,
        "zero_deg": optics.zero_deg,
        "t_min": optics.t_min,
        "t_max": optics.t_max,
        "resolution_nm": settings.camera.resolution_nm,
        "max_fluence": MAX_FLUENCE_UJ_CM2,
    }


def _nominal(settings: SceneSettings) -> dict[str, float | str]:
    """Return what somebody would write who has the data sheets and a ruler, and has measured nothing."""
    known = settings.nominal or settings
    w_um = _rounded(known.optics.w_um)
    return {
        "repetition_rate_hz": _rounded(known.laser.repetition_rate_hz),
        "pickoff_ratio": _rounded(known.optics.pickoff_ratio),
        "max_pulse_energy_nj": _rounded(known.laser.max_pulse_energy_j * 1e9),
        "shape": "gaussian",
        "w_x_um": w_um,
        "w_y_um": w_um,
        "zero_deg": 0.0,
        "t_min": 0.0,
        "t_max": 1.0,
        "resolution_nm": _rounded(known.camera.resolution_nm),
        "max_fluence": CAUTIOUS_UJ_CM2.get(settings.sample.name, MAX_FLUENCE_UJ_CM2),
    }


def _rounded(value: float) -> float:
    """Return two significant figures."""
    return float(f"{value:.2g}")
