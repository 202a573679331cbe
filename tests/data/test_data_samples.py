"""Files of every schema ever published stay readable. A sample, once stored, is never written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_runs import DARK, PIXELS, START, make_point

from labctl.data.reader import read_run
from labctl.data.tables.table import read_table
from labctl.data.verify import verify

SAMPLES = Path(__file__).parent / "samples"


def test_there_is_a_sample_of_every_schema() -> None:
    assert [path.name for path in sorted(SAMPLES.glob("*.h5"))] == ["schema-1.h5"]
    assert all(path.stat().st_size < 200_000 for path in SAMPLES.iterdir())


def test_schema_1_reads_as_it_did() -> None:
    run = read_run(SAMPLES / "schema-1.h5")
    assert (run.status, run.start.procedure, run.start.sample) == ("finished", "fluence-sweep/1", "OLA")
    assert run.start.plan == START.plan
    assert run.start.identities == START.identities
    assert run.stored_result["threshold"] == {
        "status": "found",
        "value": 25.0,
        "ci95": [24.0, 26.0],
        "flags": [],
    }
    assert run.signal.tolist() == [4.0 * i**2 + 0.1 for i in range(8)]
    assert run.spectra.shape == (8, PIXELS)
    assert np.array_equal(run.frames(5), make_point(5).frames)
    assert np.array_equal(run.spectrum(5), make_point(5).spectrum)
    assert np.array_equal(run.darks[0].counts, DARK.counts)
    assert (run.result.threshold.status, run.result.threshold.ci95) == ("found", (24.0, 26.0))
    assert verify(run.path) == ()


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.h5")), ids=lambda path: path.stem)
def test_every_sample_can_be_fitted(path: Path) -> None:
    table = read_table(path)
    assert table.fluence_uj_cm2.size == table.signal.size >= 8
