"""The acceptance table: every bar beside what the tables of threshold.py measured.

    python -m benchmarks.accuracy.threshold | tee tables.txt            # ends with this table
    python -m benchmarks.accuracy.threshold_acceptance tables.txt      # the same from tables printed earlier

A bar whose table is missing is left out, so that a run of one section judges that section.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import head, line, show
from benchmarks.trials import parser

Numbers = list[float]

# Truth, bar on the median bias (n >= 16), bars on the RMSE by n; all in per cent.
BARS: tuple[tuple[str, float, dict[int, float]], ...] = (
    ("hinge", 0.5, {8: 5.0, 16: 1.3, 32: 0.8}),
    ("roll-over", 0.5, {16: 2.0, 32: 1.0}),
    ("impulsive", 0.5, {16: 1.5, 32: 1.0}),
    ("S-curve 0.001", 1.0, {16: 2.5}),
    ("S-curve 0.01", 1.0, {16: 2.5}),
    ("two-photon spot", 1.0, {16: 4.0}),
    ("one-photon spot", 2.0, {16: 12.0}),
    ("one-photon spot, N = 1", 2.0, {16: 12.0}),
)
FALSE_BARS = {8: 2.0, 12: 1.0, 16: 1.0, 32: 1.0}
# Half-width of an adaptive sweep: points (median, p90), dose over that of a uniform grid.
ADAPTIVE_BARS = {"3": (9, 12, 0.85), "1": (16, None, 0.45)}
# Columns of an accuracy table after its labels.
BIAS, RMSE, COVERAGE, HALF_WIDTH, _, NAIVE, TRIMMED, TRIALS = range(8)


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows of every printed table by the start of its heading: labels, then numbers."""

    rows: dict[str, list[list[str]]]

    def of(self, heading: str) -> list[list[str]]:
        """Rows of the first table whose heading starts so; empty if it was not printed."""
        return next((rows for title, rows in self.rows.items() if title.startswith(heading)), [])

    def accuracy(self, heading: str) -> dict[tuple[str, int], Numbers]:
        """Rows of a table of truths by (truth, n)."""
        return {(r[0], int(r[1])): [_number(x) for x in r[2:]] for r in self.of(heading)}


def _number(text: str) -> float:
    return float("nan") if text in {"-", "nan"} else float(text)


def read(lines: Iterable[str]) -> Tables:
    """Collect the tables of a printout."""
    rows: dict[str, list[list[str]]] = {}
    title = ""
    for text in lines:
        if text.strip().startswith("## "):
            title = text.strip()[3:]
        elif text.startswith("| ") and not text.startswith("| ---"):
            rows.setdefault(title, []).append([cell.strip() for cell in text.strip().strip("|").split("|")])
    return Tables({name: found[1:] for name, found in rows.items()})


def acceptance(tables: Tables) -> Iterator[str]:
    """Write the acceptance table, one line at a time."""
    yield "\n## Acceptance\n"
    yield from head("criterion", "bar", "measured", "verdict", "trials a cell").splitlines()
    for part in (_truths, _coverage, _outside, _field, _fluence, _false, _power, _speed, _adaptive):
        yield from part(tables)


def _met(good: bool) -> str:
    return "met" if good else "**missed**"


def _truths(tables: Tables) -> Iterator[str]:
    cells = tables.accuracy("Truths in the library")
    for name, bias_bar, rmse_bars in BARS:
        found = [cells[name, n] for n in (16, 32) if (name, n) in cells]
        if found:
            values = " / ".join(f"{c[BIAS]:+.2f}" for c in found)
            verdict = " / ".join(_met(abs(c[BIAS]) <= bias_bar) for c in found)
            yield line(f"{name}: median bias, n = 16 / 32", f"<= {bias_bar:g} %", f"{values} %", verdict,
                        f"{found[0][TRIALS]:.0f}")  # fmt: skip
        for n, bar in sorted(rmse_bars.items()):
            if (name, n) in cells:
                c = cells[name, n]
                yield line(f"{name}: RMSE, n = {n}", f"<= {bar:g} %", f"{c[RMSE]:.2f} %",
                            _met(c[RMSE] <= bar), f"{c[TRIALS]:.0f}")  # fmt: skip


def _coverage(tables: Tables) -> Iterator[str]:
    cells = tables.accuracy("Truths in the library")
    for name, *_ in BARS:
        found = [cells[name, n] for n in (8, 16, 32) if (name, n) in cells]
        if found:
            measured = ", ".join(f"{c[COVERAGE]:.1f} % ({c[HALF_WIDTH]:.1f} %)" for c in found)
            verdict = ", ".join(_between(c[COVERAGE]) for c in found)
            criterion = f"{name}: coverage (half-width), n = 8, 16, 32"
            yield line(criterion, "92-98 %", measured, verdict, f"{found[0][TRIALS]:.0f}")


def _between(coverage: float) -> str:
    if coverage != coverage:
        return "none found"
    if coverage < 92:
        return "**below**"
    return "met" if round(coverage, 1) <= 98 else "**above**"


def _outside(tables: Tables) -> Iterator[str]:
    cells = tables.accuracy("Truths outside")
    for n in (8, 16, 32):
        here = {name: c for (name, m), c in cells.items() if m == n}
        bad = "; ".join(f"{name} {c[COVERAGE]:.1f} %" for name, c in here.items() if c[COVERAGE] < 90)
        good = sum(c[COVERAGE] >= 90 for c in here.values())
        if here:
            trials = f"{next(iter(here.values()))[TRIALS]:.0f}"
            yield line(f"coverage outside the library, n = {n}", ">= 90 %", f"{good} of {len(here)} truths",
                        f"**missed**: {bad}" if bad else "met", trials)  # fmt: skip


def _field(tables: Tables) -> Iterator[str]:
    cells = tables.accuracy("Truths in the library")
    worse = [f"{name}, n = {n}" for (name, n), c in cells.items() if c[RMSE] >= min(c[NAIVE], c[TRIMMED])]
    if cells:
        trials = f"{next(iter(cells.values()))[TRIALS]:.0f}"
        yield line("lower RMSE than x-intercept and trimmed hinge", "every row",
                    f"{len(cells) - len(worse)} of {len(cells)} rows",
                    f"**missed**: {'; '.join(worse)}" if worse else "met", trials)  # fmt: skip


def _fluence(tables: Tables) -> Iterator[str]:
    cells = tables.accuracy("2 % point-to-point")
    for n in (16, 32):
        here = {name: c for (name, m), c in cells.items() if m == n}
        bad = [
            f"{name} ({c[BIAS]:+.1f} %, {c[COVERAGE]:.1f} %)"
            for name, c in here.items()
            if abs(c[BIAS]) > 1 or _between(c[COVERAGE]) != "met"
        ]
        if here:
            yield line(f"2 % fluence noise declared, n = {n}: bias, coverage", "<= 1 %, 92-98 %",
                        f"{len(here) - len(bad)} of {len(here)} truths",
                        f"**missed**: {'; '.join(bad)}" if bad else "met",
                        f"{next(iter(here.values()))[TRIALS]:.0f}")  # fmt: skip


def _false(tables: Tables) -> Iterator[str]:
    rows = [r for r in tables.of("Threshold found where") if "wander" not in r[0]]
    for column, (n, bar) in enumerate(FALSE_BARS.items(), start=1):
        if rows:
            shares = {r[0]: float(r[column]) for r in rows}
            worst = max(shares, key=lambda name: shares[name])
            mean = sum(shares.values()) / len(shares)
            measured = f"mean {mean:.2f} %, worst {shares[worst]:.1f} % ({worst})"
            verdict = _met(shares[worst] <= bar)
            yield line(f"found without a kink, n = {n}", f"<= {bar:g} %", measured, verdict, rows[0][-1])


def _power(tables: Tables) -> Iterator[str]:
    for r in tables.of("Kink detected"):
        if r[:2] == ["hinge", "20"]:
            yield line("power, hinge of contrast 20, n = 12, to 1.7-3.0 and to 1.3 onsets", ">= 95 %",
                        f"{r[3]} %, {r[6]} %", f"{_met(float(r[3]) >= 95)}, {_met(float(r[6]) >= 95)}",
                        r[-1])  # fmt: skip


def _speed(tables: Tables) -> Iterator[str]:
    rows = tables.of("Processor time")
    for n, middle, slowest, _, trials in rows:
        good = float(middle) <= 100 and float(slowest) <= 250
        yield line(f"full fit, n = {n}: median, p99", "<= 100, 250 ms", f"{middle}, {slowest} ms",
                    _met(good), trials)  # fmt: skip
    if rows:
        change = max(float(r[3]) for r in rows)
        yield line("F to kF, y to cy", "< 1e-6", f"{change:.0e}", _met(change < 1e-6), rows[0][-1])


def _adaptive(tables: Tables) -> Iterator[str]:
    for name, points, late, dose, *_, trials in tables.of("Adaptive"):
        target = name.split(",")[1].split()[0]
        if "uniform" in name or target not in ADAPTIVE_BARS:
            continue
        most, most_late, dearest = ADAPTIVE_BARS[target]
        few = float(points) <= most and (most_late is None or float(late) <= most_late)
        bar = f"<= {most}" + (f" ({most_late})" if most_late else "") + f", {dearest:g}"
        yield line(f"adaptive, {name}: points (p90), dose", bar, f"{points} ({late}), {dose}",
                    f"{_met(few)}, {_met(float(dose) <= dearest)}", trials)  # fmt: skip


def main() -> None:
    made = parser(__doc__)
    made.add_argument("printout", type=Path)
    show(acceptance(read(made.parse_args().printout.read_text(encoding="utf-8").splitlines())))


if __name__ == "__main__":
    main()
