"""Makes the pictures of the window in docs/images: python docs/screenshots.py [directory].

Drives the real window on simulated benches, offscreen unless QT_QPA_PLATFORM or DISPLAY say otherwise.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication, QWidget

from labctl.cli.commands.demo import simulated_bench, wait_for
from labctl.config import load_bench, parse_bench
from labctl.gui.base import theme
from labctl.gui.calibration.page import CalibratePage
from labctl.gui.shell.app import make_application
from labctl.gui.shell.benchwindow import BenchWindow
from labctl.gui.shell.window import MainWindow
from labctl.model.clock import SteppedClock
from labctl.model.plan import SweepPlan
from labctl.runner.run import RunRequest, run_sweep
from labctl.service.messages import MoveShutter, SetFluence, Stream
from simulators.bench import SimulatedBench
from simulators.presets import scene, uncalibrated

SIZE = (1280, 720)


def wait(done: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)  # noqa: TID251  a script, not a procedure


def pause(seconds: float) -> None:
    wait(lambda: False, seconds)


def save(widget: QWidget, path: Path) -> None:
    pause(0.4)
    widget.grab().save(str(path))
    print(path)


def stored_runs(folder: Path) -> list[Path]:
    """Sweep both samples of the paper on stepped benches."""
    made = []
    for sample, low, high in (("OAm", 80.0, 600.0), ("OLA", 25.0, 190.0)):
        with SimulatedBench(scene(sample, "typical", 2), SteppedClock()) as bench:
            plan = SweepPlan(start_uj_cm2=low, stop_uj_cm2=high, points=22, average=5)
            report = run_sweep(
                parse_bench(bench.bench_toml(1.0)), plan, RunRequest(folder, sample), stop=threading.Event(),
                on_event=lambda _event: None, clock=bench.scene.clock,
            )  # fmt: skip
        assert report.h5 is not None
        made.append(report.h5)
    return made


def runs_pictures(folder: Path, images: Path) -> None:
    window = MainWindow()
    window.resize(*SIZE)
    window.show()
    window.open_files(stored_runs(folder))
    view = window.runs.view
    wait(lambda: all(r.result for r in view.runs.values()) and len(view.runs) == 2 and window.fits.idle)
    view.tools.log.setChecked(True)
    save(window, images / "runs-compared.png")
    view.set_visible(next(iter(view.runs)), False)
    view.tools.checks.setChecked(True)
    view.toggle_excluded(view.current.facts.key, 4)
    pause(1.5)
    view.lightlight.see_all()
    save(window, images / "run.png")
    view.pages.setCurrentWidget(view.words)
    save(window, images / "words.png")
    window.close()


def light_picture(images: Path) -> None:
    """Show a stored run in the light theme."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    theme.use("light")
    theme.apply_theme(application)
    window = MainWindow()
    window.resize(*SIZE)
    window.show()
    window.open_files([Path(__file__).parent / "examples/run/OLA-spot-1.h5"])
    view = window.runs.view
    wait(lambda: all(r.result for r in view.runs.values()) and bool(view.runs) and window.fits.idle)
    save(window, images / "light-theme.png")
    window.close()


def bench_pictures(folder: Path, images: Path) -> None:
    file = folder / "sim.toml"
    with simulated_bench("ola", file, seed=2, speed=10.0) as process:
        wait_for(file, process, threading.Event())
        window = BenchWindow(load_bench(file), folder)
        window.resize(*SIZE)
        window.show()
        wait(lambda: window.connected)
        save(window, images / "first-screen.png")
        window.post(SetFluence(95.0))
        window.panels.setCurrentIndex(1)
        wait(lambda: window.service.state.seen.fluence_uj_cm2 is not None)
        window.manual.dark.click()
        pause(1.5)
        window.post(MoveShutter(True))
        window.post(Stream(True))
        pause(6.0)
        save(window, images / "manual.png")
        window.post(Stream(False))
        window.post(MoveShutter(False))
        window.panels.setCurrentIndex(0)
        for name, text in (("stop", "1200"), ("points", "20")):
            window.sweep.fields[name].fill(text)
        save(window.sweep, images / "sweep-refused.png")
        window.sweep.fields["stop"].fill("190")
        window.sweep.fields["average"].fill("5")
        window.sweep.sample.set_text("OLA film")
        window.sweep.start_button.click()
        window.sweep.sample.set_text("OLA film, second spot")
        window.sweep.start_button.click()
        wait(lambda: window.live.run is not None and len(window.live.run) >= 15, 90)
        window.live.live.setChecked(False)  # an exposure of the moment may be a dark
        window.live.view.select(window.live.run.facts.key, len(window.live.run) - 1)
        save(window, images / "live.png")
        leave(window)


def alignment_picture(folder: Path, images: Path) -> None:
    file = folder / "sim-real-time.toml"
    with simulated_bench("ola", file, seed=2, speed=1.0) as process:
        wait_for(file, process, threading.Event())
        window = BenchWindow(load_bench(file), folder)
        window.resize(*SIZE)
        window.show()
        wait(lambda: window.connected)
        window.tabs.setCurrentWidget(window.align)
        window.align.start.set_text("28")
        window.align.end.set_text("180")
        window.align.go.click()
        window.panels.setCurrentIndex(1)
        wait(lambda: len(window.align._values) >= 20, 120)
        save(window, images / "alignment.png")
        leave(window)


def calibration_pictures(folder: Path, images: Path) -> None:
    """Calibrate a bench that nobody has measured, the last part of the spot by hand."""
    file, clock = folder / "unknown.toml", SteppedClock()
    with SimulatedBench(uncalibrated(scene("ola", "typical", 3), 3), clock) as bench:
        file.write_text(bench.bench_toml(1.0, nominal=True))
        window = BenchWindow(load_bench(file), folder, clock=clock, file=file)
        page = window.calibrate
        window.resize(*SIZE)
        window.show()
        window.tabs.setCurrentWidget(page)
        for kind in ("attenuator", "pickoff", "energy", "spot"):
            wait(page.go.isEnabled)
            page.choose(kind)
            page.form_of("spot").fields["method"].box.setCurrentIndex(2)  # a micrometer, by hand
            page.toggle()
            if kind == "spot":
                wait(lambda: len(readings(page, "y")) >= 20, 120)
                page.hand.setChecked(True)
                wait(lambda: page.prompt.waiting is not None, 60)
                save(window, images / "calibration.png")
                page.hand.setChecked(False)
                page.prompt.done.click()
            wait(lambda: page.running is None, 120)
            page.use.click()
        wait(page.go.isEnabled)
        page.tabs.setCurrentIndex(1)
        save(window, images / "budget.png")
        leave(window)


def readings(page: CalibratePage, series: str) -> list[tuple[float, float, float]]:
    shown = page.plot.pages.get(series)
    return [] if shown is None else shown.readings.get(series, [])


def leave(window: BenchWindow) -> None:
    gone: list[bool] = []
    window.ended.connect(lambda: gone.append(True))
    window.leave()
    wait(lambda: bool(gone), 20)


def main() -> None:
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="labctl-pictures-") as name:
        folder = Path(name)
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, name)
        make_application()
        runs_pictures(folder, images)
        bench_pictures(folder, images)
        alignment_picture(folder, images)
        calibration_pictures(folder, images)
        light_picture(images)


if __name__ == "__main__":
    main()
