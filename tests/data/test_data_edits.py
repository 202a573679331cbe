"""Points excluded by user: kept beside the run, append-only, honoured by the fit, refused when foreign."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_runs import DARK, START, make_point

from labctl.data import read_run
from labctl.data.edits import edits_of, edits_path, left_out, read_edits, record_bands, record_edit
from labctl.data.writer import RunWriter
from labctl.model.errors import DataError
from labctl.model.pump import Bands
from labctl.model.results.sweep import Edits
from labctl.model.run import RunStop
from labctl.runner.refit import refit


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(START)
        writer.dark(DARK)
        for number in range(6):
            writer.append(make_point(number, fluence_uj_cm2=20.0 + number))
        writer.end(RunStop("finished", "", "2025-05-01T10:01:00Z"))
        return writer.paths.h5


def test_the_last_word_counts_and_nothing_is_forgotten(stored: Path) -> None:
    before = stored.read_bytes()
    assert read_edits(read_run(stored)) == ()
    for point, out in ((3, True), (1, True), (3, False), (4, True)):
        record_edit(stored, point, out=out, who="A. B.")
    run = read_run(stored)
    assert left_out(run) == {1, 4}
    assert [(e.point, e.left_out, e.who) for e in read_edits(run)][2] == (3, False, "A. B.")
    assert stored.read_bytes() == before
    points = refit(stored).threshold.points
    assert points is not None
    assert list(np.flatnonzero(~points.used)) == [1, 4]
    assert "2 points excluded by user: 2, 5" in refit(stored).notes


def test_a_torn_last_line_is_none_and_the_next_is_whole(stored: Path) -> None:
    record_edit(stored, 2, out=True)
    path = edits_path(stored)
    path.write_bytes(path.read_bytes() + b'{"run": "r-1", "at": "20')
    assert left_out(read_run(stored)) == {2}
    record_edit(stored, 5, out=True)
    assert left_out(read_run(stored)) == {2, 5}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (json.dumps({"run": "another", "point": 1, "left_out": True}), "a different run"),
        (json.dumps({"run": "r-1", "point": "x", "left_out": True}), "no existing point"),
        (json.dumps({"run": "r-1", "point": -1, "left_out": True}), "no existing point"),
        ("[1]", "not a valid edit"),
        ("nonsense", "line 1"),
        ("[" * 100_000, "line 1"),
    ],
)
def test_damaged_and_foreign_edits_are_refused(stored: Path, content: str, word: str) -> None:
    edits_path(stored).write_text(content + "\n\n")
    with pytest.raises(DataError, match=word):
        left_out(read_run(stored))
    with pytest.raises(DataError, match=word):
        record_edit(stored, 1, out=True)
    with pytest.raises(DataError, match=word):
        refit(stored)


def test_points_that_do_not_exist_are_ignored(stored: Path) -> None:
    record_edit(stored, 999, out=True)
    assert left_out(read_run(stored)) == frozenset()


def test_bands_that_were_moved_are_kept_and_can_be_taken_back(stored: Path) -> None:
    moved = Bands((515.0, 555.0), (530.0, 550.0))
    record_edit(stored, 3, out=True)
    record_bands(stored, moved, who="A. B.")
    run = read_run(stored)
    assert edits_of(run) == Edits(frozenset({3}), moved)
    assert (read_edits(run)[-1].bands, read_edits(run)[-1].who) == (moved, "A. B.")
    assert any(
        note.startswith("bands changed by user: emission 515 to 555 nm") for note in refit(stored).notes
    )
    record_bands(stored, run.bands)
    assert edits_of(read_run(stored)) == Edits(frozenset({3}))


@pytest.mark.parametrize("bands", [{"emission_nm": [1, 2]}, {"emission_nm": [5, 2], "lasing_nm": [1, 2]}])
def test_bands_that_are_none_are_refused(stored: Path, bands: dict[str, object]) -> None:
    edits_path(stored).write_text(json.dumps({"run": "r-1", "bands": bands}) + "\n\n")
    with pytest.raises(DataError, match="line 1"):
        edits_of(read_run(stored))
