"""``labctl resume`` and ``labctl verify`` as a user types them."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path

import h5py
import pytest
from resume_bench import plan_of

from labctl.cli import main
from labctl.cli.commands.resume import make_confirm
from labctl.cli.commands.runs import judge
from labctl.config import parse_bench
from labctl.config.bench import stored_bench
from labctl.data import read_run
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, ConfigError, DataError
from labctl.runner.events import Event, Measured
from labctl.runner.resume import dose_before, plan_size, resume_run, stored_plan
from labctl.runner.run import RunRequest, run_sweep
from procedures.plan import steps
from simulators.bench import SimulatedBench
from simulators.presets import scene

DIFFERENCES = ("pump.pickoff_ratio: was 24.0, is 23.5",)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An aborted run of three of four points; its bench is gone."""
    stop = threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, Measured) and event.number == 3:
            stop.set()

    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        report = run_sweep(
            parse_bench(bench.bench_toml(1.0)),
            plan_of(6),
            RunRequest(tmp_path_factory.mktemp("stored"), "OLA"),
            stop=stop,
            on_event=listen,
            clock=bench.scene.clock,
        )
    assert report.h5 is not None
    return report.h5


@pytest.fixture
def aborted(stored: Path, tmp_path: Path) -> Path:
    for suffix in (".h5", ".csv"):
        (tmp_path / f"run{suffix}").write_bytes(stored.with_suffix(suffix).read_bytes())
    return tmp_path / "run.h5"


def rewrite(path: Path, name: str, text: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, data=text, dtype=h5py.string_dtype())


def test_a_changed_bench_ends_with_its_differences_and_code_2(
    aborted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = aborted.read_bytes()
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        (tmp_path / "bench.toml").write_text(bench.bench_toml(1000.0), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
        assert main(["resume", str(aborted), "--bench", str(tmp_path / "bench.toml")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "the bench differs: bench.time_scale: was 1.0, is 1000.0" in said.err
    last = said.err.splitlines()[-1]
    assert last.startswith("labctl: the bench differs from the run's: attenuator.resource: was ")
    assert "--yes" in last
    assert aborted.read_bytes() == before


def test_yes_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    make_confirm(threading.Event(), said.append, yes=True)(DIFFERENCES)
    assert said == ["the bench differs: pump.pickoff_ratio: was 24.0, is 23.5"]


class Terminal:
    """A terminal at which somebody types one line."""

    def __init__(self, line: str) -> None:
        self._line = line

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._line


@pytest.mark.parametrize("typed", ["n\n", "\n", "", "yesterday\n"])
def test_anything_but_a_typed_y_leaves_the_run(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    with pytest.raises(ConfigError, match="not confirmed"):
        make_confirm(threading.Event(), lambda text: None, yes=False)(DIFFERENCES)


@pytest.mark.parametrize("typed", ["y\n", " Y \n", "yes\n"])
def test_a_typed_y_goes_on(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    make_confirm(threading.Event(), said.append, yes=False)(DIFFERENCES)
    assert "type y" in said[-1]


def test_a_stop_ends_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, asked = threading.Event(), threading.Event()
    terminal = Terminal("y\n")
    monkeypatch.setattr(terminal, "readline", lambda: "" if asked.wait(20.0) else "y")
    monkeypatch.setattr(sys, "stdin", terminal)
    stop.set()
    with pytest.raises(Aborted):
        make_confirm(stop, lambda text: None, yes=False)(DIFFERENCES)
    asked.set()


def typing(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(text))


@pytest.mark.parametrize("options", [[], ["--yes"]])
@pytest.mark.parametrize("typed", [None, "y\n", "yes\n", "\n", "resume it\n", ""])
def test_without_a_bench_file_the_runs_resources_and_limits_are_shown_and_a_word_is_typed(
    options: list[str],
    typed: str | None,
    aborted: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = aborted.read_bytes()
    if typed is not None:
        typing(monkeypatch, typed)
    assert main(["resume", str(aborted), *options]) == 2
    said = capsys.readouterr().err
    config = read_run(aborted).start.config
    assert f"the run says: shutter: thorlabs-sc10 at {config['shutter']['resource']}" in said  # type: ignore[index]
    assert "the run says: limits.max_fluence_uj_cm2 = 700.0" in said
    assert "--bench" in said.splitlines()[-1]
    assert aborted.read_bytes() == before


def test_the_word_agrees_and_then_the_runs_bench_is_connected_to(
    aborted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typing(monkeypatch, " Resume\n")
    assert main(["resume", str(aborted)]) == 3  # nobody listens there any more
    assert "not connected" in capsys.readouterr().err


def test_a_script_has_to_say_which_bench(aborted: Path) -> None:
    with pytest.raises(ConfigError, match="is not trusted"):
        resume_run(aborted, stop=threading.Event(), on_event=lambda _e: None, confirm=lambda _lines: None)


@pytest.mark.parametrize(
    "resource",
    [
        "ASRL/etc/passwd::INSTR",
        "asrl/etc/passwd",
        "ASRL/dev/../etc/passwd::INSTR",
        "ASRLetc/passwd::INSTR",
        "ASRL/dev::INSTR",
        "ASRL//host/share::INSTR",
        "ASRLC:\\secret.txt::INSTR",
        *(["ASRL/dev/shm::INSTR"] if sys.platform == "linux" else []),
    ],
)
def test_no_file_is_opened_for_a_run_that_calls_it_a_port(
    resource: str, aborted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dict(read_run(aborted).start.config)
    evil = {**config, "shutter": {**config["shutter"], "resource": resource}}  # type: ignore[dict-item]
    rewrite(aborted, "entry/record/config", json.dumps(evil))
    typing(monkeypatch, "resume\n")
    with pytest.raises(ConfigError, match="is not a serial port"):
        stored_bench(evil, aborted)
    assert main(["resume", str(aborted)]) == 2


@pytest.mark.parametrize(
    "resource", ["ASRL3::INSTR", "ASRLCOM12::INSTR", "ASRL/dev/null::INSTR", "TCPIP::1.2.3.4"]
)
def test_ports_are_ports(resource: str, aborted: Path) -> None:
    config = dict(read_run(aborted).start.config)
    table = {**config["shutter"], "resource": resource}  # type: ignore[dict-item]
    assert stored_bench({**config, "shutter": table}, aborted).shutter.resource == resource


def test_limits_are_those_of_the_bench_file_whatever_the_run_says(
    stored: Path, aborted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that allows more than the bench, and wants more, is refused before anything is connected to."""
    config = dict(read_run(aborted).start.config)
    evil = {**config, "limits": {**config["limits"], "max_fluence_uj_cm2": 1e9}}  # type: ignore[dict-item]
    rewrite(aborted, "entry/record/config", json.dumps(evil))
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        text = bench.bench_toml(1.0)
    assert "max_fluence_uj_cm2 = 700.0" in text
    (tmp_path / "bench.toml").write_text(
        text.replace("max_fluence_uj_cm2 = 700.0", "max_fluence_uj_cm2 = 90.0")
    )
    assert main(["resume", str(aborted), "--bench", str(tmp_path / "bench.toml"), "--yes"]) == 2
    assert "90" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["", "@py", "@ivi", "@sim"])
def test_a_run_may_name_what_a_bench_file_may(library: str, aborted: Path) -> None:
    config = dict(read_run(aborted).start.config)
    named = {**config, "bench": {**config["bench"], "visa_library": library}}  # type: ignore[dict-item]
    assert stored_bench(named, aborted).bench.visa_library == library


def test_a_library_that_a_run_names_is_never_loaded(aborted: Path) -> None:
    config = dict(read_run(aborted).start.config)
    assert stored_bench(config, aborted).resolved() == config
    evil = {**config, "shutter": {**config["shutter"], "visa_library": "/tmp/evil.so"}}  # type: ignore[dict-item]
    rewrite(aborted, "entry/record/config", json.dumps(evil))
    before = aborted.read_bytes()
    assert main(["resume", str(aborted), "--yes"]) == 2
    with pytest.raises(ConfigError, match="a bench file must not name a library to load"):
        stored_bench(evil, aborted)
    assert aborted.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"points": 10**12}, "asks for 1000000000000 points"),
        ({"points": "many"}, "not valid: points"),
        ({"magic": 1}, "magic, which this labctl does not know"),
        ({"start_uj_cm2": 31.0}, "point 1 was set to 30"),
        ({"direction": "sideways"}, "not valid: direction"),
    ],
)
def test_a_plan_that_is_not_the_points_own_is_refused(
    change: dict[str, object], said: str, aborted: Path
) -> None:
    plan = {**read_run(aborted).start.plan, **change}
    rewrite(aborted, "entry/record/plan", json.dumps(plan))
    with pytest.raises(DataError, match=said):
        stored_plan(read_run(aborted))
    assert main(["resume", str(aborted), "--yes"]) == 5


def test_a_plan_is_read_back_as_it_was(aborted: Path) -> None:
    run = read_run(aborted)
    assert stored_plan(run) == plan_of(6)
    assert plan_size(run.start.plan) == 6
    assert plan_size({**run.start.plan, "direction": "up-down"}) == 11
    assert plan_size({**run.start.plan, "reference_every": 3}) is None


def test_a_killed_point_is_charged_with_the_most_that_it_may_have_had(aborted: Path) -> None:
    plan = plan_of(6)
    with h5py.File(aborted, "r+") as file:
        file["entry/status"][()] = b"running"
        file["entry/record/result"].resize(0, axis=0)
        writer = json.loads(file["entry/record/writer"][()])
    rewrite(aborted, "entry/record/writer", json.dumps({**writer, "boot": "another"}))
    run = read_run(aborted)
    assert run.status == "killed"
    dose, assumed = dose_before(run, plan, 1000.0)
    doses = run.column("dose_uj_cm2")
    pulses = max((doses[1:] - doses[:-1]) / run.fluence_uj_cm2[1:])
    following = steps(plan)[len(run)].fluence_uj_cm2
    assert assumed >= following * pulses > 0.0
    assert dose == pytest.approx(doses[-1] + assumed)
    with h5py.File(aborted, "r+") as file:
        file["entry/record/points"].resize(0, axis=0)
    none = dose_before(read_run(aborted), plan, 1000.0)
    assert none == (30.0 * 5 * 0.5 * 1000.0, 30.0 * 5 * 0.5 * 1000.0)


def test_verify_says_what_is_there(aborted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = len(read_run(aborted))
    assert main(["verify", str(aborted)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{aborted}: ok, aborted, {points} of 6 points"
    assert lines[1].strip() == "aborted (stopped by the user); labctl resume run.h5 measures the rest"
    assert main(["verify", "--json", str(aborted), str(aborted.with_name("none.h5"))]) == 5
    whole, none = json.loads(capsys.readouterr().out)["files"]
    assert (whole["ok"], whole["points"], whole["planned"], whole["problems"]) == (True, points, 6, [])
    assert (none["ok"], none["points"], none["problems"]) == (False, None, ["no such file"])


def damage_spectrum(file: h5py.File) -> None:
    file["entry/spectra/spectrum"][0, 0] += 1.0


def damage_row(file: h5py.File) -> None:
    row = file["entry/record/points"][1]
    row["signal"] += 1.0
    file["entry/record/points"][1] = row


def damage_dark(file: h5py.File) -> None:
    file["entry/instrument/detector/darks/counts"][0, 5] += 1.0


def damage_curve(file: h5py.File) -> None:
    file["entry/curve/signal"][0] = 0.0


def lose_darks(file: h5py.File) -> None:
    for name in ("counts", "spread", "table"):
        file[f"entry/instrument/detector/darks/{name}"].resize(0, axis=0)


def say_finished(file: h5py.File) -> None:
    file["entry/status"][()] = b"finished"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_spectrum, "point 1: checksum does not match"),
        (damage_row, "point 2: checksum does not match"),
        (damage_dark, "dark 1: checksum does not match"),
        (damage_curve, "signal of the curve differs from that of the points"),
        (lose_darks, "point 1: its dark 1 is missing"),
        (say_finished, "its status is finished, with "),
    ],
)
def test_verify_finds_damage(
    damage: object, said: str, aborted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(damage)
    with h5py.File(aborted, "r+") as file:
        damage(file)
    assert main(["verify", str(aborted)]) == 5
    out = capsys.readouterr().out
    assert f"{aborted}: BAD" in out
    assert said in out


def first_row(lines: list[str]) -> int:
    return next(number for number, line in enumerate(lines) if line.startswith("0,"))


def test_verify_holds_the_csv_against_the_run(aborted: Path) -> None:
    csv = aborted.with_suffix(".csv")
    lines = csv.read_text(encoding="utf-8").splitlines(keepends=True)
    at = first_row(lines)

    def problems(text: str) -> str:
        csv.write_text(text, encoding="utf-8")
        return "; ".join(judge(aborted).problems)

    assert problems("".join(lines)) == ""
    assert "lacks 1 of" in problems("".join(lines[:-1]))
    assert "different numbers for points 0" in problems(
        "".join([*lines[:at], lines[at].replace(",up,", ",down,"), *lines[at + 1 :]])
    )
    assert "do not follow the order of this run" in problems("".join([*lines[:at], *reversed(lines[at:])]))
    assert "ends within a row" in problems("".join(lines) + "3,up,4")
    assert "does not have the header" in problems("".join(lines[1:at][:-1] + lines[at:]))
    csv.unlink()
    assert judge(aborted).notes[0] == "there is no run.csv beside it"


def test_a_kill_that_cost_the_last_row_is_no_damage(aborted: Path) -> None:
    with h5py.File(aborted, "r+") as file:
        file["entry/status"][()] = b"running"
        writer = json.loads(file["entry/record/writer"][()])
    rewrite(aborted, "entry/record/writer", json.dumps({**writer, "boot": "another"}))
    csv = aborted.with_suffix(".csv")
    csv.write_text(csv.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    verdict = judge(aborted)
    assert (verdict.status, verdict.problems) == ("killed", ())
    assert verdict.notes[0] == "run.csv ends within its last row"
    assert "labctl resume run.h5 measures the rest" in verdict.notes[1]
