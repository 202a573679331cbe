"""The page on supported hardware: made from the drivers, each of which says what is known of its devices."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drivers import found
from drivers.registry import all_drivers
from drivers.support.spec import DriverSpec

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("spec", all_drivers(), ids=lambda spec: spec.key)
def test_every_driver_says_what_is_known_of_its_devices(spec: DriverSpec) -> None:
    known = spec.support
    assert known is not None
    assert all((known.models, known.transports, known.tried))
    assert not any("|" in text or text.endswith(".") for text in (known.models, known.tried, *known.limits))
    assert spec.probes or known.limits or spec.key == "ocean"  # found by labctl devices, or said not to be


def test_the_page_takes_its_table_from_them_and_has_a_template() -> None:
    page = (DOCS / "supported-hardware.md").read_text(encoding="utf-8")
    assert "<!-- hardware -->" in page
    assert re.search(r"^```text\ninstrument .*^what failed", page, re.M | re.S)


def test_the_udev_rules_name_every_vendor_that_is_looked_for() -> None:
    rules = re.findall(r'idVendor}=="([0-9a-f]{4})"', (DOCS / "first-bench.md").read_text(encoding="utf-8"))
    assert {int(vendor, 16) for vendor in rules} == {found.THORLABS, *found.OCEAN}
