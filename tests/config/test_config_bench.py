"""The bench file: what it becomes, and what each mistake in it says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pint
import pytest

from labctl.config import EXAMPLE, load_bench, parse_bench
from labctl.config.units import convert
from labctl.model.errors import ConfigError
from labctl.model.pump import Bands, MalusCurve, TableCurve

TABLE = 'kind = "table"\nangle_deg = [0.0, 90.0, 180.0]\ntransmission = [0.9, 0.3, 0.01]'
MALUS = """kind = "malus"
zero_deg = 12.0               # angle of maximum transmission
t_min = 0.002                 # extinction: the minimum transmission is never zero
t_max = 1.0
branch = "+"                  # the 45 degrees above ("+") or below ("-") the zero"""


def changed(*changes: tuple[str, str]) -> str:
    text = EXAMPLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_bench(text, Path("bench.toml"))
    said = str(caught.value)
    assert said.startswith("bench.toml: ")
    assert "\n" not in said
    assert caught.value.exit_code == 2
    return said


def test_the_example_is_a_valid_bench() -> None:
    config = parse_bench(EXAMPLE)
    settings = config.pump_settings()
    assert settings.max_pulse_energy_j == 200e-9
    assert settings.curve == MalusCurve(12.0, 0.002, 1.0, "+")
    assert (settings.convention, settings.photon_order, settings.pulse_width_fs) == ("peak", 2, 35.0)
    assert config.limit_settings().max_fluence_uj_cm2 == 700.0
    assert config.limit_settings().max_pulse_energy_j == 150e-9
    assert config.band_settings() == Bands((505.0, 560.0), (530.0, 556.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["attenuator", "pick-off", "sample"]', "pump.order: lacks shutter"),
        ('["attenuator", "sample"]', "pump.order: lacks pick-off and shutter"),
        ('["attenuator", "shutter", "pick-off", "sample", "sample"]', "pump.order: "),
    ],
)
def test_an_order_that_is_short_of_something_says_what(text: str, said: str) -> None:
    order = next(line for line in EXAMPLE.splitlines() if line.startswith("order = "))
    assert said in refusal(changed((order, f"order = {text}")))


def test_a_list_that_is_too_short_says_which_element_is_missing() -> None:
    assert "bands.emission_nm: element 2 of the list is missing" in refusal(
        changed(("emission_nm = [505.0, 560.0]", "emission_nm = [505.0]"))
    )


def test_every_optional_line_of_the_example_is_valid_too() -> None:
    lines = [line for line in EXAMPLE.splitlines() if line.startswith("# ") and " = " in line]
    optional = [line for line in lines if line[2:].split(" = ")[0].isidentifier()]
    assert len(optional) >= 10
    for line in optional:
        if "kind" not in line and "angle_deg" not in line and "transmission" not in line:
            parse_bench(EXAMPLE.replace(line, line[2:], 1))
    parse_bench(changed((MALUS, TABLE)))


def test_units_are_converted_once_and_exactly() -> None:
    text = changed(
        ("wavelength_nm = 800.0", 'wavelength_nm = "0.8 um"'),
        ("pulse_width_fs = 35.0", 'pulse_width_fs = "0.035 ps"'),
        ("x_um = 100.0", 'x_um = "0.1 mm"'),
        ('"200 nJ"', '"0.2 µJ"'),
        ("max_fluence_uj_cm2 = 700.0", 'max_fluence_uj_cm2 = "0.7 mJ/cm²"'),
        ('max_average_power = "0.15 mW"', 'max_average_power = "2.5 mW"'),
    )
    settings, limits = parse_bench(text).pump_settings(), parse_bench(text).limit_settings()
    assert (settings.wavelength_nm, settings.pulse_width_fs, settings.spot.x_um) == (800.0, 35.0, 100.0)
    assert settings.max_pulse_energy_j == 2e-7
    assert (limits.max_fluence_uj_cm2, limits.max_average_power_w) == (700.0, 2.5e-3)


@pytest.mark.parametrize(
    ("value", "kind", "target", "expected"),
    [
        ("1 kHz", "frequency", "Hz", 1000.0),
        ("45 deg", "angle", "deg", 45.0),
        ("1 rad", "angle", "deg", math.degrees(1.0)),
        (" 1e2 nJ ", "energy", None, 1e-7),
        (5, "length", "nm", 5.0),
    ],
)
def test_conversion(value: object, kind: str, target: str | None, expected: float) -> None:
    assert convert(value, kind, target) == pytest.approx(expected, rel=1e-15)


def test_a_measured_curve_becomes_arrays() -> None:
    curve = parse_bench(changed((MALUS, TABLE))).pump_settings().curve
    assert isinstance(curve, TableCurve)
    np.testing.assert_array_equal(curve.transmission, [0.9, 0.3, 0.01])


def test_bands_left_out_lie_between_the_pump_and_its_harmonic() -> None:
    text = EXAMPLE[: EXAMPLE.index("[bands]")]
    bands = parse_bench(text).band_settings()
    assert bands.emission_nm == pytest.approx((420.0, 760.0))
    assert bands.lasing_nm == bands.emission_nm


def test_the_visa_library_of_the_bench_reaches_its_drivers() -> None:
    text = changed(('# visa_library = "@py"', 'visa_library = "@sim"'))
    config = parse_bench(text)
    assert config.attenuator.model_dump()["visa_library"] == "@sim"
    assert "visa_library" not in config.spectrometer.model_dump()


@pytest.mark.parametrize(
    "library", ["/tmp/evil.so", "@evil", "evil.dll", "/tmp/evil.so@ivi", "..\\\\visa64.dll"]
)
def test_no_program_is_loaded_by_a_path_in_a_bench_file(library: str) -> None:
    text = changed(('# visa_library = "@py"', f'visa_library = "{library}"'))
    with pytest.raises(
        ConfigError,
        match=r"bench\.visa_library: a bench file must not name a library to load.* PYVISA_LIBRARY",
    ):
        parse_bench(text)


def test_the_resolved_configuration_is_plain() -> None:
    resolved = parse_bench(EXAMPLE).resolved()
    attenuator, pump = resolved["attenuator"], resolved["pump"]
    assert isinstance(attenuator, dict)
    assert isinstance(pump, dict)
    assert attenuator["address"] == "0"
    assert pump["max_pulse_energy"] == 200e-9


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "wavelength_nm = 800.0",
            "wavelenght_nm = 800.0",
            "pump.wavelenght_nm: unknown key, did you mean wavelength_nm?",
        ),
        ("zero_deg = 12.0", "zero = 12.0", "pump.attenuator_curve.zero: unknown key, did you mean zero_deg?"),
        ("averages = 100", "averags = 100", "power_meter.averags: unknown key, did you mean averages?"),
        ("[shutter]", "[shuter]", "shuter: unknown key, did you mean shutter?"),
        ('address = "0"', 'address = "Z"', "attenuator.address: 'Z' does not have the form ^[0-9A-Fa-f]$"),
        ("wavelength_nm = 800.0", "", "pump.wavelength_nm: missing"),
        (
            "wavelength_nm = 800.0",
            "wavelength_nm = 8000",
            "pump.wavelength_nm: 8000 lies outside of 150 to 5000 nm",
        ),
        ("x_um = 100.0", 'x_um = "100 nm"', "pump.spot.x_um: 0.1 lies outside of 0.3 to 100000 um"),
        ('kind = "malus"', 'kind = "mallus"', "pump.attenuator_curve.kind: must be one of 'malus', 'table'"),
        ('"thorlabs-sc10"', '"thorlabs-sc1"', "shutter.driver: no shutter driver is called 'thorlabs-sc1'"),
        ('driver = "ocean"', "", "spectrometer.driver: missing"),
        ('"200 nJ"', '"200 mW"', "'mW' is not a unit of energy"),
        ('"200 nJ"', "200", "pump.max_pulse_energy: a number without a unit"),
        ('"200 nJ"', '"-200 nJ"', "pump.max_pulse_energy"),
        ('"200 nJ"', '"200nJoul"', "'nJoul' is not a unit of energy"),
        ("x_um = 100.0", "x_um = true", "pump.spot.x_um: expected a number"),
        (
            "max_fluence_uj_cm2 = 700.0",
            "max_fluence_uj_cm2 = nan",
            "limits.max_fluence_uj_cm2: must be finite",
        ),
        ("max_fluence_uj_cm2 = 700.0", "max_fluence_uj_cm2 = 0", "greater than 0"),
        ("max_fluence_uj_cm2 = 700.0", f"max_fluence_uj_cm2 = {'9' * 400}", "must be finite"),
        (
            'convention = "peak"',
            'convention = "top"',
            "pump.convention: 'top' is not one of 'peak' or 'average'",
        ),
        ('"shutter", "sample"]', '"sample", "shutter"]', '"sample" last'),
        ('"shutter", "sample"]', '"attenuator", "sample"]', "once"),
        ("lasing_nm = [530.0, 556.0]", "lasing_nm = [530.0, 586.0]", "lasing_nm must lie inside emission_nm"),
        ("emission_nm = [505.0, 560.0]", "emission_nm = [560.0, 505.0]", "shortest, longest"),
        ("t_min = 0.002", "t_min = 1.0", "t_min (1) must be below t_max (1)"),
        ("averages = 100", 'averages = "many"', "power_meter.averages: 'many' should be"),
        ("[limits]", "[limits", "not valid TOML"),
    ],
)
def test_a_mistake_names_file_key_and_reason(old: str, new: str, said: str) -> None:
    assert said in refusal(changed((old, new)))


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (TABLE.replace("0.01", "0.5"), "monotone"),
        (TABLE.replace("90.0", "0.0"), "angle_deg must increase"),
        (TABLE.replace(", 0.01", ""), "3 angles but 2 transmissions"),
    ],
)
def test_a_curve_that_cannot_be_inverted_is_refused(new: str, said: str) -> None:
    assert said in refusal(changed((MALUS, new)))


def test_all_mistakes_are_told_at_once() -> None:
    said = refusal(
        changed(("averages = 100", "averags = 1"), ("x_um = 100.0", "x_um = 0"), ("[limits]", "[limts]"))
    )
    assert "3 mistakes" in said
    assert all(key in said for key in ("power_meter.averags", "pump.spot.x_um", "limts"))


def test_a_file_that_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    missing, binary, huge = tmp_path / "no.toml", tmp_path / "binary.toml", tmp_path / "huge.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    huge.write_bytes(b"#" * 1_000_001)
    for path, said in (
        (missing, "No such file"),
        (binary, "not UTF-8"),
        (huge, "too large for a bench file"),
        (tmp_path, "read"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            load_bench(path)
        assert str(path) in str(caught.value)


def test_a_run_holds_of_what_a_bench_need_not_state_only_what_it_states() -> None:
    plain = parse_bench(EXAMPLE).resolved()
    new = {"resolution_sigma_nm", "saturation_counts", "fluence_wander_rel", "pulse_cv_sigma"}
    assert isinstance(plain["spectrometer"], dict)
    assert isinstance(plain["pump"], dict)
    assert not new & (set(plain["spectrometer"]) | set(plain["pump"]))
    assert "collection" not in plain
    told = parse_bench(EXAMPLE.replace("# saturation_counts", "saturation_counts")).resolved()
    assert isinstance(told["spectrometer"], dict)
    assert told["spectrometer"]["saturation_counts"] == 60000.0


def test_the_plain_units_agree_with_pint() -> None:
    registry: Any = pint.UnitRegistry()
    kinds = {"J": "energy", "W": "power", "m": "length", "s": "time", "Hz": "frequency"}
    for base, kind in kinds.items():
        for prefix in ("f", "p", "n", "u", "m", "", "k", "M"):
            agreed = registry.Quantity(1.0, prefix + base).to(base).magnitude
            assert convert(f"1 {prefix}{base}", kind, base) == pytest.approx(agreed, rel=1e-12)
    with pytest.raises(ValueError, match="'ms' is not a unit of length"):
        convert("1 ms", "length", "m")
