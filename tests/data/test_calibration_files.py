"""Calibration files: what is written comes back; whatever else a file holds is refused with one error."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.data.calibrations import (
    MAX_BYTES,
    calibrations_in,
    is_expired,
    of_mapping,
    read_calibration,
    to_mapping,
    write_calibration,
)
from labctl.data.nexus import as_json
from labctl.model.calibration import KINDS, Calibration, Quantity
from labctl.model.errors import DataError
from labctl.model.records import Identity

MEASURED = Calibration(
    kind="attenuator",
    measured_utc="2026-11-23T10:15:00.123+00:00",
    valid_until_utc="2026-12-23T10:15:00+00:00",
    operator="me",
    instruments={
        "attenuator": Identity("Thorlabs", "ELL14", "11400123", "2.0"),
        "power_meter": Identity("T", "P", "7"),
    },
    bound_to=("attenuator",),
    quantities={
        "zero_deg": Quantity(12.34567890123, "deg", 0.011, 0.0),
        "leakage": Quantity(0.002, "1", 1e-4),
    },
    tables={"raw_angle_deg": (1.0, 2.5, 1 / 3), "raw_power_w": (1e-6, 2e-7, 5e-324)},
    facts={"form": "malus", "branch": "+", "wavelength_nm": 800.0, "checked": True},
    flags=("drift",),
    note="after the new polariser",
    version="0.4",
)


def damaged(**changes: object) -> dict[str, Any]:
    """A file whose checksum fits, so that the checks behind it are reached."""
    import hashlib

    stored: Any = json.loads(json.dumps(to_mapping(MEASURED)))
    body = {k: v for k, v in {**stored["calibration"], **changes}.items() if v != "left out"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return {**stored, "calibration": body, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_calibration(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    return said


def test_what_is_written_comes_back_in_every_digit(tmp_path: Path) -> None:
    path = write_calibration(MEASURED, tmp_path / "new")
    assert path == tmp_path / "new" / "attenuator-20261123-101500.json"
    assert read_calibration(path) == MEASURED
    assert json.loads(path.read_text())["sha256"] == to_mapping(MEASURED)["sha256"]


def test_a_copy_in_a_run_comes_back_too() -> None:
    copied = json.loads(as_json({"file": "attenuator-20261123-101500.json", **to_mapping(MEASURED)}))
    assert of_mapping(copied) == MEASURED


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    first = write_calibration(MEASURED, tmp_path)
    before = first.read_bytes()
    second = write_calibration(replace(MEASURED, note="again"), tmp_path)
    assert second.name == "attenuator-20261123-101500-2.json"
    assert first.read_bytes() == before
    assert read_calibration(second).note == "again"


def test_the_name_is_the_date_in_utc(tmp_path: Path) -> None:
    local = replace(MEASURED, measured_utc="2026-11-24T01:15:00+15:00")
    assert write_calibration(local, tmp_path).name == "attenuator-20261123-101500.json"


def test_numpy_and_mappings_of_any_kind_are_stored(tmp_path: Path) -> None:
    odd = replace(
        MEASURED,
        tables=MappingProxyType({"raw": tuple(np.arange(3)), "other": np.linspace(0, 1, 3)}),  # type: ignore[dict-item]
        facts={"n": np.int64(3), "yes": np.bool_(True), "k": 2},  # type: ignore[dict-item]
        note="two\nlines\x1b[31m",
    )
    again = read_calibration(write_calibration(odd, tmp_path))
    assert again.tables == {"raw": (0.0, 1.0, 2.0), "other": (0.0, 0.5, 1.0)}
    assert (again.facts["n"], again.facts["yes"], again.facts["k"]) == (3.0, True, 2.0)
    assert again.note == "two lines [31m"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tables": {"raw_power_w": (1.0, math.nan)}}, "tables.raw_power_w is not finite"),
        ({"quantities": {"zero_deg": Quantity(math.inf, "deg")}}, "quantities.zero_deg is not finite"),
        ({"quantities": {"zero_deg": Quantity(1.0, "deg", -1.0)}}, "negative"),
        ({"measured_utc": "today"}, "measured_utc is not a date"),
        ({"measured_utc": "2026-11-23T10:15:00"}, "has no time zone"),
        ({"valid_until_utc": "2026-11-01T10:15:00+00:00"}, "is before"),
        ({"bound_to": ("shutter",)}, "bound_to names an instrument"),
        ({"kind": "../../etc/passwd"}, "invalid kind"),
        ({"facts": {"x": object()}}, "a object cannot be stored"),
    ],
)
def test_what_no_calibration_may_hold_is_not_stored(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        write_calibration(replace(MEASURED, **changes), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_more_than_a_file_may_hold_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="bytes"):
        write_calibration(replace(MEASURED, tables={"raw": (1 / 3,) * 100_000}), tmp_path)


def test_a_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_calibration(MEASURED, tmp_path / "file")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"value": 0.002', '"value": 0.003'),
        ('"11400123"', '"11400124"'),
        ("2026-12-23T10:15:00+00:00", "2036-12-23T10:15:00+00:00"),
        ('"operator": "me"', '"operator": "you"'),
    ],
)
def test_a_file_edited_by_hand_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    path = write_calibration(MEASURED, tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert "was changed after it was measured" in refusal(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a calibration"),
        (b"\xff\xfe\x00", "is not a calibration"),
        (b"[]", "not a JSON object"),
        (b"{}", "does not have the schema"),
        (b'{"schema": "labctl-calibration/2"}', "newer labctl"),
        (b'{"schema": "labctl-calibration/x"}', "does not have the schema"),
        (b'{"schema": "labctl-calibration/1"}', "holds no calibration"),
        (b'{"schema": "labctl-calibration/1", "calibration": {}}', "checksum"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "not a number"),
        (b"[" * 100_000, "is not a calibration"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "is not a calibration"),
        (b" " * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "spot-1.json"
    path.write_bytes(content)
    assert said in refusal(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "spots"},
        {"kind": "left out"},
        {"more": 1},
        {"operator": "\x1b[2J"},
        {"operator": "\ud800"},
        {"note": "x" * 5000},
        {"instruments": []},
        {"instruments": {"attenuator": {"vendor": "a"}}},
        {"instruments": {"attenuator": {"vendor": "a", "model": 1, "serial": "", "firmware": ""}}},
        {"bound_to": "attenuator"},
        {"quantities": {"a": {"value": True, "unit": "", "statistical": 0, "scale": 0}}},
        {"quantities": {"a": {"value": 1, "unit": "", "statistical": 0, "scale": 0, "x": 1}}},
        {"quantities": {"": {"value": 1, "unit": "", "statistical": 0, "scale": 0}}},
        {"quantities": {"a": 1.0}},
        {"quantities": {str(i): 1.0 for i in range(1000)}},
        {"tables": {"a": 1.0}},
        {"tables": {"a": [[1.0]]}},
        {"tables": {"a": [10**400]}},
        {"facts": {"a": None}},
        {"flags": ["a", 1]},
        {"measured_utc": 5},
    ],
)
def test_what_a_right_checksum_covers_is_checked_as_well(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "attenuator-1.json"
    path.write_text(json.dumps(damaged(**changes)))
    assert "is damaged: " in refusal(path)


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "is not a file" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "none.json")
    refusal(tmp_path / ("x" * 300))
    refusal(Path("nul\0byte"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "spot-pipe.json")
        assert "is not a file" in refusal(tmp_path / "spot-pipe.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode()))
def test_no_bytes_raise_anything_but_a_data_error(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "fuzz.json"
    path.write_bytes(raw)
    refusal(path)


@settings(max_examples=120, deadline=None)
@given(key=st.sampled_from(sorted(Calibration.__dataclass_fields__)), value=JSON, sound=st.booleans())
def test_no_value_at_any_key_raises_anything_but_a_data_error(key: str, value: object, sound: bool) -> None:
    stored = damaged(**{key: value}) if sound else {**to_mapping(MEASURED), key: value, "sha256": value}
    said = ""
    try:
        again = of_mapping(stored, "file.json")
    except DataError as exc:
        said = str(exc)
    else:
        assert of_mapping(to_mapping(again)) == again
    assert said == "" or said.startswith("file.json: ")


@settings(max_examples=80, deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_one_wrong_byte_is_noticed(at: int, byte: int) -> None:
    raw = bytearray(json.dumps(to_mapping(MEASURED)).encode())
    at %= len(raw)
    changed = raw[at] != byte
    raw[at] = byte
    try:
        again = of_mapping(json.loads(bytes(raw)))
    except (DataError, ValueError, UnicodeDecodeError):
        assert changed
    else:
        assert again == MEASURED  # white space, or nothing


finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(categories=["L", "N", "P"]), max_size=20)
quantities = st.builds(Quantity, finite, words, finite.map(abs), finite.map(abs))
names = words.filter(bool)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    quantity=st.dictionaries(names, quantities, max_size=4),
    table=st.dictionaries(names, st.lists(finite, max_size=5).map(tuple), max_size=3),
    fact=st.dictionaries(names, words | finite | st.booleans(), max_size=4),
    who=words,
)
def test_any_calibration_survives_its_file(
    tmp_path: Path, kind: Any, quantity: Any, table: Any, fact: Any, who: str
) -> None:
    made = replace(MEASURED, kind=kind, quantities=quantity, tables=table, facts=fact, operator=who)
    path = write_calibration(made, tmp_path / str(len(list(tmp_path.iterdir()))))
    assert read_calibration(path) == made


def test_time_runs_out() -> None:
    assert not is_expired(MEASURED, datetime(2026, 12, 23, 10, 14, tzinfo=UTC))
    assert is_expired(MEASURED, datetime(2026, 12, 23, 10, 16, tzinfo=UTC))


def test_a_directory_is_listed_with_what_is_damaged(tmp_path: Path) -> None:
    good = write_calibration(MEASURED, tmp_path)
    (tmp_path / "spot-20260101-000000.json").write_text("{}")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "spot.txt").write_text("")
    (first, found), (second, error) = calibrations_in(tmp_path)
    assert (first, found) == (good, MEASURED)
    assert second.name.startswith("spot-")
    assert isinstance(error, DataError)
    with pytest.raises(DataError, match="No such file"):
        calibrations_in(tmp_path / "none")
