"""``labctl set``: one setting by hand, through the same gate and the same limits as a sweep."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.common import BenchFile, fluence_uj_cm2, warn
from labctl.cli.output import write_lines

if TYPE_CHECKING:
    from labctl.model.clock import Stop
    from procedures.manual import BenchReading, ManualBench

SAY_S = 1.0
LOOK_S = 0.1
"""Between two readings: the light is watched, not looked at now and then."""


def set_bench(
    bench: BenchFile,
    fluence: Annotated[
        float | None,
        typer.Option(
            parser=fluence_uj_cm2,
            metavar="FLUENCE",
            help="Fluence on the sample, uJ/cm2 in the bench's convention.",
            show_default=False,
        ),
    ] = None,
    angle: Annotated[
        float | None,
        typer.Option(help="Angle of the attenuator's mount, degrees.", show_default=False),
    ] = None,
    home: Annotated[bool, typer.Option("--home", help="Home the mount first.")] = False,
    open_shutter: Annotated[bool, typer.Option("--open", help="Open the shutter after setting.")] = False,
    hold: Annotated[
        float | None,
        typer.Option("--for", min=0.0, help="Hold it for this time, s.", show_default="until Ctrl-C"),
    ] = None,
) -> int:
    """Set a fluence or an angle, and hold it.

    Afterwards the shutter is closed and the attenuator at its minimum, however it ends.
    """
    from labctl.cli.signals import stop_on_signals
    from labctl.model.errors import Aborted

    _refuse(fluence, angle, home=home, open_shutter=open_shutter)
    with stop_on_signals() as asked:
        from labctl.config import load_bench
        from labctl.session import open_bench
        from labctl.session.opening import refuse_angle
        from procedures.manual import ManualBench

        config = load_bench(bench)
        if angle is not None:
            refuse_angle(config, angle)
        opening = open_bench(config, stop=asked, tell=warn, over=_say)
        with contextlib.suppress(Aborted), opening as opened:
            hand = ManualBench(opened.roles, opened.pump)
            if home:
                hand.home(asked)
            if fluence is not None:
                hand.set_fluence(fluence, asked)
            elif angle is not None:
                hand.set_angle(angle, asked)
            if open_shutter:
                hand.open(asked)
            _hold(hand, hold, asked)
    return 0


def _refuse(fluence: float | None, angle: float | None, *, home: bool, open_shutter: bool) -> None:
    """Refuse options that contradict each other.

    :raises ConfigError: names the option.
    """
    from labctl.model.errors import ConfigError

    if fluence is not None and angle is not None:
        raise ConfigError("a fluence and an angle together", key="--angle", hint="give only one of them")
    if open_shutter and fluence is None and angle is None:
        raise ConfigError(
            "no fluence or angle to open the shutter for", key="--open", hint="--fluence or --angle"
        )
    if fluence is None and angle is None and not home:
        raise ConfigError("nothing to set", hint="--fluence, --angle or --home")
    if fluence is not None and not 0.0 < fluence < math.inf:
        raise ConfigError(f"{fluence:g} uJ/cm2 is not a fluence above zero", key="--fluence")


def _hold(hand: ManualBench, seconds: float | None, asked: Stop) -> None:
    """Watch the light, and say every second what the bench shows, until the time is over."""
    clock = hand.roles.clock
    end_s = math.inf if seconds is None else clock.now_s() + seconds
    said_s = -math.inf
    while True:
        reading = hand.reading(asked)
        if clock.now_s() - said_s >= SAY_S or clock.now_s() >= end_s:
            said_s = clock.now_s()
            _say(line(reading))
        if clock.now_s() >= end_s:
            return
        clock.sleep(min(LOOK_S, max(end_s - clock.now_s(), 0.0)), asked)


def line(reading: BenchReading) -> str:
    """Return one line on what the bench shows."""
    shutter = "open" if reading.shutter_open else "closed"
    light = "the power meter is behind the closed shutter"
    if reading.fluence_uj_cm2 is not None and reading.pulse_energy_j is not None:
        light = f"{reading.fluence_uj_cm2:.4g} uJ/cm2, {reading.pulse_energy_j * 1e9:.4g} nJ"
    if reading.unseen:
        light, shutter = f"no light seen; at most {light}", "commanded open"
    return f"{light}; {reading.angle_deg:.3f} deg; shutter {shutter}; dose {reading.dose_uj_cm2:.3g} uJ/cm2"


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        write_lines([text])
