"""Faults of the optical table and of an instrument's own state: seen on the wire, and in the scene."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from fault_bench import GET_INTEGRATION, SPECTRUM, Client, Faulty, frame

from labctl.model.records import FloatArray
from simulators import presets
from simulators.scene.chance import Spell

TURN = 143360
"""Pulses per turn the mount announces."""


def planned(kind: str, when: str, **how: object) -> str:
    return f'[[fault]]\nkind = "{kind}"\n{when}\n' + "".join(f"{k} = {v!r}\n" for k, v in how.items())


def angle(reply: bytes) -> float:
    assert reply[:3] == b"0PO"
    return int(struct.unpack(">i", bytes.fromhex(reply[3:11].decode()))[0]) * 360.0 / TURN


def go(client: Client, degrees: float) -> float:
    """Move as a driver does; return the angle reported at the end."""
    return angle(client.ask(b"0ma%08X" % round(degrees * TURN / 360.0)))


def home(client: Client) -> float:
    return angle(client.ask(b"0ho0"))


def power(bench: Faulty) -> float:
    """Return the power on the head during the last 0.3 s, from the scene."""
    bench.clock.sleep(0.5)
    return bench.scene.meter.power_w(bench.clock.now_s(), 100, 0.003, 800.0, 0.0, 1e-5)


def counts(bench: Faulty) -> FloatArray:
    """Return an exposure of 0.1 s as the spectrometer's wire delivers it."""
    with bench.client("spectrometer") as client:
        return np.frombuffer(client.ask(frame(SPECTRUM))[44:-20], "<u2").astype(float)


def reading(client: Client) -> float:
    return float(client.ask(b"MEAS:POW?\n"))


# -- the plate -----------------------------------------------------------------------------------------


def test_a_stuck_plate_stays_and_says_so_until_it_is_released() -> None:
    with Faulty(planned("stuck-plate", "nth = 3", duration_s=5.0)) as bench:
        client = bench.client("attenuator")
        home(client)
        assert go(client, 30.0) == pytest.approx(30.0, abs=0.01)
        before = power(bench)
        assert go(client, 40.0) == pytest.approx(30.0, abs=0.01)
        assert power(bench) == pytest.approx(before)
        assert bench.fired()[0].message == 3
        bench.clock.sleep(5.0)
        assert go(client, 40.0) == pytest.approx(40.0, abs=0.01)
        assert bench.scene.mount.angle_deg() == pytest.approx(40.0, abs=0.01)


def test_a_plate_seized_on_its_way_stops_there() -> None:
    with Faulty(planned("stuck-plate", "at_s = 5.0")) as bench:
        client = bench.client("attenuator")
        home(client)
        bench.clock.sleep(4.9 - bench.clock.now_s())
        reached = go(client, 180.0)
        assert reached == pytest.approx((5.0 - 4.9) / (180 / 200 + 0.06) * 180.0, abs=0.1)
        assert bench.scene.mount.angle_deg() == pytest.approx(reached, abs=0.01)
        assert home(client) == pytest.approx(reached, abs=0.01)


def test_a_plate_that_turns_is_seized_by_a_message() -> None:
    with Faulty("") as bench:
        mount = bench.scene.mount
        home(bench.client("attenuator"))
        mount.move_to(100.0)
        bench.clock.sleep(0.2)
        here = mount.angle_deg()
        mount.seize(Spell(bench.clock.now_s()))
        bench.clock.sleep(2.0)
        assert mount.angle_deg() == pytest.approx(here)
        assert 0.0 < here < 100.0


def test_a_stuck_mount_finds_no_reference() -> None:
    with Faulty(planned("stuck-plate", "at_s = 0.0")) as bench:
        home(bench.client("attenuator"))
        assert not bench.scene.mount.referenced


def test_a_mount_seized_while_it_looks_for_the_reference_stays_there() -> None:
    with Faulty(planned("stuck-plate", "at_s = 10.0")) as bench:
        mount = bench.scene.mount
        mount.home()
        bench.clock.sleep(5.0)
        mount.move_to(500.0)
        bench.clock.sleep(4.9)
        mount.home()
        bench.clock.sleep(0.1)
        here = mount.angle_deg() % 360.0
        bench.clock.sleep(5.0)
        assert mount.angle_deg() % 360.0 == pytest.approx(here)
        assert here > 100.0


def test_a_loose_plate_stays_while_the_encoder_turns() -> None:
    plan = planned("stuck-plate", "nth = 3", readback="commanded", duration_s=10.0)
    with Faulty(plan) as bench:
        client = bench.client("attenuator")
        home(client)
        go(client, 30.0)
        before = power(bench)
        assert go(client, 50.0) == pytest.approx(50.0, abs=0.01)
        assert go(client, 45.0) == pytest.approx(45.0, abs=0.01)
        assert power(bench) == pytest.approx(before, rel=1e-6)
        bench.clock.sleep(10.0)
        assert go(client, 55.0) == pytest.approx(55.0, abs=0.01)
        assert bench.scene.mount.angle_deg() == pytest.approx(40.0, abs=0.01)


def test_a_slipped_plate_is_off_by_its_angle_and_homing_does_not_help() -> None:
    with Faulty(planned("slipped-plate", "at_s = 6.0", angle_deg=7.0)) as bench:
        client = bench.client("attenuator")
        home(client)
        assert go(client, 30.0) == pytest.approx(30.0, abs=0.01)
        assert bench.scene.mount.angle_deg() == pytest.approx(30.0, abs=0.01)
        straight = power(bench)
        bench.clock.sleep(6.0 - bench.clock.now_s())
        assert bench.scene.mount.angle_deg() == pytest.approx(37.0, abs=0.01)
        home(client)
        assert go(client, 30.0) == pytest.approx(30.0, abs=0.01)
        t = bench.scene.truth
        expected = [math.cos(2 * math.radians(a - t.zero_deg)) ** 2 for a in (37.0, 30.0)]
        slope = (1 - t.t_min) * np.array(expected) + t.t_min
        assert power(bench) / straight == pytest.approx(slope[0] / slope[1], rel=1e-3)


def test_a_mount_that_lost_power_counts_from_where_it_is() -> None:
    with Faulty(planned("restart", "nth = 4", instrument="attenuator")) as bench:
        client = bench.client("attenuator")
        home(client)
        go(client, 30.0)
        client.ask(b"0sv32")
        assert angle(client.ask(b"0gp")) == 0.0
        assert client.ask(b"0gv") == b"0GV64\r\n"
        assert not bench.scene.mount.referenced
        go(client, 10.0)
        assert bench.scene.mount.angle_deg() == pytest.approx(40.0, abs=0.01)
        home(client)
        go(client, 10.0)
        assert bench.scene.mount.angle_deg() == pytest.approx(10.0, abs=0.01)


def test_a_mount_that_loses_power_on_its_way_stops_and_never_tells() -> None:
    with Faulty(planned("restart", "nth = 2", instrument="attenuator")) as bench:
        bench.scene.mount.home()
        bench.clock.sleep(3.0)
        client = bench.client("attenuator")
        bench.scene.mount.move_to(100.0)
        client.ask(b"0in")
        bench.clock.sleep(0.2)
        assert angle(client.ask(b"0gp")) == 0.0
        bench.clock.sleep(2.0)
        assert 0.0 < bench.scene.mount.angle_deg() < 60.0


# -- the shutter ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("readback", "closed"), [("true", b"0"), ("commanded", b"1")])
def test_a_failed_shutter_stays_open_and_tells_the_truth_or_not(readback: str, closed: bytes) -> None:
    with Faulty(planned("failed-shutter", "nth = 2", readback=readback)) as bench:
        client = bench.client("shutter")
        client.ask(b"ens\r")
        bench.clock.sleep(1.0)
        assert client.ask(b"ens\r") == b"ens\r> "
        bench.clock.sleep(1.0)
        assert client.ask(b"ens?\r") == b"ens?\r0\r> "
        assert client.ask(b"closed?\r") == b"closed?\r" + closed + b"\r> "
        assert bench.scene.shutter.track.at(bench.clock.now_s()) == 1.0


def test_a_failed_shutter_that_is_released_goes_where_it_was_sent() -> None:
    with Faulty(planned("failed-shutter", "at_s = 1.0", duration_s=3.0)) as bench:
        client = bench.client("shutter")
        bench.clock.sleep(2.0)
        client.ask(b"ens\r")
        bench.clock.sleep(1.0)
        assert client.ask(b"closed?\r") == b"closed?\r1\r> "
        bench.clock.sleep(1.1)
        assert client.ask(b"closed?\r") == b"closed?\r0\r> "
        assert bench.scene.shutter.track.at(bench.clock.now_s()) == 1.0


def test_a_slow_shutter_closes_late() -> None:
    with Faulty(planned("slow-shutter", "nth = 2", travel_s=0.7)) as bench:
        client = bench.client("shutter")
        client.ask(b"ens\r")
        bench.clock.sleep(0.1)
        client.ask(b"ens\r")
        bench.clock.sleep(0.69)
        assert client.ask(b"closed?\r") == b"closed?\r0\r> "
        bench.clock.sleep(0.1)
        assert client.ask(b"closed?\r") == b"closed?\r1\r> "


def test_a_tripped_interlock_closes_and_keeps_closed() -> None:
    with Faulty(planned("tripped-interlock", "nth = 2")) as bench:
        client = bench.client("shutter")
        client.ask(b"ens\r")
        assert client.ask(b"interlock?\r") == b"interlock?\r1\r> "
        client.ask(b"ens\r")
        bench.clock.sleep(0.1)
        assert client.ask(b"closed?\r") == b"closed?\r1\r> "


def test_a_shutter_without_power_is_closed() -> None:
    with Faulty(planned("restart", "nth = 2", instrument="shutter")) as bench:
        client = bench.client("shutter")
        client.ask(b"ens\r")
        bench.clock.sleep(0.1)
        assert client.ask(b"ens?\r") == b"ens?\r0\r> "
        bench.clock.sleep(0.1)
        assert bench.scene.shutter.track.at(bench.clock.now_s()) == 0.0


# -- the laser and the meter ---------------------------------------------------------------------------


def test_a_dead_laser_is_dark_for_its_time_on_the_meter_and_in_the_past() -> None:
    with Faulty(planned("dead-laser", "at_s = 3.0", duration_s=2.0)) as bench:
        shares = []
        for at_s in (2.9, 3.9, 4.9, 5.9):
            bench.clock.sleep(at_s - bench.clock.now_s())
            shares.append(bench.scene.meter.power_w(at_s, 100, 0.003, 800.0, 0.0, 1e-5))
        assert shares[0] > 1e-7
        assert shares[1:3] == pytest.approx([0.0, 0.0], abs=1e-6 * shares[0])
        assert shares[3] == pytest.approx(shares[0], rel=1e-6)
        half = bench.scene.meter.power_w(3.15, 100, 0.003, 800.0, 0.0, 1e-5)
        assert half == pytest.approx(0.5 * shares[0], rel=0.12)
        assert [f.scene_s for f in bench.fired()] == [3.0]


def test_a_slow_head_feels_a_dead_laser_too() -> None:
    thermal = presets.scene("ola", "ideal", meter="thermal").meter
    with Faulty(planned("dead-laser", "at_s = 30.0"), meter=thermal) as bench:
        head = bench.scene.meter
        bench.clock.sleep(40.0)
        before = head.power_w(30.0, 100, 0.003, 800.0, 0.0, 1e-3)
        after = head.power_w(32.2, 100, 0.003, 800.0, 0.0, 1e-3)
        assert after / before == pytest.approx(math.exp(-2.05 / 1.1), rel=0.03)


def test_a_jump_of_the_laser_and_a_drift() -> None:
    jump = planned("jumping-laser", "nth = 2", instrument="power_meter", factor=1.5)
    drift = planned("drifting-laser", "at_s = 100.0", factor=0.6, ramp_s=50.0)
    with Faulty(jump + drift) as bench:
        client = bench.client("power_meter")
        client.ask(b"SENS:CORR:WAV 800;WAV?\n")
        plain = power(bench)
        client.ask(b"*IDN?\n")
        jumped = [power(bench)]
        for at_s in (99.0, 125.0, 150.0, 500.0):
            bench.clock.sleep(at_s - bench.clock.now_s())
            jumped.append(power(bench))
        assert np.array(jumped) / plain == pytest.approx([1.5, 1.5, 1.194, 0.9, 0.9], rel=2e-3)


def test_a_blocked_meter_sees_nothing_of_light_that_reaches_the_sample() -> None:
    with Faulty(planned("blocked-meter", "nth = 1", duration_s=5.0)) as bench:
        bright = power(bench)
        bench.scene.shutter.command(True)
        bench.client("power_meter").ask(b"*IDN?\n")
        assert power(bench) < 1e-6 * bright
        now = bench.clock.now_s()
        pulses = bench.scene.laser.between(now - 0.1, 100)
        assert bench.scene.beam.at_sample(pulses).mean() > 1e-9
        bench.clock.sleep(6.0)
        assert power(bench) == pytest.approx(bright)


def test_somebody_at_the_panel_of_the_meter() -> None:
    plan = (
        planned("wrong-unit", "nth = 4", match="MEAS")
        + planned("wrong-wavelength", "nth = 2", match="MEAS", wavelength_nm=500.0)
        + planned("wrong-range", "nth = 3", match="MEAS", range_w=5e-9)
    )
    with Faulty(plan) as bench:
        client = bench.client("power_meter")
        client.say(b"SENS:CORR:WAV 800;:SENS:AVER 100\n")
        right, wrong, over = reading(client), reading(client), reading(client)
        assert wrong / right == pytest.approx(0.53 / 0.24, rel=0.01)
        assert over == 9.9e37
        client.say(b"SENS:POW:RANG:AUTO 1;:SENS:CORR:WAV 800\n")
        assert reading(client) == pytest.approx(10 * math.log10(right / 1e-3), abs=0.01)
        assert client.ask(b"SENS:POW:UNIT?\n") == b"DBM\n"
        assert client.ask(b"SYST:ERR?\n").startswith(b"0,")
        assert sorted(bench.bench.fault_log.kinds()) == ["wrong-range", "wrong-unit", "wrong-wavelength"]


def test_a_meter_that_restarts_has_its_factory_settings() -> None:
    with Faulty(planned("restart", "nth = 2", instrument="power_meter")) as bench:
        client = bench.client("power_meter")
        assert float(client.ask(b"SENS:CORR:WAV 800;WAV?\n")) == 800.0
        assert float(client.ask(b"SENS:CORR:WAV?\n")) == 635.0


# -- the spectrometer ----------------------------------------------------------------------------------


def test_a_flooded_spectrometer_is_saturated_for_its_time() -> None:
    with Faulty(planned("saturated-spectrometer", "nth = 2", duration_s=1.0)) as bench:
        assert counts(bench).max() < 20_000
        assert (counts(bench) == 65535).all()
        bench.clock.sleep(1.5)
        assert counts(bench).max() < 20_000


def test_a_spectrometer_restarts_with_other_settings() -> None:
    plan = planned("restart", "nth = 3", instrument="spectrometer", integration_s=0.25)
    with Faulty(plan) as bench, bench.client("spectrometer") as client:
        client.ask(frame(GET_INTEGRATION))
        read = [client.ask(frame(GET_INTEGRATION))[24:28] for _ in range(3)]
        assert [int.from_bytes(item, "little") for item in read] == [10_000, 250_000, 250_000]


def test_chance_can_strike_the_laser_again_and_again() -> None:
    plan = "seed = 5\n" + planned(
        "dead-laser", "probability = 0.5", instrument="shutter", duration_s=0.5, count=3
    )
    with Faulty(plan) as bench, bench.client("shutter") as client:
        dark = []
        for _ in range(12):
            client.ask(b"ens?\r")
            bench.clock.sleep(0.45)
            now = bench.clock.now_s()
            dark.append(bench.scene.meter.power_w(now, 10, 0.003, 800.0, 0.0, 1e-5) < 1e-9)
            bench.clock.sleep(1.0)
        struck = [f.message for f in bench.fired()]
        assert [k + 1 for k, item in enumerate(dark) if item] == struck
        assert len(struck) == 3


def test_a_bench_without_faults_is_the_same_bench() -> None:
    with Faulty("") as plain, Faulty(planned("dead-laser", "at_s = 1000.0")) as planned_bench:
        assert np.array_equal(counts(plain), counts(planned_bench))
        assert len(planned_bench.bench.fault_log) == 0
