"""``[calibrations]`` of a bench file: what calibrations supply, and what is refused of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration_files import calibration, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.config import EXAMPLE, BenchConfig, load_bench, parse_bench
from labctl.config.bench import stored_bench
from labctl.data.calibrations import to_mapping
from labctl.data.nexus import as_json
from labctl.model.calibration import KINDS, Quantity
from labctl.model.errors import ConfigError
from labctl.model.pump import MalusCurve, TableCurve

BENCH = EXAMPLE[: EXAMPLE.index("\n[calibrations]\n")]
CURVE = BENCH[BENCH.index("[pump.attenuator_curve]") : BENCH.index("# Checked before")]
PLAIN: dict[str, Any] = json.loads(as_json(parse_bench(BENCH).resolved()))
finite = st.floats(allow_nan=False, allow_infinity=False)
SPOT = BENCH[BENCH.index("[pump.spot]") : BENCH.index("# Malus' law")]


def without(text: str, *parts: str) -> str:
    for part in parts:
        assert part in text
        text = text.replace(part, "", 1)
    return text


def written(directory: Path, text: str) -> Path:
    file = directory / "bench.toml"
    file.write_text(text, encoding="utf-8")
    return file


def loaded(directory: Path, *calibrations: Any, text: str = BENCH, rules: str = "") -> BenchConfig:
    return load_bench(written(directory, text + stored(directory, *calibrations, rules=rules)))


def refusal(directory: Path, *calibrations: Any, text: str = BENCH, rules: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(directory, *calibrations, text=text, rules=rules)
    said = str(caught.value)
    assert said.startswith(str(directory / "bench.toml"))
    assert "\n" not in said
    return said


def test_calibrations_win_over_the_bench_file(tmp_path: Path) -> None:
    settings = loaded(tmp_path, *map(calibration, KINDS)).pump_settings()
    assert settings.curve == MalusCurve(11.5, 0.003, 1.0, "+")
    assert (settings.pickoff_ratio, settings.repetition_rate_hz) == (25.0, 1000.5)
    assert settings.max_pulse_energy_j == 210e-9
    assert (settings.spot.x_um, settings.spot.y_um, settings.incidence_deg) == (105.0, 95.0, 10.0)
    assert (settings.pulse_width_fs, settings.pulse_width_sigma_fs, settings.pulse_cv) == (59.0, 3.0, 0.02)
    assert settings.meter_sigma_rel == 0.03  # no calibration knows what the meter's maker vouches for


def test_uncertainties_keep_apart_what_is_common(tmp_path: Path) -> None:
    settings = loaded(tmp_path, *map(calibration, KINDS)).pump_settings()
    assert settings.spot_sigma_rel == pytest.approx(0.001)
    assert settings.spot_x_sigma_rel == pytest.approx(0.5 / 105.0)
    assert settings.spot_y_sigma_rel == pytest.approx(0.4 / 95.0)
    assert settings.pickoff_sigma_rel == pytest.approx(0.002)
    assert settings.angle_sigma_deg == pytest.approx(math.hypot(0.03, 0.005, 0.04))
    assert settings.curve_sigma_deg == 0.02
    assert settings.incidence_sigma_deg == 0.5
    bend = {"ratio": Quantity(25.0, "1"), "nonlinearity": Quantity(0.02, "1", 1e-3)}
    bent = calibration("pickoff", quantities=bend, flags=("nonlinear",))
    assert loaded(tmp_path, bent).pump_settings().pickoff_sigma_rel == pytest.approx(0.02 / 2 / math.sqrt(3))


def test_a_zero_that_a_sweep_does_not_take_off_counts(tmp_path: Path) -> None:
    facts = {**calibration("attenuator").facts, "zero_w": -2e-9}
    there = calibration("attenuator", facts={**facts, "place": "pick-off"})
    elsewhere = calibration("attenuator", facts={**facts, "place": "sample"})
    settings = loaded(tmp_path, there).pump_settings()
    assert settings.background_sigma_w == 2e-9
    assert settings.sources["background_sigma_w"].startswith("attenuator-")
    assert loaded(tmp_path, elsewhere).pump_settings().background_sigma_w == 0.0


def test_sources_name_file_and_day(tmp_path: Path) -> None:
    sources = loaded(tmp_path, *map(calibration, KINDS)).pump_settings().sources
    assert sources["pickoff_sigma_rel"] == "pickoff-20261123-101500.json, 2026-11-23"
    assert sources["pulse_width_fs"] == "computed, energy-20261123-101500.json, 2026-11-23"
    assert "curve" in sources
    assert "meter_sigma_rel" not in sources


def test_what_a_calibration_supplies_may_be_left_out(tmp_path: Path) -> None:
    lines = [
        line + "\n"
        for line in BENCH.splitlines()
        if line.startswith(("repetition_rate_hz", "pickoff_ratio", 'max_pulse_energy = "200'))
    ]
    assert len(lines) == 3
    short = without(BENCH, CURVE, SPOT, *lines)
    config = loaded(tmp_path, *map(calibration, KINDS), text=short)
    assert config.pump.repetition_rate_hz == 1000.5
    said = refusal(tmp_path, calibration("spectrometer"), text=short)
    for key, kind in (
        ("attenuator_curve", "attenuator"),
        ("pickoff_ratio", "pickoff"),
        ("max_pulse_energy", "energy or attenuator"),
        ("spot", "spot"),
    ):
        assert f"pump.{key}: missing (or name a calibration in [calibrations]: {kind})" in said


def test_a_key_without_a_calibration_stays_missing(tmp_path: Path) -> None:
    assert "pump.wavelength_nm: missing" in refusal(tmp_path, text=without(BENCH, "wavelength_nm = 800.0\n"))


def test_the_highest_energy_comes_from_the_attenuator_s_power_too(tmp_path: Path) -> None:
    config = loaded(tmp_path, calibration("attenuator"), calibration("pickoff"))
    assert config.pump_settings().max_pulse_energy_j == pytest.approx(8e-6 * 25.0 / 1000.0)
    facts = {**calibration("attenuator").facts, "place": "sample"}
    config = loaded(tmp_path, calibration("attenuator", facts=facts))
    assert config.pump_settings().max_pulse_energy_j == pytest.approx(8e-6 / 1000.0)


def test_a_measured_table_replaces_malus(tmp_path: Path) -> None:
    tables = {"angle_deg": (270.0, 90.0, 0.0), "transmission": (0.004, 0.3, 0.8)}
    wheel = calibration(
        "attenuator", facts={"form": "table", "wavelength_nm": 800.0}, tables=tables, quantities={}
    )
    curve = loaded(tmp_path, wheel).pump_settings().curve
    assert isinstance(curve, TableCurve)
    np.testing.assert_allclose(curve.transmission, [1.0, 0.375, 0.005])
    np.testing.assert_array_equal(curve.angle_deg, [0.0, 90.0, 270.0])


def test_a_run_s_copy_is_the_same_bench(tmp_path: Path) -> None:
    config = loaded(tmp_path, *map(calibration, KINDS), rules='expired = "refuse"\nrequired = ["spot"]')
    for file in (tmp_path / "cal").iterdir():
        file.unlink()
    again = stored_bench(json.loads(as_json(config.resolved())), Path("run.h5"))
    assert as_json(again.resolved()) == as_json(config.resolved())
    assert again.pump_settings().sources == config.pump_settings().sources
    assert again.calibrations is not None
    assert (again.calibrations.expired, again.calibrations.required) == ("refuse", ("spot",))
    assert again.calibrations.named()["spot"].calibration == calibration("spot")


def test_a_table_that_says_nothing_leaves_nothing_in_a_run(tmp_path: Path) -> None:
    assert "calibrations" not in loaded(tmp_path).resolved()
    assert loaded(tmp_path, rules='expired = "refuse"').resolved()["calibrations"] == {
        "expired": "refuse",
        "required": [],
    }


def test_a_bench_without_calibrations_resolves_as_it_always_did() -> None:
    resolved = parse_bench(BENCH).resolved()
    assert "calibrations" not in resolved
    assert set(resolved["pump"]) == {  # type: ignore[call-overload]
        *("wavelength_nm", "repetition_rate_hz", "pulse_width_fs", "convention", "pickoff_ratio"),
        *("max_pulse_energy", "order", "incidence_deg", "photon_order", "meter_sigma_rel", "spot"),
        *("pickoff_sigma_rel", "spot_sigma_rel", "repetition_sigma_rel", "attenuator_curve"),
    }


@pytest.mark.parametrize("value", ["/etc/passwd", "../../spot.json", "spot.json", 5, [], True])
def test_a_run_from_a_stranger_opens_no_file(
    tmp_path: Path, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config: Any = json.loads(as_json(loaded(tmp_path, calibration("spot")).resolved()))
    (tmp_path / "spot.json").write_text((next((tmp_path / "cal").iterdir())).read_text())
    config["calibrations"]["spot"] = value
    with pytest.raises(ConfigError, match="a path stored in a run file is not opened"):
        stored_bench(config, Path("run.h5"))


def test_a_copy_that_was_changed_is_refused_and_its_name_is_only_shown(tmp_path: Path) -> None:
    config: Any = json.loads(as_json(loaded(tmp_path, calibration("spot")).resolved()))
    config["calibrations"]["spot"]["file"] = "\x1b[2J/etc/passwd"
    named = stored_bench(config, Path("run.h5")).calibrations
    assert named is not None
    assert named.spot is not None
    assert named.spot.file == "a calibration of kind spot"
    config["calibrations"]["spot"]["calibration"]["operator"] = "you"
    with pytest.raises(ConfigError, match=r"calibrations\.spot: was changed after it was measured"):
        stored_bench(config, Path("run.h5"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
LOOSE = st.dictionaries(st.sampled_from([*KINDS, "expired", "required", "other"]), JSON, max_size=4)


@settings(max_examples=60, deadline=None)
@given(table=LOOSE | JSON)
def test_whatever_a_stranger_s_run_holds_is_a_bench_or_a_configuration_error(table: object) -> None:
    config = {**PLAIN, "calibrations": table}
    try:
        bench = stored_bench(config, Path("run.h5"))
    except ConfigError as exc:
        assert "calibrations" in str(exc)  # noqa: PT017  anything else is a defect
    else:
        assert not (bench.calibrations and bench.calibrations.named())


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    numbers=st.dictionaries(
        st.sampled_from(["zero_deg", "leakage", "ratio", "repetition_rate", "pulse_energy", "x_um", "y_um"]),
        st.builds(Quantity, finite, st.sampled_from(["deg", "1", "Hz", "um", "J"]), finite.map(abs)),
    ),
    facts=st.dictionaries(
        st.sampled_from(["form", "branch", "shape", "wavelength_nm"]), finite | st.text("a+-")
    ),
)
def test_whatever_numbers_a_sound_file_holds_are_a_bench_or_a_configuration_error(
    kind: Any, numbers: Any, facts: Any
) -> None:
    copy = {"file": "x.json", **to_mapping(calibration(kind, quantities=numbers, facts=facts))}
    try:
        bench = stored_bench({**PLAIN, "calibrations": {kind: copy}}, Path("run.h5"))
    except ConfigError as exc:
        assert exc.exit_code == 2  # noqa: PT017
    else:
        assert bench.pump_settings().pickoff_ratio > 0


def test_mistakes_name_the_file_and_the_key(tmp_path: Path) -> None:
    block = stored(tmp_path, calibration("spot"), calibration("pickoff"))
    spot = block.split('spot = "')[1].split('"')[0]
    swapped = block.replace("pickoff = ", "attenuator = ")
    for text, said in (
        (block.replace("cal/spot", "none/spot"), "calibrations.spot: "),
        (block.replace("cal/spot", "none/spot"), "no such file"),
        (swapped, "calibrations.attenuator: pickoff-20261123-101500.json is a calibration of kind pickoff"),
        (block.replace("spot = ", "spots = "), "calibrations.spots: unknown key, did you mean spot?"),
        (block.replace(f'"{spot}"', "5"), "calibrations.spot: must be the path"),
        (block + 'expired = "ignore"\n', "calibrations.expired: 'ignore' is not one of 'warn' or 'refuse'"),
        (block + 'required = ["spots"]\n', "calibrations.required"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_bench(written(tmp_path, BENCH + text))
        assert said in str(caught.value)
    damaged = tmp_path / spot
    damaged.write_text(damaged.read_text().replace('"me"', '"you"'))
    with pytest.raises(ConfigError, match="was changed after it was measured") as caught:
        load_bench(written(tmp_path, BENCH + block))
    assert "calibrations.spot" in str(caught.value)
    assert damaged.name in str(caught.value)


def test_another_wavelength_is_another_beam(tmp_path: Path) -> None:
    other = calibration("pickoff", facts={"wavelength_nm": 810.0})
    said = refusal(tmp_path, other)
    assert "calibrations.pickoff: pickoff-20261123-101500.json was measured at 810 nm" in said
    near = calibration("pickoff", facts={"wavelength_nm": 802.0})
    assert loaded(tmp_path, near).pump.pickoff_ratio == 25.0


def test_absorptance_is_for_one_photon_alone(tmp_path: Path) -> None:
    quantities = {**calibration("spot").quantities, "absorptance": Quantity(0.31, "1", 0.01)}
    absorbing = calibration("spot", quantities=quantities)
    assert "absorptance does not apply to 2-photon pumping" in refusal(tmp_path, absorbing)
    one = BENCH.replace("photon_order = 2", "photon_order = 1")
    settings = loaded(tmp_path, absorbing, text=one).pump_settings()
    assert (settings.absorptance, settings.absorptance_sigma) == (0.31, 0.01)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("attenuator", {"quantities": {}}, "has no zero_deg"),
        ("attenuator", {"facts": {"form": "table"}, "tables": {}}, "has no table of angle_deg"),
        (
            "attenuator",
            {"facts": {"form": "table"}, "tables": {"angle_deg": (1.0, 2.0), "transmission": (1.0,)}},
            "holds 2 angles but 1 transmissions",
        ),
        ("pickoff", {"quantities": {"ratio": Quantity(0.0, "1")}}, "must be positive"),
        ("energy", {"quantities": {"repetition_rate": Quantity(1.0, "kHz")}}, "in 'kHz' instead of 'Hz'"),
        ("spot", {"quantities": {"x_um": Quantity(1.0, "um")}}, "has no y_um"),
    ],
)
def test_a_calibration_without_its_numbers_is_a_mistake(
    tmp_path: Path, kind: Any, changes: dict[str, Any], said: str
) -> None:
    text = refusal(tmp_path, calibration(kind, **changes))
    assert f"calibrations.{kind}: {kind}-20261123-101500.json" in text
    assert said in text
