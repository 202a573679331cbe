"""Every option of a sweep stands in the window, in groups, and is refused there in the words of the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from labctl.config import EXAMPLE, parse_bench
from labctl.gui.base.fields import shown
from labctl.gui.sweep.panel import FOLDED, OPEN, PRESETS, SweepPanel, keep_preset, refined
from labctl.model.options import Option, options
from labctl.model.plan import ADAPTIVE, AdaptivePlan, SweepPlan, sweep_options

CONFIG = parse_bench(EXAMPLE)
OPTIONS = list(sweep_options().values())
TYPED = [option for option in OPTIONS if option.kind not in ("yes", "word")]
NAMES = [option.name for option in OPTIONS]


@pytest.fixture
def panel(qtbot: QtBot, tmp_path: Path) -> SweepPanel:
    made = SweepPanel(CONFIG, tmp_path)
    qtbot.addWidget(made)
    made.sample.set_text("film")
    return made


@pytest.mark.parametrize("option", OPTIONS, ids=NAMES)
def test_each_option_has_a_field_in_its_group_with_label_unit_and_help(
    option: Option, panel: SweepPanel
) -> None:
    field = panel.fields[option.name]
    assert panel.groups[option.group].isAncestorOf(field)
    assert field._name.text() == option.label
    assert field._suffix.text() == shown(option.shown_unit)
    assert option.help[:-1] in field.toolTip()
    assert field.value == option.default


def test_no_group_is_left_out() -> None:
    assert {option.group for option in OPTIONS} == {*OPEN, *FOLDED}


def test_each_option_reaches_the_plan(panel: SweepPanel) -> None:
    other: dict[str, Any] = {"start": 25.0, "stop": 150.0, "reference_every": 4, "reference": 30.0}
    other |= {"aim": 0.5, "target": 0.05, "drift_limit": 0.03, "direction": "shuffled", "spacing": "linear"}
    other |= {"integration": (0.2, 0.4), "correct_bleaching": "signal", "background": "dark"}
    other |= {"average": 5, "precision": 0.01, "budget_dose": 1e8, "budget_time": 600.0, "per": "dose"}
    skipped = {"fluences", "points", "background", "shots"}  # of another kind of sweep
    panel.adaptive.setChecked(True)
    for option in OPTIONS:
        value = other.get(option.name, not option.default if option.kind == "yes" else None)
        if value is None:
            assert option.kind in ("whole", "number") or option.name in skipped, option
            usual: Any = option.default
            value = usual if option.name in skipped else usual + 1
        other[option.name] = value
        panel.fields[option.name].fill(value)
    plan = panel.plan()
    assert isinstance(plan, AdaptivePlan), panel.reason.text()
    for name, option in options(AdaptivePlan).items():
        if name not in skipped:
            assert getattr(plan, option.field) == pytest.approx(other[name]), name


def test_a_blank_can_be_asked_for(panel: SweepPanel) -> None:
    panel.fields["background"].fill("blank")
    plan = panel.plan()
    assert plan is not None
    assert plan.background == "blank"
    panel.adaptive.setChecked(True)
    assert "an adaptive sweep chooses its fluences later" in panel.fields["background"].reason.text()
    assert not panel.start_button.isEnabled()


@pytest.mark.parametrize(
    "option", [o for o in OPTIONS if o.kind not in ("yes", "word")], ids=lambda o: o.name
)
def test_a_wrong_value_is_refused_in_the_words_of_the_plan(option: Option, panel: SweepPanel) -> None:
    """Words and ticks cannot be wrong here."""
    number = option.above if option.above >= option.least else option.least - 1
    value: Any = int(number) if option.kind == "whole" else float(number)
    value = (value,) if option.kind == "numbers" else value
    panel.adaptive.setChecked(option.group == ADAPTIVE)
    panel.fields["spacing"].fill("list" if option.name == "fluences" else "log")
    panel.fields["direction"].fill("shuffled" if option.name == "seed" else "up")
    panel.fields[option.name].fill(value)
    assert panel.fields[option.name].reason.text() == shown(option.refused(value))
    assert not panel.start_button.isEnabled()
    panel.fields[option.name].fill("many")
    assert "many" in panel.fields[option.name].reason.text()


def test_a_folded_group_says_what_is_not_as_usual_and_opens_where_something_is_refused(
    panel: SweepPanel,
) -> None:
    group = panel.groups[sweep_options()["aim"].group]
    assert group.body.isHidden()  # type: ignore[attr-defined]
    panel.fields["aim"].fill("50 %")
    panel.fields["margin"].fill(8.0)
    assert group.head.text() == "Exposure: 2 changed"  # type: ignore[attr-defined]
    assert group.body.isHidden()  # type: ignore[attr-defined]
    panel.fields["aim"].fill("5000 %")
    assert not group.body.isHidden()  # type: ignore[attr-defined]


def test_quantities_are_typed_with_a_unit_or_a_decimal_comma(panel: SweepPanel) -> None:
    for name, text, value in (
        ("start", "0.03 mJ/cm2", 30.0),
        ("start", "25,5", 25.5),
        ("max_integration", "200 ms", 0.2),
        ("aim", "50", 0.5),
        ("aim", "50 %", 0.5),
    ):
        panel.fields[name].fill(text)
        assert panel.fields[name].value == pytest.approx(value)


def test_presets_of_ours_and_of_an_older_window(panel: SweepPanel) -> None:
    for name in PRESETS:
        panel.fields["start"].fill(25.0)
        panel.apply_preset(name)
        assert panel.plan() is not None, name
    older = {"points": 14.0, "average": 6.0, "mode": "adaptive", "direction": "up", "target": 4.0}
    keep_preset("older", older)
    panel._load_presets()
    panel.apply_preset("older")
    plan = panel.plan()
    assert isinstance(plan, AdaptivePlan)
    assert (plan.points, plan.average) == (14, 6)
    assert plan.target_rel == pytest.approx(0.04)


def test_a_refined_sweep_differs_in_its_fluences_alone(panel: SweepPanel) -> None:
    panel.fields["reference_every"].fill(5)
    panel.fields["retries"].fill(4)
    base = panel.plan()
    assert base is not None
    dense = refined(80.0, panel._beam, base)
    assert dense.spacing == "list"
    assert (dense.reference_every, dense.retries, dense.average) == (5, 4, base.average)


def test_the_panel_is_narrow_and_asks_for_no_height(panel: SweepPanel) -> None:
    panel.adaptive.setChecked(True)
    for group in FOLDED:
        panel.groups[group].open(True)  # type: ignore[attr-defined]
    least = panel.minimumSizeHint()
    assert least.width() < 420
    assert least.height() < 300


def test_the_usual_plan_of_the_window_is_that_of_a_script(panel: SweepPanel) -> None:
    assert panel.plan() == SweepPlan()
