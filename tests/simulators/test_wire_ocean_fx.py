"""The Ocean FX, frame by frame, and the order of its exposures."""

from __future__ import annotations

import hashlib
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_talk import PlainCamera, Talk

from labctl.model.clock import SteppedClock
from simulators.spectrometers.obp import ACK, ACK_REQUESTED, MD5, NACK, RESPONSE, Decoder, Frame, encode
from simulators.spectrometers.ocean_fx import OceanFx
from simulators.spectrometers.ocean_fx_camera import laser_triggers

SERIAL, SPECTRUM, SET_INTEGRATION, GET_INTEGRATION = 0x100, 0x101000, 0x110010, 0x110000
SET_TRIGGER, GET_TRIGGER, TRIGGER = 0x110110, 0x110100, 0x110120


@pytest.fixture
def talk() -> Talk:
    clock = SteppedClock()
    return Talk(OceanFx(clock, PlainCamera()), clock)


def query(talk: Talk, message: int, payload: bytes = b"") -> bytes:
    (frame,) = Decoder().feed(talk.ask(encode(Frame(message, payload))))
    assert frame.flags == RESPONSE
    assert frame.message == message
    return frame.payload


def command(talk: Talk, message: int, payload: bytes = b"") -> None:
    reply = talk.say(encode(Frame(message, payload, ACK_REQUESTED)))
    assert len(reply) == 64
    assert Decoder().feed(reply) == [Frame(message, b"", RESPONSE | ACK)]


def error(talk: Talk, message: int, payload: bytes = b"", flags: int = 0) -> int:
    reply = talk.ask(encode(Frame(message, payload, flags)))
    assert len(reply) == 64
    (frame,) = Decoder().feed(reply)
    assert frame.flags == RESPONSE | NACK
    return int(struct.unpack_from("<H", reply, 6)[0])


def exposure(talk: Talk) -> tuple[int, int]:
    """Return start and integration of the next spectrum, ms."""
    counts = query(talk, SPECTRUM)
    assert len(counts) == 2 * 2136
    start_ms, integration_ms = struct.unpack_from("<HH", counts)
    return start_ms, integration_ms


def set_ms(talk: Talk, integration_ms: int) -> None:
    command(talk, SET_INTEGRATION, struct.pack("<L", 1000 * integration_ms))


def test_a_short_answer_is_in_the_header_of_exactly_64_bytes(talk: Talk) -> None:
    reply = talk.say(bytes.fromhex("c1c0 0011 0000 0000 00010000 2a000000 000000000000 00 00") + bytes(16)
                     + bytes.fromhex("14000000") + bytes(16) + bytes.fromhex("c5c4c3c2"))  # fmt: skip
    assert reply == (
        bytes.fromhex("c1c0 0011 0100 0000 00010000 2a000000 000000000000 00 09") + b"FLMX00042" + bytes(7)
        + bytes.fromhex("14000000") + bytes(16) + bytes.fromhex("c5c4c3c2")
    )  # fmt: skip


def test_checksums_are_made_when_asked_for_and_always_checked(talk: Talk) -> None:
    request = encode(Frame(SERIAL, checksum=MD5))
    reply = talk.say(request)
    assert reply[44:60] == hashlib.md5(reply[:44]).digest()
    broken = request[:45] + bytes([request[45] ^ 1]) + request[46:]
    assert error_of(talk.say(broken)) == 3
    assert error_of(talk.say(encode(Frame(SERIAL, checksum=2)))) == 8


def error_of(reply: bytes) -> int:
    assert struct.unpack_from("<H", reply, 4)[0] & NACK
    return int(struct.unpack_from("<H", reply, 6)[0])


def test_refusals_have_reasons(talk: Talk) -> None:
    assert error(talk, 0xDEAD) == 2
    assert error(talk, 0x110010, b"\x01") == 5
    assert error(talk, 0x110010, struct.pack("<L", 1), ACK_REQUESTED) == 6
    assert error(talk, 0x110010, struct.pack("<L", 10_000_001)) == 6
    assert error(talk, SET_TRIGGER, b"\x07") == 6
    assert error(talk, 0x180101, b"\x04") == 12
    assert error(talk, 0x183101, b"\x00") == 12
    assert error(talk, SERIAL, b"\x00") == 5


def test_a_frame_with_two_payloads_or_a_wrong_version_is_refused(talk: Talk) -> None:
    frame = bytearray(encode(Frame(0x110010, bytes(20))))
    frame[23] = 4
    assert error_of(talk.say(bytes(frame))) == 5
    frame = bytearray(encode(Frame(SERIAL)))
    frame[2:4] = b"\x00\x20"
    assert error_of(talk.say(bytes(frame))) == 1
    frame = bytearray(encode(Frame(SERIAL)))
    frame[40:44] = struct.pack("<L", 10_000_000)
    assert error_of(talk.say(bytes(frame[:44]))) == 4
    assert query(talk, SERIAL) == b"FLMX00042"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\xc1" not in b), max_size=4), st.data())
def test_any_cut_of_the_stream_gives_the_same_frames(noise: list[bytes], data: st.DataObject) -> None:
    frames = [Frame(i, bytes(i * 7), regarding=i, checksum=i % 2) for i in range(len(noise))]
    stream = b"".join(n + encode(f) for n, f in zip(noise, frames, strict=True))
    cut = data.draw(st.integers(0, len(stream)))
    decoder = Decoder()
    assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == frames


def test_what_it_says_of_itself(talk: Talk) -> None:
    assert query(talk, 0x101) == b"\x09"
    assert query(talk, 0x110220) == struct.pack("<L", 2136)
    assert query(talk, 0x110221) == struct.pack("<LL", 0, 2135)
    assert query(talk, 0x110222) == query(talk, 0x110223) == b""
    assert query(talk, 0x180100) == b"\x04"
    assert struct.unpack("<f", query(talk, 0x180101, b"\x01"))[0] == pytest.approx(0.03)
    assert query(talk, 0x181100) == b"\x08"
    assert struct.unpack("<f", query(talk, 0x181101, b"\x02"))[0] == pytest.approx(-7e-12)
    assert struct.unpack("<f", query(talk, 0x400001, b"\x00"))[0] == 25.5
    assert query(talk, 0x1010A0) == struct.pack("<L", 65535)
    assert len(query(talk, 0x90)) == 2
    assert [struct.unpack("<L", query(talk, 0x110001 + i))[0] for i in range(3)] == [10, 10_000_000, 1]


def test_a_set_without_an_acknowledgement_is_silent(talk: Talk) -> None:
    assert talk.say(encode(Frame(SET_INTEGRATION, struct.pack("<L", 20000)))) == b""
    assert query(talk, GET_INTEGRATION) == struct.pack("<L", 20000)


def test_free_run_gives_every_exposure_once_to_who_asks_at_once(talk: Talk) -> None:
    assert [exposure(talk) for _ in range(3)] == [(0, 10), (10, 10), (20, 10)]
    assert talk.clock.now_s() == pytest.approx(0.030)


def test_free_run_gives_the_exposure_that_already_runs(talk: Talk) -> None:
    talk.clock.sleep(0.0371)
    assert exposure(talk) == (30, 10)
    assert talk.clock.now_s() == pytest.approx(0.040)


def test_the_first_spectrum_after_a_change_is_of_the_old_setting(talk: Talk) -> None:
    exposure(talk)
    talk.clock.sleep(0.003)
    set_ms(talk, 50)
    assert [exposure(talk) for _ in range(3)] == [(10, 10), (20, 50), (70, 50)]


def test_of_two_changes_in_one_exposure_the_last_counts(talk: Talk) -> None:
    talk.clock.sleep(0.003)
    set_ms(talk, 50)
    set_ms(talk, 5)
    assert [exposure(talk) for _ in range(2)] == [(0, 10), (10, 5)]


def test_an_abort_refuses_who_waits_and_starts_afresh(talk: Talk) -> None:
    set_ms(talk, 5000)
    exposure(talk)
    assert talk.say(encode(Frame(SPECTRUM, regarding=9))) == b""
    talk.clock.sleep(1.0)
    reply = talk.say(encode(Frame(0x100000, flags=ACK_REQUESTED)))
    refused, acknowledged = Decoder().feed(reply)
    assert (refused.flags, error_of(reply), refused.regarding) == (RESPONSE | NACK, 7, 9)
    assert acknowledged.flags == RESPONSE | ACK
    assert exposure(talk) == (1010, 5000)


def test_requests_queue_behind_an_exposure(talk: Talk) -> None:
    frames = Decoder().feed(talk.ask(encode(Frame(SPECTRUM)) + encode(Frame(SERIAL))))
    assert [frame.message for frame in frames] == [SPECTRUM, SERIAL]


@pytest.mark.parametrize("mode", [1, 3])
def test_triggered_modes_wait_for_the_trigger(talk: Talk, mode: int) -> None:
    command(talk, SET_TRIGGER, bytes([mode]))
    assert query(talk, GET_TRIGGER) == bytes([mode])
    assert talk.ask(encode(Frame(SPECTRUM))) == b""
    talk.clock.sleep(0.5)
    wire = talk.wire
    assert isinstance(wire, OceanFx)
    wire.trigger()
    (frame,) = Decoder().feed(talk.wait())
    assert struct.unpack_from("<HH", frame.payload) == (500, 10)


def test_internal_exposes_on_demand_and_disabled_not_at_all(talk: Talk) -> None:
    command(talk, SET_TRIGGER, b"\x02")
    talk.clock.sleep(0.007)
    assert exposure(talk) == (7, 10)
    command(talk, SET_TRIGGER, b"\xff")
    assert error(talk, SPECTRUM) == 7


def blocks(payload: bytes) -> list[tuple[int, int, int, int]]:
    """Return device time, integration, number and start (from the pixels) of each buffered spectrum."""
    size = 64 + 2 * 2136 + 4
    assert len(payload) % size == 0
    found = []
    for at in range(0, len(payload), size):
        version, length, pixel_bytes, ticks, integration, form, number = struct.unpack_from(
            "<HHLQLLL", payload, at
        )
        assert (version, length, pixel_bytes, form) == (1, 64, 2 * 2136, 1)
        found.append((ticks, integration, number, struct.unpack_from("<H", payload, at + 64)[0]))
    return found


def test_the_buffer_keeps_every_exposure_with_its_time(talk: Talk) -> None:
    set_ms(talk, 1)
    exposure(talk)
    command(talk, 0x100810, b"\x01")
    assert query(talk, 0x100800) == b"\x01"
    talk.clock.sleep(0.0205)
    assert query(talk, 0x100900) == struct.pack("<L", 20)
    read = blocks(query(talk, 0x100980, struct.pack("<L", 15)))
    assert [b[0] for b in read] == [11000 + 1000 * i for i in range(15)]
    assert [b[3] for b in read] == [10 + i for i in range(15)]
    assert [b[2] for b in read] == [1 + i for i in range(15)]
    assert query(talk, 0x100900) == struct.pack("<L", 5)
    assert len(blocks(query(talk, 0x100980, struct.pack("<L", 15)))) == 15
    assert talk.clock.now_s() == pytest.approx(0.040)


def test_buffer_commands(talk: Talk) -> None:
    command(talk, 0x100810, b"\x01")
    talk.clock.sleep(0.1)
    command(talk, 0x100831, struct.pack("<L", 4))
    assert query(talk, 0x100900) == struct.pack("<L", 6)
    command(talk, 0x100832, struct.pack("<L", 3))
    assert query(talk, 0x100822) == struct.pack("<L", 3)
    assert query(talk, 0x100900) == struct.pack("<L", 3)
    command(talk, 0x100830)
    assert query(talk, 0x100900) == struct.pack("<L", 0)
    assert error(talk, 0x100980, struct.pack("<L", 16)) == 6
    assert error(talk, 0x100832, struct.pack("<L", 0)) == 6
    command(talk, 0x100810, b"\x00")
    assert error(talk, 0x100980, struct.pack("<L", 1)) == 7


def test_back_to_back_runs_end_by_themselves(talk: Talk) -> None:
    command(talk, 0x110112, struct.pack("<L", 4))
    assert query(talk, 0x110102) == struct.pack("<L", 4)
    command(talk, 0x100810, b"\x01")
    talk.clock.sleep(0.003)
    command(talk, 0x100902)
    assert query(talk, 0x100908) == b"\x00"
    talk.clock.sleep(1.0)
    assert query(talk, 0x100908) == b"\x01"
    assert [b[3] for b in blocks(query(talk, 0x100980, struct.pack("<L", 4)))] == [3, 13, 23, 33]


def test_a_trigger_fills_the_buffer(talk: Talk) -> None:
    command(talk, SET_TRIGGER, b"\x01")
    command(talk, 0x110112, struct.pack("<L", 2))
    command(talk, 0x100810, b"\x01")
    assert talk.ask(encode(Frame(0x100980, struct.pack("<L", 2)))) == b""
    talk.clock.sleep(0.25)
    assert talk.say(encode(Frame(TRIGGER))) == b""
    wire = talk.wire
    assert isinstance(wire, OceanFx)
    wire.trigger()
    (frame,) = Decoder().feed(talk.wait())
    assert [b[3] for b in blocks(frame.payload)] == [250, 260]


def test_a_long_rest_does_not_cost_the_buffer_time(talk: Talk) -> None:
    set_ms(talk, 1)
    exposure(talk)
    command(talk, 0x100810, b"\x01")
    talk.clock.sleep(1e6)
    assert query(talk, 0x100900) == struct.pack("<L", 50_000)


def test_the_older_message_gives_thirty_two_bytes_and_pixels_of_four(talk: Talk) -> None:
    command(talk, 0x100810, b"\x01")
    talk.clock.sleep(0.025)
    payload = query(talk, 0x100928)
    assert len(payload) == 32 + 4 * 2136
    assert struct.unpack_from("<LL", payload, 32) == (0, 10)
    assert struct.unpack_from("<LQL", payload) == (0, 10_000, 10_000)
    assert query(talk, 0x100900) == struct.pack("<L", 1)


def test_scans_are_averaged_and_take_their_time(talk: Talk) -> None:
    command(talk, 0x120010, struct.pack("<H", 4))
    assert query(talk, 0x120000) == struct.pack("<H", 4)
    exposure(talk)
    assert exposure(talk) == (10 + 15, 10)  # the mean of scans that began at 10, 20, 30 and 40
    assert talk.clock.now_s() == pytest.approx(0.05)
    assert error(talk, 0x120010, struct.pack("<H", 0)) == 6


def test_a_boxcar_takes_the_mean_of_neighbours(talk: Talk) -> None:
    command(talk, 0x121010, b"\x01")
    assert query(talk, 0x121000) == b"\x01"
    talk.clock.sleep(0.020)
    assert struct.unpack_from("<HHHH", query(talk, SPECTRUM)) == (15, 10, 3, 0)  # of 20, 10, 0, 0
    assert error(talk, 0x121010, b"\x10") == 6


def paced(phase: float = 0.25) -> Talk:
    """Return an FX whose trigger input sees a pulse at (k + phase) ms."""
    clock = SteppedClock()
    return Talk(OceanFx(clock, PlainCamera(), laser_triggers(1000.0, phase)), clock)


def start_us(payload: bytes) -> list[int]:
    """Return when each buffered exposure began, by its metadata."""
    size = 64 + 2 * 2136 + 4
    return [struct.unpack_from("<Q", payload, at + 32)[0] for at in range(0, len(payload), size)]


@given(st.integers(0, 10**10), st.floats(0, 0.999), st.sampled_from([10.0, 1000.0, 5000.0, 999.7]))
def test_a_trigger_comes_just_before_its_pulse(at_us: int, phase: float, rate_hz: float) -> None:
    found_us = laser_triggers(rate_hz, phase)(at_us)
    position = found_us * 1e-6 * rate_hz - phase
    assert at_us <= found_us <= at_us + 1e6 / rate_hz + 3
    assert 0 < round(position + 0.5) - position < 3e-6 * rate_hz


@pytest.mark.parametrize("mode", [1, 3])
def test_a_triggered_exposure_begins_with_the_next_laser_pulse(mode: int) -> None:
    talk = paced()
    command(talk, SET_TRIGGER, bytes([mode]))
    set_ms(talk, 2)
    talk.clock.sleep(0.0105)
    command(talk, 0x110510, struct.pack("<L", 0))
    exposure(talk)
    assert talk.clock.now_s() == pytest.approx(0.011249 + 0.002, abs=1e-9)
    exposure(talk)
    assert talk.clock.now_s() == pytest.approx(0.014249 - 0.001 + 0.002, abs=1e-9)


def test_an_acquisition_delay_follows_the_trigger() -> None:
    talk = paced()
    command(talk, SET_TRIGGER, b"\x01")
    command(talk, 0x110510, struct.pack("<L", 300))
    assert query(talk, 0x110500) == struct.pack("<L", 300)
    exposure(talk)
    assert talk.clock.now_s() == pytest.approx(0.000249 + 0.0003 + 0.010, abs=1e-9)
    assert error(talk, 0x110510, struct.pack("<L", 10**6)) == 6


def test_the_buffer_takes_one_exposure_of_each_pulse_it_can_follow() -> None:
    talk = paced()
    command(talk, SET_TRIGGER, b"\x01")
    set_ms(talk, 1)  # as long as a period: the pulse that comes in the meantime is missed
    command(talk, 0x100810, b"\x01")
    assert start_us(query(talk, 0x100980, struct.pack("<L", 3))) == [249, 1249, 2249]
    command(talk, SET_INTEGRATION, struct.pack("<L", 1100))
    command(talk, 0x100830)
    assert start_us(query(talk, 0x100980, struct.pack("<L", 3))) == [3249, 5249, 7249]


def test_back_to_back_exposures_share_a_trigger() -> None:
    talk = paced()
    command(talk, SET_TRIGGER, b"\x01")
    command(talk, SET_INTEGRATION, struct.pack("<L", 400))
    command(talk, 0x110112, struct.pack("<L", 2))
    command(talk, 0x100810, b"\x01")
    assert start_us(query(talk, 0x100980, struct.pack("<L", 5))) == [249, 649, 1249, 1649, 2249]
    talk.clock.sleep(60.0)
    assert query(talk, 0x100900) == struct.pack("<L", 50_000)
    assert all((us - 249) % 1000 in (0, 400) for us in start_us(query(talk, 0x100980, b"\x0f\0\0\0")))


def test_a_trigger_that_is_not_heard_makes_no_exposure_and_the_buffer_goes_on_afterwards() -> None:
    clock = SteppedClock()
    deaf = {4, 5, 6}  # milliseconds of the clock in which the input hears nothing
    triggers = laser_triggers(1000.0, 0.5, lambda at_s: 0.007 if int(at_s * 1e3) in deaf else None)
    talk = Talk(OceanFx(clock, PlainCamera(), triggers), clock)
    set_us(talk, 800)
    command(talk, SET_TRIGGER, b"\x01")
    command(talk, 0x100810, b"\x01")
    clock.sleep(0.0105)
    read = blocks(query(talk, 0x100980, struct.pack("<L", 7)))
    assert [b[0] for b in read] == [1299, 2299, 3299, 4299, 8299, 9299, 10299]
    assert [b[2] - read[0][2] for b in read] == list(range(7))  # what was not exposed has no number


def test_without_any_trigger_nobody_waits_for_ever() -> None:
    clock = SteppedClock()
    triggers = laser_triggers(1000.0, 0.5, lambda _at_s: math.inf)
    silent = Talk(OceanFx(clock, PlainCamera(), triggers), clock)
    command(silent, SET_TRIGGER, b"\x01")
    command(silent, 0x100810, b"\x01")
    clock.sleep(10.0)
    assert query(silent, 0x100900) == bytes(4)
    assert silent.say(encode(Frame(0x100980, struct.pack("<L", 1)))) == b""
    assert silent.wire.due_s() is None


def set_us(talk: Talk, integration_us: int) -> None:
    command(talk, SET_INTEGRATION, struct.pack("<L", integration_us))
