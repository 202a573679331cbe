"""The promises of the role, kept by the adapter on the simulated console, in this process and in its own."""

import pytest
from labctl_borrowed_meter import DRIVER

from drivers.registry import connect
from labctl.model.clock import SteppedClock
from labctl.testing import checks_of
from simulators.bench import SimulatedBench
from simulators.presets import scene


@pytest.fixture
def bench():
    with SimulatedBench(scene("ola", seed=1), SteppedClock()) as running:
        yield running


@pytest.mark.parametrize("isolated", [False, True], ids=["here", "isolated"])
@pytest.mark.parametrize("check", checks_of("power_meter"), ids=lambda check: check.__name__)
def test_conformance(check, isolated, bench):
    table = {"driver": DRIVER.key, "resource": bench.resources["power_meter"], "isolated": isolated}
    config = DRIVER.config.model_validate(table)
    check(lambda: connect("power_meter", config, bench.scene.clock))
