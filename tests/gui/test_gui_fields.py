"""What a field says of bad input: what was typed, why not, what would do; at the field, and nothing moves."""

from __future__ import annotations

from pathlib import Path

import pytest
from gui_bench import bench_window, forget
from PySide6.QtWidgets import QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from labctl.config.units import decimal_point
from labctl.gui.base.fields import NumberField, OptionField, between
from labctl.gui.shell.app import make_application
from labctl.model.plan import sweep_options


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("500,5", 500.5),
        ("0,125", 0.125),
        ("1,5", 1.5),
        ("1234,567", 1234.567),
        ("20", 20.0),
        ("0,25 mJ/cm2", 250.0),
    ],
)
def test_a_decimal_comma_is_read_and_said(qtbot: QtBot, typed: str, read: float) -> None:
    make_application()
    field = OptionField(sweep_options()["stop"])
    qtbot.addWidget(field)
    field.fill(typed)
    assert field.judge()
    assert field.value == pytest.approx(read)
    assert field.note.text() == (f"read as {read:.12g}" if "," in typed else "")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("1,000", "'1,000' may mean 1.000 or 1000; write 1.000 or 1000"),
        ("12,500", "'12,500' may mean 12.500 or 12500; write 12.500 or 12500"),
        ("1,000,000", "'1,000,000' is not a number; write a decimal point, and nothing between thousands"),
        ("1.000,5", "'1.000,5' is not a number; write a decimal point, and nothing between thousands"),
    ],
)
def test_a_comma_that_may_part_thousands_is_refused(qtbot: QtBot, typed: str, why: str) -> None:
    with pytest.raises(ValueError, match="write"):
        decimal_point(typed)
    make_application()
    option, number = OptionField(sweep_options()["stop"]), NumberField("Fluence", None, "uJ/cm2")
    for field in (option, number):
        qtbot.addWidget(field)
    option.fill(typed)
    number.set_text(typed)
    assert not option.judge()
    assert number.value is None
    assert option.reason.text() == number.reason.text() == why


def test_a_list_with_commas_says_how_it_is_read(qtbot: QtBot) -> None:
    make_application()
    field = OptionField(sweep_options()["fluences"])
    qtbot.addWidget(field)
    field.fill("20,5; 30")
    assert field.judge()
    assert field.note.text() == "read as 20, 5, 30"
    field.fill("20, 30")
    assert field.judge()
    assert field.note.text() == ""


def test_a_refusal_lies_under_the_field_and_moves_nothing(qtbot: QtBot) -> None:
    make_application()
    page = QWidget()
    column = QVBoxLayout(page)
    fields = [NumberField(name, 1.0, "s", "", between(0.5, 2.0, "s")) for name in ("first", "second", "last")]
    for field in fields:
        column.addWidget(field)
    page.resize(420, 200)
    qtbot.addWidget(page)
    page.show()
    page.activateWindow()
    qtbot.waitUntil(page.isActiveWindow)
    places = [field.geometry() for field in fields]
    for field in fields:
        field.edit.setFocus()
        field.set_text("5")
        assert field.reason.text() == "must be 2 s or less, not 5 s"
        bubble = field.reason
        assert bubble.isVisible()
        assert bubble.height() >= bubble.heightForWidth(bubble.width())
        assert page.rect().contains(bubble.geometry())
        assert not bubble.geometry().intersects(field.edit.geometry().translated(field.pos()))
        assert [f.geometry() for f in fields] == places
        field.edit.clearFocus()
        assert not bubble.isVisible()
        assert field.edit.property("wrong") == "true"  # the frame stays red
    fields[0].edit.setFocus()
    fields[0].set_text("1,5")
    assert fields[0].note.isVisible()
    assert fields[0].note.text() == "read as 1.5"
    forget(page)


def test_the_panel_does_not_move_when_a_field_is_refused(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        panel = window.sweep
        qtbot.wait(20)
        stop = panel.fields["stop"]
        places = (panel.start_button.geometry(), stop.geometry(), panel.fields["points"].geometry())
        stop.edit.setFocus()
        stop.fill("5000")
        qtbot.wait(20)
        assert "5000 µJ/cm²" in stop.reason.text()
        assert "limit" in stop.reason.text()
        assert panel.reason.text() == f"Stop fluence: {stop.reason.text()}"
        assert places == (panel.start_button.geometry(), stop.geometry(), panel.fields["points"].geometry())
        stop.fill("190,5")
        assert panel.start_button.isEnabled()
        plan = panel.plan()
        assert plan is not None
        assert plan.stop_uj_cm2 == 190.5
