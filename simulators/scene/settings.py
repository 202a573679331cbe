"""Everything that can be chosen about the scene. The defaults are a perfect bench; presets add the flaws.

Plain numbers with the unit in the name; relative quantities (``_rel``, ``_cv``) are fractions of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Element = Literal["attenuator", "pick-off", "shutter", "sample"]
Level = Literal["ideal", "typical", "nasty"]
MeterKind = Literal["photodiode", "thermal", "pyro"]
SpectrometerKind = Literal["fine", "coarse"]
Collection = Literal["centre", "whole"]
Bleaching = Literal["off", "mild", "strong"]
BleachLaw = Literal["recovering", "single", "double", "stretched"]
Law = Literal["impulsive", "hinge", "rollover", "quadratic", "s-curve", "none"]
LineShape = Literal["gaussian", "voigt"]
SlitShape = Literal["gaussian", "skewed"]


@dataclass(frozen=True, slots=True)
class LaserSettings:
    """A Ti:sapphire amplifier.

    :param max_pulse_energy_j: mean pulse energy ON THE SAMPLE when the attenuator transmits ``t_max = 1``.
    :param pulse_cv: white pulse-to-pulse noise, standard deviation over mean.
    :param drift_per_hour: slope of the slow trend at time 0; it turns round after some hours.
    :param slow_rel: standard deviation of a wander with correlation time ``slow_time_s``.
    :param pointing_um: rms displacement of the spot on the sample, per axis and pulse.
    :param missing: probability that a pulse is absent.
    :param dropouts_per_hour: intervals of ``dropout_s`` mean length in which the laser gives little light.
    """

    wavelength_nm: float = 800.0
    repetition_rate_hz: float = 1000.0
    pulse_width_fs: float = 35.0
    max_pulse_energy_j: float = 200e-9
    pulse_cv: float = 0.0
    drift_per_hour: float = 0.0
    slow_rel: float = 0.0
    slow_time_s: float = 120.0
    pointing_um: float = 0.0
    missing: float = 0.0
    dropouts_per_hour: float = 0.0
    dropout_s: float = 0.2


@dataclass(frozen=True, slots=True)
class OpticsSettings:
    """From the laser to the sample.

    :param pickoff_ratio: energy on the sample over energy on the meter with everything open.
    :param wedge_um: radius of the circle on which a turning wave plate carries the spot.
    :param w_um: 1/e2 radius of the Gaussian spot on the sample along x; ``w_y_um`` along y, None: round.
    """

    zero_deg: float = 12.0
    t_min: float = 0.002
    t_max: float = 1.0
    order: tuple[Element, Element, Element, Element] = ("attenuator", "pick-off", "shutter", "sample")
    pickoff_ratio: float = 24.0
    pickoff_rel: float = 0.0
    pickoff_time_s: float = 600.0
    wedge_um: float = 0.0
    w_um: float = 100.0
    incidence_deg: float = 0.0
    w_y_um: float | None = None

    @property
    def radii_um(self) -> tuple[float, float]:
        """Both 1/e2 radii of the spot."""
        return self.w_um, self.w_um if self.w_y_um is None else self.w_y_um


@dataclass(frozen=True, slots=True)
class MountSettings:
    """The rotation mount: error of every arrival, play, and how fast it turns."""

    repeatability_deg: float = 0.0
    backlash_deg: float = 0.0
    speed_deg_s: float = 200.0
    overhead_s: float = 0.06
    start_deg: float = 41.3


@dataclass(frozen=True, slots=True)
class ShutterSettings:
    """Delay from command to first motion across the beam, and the time the edge takes to cross it."""

    delay_s: float = 0.012
    crossing_s: float = 0.004
    settle_s: float = 0.004


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """The power meter's head.

    :param noise_w: standard deviation of ONE sample; ``noise_range_rel`` adds that part of the range.
    :param scale_error: relative error of the calibration; ``scale_sigma`` its stated standard uncertainty.
    :param room_light_w: what the room adds, before its steps.
    """

    kind: MeterKind = "photodiode"
    noise_w: float = 0.0
    noise_range_rel: float = 0.0
    zero_offset_w: float = 0.0
    room_light_w: float = 0.0
    scale_error: float = 0.0
    scale_sigma: float = 0.0


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """The spectrometer; counts are those of its 16-bit converter.

    :param model: as seabreeze calls it; only the FX is on TCP.
    :param dark_pixels: first and last of each range of pixels that see no light.
    :param coefficients: wavelength of pixel p is c0 + c1 p + c2 p^2 + c3 p^3, nm.
    :param throughput: scales all light that enters, so that both gratings suit the 16 bits.
    :param stored: the coefficients that the device believes; None: the true ones.
    :param resolution_tilt: relative excess of the slit's width at the long end, lack of it at the short one.
    :param nonlinearity: depth of the droop at full scale; ``nonlinearity_error`` is how far the stored
        coefficients are off, relative; without ``nonlinearity_stored`` the device has none.
    :param lamp_counts_s: counts per second in the highest pixel of a lamp's strongest line that is in range.
    :param pump_counts: scattered pump, counts per pulse at 100 uJ/cm2 summed over its line
        (``harmonic_counts`` likewise at 400 nm, growing as fluence squared); ``pedestal_counts`` is its
        featureless stray light summed over all pixels; ``stray_rel`` the part of the emission that goes the
        same way.
    :param room_counts_s: counts per pixel and second, before its steps.
    """

    kind: SpectrometerKind = "fine"
    model: str = "FX"
    pixels: int = 2136
    dark_pixels: tuple[tuple[int, int], ...] = ((14, 29),)
    coefficients: tuple[float, float, float, float] = (500.0, 0.0304, -1.9e-7, 0.0)
    resolution_nm: float = 0.15
    slit: SlitShape = "gaussian"
    throughput: float = 1.0
    electrons_per_count: float = 1.3
    read_counts: float = 5.0
    offset_counts: float = 1500.0
    dark_counts_s: float = 0.0
    offset_counts_per_c: float = 0.0
    temperature_c: float = 25.0
    temperature_wander_c: float = 0.0
    warm_up_c: float = 0.0
    nonlinearity: float = 0.0
    nonlinearity_error: float = 0.0
    clock_ppm: float = 0.0
    pump_counts: float = 0.0
    harmonic_counts: float = 0.0
    pedestal_counts: float = 0.0
    stray_rel: float = 0.0
    room_counts_s: float = 0.0
    spikes_per_s: float = 0.0
    hot_pixels: int = 0
    stored: tuple[float, float, float, float] | None = None
    resolution_tilt: float = 0.0
    nonlinearity_stored: bool = True
    lamp_counts_s: float = 300_000.0


@dataclass(frozen=True, slots=True)
class HandSettings:
    """What hands move, and how well.

    :param knife_x_um: reading of the blade's scale at which its edge cuts the spot's centre; ``knife_y_um``
        likewise along y.
    :param knife_sigma_um: standard deviation of the blade's true place when it is set by hand.
    :param filter_rel: standard deviation of a filter's transmission from what is written on it.
    """

    knife_x_um: float = 5000.0
    knife_y_um: float = 5000.0
    knife_sigma_um: float = 0.0
    filter_rel: float = 0.0


@dataclass(frozen=True, slots=True)
class StageSettings:
    """A motorised linear stage: error of every arrival, play, how fast it goes, and how far.

    :param margin_mm: room between the ends of the travel and those of the rail.
    """

    repeatability_um: float = 0.0
    backlash_um: float = 0.0
    travel_mm: float = 60.0
    margin_mm: float = 0.5
    speed_mm_s: float = 60.0
    overhead_s: float = 0.06
    start_mm: float = 21.7


@dataclass(frozen=True, slots=True)
class ThermometerSettings:
    """A sensor beside the sample, in a room whose temperature wanders.

    :param wander_c: standard deviation of the wander, with correlation time ``wander_s``.
    """

    temperature_c: float = 22.0
    wander_c: float = 0.4
    wander_s: float = 1800.0
    noise_c: float = 0.01


@dataclass(frozen=True, slots=True)
class HeaterSettings:
    """A heated plate under the sample.

    :param time_constant_s: with which it follows what the controller holds, and cools down.
    :param lag_s: with which the sample follows the plate.
    """

    time_constant_s: float = 90.0
    lag_s: float = 20.0
    noise_c: float = 0.02


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """Room light: relative size of its steps, and how long it stays the same."""

    step_rel: float = 0.0
    interval_s: float = 600.0


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """A random-laser film.

    :param threshold_uj_cm2: local onset, peak fluence at normal incidence, at spot 0.
    :param q: wavelength over FWHM of the brightest mode.
    :param band_nm: peak and left and right half widths of the luminescence band.
    :param luminescence_counts: counts per pulse at threshold, whole band, throughput 1.
    :param contrast: slope of the excess at its onset over the slope of the luminescence there (fluence on
        both axes linear).
    :param saturation: excess, in units of its initial slope times the threshold, at which it is halved.
    :param lasing_cv: fluctuation of the summed lasing light from shot to shot; ``weight_sigma`` of one mode's
        share (log-normal); ``shift_nm`` how far modes move when the fluence grows by one threshold;
        ``wander_nm`` their slow walk at rest.
    :param damage_uj_cm2: fluence at which the film is damaged at once and for good (never when infinite).
    :param bleach_pulses: pulses at threshold that bleach by 1/e (infinite: off); ``bleach_recovers`` the part
        that comes back, with ``bleach_recovery_s``, by the law "recovering"; the other laws, and what
        ``bleach_fast``, ``bleach_ratio`` and ``bleach_beta`` are, stand in :mod:`simulators.scene.sample`.
    :param spot_spread: relative standard deviation of threshold between spots; brightness spreads likewise.
    :param transmission: of the film and its glass for the pump, met by a meter behind it.
    :param quenching_per_c: part of its luminescence that the film loses with each degree above 22 C.
    """

    name: str = "ola"
    threshold_uj_cm2: float = 79.81
    q: float = 1312.0
    band_nm: tuple[float, float, float] = (520.0, 10.5, 14.5)
    luminescence_counts: float = 580.0
    law: Law = "impulsive"
    contrast: float = 12.0
    beta: float = 1e-3
    saturation: float = float("inf")
    modes: int = 8
    centre_nm: float = 540.0
    line_shape: LineShape = "gaussian"
    weight_sigma: float = 0.5
    lasing_cv: float = 0.0
    shift_nm: float = 0.0
    wander_nm: float = 0.0
    damage_uj_cm2: float = float("inf")
    damage_factor: float = 0.6
    bleach_pulses: float = float("inf")
    bleach_recovers: float = 0.4
    bleach_recovery_s: float = 300.0
    bleach_law: BleachLaw = "recovering"
    bleach_fast: float = 0.4
    bleach_ratio: float = 8.0
    bleach_beta: float = 0.6
    spot_spread: float = 0.08
    collection: Collection = "centre"
    chaotic: bool = False
    spot: int = 0
    transmission: float = 0.86
    quenching_per_c: float = 0.004


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """The whole bench, as :func:`simulators.presets.scene` makes it. Change with ``dataclasses.replace``.

    :param nominal: what the bench was meant to be, where nobody has measured what it is.
    """

    seed: int = 1
    level: Level = "typical"
    laser: LaserSettings = field(default_factory=LaserSettings)
    optics: OpticsSettings = field(default_factory=OpticsSettings)
    mount: MountSettings = field(default_factory=MountSettings)
    shutter: ShutterSettings = field(default_factory=ShutterSettings)
    meter: MeterSettings = field(default_factory=MeterSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    room: RoomSettings = field(default_factory=RoomSettings)
    sample: SampleSettings = field(default_factory=SampleSettings)
    hand: HandSettings = field(default_factory=HandSettings)
    stage: StageSettings | None = None
    thermometer: ThermometerSettings | None = None
    heater: HeaterSettings | None = None
    nominal: SceneSettings | None = None
