"""``labctl check``: one table of who answers; every failure with what to try."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from labctl.session.check import CheckReport


def run_check(bench: Path, lowest_uj_cm2: float | None, *, recheck: bool = False, as_json: bool) -> int:
    """Check a bench; 0 when every instrument answers, 3 when one does not.

    :param recheck: compare the attenuator with its calibration as well.

    :raises ConfigError: the bench file is wrong.
    """
    with stop_on_signals() as stop:
        from labctl.config import load_bench
        from labctl.model.errors import InstrumentError, NotConnected
        from labctl.session.check import check_bench, recheck_bench

        config = load_bench(bench)
        report = check_bench(config, lowest_uj_cm2, stop=stop)
        if recheck and not report.failures:
            report = recheck_bench(config, report, stop=stop)
    if as_json:
        sys.stdout.write(json.dumps(_document(report), indent=2) + "\n")
    else:
        _print(report)
    if report.failures and as_json:
        raise NotConnected(report.failures)
    if report.failures:
        roles = ", ".join(failure.role for failure in report.failures)
        raise InstrumentError(roles, "not connected", "what stands beside each of them above")
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
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for c in report.instruments:
        if c.failure is None:
            console.print(
                f"ok      {c.role} ({c.driver}, {c.resource}): {c.identity}; {c.reading}", markup=False
            )
        else:
            console.print(f"FAILED  {c.role} ({c.driver}, {c.resource}): {c.failure.reason}", markup=False)
            console.print(f"        try: {c.failure.hint}", markup=False)
    if report.recheck:
        console.print(f"attenuator's calibration: {report.recheck}", markup=False)
    for warning in report.warnings:
        console.print(f"warning {warning}", markup=False)
