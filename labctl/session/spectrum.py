"""One spectrum from the spectrometer alone: nothing else is connected to, and no shutter opens."""

from __future__ import annotations

import logging
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import numpy as np

from drivers import registry
from drivers.support.spec import DriverConfig
from labctl.analysis.spectra.width import fwhm
from labctl.config import BenchConfig
from labctl.model.clock import Clock, ScaledClock, SteppedClock, Stop, hearing
from labctl.model.records import FloatArray, SpectrometerInfo
from labctl.model.roles import Spectrometer
from labctl.session.opening import bench_clock, measured_info
from labctl.session.watchdog.parent import alone
from procedures.point.stale_frames import StaleFrameFilter

log = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 0.1, 2.0
"""Exposure times that are tried: the first one, and the longest that is chosen by itself."""
FULL, LEAST, GOAL = 0.85, 0.4, 0.6
"""Share of the full scale of the highest pixel: above, below, and what is aimed at."""
CLIPPED = 0.99
LOOKS = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One spectrum, the mean of some exposures, as raw counts.

    :param info: of the spectrometer.
    :param counts: mean, shape ``(pixel,)``.
    :param sigma: standard error of the mean, counts, shape ``(pixel,)``; None of a single exposure.
    :param integration_s: of one exposure, s.
    :param exposures: number of exposures.
    :param temperature_c: of the detector, degrees Celsius; None where the device cannot tell.
    :param at_utc: when it was taken, ISO 8601.
    :param clipped: number of pixels at the end of the scale in any exposure.
    """

    info: SpectrometerInfo
    counts: FloatArray
    sigma: FloatArray | None
    integration_s: float
    exposures: int
    temperature_c: float | None
    at_utc: str
    clipped: int

    @property
    def peak(self) -> tuple[float, float]:
        """Wavelength (nm) and counts of the highest pixel."""
        highest = int(np.argmax(self.counts))
        return float(self.info.wavelength_nm[highest]), float(self.counts[highest])

    @property
    def level(self) -> float:
        """Median of all pixels, counts: offset, dark and scattered light."""
        return float(np.median(self.counts))

    @property
    def width_nm(self) -> float | None:
        """Full width at half maximum around the highest point above the level, nm; None without emission."""
        return fwhm(self.info.wavelength_nm, self.counts - self.level)


def take_spectrum(
    bench: BenchConfig | DriverConfig,
    seconds: float | None = None,
    exposures: int = 1,
    clock: Clock | None = None,
    stop: Stop | None = None,
) -> Snapshot:
    """Take one spectrum of the light that there is.

    :param bench: a bench, or the table of a spectrometer alone.
    :param seconds: exposure time, s; None: one that fills about 60 % of the scale, 2 s at most.
    :param exposures: number of exposures that are averaged, 1 or more.
    :raises InstrumentError: the spectrometer is not there, or fails.
    :raises SafetyStop: another program has the bench open.
    :raises Aborted: ``stop`` was set.
    """
    config = bench if isinstance(bench, BenchConfig) else None
    clock = clock or (ScaledClock() if config is None else bench_clock(config))
    table = bench if isinstance(bench, DriverConfig) else bench.driver("spectrometer")
    claim: AbstractContextManager[None] = nullcontext()
    if config is not None and not isinstance(clock, SteppedClock):
        claim = alone(config, log.warning, stop)
    with claim, hearing(stop):
        device = cast("Spectrometer", registry.connect("spectrometer", table, clock))
        try:
            info = device.info if config is None else measured_info(device.info, config) or device.info
            return _taken(device, info, clock, seconds, exposures, stop)
        finally:
            device.close()


def _taken(
    device: Spectrometer,
    info: SpectrometerInfo,
    clock: Clock,
    seconds: float | None,
    exposures: int,
    stop: Stop | None,
) -> Snapshot:
    fresh = StaleFrameFilter(device, clock, lambda: -math.inf)
    seconds = fresh.set_integration(seconds) if seconds is not None else _chosen(fresh, info, stop)
    frames = np.stack([fresh.acquire(stop).counts for _ in range(exposures)])
    sigma = frames.std(axis=0, ddof=1) / math.sqrt(exposures) if exposures > 1 else None
    return Snapshot(
        info,
        frames.mean(axis=0),
        sigma,
        seconds,
        exposures,
        fresh.temperature_c(),
        datetime.now(UTC).isoformat(timespec="seconds"),
        int((frames >= CLIPPED * info.max_counts).any(axis=0).sum()),
    )


def _chosen(fresh: StaleFrameFilter, info: SpectrometerInfo, stop: Stop | None) -> float:
    """Look at the light until the highest pixel stands well inside the scale."""
    shortest, longest = info.integration_min_s, min(info.integration_max_s, LONGEST_S)
    seconds = fresh.set_integration(min(max(FIRST_S, shortest), longest))
    for _ in range(LOOKS):
        share = float(fresh.acquire(stop).counts.max()) / info.max_counts
        if LEAST <= share <= FULL:
            break
        wanted = seconds / 10 if share > FULL else seconds * min(GOAL / max(share, 1e-6), 10.0)
        wanted = min(max(wanted, shortest), longest)
        if wanted == seconds:
            break
        seconds = fresh.set_integration(wanted)
    return seconds
