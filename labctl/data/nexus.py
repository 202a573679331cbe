"""Build the NeXus tree of an empty run: everything known before the first point."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from labctl.data import schema
from labctl.data.files.hdf5 import create_growing
from labctl.data.files.lock import Holder
from labctl.data.shots import create_shots, shot_bytes
from labctl.model.errors import DataError
from labctl.model.mapping import plain
from labctl.model.plan import dark_shots
from labctl.model.run import RunFacts, RunStart

_FLOAT = np.dtype("<f8")
_POINTS, _EXPOSURES = 512, 10  # where a plan does not say


@dataclass(frozen=True, slots=True)
class Expected:
    """How big a run is planned to be; only the size of chunks and the disk check depend on it.

    ``shots`` are those that are kept one by one, in all; 0 where none are.
    """

    points: int
    exposures: int
    shots: int = 0


_SHOTS_OF_PASS = 500
"""Of a flight, darks included; only the size of chunks depends on it."""


def expected_size(plan: Mapping[str, object]) -> Expected:
    """Read the planned size from a plan: ``points`` or ``fluences``, ``average``, ``shots`` and darks.

    Of a sweep that keeps single shots these are its exposures: it has no others.
    """
    listed, shots = plan.get("fluences"), _positive(plan.get("shots"))
    points = len(listed) if isinstance(listed, (list, tuple)) and listed else _positive(plan.get("points"))
    points *= 2 if plan.get("direction") in ("up-down", "up_down") else 1
    few = (1, 1) if shots else (_POINTS, _EXPOSURES)
    if shots:  # dark ones before and after, and some while the blade moves, at every fluence
        fluences = plan.get("fluences_uj_cm2")
        bursts = points or (len(fluences) if isinstance(fluences, (list, tuple)) and fluences else 1)
        dark = _positive(plan.get("dark_shots")) or dark_shots(shots)
        shots = bursts * (shots + 2 * dark + shots // 50)
    shots += _SHOTS_OF_PASS * _positive(plan.get("passes"))
    return Expected(points or few[0], _positive(plan.get("average")) or few[1], shots)


def _positive(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def as_json(value: object) -> str:
    """Return JSON of plain values; paths, tuples and numpy scalars become text, lists and numbers."""
    return storable(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def build(file: h5py.File, start: RunStart, holder: Holder, expected: Expected) -> None:
    """Write the whole skeleton of a run into the empty ``file``."""
    start = replace(start, sample=storable(start.sample), spot=storable(start.spot))
    file.attrs.update(NX_class="NXroot", default=schema.ENTRY, creator="labctl", file_time=start.started_utc)
    entry = _group(file, schema.ENTRY, "NXentry", default="curve")
    title = f"{start.sample or 'sample'}: fluence sweep {start.run_id}"
    facts = {
        "title": title,
        "schema": schema.SCHEMA,
        "procedure": start.procedure,
        "experiment_identifier": start.run_id,
        "start_time": start.started_utc,
        "program_name": "labctl",
        "notes": start.note,
    }
    _texts(entry, facts)
    for name, width in schema.STATUS_BYTES.items():
        _fixed_text(entry, name, width, "running" if name == "status" else "")
    _texts(_group(entry, "user", "NXuser"), {"name": start.operator})
    _texts(_group(entry, "sample", "NXsample"), {"name": start.sample, "description": f"spot {start.spot}"})
    entry["sample"].attrs["spot"] = start.spot
    process = _group(entry, "analysis", "NXprocess")
    _texts(process, {"program": "labctl", "version": str(start.versions.get("labctl", ""))})
    _instruments(entry, start)
    _detector(file, start, expected)
    _plots(file, start, expected)
    _record(file, start, holder, expected)
    if expected.shots:
        create_shots(file, expected.shots, start.wavelength_nm.size)


def storable(text: str) -> str:
    """Return ``text`` as HDF5 can hold it: without NUL and without halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _group(parent: h5py.Group, name: str, nx_class: str, **attributes: object) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    group.attrs.update(attributes)
    return group


def _texts(group: h5py.Group, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        group.create_dataset(name, data=storable(text), dtype=h5py.string_dtype())


def _fixed_text(group: h5py.Group, name: str, width: int, text: str) -> None:
    """Create a text that can be overwritten in place: its bytes are allocated now, at a place of its own."""
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    kind = h5py.h5t.py_create(h5py.string_dtype("utf-8", width), logical=True)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, create))
    dataset[()] = np.bytes_(text.encode())


def _instruments(entry: h5py.Group, start: RunStart) -> None:
    instrument = _group(entry, "instrument", "NXinstrument")
    for role, (name, nx_class) in schema.INSTRUMENT_CLASSES.items():
        group = _group(instrument, name, nx_class, role=role)
        who = start.identities.get(role)
        if who:
            _texts(group, {"vendor": who.vendor, "model": who.model})
            _texts(group, {"serial_number": who.serial, "firmware": who.firmware})
    for role in sorted(set(start.identities) - set(schema.INSTRUMENT_CLASSES)):
        _texts(_group(instrument, _link_name(role), "NXcollection"), {"model": str(start.identities[role])})
    _laser(instrument["laser"], start.config.get("pump"))
    _texts(instrument["attenuator"], {"type": "half-wave plate before a polariser"})


def _laser(source: h5py.Group, pump: object) -> None:
    """Copy what the configuration says of the pump; what it does not say is left out."""
    _texts(source, {"type": "Optical Laser", "probe": "visible light"})
    if not isinstance(pump, Mapping):
        return
    known = (("wavelength_nm", "wavelength", "nm"), ("repetition_rate_hz", "frequency", "Hz"))
    for key, name, unit in (*known, ("pulse_width_fs", "pulse_width", "fs")):
        if isinstance(pump.get(key), (int, float)):
            source.create_dataset(name, data=float(pump[key])).attrs["units"] = unit


def _detector(file: h5py.File, start: RunStart, expected: Expected) -> None:
    pixels = (start.wavelength_nm.size,)
    detector = file[schema.DETECTOR]
    for name, dtype in schema.FRAME_KINDS:  # all of them now: a new name later would put the group at risk
        raw = create_growing(detector, name, dtype, pixels, expected.points * expected.exposures)
        raw.attrs.update(units="counts", long_name="Raw counts, every exposure of every point")
    darks = _group(detector, "darks", "NXcollection")
    for field, what in (("counts", "Mean dark or blank"), ("spread", "Standard deviation of one frame")):
        made = create_growing(darks, field, _FLOAT, pixels, max(16, expected.points // 4))
        made.attrs.update(units="counts", long_name=f"{what} (counts)")
    create_growing(darks, "table", schema.DARK_DTYPE, (), max(16, expected.points // 4))


def _plots(file: h5py.File, start: RunStart, expected: Expected) -> None:
    """The L-L curve, which viewers show at once, and the spectra."""
    entry = file[schema.ENTRY]
    title = f"L-L curve of {start.sample or 'the sample'}"
    curve = _group(entry, "curve", "NXdata", signal="signal", axes=["fluence"], fluence_indices=0)
    _texts(curve, {"title": title})
    convention = f"{start.convention} fluence"
    for name, unit, label in (
        ("fluence", "uJ/cm^2", f"Pump {convention} on the sample (uJ/cm^2)"),
        ("fluence_errors", "uJ/cm^2", f"Standard error of the {convention}, point to point (uJ/cm^2)"),
        ("signal", "counts/pulse", "Emission, dark-subtracted (counts per pulse)"),
        ("signal_errors", "counts/pulse", "Standard error of the emission (counts per pulse)"),
    ):
        made = create_growing(curve, name, _FLOAT, (), expected.points)
        made.attrs.update(units=unit, long_name=label)
        if name.startswith("fluence"):
            made.attrs["convention"] = start.convention
    spectra = _group(entry, "spectra", "NXdata", signal="spectrum", axes=["fluence", "wavelength"])
    spectra.attrs.update(fluence_indices=0, wavelength_indices=1)
    _texts(spectra, {"title": f"Emission spectra of {start.sample or 'the sample'}"})
    spectra["fluence"] = curve["fluence"]
    wavelength = spectra.create_dataset("wavelength", data=np.asarray(start.wavelength_nm, _FLOAT))
    wavelength.attrs.update(units="nm", long_name="Wavelength (nm)")
    file[schema.DETECTOR]["wavelength"] = wavelength
    made = create_growing(spectra, "spectrum", _FLOAT, wavelength.shape, expected.points)
    made.attrs.update(units="counts/pulse", long_name="Emission (counts per pulse and pixel)")


def _record(file: h5py.File, start: RunStart, holder: Holder, expected: Expected) -> None:
    """What labctl itself reads back. The points' rows come last: written last, they make a point exist."""
    record = _group(file[schema.ENTRY], "record", "NXcollection")
    run = {"run_id": start.run_id, "sample": start.sample, "operator": start.operator, "spot": start.spot}
    run |= {"note": start.note, "convention": start.convention}
    identities = {
        role: {"vendor": w.vendor, "model": w.model, "serial": w.serial, "firmware": w.firmware}
        for role, w in start.identities.items()
    }
    _texts(record, {"run": as_json(run), "config": as_json(start.config), "plan": as_json(start.plan)})
    _texts(record, {"identities": as_json(identities), "versions": as_json(start.versions)})
    _texts(record, {"writer": as_json(holder.to_mapping())})
    if start.facts is not None:
        _texts(record, {schema.FACTS.rpartition("/")[2]: facts_text(start.facts)})
    create_growing(record, "events", schema.EVENT_DTYPE, (), 256)
    create_growing(record, "result", np.dtype("u1"), (), 1 << 16)
    create_growing(record, "spikes", schema.SPIKE_DTYPE, (), 16 * expected.points)
    create_growing(record, schema.LEFT_OUT.rpartition("/")[2], schema.LEFT_OUT_DTYPE, (), expected.points)
    create_growing(record, "points", schema.POINT_DTYPE, (), expected.points)


def facts_text(facts: RunFacts) -> str:
    """Return what is stored of the facts of a run: those of its bench, less the axis, which is there."""
    info = facts.spectrometer
    bench = RunFacts(
        photon_order=facts.photon_order,
        convention=facts.convention,
        bands=facts.bands,
        settings=facts.settings,
        spectrometer=None if info is None else replace(info, wavelength_nm=np.empty(0)),
        warnings=facts.warnings,
    )
    return as_json(plain(bench))


def _link_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in text) or "_"


_SPARE_BYTES = 16 << 20
_SPECTRUM_BYTES, _FRAME_BYTES, _ROW_BYTES = 8, 2, 1024
_TABLE_BYTES = 64 << 10
_SPACE_PIECE = 1 << 20
_FIRST_SHOT_BYTES = 32 << 20
_CANNOT_ALLOCATE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""A file system that knows no allocation is written to instead."""


def needed_bytes(expected: Expected, pixels: int) -> int:
    """Return the bytes a run of this size takes, with 16 MB to spare for darks, tables and the CSV."""
    return run_bytes(expected, pixels) + _SPARE_BYTES


def run_bytes(expected: Expected, pixels: int) -> int:
    """Return the bytes that the frames, spectra, darks and rows of a run of this size take in the file."""
    per_point = pixels * (_SPECTRUM_BYTES + _FRAME_BYTES * expected.exposures) + _ROW_BYTES
    darks = 16 * 2 * _SPECTRUM_BYTES * pixels
    chunks = 1 + 1 / 8  # the last chunk of each dataset is not full
    return int(expected.points * per_point * chunks) + darks + _TABLE_BYTES


def first_bytes(expected: Expected, pixels: int) -> int:
    """Return the bytes to set aside in the file at its start: all of a run, of single shots 32 MB at most."""
    return run_bytes(expected, pixels) + min(shot_bytes(expected.shots, pixels), _FIRST_SHOT_BYTES)


def try_room(path: Path, size: int) -> None:
    """Let an empty file at ``path`` grow so far, by the system's own means.

    The HDF5 library takes the process with it when the file it creates may not grow, as under a quota.

    :raises OSError: it may not.
    """
    with path.open("wb") as probe:
        allocate = getattr(os, "posix_fallocate", None)
        try:
            if allocate is not None:
                allocate(probe.fileno(), 0, size)
                return
        except OSError as exc:
            if exc.errno not in _CANNOT_ALLOCATE:
                raise
        for _ in range(-(-size // _SPACE_PIECE)):
            probe.write(bytes(_SPACE_PIECE))


def check_space(directory: Path, expected: Expected, pixels: int, more_bytes: int = 0) -> None:
    """Check that ``directory`` has room for the planned run, and for ``more_bytes`` besides.

    :raises DataError: it has not, or cannot be asked.
    """
    needed = needed_bytes(expected, pixels) + shot_bytes(expected.shots, pixels) + more_bytes
    try:
        free = shutil.disk_usage(directory).free
    except OSError as exc:
        raise DataError(
            f"{directory}: {exc.strerror or exc}", "name another directory with --output"
        ) from exc
    if free < needed:
        raise DataError(
            f"{directory}: {free / 1e6:.0f} MB free, the run needs {needed / 1e6:.0f} MB",
            "free space there or name another directory with --output",
        )
