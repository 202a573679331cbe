"""The form of the docstrings that the Python reference is made of."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from test_docs_english import found

import labctl
from labctl.model import errors

PAGES = Path(__file__).resolve().parents[2] / "docs" / "reference"
DIRECTIVE = re.compile(r"^\.\. auto(function|class|module):: (\S+)\n((?:   :.*\n)*)", re.M)
OURS = {name for name, thing in vars(errors).items() if isinstance(thing, type)} | {"ValueError", "KeyError"}


def _found(dotted: str) -> Any:
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            thing = getattr(thing, name)
        return thing
    raise AssertionError(f"{dotted} is nowhere")


def _documented() -> Iterator[tuple[str, Any]]:
    """Yield every function, method and class that the reference shows, by its name there."""
    for page in sorted(PAGES.glob("*.md")):
        for kind, dotted, options in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            thing = _found(dotted)
            if kind == "module":
                left_out = re.search(r":exclude-members: (.*)", options)
                skipped = set(left_out[1].replace(" ", "").split(",")) if left_out else set()
                for name, member in vars(thing).items():
                    ours = inspect.isfunction(member) or inspect.isclass(member)
                    if (
                        ours
                        and member.__module__ == dotted
                        and not name.startswith("_")
                        and name not in skipped
                    ):
                        yield from _with_methods(f"{dotted}.{name}", member)
            else:
                only = re.search(r":members: (.+)", options)
                yield from _with_methods(dotted, thing, only[1].replace(" ", "").split(",") if only else None)


def _with_methods(name: str, thing: Any, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    yield name, thing
    if inspect.isclass(thing):
        for method, member in vars(thing).items():
            if not method.startswith("_") and (only is None or method in only):
                member = getattr(member, "__func__", member)
                if inspect.isfunction(member):
                    yield f"{name}.{method}", member


DOCUMENTED = dict(_documented())
UNIT_IN_NAME = re.compile(
    r"_(s|nm|uj_cm2|j_cm2|deg|j|w|c|hz|um|fs|rel|days|counts|cv|sigma|factor|share|order)$"
    r"|^(seconds|speed|ratio|share|scale|counts)$"
)
UNIT_IN_WORDS = re.compile(
    r"\b(nm|uJ/cm2|um|mm|s|deg|degrees|J|W|Hz|fs|C|counts|pulses|peaks|relative|share|ratio|fraction|factor|unit|0|1"
    r"|seconds|log|natural|exponent|power|chance|statistic|standard (errors?|deviations?)|\w+_DTYPE)\b|%|/"
)


def _parameters(thing: Any) -> set[str]:
    if inspect.isclass(thing):
        if dataclasses.is_dataclass(thing):
            return {field.name for field in dataclasses.fields(thing) if field.init}
        if issubclass(thing, BaseModel):
            return {name for name in vars(thing).get("__annotations__", {}) if name != "model_config"}
        start = vars(thing).get("__init__")
        if not inspect.isfunction(start) or getattr(thing, "_is_protocol", False):
            return set()
        thing = start
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(thing).parameters.values()
    return {p.name for p in found if p.kind not in kinds} - {"self", "cls"}


def _raised(thing: Any) -> set[str]:
    """Return the errors that the body itself raises by name."""
    if inspect.isclass(thing):
        thing = vars(thing).get("__post_init__" if dataclasses.is_dataclass(thing) else "__init__")
        if not inspect.isfunction(thing):
            return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing))))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            names.add(getattr(called, "id", ""))
    return names & OURS


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_names_every_parameter_and_every_error(name: str) -> None:
    thing = DOCUMENTED[name]
    text = inspect.getdoc(thing) or ""
    assert text.split("\n")[0].strip().endswith((".", ":")), f"{name}: the first line is one sentence"
    bases = thing.__mro__[:-1] if inspect.isclass(thing) else ()  # a derived record says what is its own
    named = set(
        re.findall(r":(?:param|ivar) (\w+):", "\n".join([text, *(base.__doc__ or "" for base in bases)]))
    )
    assert _parameters(thing) <= named, f"{name}: {sorted(_parameters(thing) - named)}"
    raised = set(re.findall(r":raises (\w+):", text))
    assert _raised(thing) <= raised, f"{name}: {sorted(_raised(thing) - raised)}"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_names_no_parameter_that_there_is_not(name: str) -> None:
    thing = DOCUMENTED[name]
    named = set(re.findall(r":param (\w+):", inspect.getdoc(thing) or ""))
    start = vars(thing).get("__init__") if inspect.isclass(thing) else thing
    there = _parameters(thing) | (set(inspect.signature(start).parameters) if callable(start) else set())
    assert named <= there, f"{name}: {sorted(named - there)}"


def test_the_reference_shows_every_public_name() -> None:
    assert {f"labctl.{name}" for name in labctl.__all__ if name != "__version__"} <= set(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_number_has_its_unit_in_its_name_or_in_its_words(name: str) -> None:
    thing = DOCUMENTED[name]
    text = inspect.getdoc(thing) or ""
    for parameter, kind in getattr(thing, "__annotations__", {}).items():
        said = re.search(rf":(?:param|ivar) {parameter}:((?:.*)(?:\n(?! *:).*)*)", text)
        measured = re.search(r"\bfloat\b|FloatArray|NDArray", str(kind)) and "str |" not in str(kind)
        if said is not None and measured and not UNIT_IN_NAME.search(parameter):
            assert UNIT_IN_WORDS.search(said[1]), f"{name}: {parameter} has no unit"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_is_plain_english(name: str) -> None:
    lines = (inspect.getdoc(DOCUMENTED[name]) or "").split("\n")
    assert found(name, enumerate(lines, 1)) == []
