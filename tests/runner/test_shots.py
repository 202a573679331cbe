"""Every shot from the bench file to the stored file, over the simulator's wires; and what ends it."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE_S
from typer.testing import CliRunner

from labctl.cli.app import command_line
from labctl.config import BenchConfig, parse_bench
from labctl.data.reader import read_run
from labctl.data.run import Run
from labctl.data.verify import verify
from labctl.model.clock import ScaledClock
from labctl.model.errors import ConfigError, InstrumentFault, InstrumentTimeout, SafetyStop, ShutterLied
from labctl.model.plan import ShotsPlan
from labctl.model.records import FloatArray
from labctl.model.shots import Phase, ShotsSummary
from labctl.runner.documents.run_report import report_page
from labctl.runner.events import Connected, Message
from labctl.runner.facts import RunRequest
from labctl.runner.figures.compared import Evaluated
from labctl.runner.single_shots.shots import Shot, ShotsReport, run_shots
from labctl.runner.single_shots.statistics import lines_of, statistics_of
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene.chance import Spell
from simulators.scene.settings import Level

PLAN = ShotsPlan(fluences_uj_cm2=(120.0,), shots=300, dark_shots=60)
Event = Connected | Message | Shot


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPEN_TIMEOUT_S", "ANSWER_TIMEOUT_S"):
        monkeypatch.setattr(f"drivers.spectrometers.ocean.{name}", PATIENCE_S)


@dataclass
class Lab:
    """A simulated bench in real time, with the laser wired to the spectrometer."""

    bench: SimulatedBench
    directory: Path
    trigger: str = 'trigger = "edge"'
    limits: str = ""

    def toml(self) -> str:
        text = self.bench.bench_toml(1.0)
        text = text.replace('driver = "ocean"', f'driver = "ocean"\n{self.trigger}')
        return text.replace("[limits]", f"[limits]\n{self.limits}") if self.limits else text

    def config(self) -> BenchConfig:
        return parse_bench(self.toml())

    def run(
        self,
        plan: ShotsPlan = PLAN,
        on_event: Callable[[Event], None] = lambda _: None,
        stop: threading.Event | None = None,
    ) -> ShotsReport:
        return run_shots(
            self.config(),
            plan,
            RunRequest(self.directory, "OLA"),
            stop=stop or threading.Event(),
            on_event=on_event,
            clock=self.bench.scene.clock,
        )

    def stored(self) -> Run:
        (path,) = self.directory.glob("*.h5")
        assert verify(path) == ()
        return read_run(path)

    def is_dark(self) -> bool:
        return self.bench.scene.shutter.closed_switch()


def lab(directory: Path, level: Level = "typical", **changes: object) -> Iterator[Lab]:
    scene = presets.scene("ola", level=level, seed=3)
    with SimulatedBench(dataclasses.replace(scene, **changes), ScaledClock()) as bench:  # type: ignore[arg-type]
        yield Lab(bench, directory)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Lab]:
    yield from lab(tmp_path)


def summary(report: ShotsReport) -> ShotsSummary:
    (found,) = report.points
    return found


def test_every_shot_of_the_light_is_kept_between_two_darks(real: Lab) -> None:
    events: list[Event] = []
    report = real.run(on_event=events.append)
    found, run = summary(report), real.stored()
    assert report.status == run.status == "finished"
    assert real.is_dark()
    shots = run.shots
    assert shots is not None
    light = shots.where("light")
    assert found.light == light.size >= 300
    assert found.tally.kept == len(shots)
    assert found.tally.lost == shots.tally.lost == 0
    assert found.flags == ()
    assert shots.where("dark").size >= 60
    assert shots.where("dark after").size >= 60
    assert np.diff(shots.table["phase"]).min() >= -1  # dark, travel, light, travel, dark after
    inside = (run.wavelength_nm >= 505.0) & (run.wavelength_nm < 560.0)

    def emission(phase: Phase) -> FloatArray:
        pieces = list(shots.pieces(shots.where(phase)))
        return np.asarray(np.concatenate(pieces)[:, inside].astype(float).sum(axis=1))

    dark, lit, after = emission("dark"), emission("light"), emission("dark after")
    assert lit.mean() - dark.mean() == pytest.approx(found.mean_counts, rel=1e-3)
    assert lit.std(ddof=1) / found.mean_counts == pytest.approx(found.cv, rel=1e-3)
    assert (lit < dark.max()).sum() <= 2  # the laser may leave out a pulse
    assert abs(after.mean() - dark.mean()) < 5 * dark.std() / np.sqrt(60)
    assert found.fluence_uj_cm2 == pytest.approx(120.0, rel=0.05)
    (record,) = run.darks
    assert 60 <= record.n <= shots.where("dark").size
    assert [e.light for e in events if isinstance(e, Shot)][-1] == found.light
    assert any("shots in the light" in event.text for event in run.events)


def test_several_fluences_are_kept_one_after_the_other(real: Lab) -> None:
    plan = replace(PLAN, fluences_uj_cm2=(120.0, 60.0), shots=150)
    bright, faint = real.run(plan).points
    run = real.stored()
    shots = run.shots
    assert shots is not None
    assert shots.points["fluence_set_uj_cm2"].tolist() == [120.0, 60.0]
    assert shots.points["fluence_uj_cm2"].tolist() == [bright.fluence_uj_cm2, faint.fluence_uj_cm2]
    assert shots.points["light"].tolist() == [shots.where("light", point).size for point in (0, 1)]
    assert bright.mean_counts > 3 * faint.mean_counts
    assert [dark.number for dark in run.darks] == [1, 2]
    for point in (0, 1):
        rows = shots.table[shots.table["point"] == point]
        assert np.diff(rows["pulse"]).tolist() == [1] * (len(rows) - 1)


def test_the_dose_is_that_of_every_pulse_of_the_light(real: Lab) -> None:
    found = summary(real.run())
    scene = real.bench.scene
    lit_s = sum(
        b - a
        for a, b in zip(scene.shutter.track._times[1::2], scene.shutter.track._times[2::2], strict=False)
    )
    true = found.fluence_uj_cm2 * 1000.0 * lit_s
    assert found.dose_uj_cm2 >= 0.95 * true > 0


def test_pulses_without_a_trigger_are_counted_and_no_shot_moves_in_their_place(real: Lab) -> None:
    scene = real.bench.scene

    def deafen(event: Event) -> None:
        if isinstance(event, Shot) and event.light > 100 and not len(scene.camera.deaf):
            now_s = scene.clock.now_s()
            with scene.lock:
                scene.camera.deaf.add(Spell(now_s + 0.01, now_s + 0.047))

    found = summary(real.run(replace(PLAN, shots=600), deafen))
    shots = real.stored().shots
    assert shots is not None
    assert found.tally.lost_in_buffer == 0
    assert found.tally.lost_triggers in (36, 37, 38)
    assert found.flags[0] == "shots_without_trigger"
    (gap,) = shots.gaps
    assert (gap["cause"], gap["lost"]) == (b"trigger", found.tally.lost_triggers)
    pulse, device_us = shots.table["pulse"], shots.table["device_time_us"]
    assert np.abs(device_us - device_us[0] - 1000 * pulse).max() <= 2
    assert pulse[-1] + 1 == len(shots) + found.tally.lost


def test_a_trigger_that_never_comes_makes_no_light(real: Lab) -> None:
    with real.bench.scene.lock:
        real.bench.scene.camera.deaf.add(Spell(0.0))
    with pytest.raises(InstrumentTimeout, match="no trigger reaches it"):
        real.run()
    assert len(real.bench.scene.shutter.track) == 1  # it never moved
    assert real.stored().status == "failed"


def test_shots_lost_in_a_row_end_the_light_and_the_file_keeps_what_came(real: Lab) -> None:
    scene = real.bench.scene

    def deafen(event: Event) -> None:
        if isinstance(event, Shot) and event.light > 50 and not len(scene.camera.deaf):
            now_s = scene.clock.now_s()
            with scene.lock:
                scene.camera.deaf.add(Spell(now_s, now_s + 0.3))

    with pytest.raises(InstrumentFault, match="shots in a row are missing: the spectrometer took no trigger"):
        real.run(replace(PLAN, shots=20_000), deafen)
    assert real.is_dark()
    run = real.stored()
    assert (run.status, run.shots is not None and run.shots.where("light").size > 50) == ("failed", True)


def test_a_stop_in_the_light_closes_and_keeps(real: Lab) -> None:
    stop = threading.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, Shot) and event.light > 50:
            stop.set()

    report = real.run(replace(PLAN, shots=100_000), on_event, stop)
    assert (report.status, report.points) == ("aborted", ())
    assert real.is_dark()
    run = real.stored()
    assert run.status == "aborted"
    assert run.shots is not None
    assert run.shots.where("light").size > 50


def test_a_shutter_that_lies_about_its_closing_is_found_out_by_the_shots(real: Lab) -> None:
    scene = real.bench.scene

    def jam(event: Event) -> None:
        if isinstance(event, Shot) and event.light > 50 and not len(scene.shutter.stuck):
            with scene.lock:
                scene.shutter.stuck.add(Spell(scene.clock.now_s(), value=1.0))

    with pytest.raises(ShutterLied, match="still sees light in its shots"):
        real.run(on_event=jam)
    assert scene.mount.plate_over(np.array([scene.clock.now_s()])) != 0.0


@pytest.mark.parametrize(
    ("trigger", "plan", "told"),
    [
        ("", PLAN, "runs freely: a shot would hold any pulses"),
        ('trigger = "edge"\nbackend = "cseabreeze"', PLAN, "has no buffer that keeps every shot"),
        ('trigger = "edge"', replace(PLAN, integration_s=1e-3), "the time between two pulses"),
    ],
)
def test_what_the_bench_cannot_do_is_refused_by_name_before_anything_moves(
    real: Lab, trigger: str, plan: ShotsPlan, told: str
) -> None:
    real.trigger = trigger
    with pytest.raises(ConfigError, match=told):
        real.run(plan)
    assert len(real.bench.scene.shutter.track) == 1


def test_limits_hold_for_shots_as_for_everything(real: Lab) -> None:
    with pytest.raises(SafetyStop, match="limit"):
        real.run(replace(PLAN, fluences_uj_cm2=(900.0,)))
    toml = real.toml().replace("max_dose_uj_cm2 = 1e10", "max_dose_uj_cm2 = 20000.0")
    config = parse_bench(toml)
    with pytest.raises(SafetyStop, match="the dose would exceed its limit"):
        run_shots(
            config,
            PLAN,
            RunRequest(real.directory, "dose"),
            stop=threading.Event(),
            on_event=lambda _: None,
            clock=real.bench.scene.clock,
        )
    assert len(real.bench.scene.shutter.track) == 1


def test_the_command_keeps_counts_and_says_where(real: Lab, tmp_path: Path) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(real.toml(), encoding="utf-8")
    arguments = ["shots", "--bench", str(bench), "--sample", "OLA", "--output", str(tmp_path)]
    done = CliRunner().invoke(command_line(), [*arguments, "--fluence", "120", "--count", "200"])
    assert done.exit_code == 0, done.output
    assert "shots in the light at" in done.stdout
    assert "no shot is missing" in done.stdout
    verified = CliRunner().invoke(command_line(), ["verify", str(real.stored().path)])
    assert "shots, 0 missing" in verified.stdout


def test_what_the_shots_say_is_told_at_the_end_and_drawn(real: Lab, tmp_path: Path) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(real.toml(), encoding="utf-8")
    command = ["shots", "--bench", str(bench), "--sample", "OLA", "--fluence", "60,150", "--count", "300"]
    done = CliRunner().invoke(
        command_line(), [*command, "--output", str(tmp_path / "out"), "--figures", "--json"]
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    below, above = document["statistics"]
    assert document["notes"] == []
    assert below["tail"]["status"] == "not_stated"
    assert "below threshold" in below["tail"]["reason"]
    assert below["overlap"]["above_floor"] is False
    assert above["moments"]["n"] >= 300
    assert above["moments"]["own_cv"]["value"] > 0.01
    assert above["q"]["median"]["value"] > 300
    (figure,) = document["figures"]
    assert Path(figure).read_bytes()[:4] == b"\x89PNG"
    said = list(lines_of(statistics_of(read_run(Path(document["h5"])))[1]))
    assert said[0].startswith(f"{above['moments']['n']} shots at ")
    assert any(line.startswith("Q of a shot: ") for line in said)
    page = report_page([Evaluated.of(read_run(Path(document["h5"])))], datetime(2026, 12, 1, tzinfo=UTC))
    assert "Single shots" in page
    assert said[0].partition(" at ")[0] in page
    assert "_shots.csv" in page
