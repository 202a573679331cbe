"""Ready-made scenes: the two samples of the source paper on an ideal, a typical and a nasty bench.

Numbers of the samples: Xiong et al., Photonics Research 2022, doi 10.1364/PRJ.442659. The paper's
thresholds are taken as the true local onset in peak fluence at normal incidence, which the paper does not
say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simulators.scene.chance import Stream, generator
from simulators.scene.settings import (
    Bleaching,
    BleachLaw,
    CameraSettings,
    Collection,
    HandSettings,
    LaserSettings,
    Law,
    Level,
    MeterKind,
    MeterSettings,
    MountSettings,
    OpticsSettings,
    RoomSettings,
    SampleSettings,
    SceneSettings,
    SpectrometerKind,
    StageSettings,
    ThermometerSettings,
)

SAMPLES: dict[str, SampleSettings] = {
    "oam": SampleSettings(
        name="oam", threshold_uj_cm2=257.34, q=990.0, band_nm=(524.0, 11.5, 13.5), luminescence_counts=660.0
    ),
    "ola": SampleSettings(name="ola", threshold_uj_cm2=79.81, q=1312.0, band_nm=(520.0, 10.5, 14.5)),
}

SPECTROMETERS: dict[SpectrometerKind, CameraSettings] = {
    "fine": CameraSettings(),
    # A wider pixel collects more of every line: less light is let in, so that peaks reach the same counts.
    "coarse": CameraSettings(
        kind="coarse", coefficients=(200.0, 0.405, -2.3e-6, 0.0), resolution_nm=1.3, throughput=0.22
    ),
}

USB_PIXELS: dict[str, tuple[int, tuple[tuple[int, int], ...]]] = {
    "USB2000PLUS": (2048, ((6, 20),)),
    "USB4000": (3840, ((0, 20), (3669, 3839))),
    "HR4000": (3840, ((0, 20), (3669, 3839))),
    "MAYA2000PRO": (2304, ((0, 3), (2064, 2067))),
    "QEPRO": (1044, ((0, 3), (1040, 1043))),
    "SR2": (2110, ((0, 23),)),
    "SR4": (3648, ()),
    "SR6": (2048, ()),
}
"""Pixels a spectrometer on USB sends, and those that see no light, by model (data sheets; seabreeze 2.11)."""

BLEACH_PULSES: dict[Bleaching, float] = {"off": float("inf"), "mild": 3e6, "strong": 3e5}
"""A sweep of 24 points with 10 exposures of 0.3 s spends about 1e5 pulses at threshold: 3 % and 28 %."""

_LASER: dict[Level, dict[str, Any]] = {
    "ideal": {},
    "typical": {
        "pulse_cv": 0.015, "drift_per_hour": 0.01, "slow_rel": 0.003, "pointing_um": 2.0, "missing": 1e-4,
        "dropouts_per_hour": 1.0,
    },
    "nasty": {
        "pulse_cv": 0.04, "drift_per_hour": 0.04, "slow_rel": 0.01, "slow_time_s": 60.0, "pointing_um": 6.0,
        "missing": 5e-3, "dropouts_per_hour": 20.0,
    },
}  # fmt: skip
_OPTICS: dict[Level, dict[str, Any]] = {
    "ideal": {},
    "typical": {"pickoff_rel": 0.001, "wedge_um": 1.0},
    "nasty": {"pickoff_rel": 0.006, "wedge_um": 8.0, "pickoff_time_s": 300.0},
}
_MOUNT: dict[Level, dict[str, Any]] = {
    "ideal": {},
    "typical": {"repeatability_deg": 0.03, "backlash_deg": 0.02},
    "nasty": {"repeatability_deg": 0.06, "backlash_deg": 0.1},
}
_CAMERA: dict[Level, dict[str, Any]] = {
    "ideal": {},
    "typical": {
        "read_counts": 10.0, "dark_counts_s": 3.0, "offset_counts_per_c": 0.5, "temperature_wander_c": 0.2,
        "warm_up_c": 0.5, "nonlinearity": 0.03, "pump_counts": 700.0, "harmonic_counts": 40.0,
        "pedestal_counts": 0.6, "stray_rel": 0.002, "room_counts_s": 4.0, "spikes_per_s": 0.02,
        "hot_pixels": 3,
    },
    "nasty": {
        "read_counts": 16.0, "dark_counts_s": 12.0, "offset_counts_per_c": 2.0, "temperature_wander_c": 0.6,
        "warm_up_c": 2.0, "nonlinearity": 0.08, "nonlinearity_error": 0.05, "clock_ppm": 30.0,
        "slit": "skewed", "pump_counts": 3000.0, "harmonic_counts": 300.0, "pedestal_counts": 8.0,
        "stray_rel": 0.01, "room_counts_s": 20.0, "spikes_per_s": 0.3, "hot_pixels": 15,
    },
}  # fmt: skip
_ROOM: dict[Level, dict[str, Any]] = {
    "ideal": {},
    "typical": {"step_rel": 0.05, "interval_s": 600.0},
    "nasty": {"step_rel": 0.3, "interval_s": 90.0},
}
_SAMPLE: dict[Level, dict[str, Any]] = {
    "ideal": {},
    "typical": {
        "saturation": 25.0, "lasing_cv": 0.1, "shift_nm": 0.06, "wander_nm": 0.01, "damage_uj_cm2": 1000.0,
    },
    "nasty": {
        "saturation": 8.0, "lasing_cv": 0.3, "weight_sigma": 0.8, "shift_nm": 0.15, "wander_nm": 0.04,
        "line_shape": "voigt", "damage_uj_cm2": 800.0,
    },
}  # fmt: skip

_HAND: dict[Level, dict[str, Any]] = {
    "ideal": {},
    "typical": {"knife_sigma_um": 0.5, "filter_rel": 0.01},
    "nasty": {"knife_sigma_um": 2.0, "filter_rel": 0.05},
}
_STAGE: dict[Level, dict[str, Any]] = {
    "ideal": {},
    "typical": {"repeatability_um": 0.5, "backlash_um": 2.0},
    "nasty": {"repeatability_um": 2.0, "backlash_um": 10.0},
}

_BRIGHT: dict[str, Any] = {"order": ("pick-off", "attenuator", "shutter", "sample"), "pickoff_ratio": 4.0}
"""Thermal and pyroelectric heads see nothing of some uW behind an attenuator; before it there is light."""

_NOISE_W: dict[MeterKind, float] = {"photodiode": 2e-9, "thermal": 2e-6, "pyro": 2e-7}
"""Of one sample; 2 nW leave 0.2 % of 0.1 uW after 100 samples. Thermal heads of this class start at 10 uW."""


def scene(
    sample: str,
    level: Level = "typical",
    seed: int = 1,
    *,
    spectrometer: SpectrometerKind = "fine",
    meter: MeterKind = "photodiode",
    collection: Collection = "centre",
    chaotic: bool = False,
    bleaching: Bleaching = "off",
    spot: int = 0,
    law: Law = "impulsive",
    bleach_law: BleachLaw = "recovering",
) -> SceneSettings:
    """Return the settings of a whole scene.

    :param sample: "oam" or "ola", in any case.
    :param level: how far laser, mount, meter and spectrometer are from ideal.
    :param seed: of all that is random.
    :param spectrometer: which grating.
    :param collection: light from the centre of the spot, or from all of it.
    :param chaotic: whether the lasing modes are redrawn from pulse to pulse.
    :param bleaching: whether the film fades, and how fast.
    :param law: how the emission grows above threshold.
    :param meter: kind of head; one that is not a photodiode stands in front of the attenuator.
    :param spot: number of the place on the film; 0 has the preset's threshold exactly.
    :param bleach_law: how it fades, where ``bleaching`` says that it does.
    :raises KeyError: there is no such sample, level or kind.
    """
    film = replace(SAMPLES[sample.lower()], collection=collection, chaotic=chaotic, spot=spot, law=law)
    return SceneSettings(
        seed=seed,
        level=level,
        laser=LaserSettings(**_LASER[level]),
        optics=OpticsSettings(**_OPTICS[level], **({} if meter == "photodiode" else _BRIGHT)),
        mount=MountSettings(**_MOUNT[level]),
        meter=_meter(meter, level),
        camera=replace(SPECTROMETERS[spectrometer], **_CAMERA[level]),
        room=RoomSettings(**_ROOM[level]),
        sample=replace(film, bleach_pulses=BLEACH_PULSES[bleaching], bleach_law=bleach_law, **_SAMPLE[level]),
    )


def uncalibrated(settings: SceneSettings, seed: int, meter_sigma_rel: float = 0.03) -> SceneSettings:
    """Return the same bench uncalibrated: the true values that a calibration finds are drawn again.

    Drawn are the plate's zero, its leakage, the pick-off ratio, both radii of the spot, the pulse energy, the
    repetition rate, the meter's scale, the spectrometer's true axis and resolution, and where the blade cuts.
    The device keeps the coefficients it had, and none for its linearity. A stage and a thermometer are there.

    :param settings: the bench as it was, see :func:`scene`.
    :param seed: of the draws alone.
    :param meter_sigma_rel: relative standard uncertainty of the meter's calibration.
    """
    rng = generator(seed, Stream.BENCH)
    optics = replace(
        settings.optics,
        zero_deg=float(rng.uniform(0.0, 90.0)),
        t_min=float(np.exp(rng.uniform(np.log(0.0005), np.log(0.01)))),
        pickoff_ratio=settings.optics.pickoff_ratio * float(rng.uniform(0.8, 1.25)),
        w_um=float(rng.uniform(60.0, 140.0)),
        w_y_um=float(rng.uniform(60.0, 140.0)),
    )
    laser = replace(
        settings.laser,
        max_pulse_energy_j=settings.laser.max_pulse_energy_j * float(rng.uniform(0.85, 1.15)),
        repetition_rate_hz=settings.laser.repetition_rate_hz * (1.0 + float(rng.uniform(-1e-3, 1e-3))),
    )
    error = meter_sigma_rel * float(rng.standard_normal())
    return replace(
        settings,
        laser=laser,
        optics=optics,
        meter=replace(settings.meter, scale_error=error, scale_sigma=meter_sigma_rel),
        camera=_unknown_axis(settings.camera, rng),
        hand=_hands(settings.level, rng),
        stage=StageSettings(**_STAGE[settings.level]),
        thermometer=ThermometerSettings(),
        nominal=settings,
    )


def _unknown_axis(camera: CameraSettings, rng: np.random.Generator) -> CameraSettings:
    """Return a spectrometer whose true axis is off the stored one by up to 2 pixels at either end."""
    c0, c1, c2, c3 = camera.coefficients
    shift, tilt = float(rng.uniform(-1.5, 1.5)), float(rng.uniform(-0.5, 0.5))
    slope = 2.0 * tilt / (camera.pixels - 1)
    return replace(
        camera,
        coefficients=(c0 + c1 * (shift - tilt), c1 * (1.0 + slope), c2, c3),
        stored=camera.coefficients,
        resolution_nm=camera.resolution_nm * float(rng.uniform(0.85, 1.2)),
        resolution_tilt=float(rng.uniform(-0.1, 0.1)),
        nonlinearity_stored=False,
    )


def _hands(level: Level, rng: np.random.Generator) -> HandSettings:
    x_um, y_um = (float(value) for value in rng.uniform(4600.0, 5400.0, 2))
    return HandSettings(x_um, y_um, **_HAND[level])


def with_usb_spectrometer(settings: SceneSettings, model: str) -> SceneSettings:
    """Return the scene with another spectrometer: its grating covers the same wavelengths with other pixels.

    :param model: one of :data:`USB_PIXELS`.
    """
    camera = settings.camera
    pixels, dark_pixels = USB_PIXELS[model]
    ratio = (camera.pixels - 1) / (pixels - 1)

    def stretched(coefficients: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        c0, c1, c2, c3 = coefficients
        return c0, c1 * ratio, c2 * ratio**2, c3 * ratio**3

    return replace(
        settings,
        camera=replace(
            camera,
            model=model,
            pixels=pixels,
            dark_pixels=dark_pixels,
            coefficients=stretched(camera.coefficients),
            stored=None if camera.stored is None else stretched(camera.stored),
            throughput=camera.throughput / ratio,
        ),
    )


def _meter(kind: MeterKind, level: Level) -> MeterSettings:
    """Scale every flaw of the head with its noise: a photodiode's are far smaller than a thermal head's."""
    if level == "ideal":
        return MeterSettings(kind=kind)
    noise = _NOISE_W[kind]
    worse = 1.0 if level == "typical" else 8.0
    light = 0.1e-9 * worse
    return MeterSettings(
        kind=kind, noise_w=noise, noise_range_rel=2e-5, zero_offset_w=0.05 * noise * worse, room_light_w=light
    )
