"""Damaged, foreign and hostile files end in one clear DataError, within bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_runs import finished_run
from patience import PATIENCE_S

from labctl.data.reader import read_run
from labctl.data.verify import verify
from labctl.model.errors import DataError


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return finished_run(tmp_path)


Spoil = Callable[[h5py.File, Path], None]


def _replace(file: h5py.File, name: str, **how: object) -> None:
    del file[name]
    file.create_dataset(name, **how)


def _external_link(file: h5py.File, path: Path) -> None:
    del file["entry/spectra/spectrum"]
    file["entry/spectra/spectrum"] = h5py.ExternalLink(str(path.with_name("other.h5")), "/x")


def _soft_link(file: h5py.File, path: Path) -> None:
    del file["entry/record"]
    file["entry/record"] = h5py.SoftLink("/entry/sample")


def _external_data(file: h5py.File, path: Path) -> None:
    _replace(
        file,
        "entry/spectra/spectrum",
        shape=(8, 32),
        dtype="f8",
        external=[(str(path), 0, h5py.h5f.UNLIMITED)],
    )


def _bomb(file: h5py.File, path: Path) -> None:
    big = {"shape": (1 << 21,), "dtype": "f8", "chunks": (1 << 20,), "compression": "gzip"}
    _replace(file, "entry/spectra/wavelength", data=np.zeros(1 << 21), **big)


def _huge_shape(file: h5py.File, path: Path) -> None:
    _replace(file, "entry/spectra/wavelength", shape=(1 << 40,), dtype="f8", chunks=(1 << 10,))


def _objects(file: h5py.File, path: Path) -> None:
    _replace(file, "entry/record/points", data=[b"cos\nsystem\n"] * 3, dtype=h5py.string_dtype())


def _virtual(file: h5py.File, path: Path) -> None:
    layout = h5py.VirtualLayout(shape=(8, 32), dtype="f8")
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "x", shape=(8, 32))
    del file["entry/spectra/spectrum"]
    file.create_virtual_dataset("entry/spectra/spectrum", layout)


def _deep_json(file: h5py.File, path: Path) -> None:
    _replace(file, "entry/record/config", data="[" * 100_000)


def _not_an_object(file: h5py.File, path: Path) -> None:
    _replace(file, "entry/record/plan", data=json.dumps([1, 2]))


def _newer(file: h5py.File, path: Path) -> None:
    _replace(file, "entry/schema", data="labctl-run/2")


def _foreign(file: h5py.File, path: Path) -> None:
    del file["entry"]


def _odd_status(file: h5py.File, path: Path) -> None:
    _replace(file, "entry/status", data="sleeping")


def _status_is_numbers(file: h5py.File, path: Path) -> None:
    _replace(file, "entry/status", data=np.arange(3))


SPOILS: dict[str, tuple[Spoil, str]] = {
    "external link": (_external_link, "links to another file"),
    "soft link": (_soft_link, "links to another file"),
    "external data": (_external_data, "outside the file"),
    "bomb": (_bomb, "compressed"),
    "huge shape": (_huge_shape, "larger than the file"),
    "objects": (_objects, "an unexpected type"),
    "virtual": (_virtual, "outside the file"),
    "deep json": (_deep_json, "not the JSON"),
    "no object": (_not_an_object, "not the JSON"),
    "newer": (_newer, "newer labctl"),
    "foreign": (_foreign, "entry/schema is missing"),
    "odd status": (_odd_status, "unknown status"),
    "status is numbers": (_status_is_numbers, "is not text"),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_hostile_file_is_refused(finished: Path, name: str) -> None:
    spoil, message = SPOILS[name]
    with h5py.File(finished, "r+") as file:
        spoil(file, finished)
    with pytest.raises(DataError, match=message) as caught:
        read_run(finished)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"#Procedure", "not an HDF5"), (None, "no such")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_run(path)


def test_a_cut_file_is_refused(finished: Path) -> None:
    whole = finished.read_bytes()
    for size in (9, 100, 5000, len(whole) // 2, len(whole) - 1):
        finished.write_bytes(whole[:size])
        with pytest.raises(DataError, match="damaged or cut short"):
            read_run(finished)


def test_a_heap_of_texts_without_an_end_is_refused(finished: Path) -> None:
    """The HDF5 library itself would read it for ever."""
    whole = bytearray(finished.read_bytes())
    second = whole.index(b"GCOL\x01\0\0\0") + 16
    second += 16 + (int.from_bytes(whole[second + 8 : second + 16], "little") + 7) // 8 * 8
    whole[second : second + 16] = bytes(16)
    finished.write_bytes(whole)
    with pytest.raises(DataError, match=r"its texts at byte \d+ have no end"):
        read_run(finished)


def test_verify_names_the_damaged_point(finished: Path) -> None:
    with h5py.File(finished, "r+") as file:
        file["entry/spectra/spectrum"][3, 5] += 1.0
        file["entry/instrument/detector/darks/counts"][0, 0] += 1.0
        file["entry/record/events"][0] = (1.0, 0, b"x")
    assert verify(finished) == ("point 4: checksum does not match", "dark 0: checksum does not match")


def test_a_flag_in_the_row_is_covered_by_its_checksum(finished: Path) -> None:
    with h5py.File(finished, "r+") as file:
        row = file["entry/record/points"][2]
        row["flags"] = b""
        file["entry/record/points"][2] = row
    assert verify(finished) == ("point 3: checksum does not match",)


FUZZ = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from labctl.data.reader import read_run
from labctl.model.errors import DataError
whole, path, rng = Path(sys.argv[2]).read_bytes(), Path(sys.argv[2] + ".bad"), np.random.default_rng(1)
for trial in range(60):
    data = np.frombuffer(whole, np.uint8).copy()
    at = rng.integers(0, len(data) if trial % 2 else 4096, 1 + trial % 4)
    data[at] = rng.integers(0, 256, at.size)
    path.write_bytes(data.tobytes())
    try:
        run = read_run(path)
        run.point(-1)
    except DataError:
        pass
print("survived")
"""


def test_random_damage_never_crashes_or_hangs_the_reader(finished: Path) -> None:
    """In a process of its own: a fault in the C library would end the test run."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", FUZZ, str(root), str(finished)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.stdout, done.stderr) == ("survived\n", "")
