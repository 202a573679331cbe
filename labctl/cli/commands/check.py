"""``labctl check``: one table of who answers; every failure with what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.common import BenchFile, Json
from labctl.cli.output import write_json, write_lines
from labctl.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from labctl.session.check import CheckReport


def check(
    bench: BenchFile,
    start: Annotated[
        float | None,
        typer.Option(min=0.0, help="Lowest planned fluence, uJ/cm2.", show_default="none"),
    ] = None,
    recheck: Annotated[
        bool,
        typer.Option("--recheck", help="Check the attenuator calibration with the shutter closed."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Connect to every instrument and read each once.

    No shutter opens, and nothing moves unless --recheck is given. All failures are told at once, each with
    what to try.
    """
    with stop_on_signals() as stop:
        from labctl.config import load_bench
        from labctl.model.errors import InstrumentError, NotConnected
        from labctl.session.check import check_bench, recheck_bench

        config = load_bench(bench)
        report = check_bench(config, start, stop=stop)
        if recheck and not report.failures:
            report = recheck_bench(config, report, stop=stop)
    if as_json:
        write_json(_document(report))
    else:
        _print(report)
    if report.failures and as_json:
        raise NotConnected(report.failures)
    if report.failures:
        roles = ", ".join(failure.role for failure in report.failures)
        raise InstrumentError(roles, "not connected", "the hint given with each of them above")
    return 0


def _document(report: CheckReport) -> dict[str, object]:
    return {
        "instruments": [
            {
                "role": c.role,
                "driver": c.driver,
                "resource": c.resource,
                "identity": c.identity or None,
                "reading": c.reading or None,
                "error": c.failure.reason if c.failure else None,
                "try": c.failure.hint if c.failure else None,
            }
            for c in report.instruments
        ],
        "warnings": list(report.warnings),
        **({"recheck": report.recheck} if report.recheck else {}),
    }


def _print(report: CheckReport) -> None:
    lines = []
    for c in report.instruments:
        who = f"{c.role} ({c.driver}, {c.resource})"
        if c.failure is None:
            lines.append(f"ok      {who}: {c.identity}; {c.reading}")
        else:
            lines += [f"FAILED  {who}: {c.failure.reason}", f"        try: {c.failure.hint}"]
    if report.recheck:
        lines.append(f"attenuator's calibration: {report.recheck}")
    write_lines([*lines, *(f"warning {warning}" for warning in report.warnings)])
