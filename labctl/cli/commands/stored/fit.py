"""``labctl fit``: thresholds of stored runs and of tables; what a table leaves open is asked, or refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.commands.runs import EXIT_BAD
from labctl.cli.common import Json
from labctl.cli.output import write_lines
from labctl.model.errors import DataError

if TYPE_CHECKING:
    from labctl.data.tables.choosing import Asked
    from labctl.data.tables.errors import TableUnclear
    from labctl.runner.report import RunReport

_MOST_QUESTIONS = 8

Column = "Column of the {}: its name, a part of it, or its number from 1{}."


def fit(
    files: Annotated[
        list[Path],
        typer.Argument(help="Run files (.h5, .csv), or tables of pump and signal.", show_default=False),
    ],
    x: Annotated[
        str | None, typer.Option("--x", help=Column.format("pump", '; "NAME:log10" or ":ln" for a logarithm'))
    ] = None,
    y: Annotated[
        str | None, typer.Option("--y", help=Column.format("signal", '; "NAME:log10", ":ln" or ":dB"'))
    ] = None,
    sigma: Annotated[
        str | None,
        typer.Option(
            "--sigma",
            help="Column of the signal's error, or none; behind it :percent, :absolute, :fraction, :sd, :se.",
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", help='Unit of the pump in a table: mJ/cm2, nJ, mA ...; "mJ/cm2, peak" states more.'
        ),
    ] = None,
    photon_order: Annotated[
        int | None,
        typer.Option("--photon-order", min=1, max=4, help="Photons that excite the sample together."),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw the figures of each file, next to it.")
    ] = False,
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Print the threshold by each definition in use.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Fit stored runs, or tables, again.

    Of a table it says which columns were taken and why, and which lines were left out. Where two readings are
    possible it asks in a terminal; elsewhere, and with --json, it ends and names the option that decides.

    Without a photon order a run takes that of its bench file, a table is fitted for each that its exponent
    allows.

    Of several spots of one sample the spread between spots is given beside each interval.
    """
    from labctl.cli.commands.sweep import with_compared, with_figures
    from labctl.cli.signals import ended_at_once
    from labctl.cli.table import print_result
    from labctl.data.tables.choosing import Asked
    from labctl.runner.refit import spot_spread

    asked = Asked(x, y, sigma, unit)
    with ended_at_once():
        runs, refused = _fitted(files, lambda path: _one(path, photon_order, asked, may_ask=not as_json))
    if figures:
        runs = with_compared([with_figures(run) for run in runs])
    print_result(runs, as_json=as_json, spread=spot_spread(runs), definitions=definitions)
    return EXIT_BAD if refused else 0


def _fitted(
    files: Sequence[Path], fit_one: Callable[[Path], RunReport]
) -> tuple[list[RunReport], list[DataError]]:
    """Fit every file; among several one that is empty or cannot be fitted is told, and ends nothing.

    :raises DataError: there is one file only, or none can be fitted.
    """
    runs: list[RunReport] = []
    refused: list[DataError] = []
    for path in files:
        try:
            found = fit_one(path)
        except DataError as exc:
            refused.append(exc)
            continue
        if found.points or len(files) == 1:
            runs.append(found)
        else:
            write_lines([f"{path}: skipped, {found.outcome.headline or found.status}"], sys.stderr)
    if len(refused) == len(files):
        raise DataError("; ".join(exc.message for exc in refused), refused[0].hint)
    write_lines((f"labctl: {exc}" for exc in refused), sys.stderr)
    return runs, refused


def _one(path: Path, photon_order: int | None, asked: Asked, *, may_ask: bool) -> RunReport:
    """Fit one file; ask what its table leaves open, if somebody is there.

    :raises TableUnclear: nobody is.
    """
    from labctl.data.tables.errors import TableUnclear
    from labctl.runner.refit import refit

    may_ask = may_ask and sys.stdin.isatty() and sys.stderr.isatty()
    for _ in range(_MOST_QUESTIONS):
        try:
            return refit(path, photon_order, asked)
        except TableUnclear as unclear:
            if not may_ask or not unclear.answers:
                raise
            asked = replace(asked, **{unclear.option: _answered(unclear)})
    return refit(path, photon_order, asked)


def _answered(unclear: TableUnclear) -> str:
    """Ask a person; a number chooses from the list, anything else is taken as it is typed."""
    from labctl.cli.common import warn
    from labctl.model.errors import Aborted

    lines = [f"{unclear.path}: {unclear.question}"]
    lines += [f"  {number}  {answer}" for number, answer in enumerate(unclear.answers, 1)]
    write_lines(
        [*lines, f"type a number, or what --{unclear.option} takes; an empty line cancels"], sys.stderr
    )
    typed = sys.stdin.readline().strip()
    if not typed:
        raise Aborted
    chosen = _listed(unclear.answers, typed)
    warn(f"--{unclear.option} {chosen!r} answers this without a question")
    return chosen


def _listed(answers: Sequence[str], typed: str) -> str:
    place = int(typed) - 1 if typed.isdecimal() else -1
    return answers[place] if 0 <= place < len(answers) else typed
