"""``labctl shots``: every shot at one fluence or several, in a file; or what those of a stored run say."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import Json, Note, Spot, Who
from labctl.cli.output import write_json, write_lines
from labctl.cli.plan_options import with_options
from labctl.cli.signals import stop_on_signals
from labctl.model.errors import Aborted, DataError
from labctl.model.options import options
from labctl.model.plan import ShotsPlan

if TYPE_CHECKING:
    from labctl.data.run import Run
    from labctl.model.results.shot_statistics import ShotStatistics
    from labctl.runner.single_shots.shots import OnShotEvent, ShotsReport

_OPTIONS = options(ShotsPlan)
SAY_S = 1.0


@with_options(_OPTIONS.values())
def shots(
    given: dict[str, Any],
    run: Annotated[
        Path | None, typer.Argument(help="A stored run that kept single shots: say what they show.")
    ] = None,
    bench: Annotated[
        Path | None, typer.Option("--bench", help="The bench file, TOML.", show_default=False)
    ] = None,
    sample: Annotated[str, typer.Option(help="Name of the sample.", show_default=False)] = "",
    output: Annotated[Path, typer.Option(help="Directory of the output file.")] = Path(),
    operator: Who = "",
    spot: Spot = "",
    note: Note = "",
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figure as PNG at the end.")] = False,
    as_json: Json = False,
) -> int:
    """Keep the spectrum of every laser pulse at one fluence or several; count every one that is missing.

    The spectrometer must have a buffer of its own and be triggered by the laser. Each batch is on disk before
    it is counted. Ctrl-C closes the shutter and keeps what there is. With a stored run, of this command or of
    a sweep with --shots, nothing is measured.
    """
    if run is not None:
        return _say_stored(run, figures=figures, as_json=as_json)
    for name, value in (("--bench", bench), ("--sample", sample), ("--fluence", given.get("fluence"))):
        if not value or not str(value).strip():
            raise typer.BadParameter("missing; or name a stored run", param_hint=f"'{name}'")
    assert bench is not None
    with stop_on_signals() as stop:
        from labctl.config import load_bench
        from labctl.runner.facts import RunRequest
        from labctl.runner.single_shots.shots import run_shots

        plan = ShotsPlan(**{_OPTIONS[name].field: value for name, value in given.items()})
        request = RunRequest(output=output, sample=sample, operator=operator, spot=spot, note=note)
        report = run_shots(load_bench(bench), plan, request, stop=stop, on_event=_progress())
    _print(report, sample, figures=figures, as_json=as_json)
    if report.status == "aborted":
        raise Aborted
    return 0


def _progress() -> OnShotEvent:
    """Return what says on stderr, about every second, how far it is."""
    from labctl.runner.events import Message
    from labctl.runner.single_shots.shots import Shot

    said_s = 0.0

    def say(event: object) -> None:
        nonlocal said_s
        if isinstance(event, Message):
            write_lines([event.text], sys.stderr)
        elif isinstance(event, Shot) and (event.light >= event.planned or time.monotonic() - said_s >= SAY_S):
            said_s = time.monotonic()
            missing = f", {event.tally.lost} missing" if event.tally.lost else ""
            where = f"point {event.point + 1}: " if event.point else ""
            write_lines([f"{where}{event.light} of {event.planned} shots{missing}"], sys.stderr)

    return say


def _say_stored(path: Path, *, figures: bool, as_json: bool) -> int:
    """Print what the single shots of a stored run say.

    :raises DataError: it keeps none, or cannot be read.
    """
    from labctl.data import read_run
    from labctl.runner.single_shots.shots import ShotsReport
    from labctl.runner.single_shots.statistics import statistics_of

    stored = read_run(path)
    found = statistics_of(stored)
    report = ShotsReport(stored.path, stored.status, ())
    _write(report, stored.start.sample, found, _drawn(stored, found) if figures else [], [], as_json=as_json)
    return 0


def _drawn(stored: Run, found: tuple[ShotStatistics, ...]) -> list[Path]:
    from labctl.runner.figures.shots import draw_shots

    threshold = stored.result.threshold if len(stored) else None
    return [draw_shots(stored.path, stored.start.sample, found, threshold)] if found else []


def _print(report: ShotsReport, sample: str, *, figures: bool, as_json: bool) -> None:
    """Print what each fluence gave and what its shots say; what cannot be said is a note, not an end."""
    from labctl.data import read_run
    from labctl.runner.single_shots.statistics import statistics_of

    found: tuple[ShotStatistics, ...] = ()
    drawn, notes = list[Path](), list[str]()
    try:
        stored = read_run(report.h5)
        found = statistics_of(stored) if report.points else ()
        drawn = _drawn(stored, found) if figures else []
    except (DataError, OSError, ValueError) as exc:
        notes.append(f"no statistics or figure: {exc}")
    _write(report, sample, found, drawn, notes, as_json=as_json)


def _write(
    report: ShotsReport,
    sample: str,
    found: tuple[ShotStatistics, ...],
    drawn: list[Path],
    notes: list[str],
    *,
    as_json: bool,
) -> None:
    from labctl.model.mapping import plain
    from labctl.runner.single_shots.shots import said
    from labctl.runner.single_shots.statistics import lines_of

    if as_json:
        points = [{**plain(point), "flags": list(point.flags)} for point in report.points]
        files = {"h5": str(report.h5), "figures": [str(path) for path in drawn]}
        write_json(
            plain({"status": report.status, **files, "points": points, "statistics": found, "notes": notes})
        )
        return
    words = [said(point) for point in report.points]
    if not words and not found:
        words = [f"{report.status}: the file holds what came"]
    words += [*(line for one in found for line in lines_of(one)), *notes]
    write_lines([*(f"{sample}: {one}" for one in words), *(f"    {path}" for path in (report.h5, *drawn))])
