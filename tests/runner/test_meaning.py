"""Every flag of a result is a sentence, once, in order of weight."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import labctl
from labctl.model.results.sweep import BandThreshold, BleachingResult, SweepResult
from labctl.runner.meaning import MEANINGS, flag_lines, sentences

ANALYSIS = Path(labctl.__file__).parent / "analysis"
"""Its calibrations' flags belong to calibrations, not to a run's result."""
POINT_FLAGS = {"reference"}
"""Flags of single points."""


def texts(node: ast.AST, constants: dict[str, str]) -> Iterator[str]:
    """Texts under a node that become part of its value, written out or by their name in a module."""
    if isinstance(node, ast.Compare | ast.Subscript):
        return
    if isinstance(node, ast.IfExp):
        yield from texts(node.body, constants)
        yield from texts(node.orelse, constants)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    if isinstance(node, ast.JoinedStr):
        yield "".join(v.value if isinstance(v, ast.Constant) else "*" for v in node.values)  # type: ignore[misc]
        return
    for child in ast.iter_child_nodes(node):
        yield from texts(child, constants)


def flags_of(path: Path, constants: dict[str, str]) -> set[str]:
    """Texts that a module makes flags of: arguments, variables and functions that are called flags."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "flags":
            found |= set(texts(node.value, constants))
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any("flags" in ast.unparse(target) for target in targets):
                found |= set(texts(node.value, constants))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("flags.append"):
            found |= set(texts(node.args[0], constants))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Drift":
            found |= set(texts(node.args[1], constants))
        elif isinstance(node, ast.FunctionDef) and "flag" in node.name:
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and part.value is not None:
                    found |= set(texts(part.value, constants))
    return found


def named(path: Path) -> dict[str, str]:
    """Module-level names of texts in capitals."""
    made = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            target = node.targets[0]
            if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                made[target.id] = node.value.value
    return made


def all_flags() -> set[str]:
    paths = [p for p in ANALYSIS.rglob("*.py") if "calibration" not in p.relative_to(ANALYSIS).parts]
    paths.append(ANALYSIS.parent / "runner" / "table_fit.py")
    constants = {name: text for path in paths for name, text in named(path).items()}
    return set().union(*(flags_of(path, constants) for path in paths)) - POINT_FLAGS


def test_every_flag_that_the_analysis_sets_has_a_sentence() -> None:
    flags = all_flags()
    assert {"outlier", "misfit", "start_lower", "bleaching", "exponent", "no_decay", "energy_step"} <= flags
    known = {meaning.flag for meaning in MEANINGS}
    families = {flag for flag in flags if "*" in flag}
    assert all(any(k.startswith(f.partition("*")[0]) for k in known) for f in families)
    assert flags - families - known == set()


def test_no_sentence_stands_for_a_flag_that_nothing_sets() -> None:
    made = all_flags()
    families = tuple(flag.partition("*")[0] for flag in made if "*" in flag)
    known = {meaning.flag for meaning in MEANINGS if not meaning.flag.startswith(families)}
    assert known - made == set()


def test_each_row_differs_and_says_what_to_do_in_a_sentence() -> None:
    flags, said = [m.flag for m in MEANINGS], [m.sentence for m in MEANINGS]
    assert len(set(flags)) == len(flags)
    assert len(set(said)) == len(said)
    assert not [s for s in said if s.endswith(".") or len(s.split()) < 5]


def test_the_weightiest_comes_first_and_nothing_comes_twice() -> None:
    told = sentences(("few_points", "misfit", "few_points", "new_flag"))
    assert [t.split()[0] for t in told] == ["no", "fewer", "flag"]
    assert sentences(("start_lower",), "no significant threshold; start lower") == ()


def test_a_line_with_figures_stands_for_its_flag() -> None:
    found = BandThreshold("found", flags=("bleaching", "few_points"))
    assert len(flag_lines(SweepResult(found))) == 2
    measured = BleachingResult(3, 40.0, -0.1, 0.01, -0.1, 0.01, 1e-4, flags=("bleaching",))
    (line,) = flag_lines(SweepResult(found, bleaching=measured))
    assert "12 points" in line
