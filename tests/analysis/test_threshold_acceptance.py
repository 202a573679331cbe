"""The acceptance table says of every bar what the printed tables say, and nothing of tables not printed."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

HEAD = "| truth | n | bias % | RMSE % | coverage % | half-width % | found % | x | t | trials |"


@pytest.fixture(scope="module")
def table() -> Any:
    return importlib.import_module("benchmarks.accuracy.threshold_acceptance")


def verdicts(table: Any, *lines: str) -> dict[str, str]:
    printed = list(table.acceptance(table.read(lines)))
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in printed if line.startswith("| ")
    ]
    return {row[0]: row[3] for row in rows[2:]}


def test_bars_are_judged_by_what_was_printed(table: Any) -> None:
    found = verdicts(
        table,
        "## Truths in the library, 5 % multiplicative, shot and read noise",
        HEAD,
        "| --- | --- |",
        "| hinge | 8 | nan | nan | nan | nan | 0.00 | 1.20 | 4.00 | 500 |",
        "| hinge | 16 | -0.61 | 1.29 | 91.90 | 3.00 | 100.00 | 1.20 | 4.00 | 500 |",
        "| hinge | 32 | 0.10 | 0.81 | 98.04 | 3.00 | 100.00 | 5.00 | 4.00 | 500 |",
    )
    assert found["hinge: median bias, n = 16 / 32"] == "**missed** / met"
    assert found["hinge: RMSE, n = 8"] == "**missed**"
    assert found["hinge: RMSE, n = 16"] == "met"
    assert found["hinge: RMSE, n = 32"] == "**missed**"
    assert found["hinge: coverage (half-width), n = 8, 16, 32"] == "none found, **below**, met"
    assert found["lower RMSE than x-intercept and trimmed hinge"] == "**missed**: hinge, n = 16"
    assert len(found) == 6


def test_truths_outside_false_alarms_and_fluence_noise(table: Any) -> None:
    found = verdicts(
        table,
        "## Truths outside the library",
        HEAD,
        "| --- |",
        "| half hinge, half spot | 8 | 3.00 | 7.00 | 89.94 | 14.00 | 80.00 | 1.00 | 1.00 | 500 |",
        "| power | 8 | 3.00 | 7.00 | 90.00 | 14.00 | 80.00 | 1.00 | 1.00 | 500 |",
        "## Threshold found where there is none, %",
        "| data | n = 8 | 12 | 16 | 32 | trials each |",
        "| --- |",
        "| power 2 | 2.00 | 1.00 | 1.20 | 0.00 | 500 |",
        "| F^2, 0.15 % noise, 2 % wander | 9.00 | 9.00 | 9.00 | 9.00 | 500 |",
        "## 2 % point-to-point fluence noise, declared",
        HEAD,
        "| --- |",
        "| hinge | 16 | 0.10 | 2.00 | 97.00 | 6.00 | 100.00 | 5.00 | 4.00 | 500 |",
        "| roll-over | 16 | -1.10 | 2.00 | 97.00 | 6.00 | 100.00 | 5.00 | 4.00 | 500 |",
    )
    assert found["coverage outside the library, n = 8"] == "**missed**: half hinge, half spot 89.9 %"
    assert [found[f"found without a kink, n = {n}"] for n in (8, 12, 16, 32)] == [
        "met", "met", "**missed**", "met",
    ]  # fmt: skip
    assert found["2 % fluence noise declared, n = 16: bias, coverage"].startswith("**missed**: roll-over")


def test_speed_power_and_adaptive_sweeps(table: Any) -> None:
    found = verdicts(
        table,
        "## Kink detected, % (found, or a one-sided bound from a kink at the edge)",
        "| truth | contrast | n = 8 | 12 | 16 | 32 | n = 12 to 1.3 onset | trials each |",
        "| --- |",
        "| hinge | 20 | 100.0 | 99.0 | 100.0 | 100.0 | 94.0 | 100 |",
        "## Processor time of one full fit, ms, and change of threshold under F -> kF, y -> cy",
        "| n | median | p99 | largest relative change | trials |",
        "| --- |",
        "| 64 | 101.0 | 120.0 | 3.0e-15 | 40 |",
        "## Adaptive sweeps",
        "| sweep | points | p90 | dose / uniform | met % | covers % | corrected covers % | trials |",
        "| --- |",
        "| hinge, 3 %, uniform | 20 | 20 | 1.00 | 100 | 90 | 97 | 30 |",
        "| hinge, 3 %, free, per point | 9 | 13 | 0.64 | 100 | 100 | 100 | 30 |",
        "| hinge, 1 %, trusted, per dose | 13 | 19 | 0.46 | 100 | 100 | 100 | 30 |",
    )
    assert list(found.values()) == [
        "met, **missed**", "**missed**", "met", "**missed**, met", "met, **missed**",
    ]  # fmt: skip


def test_nothing_printed_nothing_judged(table: Any) -> None:
    assert verdicts(table) == {}
