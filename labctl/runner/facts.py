"""How a run begins: what is known of bench, plan and program before the first point."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labctl import __version__
from labctl.model.pump import Bands, PumpSettings
from labctl.model.records import FloatArray, RunStart, SpectrometerInfo, SweepPoint
from procedures.curve import make_curve
from procedures.plan import SweepPlan, fluences

if TYPE_CHECKING:  # a process that only fits needs no drivers
    from labctl.session import Bench

PROCEDURE_ID = "fluence-sweep/1"
_KNOWN_REL = 0.03
_LIBRARIES = ("pymeasure", "pyvisa", "pyvisa-py", "seabreeze", "numpy", "scipy", "h5py")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the user says of a run; ``output`` is the directory of its files."""

    output: Path
    sample: str
    operator: str = ""
    spot: str = ""
    note: str = ""

    def stem(self) -> str:
        """Return the wished name of the files: sample, spot and local time."""
        words = [self.sample, *([f"spot-{self.spot}"] if self.spot else [])]
        return "-".join([*words, datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")])


@dataclass(frozen=True, slots=True)
class BenchFacts:
    """What the end of a run needs of a bench that is closed by then.

    :param warnings: on its calibrations.
    """

    info: SpectrometerInfo
    bands: Bands
    settings: PumpSettings
    warnings: tuple[str, ...] = ()

    @property
    def photon_order(self) -> int:
        """Photons that excite the sample together."""
        return self.settings.photon_order

    @property
    def convention(self) -> str:
        """What a fluence means: peak or average."""
        return self.settings.convention

    @classmethod
    def of(cls, bench: Bench) -> BenchFacts:
        """Collect them while the bench is open."""
        return cls(bench.roles.spectrometer.info, bench.bands, bench.pump.settings, bench.warnings)


def full_energies_j(points: Sequence[SweepPoint], facts: BenchFacts) -> FloatArray:
    """Return the pulse energy that each point tells of at full transmission, shape ``(n,)``.

    It is nan where the mount's repeatability says little of the transmission.
    """
    curve = make_curve(facts.settings.curve, (-360.0, 720.0))
    angles = [p.angle_deg for p in points]
    known = [curve.sigma_rel(angle, facts.settings.angle_sigma_deg) < _KNOWN_REL for angle in angles]
    full = [p.pulse_energy_j / curve.transmission(p.angle_deg) for p in points]
    return np.where(known, full, np.nan)


def run_start(bench: Bench, plan: SweepPlan, request: RunRequest) -> RunStart:
    """Return the record a run file begins with."""
    return RunStart(
        run_id=uuid.uuid4().hex,
        procedure=PROCEDURE_ID,
        sample=request.sample,
        operator=request.operator,
        spot=request.spot,
        note=request.note,
        started_utc=now_utc(),
        config=bench.config.resolved(),
        plan=plan_mapping(plan, bench.bands),
        identities=dict(bench.identities.items()),
        versions=versions(),
        wavelength_nm=bench.roles.spectrometer.info.wavelength_nm,
        convention=bench.pump.settings.convention,
    )


def plan_mapping(plan: SweepPlan, bands: Bands) -> dict[str, object]:
    """Return a plan as plain values, its fluences written out and its bands beside it."""
    return {
        **dataclasses.asdict(plan),
        "fluences": list(fluences(plan)),
        "emission_nm": list(bands.emission_nm),
        "lasing_nm": list(bands.lasing_nm),
    }


def now_utc() -> str:
    """Return the present time, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def versions() -> dict[str, str]:
    """Return the versions of everything a number may depend on."""
    found = {"labctl": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
