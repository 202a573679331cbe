"""Open a run that finished, was aborted, failed, was killed or still runs, and say which."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from labctl.data import schema
from labctl.data.files.guard import GuardedFile, opened
from labctl.data.files.lock import Holder, describe, is_alive
from labctl.data.run import (
    Event,
    Run,
    bench_facts,
    identity,
    is_sound_row,
    result_of,
    stored_frames,
    stored_rows,
)
from labctl.model.errors import DataError
from labctl.model.records import DarkRecord
from labctl.model.run import RunStart, RunStatus, RunStop

_FLOAT = np.dtype("<f8")
_STORED: tuple[str, ...] = ("running", "finished", "aborted", "failed")


def read_run(path: Path | str) -> Run:
    """Read a run from its ``.h5``, or from the ``.csv`` that lies beside one.

    A spectrum whose row was never written does not exist; a run left "running" by a process that is gone
    is "killed". Works on a file that is being written.

    :param path: the file.
    :raises DataError: missing, empty, damaged, not a run, or written by a newer labctl.
    """
    given = Path(path)
    h5 = given.with_suffix(".h5") if given.suffix.lower() == ".csv" else given
    if h5 != given and not h5.exists():
        raise DataError(f"{given}: there is no {h5.name} beside it", "labctl fit accepts the CSV")
    with opened(h5.absolute()) as file:
        _check_schema(file)
        status, reason, end_time = (file.text(f"{schema.ENTRY}/{name}") for name in _STATUS)
        if status not in _STORED:
            raise file.refusal(f"unknown status {status!r}")
        start = _start(file)
        shown, why = _judged(file, status, reason)
        stored: dict[str, object] = {} if status == "running" else _result(file)
        found = result_of(stored)
        stop = None if status == "running" else RunStop(cast(Any, status), reason, end_time, found)
        pixels = start.wavelength_nm.size
        points = whole_points(file, pixels)
        known = file.has(schema.LEFT_OUT)
        left_out = file.array(schema.LEFT_OUT, schema.LEFT_OUT_DTYPE, ()) if known else None
        darks, events = _darks(file, pixels), _events(file)
        return Run(file.path, shown, why, start, stop, darks, events, points, left_out, stored)


_STATUS = ("status", "status_reason", "end_time")


def _check_schema(file: GuardedFile) -> None:
    name, _, number = file.text(f"{schema.ENTRY}/schema").partition("/")
    if name != schema.SCHEMA_NAME or not number.isdecimal() or len(number) > 4:
        raise file.refusal("it does not have the schema labctl-run")
    if int(number) > schema.SCHEMA_NUMBER:
        raise DataError(f"{file.path} was written by a newer labctl (schema {number})", "update labctl")


def _judged(file: GuardedFile, status: str, reason: str) -> tuple[RunStatus, str]:
    """Tell running from killed."""
    if status != "running":
        return cast(RunStatus, status), reason
    holder = _holder(file)
    where = describe(holder.pid, holder.host, holder.since)
    if is_alive(holder, file.path):
        return "running", f"being written by {where}"
    return "killed", f"left unfinished by {where}"


def _holder(file: GuardedFile) -> Holder:
    stored = file.mapping(f"{schema.RECORD}/writer")
    pid = stored.get("pid")
    words = (str(stored.get(key, "")) for key in ("host", "boot", "started", "since"))
    return Holder(pid if isinstance(pid, int) else -1, *words)


def _start(file: GuardedFile) -> RunStart:
    record = {
        name: file.mapping(f"{schema.RECORD}/{name}")
        for name in ("run", "config", "plan", "identities", "versions")
    }
    run = {key: str(value) for key, value in record["run"].items()}
    convention = run.get("convention")
    if convention not in ("peak", "average"):
        raise file.refusal(f"unknown fluence convention {convention!r}")
    wavelength = cast(NDArray[np.float64], file.array(f"{schema.SPECTRA}/wavelength", _FLOAT, ()))
    stored = file.mapping(schema.FACTS) if file.has(schema.FACTS) else None
    facts = None if stored is None else bench_facts(stored, wavelength, convention)
    return RunStart(
        **{name: run.get(name, "") for name in ("run_id", "sample", "operator", "spot", "note")},
        procedure=file.text(f"{schema.ENTRY}/procedure"),
        started_utc=file.text(f"{schema.ENTRY}/start_time"),
        config=record["config"],
        plan=record["plan"],
        identities={role: identity(who) for role, who in record["identities"].items()},
        versions={name: str(version) for name, version in record["versions"].items()},
        wavelength_nm=wavelength,
        convention=cast(Literal["peak", "average"], convention),
        facts=facts,
    )


def _result(file: GuardedFile) -> dict[str, object]:
    """Read what came of the run. A disk that was full at the end leaves a status without a result."""
    stored = file.array(f"{schema.RECORD}/result", np.dtype("u1"), ()).tobytes()
    return file.parsed("result", stored.decode("utf-8", "replace")) if stored else {}


def whole_points(file: GuardedFile, pixels: int) -> NDArray[Any]:
    """Return the rows whose spectrum and frames are there; a kill can leave a last row without them.

    :raises DataError: a row in the middle lacks its arrays.
    """
    rows = file.array(f"{schema.RECORD}/points", schema.POINT_DTYPE, ())
    spectra = file.growing(f"{schema.SPECTRA}/spectrum", _FLOAT, (pixels,)).shape[0]
    stored = np.zeros(256, np.int64)
    for kind, (name, dtype) in enumerate(schema.FRAME_KINDS):
        if file.has(f"{schema.DETECTOR}/{name}"):
            stored[kind] = file.growing(f"{schema.DETECTOR}/{name}", dtype, (pixels,)).shape[0]
    first, count = rows["frames_first"], rows["frames_count"].astype(np.int64)
    there = stored[rows["frames_kind"]]
    whole = (first >= 0) & (count >= 0) & (first <= there) & (count <= there - first)
    whole &= np.arange(len(rows)) < spectra
    kept = int(np.flatnonzero(whole)[-1]) + 1 if whole.any() else 0
    while kept and not is_sound(file, rows[kept - 1], kept - 1, pixels):
        kept -= 1
    if not whole[:kept].all():
        raise file.refusal("the spectra of some points are missing")
    return rows[:kept]


def is_sound(file: GuardedFile, row: np.void, at: int, pixels: int) -> bool:
    """Return whether the checksums of the ``at``-th row and of its frames and spectrum are right."""
    if not is_sound_row(row):
        return False
    frames = stored_frames(file, row, pixels)
    spectrum = stored_rows(file, f"{schema.SPECTRA}/spectrum", at, 1, pixels)
    return bool(row["crc32_data"] == zlib.crc32(spectrum.tobytes(), zlib.crc32(frames.tobytes())))


def damaged_points(path: Path, points: NDArray[Any], pixels: int) -> list[int]:
    """Return the places of those points whose checksums, of row or of arrays, are not right."""
    with opened(path) as file:
        return [at for at, row in enumerate(points) if not is_sound(file, row, at, pixels)]


def _darks(file: GuardedFile, pixels: int) -> tuple[DarkRecord, ...]:
    table = file.array(f"{schema.DARKS}/table", schema.DARK_DTYPE, ())
    counts = file.array(f"{schema.DARKS}/counts", _FLOAT, (pixels,)).astype(np.float64)
    spread = file.array(f"{schema.DARKS}/spread", _FLOAT, (pixels,)).astype(np.float64)
    whole = min(len(table), len(counts), len(spread))
    return tuple(_dark(table[i], counts[i], spread[i]) for i in range(whole))


def _dark(row: np.void, counts: NDArray[np.float64], spread: NDArray[np.float64]) -> DarkRecord:
    kind: Literal["dark", "blank"] = "blank" if row["kind"] == b"blank" else "dark"
    return DarkRecord(
        int(row["number"]),
        kind,
        counts,
        spread,
        int(row["n"]),
        float(row["integration_s"]),
        float(row["at_s"]),
        _known(row["temperature_c"]),
        _known(row["fluence_uj_cm2"]),
    )


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _events(file: GuardedFile) -> tuple[Event, ...]:
    events: list[Event] = []
    for row in file.array(f"{schema.RECORD}/events", schema.EVENT_DTYPE, ()):
        text = bytes(row["text"]).decode("utf-8", "replace")
        if row["continued"] and events:
            text = events.pop().text + text
        events.append(Event(float(row["at_s"]), text))
    return tuple(events)
