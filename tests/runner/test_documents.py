"""The report of a run: one file that needs nothing else, says what the run says, and is readable."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from calibration_files import calibration

from labctl.analysis.budget import fluence_budget
from labctl.cli import main
from labctl.data import read_run
from labctl.data.calibrations import to_mapping
from labctl.data.run import Run, first_session
from labctl.model.errors import DataError
from labctl.model.pump import MalusCurve, PumpSettings, SpotSize
from labctl.model.results.sweep import BleachingResult
from labctl.runner.documents import pictures, print_pdf, run_report, sections
from labctl.runner.documents.checklist import checklist
from labctl.runner.documents.methods import methods
from labctl.runner.documents.print_pdf import arguments, browser
from labctl.runner.documents.run_report import report_page, write_report
from labctl.runner.documents.sections import sha256
from labctl.runner.figures.compared import Evaluated

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"
NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
VOID = {"meta", "link", "img", "source", "input", "br"}


class Page(HTMLParser):
    """What a page holds; a tag that is closed in the wrong place is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def evaluated() -> Evaluated:
    return Evaluated.of(read_run(EXAMPLE))


@pytest.fixture(scope="module")
def markup(evaluated: Evaluated) -> str:
    return report_page([evaluated], NOW)


@pytest.fixture(scope="module")
def page(markup: str) -> Page:
    return Page(markup)


def of(run: Run, **changes: object) -> Evaluated:
    return Evaluated.of(replace(run, **changes))  # type: ignore[arg-type]


def test_nothing_in_the_page_comes_from_elsewhere(page: Page) -> None:
    addresses = [value for _, found in page.tags for name, value in found.items() if name in ("src", "href")]
    sources = [found["srcset"] for found in page.all("source")]
    assert addresses
    assert sources
    assert all(address.startswith("data:") for address in (*addresses, *sources))
    assert all(" " not in source and source.count(",") == 1 for source in sources)
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_the_page_is_small(markup: str) -> None:
    assert len(markup.encode()) < 3_000_000


def test_who_cannot_see_the_figures_is_told_what_they_show(page: Page) -> None:
    alts = [image["alt"] for image in page.all("img")]
    assert len(alts) == 4
    assert "79.63" in alts[0]
    assert all(len(alt) > 30 for alt in alts)
    assert page.all("html")[0]["lang"] == "en"
    ids = Counter(found["id"] for _, found in page.tags if "id" in found)
    assert max(ids.values()) == 1
    assert {label["for"] for label in page.all("label")} <= set(ids)
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch(r"h\d", name)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    heads = [found for found in page.all("th") if found.get("scope") not in ("col", "row")]
    assert heads == []


def _luminance(colour: str) -> float:
    parts = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_text_stands_out_from_its_ground() -> None:
    style = (files("labctl.runner.documents") / "report.css").read_text(encoding="utf-8")
    named = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))
    for ground in ("#ffffff", named["wash"]):
        for ink in ("ink", "soft", "link"):
            light, dark = _luminance(ground), _luminance(named[ink])
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)


def test_it_says_what_the_run_says(page: Page, evaluated: Evaluated) -> None:
    threshold = evaluated.report.threshold
    assert threshold.threshold_uj_cm2 is not None
    assert f"Threshold {threshold.threshold_uj_cm2:.2f} µJ/cm² (peak)" in page.text
    assert "78.67 to 80.56" in page.text
    for definition in evaluated.report.result.definitions:
        assert definition.label in page.text
    for part in (
        "consistent with lasing", "irregular places", "Start fluence", "S130C", "P0012345", "seabreeze",
        "bleaching not tested", "complete, and sound",
    ):  # fmt: skip
        assert part in page.text, part
    assert sha256(EXAMPLE) in page.text
    assert sha256(EXAMPLE.with_suffix(".csv")) in page.text


def test_the_numbers_behind_the_figures_are_those_of_the_run(page: Page, evaluated: Evaluated) -> None:
    tables = {
        link["download"]: unquote(link["href"].partition(",")[2]).splitlines() for link in page.all("a")
    }
    stem = EXAMPLE.stem
    assert set(tables) == {
        f"{stem}_{name}.csv" for name in ("curve", "fit", "spectra", "peak", "lines", "fourier")
    }
    rows = np.array([line.split(",")[:3] for line in tables[f"{stem}_curve.csv"][1:]], dtype=float)
    run = evaluated.run
    assert rows[:, 0] == pytest.approx(run.fluence_uj_cm2, rel=1e-5)
    assert rows[:, 2] == pytest.approx(run.signal, rel=1e-5)
    spectra = np.array([line.split(",") for line in tables[f"{stem}_spectra.csv"][1:]], dtype=float)
    brightest = int(np.argmax(run.fluence_uj_cm2))
    inside = np.isin(np.round(run.wavelength_nm, 4), np.round(spectra[:, 0], 4))
    assert spectra[:, -1].max() == pytest.approx(run.spectrum(brightest)[inside].max(), rel=1e-3)


def test_every_item_of_the_checklist_is_answered(page: Page, evaluated: Evaluated) -> None:
    answers = checklist(evaluated.run, evaluated.report, [evaluated.report])
    assert len(answers) == 8
    assert all(one.question.endswith("?") and one.question in page.text for one in answers)
    threshold, width, coherence, beam, conditions, others, theory, count = (one.answer for one in answers)
    assert "14 points" in threshold
    assert "narrows from 25.3 to 0.444 nm; resolution" in width
    assert coherence.startswith("not measured")
    assert beam.startswith("not measured")
    assert "fluences in uJ/cm2" in conditions
    assert "8 lines" in others
    assert theory.startswith("not measured")
    assert "1 sweep of this sample at 1 spot, 1 sample in all; lifetime: not measured" in count


def test_a_strangers_text_stays_text(evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "pictures", lambda *_: "")
    evil = '<script>alert("1")</script>\u202e & "quoted"'
    run = evaluated.run
    start = replace(run.start, sample=evil, operator=evil, spot=evil, note=evil)
    report = replace(evaluated.report, sample=evil, spot=evil)
    shown = Page(report_page([Evaluated(replace(run, start=start), report)], NOW))
    assert len(shown.all("script")) == 1
    assert evil.replace("\u202e", "\\u202e") in shown.text


def test_a_run_without_points_has_a_report(evaluated: Evaluated) -> None:
    run = evaluated.run
    shown = Page(report_page([of(run, points=run.points[:0], status="failed", reason="no answer")], NOW))
    assert "none: no point was measured" in shown.text
    assert "failed (no answer)" in shown.text
    assert "not measured: no usable points" in shown.text


SETTINGS = PumpSettings(
    800.0, 1000.0, SpotSize("gaussian", 100.0, 90.0), "peak", MalusCurve(12.0, 0.002, 1.0), 24.0, 2e-7,
    pulse_width_fs=35.0, meter_sigma_rel=0.03, pickoff_sigma_rel=0.01, spot_sigma_rel=0.02,
)  # fmt: skip


def test_budget_calibrations_and_bleaching_stand_in_tables(
    evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "pictures", lambda *_: "")
    bleaching = BleachingResult(2, 40.0, -0.1, 0.01, -0.05, 0.01, 1e-4, (1e5, 2e6), (1.0, 0.9), (0.01, 0.012))
    budget = fluence_budget(SETTINGS, 80.0).record(())
    result = replace(evaluated.report.result, budget=budget, bleaching=bleaching, dose_uj_cm2=3.5e6)
    run = evaluated.run
    config = {
        **run.start.config,
        "calibrations": {"attenuator": to_mapping(calibration("attenuator")), "spot": {"x": 1}},
    }
    start = replace(run.start, config=config, facts=replace(run.facts, settings=SETTINGS))
    monkeypatch.setattr(
        Run, "sessions", property(lambda self: (replace(first_session(self.start), config=config),))
    )
    changed = Evaluated(replace(run, start=start), replace(evaluated.report, result=result))
    shown = Page(report_page([changed], NOW))
    for part in (
        "pick-off ratio", "combined, k = 1", "3.50 J/cm²", "0.9000", "attenuator",
        "spot: is not a calibration", "35 fs pulses of 800 nm at 1000 Hz",
        "in a Gaussian spot of 1/e2 radii 100 and 90 µm (two-photon pumping)",
    ):  # fmt: skip
        assert part in shown.text, part
    assert methods(changed.run, changed.report).startswith("The sample (OLA) was excited by 35 fs pulses")


def test_several_runs_begin_with_what_they_show_together(
    evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "pictures", lambda *_: "")
    monkeypatch.setattr(run_report, "of_runs", lambda _: {})
    other = replace(evaluated.report, sample="OAm")
    shown = Page(report_page([evaluated, Evaluated(evaluated.run, other)], NOW)).text
    assert shown.index("Runs together") < shown.index("ratio of thresholds") < shown.index("Methods")


def test_the_command_writes_the_page_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "drawings", lambda _: {})
    monkeypatch.setattr(print_pdf, "_candidates", lambda: iter(()))
    run = Path(shutil.copy(EXAMPLE, tmp_path / "run.h5"))
    assert main(["report", str(run), "--json"]) == 0
    out = tmp_path / "run_report.html"
    assert json.loads(capsys.readouterr().out) == {"files": [str(out)]}
    assert "OLA" in out.read_text(encoding="utf-8")
    assert main(["report", str(run), "--pdf"]) == 5
    assert "none of Chromium, Chrome and Edge" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nothing.h5")]) == 5


def test_a_table_is_refused_with_the_command_for_it(tmp_path: Path) -> None:
    table = tmp_path / "curve.txt"
    table.write_text("1 2\n3 4\n")
    with pytest.raises(DataError, match="not a run file"):
        write_report([table], None, NOW)


# --- in a browser: where LABCTL_TEST_BROWSER is set, it must be there ------------------------------------

BROWSER = browser()
in_a_browser = pytest.mark.skipif(
    not os.environ.get("LABCTL_TEST_BROWSER"), reason="set LABCTL_TEST_BROWSER=1 to open the page in Chromium"
)
PROBE = """<!DOCTYPE html><title>wait</title>
<iframe id="f" src="page.html" style="width:360px;height:800px;border:0"></iframe>
<script>const frame = document.getElementById("f");
frame.onload = () => { document.title = "wide " + frame.contentDocument.documentElement.scrollWidth; };
</script>"""


def dumped(path: Path, profile: Path, *more: str) -> tuple[str, str]:
    assert BROWSER is not None
    given = [
        *arguments(profile),
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
        *more,
        "--dump-dom",
    ]
    done = subprocess.run(
        [str(BROWSER), *given, path.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout, done.stderr


@in_a_browser
def test_a_browser_opens_it_from_disk_without_an_error(markup: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(markup, encoding="utf-8")
    shown, said = dumped(path, tmp_path / "profile")
    assert [line for line in said.splitlines() if "CONSOLE" in line] == []
    assert "polyline" in shown
    assert "µJ/cm² (14 of 14)" in shown
    (tmp_path / "probe.html").write_text(PROBE, encoding="utf-8")
    narrow, _ = dumped(tmp_path / "probe.html", tmp_path / "second", "--allow-file-access-from-files")
    (width,) = re.findall(r"<title>wide (\d+)</title>", narrow)
    assert int(width) <= 360
    pdf = print_pdf.print_pdf(path, tmp_path / "page.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) >= 4
