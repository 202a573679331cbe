"""Frozen records that travel between the rooms. Arrays in them are never written to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of the instrument at an address.

    :param vendor: the maker.
    :param model: the device, its head or sensor included.
    :param serial: serial number; empty where the device has none.
    :param firmware: version; empty where the device does not say.
    """

    vendor: str
    model: str
    serial: str
    firmware: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.vendor, self.model, self.serial, self.firmware) if part)


@dataclass(frozen=True, slots=True)
class PowerReading:
    """A power as the meter shows it, at the meter, not at the sample.

    :param power_w: mean of the readings, W.
    :param sigma_w: its standard error, W.
    :param n: number of readings.
    :param start_s: bench time at which the first reading began.
    :param stop_s: bench time at which the last reading was there.
    """

    power_w: float
    sigma_w: float
    n: int
    start_s: float
    stop_s: float


@dataclass(frozen=True, slots=True)
class SpectrometerInfo:
    """What a spectrometer says of itself.

    :param identity: who it is.
    :param max_counts: full scale of one pixel, counts.
    :param integration_min_s: shortest exposure, s.
    :param integration_max_s: longest exposure, s.
    :param wavelength_nm: shape ``(pixel,)``, rising.
    :param nonlinearity: polynomial coefficients c0..cn of counts (counts / poly(counts) is linear), or
        None where the device has none.
    :param resolution_nm: FWHM of the slit function, from the configuration; None when unknown.
    :param resolution_sigma_nm: its standard error; None where it is not stated.
    """

    identity: Identity
    wavelength_nm: FloatArray
    max_counts: float
    integration_min_s: float
    integration_max_s: float
    nonlinearity: tuple[float, ...] | None = None
    resolution_nm: float | None = None
    resolution_sigma_nm: float | None = None


@dataclass(frozen=True, slots=True)
class Spectrum:
    """One raw exposure.

    :param counts: raw counts, shape ``(pixel,)``.
    :param integration_s: exposure time that the device confirms, s.
    :param start_s: bench time before which the exposure cannot have begun.
    :param stop_s: bench time at which it was read.
    :param temperature_c: of the detector, degrees Celsius; None where the device cannot tell.
    """

    counts: FloatArray
    integration_s: float
    start_s: float
    stop_s: float
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class DarkRecord:
    """The mean of several exposures without the emission, at one integration time.

    :param number: what points refer to it by.
    :param kind: "dark" (shutter closed) or "blank" (pump on a blank, at one fluence).
    :param counts: mean raw counts, shape ``(pixel,)``.
    :param spread: standard deviation of a single frame, counts, shape ``(pixel,)``.
    :param n: number of exposures.
    :param integration_s: exposure time, s.
    :param at_s: bench time at which it was taken.
    :param temperature_c: of the detector, degrees Celsius; None where the device cannot tell.
    :param fluence_uj_cm2: of a blank, uJ/cm2; None for a dark.
    """

    number: int
    kind: Literal["dark", "blank"]
    counts: FloatArray
    spread: FloatArray
    n: int
    integration_s: float
    at_s: float
    temperature_c: float | None = None
    fluence_uj_cm2: float | None = None


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One fluence, measured. Scalars are the CSV's row; arrays go to the HDF5 file only.

    :param index: number of the step in the plan, from 0.
    :param direction: of the step that led here.
    :param fluence_set_uj_cm2: what was asked for, uJ/cm2.
    :param pulse_energy_j: on the sample, J, from the same readings as the fluence.
    :param angle_deg: of the attenuator, read back, degrees.
    :param power_before_w: power at the meter before the exposures, W.
    :param power_after_w: the same after them, W.
    :param power_sigma_w: standard error of their mean, W.
    :param integration_s: exposure time, s.
    :param exposures: number of exposures.
    :param pulses_per_exposure: laser pulses in one exposure.
    :param signal_sigma: standard error of ``signal``.
    :param peaks_signal: counts per pulse integrated over the lasing peaks.
    :param peaks_signal_sigma: its standard error.
    :param fwhm_nm: width of the emission, nm; None without emission.
    :param equivalent_width_nm: integral over maximum, nm; None without emission.
    :param peak_count: number of narrow peaks.
    :param peak_wavelength_nm: wavelength of the highest point, nm.
    :param exposure_cv: scatter of the signal from exposure to exposure, relative.
    :param spikes_removed: number of cosmic spikes taken out.
    :param dark_number: the dark that was subtracted.
    :param blank_number: the blank that was subtracted, if any.
    :param temperature_c: of the detector, degrees Celsius; None where the device cannot tell.
    :param elapsed_s: bench time since the run began, s.
    :param fluence_uj_cm2: on the sample, in the run's convention, from the readings round the exposures.
    :param fluence_sigma_rel: relative point-to-point standard error of that mean, without any scale error.
    :param frames: raw counts, shape ``(exposure, pixel)``.
    :param spectrum: dark-subtracted, linearised, spike-free mean in counts per pulse, shape ``(pixel,)``.
    :param signal: counts per pulse integrated over the whole-emission band.
    :param saturation: highest raw count inside the bands over the saturation level, 0 to 1.
    :param saturated_exposures: exposures with a saturated pixel inside the bands or their margin.
    :param dose_uj_cm2: accumulated sum of fluence x pulses since the run began, this point included.
    :param flags: short words, e.g. "saturated", "drift", "spikes", "low_power", "shutter_open".
    :param spikes: exposure, pixel and raw counts of each spike.
    :param left_out: exposures that the numbers were not reduced from, counted from 0, each with why
        ("saturated", "straddling"); None if unknown.
    """

    index: int
    direction: Literal["up", "down"]
    fluence_set_uj_cm2: float
    fluence_uj_cm2: float
    fluence_sigma_rel: float
    pulse_energy_j: float
    angle_deg: float
    power_before_w: float
    power_after_w: float
    power_sigma_w: float
    integration_s: float
    exposures: int
    pulses_per_exposure: float
    signal: float
    signal_sigma: float
    peaks_signal: float
    peaks_signal_sigma: float
    fwhm_nm: float | None
    equivalent_width_nm: float | None
    peak_count: int
    peak_wavelength_nm: float | None
    exposure_cv: float
    saturation: float
    saturated_exposures: int
    spikes_removed: int
    dark_number: int
    blank_number: int | None
    temperature_c: float | None
    dose_uj_cm2: float
    elapsed_s: float
    flags: tuple[str, ...]
    frames: FloatArray = field(repr=False)
    spectrum: FloatArray = field(repr=False)
    spikes: tuple[tuple[int, int, float], ...] = field(default=(), repr=False)
    left_out: tuple[tuple[int, str], ...] | None = field(default=None, repr=False)
