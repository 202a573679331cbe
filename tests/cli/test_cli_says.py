"""Every sentence of the terminal is true in every state: as the window says it, from the same place."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE_S

from labctl.cli import main
from labctl.cli.progress import point_texts
from labctl.cli.table import print_result
from labctl.config import load_bench
from labctl.data import read_run
from labctl.model.clock import SteppedClock, Stop
from labctl.model.errors import Aborted, DataError, InstrumentFault
from labctl.model.plan import SweepPlan
from labctl.model.results.sweep import DOUBT
from labctl.runner.events import Event, Measured, Message
from labctl.runner.report import RunReport
from labctl.runner.run import RunFailed, RunRequest, run_sweep
from labctl.session.check import check_bench
from procedures.fluence_sweep import Pause
from procedures.manual import UNSEEN
from procedures.plan import Step
from procedures.point.exposure import AutoExposure, ExposureSequence
from procedures.point.reduction import Shots
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.presets import scene, uncalibrated


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as simulated:
        yield simulated


def swept(
    bench: SimulatedBench, folder: Path, plan: SweepPlan, stop_at: int = 0
) -> tuple[RunReport, list[Event]]:
    file = folder / "bench.toml"
    file.write_text(bench.bench_toml(1.0))
    stop = threading.Event()
    told: list[Event] = []

    def tell(event: Event) -> None:
        told.append(event)
        if isinstance(event, Measured) and event.number == stop_at:
            stop.set()

    request = RunRequest(folder, "OLA")
    report = run_sweep(load_bench(file), plan, request, stop=stop, on_event=tell, clock=bench.scene.clock)
    return report, told


def said(capsys: pytest.CaptureFixture[str], report: RunReport) -> str:
    print_result([report], as_json=False)
    return " ".join(capsys.readouterr().out.split())


def test_few_points(bench: SimulatedBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, told = swept(bench, tmp_path, SweepPlan(start_uj_cm2=40, stop_uj_cm2=150, points=5, average=2))
    assert any(isinstance(e, Message) and "too few for a threshold" in e.text for e in told)
    assert report.outcome.headline == "no threshold: 5 points, at least 7 needed"
    assert "refused" not in said(capsys, report)


def test_all_points_saturated(
    bench: SimulatedBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = SweepPlan(start_uj_cm2=300, stop_uj_cm2=600, points=8, average=2, reference_every=0)
    report, told = swept(bench, tmp_path, plan)
    text = said(capsys, report)
    assert (
        "8 of 8 points saturated: the exposure could not go below 0.1 s; lower the fluence, or insert" in text
    )
    points = [event.point for event in told if isinstance(event, Measured)]
    assert {dict(point_texts(p))["FWHM"] for p in points} == {"clipped"}
    assert {(p.fwhm_nm, p.equivalent_width_nm) for p in points} == {(None, None)}
    document = report.to_json()
    assert document["saturated_points"] == 8
    assert isinstance(document["q"], dict)
    assert set(document["q"].values()) == {None}
    assert report.h5 is not None
    assert read_run(report.h5).result.q is None


def test_aborted(bench: SimulatedBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = SweepPlan(start_uj_cm2=40, stop_uj_cm2=150, points=24, average=2, reference_every=0)
    report, _ = swept(bench, tmp_path, plan, stop_at=2)
    assert report.outcome.headline.startswith("aborted after ")
    assert "of 24 points" in said(capsys, report)
    assert report.h5 is not None
    assert main(["fit", str(report.h5)]) == 0
    assert "of 24 points" in " ".join(capsys.readouterr().out.split())


def test_failed(bench: SimulatedBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shoot = ExposureSequence.shoot

    def broken(shooter: ExposureSequence, step: Step, auto: AutoExposure, stop: Stop | None) -> Shots:
        if step.index == 1:
            raise InstrumentFault("spectrometer", "gone")
        return shoot(shooter, step, auto, stop)

    monkeypatch.setattr(ExposureSequence, "shoot", broken)
    plan = SweepPlan(start_uj_cm2=40, stop_uj_cm2=150, points=9, average=2, retries=0, reference_every=0)
    with pytest.raises(RunFailed) as failed:
        swept(bench, tmp_path, plan)
    assert failed.value.report.outcome.headline == "failed after 1 of 9 points"


def test_who_is_not_connected_stands_one_a_line_in_every_command(
    bench: SimulatedBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = bench.bench_toml(1.0).splitlines()
    places = [i for i, line in enumerate(lines) if line.startswith("resource")]
    for i in places[:2]:
        lines[i] = 'resource = "TCPIP::127.0.0.1::9::SOCKET"'
    file = tmp_path / "bench.toml"
    file.write_text("\n".join(lines))
    wanted = ["--start", "40", "--stop", "90", "--points", "3", "--sample", "OLA"]
    assert main(["sweep", "--bench", str(file), "--output", str(tmp_path), *wanted]) == 3
    told = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("FAILED  ") for line in told) == 2
    assert sum(line.startswith("        try: ") for line in told) == 2
    assert told[-1].startswith("labctl: not connected: ")
    assert max(map(len, told)) < 400


def test_a_check_without_a_plan_speaks_of_none(tmp_path: Path) -> None:
    settings = uncalibrated(scene("ola", "typical", 3), 3)
    with SimulatedBench(settings, SteppedClock()) as simulated:
        file = tmp_path / "bench.toml"
        file.write_text(simulated.bench_toml(1.0, nominal=True))
        config = load_bench(file)
        without = check_bench(config, clock=simulated.scene.clock).warnings
        planned = check_bench(config, 1e-6, clock=simulated.scene.clock).warnings
    assert not any("planned" in line for line in without)
    assert any("start a sweep above that" in line for line in without)
    assert any("lowest planned power" in line for line in planned)


def test_json_holds_null_for_what_nobody_stated(
    bench: SimulatedBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = SweepPlan(start_uj_cm2=30, stop_uj_cm2=170, points=12, average=2, reference_every=0)
    report, _ = swept(bench, tmp_path, plan)
    text = said(capsys, report)
    assert "statistical only; scale uncertainty: not stated (6 of 6 links)" in text
    assert "+-0 %" not in text
    print_result([report], as_json=True)
    threshold = json.loads(capsys.readouterr().out)["runs"][0]["threshold"]
    assert threshold["value"] is not None
    assert [threshold[key] for key in ("scale_rel", "scale_rel95", "total_ci95", "total_rel95")] == [None] * 4
    assert threshold["budget"]["combined_rel"] is None


OVER = "finished: the shutter is closed (its sensor"
OPTIONS = {
    "sweep": ("--start", "40", "--stop", "150", "--points", "6", "--average", "2"),
    "stability": ("--fluence", "60", "--minutes", "1.2", "--every", "10", "--average", "1"),
}


@pytest.fixture
def bench_file(bench: SimulatedBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bench whose time is stepped, for the commands as well."""
    monkeypatch.setattr("labctl.session.bench.bench_clock", lambda _config: bench.scene.clock)
    file = tmp_path / "bench.toml"
    file.write_text(bench.bench_toml(1.0))
    return file


def words(command: str, bench_file: Path, *more: str) -> list[str]:
    out = str(bench_file.parent)
    return [command, "--bench", str(bench_file), "--sample", "OLA", "--output", out, *OPTIONS[command], *more]


def check_last_words(run: Path, err: str) -> None:
    """They stand once on stderr, after every point, in the log and in the file."""
    lines = err.splitlines()
    (line,) = (line for line in lines if line.startswith("finished:"))
    assert line.startswith(OVER)
    assert line.endswith("the attenuator is at its lowest transmission")
    assert not any("uJ/cm2; pulse" in later for later in lines[lines.index(line) :])
    assert line in run.with_suffix(".log").read_text()
    assert [e.text for e in read_run(run).events if e.text.startswith("finished:")][-1] == line


@pytest.mark.parametrize("command", OPTIONS)
def test_the_last_words_of_a_run(command: str, bench_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(command, bench_file, "--json")) == 0
    told = capsys.readouterr()
    (report,) = json.loads(told.out)["runs"]
    check_last_words(Path(report["files"]["h5"]), told.err)


def test_the_last_words_of_a_run_that_is_stopped_fails_and_goes_on(
    bench_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shoot = ExposureSequence.shoot
    ends: dict[int, BaseException] = {1: Aborted(), 2: InstrumentFault("spectrometer", "gone")}

    def ended(shooter: ExposureSequence, step: Step, auto: AutoExposure, stop: Stop | None) -> Shots:
        if step.index in ends:
            raise ends[step.index]
        return shoot(shooter, step, auto, stop)

    monkeypatch.setattr(ExposureSequence, "shoot", ended)
    assert main(words("sweep", bench_file)) == 130
    (run,) = bench_file.parent.glob("*.h5")
    check_last_words(run, capsys.readouterr().err)
    resume = ["resume", str(run), "--bench", str(bench_file)]
    del ends[1]
    assert main(resume) == 3
    check_last_words(run, capsys.readouterr().err)
    ends.clear()
    assert main(resume) == 0
    check_last_words(run, capsys.readouterr().err)


def test_no_last_words_where_nothing_was_connected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench_file = tmp_path / "bench.toml"
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        bench_file.write_text(bench.bench_toml(1.0))
    assert main(words("sweep", bench_file)) == 3
    assert "finished:" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("command", OPTIONS)
def test_what_a_lying_shutter_lets_nobody_say(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blade sticks open and its switch says what was commanded: no last words, no threshold, ever."""
    faults = FaultPlan.parse(
        '[[fault]]\nkind = "failed-shutter"\ninstrument = "shutter"\nmatch = "^ens$"\nnth = 8\n'
        'readback = "commanded"\n'
    )
    clock = SteppedClock()
    monkeypatch.setattr("labctl.session.bench.bench_clock", lambda _config: clock)
    file = tmp_path / "bench.toml"
    with SimulatedBench(scene("ola", "typical", 3), clock, faults=faults) as bench:
        file.write_text(bench.bench_toml(1.0))
        assert main(words(command, file)) == 4
        err = capsys.readouterr().err
        assert "NOT MADE SAFE" in err
        assert "finished:" not in err
        (run,) = tmp_path.glob("*.h5")
        assert len(read_run(run)) >= 2
        assert main(["fit", str(run), "--json"]) == 0
        (report,) = json.loads(capsys.readouterr().out)["runs"]
        assert report["threshold"]["status"] == "refused"
        assert report["threshold"]["reason"] == DOUBT
        assert main(["resume", str(run), "--bench", str(file)]) == DataError("").exit_code
        assert DOUBT in capsys.readouterr().err


def test_a_shutter_that_stays_closed_is_not_called_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its switch says what was commanded, the meter stands in front of it: only the spectrometer knows."""
    faults = FaultPlan.parse(
        '[[fault]]\nkind = "failed-shutter"\ninstrument = "shutter"\nmatch = "^ens$"\nnth = 1\n'
        'readback = "commanded"\n'
    )
    clock = SteppedClock()
    monkeypatch.setattr("labctl.session.bench.bench_clock", lambda _config: clock)
    file = tmp_path / "bench.toml"
    with SimulatedBench(scene("ola", "typical", 3), clock, faults=faults) as bench:
        file.write_text(bench.bench_toml(1.0))
        assert main(["set", "--bench", str(file), "--fluence", "100", "--open", "--for", "3"]) == 0
    told = capsys.readouterr()
    assert UNSEEN in told.err
    held = [text for text in told.out.splitlines() if "uJ/cm2" in text]
    assert held
    for text in held:
        assert text.startswith("no light seen; at most ")
        assert "shutter commanded open" in text


def test_a_bench_that_idles_with_a_setting_is_not_called_lit(
    bench_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["set", "--bench", str(bench_file), "--fluence", "60", "--for", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    held = [text for text in told if "uJ/cm2" in text]
    assert held
    for text in held:
        assert "behind the closed shutter" in text or "shutter closed" in text
        assert "shutter open" not in text
        assert text.endswith("dose 0 uJ/cm2")
    assert told[-1].startswith("finished: the shutter is closed (its sensor")


def test_a_sweep_below_threshold_and_one_that_goes_on(
    bench: SimulatedBench, bench_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = SweepPlan(start_uj_cm2=20, stop_uj_cm2=55, points=12, average=3, reference_every=0)
    report, _ = swept(bench, bench_file.parent, plan, stop_at=3)
    done = report.points
    assert report.outcome.headline == f"aborted after {done} of 12 points"
    capsys.readouterr()
    assert main(["resume", str(report.h5), "--bench", str(bench_file)]) == 0
    told = capsys.readouterr()
    counted = [text.split(":")[0] for text in told.err.splitlines() if "pulse energy" in text]
    assert counted == [f"{number}/12" for number in range(done + 1, 13)]
    text = " ".join(told.out.split())
    assert "aborted" not in text
    assert "saturated" not in text
    assert report.h5 is not None
    threshold = read_run(report.h5).result.threshold
    assert (threshold.status, threshold.threshold_uj_cm2) == ("not_found", None)
    assert threshold.reason in text


def test_a_pause_stands_in_the_dark_and_is_noted(bench: SimulatedBench, bench_file: Path) -> None:
    pause, closed, ended = Pause(), list[bool](), threading.Event()

    def tell(event: Event) -> None:
        if isinstance(event, Measured) and event.number == 2:
            pause.hold()

    def look() -> None:
        while not (pause.standing or ended.wait(0.01)):
            pass
        closed.append(pause.standing and bench.scene.shutter.closed_switch())
        pause.go_on()

    onlooker = threading.Thread(target=look)
    onlooker.start()
    plan = SweepPlan(start_uj_cm2=40, stop_uj_cm2=150, points=4, average=2, keep_open=True)
    report = run_sweep(
        load_bench(bench_file), plan, RunRequest(bench_file.parent, "OLA"), stop=threading.Event(),
        on_event=tell, clock=bench.scene.clock, pause=pause,
    )  # fmt: skip
    ended.set()
    onlooker.join(PATIENCE_S)
    assert closed == [True]
    assert report.h5 is not None
    noted = report.h5.with_suffix(".log").read_text()
    assert noted.index("paused: the shutter is closed") < noted.index("the pause has ended")
