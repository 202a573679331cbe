"""``labctl report``: one HTML file about one run or several, that opens anywhere and needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from labctl import __version__
from labctl.analysis.evaluation.comparison import compared
from labctl.data import read_run
from labctl.data.tables.table import is_hdf5
from labctl.model.errors import DataError
from labctl.model.untrusted import write_whole
from labctl.runner.documents.markup import listed, page, section, table, text
from labctl.runner.documents.pictures import compared_pictures
from labctl.runner.documents.sections import report_status, run_sections, when
from labctl.runner.figures.compared import Evaluated
from labctl.runner.figures.of_runs import of_runs
from labctl.runner.refit import spot_spread, spread_line
from labctl.runner.report import RunReport, comparison_lines, headline_of, percent
from labctl.runner.wording import digits


def write_report(runs: Sequence[Path], output: Path | None, now: datetime) -> Path:
    """Write the report of runs into one HTML file.

    :param runs: run files.
    :param output: the file; None: ``<first run>_report.html`` beside the first run.
    :param now: when it is made.
    :returns: the file.
    :raises DataError: a run cannot be read, or the file cannot be written.
    """
    every = [Evaluated.of(read_run(_run_file(path))) for path in runs]
    path = output or every[0].run.path.with_name(f"{every[0].run.path.stem}_report.html")
    write_whole(path, report_page(every, now))
    return path


def _run_file(path: Path) -> Path:
    if path.is_file() and path.suffix.lower() != ".csv" and not is_hdf5(path):
        raise DataError(f"{path}: is not a run file", "labctl fit accepts a table")
    return path


def report_page(every: Sequence[Evaluated], now: datetime) -> str:
    """Return the page about runs that are evaluated."""
    reports = [one.report for one in every]
    samples = ", ".join(dict.fromkeys(report.sample for report in reports))
    body = [f"<h1>{text(samples)}: {text('report of ' + _count(len(every)))}</h1>"]
    if len(every) > 1:
        body.append(_together(every))
    body += [run_sections(one, reports, number) for number, one in enumerate(every)]
    made = now.strftime("%Y-%m-%d %H:%M UTC")
    body.append(f"<footer>Made with labctl {text(__version__)} on {made}. Intervals are at 95 %.</footer>")
    return page(f"{samples}: labctl report", "".join(body))


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _together(every: Sequence[Evaluated]) -> str:
    """Return overlay, table and ratios of several runs."""
    reports = [one.report for one in every]
    lines = [
        *map(spread_line, spot_spread(reports)),
        *comparison_lines(compared([r.compared for r in reports])),
    ]
    rows = [_row(one) for one in every]
    heading = ("Sample", "Spot", "Measured", "Status", "Threshold (uJ/cm2)", "95 % interval", "Result")
    return section("Runs together", table(heading, rows), listed(lines), *compared_pictures(of_runs(every)))


def _row(one: Evaluated) -> tuple[str, ...]:
    run, report = one.run, one.report
    threshold = report.threshold
    ends = "" if threshold.ci95 is None else f"{digits(threshold.ci95[0])} to {digits(threshold.ci95[1])}"
    value = digits(threshold.threshold_uj_cm2)
    status = report_status(run)
    return (
        report.sample,
        report.spot,
        when(run.start.started_utc),
        status,
        value,
        ends,
        result_in_short(report),
    )


def result_in_short(report: RunReport) -> str:
    """Say in a few words what came of a run."""
    stable = report.result.stability
    if stable is None:
        return headline_of(report.result) or report.outcome.headline
    left = stable.retained
    return "no result" if left is None else f"{percent(left.value, left.sigma)} of the emission remains"
