"""Strangers read the file: nexusformat and plain h5py find the L-L curve by the default attributes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_runs import PIXELS, START, finished_run, make_point
from nexusformat.nexus import nxload
from patience import PATIENCE_S

from labctl.data.reader import read_run
from labctl.data.schema import COLUMNS
from labctl.data.writer import RunWriter


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return finished_run(tmp_path)


@pytest.fixture(autouse=True)
def _no_lock_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NX_LOCKDIRECTORY", str(tmp_path))


def test_nexusformat_walks_to_the_curve(finished: Path) -> None:
    plot = nxload(str(finished)).plottable_data
    assert plot.nxname == "curve"
    assert plot.nxsignal.nxname == "signal"
    assert plot.nxsignal.nxvalue.tolist() == read_run(finished).signal.tolist()
    assert [axis.nxname for axis in plot.nxaxes] == ["fluence"]
    assert plot.nxerrors.nxvalue.tolist() == [1.5] * 8
    assert plot.nxaxes[0].attrs["long_name"] == "Pump peak fluence on the sample (uJ/cm^2)"
    assert plot.nxaxes[0].attrs["units"] == "uJ/cm^2"


def test_the_spectra_are_an_image_over_fluence_and_wavelength(finished: Path) -> None:
    data = nxload(str(finished))["entry/spectra"]
    assert data.nxsignal.shape == (8, PIXELS)
    assert [axis.shape for axis in data.nxaxes] == [(8,), (PIXELS,)]
    assert data.nxaxes[1].attrs["units"] == "nm"


def test_classes_and_content(finished: Path) -> None:
    with h5py.File(finished, "r") as file:
        classes: dict[str, str] = {}
        file.visititems(lambda name, item: classes.update({name: item.attrs.get("NX_class", "")}))
        for name, nx_class in {
            "entry": "NXentry",
            "entry/curve": "NXdata",
            "entry/instrument": "NXinstrument",
            "entry/instrument/laser": "NXsource",
            "entry/instrument/attenuator": "NXattenuator",
            "entry/instrument/monitor": "NXmonitor",
            "entry/instrument/detector": "NXdetector",
            "entry/sample": "NXsample",
            "entry/analysis": "NXprocess",
            "entry/analysis/peaks_curve": "NXdata",
        }.items():
            assert classes[name] == nx_class
        assert file["entry/analysis/result/threshold/threshold_uj_cm2"][()] == 25.0
        assert file["entry/analysis/result/threshold/ci95"][()].tolist() == [24.0, 26.0]
        assert file["entry/instrument/laser/frequency"].attrs["units"] == "Hz"
        assert file["entry/schema"][()] == b"labctl-run/1"
        assert file["entry/status"][()] == b"finished"
        assert file["entry/instrument/detector/raw"].dtype == np.uint16
        assert set(file["entry/analysis/columns"]) == {column.field for column in COLUMNS}


STRANGER = """
import sys, h5py
with h5py.File(sys.argv[1], "r") as file:  # asks for the lock that h5py asks for by default
    print(file["entry/curve/signal"][()].tolist(), file["entry/status"][()])
"""


def test_a_running_file_shows_its_curve_too(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(START)
        writer.append(make_point(0))
        command = [sys.executable, "-c", STRANGER, str(writer.paths.h5)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout == "[0.1] b'running'\n"
