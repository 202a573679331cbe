"""``labctl calibrate`` over the wires of a simulated bench, its hands, and the line in the bench file."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from patience import PATIENCE_S

from labctl.cli import main
from labctl.cli.commands import calibrate as calibrating
from labctl.cli.terminal_operator import TerminalOperator, make_insert
from labctl.config import load_bench
from labctl.config.benchfile import bench_line, use_calibration
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.errors import Aborted, CalibrationRefused, ConfigError, InstrumentError
from labctl.model.roles import LIGHT, Request
from labctl.session.operator import ScriptedOperator, SimulatedOperator, read_answers, understood
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene.chance import Spell

SPEED = 400.0
METER = Request("meter", "Put the sensor at the sample.", {"place": "sample"})
NUMBER = Request("knife", "Where is the blade?", {"axis": "x"}, number="um")


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedBench]:
    """A bench whose time is stepped, here and in labctl."""
    clock = SteppedClock()
    monkeypatch.setattr("labctl.session.bench.bench_clock", lambda _config: clock)
    settings = presets.uncalibrated(presets.scene("ola", "typical", 3), 3)
    with SimulatedBench(settings, clock) as bench:
        yield bench


@pytest.fixture
def bench(simulated: SimulatedBench, tmp_path: Path) -> Path:
    file = tmp_path / "bench.toml"
    file.write_text(simulated.bench_toml(1.0, nominal=True), encoding="utf-8")
    return file


def stored(bench: Path) -> list[Path]:
    return sorted((bench.parent / "calibrations").glob("*.json"))


def test_an_attenuator_is_calibrated_named_in_the_bench_file_and_checked(
    simulated: SimulatedBench, bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = bench.read_text(encoding="utf-8")
    words = ["calibrate", "attenuator", "--bench", str(bench), "--points", "8", "--readings", "2", "--use"]
    assert main([*words, "--operator", "me", "--valid-days", "7"]) == 0
    told = capsys.readouterr().out
    assert "Put the power meter's sensor at the pick-off" in told
    assert "angle of maximum transmission" in told
    assert "uW" in told
    (file,) = stored(bench)
    assert str(file) in told
    after = bench.read_text(encoding="utf-8")
    assert f'attenuator = "calibrations/{file.name}"' in after
    assert after.startswith(before)
    curve = load_bench(bench).pump_settings().curve
    assert abs((curve.zero_deg - simulated.scene.truth.zero_deg + 45) % 90 - 45) < 0.1  # type: ignore[union-attr]
    assert simulated.scene.shutter.closed_switch()
    assert main(["calibrate", "check", "--bench", str(bench), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["checked"] is True
    assert found["warnings"] == []
    scene = simulated.scene
    scene.mount.slips.add(Spell(scene.clock.now_s(), value=20.0))
    for words, code in ((["calibrate", "check"], 4), (["check", "--recheck"], 0)):
        assert main([*words, "--bench", str(bench)]) == code
        assert "zero has moved by" in capsys.readouterr().out
        assert float(scene.beam.malus(scene.mount.angle_deg())) < 1.05 * scene.truth.t_min + 1e-4


@pytest.mark.parametrize("seed", [3, 7, 11])
def test_an_attenuator_is_left_at_the_minimum_that_was_just_measured(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SteppedClock()
    monkeypatch.setattr("labctl.session.bench.bench_clock", lambda _config: clock)
    settings = presets.uncalibrated(presets.scene("ola", "typical", seed), seed)
    with SimulatedBench(settings, clock) as simulated:
        file = tmp_path / "bench.toml"
        file.write_text(simulated.bench_toml(1.0, nominal=True), encoding="utf-8")
        words = ["calibrate", "attenuator", "--bench", str(file), "--points", "8", "--readings", "2"]
        assert main(words) == 0
        scene = simulated.scene
        assert float(scene.beam.malus(scene.mount.angle_deg())) < 1.05 * scene.truth.t_min + 1e-4
    told = capsys.readouterr().out
    assert "finished: the shutter is closed (its sensor; it has not been opened), the attenuator is" in told
    assert "deg as just measured" in told


def test_json_alone_stands_on_stdout(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "calibrate",
        "spot",
        "--bench",
        str(bench),
        "--shape",
        "stripe",
        "--x-um",
        "2000",
        "--y-um",
        "250",
    ]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["calibration"]["quantities"]["x_um"]["value"] == 2000.0
    assert document["used"] is False
    assert document["line"].startswith('spot = "calibrations/spot-')
    assert load_bench(bench).calibrations is None


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ("meter: done", 5, "is for 'meter'"),
        ("sample: done", 5, "no answers left"),
        ("done\n\n# and now\nrefuse", 5, "refused by the operator"),
    ],
)
def test_a_refusal_is_one_line_and_nothing_is_stored(
    simulated: SimulatedBench, bench: Path, answers: str, code: int, words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    script = bench.with_name("answers.txt")
    script.write_text(answers, encoding="utf-8")
    before = bench.read_text(encoding="utf-8")
    assert main(["calibrate", "energy", "--bench", str(bench), "--answers", str(script), "--use"]) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert stored(bench) == []
    assert bench.read_text(encoding="utf-8") == before
    assert simulated.scene.shutter.closed_switch()


def test_ctrl_c_ends_it_with_130_and_a_dark_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = presets.uncalibrated(presets.scene("ola", "typical", 3), 3)
    bench = tmp_path / "bench.toml"
    with SimulatedBench(settings, ScaledClock(SPEED)) as simulated:  # in real time, so with a watchdog
        bench.write_text(simulated.bench_toml(SPEED, nominal=True), encoding="utf-8")
        _stopped(bench, monkeypatch)
        assert stored(bench) == []
        assert simulated.scene.shutter.closed_switch()


def _stopped(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    @contextmanager
    def signals() -> Iterator[threading.Event]:
        yield asked

    shown: list[object] = []

    def show(event: object, _out: object) -> None:
        shown.append(event)
        if len(shown) == 6:
            asked.set()

    monkeypatch.setattr(calibrating, "stop_on_signals", signals)
    monkeypatch.setattr(calibrating, "_show", show)
    assert main(["calibrate", "attenuator", "--bench", str(bench)]) == 130


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["attenuator", "--sensor-limit", "50"], "--sensor-limit"),
        (["attenuator", "--form", "guess"], "choose malus or table"),
        (["pickoff", "--filter", "0.1"], "NAME:NUMBER"),
        (["energy", "--rate", "1 apple"], "--rate"),
        (["energy", "--glass", "12mm"], "GLASS:LENGTH"),
        (["energy", "--glass", "silica:3kg", "--pulse-fs", "35"], "--glass"),
        (["spot", "--blade-range", "100"], "LOW:HIGH"),
        (["spot", "--absorption", "nowhere.csv"], "cannot be read"),
        (["check"], "names no attenuator calibration"),
    ],
)
def test_words_that_make_no_sense_are_named(
    bench: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", words[0], "--bench", str(bench), *words[1:]]) == 2
    assert told in capsys.readouterr().err


# --- hands ---------------------------------------------------------------------------------------


def test_the_simulated_bench_does_what_it_is_asked(simulated: SimulatedBench) -> None:
    hands = SimulatedOperator(simulated.hand)
    assert hands.do(METER) is None
    assert simulated.scene.hand.now.meter == "sample"
    blade = Request("knife", "", {"axis": "x", "position_um": 4000.0}, number="um")
    assert hands.do(blade) == 4000.0
    with pytest.raises(CalibrationRefused, match="cannot"):
        hands.do(Request("meter", "", {"place": "ceiling"}))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Aborted):
        hands.do(METER, stop)


def test_hands_that_are_not_there_are_an_instrument_that_fails(simulated: SimulatedBench) -> None:
    address = simulated.hand
    simulated.stop()
    with pytest.raises(InstrumentError, match="not reached"):
        SimulatedOperator(address).do(METER)


@pytest.mark.parametrize("address", ["", "192.168.0.3:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x"])
def test_hands_elsewhere_are_not_spoken_to(address: str) -> None:
    with pytest.raises(ConfigError, match="not an address of this computer"):
        SimulatedOperator(address)


def test_a_script_answers_in_order() -> None:
    hands = ScriptedOperator(["# comment", "done", "", "knife: 12.5 um", "3"])
    assert hands.do(METER) is None
    assert hands.do(NUMBER) == 12.5
    assert hands.left == ("3",)
    assert hands.do(NUMBER) == 3.0
    assert ScriptedOperator(["..."]).do(METER) is None
    with pytest.raises(CalibrationRefused, match="not a number in um"):
        ScriptedOperator(["12 kg"]).do(NUMBER)
    with pytest.raises(Aborted):
        ScriptedOperator(["refuse"]).do(METER)


def test_a_script_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_answers(tmp_path / "none.txt")


def typed(*pieces: bytes) -> Callable[[], bytes]:
    rest = iter(pieces)
    return lambda: next(rest, b"")


def test_at_the_terminal_enter_is_done_and_numbers_are_asked_again() -> None:
    out = StringIO()
    hands = TerminalOperator(out, typed(b"\n12", b" kg\n", b"12.5 um\r\n"))
    assert hands.do(METER) is None
    assert hands.do(NUMBER) == 12.5
    assert "press Enter" in out.getvalue()
    assert "; again: " in out.getvalue()


READ = Request(
    "knife", "Set the knife edge to about 5156 um.", {"position_um": 5156.0}, "um", suggested=5156.0
)
INTO_THE_LIGHT = Request("sample", "Take the sample out.", {"in": False}, word=LIGHT)


@pytest.mark.parametrize("answer", ["", "y", "YES", " done "])
def test_four_words_agree(answer: str) -> None:
    assert understood(METER, answer) is None
    assert TerminalOperator(StringIO(), typed(answer.encode() + b"\n")).do(METER) is None


@pytest.mark.parametrize("answer", ["no, wait!", "banana", "nein", "h", "n", "light", "0", "\x1b[A", "ja"])
def test_anything_else_is_asked_again_with_the_reason(answer: str) -> None:
    out = StringIO()
    hands = TerminalOperator(out, typed(answer.encode() + b"\n", b"q\n"))
    with pytest.raises(Aborted):
        hands.do(METER)
    assert "is neither yes nor no" in out.getvalue()
    with pytest.raises(CalibrationRefused, match="which does not answer"):
        ScriptedOperator([answer]).do(METER)


@pytest.mark.parametrize("answer", ["", "y", "yes", "done", "lite", "lights on"])
def test_where_light_follows_its_word_alone_agrees(answer: str) -> None:
    out = StringIO()
    hands = TerminalOperator(out, typed(answer.encode() + b"\n", b"Light\n"))
    assert hands.do(INTO_THE_LIGHT) is None
    assert "type light" in out.getvalue()
    assert "light follows, so type this word" in out.getvalue()


def test_quit_refuses_everywhere() -> None:
    for request in (METER, NUMBER, READ, INTO_THE_LIGHT):
        for word in ("q", "Quit", " QUIT "):
            with pytest.raises(Aborted):
                understood(request, word)


@pytest.mark.parametrize(
    ("answer", "um"),
    [
        ("", 5156.0),
        ("done", 5156.0),
        ("5160", 5160.0),
        ("5 mm", 5000.0),
        ("5.1mm", 5100.0),
        ("5155 um", 5155.0),
    ],
)
def test_a_position_is_stored_as_it_was_read(answer: str, um: float) -> None:
    out = StringIO()
    assert TerminalOperator(out, typed(answer.encode() + b"\n")).do(READ) == um
    assert "position read (um or mm) [5156]" in out.getvalue()
    if answer:
        assert ScriptedOperator([answer]).do(READ) == um


@pytest.mark.parametrize("answer", ["5 kg", "nan", "inf", "mm", "5;6", "9" * 400])
def test_what_is_no_position_is_asked_again(answer: str) -> None:
    out = StringIO()
    assert TerminalOperator(out, typed(answer.encode() + b"\n", b"5157\n")).do(READ) == 5157.0
    assert "; again: " in out.getvalue()


def test_lines_out_of_a_pipe_answer_one_question_each() -> None:
    hands = TerminalOperator(StringIO(), typed(b"\n\nlight\n5 mm\n"))
    assert [hands.do(r) for r in (METER, METER, INTO_THE_LIGHT, READ)] == [None, None, None, 5000.0]


def test_what_was_typed_ahead_at_a_terminal_answers_nothing() -> None:
    """The second line came with the first; a person typed it before the second question stood there."""
    hands = TerminalOperator(StringIO(), typed(b"y\ny\n", b"q\n"), forget=lambda: True)
    assert hands.do(METER) is None
    with pytest.raises(Aborted):
        hands.do(METER)


def pseudo_terminal() -> tuple[int, int]:
    if sys.platform != "win32":
        import pty

        return pty.openpty()
    else:  # noqa: RET505  mypy knows what is reached on which platform
        pytest.skip("a pseudo-terminal is needed")


def test_a_real_terminal_forgets_what_was_typed_before_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pseudo_terminal()
    with os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        os.write(master, b"y\ny\n")
        assert select.select([terminal], [], [], PATIENCE_S)[0]
        out = StringIO()
        hands = TerminalOperator(out)
        answered: list[float | None] = []
        asking = threading.Thread(target=lambda: answered.append(hands.do(METER)))
        asking.start()
        while ">>>" not in out.getvalue():
            asking.join(0.01)
        asking.join(0.2)
        assert asking.is_alive()
        os.write(master, b"yes\n")
        asking.join(PATIENCE_S)
        assert answered == [None]
    os.close(master)


def test_a_blank_is_put_in_by_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("labctl.cli.terminal_operator._read_stdin", typed(b"\nlight\n"))
    make_insert(threading.Event(), said.append)("blank")
    assert "Put the blank into the beam" in said[0]
    assert "type this word" in said[1]
    with pytest.raises(ConfigError, match="no operator to confirm the blank"):
        make_insert(threading.Event(), said.append)("sample")


def test_at_the_terminal_q_refuses_and_its_end_is_told() -> None:
    hands = TerminalOperator(StringIO(), typed(b"q\n"))
    with pytest.raises(Aborted):
        hands.do(METER)
    with pytest.raises(CalibrationRefused, match="no answer: the input has ended"):
        hands.do(METER)


def test_at_the_terminal_a_stop_ends_the_waiting() -> None:
    stop, never = threading.Event(), threading.Event()
    threading.Timer(0.05, stop.set).start()

    def silent() -> bytes:
        never.wait(5.0)
        return b""

    hands = TerminalOperator(StringIO(), silent)
    with pytest.raises(Aborted):
        hands.do(METER, stop)
    never.set()


# --- the bench file ------------------------------------------------------------------------------

SPOT = Path("calibrations/spot-1.json")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = 1\n", 'a = 1\n\n[calibrations]\nspot = "calibrations/spot-1.json"\n'),
        ("a = 1", 'a = 1\n\n[calibrations]\nspot = "calibrations/spot-1.json"\n'),
        (
            '[calibrations]  # mine\nexpired = "warn"\n[pump]\nspot = 1\n',
            '[calibrations]  # mine\nexpired = "warn"\nspot = "calibrations/spot-1.json"\n[pump]\nspot = 1\n',
        ),
        (
            '[calibrations]\nspot = "old.json"  # keep me\n',
            '[calibrations]\nspot = "calibrations/spot-1.json"  # keep me\n',
        ),
        ("a = 1\r\n", 'a = 1\r\n\r\n[calibrations]\r\nspot = "calibrations/spot-1.json"\r\n'),
        (
            'calibrations = { spot = "a" }  # inline\n',
            'calibrations = { spot = "calibrations/spot-1.json" }  # inline\n',
        ),
        ('calibrations.spot = "a"\n', 'calibrations.spot = "calibrations/spot-1.json"\n'),
        (
            '[x]\ny = """\n[calibrations]\n"""\n',
            '[x]\ny = """\n[calibrations]\n"""\n\n[calibrations]\nspot = "calibrations/spot-1.json"\n',
        ),
        ("[calibrations]", '[calibrations]\nspot = "calibrations/spot-1.json"\n'),
    ],
)
def test_one_line_is_written_and_nothing_else(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "bench.toml"
    file.write_bytes(before.encode())
    use_calibration(file, "spot", tmp_path / SPOT)
    assert file.read_bytes().decode() == after
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "text",
    ["[calibrations\n", "calibrations = 5\n", '[[calibrations]]\nspot = "a"\n'],
)
def test_a_file_in_which_the_line_has_no_place_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="add this line yourself"):
        use_calibration(file, "spot", tmp_path / SPOT)
    assert file.read_text(encoding="utf-8") == text


def test_the_line_is_toml_whatever_the_name(tmp_path: Path) -> None:
    line = bench_line("spot", tmp_path / 'a "b" c.json', tmp_path / "bench.toml")
    assert tomllib.loads(line) == {"spot": 'a "b" c.json'}
