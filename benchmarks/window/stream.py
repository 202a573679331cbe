"""How the window keeps up with 1,000 spectra a second: python -m benchmarks.window.stream [--seconds 20].

A thread delivers 2,048 pixels a thousand times a second into the live page, in batches of at most 0.1 s as a
device does. Measured: redraws a second, the longest gaps of Qt's thread (a timer that should fire every
5 ms), time from the end of an exposure to the end of its painting, what the window costs the acquisition,
and memory.
"""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import psutil
from PySide6.QtCore import QEvent, QEventLoop, QObject, Qt, QTimer
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QApplication, QGraphicsView

from benchmarks.benches import scene, served
from benchmarks.trials import parser
from labctl.gui.live.live_page import LivePage
from labctl.gui.shell.app import make_application
from labctl.gui.shell.window import Mailbox
from labctl.model.records import FloatArray, Identity, SpectrometerInfo, Spectrum
from labctl.runner.fit_process import Fits
from labctl.service.observed import BenchState

RATE_HZ = 1000.0
BATCH_S = 0.02
PIXELS = 2048


@dataclass
class Source:
    """Delivers spectra at a fixed rate, in batches; the work of a reduction is done for each of them."""

    state: BenchState | None
    frames: FloatArray
    delivered: int = 0
    worked_s: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        began = time.perf_counter()
        while not self.stop.is_set():
            due = int((time.perf_counter() - began) * RATE_HZ)
            if due - self.delivered < RATE_HZ * BATCH_S:
                self.stop.wait(0.002)
                continue
            start = time.perf_counter()
            for _ in range(due - self.delivered):
                counts = self.frames[self.delivered % len(self.frames)]
                float(counts[700:1900].sum())
                if self.state is not None:
                    now = time.perf_counter()
                    self.state.exposure(Spectrum(counts, 1 / RATE_HZ, now - 1 / RATE_HZ, now))
                self.delivered += 1
            self.worked_s += time.perf_counter() - start


class Log:
    """Keeps numbers in memory that was taken beforehand: an hour of notes must not look like a leak."""

    def __init__(self, most: int) -> None:
        self._values, self.count = np.full(most, np.nan), 0

    def append(self, value: float) -> None:
        if self.count < self._values.size:
            self._values[self.count] = value
            self.count += 1

    @property
    def values(self) -> FloatArray:
        return self._values[: self.count]


class Every(QObject):
    """Has something noted at even times, in Qt's thread."""

    def __init__(self, every_ms: int, note: Callable[[], None]) -> None:
        super().__init__()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(note)
        self._timer.start(every_ms)


class AfterPaint(QObject):
    """Paints a widget itself, and tells when that is done."""

    def __init__(self, done: Callable[[], None], view: QGraphicsView) -> None:
        super().__init__()
        self._done, self._view, self._inside = done, view, False

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() != QEvent.Type.Paint or self._inside:
            return False
        self._inside = True
        QApplication.sendEvent(watched, event)
        self._inside = False
        self._done()
        return True


def frames() -> FloatArray:
    rng = np.random.default_rng(1)
    axis = np.linspace(500, 561, PIXELS)
    line = 4000 * np.exp(-0.5 * ((axis - 520) / 10) ** 2) + 30000 * np.exp(-0.5 * ((axis - 540) / 0.17) ** 2)
    return 1000.0 + rng.poisson(line, (64, PIXELS)).astype(np.float64)


def alone(seconds: float) -> tuple[float, float]:
    """Return spectra a second, and seconds of work a spectrum, without a window."""
    source = Source(BenchState(), frames())
    thread = threading.Thread(target=source.run)
    thread.start()
    time.sleep(seconds)  # noqa: TID251  a benchmark
    source.stop.set()
    thread.join()
    return source.delivered / seconds, source.worked_s / max(source.delivered, 1)


def with_window(seconds: float) -> dict[str, object]:
    application = make_application()
    assert isinstance(application, QApplication)
    state = BenchState()
    with served(scene("ola", "typical", 1)) as (_, config):
        pass
    fits = Fits()
    page = LivePage(config, fits, lambda answer: mailbox.post(answer), QUndoStack(), state)
    mailbox = Mailbox(page.take, page.tick)  # type: ignore[arg-type]
    page.resize(1300, 800)
    page.set_info(SpectrometerInfo(Identity("a", "b", "c"), np.linspace(500, 561, PIXELS), 65535, 1e-3, 10))
    state.dark(1 / RATE_HZ, np.full(PIXELS, 1000.0))
    latency = Log(int(40 * seconds) + 1000)
    plot = page.view.spectrum.widget
    shown = [0.0]

    def painted() -> None:
        if page.shown_at_s != shown[0]:
            shown[0] = page.shown_at_s
            latency.append(time.perf_counter() - page.shown_at_s)

    # Told by the view after every painting of its contents.
    plot.viewport().installEventFilter(watch := AfterPaint(painted, plot))
    assert watch is not None
    page.show()
    source = Source(state, frames())
    thread = threading.Thread(target=source.run)
    thread.start()
    _turn(application, min(5.0, seconds / 4))  # imports, the first peaks, caches
    gc.collect()
    before, process = source.delivered, psutil.Process()
    rss, latency_from = process.memory_info().rss, latency.count
    source.worked_s = 0.0
    gaps, memory, last_s = Log(int(250 * seconds) + 1000), list[float](), [time.perf_counter()]

    def fired() -> None:
        last_s.append(time.perf_counter())
        gaps.append(last_s[1] - last_s.pop(0))

    def weighed() -> None:
        memory.append(round(process.memory_info().rss / 1e6, 2))

    timers = Every(5, fired), Every(int(1000 * max(seconds / 60.0, 1.0)), weighed)
    cpu = sum(process.cpu_times()[:2])
    began = time.perf_counter()
    _turn(application, seconds)
    took = time.perf_counter() - began
    del timers
    cpu = sum(process.cpu_times()[:2]) - cpu
    delivered = source.delivered - before
    work = source.worked_s / max(delivered, 1)
    source.stop.set()
    thread.join()
    gc.collect()
    grown = process.memory_info().rss - rss
    fits.close()
    mailbox.stop()
    times, away = latency.values[latency_from:], gaps.values
    return {
        "redraws_per_s": len(times) / took,
        "spectra_per_s": delivered / took,
        "work_us_per_spectrum": 1e6 * work,
        "gap_p50_ms": 1e3 * float(np.median(away)),
        "gap_p99_ms": 1e3 * float(np.quantile(away, 0.99)),
        "gap_p999_ms": 1e3 * float(np.quantile(away, 0.999)),
        "gap_max_ms": 1e3 * float(away.max()),
        "latency_p50_ms": 1e3 * float(np.median(times)) if times.size else float("nan"),
        "latency_p99_ms": 1e3 * float(np.quantile(times, 0.99)) if times.size else float("nan"),
        "gaps_above_50_ms": float((away > 0.05).sum()),
        "memory_growth_mb": grown / 1e6,
        "memory_mb": memory,
        "cpu_share": cpu / took,
        "spectra": float(delivered),
    }


def _turn(application: QApplication, seconds: float) -> None:
    """Let Qt's own loop run, as in the program."""
    loop = QEventLoop(application)
    QTimer.singleShot(int(1000 * seconds), loop.quit)  # the application's own quit would close the window
    loop.exec()


def main() -> None:
    seconds = parser(__doc__, seconds=20.0).parse_args().seconds
    rate, work = alone(min(seconds, 10.0))
    found = with_window(seconds)
    found["slow_down"] = 1 - float(str(found["spectra_per_s"])) / rate
    found["work_alone_us"] = 1e6 * work
    found["load_1min"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    found["platform"] = os.environ.get("QT_QPA_PLATFORM", "")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
