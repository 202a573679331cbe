"""The energy of the pulses while the laser drifts: what is stored says so."""

from __future__ import annotations

from typing import Any

import pytest
from calibration_scene import CalibrationBench

from labctl.model.calibration import Calibration
from labctl.model.roles import Request
from simulators.scene.chance import Spell

WATCH: dict[str, Any] = {"drift_s": 5.0, "readings": 2}


def measured(factor: float) -> Calibration:
    """Measure while the laser goes to a part of its energy within a minute."""
    bench = CalibrationBench(3)
    bench.know_the_curve()

    def begin(request: Request) -> None:
        if request.action == "meter" and not len(bench.scene.laser.spells):
            bench.scene.laser.spells.add(Spell(bench.clock.now_s() + 5.0, value=factor, ramp_s=60.0))

    bench.hands.before = begin
    found = bench.run("energy", **WATCH)
    bench.assert_safe()
    return found


@pytest.mark.parametrize("factor", [0.5, 1.6])
def test_a_laser_that_drifts_by_some_per_cent_within_the_watch_is_told(factor: float) -> None:
    found = measured(factor)
    told = [flag for flag in found.flags if flag.startswith("the laser drifts: ")]
    assert len(told) == 1
    assert told[0].split()[3].startswith("-" if factor < 1 else "+")
    assert abs(found.quantities["drift"].value) > 0.03


def test_a_sound_laser_gets_no_such_word() -> None:
    assert not [flag for flag in measured(1.0).flags if "drifts" in flag]
