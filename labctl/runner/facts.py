"""How a run begins: what is known of bench, plan and program before the first point."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from labctl import __version__
from labctl.model.plan import FlyPlan, ShotsPlan, SweepPlan
from labctl.model.pump import Bands
from labctl.model.run import RunStart
from procedures.plan import fluences

if TYPE_CHECKING:  # a process that only fits needs no drivers
    from labctl.session import Bench

PROCEDURE_ID = "fluence-sweep/1"
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


def run_start(
    bench: Bench, plan: SweepPlan | ShotsPlan, request: RunRequest, procedure: str = PROCEDURE_ID
) -> RunStart:
    """Return the record a run file begins with."""
    return RunStart(
        run_id=uuid.uuid4().hex,
        procedure=procedure,
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
        facts=bench.facts,
    )


def plan_mapping(plan: SweepPlan | ShotsPlan, bands: Bands) -> dict[str, object]:
    """Return a plan as plain values, a sweep's fluences written out, and its bands beside it."""
    listed = list(fluences(plan)) if isinstance(plan, SweepPlan) and not isinstance(plan, FlyPlan) else None
    return {
        **dataclasses.asdict(plan),
        **({} if listed is None else {"fluences": listed}),
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
