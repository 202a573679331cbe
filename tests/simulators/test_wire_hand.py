"""The hands' own line: what is asked is done, and nothing that arrives breaks it."""

from __future__ import annotations

import json
import socket
import tomllib
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE_S
from wire_talk import Talk

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.bench import LONGEST_LINE, HandWire, SimulatedBench
from simulators.scene import Scene


def talk() -> tuple[Talk, Scene]:
    clock = SteppedClock()
    scene = Scene(presets.scene("ola", "ideal"), clock)
    return Talk(HandWire(scene), clock), scene


def line(action: object, **values: object) -> bytes:
    return json.dumps({"action": action, "values": values, "text": "please", "number": "um"}).encode() + b"\n"


def test_what_is_asked_for_is_done_and_numbers_come_back() -> None:
    said, scene = talk()
    assert said.say(line("meter", place="sample")) == b"ok\n"
    assert scene.hand.now.meter == "sample"
    assert said.say(line("knife", axis="x", position_um=4321.5)) == b"ok 4321.5\n"
    assert scene.hand.now.knife_um == 4321.5
    assert said.say(line("confirm")) == b"ok\n"
    assert said.say(b'{"action": "beam", "val') == b""
    assert said.say(b'ues": {"blocked": true}}\r\n' + line("sample", **{"in": False})) == b"ok\nok\n"
    assert scene.hand.now.blocked
    assert not scene.hand.now.sample


@pytest.mark.parametrize(
    "bad",
    [
        b"knife\n", b"[1]\n", b'{"action": 3}\n', b'{"action": "knife", "values": []}\n', b"\xff\xfe\n",
        b"[" * 2000 + b"\n", b'{"action": "knife", "values": {"axis": "x", "position_um": NaN}}\n',
        b'{"action": "knife", "values": {"axis": "x", "position_um": ' + b"9" * 3000 + b"}}\n",
        b'{"action": "\xc3\xa4\\n\\u0000"}\n', b'{"action": "\\ud800"}\n',
    ],
)  # fmt: skip
def test_nonsense_is_an_error_of_one_line(bad: bytes) -> None:
    said, scene = talk()
    before = scene.hand.now
    answer = said.say(bad)
    assert answer.startswith(b"error ")
    assert answer.count(b"\n") == 1
    assert scene.hand.now == before


def test_an_endless_line_is_told_once_and_skipped() -> None:
    said, _ = talk()
    assert said.say(b"x" * (LONGEST_LINE + 1)).startswith(b"error a line is longer")
    for _ in range(50):
        assert said.say(b"x" * 65536) == b""
    assert said.say(b"x\n" + line("confirm")) == b"ok\n"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b'{"action":', b'"lamp"}', b"{}"])))
def test_noise_breaks_nothing(pieces: list[bytes]) -> None:
    said, _ = talk()
    for piece in pieces:
        said.say(piece)
    said.say(b"\n")
    assert said.say(line("confirm")) == b"ok\n"


ANYTHING: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=50) | st.just([{}])
)
KEYS = st.sampled_from(["place", "axis", "position_um", "name", "transmission", "in", "blocked"])
ACTIONS = st.sampled_from(["meter", "knife", "filter", "lamp", "sample", "beam", "confirm", "", "wave"])


@cache
def everything() -> tuple[Talk, Scene]:
    """Return one bench for all examples: what one leaves behind, the next begins with."""
    clock = SteppedClock()
    scene = Scene(presets.uncalibrated(presets.scene("ola", "ideal"), 1), clock)
    return Talk(HandWire(scene), clock), scene


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ACTIONS, st.dictionaries(KEYS, ANYTHING, max_size=4)), max_size=4))
def test_any_request_is_done_or_refused_and_the_light_goes_on(
    requests: list[tuple[str, dict[str, object]]],
) -> None:
    said, scene = everything()
    for action, values in requests:
        answer = said.say(json.dumps({"action": action, "values": values}).encode() + b"\n")
        assert answer.startswith((b"ok", b"error "))
        assert answer.count(b"\n") == 1
    said.clock.sleep(0.2)
    now_s = said.clock.now_s()
    assert scene.meter.power_w(now_s, 10, 1e-3, 800.0, 0.0, 1e-5) >= 0.0
    assert scene.camera.expose(now_s - 0.02, 0.02).shape == (2136,)


def test_the_bench_has_hands_at_an_address_of_its_own() -> None:
    with SimulatedBench(presets.scene("ola", "ideal"), SteppedClock()) as bench:
        host, _, port = bench.hand.partition(":")
        assert tomllib.loads(bench.bench_toml(1))["bench"]["hand"] == bench.hand
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
            client.sendall(line("lamp", name="ne"))
            assert client.recv(100) == b"ok\n"
        assert bench.scene.hand.now.lamp == "ne"
