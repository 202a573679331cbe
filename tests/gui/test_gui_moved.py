"""Bands that are moved: signals and errors are those of a run that was measured with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.analysis.evaluation.evaluate import moved_points
from labctl.analysis.spectra.bands import Band, Bands
from labctl.analysis.spectra.reduce import ReducedPoint, reduce_exposures
from labctl.data import Run, read_run
from labctl.data.writer import RunWriter
from labctl.model import pump
from labctl.model.records import DarkRecord, FloatArray, SweepPoint
from labctl.model.run import RunStart, RunStop

AXIS = np.linspace(500.0, 560.0, 1024)
MEASURED = Bands(Band(505.0, 555.0, "whole"), Band(530.0, 550.0, "peaks"))
MOVED = Bands(Band(520.0, 556.0, "whole"), Band(536.0, 545.0, "peaks"))
EXPOSURES, PULSES, DARKS = 8, 100.0, 20


def shots(rng: np.random.Generator, light: float) -> FloatArray:
    """Exposures of a band and a line that flicker from shot to shot, the line more than the band."""
    band = np.exp(-0.5 * ((AXIS - 525) / 10) ** 2)
    line = np.exp(-0.5 * ((AXIS - 541) / 0.2) ** 2)
    power, gain = rng.normal(1.0, 0.02, (EXPOSURES, 1)), rng.normal(1.0, 0.2, (EXPOSURES, 1))
    mean = 1000.0 + light * power * (400 * band + 3000 * gain * line)
    return rng.poisson(mean).astype(np.float64)


def reduced(frames: FloatArray, dark: DarkRecord, bands: Bands) -> ReducedPoint:
    return reduce_exposures(
        AXIS, frames, dark.counts, bands=bands, pulses_per_exposure=PULSES, dark_exposures=DARKS
    )


def point_of(index: int, frames: FloatArray, found: ReducedPoint) -> SweepPoint:
    numbers: dict[str, Any] = dict.fromkeys(
        ("pulse_energy_j", "angle_deg", "power_before_w", "power_after_w", "power_sigma_w"), 1e-6
    )
    return SweepPoint(
        **numbers, index=index, direction="up", fluence_set_uj_cm2=10.0 + index,
        fluence_uj_cm2=10.0 + index, fluence_sigma_rel=0.01, integration_s=0.1, exposures=EXPOSURES,
        pulses_per_exposure=PULSES, signal=found.signal_whole, signal_sigma=found.signal_whole_sigma,
        peaks_signal=found.signal_peaks, peaks_signal_sigma=found.signal_peaks_sigma, fwhm_nm=None,
        equivalent_width_nm=None, peak_count=0, peak_wavelength_nm=None, exposure_cv=0.0, saturation=0.5,
        saturated_exposures=0, spikes_removed=len(found.spikes), dark_number=0, blank_number=None,
        temperature_c=None, dose_uj_cm2=1.0, elapsed_s=1.0, flags=(), frames=frames,
        spectrum=found.spectrum, spikes=found.spikes,
    )  # fmt: skip


def signals(run: Run, bands: Bands) -> list[SweepPoint]:
    moved = pump.Bands((bands.whole.low_nm, bands.whole.high_nm), (bands.peaks.low_nm, bands.peaks.high_nm))
    points, guessed = moved_points(run, run.plan, run.facts, moved)
    assert not guessed
    return points


@pytest.fixture
def measured(tmp_path: Path) -> tuple[Path, list[FloatArray], DarkRecord]:
    rng = np.random.default_rng(4)
    darks = rng.poisson(1000.0, (DARKS, AXIS.size)).astype(np.float64)
    dark = DarkRecord(0, "dark", darks.mean(axis=0), darks.std(axis=0, ddof=1), DARKS, 0.1, 0.5, None)
    frames = [shots(rng, light) for light in (0.5, 1.0, 2.0, 5.0)]
    frames[1][2, 700] += 9000.0  # a cosmic ray, inside the moved bands too
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(
            RunStart(
                run_id="r", procedure="fluence-sweep/1", sample="film", operator="", spot="", note="",
                started_utc="2025-05-01T10:00:00Z", config={}, plan={"points": 4}, identities={},
                versions={}, wavelength_nm=AXIS, convention="peak",
            )
        )  # fmt: skip
        writer.dark(dark)
        for index, shot in enumerate(frames):
            writer.append(point_of(index, shot, reduced(shot, dark, MEASURED)))
        writer.end(RunStop("finished", "", "2025-05-01T10:01:00Z"))
        return writer.paths.h5, frames, dark


@pytest.mark.parametrize("bands", [MEASURED, MOVED])
def test_errors_are_those_of_a_run_measured_so(
    measured: tuple[Path, list[FloatArray], DarkRecord], bands: Bands
) -> None:
    path, frames, dark = measured
    found = signals(read_run(path), bands)
    expected = [reduced(shot, dark, bands) for shot in frames]
    assert expected[1].spikes
    assert [p.signal for p in found] == [e.signal_whole for e in expected]
    assert [p.peaks_signal for p in found] == [e.signal_peaks for e in expected]
    assert [p.signal_sigma for p in found] == [e.signal_whole_sigma for e in expected]
    assert [p.peaks_signal_sigma for p in found] == [e.signal_peaks_sigma for e in expected]
    assert [p.fwhm_nm for p in found] == [e.fwhm_nm for e in expected]


def test_relative_errors_differ_from_those_before(
    measured: tuple[Path, list[FloatArray], DarkRecord],
) -> None:
    """The line flickers more than the band: a band that holds more of it has the larger relative error."""
    run = read_run(measured[0])
    narrow = signals(run, Bands(Band(538.0, 544.0, "whole"), Band(539.0, 543.0, "peaks")))
    relative = np.array([p.signal_sigma / p.signal for p in narrow])
    assert np.all(relative > 1.3 * run.signal_sigma / run.signal)
