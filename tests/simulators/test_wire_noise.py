"""Whatever arrives, no instrument breaks, and each still answers the next client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_talk import IdleMount, PlainBlade, PlainCamera, PlainHead, Talk

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.attenuators.ell14 import Ell14Bus, Module
from simulators.link import Wire
from simulators.meters.pm100 import Pm100
from simulators.registry import find
from simulators.scene import Scene
from simulators.scene.settings import HeaterSettings
from simulators.shutters.sc10 import Sc10
from simulators.spectrometers.obp import Frame, encode
from simulators.spectrometers.ocean_fx import OceanFx

MAKE: dict[str, Callable[[SteppedClock], Wire]] = {
    "ell14": lambda clock: Ell14Bus(clock, [Module(clock, IdleMount(clock))]),
    "pm100": lambda clock: Pm100(clock, PlainHead()),  # type: ignore[arg-type]
    "sc10": lambda clock: Sc10(clock, PlainBlade(clock)),
    "ocean": lambda clock: OceanFx(clock, PlainCamera()),
    "ell20": lambda clock: find("thorlabs-ell20").make(everything(clock)),
    "thermometer": lambda clock: find("scpi-thermometer").make(everything(clock)),
    "tc200": lambda clock: find("thorlabs-tc200").make(everything(clock)),
}
CODES = (
    *(0x100, 0x101000, 0x110010, 0x100810, 0x100980, 0x100902),
    *(0x100000, 0x110110, 0x110120, 0x100830, 0x100832),
)
PAYLOADS = (b"", b"\x01", bytes(4), b"\x05\0\0\0", b"\x05\x30\0\0", bytes(30))


def everything(clock: SteppedClock) -> Scene:
    made = presets.uncalibrated(presets.scene("ola", "ideal"), 1)
    return Scene(replace(made, heater=HeaterSettings()), clock)


WORDS: dict[str, list[bytes]] = {
    "ell14": b"0 ma ho gs in ca ga is 00000100 FFFFFFFF f1 st so s1 zz \r \n".split(b" "),
    "ell20": b"0 ma ho gs in ca ga is 00000100 FFFFFFFF f1 st so s1 zz \r \n".split(b" "),
    "thermometer": b"*IDN? MEAS:TEMP? : ? MEASURE SYST:ERR? \n \r *RST 1e9".split(b" "),
    "pm100": [
        *b'SENS: CORR: WAV ? MAX 1e999 ; : , " * ABOR INIT READ? MEAS:POW? INIT;:FETC? RANG'.split(),
        *(b" ", b"\n", b"SENS:CORR:COLL:ZERO\n", b"SENS:POW:RANG 1\n"),
    ],
    "tc200": b"ens tset= tmax= 60 1e9 nan ? tact? stat? id? \r tset=40\r -".split(b" "),
    "sc10": b"ens ? \r mode= 3 4 open= 9 = id? resp default rep=2 ens\r".split(b" "),
    "ocean": [encode(Frame(code, payload)) for code in CODES for payload in PAYLOADS]
    + [b"\xc1\xc0", b"\xc1"],
}


@pytest.mark.parametrize("key", sorted(WORDS))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_noise_breaks_nothing(key: str, data: st.DataObject) -> None:
    clock = SteppedClock()
    talk = Talk(MAKE[key](clock), clock)
    pieces = st.sampled_from(WORDS[key]) | st.binary(max_size=6)
    for piece, pause_s in data.draw(st.lists(st.tuples(pieces, st.sampled_from([0.0, 20.0])), max_size=15)):
        talk.say(piece)
        if pause_s:
            talk.wait(pause_s)
    talk.wire.new_client()
    assert still_there(key, talk)


def still_there(key: str, talk: Talk) -> bool:
    """Return whether the instrument answers who it is."""
    if key.startswith("ell"):
        talk.wait()
        talk.clock.sleep(256 * 60.0)  # it may have been isolated, and told to listen to another address
        return any(
            (b"IN0E" if key == "ell14" else b"IN14") in talk.say(f"{digit:X}in".encode())
            for digit in range(16)
        )
    if key == "ocean":
        return b"FLMX00042" in talk.say(encode(Frame(0x100)))
    question, answer = {
        "pm100": (b"\n*IDN?\n", b"THORLABS"),
        "sc10": (b"\rid?\r", b"SC10"),
        "thermometer": (b"\n*IDN?\n", b"RTD-1"),
        "tc200": (b"\rid?\r", b"TC200"),
    }[key]
    return answer in talk.say(question)
