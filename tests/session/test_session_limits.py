"""Limits that are missing or contradict each other: refused before anybody is connected to."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.cli import main
from labctl.config import EXAMPLE, BenchConfig, parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError, NotConnected
from labctl.model.plan import AdaptivePlan, SweepPlan
from labctl.session import open_bench
from labctl.session.check import check_bench
from labctl.session.opening import REQUIRED, refuse_limits
from procedures.plan import validate
from simulators.bench import SimulatedBench
from simulators.presets import scene


def limited(**changes: object) -> BenchConfig:
    """Return the annotated example with other limits."""
    config = parse_bench(EXAMPLE)
    return config.model_copy(update={"limits": config.limits.model_copy(update=changes)})


def untouched(_file: object) -> None:
    pytest.fail("an instrument was connected to")


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("time_scale", [1.0, 20.0])
def test_each_limit_that_is_left_out_is_named_before_anybody_is_connected_to(
    key: str, time_scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labctl.session.bench.open_all", untouched)
    monkeypatch.setattr("labctl.session.check.open_all", untouched)
    config = limited(**{key: None})
    faster = config.model_copy(update={"bench": config.bench.model_copy(update={"time_scale": time_scale})})
    with pytest.raises(ConfigError, match=rf"limits: {key} is not stated.*Try: add"):
        open_bench(faster).__enter__()
    with pytest.raises(ConfigError, match=key):
        check_bench(faster)


def test_all_that_are_missing_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in EXAMPLE.splitlines() if not line.startswith(REQUIRED)]
    assert len(EXAMPLE.splitlines()) - len(lines) == 4  # pump.max_pulse_energy is another key
    file = tmp_path / "bench.toml"
    text = "\n".join(lines).replace("[pump]\n", '[pump]\nmax_pulse_energy = "200 nJ"\n')
    file.write_text(text, encoding="utf-8")
    assert main(["check", "--bench", str(file)]) == 2
    said = capsys.readouterr().err
    assert all(key in said for key in REQUIRED)
    assert "Try: add them next to max_fluence_uj_cm2" in " ".join(said.split())


def test_the_example_and_a_simulated_bench_state_every_limit() -> None:
    refuse_limits(parse_bench(EXAMPLE))
    with SimulatedBench(scene("ola", "ideal", 1), SteppedClock()) as bench:
        config = parse_bench(bench.bench_toml(1.0))
        refuse_limits(config)
        with open_bench(config, bench.scene.clock) as ready:
            assert ready.pump.limits.max_average_power_w == 1.5e-4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        # The attenuator's leakage (0.4 nJ of 200 nJ, 2.5 uJ/cm2) against each limit on a pulse.
        ({"max_fluence_uj_cm2": 2.0}, r"lets at least 0.4 nJ through, but the limits allow at most 0.314"),
        ({"max_pulse_energy": 0.3e-9}, r"lets at least 0.4 nJ through, but the limits allow at most 0.3 nJ"),
        ({"max_average_power": 0.2e-6}, r"lets at least 0.4 nJ through, but the limits allow at most 0.2 nJ"),
        # The angles allowed leave no low transmission.
        ({"angle_range_deg": (0.0, 20.0)}, r"lets at least .* nJ through.*angle_range_deg"),
        (
            {"angle_range_deg": (400.0, 500.0)},
            r"angle_range_deg: 400 to 500 deg are outside the mount's range",
        ),
        # A dose that one pulse at the highest fluence the other limits allow would pass.
        ({"max_dose_uj_cm2": 600.0}, r"max_dose_uj_cm2: 600 .*less than one pulse of the 700"),
        ({"max_dose_uj_cm2": 600.0, "max_pulse_energy": 100e-9}, r"less than one pulse of the 636.6"),
        ({"max_dose_uj_cm2": 300.0, "max_average_power": 5e-5}, r"less than one pulse of the 318.3"),
    ],
)
def test_limits_that_contradict_the_attenuator_or_each_other(
    changes: dict[str, object], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labctl.session.bench.open_all", untouched)
    with pytest.raises(ConfigError, match=reason):
        open_bench(limited(**changes)).__enter__()


def test_limits_that_only_differ_do_not_contradict() -> None:
    """The strictest holds; a dose of just one pulse, and a range with the minimum in it, are sound."""
    refuse_limits(limited(max_pulse_energy=1e-9, max_average_power=1.0))
    refuse_limits(limited(max_dose_uj_cm2=700.0))
    refuse_limits(limited(angle_range_deg=(12.0, 57.0)))


def test_a_mount_that_may_not_reach_the_minimum_by_its_own_table() -> None:
    config = limited()
    mount = config.attenuator.model_copy(update={"max_angle_deg": 20.0})
    with pytest.raises(ConfigError, match="lets at least"):
        refuse_limits(config.model_copy(update={"attenuator": mount}))


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"max_fluence_uj_cm2": 150.0}, "stop", "fluence 200 uJ/cm2 is above the limit of 150"),
        ({"max_pulse_energy": 30e-9}, "stop", "pulse energy 31.42 nJ is above the limit of 30 nJ"),
        ({"max_average_power": 30e-6}, "stop", "average power 0.03142 mW is above the limit of 0.03 mW"),
        ({"angle_range_deg": (50.0, 57.0)}, "stop", "out of reach"),
        # 24 points from 20 to 200 and 4 references, 10 exposures of 100 pulses: 2.05e6 at least.
        (
            {"max_dose_uj_cm2": 1.8e6},
            "average",
            r"exceed its limit of 1.8e\+06 uJ/cm2: .* at least 2.052e\+06",
        ),
    ],
)
def test_a_plan_that_no_limit_allows(changes: dict[str, object], key: str, reason: str) -> None:
    config = limited(**changes)
    with pytest.raises(ConfigError, match=reason) as told:
        validate(SweepPlan(average=10), config.pump_settings(), config.limit_settings())
    assert told.value.key == key


def test_a_dose_that_suffices_for_the_shortest_exposures_is_left_to_the_sweep() -> None:
    limits = limited(max_dose_uj_cm2=2.1e6).limit_settings()
    settings = limited().pump_settings()
    validate(SweepPlan(average=10), settings, limits)
    with pytest.raises(ConfigError, match="at least"):
        validate(SweepPlan(average=10, integration_s=(0.2,)), settings, limits)
    validate(SweepPlan(average=10, triggered=True, integration_s=(0.05,)), settings, limits)
    validate(SweepPlan(integration_s=(0.2,)), settings, limits)  # the precision may need three
    # An adaptive sweep ends before the dose would exceed its limit.
    validate(AdaptivePlan(), settings, limited(max_dose_uj_cm2=1e5).limit_settings())


def test_a_sound_bench_that_is_not_there_is_not_connected_rather_than_refused() -> None:
    nowhere = EXAMPLE.replace("ASRL3::INSTR", "TCPIP::127.0.0.1::9::SOCKET")
    for resource in ("USB0::0x1313::0x8078::P0000001::INSTR", "ASRL4::INSTR"):
        nowhere = nowhere.replace(resource, "TCPIP::127.0.0.1::9::SOCKET")
    nowhere = nowhere.replace('resource = "first"', 'resource = "FX@127.0.0.1:9"')
    with pytest.raises(NotConnected):
        open_bench(parse_bench(nowhere), watchdog=False).__enter__()
