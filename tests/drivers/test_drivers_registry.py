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


class Entry:
    """An entry point that counts how often it is loaded."""

    def __init__(self, name: str, value: str, result: object) -> None:
        self.name, self.value, self.result, self.loaded = name, value, result, 0

    def load(self) -> object:
        self.loaded += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    ours = registry.find("shutter", "thorlabs-sc10")
    acme = registry.DriverSpec("acme", "shutter", ours.config, ours.open, "from outside")
    found = [
        Entry("acme", "acme:DRIVER", acme),
        Entry("bad", "bad:X", ImportError("no module bad")),
        Entry("odd", "odd:X", 3),
        Entry("alias", "acme:DRIVER", acme),
        Entry("thorlabs-sc10", "thief:DRIVER", acme),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: found if group == "labctl.drivers" else [])
    return {entry.name: entry for entry in found}


def test_a_driver_from_outside_is_found_by_its_name_and_no_other_is_loaded(entries: dict[str, Entry]) -> None:
    assert registry.find("shutter", "thorlabs-sc10").key == "thorlabs-sc10"
    assert [entry.loaded for entry in entries.values()] == [0, 0, 0, 0, 0]
    assert registry.find("shutter", "acme") is entries["acme"].result
    assert [entry.loaded for entry in entries.values()] == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("bad", r"shutter\.driver: the driver 'bad' cannot be loaded from bad:X: ImportError: no module bad"),
        ("odd", "odd:X is not a DriverSpec with the key 'odd'"),
        ("alias", "acme:DRIVER is not a DriverSpec with the key 'alias'"),
    ],
)
def test_a_driver_from_outside_that_is_named_and_broken_is_an_error(
    key: str, words: str, entries: dict[str, Entry]
) -> None:
    with pytest.raises(ConfigError, match=words) as told:
        registry.find("shutter", key)
    assert told.value.hint
    assert entries[key].loaded == 1


def test_a_key_that_is_unknown_or_of_another_role_is_answered_without_loading_the_rest(
    entries: dict[str, Entry],
) -> None:
    with pytest.raises(ConfigError, match="no shutter driver is called 'acmee'") as told:
        registry.find("shutter", "acmee")
    assert told.value.hint == "did you mean 'acme'?"
    assert [entry.loaded for entry in entries.values()] == [0, 0, 0, 0, 0]
    with pytest.raises(ConfigError, match="no power_meter driver is called 'acme'") as told:
        registry.find("power_meter", "acme")
    assert told.value.hint == "it is a driver for the role shutter"


def test_properties_say_what_they_do_and_in_which_unit() -> None:
    found = declared()
    assert len(found) > 15
    for name, item in found:
        line = (item.__doc__ or "").strip().splitlines()[0]
        assert FIRST_LINE.match(line), name
        assert UNIT_AND_TYPE.search(line), name
