"""What a mount is believed after a stop ended the wait for its motion."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drivers.attenuators.thorlabs_ell14 import ThorlabsELL14
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted
from simulators import presets
from simulators.bench import SimulatedBench


class StopAt:
    """A stop that is asked for after so many looks at it."""

    def __init__(self, looks: int) -> None:
        self._left = looks

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", level="typical", seed=3), SteppedClock()) as running:
        yield running


@pytest.fixture
def mount(bench: SimulatedBench) -> Iterator[ThorlabsELL14]:
    with ThorlabsELL14(bench.resources["attenuator"], clock=bench.scene.clock) as opened:
        opened.home()
        opened.move_to(20.0)
        yield opened


@pytest.mark.parametrize("looks", [0, 1])
def test_a_stopped_motion_goes_on_and_keeps_its_reference(
    bench: SimulatedBench, mount: ThorlabsELL14, looks: int
) -> None:
    with pytest.raises(Aborted):
        mount.move_to(50.0, StopAt(looks))
    assert mount.is_referenced()
    assert mount.angle_deg() == pytest.approx(20.0 if looks == 0 else 50.0, abs=0.1)
    assert bench.scene.mount.angle_deg() == pytest.approx(mount.angle_deg(), abs=0.5)
    assert mount.move_to(33.0) == pytest.approx(33.0, abs=0.1)


def test_a_stopped_search_leaves_no_reference(mount: ThorlabsELL14) -> None:
    with pytest.raises(Aborted):
        mount.home(StopAt(1))
    assert not mount.is_referenced()


def test_a_loss_of_power_after_a_stop_is_noticed(bench: SimulatedBench, mount: ThorlabsELL14) -> None:
    with pytest.raises(Aborted):
        mount.move_to(50.0, StopAt(1))
    mount.angle_deg()  # answered after the command before it was taken
    bench.scene.mount.lose_power()
    assert not mount.is_referenced()
