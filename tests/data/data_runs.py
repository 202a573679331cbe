"""Runs to write and to read: small, seeded, with every kind of point."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from labctl.data.writer import RunWriter
from labctl.model.records import DarkRecord, Identity, SweepPoint
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.model.run import RunStart, RunStop

PIXELS = 32
POINT = SweepPoint(
    index=0,
    direction="up",
    fluence_set_uj_cm2=20.0,
    fluence_uj_cm2=20.5,
    fluence_sigma_rel=0.01,
    pulse_energy_j=3.2e-9,
    angle_deg=12.25,
    power_before_w=1e-4,
    power_after_w=1.01e-4,
    power_sigma_w=1e-7,
    integration_s=0.1,
    exposures=3,
    pulses_per_exposure=100.0,
    signal=123.5,
    signal_sigma=1.5,
    peaks_signal=60.25,
    peaks_signal_sigma=0.75,
    fwhm_nm=25.5,
    equivalent_width_nm=None,
    peak_count=2,
    peak_wavelength_nm=540.25,
    exposure_cv=0.02,
    saturation=0.5,
    saturated_exposures=0,
    spikes_removed=0,
    dark_number=0,
    blank_number=None,
    temperature_c=-5.0,
    dose_uj_cm2=6150.0,
    elapsed_s=1.5,
    flags=("drift", "spikes"),
    frames=np.zeros((1, PIXELS)),
    spectrum=np.zeros(PIXELS),
)
START = RunStart(
    run_id="r-1",
    procedure="fluence-sweep/1",
    sample="OLA",
    operator="N. N.",
    spot="3",
    note="größer",
    started_utc="2025-05-01T10:00:00Z",
    config={"pump": {"wavelength_nm": 800.0, "repetition_rate_hz": 1000.0, "pulse_width_fs": None}},
    plan={"points": 4, "average": 3, "direction": "up"},
    identities={"attenuator": Identity("Thorlabs", "ELL14", "11400001", "1.0")},
    versions={"labctl": "0.1.0"},
    wavelength_nm=np.linspace(510.0, 560.0, PIXELS),
    convention="peak",
)
DARK = DarkRecord(
    0,
    "dark",
    np.linspace(90.0, 110.0, PIXELS),
    np.full(PIXELS, 3.0),
    n=12,
    integration_s=0.1,
    at_s=0.5,
    temperature_c=-5.0,
)


def make_point(index: int, exposures: int = 3, **changes: object) -> SweepPoint:
    """Return a point that can be told from others; ``changes`` are fields of the record."""
    rng = np.random.default_rng(index)
    arrays = {
        "frames": rng.integers(0, 65536, (exposures, PIXELS)).astype(np.float64),
        "spectrum": rng.normal(5.0, 1.0, PIXELS),
    }
    scalars = {"index": index, "fluence_uj_cm2": 20.0 + index, "signal": 4.0 * index**2 + 0.1}
    return dataclasses.replace(POINT, **(scalars | arrays | changes))  # type: ignore[arg-type]


def finished_run(directory: Path) -> Path:
    """Write a finished run of eight points into ``directory``."""
    with RunWriter(directory, "run") as writer:
        writer.begin(START)
        writer.dark(DARK)
        for index in range(8):
            writer.append(make_point(index))
        writer.event(2.0, "a new dark")
        result = SweepResult(BandThreshold("found", threshold_uj_cm2=25.0, ci95=(24.0, 26.0)))
        writer.end(RunStop("finished", "", "2025-05-01T10:10:00Z", result))
    return writer.paths.h5
