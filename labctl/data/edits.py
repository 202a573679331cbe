"""What was changed by hand after a run: an append-only file beside the run, which itself is never touched.

``<stem>.edits.jsonl`` holds one JSON object a line: the run's id, when, who, and either which point and
whether it was excluded or included again, or the bands over which signals are summed. The last word on a
point, and on the bands, counts; a last line that a kill has torn does not exist.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from labctl.data.files.guard import opened, read_json
from labctl.data.schema import RECORD
from labctl.model.errors import DataError
from labctl.model.mapping import plain, record_of
from labctl.model.pump import Bands
from labctl.model.results.sweep import Edits
from labctl.model.run import RunStart
from labctl.model.untrusted import open_regular, read_regular

_LARGEST = 16 << 20


class EditedRun(Protocol):
    """What of a run must be known to read its edits."""

    @property
    def path(self) -> Path:
        """Its HDF5 file."""

    @property
    def start(self) -> RunStart:
        """How it began."""

    @property
    def bands(self) -> Bands | None:
        """The bands it was measured with."""

    def __len__(self) -> int:
        """Return the number of its points."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change, as it was made.

    :param point: counted from 0 in order of acquisition; None where the bands were changed.
    :param bands: that were moved; those of the run itself take an earlier move back.
    """

    at_utc: str
    who: str
    point: int | None = None
    left_out: bool = False
    bands: Bands | None = None


def edits_path(h5: Path) -> Path:
    """Return where the edits of a run lie."""
    return h5.with_suffix(".edits.jsonl")


def read_edits(run: EditedRun) -> tuple[Edit, ...]:
    """Return every change that was made to a run, the oldest first; empty where none was made.

    :raises DataError: the file is damaged or belongs to another run; which line is said.
    """
    path = edits_path(run.path)
    return tuple(edit for _, edit in _lines(path, _content(path), run.start.run_id))


def left_out(run: EditedRun) -> frozenset[int]:
    """Return the points of a run that are left out now.

    :raises DataError: as :func:`read_edits`.
    """
    return edits_of(run).left_out


def edits_of(run: EditedRun) -> Edits:
    """Return what of a run is changed by hand now.

    :raises DataError: as :func:`read_edits`.
    """
    found = read_edits(run)
    last = {edit.point: edit.left_out for edit in found if edit.point is not None}
    out = frozenset(point for point, is_out in last.items() if is_out and point < len(run))
    bands = next((edit.bands for edit in reversed(found) if edit.bands is not None), None)
    return Edits(out, None if bands == run.bands else bands)


def record_edit(h5: Path, point: int, *, out: bool, who: str = "") -> Edit:
    """Leave a point out, or take it in again; on disk when this returns.

    :param who: the user of this computer by default.
    :raises DataError: it cannot be written, or the edits that are there are damaged or of another run.
    """
    return _record(h5, Edit(_now(), who or user_name(), point, out), {"point": point, "left_out": out})


def record_bands(h5: Path, bands: Bands, who: str = "") -> Edit:
    """Sum over other bands from now on; on disk when this returns. Parameters and errors as above."""
    return _record(h5, Edit(_now(), who or user_name(), bands=bands), {"bands": plain(bands)})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _record(h5: Path, edit: Edit, what: Mapping[str, object]) -> Edit:
    with opened(h5) as file:
        run_id = str(file.mapping(f"{RECORD}/run").get("run_id", ""))
    path = edits_path(h5)
    before = _content(path)
    for _ in _lines(path, before, run_id):
        pass
    line = json.dumps({"run": run_id, "at": edit.at_utc, "who": edit.who, **what}).encode()
    torn = before and not before.endswith(b"\n")
    try:
        # One write at the end of the file: two windows cannot mix their lines.
        with open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as stream:
            stream.write((b"\n" if torn else b"") + line + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as exc:
        raise DataError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
    return edit


def user_name() -> str:
    """Return the name of who is logged in, or an empty text where nobody knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, _LARGEST)
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror or exc}", "move it away") from exc


def _lines(path: Path, content: bytes, run_id: str) -> Iterator[tuple[int, Edit]]:
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, _edit(read_json(line), run_id)
        except (ValueError, RecursionError) as exc:
            if number == len(lines) or _was_torn(lines, number):
                continue
            raise DataError(f"{path}, line {number}: {exc}", "move it away to see all points") from exc


def _was_torn(lines: list[bytes], number: int) -> bool:
    """Whether a line is the beginning of one that a kill cut off; whoever wrote next has ended it."""
    line = lines[number - 1]
    return line.startswith(b'{"run": ') and not line.rstrip().endswith(b"}")


def _edit(stored: object, run_id: str) -> Edit:
    if not isinstance(stored, dict):
        raise ValueError("not a valid edit")
    point, out = stored.get("point"), stored.get("left_out")
    if stored.get("run") != run_id:
        raise ValueError("it belongs to a different run")
    when, who, bands = str(stored.get("at", "")), str(stored.get("who", "")), stored.get("bands")
    if isinstance(bands, dict):
        return Edit(when, who, bands=_ordered(record_of(Bands, bands)))
    if not isinstance(point, int) or isinstance(point, bool) or point < 0 or not isinstance(out, bool):
        raise ValueError("it names no existing point")
    return Edit(when, who, point, out)


def _ordered(bands: Bands) -> Bands:
    for low, high in (bands.emission_nm, bands.lasing_nm):
        if not low < high:
            raise ValueError(f"invalid band: {low} to {high} nm")
    return bands
