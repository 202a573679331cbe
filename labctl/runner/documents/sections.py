"""The parts of a run's report: each shows what evaluation and file say; nothing is computed here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from labctl.data.calibrations import of_mapping
from labctl.data.run import Run
from labctl.data.verify import findings
from labctl.model.calibration import Calibration
from labctl.model.errors import DataError
from labctl.model.mapping import plain
from labctl.model.options import options
from labctl.model.results.sweep import SweepResult
from labctl.runner.documents.budget import budget_remarks, budget_rows
from labctl.runner.documents.checklist import checklist
from labctl.runner.documents.markup import folded, listed, paragraphs, section, table, text
from labctl.runner.documents.methods import methods
from labctl.runner.documents.pictures import pictures
from labctl.runner.figures.compared import Evaluated
from labctl.runner.meaning import flag_lines
from labctl.runner.report import (
    RunReport,
    beside_number,
    more_lines,
    stability_verdict,
    uncertainty_lines,
    verdict_lines,
)
from labctl.runner.wording import digits, dose
from procedures.calibration.record import shown

_MOST_LINES = 300
"""Lines of a run's log that are shown."""


def run_sections(one: Evaluated, together: Sequence[RunReport], number: int) -> str:
    """Return everything about one run.

    :param together: the runs of the report, this one among them.
    :param number: of the run in the report, which marks its parts.
    """
    run, report = one.run, one.report
    stable = report.result.stability is not None
    return "".join(
        (
            f"<h2>{text(_title(run))}</h2>",
            paragraphs([_when(run)]),
            _result(report),
            section("Threshold by each definition in use", _definitions(report.result)),
            pictures(one, f"run{number}"),
            section("Lines, and evidence for a random laser", _lines(report.result)),
            section("Dose and bleaching", _dose(run, report)),
            "" if stable else section("Checklist for a claim of lasing", _checklist(run, report, together)),
            section("Methods", paragraphs([methods(run, report)])),
            section("Plan", _plan(run)),
            section("Instruments", _instruments(run)),
            section("Calibrations", _calibrations(run)),
            section("Uncertainty of the fluence", _budget(report.result)),
            section("Files and versions", _files(run)),
        )
    )


def _title(run: Run) -> str:
    return f"{run.start.sample}, spot {run.start.spot}" if run.start.spot else run.start.sample


def _when(run: Run) -> str:
    who = f" by {run.start.operator}" if run.start.operator else ""
    end = run.stop.stopped_utc if run.stop else "an end that is not stored"
    note = f". {run.start.note}" if run.start.note else ""
    return f"Measured{who} from {when(run.start.started_utc)} to {when(end)}; run {run.start.run_id}{note}"


def when(utc: str) -> str:
    """Return a stored time as people read it, to the second."""
    try:
        return f"{datetime.fromisoformat(utc):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return utc


def _result(report: RunReport) -> str:
    """Verdict, number with both intervals, and what else the terminal says of the run."""
    result, threshold = report.result, report.threshold
    if result.stability is not None:
        said = stability_verdict(result.stability, threshold.convention or "")
        return f'<div class="result"><p class="said">{text(said)}</p></div>{listed(_remarks(report, ""))}'
    reason = report.outcome.reason
    value, number = threshold.threshold_uj_cm2, report.outcome.headline
    verdict = result.verdict
    inside = (
        [] if verdict is None else [f'<p class="said">{text(f"{verdict.headline}: {verdict.sentence}")}</p>']
    )
    if value is not None:
        number = (
            f"Threshold {digits(value)} {threshold.unit} ({threshold.convention or 'convention not stated'})"
        )
    inside.append(f'<p class="number">{text(number)}</p>')
    if value is not None and threshold.ci95 is not None:
        inside += [f"<p>{text(line)}</p>" for line in _intervals(report)]
    inside += [f"<p>{text(line)}</p>" for line in verdict_lines(result)[1:]]
    return f'<div class="result">{"".join(inside)}</div>{listed(_remarks(report, beside_number(reason)))}'


def _intervals(report: RunReport) -> Iterator[str]:
    threshold = report.threshold
    assert threshold.ci95 is not None
    low, high = (digits(end) for end in threshold.ci95)
    only = " (statistical and choice of shape; the scale of the fluence is not in it)"
    yield f"95 % interval {low} to {high} {threshold.unit}{only}"
    if threshold.total_ci95 is not None:
        low, high = (digits(end) for end in threshold.total_ci95)
        yield f"with the uncertainty of the fluence's scale: {low} to {high} {threshold.unit}"


def _remarks(report: RunReport, reason: str) -> list[str]:
    lines = [*([reason] if reason else []), *flag_lines(report.result, reason=reason), *report.notes]
    return [*lines, *uncertainty_lines(report)]


def _definitions(result: SweepResult) -> str:
    rows = [
        (
            found.label,
            "not defined here" if found.value_uj_cm2 is None else digits(found.value_uj_cm2),
            "" if found.ci95 is None else f"{digits(found.ci95[0])} to {digits(found.ci95[1])}",
            "; ".join(part for part in (found.reason, found.note) if part),
        )
        for found in result.definitions
    ]
    return table(("Definition", "uJ/cm2", "95 % interval", "Remark"), rows) if rows else ""


def _lines(result: SweepResult) -> str:
    modes, q = result.modes, result.q
    rows = [
        (
            f"{mode.wavelength_nm:.2f}",
            f"{mode.fwhm_nm:.3f}",
            digits(mode.onset_uj_cm2),
            "" if mode.ci95 is None else f"{digits(mode.ci95[0])} to {digits(mode.ci95[1])}",
            f"{mode.share:.0%}",
            mode.reason,
        )
        for mode in (() if modes is None else modes.modes)
    ]
    heading = (
        "Line (nm)",
        "FWHM as seen (nm)",
        "Onset (uJ/cm2)",
        "95 % interval",
        "Share of light",
        "Remark",
    )
    said = [line for line in more_lines(result) if result.stability is None]
    said = [line for line in said if result.modes is None or line != result.modes.text]
    if q is not None:
        sign = ">=" if q.lower_bound else "="
        spread = "" if q.lower_bound or q.sigma != q.sigma else f" +- {q.sigma:.0f}"
        said.append(
            f"Q {sign} {q.value:.0f}{spread} at {q.wavelength_nm:.2f} nm, FWHM {q.fwhm_nm:.3f} nm "
            f"(measured {q.measured_fwhm_nm:.3f} nm, resolution {q.resolution_said})"
            f"{f'; {q.reason}' if q.reason else ''}"
        )
    return (table(heading, rows, "Onset of each line") if rows else "") + listed(said)


def _dose(run: Run, report: RunReport) -> str:
    result = report.result
    limits = run.start.config.get("limits")
    limit = limits.get("max_dose_uj_cm2") if isinstance(limits, Mapping) else None
    given = result.dose_uj_cm2
    said = [f"Dose on the sample: {'not stated' if given is None else dose(given)}"]
    said += ["No limit of the dose was set" if limit is None else f"Limit of the dose: {dose(limit)}"]
    found = result.bleaching
    if found is None:
        return listed([*said, "Bleaching: not measured (the run has no reference points)"])
    rows = [
        (dose(at), f"{light:.4f}", f"{sigma:.4f}")
        for at, light, sigma in zip(found.dose_uj_cm2, found.light_rel, found.light_sigma_rel, strict=False)
    ]
    caption = f"Emission at the reference fluence of {digits(found.fluence_uj_cm2)} uJ/cm2"
    heading = ("Dose", "Emission, relative to the first", "Standard error")
    return listed(said) + (table(heading, rows, caption) if rows else "")


def _checklist(run: Run, report: RunReport, together: Sequence[RunReport]) -> str:
    answers = checklist(run, report, together)
    source = (
        "After the checklist of Nature Photonics for a claim of lasing (doi 10.1038/nphoton.2017.28), in our "
        "words; random lasers need not meet every item."
    )
    return table(("Question", "Answer"), [(one.question, one.answer) for one in answers]) + paragraphs(
        [source]
    )


def _plan(run: Run) -> str:
    plan = run.plan
    declared = options(type(plan))
    rows = []
    for option in declared.values():
        value = getattr(plan, option.field)
        if value is None or value == ():
            continue
        rows.append((option.label, _value(value, percent=option.percent), option.shown_unit))
    planned = run.facts.planned
    rows.append(("Points measured", f"{len(run)}" if planned is None else f"{len(run)} of {planned}", ""))
    bands = run.facts.edits.bands or run.bands
    for name, (low, high) in (("Emission band", bands.emission_nm), ("Lasing band", bands.lasing_nm)):
        rows.append((name, f"{low:.4g} to {high:.4g}", "nm"))
    return table(("Option", "Value", "Unit"), rows)


def _value(value: object, *, percent: bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(f"{one:g}" for one in value)
    if isinstance(value, float):
        return f"{100 * value if percent else value:g}"
    return str(value)


def _instruments(run: Run) -> str:
    rows = [
        (role.replace("_", " "), f"{who.vendor} {who.model}".strip(), who.serial, who.firmware)
        for session in run.sessions[-1:]
        for role, who in session.identities.items()
    ]
    sessions = [
        f"session {number + 1} from {one.started_utc}, point {one.first_point + 1} on"
        + (f": {'; '.join(one.differences)}" if one.differences else "")
        for number, one in enumerate(run.sessions)
        if len(run.sessions) > 1
    ]
    return table(("Role", "Instrument", "Serial number", "Firmware"), rows) + listed(sessions)


def _calibrations(run: Run) -> str:
    stored = run.sessions[-1].config.get("calibrations")
    rows, lost = [], []
    for kind, one in (stored if isinstance(stored, Mapping) else {}).items():
        if one is None:
            continue
        try:
            rows.append(_calibration(of_mapping(one, kind)))
        except DataError as exc:
            lost.append(f"{kind}: {exc.message}")
    if not rows and not lost:
        return paragraphs(["The bench file names no calibrations: its own numbers were used."])
    return table(("Calibration", "Measured", "Valid until", "Results"), rows) + listed(lost)


def _calibration(found: Calibration) -> tuple[str, str, str, str]:
    numbers = "; ".join(f"{name} {shown(name, quantity)}" for name, quantity in found.quantities.items())
    warned = f"; warning: {', '.join(found.flags)}" if found.flags else ""
    return found.kind, found.measured_utc, found.valid_until_utc, f"{numbers}{warned}"


def _budget(result: SweepResult) -> str:
    budget = result.budget
    if budget is None:
        return paragraphs(["not stated: the file does not hold the chain from the meter to the sample"])
    heading, *rows = budget_rows(budget)
    at = f"Standard uncertainties (k = 1) of the scale, at {digits(budget.fluence_uj_cm2)} uJ/cm2"
    return table(heading, rows, at) + listed([line.replace("  ", " ") for line in budget_remarks(budget)])


def _files(run: Run) -> str:
    paths = [path for path in (run.path, run.csv_path) if path.is_file()]
    rows = [(path.name, f"{path.stat().st_size:,} bytes", sha256(path)) for path in paths]
    checked = findings(run.path)
    said = checked.problems or ("complete, and sound by its own checksums",)
    versions = table(("Program", "Version"), list(run.start.versions.items()), "Versions that measured")
    events = [f"{event.at_s:10.2f} s  {event.text}" for event in run.events[:_MOST_LINES]]
    return "".join(
        (
            table(("File", "Size", "SHA-256"), rows),
            listed([f"labctl verify: {'; '.join((*said, *checked.notes))}", f"status: {report_status(run)}"]),
            versions,
            folded("Bench file as it was resolved", f"<pre>{_json(run)}</pre>"),
            folded(f"Log of the run ({len(run.events)} lines)", _log(events, len(run.events))),
        )
    )


def report_status(run: Run) -> str:
    """Say how a run ended."""
    return f"{run.status} ({run.reason})" if run.reason else run.status


def _json(run: Run) -> str:
    """Return the bench file of a run, without its long tables."""
    shown_config = {key: value for key, value in run.start.config.items() if key != "calibrations"}
    lines = json.dumps(plain(shown_config), indent=1, ensure_ascii=False).split("\n")
    return "\n".join(text(line) for line in lines[:1000])


def _log(lines: Sequence[str], count: int) -> str:
    if not count:
        return ""
    more = "" if count <= len(lines) else f"\nand {count - len(lines)} more"
    return f"<pre>{chr(10).join(text(line) for line in lines)}{more}</pre>"


def sha256(path: Path) -> str:
    """Return the checksum of a file.

    :raises OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
