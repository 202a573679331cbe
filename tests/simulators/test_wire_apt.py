"""The APT controllers byte by byte; the bytes sent are those of a public client, thorlabs-apt-protocol 29."""

from __future__ import annotations

import struct

import pytest
from wire_talk import PlainBlade, Talk

from labctl.model.clock import SteppedClock
from simulators.attenuators.apt import AptMount
from simulators.presets import scene
from simulators.scene import Scene
from simulators.shutters.ksc101 import Ksc101

WHO = bytes.fromhex("05 00 00 00 50 01")
HOME, STOP = bytes.fromhex("43 04 01 00 50 01"), bytes.fromhex("65 04 01 02 50 01")
BITS, POSITION = bytes.fromhex("29 04 01 00 50 01"), bytes.fromhex("11 04 01 00 50 01")
STATUS = bytes.fromhex("90 04 01 00 50 01")
OPEN, CLOSE = bytes.fromhex("cb 04 01 01 50 01"), bytes.fromhex("cb 04 01 02 50 01")
STATE = bytes.fromhex("cc 04 01 00 50 01")


def move_to(counts: int) -> bytes:
    return bytes.fromhex("53 04 06 00 d0 01 01 00") + struct.pack("<l", counts)


def bits(talk: Talk) -> int:
    answer = talk.say(BITS)
    assert answer[:6] == bytes.fromhex("2a 04 06 00 81 50")
    return int(struct.unpack("<HL", answer[6:])[1])


def counts(talk: Talk) -> int:
    answer = talk.say(POSITION)
    assert answer[:6] == bytes.fromhex("12 04 06 00 81 50")
    return int(struct.unpack("<Hl", answer[6:])[1])


@pytest.fixture(params=["K10CR1", "KDC101"])
def mount(request: pytest.FixtureRequest) -> Talk:
    clock = SteppedClock()
    table = Scene(scene("ola", "ideal", 3), clock)
    return Talk(AptMount(clock, table.mount, table.settings.mount.speed_deg_s, request.param), clock)


@pytest.fixture
def blade() -> PlainBlade:
    return PlainBlade(SteppedClock())


@pytest.fixture
def shutter(blade: PlainBlade) -> Talk:
    return Talk(Ksc101(blade._clock, blade), blade._clock)


def test_it_says_who_it_is(mount: Talk, shutter: Talk) -> None:
    for talk, model in ((mount, mount.wire.model), (shutter, "KSC101")):  # type: ignore[attr-defined]
        answer = talk.say(WHO)
        assert answer[:6] == bytes.fromhex("06 00 54 00 81 50")
        assert len(answer) == 90
        assert answer[10:18].rstrip(b"\0") == model.encode()
    assert struct.unpack_from("<l", shutter.say(WHO), 6)[0] == 68123456


def test_messages_come_in_pieces_together_and_after_rubbish(shutter: Talk) -> None:
    assert shutter.say(STATE[:4]) == b""
    assert shutter.say(STATE[4:]) == bytes.fromhex("cd 04 01 00 01 50")
    assert shutter.say(STATE + STATE) == 2 * bytes.fromhex("cd 04 01 00 01 50")
    assert shutter.say(b"\r\n*IDN?\r\n" + STATE) == bytes.fromhex("cd 04 01 00 01 50")
    assert shutter.say(bytes.fromhex("99 09 00 00 50 01")) == b""


def test_homing_and_a_motion_are_reported_at_their_end(mount: Talk) -> None:
    scale = {"K10CR1": 409600 / 3, "KDC101": 1919.6418578623391}[mount.wire.model]  # type: ignore[attr-defined]
    assert bits(mount) & 0x400 == 0
    assert mount.say(HOME) == b""
    assert bits(mount) & 0x230 == 0x230
    assert mount.wait() == bytes.fromhex("44 04 01 00 01 50")
    assert bits(mount) & 0x630 == 0x400
    wanted = round(30.0 * scale)
    mount.say(move_to(wanted))
    assert bits(mount) & 0x30
    begun_s = mount.clock.now_s()
    done = mount.wait()
    assert done[:6] == bytes.fromhex("64 04 0e 00 81 50")
    assert struct.unpack_from("<Hl", done, 6)[1] == pytest.approx(wanted, abs=1)
    assert counts(mount) == pytest.approx(wanted, abs=1)
    assert 3.0 < mount.clock.now_s() - begun_s < 3.5  # 10 degrees a second


def test_a_stop_ends_a_motion_and_says_where(mount: Talk) -> None:
    mount.ask(HOME)
    mount.say(move_to(1_000_000))
    mount.clock.sleep(0.5)
    stopped = mount.say(STOP)
    assert stopped[:6] == bytes.fromhex("66 04 0e 00 81 50")
    assert 0 < counts(mount) < 1_000_000
    assert bits(mount) & 0x430 == 0x400
    assert mount.wait() == b""


def test_status_is_sent_unasked_until_it_is_told_not_to(mount: Talk) -> None:
    mount.say(bytes.fromhex("11 00 00 00 50 01"))
    mount.clock.sleep(0.35)
    heard = b""
    for _ in range(3):
        mount.wire.wake()
        heard += mount.heard()
    assert heard[:6] == bytes.fromhex("91 04 0e 00 81 50")
    assert len(heard) == 3 * 20
    mount.say(bytes.fromhex("12 00 00 00 50 01"))
    assert mount.wait() == b""
    assert len(mount.say(STATUS)) == 20


def test_a_channel_that_is_off_does_not_move(mount: Talk) -> None:
    mount.say(bytes.fromhex("10 02 01 02 50 01"))
    assert mount.say(bytes.fromhex("11 02 01 00 50 01")) == bytes.fromhex("12 02 01 02 01 50")
    mount.say(HOME)
    assert bits(mount) & 0x80000230 == 0


def test_the_solenoid_opens_and_closes(shutter: Talk, blade: PlainBlade) -> None:
    shutter.say(OPEN)
    shutter.say(OPEN)
    assert shutter.say(STATE) == bytes.fromhex("cd 04 01 01 01 50")
    shutter.say(CLOSE)
    assert shutter.say(STATE) == bytes.fromhex("cd 04 01 00 01 50")
    assert [open_ for _, open_ in blade.commands] == [True, False]


def test_the_interlock_and_the_trigger_mode_keep_it_closed(shutter: Talk, blade: PlainBlade) -> None:
    shutter.wire.trip_interlock(True)  # type: ignore[attr-defined]
    shutter.say(OPEN)
    shutter.wire.trip_interlock(False)  # type: ignore[attr-defined]
    shutter.say(bytes.fromhex("c0 04 01 04 50 01"))
    assert shutter.say(bytes.fromhex("c1 04 01 00 50 01")) == bytes.fromhex("c2 04 01 04 01 50")
    shutter.say(OPEN)
    assert blade.commands == []


def test_the_single_mode_closes_by_itself(shutter: Talk, blade: PlainBlade) -> None:
    shutter.say(bytes.fromhex("c0 04 01 02 50 01"))
    shutter.say(bytes.fromhex("c3 04 0e 00 d0 01") + struct.pack("<H3l", 1, 250, 500, 1))
    assert shutter.say(bytes.fromhex("c4 04 01 00 50 01"))[6:] == struct.pack("<H3l", 1, 250, 500, 1)
    shutter.say(OPEN)
    shutter.wait()
    assert blade.commands == [(0.0, True), (0.25, False)]
