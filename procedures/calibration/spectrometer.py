"""The spectrometer: darks, wavelengths and resolution from lamps, and linearity where it has to be measured.

The shutter stays closed throughout: the pump has no part in it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import cast

import numpy as np

from labctl.analysis.calibration.lamps import lamp_lines
from labctl.model.errors import CalibrationRefused, ConfigError
from procedures.calibration.context import CalContext, CalStep, Steps
from procedures.calibration.lampwork import AIM, LONGEST_S, LampWork, Series, dark_count
from procedures.calibration.options import SpectrometerOptions
from procedures.calibration.spectrometer_findings import Raw, Taken, evaluated
from procedures.point.exposure import SATURATED

LONGER = 10.0
"""Each further exposure of a lamp, for its weak lines, is so many times longer."""
RAMP = (0.07, 0.93)
"""Shares of the full scale between which the linearity is measured, ``RAMP_TIMES`` times up and down."""
RAMP_TIMES = 8


def calibrate_spectrometer(context: CalContext) -> Steps:
    """Measure darks, wavelengths, resolution and linearity.

    :raises CalibrationRefused: a lamp that saturates, is not seen or is not the one asked for; too few lines.
    """
    options = _options(context)
    with LampWork(context) as work:
        taken = yield from _exposures(work, options)
        yield CalStep("note", "every lamp has been seen: darks next", progress=0.7)
        work.put("")
        darks = work.darks(_dark_times(work, [*taken.lamps, *taken.ramp]), options.frames)
    return (yield from evaluated(context, Raw(work.info, taken, darks)))


def _options(context: CalContext) -> SpectrometerOptions:
    options = cast("SpectrometerOptions", context.options)
    if not options.lamps:
        raise ConfigError("a lamp is needed", key="lamps", hint="hg-ar, ne or kr")
    if options.frames < 5:
        raise ConfigError(f"5 exposures or more, not {options.frames}", key="frames")
    for lamp in options.lamps:
        lamp_lines(lamp)
    return options


# --- measuring -----------------------------------------------------------------------------------------


def _exposures(work: LampWork, options: SpectrometerOptions) -> Generator[CalStep, None, Taken]:
    """Each lamp at an exposure for its strongest line and at longer ones; the last lamp's linearity ramp."""
    taken = Taken([], [])
    for number, lamp in enumerate(options.lamps):
        work.put(lamp)
        seconds, share = work.suitable_s(lamp)
        at = number / len(options.lamps)
        yield CalStep("note", f"{lamp}: {seconds:.4g} s for the strongest line", progress=0.5 * at)
        for longer in _longer(work, seconds):
            taken.lamps.append(work.series(lamp, longer, dark_count(longer, options.frames)))
            yield _shown("lamp", taken.lamps[-1], 0.5 * (at + 0.5 / len(options.lamps)))
    if work.info.nonlinearity is None or options.linearity:
        for each in _ramp(work, seconds, share):
            taken.ramp.append(work.series(lamp, each, max(options.frames // 2, 5)))
            yield _shown("linearity", taken.ramp[-1], 0.5 + 0.2 * len(taken.ramp) / (2 * RAMP_TIMES))
    return taken


def _longer(work: LampWork, seconds: float) -> list[float]:
    longest = max(min(LONGEST_S, work.info.integration_max_s), seconds)
    times = [seconds]
    while times[-1] < longest / 2.0:
        times.append(min(times[-1] * LONGER, longest))
    return times


def _ramp(work: LampWork, seconds: float, share: float) -> list[float]:
    """Exposure times up and down again, so that a lamp's even drift cancels."""
    if share < 0.5 * AIM:
        raise CalibrationRefused(
            f"the lamp reaches {share:.0%} of the full scale in {seconds:g} s: too faint for the linearity",
            "bring the lamp nearer",
        )
    room = share + 1.0 - SATURATED
    ends = (seconds * RAMP[0] / room, seconds * RAMP[1] / room * 0.97)
    up = [work.possible(float(s)) for s in np.geomspace(*ends, RAMP_TIMES)]
    return [*up, *up[::-1]]


def _dark_times(work: LampWork, taken: Sequence[Series]) -> list[float]:
    """The times in use, and enough others to tell offset from dark current."""
    times = {series.integration_s for series in taken}
    return [*times, work.possible(0.02), work.possible(1.0), work.possible(LONGEST_S)]


def _shown(what: str, series: Series, progress: float) -> CalStep:
    top = float(series.frames.mean(axis=0).max())
    text = f"{series.lamp}: {len(series.frames)} exposures of {series.integration_s:.4g} s"
    return CalStep(what, text, series.integration_s, top, "counts", "s", progress=progress)
