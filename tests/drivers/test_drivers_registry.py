"""The registry finds every driver, and every driver reads like its manual."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest
from pydantic import ValidationError
from pymeasure.instruments import Instrument

import drivers
from drivers import registry
from labctl.model.errors import ConfigError

KEYS = {
    "attenuator": "thorlabs-ell14",
    "power_meter": "thorlabs-pm100",
    "spectrometer": "ocean",
    "shutter": "thorlabs-sc10",
    "stage": "thorlabs-ell20",
    "thermometer": "scpi-thermometer",
    "heater": "thorlabs-tc200",
}
FIRST_LINE = re.compile(r"(Control|Get|Measure|Set) .+\.( |$)")
UNIT_AND_TYPE = re.compile(r"\((bool|int|float|str|Module)\b[^)]*\)")


def driver_classes() -> list[type[Instrument]]:
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(drivers.__path__, "drivers.")
        if not module.ispkg
    ]
    found = {
        item
        for module in modules
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, Instrument) and item.__module__.startswith("drivers.")
    }
    return sorted(found, key=lambda cls: str(cls.__name__))


def declared() -> list[tuple[str, property]]:
    """Return the properties made by Instrument.control, measurement and setting, each once."""
    return [
        (f"{cls.__name__}.{name}", item)
        for cls in driver_classes()
        for name, item in vars(cls).items()
        if isinstance(item, property)
        and getattr(item.fget, "__qualname__", "").startswith("CommonBase.control")
    ]


@pytest.mark.parametrize("role", sorted(KEYS))
def test_each_role_has_its_driver(role: registry.RoleName) -> None:
    spec = registry.find(role, KEYS[role])
    assert spec in registry.of_role(role)
    assert spec.config.model_fields["driver"].is_required()
    assert spec.summary


def test_a_typo_names_the_nearest_key() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.find("attenuator", "thorlabs-el14")
    assert "thorlabs-ell14" in str(caught.value)
    assert caught.value.key == "attenuator.driver"


def test_a_driver_of_another_role_is_not_found() -> None:
    with pytest.raises(ConfigError, match="no shutter driver"):
        registry.find("shutter", "ocean")


def test_an_unknown_setting_is_refused() -> None:
    config = registry.find("shutter", "thorlabs-sc10").config
    with pytest.raises(ValidationError, match="travel_ms"):
        config.model_validate({"driver": "thorlabs-sc10", "resource": "ASRL4::INSTR", "travel_ms": 5})


def test_angle_limits_must_be_in_order() -> None:
    config = registry.find("attenuator", "thorlabs-ell14").config
    with pytest.raises(ValidationError, match="min_angle_deg must be below"):
        config.model_validate(
            {"driver": "thorlabs-ell14", "resource": "x", "min_angle_deg": 90, "max_angle_deg": 10}
        )


def test_a_driver_from_outside_is_found_and_a_broken_one_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours = registry.find("shutter", "thorlabs-sc10")
    outside = registry.DriverSpec("acme", "shutter", ours.config, ours.open, "from outside")

    class Entry:
        def __init__(self, value: str, result: object) -> None:
            self.value, self.result = value, result

        def load(self) -> object:
            if isinstance(self.result, Exception):
                raise self.result
            return self.result

    entries = [Entry("acme:DRIVER", outside), Entry("bad:X", ImportError("bad")), Entry("odd:X", 3)]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == "labctl.drivers" else [])
    registry.all_drivers.cache_clear()
    try:
        assert registry.find("shutter", "acme") is outside
        assert len(registry.all_drivers()) == 1 + len(KEYS)
        assert "bad:X" in caplog.text
        assert "odd:X" in caplog.text
    finally:
        registry.all_drivers.cache_clear()


def test_properties_say_what_they_do_and_in_which_unit() -> None:
    found = declared()
    assert len(found) > 15
    for name, item in found:
        line = (item.__doc__ or "").strip().splitlines()[0]
        assert FIRST_LINE.match(line), name
        assert UNIT_AND_TYPE.search(line), name
