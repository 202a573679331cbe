"""Each option of a plan is offered everywhere, and a wrong value gets the same sentence everywhere."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest
from typer.testing import CliRunner

from labctl.cli import main
from labctl.cli.app import command_line
from labctl.config import EXAMPLE, parse_bench
from labctl.model.errors import ConfigError
from labctl.model.options import Option, options
from labctl.model.plan import AdaptivePlan, StabilityPlan, SweepPlan, sweep_options
from procedures.plan import validate
from procedures.procedure import FluenceSweepProcedure

SWEEP = list(sweep_options().values())
SWEEP_IDS = [option.name for option in SWEEP]
STABILITY = [option for name, option in options(StabilityPlan).items() if name not in sweep_options()]
DOCS = Path(__file__).parents[2] / "docs"
BENCH = parse_bench(EXAMPLE)
NO_OPTION = {"triggered"}
"""Fields of a plan that nobody types: the bench file says them."""


def wrong_value(option: Option) -> Any:
    """Return a value that the option refuses, as a script may have it."""
    if option.kind == "word":
        return "sideways"
    if option.kind == "yes":
        return "perhaps"
    number = option.above if option.above >= option.least else option.least - 1
    whole = int(number) if option.kind == "whole" else float(number)
    return (whole,) if option.kind == "numbers" else whole


def typed(option: Option, value: Any) -> str:
    return value if isinstance(value, str) else option.write(value)


def sentence(option: Option) -> str:
    said = option.refused(wrong_value(option))
    assert said
    return said


def helped(command: str) -> str:
    return CliRunner().invoke(command_line(), [command, "--help"], color=False, terminal_width=300).output


@pytest.mark.parametrize("kind", [SweepPlan, AdaptivePlan, StabilityPlan])
def test_every_field_of_a_plan_is_an_option(kind: type) -> None:
    declared = {option.field for option in options(kind).values()}
    assert {field.name for field in dataclasses.fields(kind)} - declared == NO_OPTION
    for option in options(kind).values():
        assert option.label
        assert option.group
        assert option.help.endswith(".")
        assert option.refused(option.default) == ""
        assert option.read(option.write(option.default)) == option.default


def test_no_two_options_share_a_name_or_a_label() -> None:
    for kind in (AdaptivePlan, StabilityPlan):
        labels = [option.label for option in options(kind).values()]
        assert len(set(labels)) == len(labels)
    assert len(sweep_options()) == len(options(AdaptivePlan)) + 1  # points, and those to start with


@pytest.mark.parametrize("option", SWEEP, ids=SWEEP_IDS)
def test_a_sweep_on_the_command_line_has_each_option(option: Option) -> None:
    assert f"{option.flag} " in helped("sweep")


@pytest.mark.parametrize("option", STABILITY, ids=[option.name for option in STABILITY])
def test_a_stability_run_on_the_command_line_has_each_option_of_its_own(option: Option) -> None:
    assert f"{option.flag} " in helped("stability")


@pytest.mark.parametrize("option", SWEEP, ids=SWEEP_IDS)
def test_a_script_is_told_of_a_wrong_value(option: Option) -> None:
    adaptive = option.name not in options(SweepPlan)
    plan: SweepPlan = AdaptivePlan() if adaptive else SweepPlan()
    plan = dataclasses.replace(plan, **{option.field: wrong_value(option)})
    with pytest.raises(ConfigError) as told:
        validate(plan, BENCH.pump_settings(), BENCH.limit_settings())
    assert (told.value.key, told.value.reason) == (option.name, sentence(option))


@pytest.mark.parametrize("option", [o for o in SWEEP if o.kind != "yes"], ids=lambda o: o.name)
def test_the_command_line_says_the_same_of_a_wrong_value(
    option: Option, capsys: pytest.CaptureFixture[str]
) -> None:
    flag, wrong = option.flag, typed(option, wrong_value(option))
    assert main(["sweep", "--bench", "b", "--sample", "s", flag, wrong]) == 2
    assert f"Invalid value for '{flag}': {sentence(option)}" in capsys.readouterr().err


def parameter_of(option: Option) -> Any:
    return FluenceSweepProcedure().parameter_objects()[
        "start_points" if option.name == "start_points" else option.field
    ]


@pytest.mark.parametrize("option", SWEEP, ids=SWEEP_IDS)
def test_the_procedure_has_each_option_with_its_label_unit_help_and_default(option: Option) -> None:
    parameter = parameter_of(option)
    assert parameter.name == option.label
    assert parameter.description == option.help
    assert getattr(parameter, "units", None) in (None, option.unit.replace("cm2", "cm^2"))
    assert parameter.value == (option.write(option.default) if option.textual else option.default)


@pytest.mark.parametrize("option", SWEEP, ids=SWEEP_IDS)
def test_the_procedure_says_the_same_of_a_wrong_value(option: Option) -> None:
    adaptive = option.name not in options(SweepPlan)
    procedure, value = FluenceSweepProcedure(), wrong_value(option)
    name = "start_points" if option.name == "start_points" else option.field

    def plan() -> object:
        procedure.set_parameters(
            {"adaptive": adaptive, name: option.write(value) if option.textual else value}
        )
        return procedure.plan()

    with pytest.raises(ConfigError) as told:
        plan()
    assert (told.value.key, told.value.reason) == (option.name, sentence(option))


@pytest.mark.parametrize("kind", [SweepPlan, AdaptivePlan])
def test_the_parameters_say_the_whole_plan(kind: type[SweepPlan]) -> None:
    changed: dict[str, Any] = {}
    for option in options(kind).values():
        if option.kind in ("number", "whole"):
            value = round(0.5 * (max(option.least, option.above) + min(option.most, option.below, 400)), 4)
            changed[option.field] = int(value) if option.kind == "whole" else value
        else:
            other = {"word": option.words[-1:], "yes": (not option.default,), "numbers": ((30.0, 40.5),)}
            changed[option.field] = other[option.kind][0]
    attached, typed_in = FluenceSweepProcedure(), FluenceSweepProcedure()
    attached.attach(lambda: pytest.fail("opened"), lambda _point: {}, kind(**changed))
    typed_in.set_parameters(attached.parameter_values())
    assert typed_in.plan() == kind(**changed)
    heads = FluenceSweepProcedure()  # as the head of a CSV writes them
    heads.set_parameters({name: str(made) for name, made in attached.parameter_objects().items()})
    assert heads.plan() == kind(**changed)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("points", "", "a number is needed"),
        ("average", "many", "'many' is not a number"),
        ("average", "2.5", "'2.5' is not a whole number"),
        ("average", "2000000", "must be 1000000 or less, not 2000000"),
        ("average", "9" * 5000, "is not a whole number"),
        ("start", "20 mW", "'20 mW' is not a fluence; write it as 20, 20uJ/cm2 or 0.02 mJ/cm2"),
        ("start", "nan", "nan is not a number"),
        ("start", "inf", "must be 1e+09 uJ/cm2 or less, not inf uJ/cm2"),
        ("aim", "60", "'60' could be a share or a percentage"),
        ("aim", "95 %", "must be 90 % or less, not 95 %"),
        ("target", "100 %", "must be below 100 %, not 100 %"),
        ("fluences", "20, x", "'20, x' is not a list of numbers"),
        ("direction", "left", "invalid value 'left'; choose up, down, up-down or shuffled"),
        ("keep_open", "perhaps", "invalid value 'perhaps'; choose yes or no"),
    ],
)
def test_what_is_said_of_text(name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as told:
        sweep_options()[name].read(text)
    assert said in told.value.reason
    assert len(told.value.reason) < 120


def test_what_is_written_is_read_again() -> None:
    for name, value, text in (
        ("start", 20.5, "20.5"),
        ("aim", 0.6, "60 %"),
        ("fluences", (20.0, 30.25), "20, 30.25"),
        ("reference", None, ""),
        ("keep_open", True, "yes"),
    ):
        option = sweep_options()[name]
        assert option.write(value) == text
        assert option.read(text) == value
    assert sweep_options()["aim"].read("0.6") == 0.6
    assert sweep_options()["fluences"].read("20 30;40") == (20.0, 30.0, 40.0)


@pytest.fixture
def made_from_code(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return what makes parts of the pages; the site's own builder is not needed for that."""
    for name in ("sphinx", "sphinx.application", "sphinx.util", "sphinx.util.logging"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.delitem(sys.modules, "made_from_code", raising=False)
    return importlib.import_module("made_from_code")


@pytest.mark.parametrize(("page", "plan"), [("sweep", SWEEP), ("stability", STABILITY)])
def test_a_page_of_the_docs_shows_each_option(
    page: str, plan: list[Option], made_from_code: ModuleType
) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert made_from_code.OPTIONS.findall(text) == [page]
    table = made_from_code.offered(made_from_code.PLANS[page])
    for option in plan:
        (line,) = [line for line in table.splitlines() if line.startswith(f"| `{option.flag}` |")]
        assert option.help in line
        assert option.label in line
        assert (option.limits or option.unit or "yes or no") in line


def test_the_pages_name_no_option_that_there_is_not() -> None:
    """Of a sweep: every other command's options are checked by its help."""
    known = {option.flag for option in SWEEP} | {"--bleaching-model", "--adaptive", "--bench", "--sample"}
    known |= {
        "--dry-run",
        "--output",
        "--operator",
        "--spot",
        "--note",
        "--figures",
        "--json",
        "--speed",
        "--help",
    }
    named = set(re.findall(r"`(--[a-z-]+)", (DOCS / "sweep.md").read_text(encoding="utf-8")))
    assert named <= known
