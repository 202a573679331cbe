"""The plan of faults as a file: what it may say, and how it refuses the rest."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan, load_faults
from simulators.faults.framing import framer
from simulators.faults.plan import HOW, KINDS, ROLES, WHEN
from simulators.faults.tamper import Armed, matches, shortened, truncated
from simulators.scene.chance import MOST, Spell, Spells
from simulators.scene.settings import HeaterSettings
from simulators.spectrometers.obp import Decoder, Frame, encode

GOOD = """\
seed = 7

[[fault]]
kind = "late-answer"
instrument = "shutter"
match = "closed?"
nth = 3
wall_s = 0.4

[[fault]]
kind = "dead-laser"
at_s = 12.5
duration_s = 3

[[fault]]
kind = "garble"
instrument = "power_meter"
probability = 0.01
bytes = 2
"""


def test_a_plan_is_read_with_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(GOOD, encoding="utf-8")
    plan = load_faults(path)
    late, dead, garble = plan.faults
    assert plan.seed == 7
    assert (late.number, late.instrument, late.direction, late.nth, late.count) == (
        1,
        "shutter",
        "reply",
        3,
        1,
    )
    assert (late.match, late.wall_s, late.duration_s) == ("closed?", 0.4, None)
    assert (dead.instrument, dead.at_s, dead.duration_s, dead.factor) == (None, 12.5, 3.0, 0.0)
    assert (garble.probability, garble.bytes, garble.count) == (0.01, 2, None)
    assert FaultPlan.parse("") == FaultPlan()


def test_every_kind_can_be_planned_and_only_its_instruments_are_tampered_with() -> None:
    tables = [
        f'[[fault]]\nkind = "{name}"\ninstrument = "{kind.roles[-1]}"\nnth = 1\n'
        for name, kind in KINDS.items()
        if kind.roles[-1] != "shutter" and kind.layer != "usb"
    ]
    plan = FaultPlan.parse("".join(tables))
    wanted = [k for k in KINDS if KINDS[k].roles[-1] != "shutter" and KINDS[k].layer != "usb"]
    assert [fault.kind for fault in plan.faults] == wanted
    made = presets.uncalibrated(presets.scene("ola", "ideal"), 1)
    everything = replace(made, heater=HeaterSettings())
    with SimulatedBench(everything, SteppedClock(), faults=plan) as bench:
        tampered = {role for role in ROLES if bench.server(role).link.tamper is not None}
        assert tampered == {*ROLES} - {"shutter", "thermometer"}
        assert len(bench.fault_log) == 0


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.layer == "usb"])
def test_faults_of_usb_are_refused_where_the_instrument_is_not_on_usb(kind: str) -> None:
    plan = FaultPlan.parse(f'[[fault]]\nkind = "{kind}"\ninstrument = "power_meter"\nnth = 1\n')
    with pytest.raises(ConfigError, match="not on USB") as refused:
        SimulatedBench(presets.scene("ola", "ideal"), SteppedClock(), faults=plan)
    assert "--transport usb" in str(refused.value)


def test_every_parameter_has_a_rule_and_every_rule_is_used() -> None:
    assert {key for kind in KINDS.values() for key in kind.parameters} == set(HOW)


STUCK = 'kind = "stuck-plate"\n'
DROP = 'kind = "drop"\ninstrument = "shutter"\n'

WRONG = [
    ("sead = 1", "sead", "did you mean seed?"),
    ("seed = 1.5", "seed", "whole number"),
    ("seed = true", "seed", "whole number"),
    ("fault = 3", "fault", "[[fault]]"),
    ("fault = [1]", "fault", "[[fault]]"),
    ("[[fault]]\nnth = 1", "fault[1].kind", "missing"),
    ('[[fault]]\nkind = "stuck-plait"\nnth = 1', "fault[1].kind", "did you mean stuck-plate?"),
    ("[[fault]]\nkind = 3\nnth = 1", "fault[1].kind", "valid here"),
    (f"[[fault]]\n{DROP}", "fault[1]", "one of nth, at_s, probability is missing"),
    (f"[[fault]]\n{DROP}nth = 1\nat_s = 3", "fault[1].at_s", "does not go with nth"),
    (f"[[fault]]\n{DROP}nht = 1", "fault[1].nht", "did you mean nth?"),
    (f"[[fault]]\n{DROP}nth = 0", "fault[1].nth", "from 1 to"),
    (f"[[fault]]\n{DROP}nth = 1.0", "fault[1].nth", "whole number"),
    (f"[[fault]]\n{DROP}nth = true", "fault[1].nth", "whole number"),
    (f"[[fault]]\n{DROP}at_s = inf", "fault[1].at_s", "from 0 to 1e+09"),
    (f"[[fault]]\n{DROP}at_s = nan", "fault[1].at_s", "from 0 to 1e+09"),
    (f"[[fault]]\n{DROP}at_s = 1{'0' * 400}", "fault[1].at_s", "a number that large"),
    (f"[[fault]]\n{DROP}probability = 1.5", "fault[1].probability", "from 0 to 1"),
    (f"[[fault]]\n{DROP}probability = 0.5\nduration_s = 1", "fault[1].duration_s", "probability"),
    (f"[[fault]]\n{DROP}nth = 1\ncount = 2\nduration_s = 1", "fault[1].duration_s", "count"),
    (f"[[fault]]\n{DROP}nth = 1\nwall_s = 1", "fault[1].wall_s", "unknown key for drop"),
    (f"[[fault]]\n{DROP}nth = 1\nmatch = 3", "fault[1].match", "should be text"),
    (f"[[fault]]\n{DROP}nth = 1\nmatch = '{'x' * 300}'", "fault[1].match", "longer than"),
    (f"[[fault]]\n{DROP}nth = 1\ndirection = 'replies'", "fault[1].direction", "did you mean reply?"),
    ('[[fault]]\nkind = "drop"\nnth = 1', "fault[1].instrument", "missing"),
    ('[[fault]]\nkind = "drop"\nnth = 1\ninstrument = "shuter"', "fault[1].instrument", "shutter?"),
    ('[[fault]]\nkind = "dead-laser"\nnth = 1', "fault[1].instrument", "missing"),
    (f"[[fault]]\n{STUCK}nth = 1\ninstrument = 'shutter'", "fault[1].instrument", "attenuator only"),
    (f"[[fault]]\n{STUCK}nth = 1\ncount = 3", "fault[1].count", "begins once"),
    (f"[[fault]]\n{STUCK}nth = 1\ndirection = 'reply'", "fault[1].direction", "request only"),
    (f"[[fault]]\n{STUCK}at_s = 1\nmatch = 'ma'", "fault[1].match", "no message is waited for"),
    (f"[[fault]]\n{STUCK}nth = 1\nreadback = 'no'", "fault[1].readback", "valid here"),
    ('[[fault]]\nkind = "slipped-plate"\nnth = 1\nduration_s = 1', "fault[1].duration_s", "one moment"),
    (
        '[[fault]]\nkind = "restart"\ninstrument = "shutter"\nnth = 1\nintegration_s = 1',
        "fault[1].integration_s",
        "only a spectrometer",
    ),
    (
        '[[fault]]\nkind = "delay"\ninstrument = "shutter"\nnth = 1\nwall_s = inf',
        "fault[1].wall_s",
        "drop or a stall",
    ),
    (f"[[fault]]\n{DROP}nth = 1\n[[fault]]\n{DROP}", "fault[2]", "missing"),
    ("seed = ", "", "is not TOML"),
    ("x = " + "[" * 3000, "", "is not TOML"),
    (f"x = 1{'0' * 6000}", "", "is not TOML"),
    ("#" * 70_000, "", "too large"),
    (f"[[fault]]\n{DROP}nth = 1\n" * 300, "fault", "at most 256"),
]


@pytest.mark.parametrize(("text", "key", "reason"), WRONG)
def test_a_mistake_is_told_with_key_reason_and_what_was_meant(text: str, key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FaultPlan.parse(text, Path("plan.toml"))
    assert caught.value.key == key
    assert reason in str(caught.value)
    assert str(caught.value).startswith("plan.toml")
    assert len(str(caught.value)) < 700


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    huge, binary = tmp_path / "huge.toml", tmp_path / "binary.toml"
    huge.write_bytes(b"#" * 70_000)
    binary.write_bytes(b"seed = 1 # \xff\xfe")
    for path, reason in (
        (tmp_path / "none.toml", "cannot be read"),
        (tmp_path, "is a directory"),
        (huge, "too large"),
        (binary, "not UTF-8"),
        (Path("/dev/zero"), "not a regular file|cannot be read"),
    ):
        with pytest.raises(ConfigError, match=reason) as caught:
            load_faults(path)
        assert caught.value.file == path


KEYS = st.sampled_from([*HOW, "nth", "at_s", "probability", "count", "kind", "instrument", "x"])
VALUES = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=8), st.sampled_from([*KINDS, *ROLES])
)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
    return str(value)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=3), st.text(max_size=30))
def test_any_plan_is_a_plan_or_a_config_error(tables: list[dict[str, object]], rest: str) -> None:
    text = "".join(
        "[[fault]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
        for table in tables
    )
    for candidate in (text, text + rest, rest):
        try:
            plan = FaultPlan.parse(candidate)
        except ConfigError:
            continue
        assert all(f.kind in KINDS for f in plan.faults)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["thorlabs-ell14", "thorlabs-pm100", "thorlabs-sc10", "ocean", "other"]), st.data())
@example("ocean", None)
def test_framing_keeps_every_byte_in_order_however_it_is_cut(key: str, data: st.DataObject | None) -> None:
    stream = {
        "thorlabs-ell14": b"0in\r\n0ma00001000?0gp1zz0sv",
        "thorlabs-pm100": b"*IDN?\nMEAS:POW?\nSENS",
        "thorlabs-sc10": b"ens?\rid?\rclo",
        "ocean": encode(Frame(0x00101000)) + encode(Frame(0x00110010, b"x" * 40)) + b"\xc1\xc0\x00",
        "other": b"anything",
    }[key]
    whole = framer(key)
    expected = whole.feed(stream)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))] if data else range(64)
    cutter = framer(key)
    heard = []
    for begin, end in zip(cuts, [*cuts[1:], len(stream)], strict=True):
        heard += cutter.feed(stream[begin:end])
    assert stream.startswith(b"".join(heard))
    if key in ("thorlabs-pm100", "thorlabs-sc10", "ocean"):
        assert heard == expected


def test_requests_are_known_by_their_name() -> None:
    elliptec, obp = framer("thorlabs-ell14"), framer("ocean")
    assert elliptec.feed(b"\r\n0ma000010000gp0ma12\r0") == [b"\r\n0ma00001000", b"0gp", b"0ma12\r"]
    assert elliptec.label(b"\r\n0ma00001000") == "0ma00001000"
    assert obp.label(encode(Frame(0x00101000))) == "00101000"
    assert obp.label(b"\xc1\xc0") == ""


def test_half_a_request_without_end_does_not_fill_the_memory() -> None:
    cutter = framer("thorlabs-pm100")
    messages = [m for _ in range(30) for m in cutter.feed(b"x" * 10_000)]
    assert sum(map(len, messages)) >= 200_000


def test_a_scene_remembers_only_so_many_spells_and_drops_the_ones_long_over() -> None:
    spells = Spells()
    spells.add(Spell(5.0, value=3.0))
    for number in range(MOST + 50):
        spells.add(Spell(float(number), number + 0.5))
    assert len(spells) == MOST
    assert spells.at(1e6) == Spell(5.0, value=3.0)


def test_the_smallest_messages_survive_being_mangled() -> None:
    assert truncated(b"x", None) == truncated(b"xy", 0) == b""
    assert truncated(b"abc", 10) == b"ab"
    assert shortened(b"no frame", 3) == b"no frame"
    (frame,) = Decoder().feed(shortened(encode(Frame(1, b"ab")), 100))
    assert (frame.payload, frame.error) == (b"", 0)


def test_a_match_may_be_bound_to_the_ends_of_the_request() -> None:
    requests = ["ens", "ens?", "xens", "0ma0000", ""]
    hit = {
        p: [r for r in requests if matches(p, r)]
        for p in ("", "ens", "^ens", "ens$", "^ens$", "^", "$", "^$")
    }
    assert hit == {
        "": requests,
        "ens": ["ens", "ens?", "xens"],
        "^ens": ["ens", "ens?"],
        "ens$": ["ens", "xens"],
        "^ens$": ["ens"],
        "^": requests,
        "$": requests,
        "^$": [""],
    }


def test_a_duration_begins_with_the_first_message_hit() -> None:
    plan = FaultPlan.parse(f"[[fault]]\n{DROP}nth = 2\nmatch = 'ens'\nduration_s = 4\n")
    armed = Armed(plan.faults[0], plan.seed)
    asked = [("ens?", 0.0), ("id?", 1.0), ("ens", 2.0), ("ens?", 5.9), ("ens?", 6.0)]
    hit = [armed.strikes("reply", label, now_s) for label, now_s in asked]
    assert hit == [False, False, True, True, False]
    assert not armed.strikes("request", "ens", 3.0)
    assert math.isinf(FaultPlan.parse(f"[[fault]]\n{STUCK}nth = 1").faults[0].duration_s or 0.0)


DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_documents_example_is_a_plan_and_every_kind_and_parameter_is_explained() -> None:
    text = DOCS.read_text(encoding="utf-8")
    plan = FaultPlan.parse(text.split("```toml\n")[1].split("```")[0])
    assert [fault.kind for fault in plan.faults] == ["drop", "dead-laser", "stuck-plate", "garble"]
    assert {word for word in (*KINDS, *HOW, *WHEN) if f"`{word}`" not in text} == set()
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    for name, kind in KINDS.items():
        assert {key for key in kind.parameters if f"`{key}`" not in rows[name]} == set()
