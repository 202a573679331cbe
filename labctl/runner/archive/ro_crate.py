"""A Research Object Crate of runs: the files, and a description that archives and notebooks read.

By ro-crate-py, which the extra ``labctl[archive]`` brings. The words are those of schema.org.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from labctl import __version__
from labctl.data.run import Run
from labctl.model.errors import DataError
from labctl.runner.documents.sections import sha256

_TYPES = {".h5": "application/x-hdf5", ".csv": "text/csv", ".html": "text/html"}
_NEXUS = "https://www.nexusformat.org/"


def write_crate(
    runs: Sequence[Run],
    tables: Mapping[Path, Sequence[Path]],
    report: Path,
    target: Path,
    now: datetime,
    licence: str = "",
) -> Path:
    """Write a crate as a zip file and return its path.

    :param tables: CSV files made of each run, by the run's path.
    :param report: of all of them.
    :param licence: address of the licence of the data; empty: not stated.
    :raises DataError: ro-crate-py is not installed.
    """
    try:
        from rocrate.model.contextentity import ContextEntity
        from rocrate.model.person import Person
        from rocrate.rocrate import ROCrate
    except ImportError as exc:
        raise DataError("an RO-Crate needs ro-crate-py", 'python3 -m pip install "labctl[archive]"') from exc
    crate: Any = ROCrate()
    samples = ", ".join(dict.fromkeys(run.start.sample for run in runs))
    crate.name = f"{samples}: {len(runs)} run{'' if len(runs) == 1 else 's'} of labctl"
    crate.description = (
        f"Emission of {samples} against pump fluence: spectra, raw frames, darks, configuration and results. "
        "The report (report.html) says what came of it."
    )
    crate.datePublished = now.isoformat(timespec="seconds")
    if licence:
        crate.license = licence
    program = crate.add(
        ContextEntity(
            crate,
            "#labctl",
            {"@type": "SoftwareApplication", "name": "labctl", "softwareVersion": __version__},
        )
    )
    people = {
        name: crate.add(Person(crate, f"#person-{number}", {"name": name})) for number, name in _people(runs)
    }
    if people:
        crate.creator = list(people.values())
    for run in runs:
        instruments = [crate.add(ContextEntity(crate, *one)) for one in _instruments(run)]
        stored = crate.add_file(str(run.path), run.path.name, properties=_run(run))
        stored["instrument"] = instruments
        if run.start.operator:
            stored["creator"] = people[run.start.operator]
        for path in tables[run.path]:
            made = crate.add_file(str(path), path.name, properties=_file(path, _said(path)))
            made["isBasedOn"] = stored
        if run.csv_path.is_file():
            crate.add_file(
                str(run.csv_path), run.csv_path.name, properties=_file(run.csv_path, "pymeasure's table")
            )
    about = crate.add_file(str(report), report.name, properties=_file(report, "Report of the runs"))
    about["creator"] = program
    crate.mainEntity = about
    crate.write_zip(str(target))
    return target


def _people(runs: Sequence[Run]) -> list[tuple[int, str]]:
    return list(enumerate(dict.fromkeys(run.start.operator for run in runs if run.start.operator)))


def _instruments(run: Run) -> list[tuple[str, dict[str, object]]]:
    """Return the instruments of a run: an id that is the same in every run, and what is known of each."""
    return [
        (
            f"#{role}-{who.model}-{who.serial}".replace(" ", "_"),
            {
                "@type": "IndividualProduct",
                "name": f"{who.vendor} {who.model}".strip(),
                "description": role.replace("_", " "),
                **({"serialNumber": who.serial} if who.serial else {}),
                **({"version": who.firmware} if who.firmware else {}),
            },
        )
        for role, who in run.sessions[-1].identities.items()
    ]


def _run(run: Run) -> dict[str, object]:
    start, threshold = run.start, run.result.threshold
    spot = f", spot {start.spot}" if start.spot else ""
    found: dict[str, object] = {
        **_file(run.path, f"{start.sample}{spot}: {start.procedure}, {run.status}"),
        "identifier": start.run_id,
        "dateCreated": start.started_utc,
        "conformsTo": {"@id": _NEXUS},
        "about": start.sample,
        "measurementTechnique": "photoluminescence against pump fluence",
    }
    if threshold.threshold_uj_cm2 is not None and threshold.ci95 is not None:
        low, high = threshold.ci95
        found["variableMeasured"] = (
            f"threshold {threshold.threshold_uj_cm2:.5g} uJ/cm2 ({threshold.convention}), 95 % interval "
            f"{low:.5g} to {high:.5g}"
        )
    return found


def _said(path: Path) -> str:
    what = "Light-light curve" if path.stem.endswith("_curve") else "Spectra, counts per pulse"
    return f"{what} as CSV"


def _file(path: Path, name: str) -> dict[str, object]:
    return {
        "name": name,
        "encodingFormat": _TYPES[path.suffix],
        "contentSize": str(path.stat().st_size),
        "sha256": sha256(path),
    }
