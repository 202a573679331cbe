"""A fly scan from the first connection to the last byte: flight, run file, result.

The points are those of a sweep (their exposures are single shots), and so is the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from labctl.analysis.evaluation import evaluate
from labctl.config import BenchConfig, load_bench
from labctl.data import RunWriter
from labctl.model.clock import Clock, Stop
from labctl.model.errors import Aborted
from labctl.model.plan import FlyPlan
from labctl.model.run import PointList, RunStop
from labctl.runner.facts import RunRequest, now_utc, run_start
from labctl.runner.report import RunReport, tally
from labctl.runner.single_shots.shots import end_run
from labctl.session import open_bench
from procedures.fly import Flight, fly

PROCEDURE_ID = "fly/1"
Tell = Callable[[str], None]


def run_fly(
    bench: BenchConfig | Path | str,
    plan: FlyPlan,
    request: RunRequest,
    *,
    stop: Stop,
    tell: Tell,
    clock: Clock | None = None,
) -> RunReport:
    """Fly once over a sample, store it and say what came of it; the bench is safe in any case.

    :param bench: a bench file or its configuration.
    :param plan: from where to where, and how often.
    :param request: the names and the folder of the run's files.
    :param stop: ends the flight; the shutter is closed.
    :param tell: told what a user should know meanwhile.
    :param clock: of the bench; made from the configuration by default.
    :raises ConfigError: this bench cannot fly this plan.
    :raises LabctlError: it failed; the file then says why.
    """
    config = load_bench(bench)
    plan = replace(plan, triggered=config.triggered)
    with RunWriter(request.output, request.stem()) as writer:
        with open_bench(config, clock, stop, tell=tell, over=tell) as opened:
            writer.begin(run_start(opened, plan, request, PROCEDURE_ID))
            try:
                flight = fly(plan, opened.roles, opened.pump, opened.bands, sink=writer, stop=stop)
            except BaseException as exc:
                failure = Aborted() if isinstance(exc, KeyboardInterrupt) else exc
                end_run(writer, failure)
                raise
            facts = replace(opened.facts, dose_uj_cm2=opened.pump.dose_uj_cm2, planned=len(flight.points))
            meter = opened.identities["power_meter"].serial
        notes = said(flight)
        for note in notes:
            writer.event(flight.dark.at_s, note)
        result = evaluate(PointList(flight.points, (flight.dark,)), plan, facts)
        writer.end(RunStop("finished", "", now_utc(), result))
    return RunReport(
        sample=request.sample,
        status="finished",
        csv=None,
        h5=writer.paths.h5,
        points=len(flight.points),
        result=result,
        spot=request.spot,
        meter=meter,
        notes=notes,
        counted=tally(
            [p.saturated_exposures for p in flight.points],
            [p.exposures for p in flight.points],
            [p.integration_s for p in flight.points],
            planned=len(flight.points),
        ),
    )


def said(flight: Flight) -> tuple[str, ...]:
    """Say in sentences what the shots showed of the plate, which were left out, and of the pump light."""
    motion, solved = flight.solved.motion, flight.solved
    latency, duration = motion.latency_s, motion.duration_s
    left = ", ".join(f"{count} {name}" for name, count in solved.left_out.items())
    lines = [
        f"{int(solved.good.sum())} shots in {len(flight.points)} points, {flight.light_s:.2g} s of light, "
        f"{1e-6 * solved.dose_uj_cm2:.3g} J/cm2; left out: {left or 'none'}; lost: {flight.lost}",
        f"a pass took {1e3 * duration.value:.1f} +- {1e3 * duration.sigma:.1f} ms, the shots came "
        f"{1e3 * latency.value:.1f} +- {1e3 * latency.sigma:.1f} ms late",
    ]
    if motion.flags:
        before_ms = 1e3 * duration.before
        lines.append(
            f"the plate moved otherwise than before in the dark ({before_ms:.1f} ms a pass): check that it "
            "turns freely, and fly again"
        )
    scatter = flight.scatter
    if scatter is not None and scatter.counts_per_uj_cm2 > 3 * scatter.sigma:
        counts = f"{scatter.counts_per_uj_cm2:.2g} counts a pixel per uJ/cm2"
        share = scatter.share
        part = "" if share is None else f", {100 * share:.2g} % of the signal at the lowest fluences"
        lines.append(f"pump light in the spectra: {counts}{part}")
    return tuple(lines)
