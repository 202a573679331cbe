"""Nothing of a stranger's reaches a terminal as it is: every command, every place a text can come from."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from data_runs import DARK, START, make_point

from labctl.cli import main
from labctl.cli.commands.check import _print
from labctl.cli.output import printable_streams, write_lines
from labctl.cli.progress import LineProgress, LiveProgress
from labctl.config import EXAMPLE
from labctl.data.writer import RunWriter
from labctl.model.errors import ConnectionFailure
from labctl.model.run import RunStop
from labctl.model.untrusted import PrintableFormatter, printable
from labctl.runner.events import Connected, Message, RunFiles, Started
from labctl.runner.run import run_log
from labctl.session.check import Checked, CheckReport
from labctl.session.watchdog.report import _OneLine

EVIL = "\x1b]0;PWN\x07\x1b[31mEVIL\x9b2J\u202egpj.exe\u200b\x7f\nrun.h5: ok\r[red]X[/red] [/bold]"
NAME = "\x1b]0;PWN\x07\x1b[31mE\u202evil[red]"
"""As much of it as a file's name can hold."""

Case = Callable[[Path], list[str]]


def run_file(directory: Path, stem: str = "run", **changes: object) -> Path:
    """An interrupted run whose every text is hostile."""
    start = dataclasses.replace(
        START,
        sample=EVIL,
        spot=EVIL,
        operator=EVIL,
        note=EVIL,
        config={EVIL: {EVIL: EVIL}, "pump": {"wavelength_nm": EVIL}},
        **changes,  # type: ignore[arg-type]
    )
    with RunWriter(directory, stem) as writer:
        writer.begin(start)
        writer.dark(DARK)
        for index in range(8):
            writer.append(make_point(index, flags=(EVIL[:10],)))
        writer.event(2.0, EVIL)
        result = {
            "threshold": {
                "status": EVIL,
                "value": None,
                "reason": EVIL,
                "flags": [EVIL],
                "convention": EVIL,
            },
            "q": {EVIL: EVIL},
            "budget": {"warnings": [EVIL]},
            "adaptive": {"ended": EVIL, "reason": EVIL, "points": EVIL},
            "bleaching": {"flags": EVIL},
        }
        # What a stranger's file may hold.
        writer.end(RunStop("failed", EVIL, "2025-05-01T10:10:00Z", result))  # type: ignore[arg-type]
    return writer.paths.h5


def bench(tmp_path: Path, *changes: tuple[str, str]) -> str:
    text = EXAMPLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "bench.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def quoted(text: str) -> str:
    return json.dumps(text)


def table(tmp_path: Path) -> Path:
    file = tmp_path / "table.csv"
    rows = "".join(f"{20 + 5 * n},{(20 + 5 * n) ** 2 * 3}\n" for n in range(12))
    head = NAME.replace(",", "")
    file.write_text(f"# {head}\nfluence uJ/cm2 peak {head},signal {head}\n{rows}", encoding="utf-8")
    return file


def named(path: Path) -> Path:
    """The same file under a hostile name."""
    return path.rename(path.with_name(NAME + path.suffix))


CASES: dict[str, Case] = {
    "fit of a run": lambda d: ["fit", str(run_file(d))],
    "fit, JSON": lambda d: ["fit", "--json", str(run_file(d))],
    "fit of a run with an evil name": lambda d: ["fit", str(named(run_file(d)))],
    "fit of a file that is not there": lambda d: ["fit", str(d / f"{NAME}.h5")],
    "fit of a table": lambda d: ["fit", str(table(d))],
    "fit of a table with an evil name": lambda d: ["fit", str(named(table(d)))],
    "fit of an empty table": lambda d: ["fit", str(wrote(d / f"{NAME}.csv", ""))],
    "fit with damaged edits": lambda d: ["fit", str(edited(d))],
    "verify": lambda d: ["verify", str(run_file(d))],
    "verify, JSON": lambda d: ["verify", "--json", str(run_file(d))],
    "verify of an evil name": lambda d: ["verify", str(named(run_file(d)))],
    "verify of what is none": lambda d: ["verify", str(wrote(d / f"{NAME}.h5", EVIL))],
    "budget of a run": lambda d: ["budget", str(run_file(d))],
    "resume": lambda d: ["resume", str(run_file(d))],
    "resume with another bench": lambda d: ["resume", str(run_file(d)), "--bench", bench(d)],
    "resume of an evil name": lambda d: ["resume", str(named(run_file(d)))],
    "calibrations": lambda d: ["calibrations", str(wrote(d / f"{NAME}.json", "{}").parent)],
    "bench that is not there": lambda d: ["check", "--bench", str(d / f"{NAME}.toml")],
    "bench with an evil name": lambda d: ["check", "--bench", str(wrote(d / f"{NAME}.toml", "["))],
    "key": lambda d: ["check", "--bench", bench(d, ("[limits]", f"[limits]\n{quoted(EVIL)} = 1"))],
    "table": lambda d: ["check", "--bench", bench(d, ("[limits]", f"[{quoted(EVIL)}]\na = 1\n[limits]"))],
    "resource": lambda d: ["check", "--bench", bench(d, ('"ASRL3::INSTR"', quoted(EVIL)))],
    "driver": lambda d: ["check", "--bench", bench(d, ('"thorlabs-ell14"', quoted(EVIL)))],
    "VISA library": lambda d: [
        "check",
        "--bench",
        bench(d, ("[attenuator]", f"[bench]\nvisa_library = {quoted(EVIL)}\n[attenuator]")),
    ],
    "calibration": lambda d: [
        "set",
        *("--bench", bench(d, ("[limits]", f"[calibrations]\nspot = {quoted(EVIL)}\n[limits]"))),
        *("--fluence", "20"),
    ],
    "broken calibration": lambda d: [
        "budget",
        "--bench",
        bench(d, ("[limits]", f"[calibrations]\nspot = {quoted(wrote(d / NAME, '{').name)}\n[limits]")),
    ],
    "output of a sweep": lambda d: [
        *("sweep", "--bench", bench(d), "--sample", EVIL, "--start", "20", "--stop", "90"),
        *("--output", str(wrote(d / NAME, ""))),
    ],
    "bench of a sweep": lambda d: ["sweep", "--bench", f"{d}/{NAME}", "--sample", EVIL],
    "bench of stability": lambda d: ["stability", "--bench", f"{d}/{NAME}", "--sample", EVIL],
    "bench of align": lambda d: ["align", "--bench", f"{d}/{NAME}"],
    "bench of a calibration": lambda d: ["calibrate", "attenuator", "--bench", f"{d}/{NAME}"],
    "answers": lambda d: [
        *("calibrate", "spot", "--bench", bench(d), "--answers", str(wrote(d / NAME, EVIL))),
    ],
    "window": lambda d: ["gui", "--bench", f"{d}/{NAME}"],
    "init over a file": lambda d: ["init", str(wrote(d / NAME, ""))],
    "simulate over a file": lambda d: ["simulate", "--bench-file", str(wrote(d / NAME, ""))],
    "faults": lambda d: [
        *("simulate", "--bench-file", str(d / "sim.toml"), "--faults", str(wrote(d / NAME, f"[{EVIL}"))),
    ],
    "command": lambda _: [NAME],
    "option": lambda _: ["fit", f"--{NAME}"],
    "value": lambda _: ["simulate", "--sample", EVIL],
    "fluence": lambda d: ["set", "--bench", bench(d), "--fluence", EVIL],
    "with --debug": lambda d: ["--debug", "fit", str(d / f"{NAME}.h5")],
}


def wrote(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def edited(directory: Path) -> Path:
    path = run_file(directory)
    wrote(path.with_suffix(".edits.jsonl"), f"{EVIL}\n{EVIL}\n")
    return path


def raw(text: str) -> list[str]:
    return [c for c in text if c != "\n" and printable(c) != c]


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_nothing_raw_reaches_the_terminal(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = case(tmp_path)
    main(arguments)
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert said
    assert raw(said) == []
    assert not re.search(r"^run\.h5: ok", said, re.MULTILINE)
    if "--json" in arguments:
        json.loads(captured.out)


def test_markup_of_a_name_is_literal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", str(run_file(tmp_path))])
    assert "[red]" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_no_utf8_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\x1b.h5")
    Path(name).write_bytes(b"x")
    main(["verify", name])
    assert "a\\udcff\\x1b.h5" in capfd.readouterr().out


def test_an_instruments_answer_is_shown_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    failure = ConnectionFailure("shutter", EVIL, EVIL, EVIL)
    checked = (
        Checked("power_meter", EVIL, "thorlabs-pm100", EVIL, EVIL, None),
        Checked("shutter", EVIL, "thorlabs-sc10", "", "", failure),
    )
    with printable_streams():
        _print(CheckReport(checked, (EVIL,), EVIL))
        with LineProgress() as progress:
            progress(Connected({EVIL: EVIL}))
            progress(Message(EVIL))
            progress(Started(EVIL, RunFiles(Path(NAME), Path(NAME), Path(NAME)), 3))
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert raw(said) == []
    assert said.count("\n") == 8, "each message is one line"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_live_table_shows_names_and_draws_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    with printable_streams(), LiveProgress() as progress:
        progress(Started(EVIL, RunFiles(Path(NAME), Path(NAME), Path(NAME)), 3))
        progress(Message(EVIL))
    said = terminal.getvalue()
    assert "\x1b[" in said, "its own colours"
    assert "\x1b]0;" not in said
    assert "\x1b[31m" not in said
    assert "\u202e" not in said
    assert "\\x1b]0;PWN" in said


def test_a_log_line_stays_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with run_log(path):
        logging.getLogger("a").info("it said %s", EVIL)
        try:
            raise ValueError(EVIL)
        except ValueError:
            logging.getLogger("a").exception("failed")
    text = path.read_text(encoding="utf-8")
    assert raw(text) == []
    assert text.splitlines()[1].endswith("failed")
    record = logging.LogRecord("w", logging.WARNING, "", 0, EVIL, None, None)
    assert raw(_OneLine().format(record)) == []
    assert "\n" not in _OneLine().format(record)
    assert "\n" not in PrintableFormatter().format(record)


def test_what_shows_stays() -> None:
    text = "größer 2 µJ/cm², 蛍光, 😀, a\u00a0b, C:\\runs"
    assert printable(text) == text
    assert printable("a\tb\u2028c\ufeff\ud800") == "a\\x09b\\u2028c\\ufeff\\ud800"
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_delete_in_json_stays_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file(tmp_path)
    main(["fit", "--json", str(path)])
    assert json.loads(capsys.readouterr().out)["runs"][0]["sample"] == EVIL


def test_lines_are_flushed_and_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    with printable_streams():
        sys.stdout.writelines(["a\x1b", "\n"])
        write_lines(["b\nc"])
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    assert capsys.readouterr().out == "a\\x1b\nb\\x0ac\n"
