"""What the pieces cost that run at every point or every frame. Run by hand, prints a table.

    python -m benchmarks.speed.costs [--times 20]

Processor time of one thread, the least of several goes: other work on the computer does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.tables import Array
from benchmarks.trials import parser
from labctl.analysis.spectra.bands import Bands
from labctl.analysis.spectra.follow import follow_lines, mode_onsets, randomness
from labctl.analysis.spectra.reduce import reduce_exposures
from labctl.analysis.threshold import fit_threshold
from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.scene import Scene

Cost = tuple[str, float, Callable[[], object]]
"""What is measured, its bar in ms, and one go of it."""


def scene_costs() -> Iterator[Cost]:
    """The simulated bench answers out of its own time: it must not slow what is tested with it."""

    def lit() -> tuple[SteppedClock, Scene]:
        clock = SteppedClock()
        scene = Scene(presets.scene("ola"), clock)
        scene.shutter.command(True)
        clock.sleep(1.0)
        return clock, scene

    def expose(duration_s: float) -> None:
        start = clock.now_s()
        clock.sleep(duration_s)
        scene.camera.expose(start, duration_s)

    yield "a simulated bench is built", 100.0, lit
    clock, scene = lit()
    yield "a simulated exposure of 0.1 s", 1.0, partial(expose, 0.1)
    yield "a simulated exposure of 1 s", 3.0, partial(expose, 1.0)


def analysis_costs() -> Iterator[Cost]:
    """What the acquisition thread and the live fit do at a point."""
    rng = np.random.default_rng(1)
    wavelength = np.linspace(480.0, 620.0, 2136, dtype=np.float64)
    frames = np.asarray(
        1500.0 + rng.poisson(500.0 * np.exp(-(((wavelength - 532.0) / 12.0) ** 2)), (12, 2136)),
        dtype=np.float64,
    )
    dark = np.full(wavelength.size, 1500.0)
    reduce = partial(
        reduce_exposures, wavelength, frames, dark, bands=Bands(), pulses_per_exposure=100.0
    )  # fmt: skip
    yield "12 exposures are reduced to a point", 6.0, partial(reduce, nonlinearity=(1.0, -1e-7))
    u = np.geomspace(0.3, 2.4, 63)
    light = (100.0 + 300.0 * u**2 + 6000.0 * np.maximum(u - 1.0, 0.0)) * (1 + 0.05 * rng.standard_normal(63))
    fluence, signal = np.append(79.81 * u, 100.0), np.append(light, 2000.0)
    choose = partial(fit_threshold, fluence, signal, quick=True)
    yield "64 points are fitted to choose the next", 60.0, choose
    yield "lines of 32 spectra are followed, 8 onsets", 300.0, _lines_of_a_sweep(wavelength, rng)


def _lines_of_a_sweep(wavelength_nm: Array, rng: np.random.Generator) -> Callable[[], object]:
    """Return what the evaluation does with the lines of 32 spectra."""
    u = np.geomspace(0.4, 2.2, 32)
    places = (531.0, 533.2, 536.9, 538.4, 541.0, 544.6, 547.2, 551.0)
    lines = sum(np.exp(-0.5 * ((wavelength_nm - nm) / 0.19) ** 2) for nm in places)
    light = 1000.0 * u[:, None] ** 2 * np.exp(-(((wavelength_nm - 520.0) / 15.0) ** 2))
    light = light + 20_000.0 * np.maximum(u - 1.0, 0.0)[:, None] * lines
    spectra = np.asarray(rng.normal(light, 5.0 + 0.3 * np.sqrt(light)), dtype=np.float64)

    def follow() -> object:
        found = follow_lines(
            wavelength_nm, spectra, 80.0 * u, emission_nm=(495.0, 565.0), lasing_nm=(525.0, 560.0)
        )
        return mode_onsets(found), randomness(found)

    return follow


def least_ms(action: Callable[[], object], times: int) -> float:
    """Return the least thread time of several goes."""
    spent = []
    for _ in range(times):
        began = time.thread_time()
        action()
        spent.append(time.thread_time() - began)
    return 1e3 * min(spent)


def main() -> None:
    times = parser(__doc__, times=20).parse_args().times
    print(f"{'':40} {'ms':>8} {'bar':>6}")
    for costs in (scene_costs(), analysis_costs()):
        for what, bar_ms, action in costs:
            print(f"{what:40} {least_ms(action, times):8.2f} {bar_ms:6g}")


if __name__ == "__main__":
    main()
