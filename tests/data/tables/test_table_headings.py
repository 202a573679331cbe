"""Headings as people write them: quantity, unit and part of a column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from table_text import PUMP, SIGNAL, curve, table_of

from labctl.data.tables.headings import heading
from labctl.model.units import factor, read_unit

MILLI = [
    "fluence_mJ_cm2", "Fluence (mJ/cm2)", "Fluence [mJ/cm^2]", "Fluence / mJ cm-2", "Fluence (mJ cm⁻²)",
    "Fluence (mJ·cm⁻²)",
    "Fluence in mJ/cm²", "Fluence (mJ cm−2)", "Fluence (mJ*cm^-2)", "Fluence (mJ cm**-2)",
    "Fluence [mJ.cm-2]",
    "Fluence (mJcm-2)", "Fluence_mJcm2", "fluence_mJ_per_cm2", "fluence-mJ-cm2", "Fluence {mJ/cm2}", "mJ/cm2",
    "$F$ (mJ/cm$^2$)", "$F$ ($\\mathrm{mJ\\,cm^{-2}}$)",
    "Fluence (\\si{\\milli\\joule\\per\\square\\centi\\metre})",
    "Fluence ($\\frac{mJ}{cm^2}$)", "Fluence (mJ/cm<sup>2</sup>)", "Fluence (mJ/cm&sup2;)",
    "Fluence (mJ/cmÂ²)",
    "Fluence (millijoule per square centimetre)", "Fluence (millijoules per cm squared)",
    "Fluence (milliJ/cm2)",
    "Pump fluence (mJ/cm2/pulse)", "Excitation fluence (mJ/(cm2 pulse))", "Energy density (mJ/cm2)",
    "Energiedichte [mJ/cm²]", "Pumpfluenz in mJ/cm²", "Anregungsfluenz (Millijoule pro Quadratzentimeter)",
    "Densité d'énergie (mJ/cm²)", "Fluence d'excitation (millijoules par centimètre carré)",
    "Fluence de pompe [mJ.cm⁻²]",
    "Fluence (mj/cm2)", "FLUENCE [mJ/CM2]", "incident fluence, mJ/cm2", "Peak fluence (mJ/cm2)",
    "F_pump (mJ/cm2)",
    "Laser fluence at sample (mJ/cm2)", "fluence (corrected) (mJ/cm2)", "Fluence: mJ/cm2", "Pump (mJ/cm2)",
    "x (mJ/cm2)",
]  # fmt: skip
"""Fluences in mJ/cm2."""

MICRO = [
    "Fluence (uJ/cm2)", "Fluence (µJ/cm2)", "Fluence (μJ/cm²)", "Fluence (microJ/cm2)",
    "Fluence (micro-joule/cm2)",
    "Fluence ($\\mu$J/cm$^{2}$)", "Fluence (\\textmu J cm$^{-2}$)", "Fluence (&micro;J/cm2)",
    "Fluence (ÂµJ/cmÂ²)",
    "Fluence (muJ/cm2)", "Fluence (mcJ/cm2)", "Fluence (UJ/CM2)", "fluence_uJ_cm2", "Fluenz [Mikrojoule/cm²]",
    "Fluence (microjoules par cm²)", "Fluence (æJ/cmý)", "Fluence (µ J / cm ^ 2)",
]  # fmt: skip
"""Fluences in uJ/cm2."""

OTHERS = {
    "Fluence (pJ/um2)": 1e2,
    "Fluence (pJ/µm²)": 1e2,
    "Fluence (J/m2)": 1e2,
    "Fluence (J/m^2)": 1e2,
    "Fluence (nJ/cm2)": 1e-3,
    "Fluence (J/cm²)": 1e6,
    "Fluence (mJ/mm^2)": 1e5,
    "Fluence (erg/cm2)": 0.1,
}
"""Fluences in other units, and how many uJ/cm2 they are."""


@pytest.mark.parametrize("head", MILLI)
def test_millijoules(tmp_path: Path, head: str) -> None:
    table = table_of(tmp_path, curve(f"{head}\tSignal", PUMP / 1e3, mark="\t"))
    assert table.fluence_uj_cm2 == pytest.approx(PUMP, rel=1e-9)
    assert np.array_equal(table.signal, SIGNAL)
    assert table.unit_stated
    assert any("from mJ/cm2 to uJ/cm2" in said for said in table.said)


@pytest.mark.parametrize("head", MICRO)
def test_microjoules(tmp_path: Path, head: str) -> None:
    table = table_of(tmp_path, curve(f"{head}\tSignal", mark="\t"))
    assert table.fluence_uj_cm2 == pytest.approx(PUMP, rel=1e-9)
    assert table.unit_stated


@pytest.mark.parametrize(("head", "size"), OTHERS.items())
def test_other_units_of_fluence(tmp_path: Path, head: str, size: float) -> None:
    table = table_of(tmp_path, curve(f"{head}\tSignal", PUMP / size, mark="\t"))
    assert table.fluence_uj_cm2 == pytest.approx(PUMP, rel=1e-9)


OWN_UNITS = {
    "Pulse energy (nJ)": ("pulse energy", "nJ"),
    "Pulse energy (nJ/pulse)": ("pulse energy", "nJ"),
    "E_pulse [µJ]": ("pulse energy", "uJ"),
    "Pulsenergie in nJ": ("pulse energy", "nJ"),
    "Énergie par impulsion (nJ)": ("pulse energy", "nJ"),
    "Energy per pulse (uJ)": ("pulse energy", "uJ"),
    "Laser power (mW)": ("power", "mW"),
    "Pumpleistung [mW]": ("power", "mW"),
    "Puissance de pompe (mW)": ("power", "mW"),
    "P_in (uW)": ("power", "uW"),
    "Average power (mW)": ("power", "mW"),
    "Power, mW": ("power", "mW"),
    "current (mA)": ("current", "mA"),
    "Strom / mA": ("current", "mA"),
    "Courant (mA)": ("current", "mA"),
    "I (mA)": ("current", "mA"),
    "Current density (kA/cm2)": ("current density", "kA/cm2"),
    "Pump intensity (kW/cm2)": ("intensity", "kW/cm2"),
    "Power density [W cm⁻²]": ("intensity", "W/cm2"),
    "Leistungsdichte (MW/cm²)": ("intensity", "MW/cm2"),
    "Photons (photons/cm2)": ("photon fluence", "photons/cm2"),
    "Carrier density (cm^-3)": ("carrier density", "1/cm3"),
    "Pump energy (a.u.)": ("pulse energy", "a.u."),
    "Pump power": ("power", "unit not stated"),
}
"""Pumps that are no fluence: quantity and unit that stay."""


@pytest.mark.parametrize(("head", "wanted"), OWN_UNITS.items())
def test_what_is_no_fluence_keeps_its_unit(tmp_path: Path, head: str, wanted: tuple[str, str]) -> None:
    table = table_of(tmp_path, curve(f"{head}\tPL (counts)", mark="\t"))
    assert (table.quantity, table.unit) == wanted
    assert np.array_equal(table.pump, PUMP)
    assert np.array_equal(table.signal, SIGNAL)


@pytest.mark.parametrize("head", ["Fluence", "Pump", "F", "x", "Fluence (peak)", "Fluenz", "excitation"])
def test_a_fluence_without_unit_is_told(tmp_path: Path, head: str) -> None:
    table = table_of(tmp_path, curve(f"{head},Signal"))
    assert np.array_equal(table.fluence_uj_cm2, PUMP)
    assert not table.unit_stated
    assert any("not stated: taken as uJ/cm2" in said for said in table.said)


SIGNALS = [
    "Signal", "PL", "PL intensity", "PL area", "Counts", "Intensity (a.u.)", "Emission (counts/s)",
    "Output power (mW)",
    "P_out (nW)", "PD Volt (V)", "photodiode", "Lock-in (mV)", "Intensität (w.E.)", "Zählrate [1/s]",
    "Intensité (u.a.)",
    "Integrated PL", "ASE", "$I_{PL}$ (arb. u.)", "Emission intensity @ 532 nm (counts)", "L (mW)",
    "Lichtleistung (mW)",
    "signal - dark", "Background-corrected PL", "Peak height", "Puissance de sortie (mW)",
    "detector signal [V]", "EL (cps)",
    "Fläche", "aire", "lasing output", "y", "integrated intensity", "Spectrometer counts", "Fluoreszenz",
]  # fmt: skip


@pytest.mark.parametrize("head", SIGNALS)
def test_signals(head: str) -> None:
    assert heading(head).role == "signal"


NEITHER = {
    "FWHM (nm)": "width", "Linewidth": "width", "Halbwertsbreite (nm)": "width", "Dark signal": "dark",
    "Background": "dark",
    "Untergrund": "dark", "Set fluence (uJ/cm2)": "set point", "Fluence setpoint": "set point",
    "Sollwert (mW)": "set point",
    "nominal power (mW)": "set point", "Index": "index", "#": "index", "No.": "index", "Nr": "index",
    "Point": "index",
    "Signal error": "error", "PL std": "error", "σ": "error", "±": "error", "Fehler": "error", "dPL": "error",
    "Signal uncertainty (%)": "error", "Standardabweichung": "error", "Wavelength (nm)": "wavelength",
    "Peak wavelength (nm)": "wavelength", "Time (s)": "time", "Datum": "time", "HWP angle (deg)": "setting",
    "OD": "setting", "Temperature (K)": "setting", "Integration time (ms)": "time", "dose (uJ/cm2)": "other",
}  # fmt: skip


@pytest.mark.parametrize(("head", "role"), NEITHER.items())
def test_columns_that_are_neither(head: str, role: str) -> None:
    assert heading(head).role == role


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        ("Peak fluence (mJ/cm2)", "peak"),
        ("average fluence (mJ/cm2)", "average"),
        ("Fluence, average over 1/e2 (mJ/cm2)", "average over 1/e2"),
        ("Fluence averaged over the FWHM (mJ/cm2)", "average over FWHM"),
        ("mittlere Fluenz (mJ/cm2)", "average"),
        ("Fluence (mJ/cm2)", None),
    ],
)
def test_the_convention_is_what_is_said(tmp_path: Path, head: str, wanted: str | None) -> None:
    assert table_of(tmp_path, curve(f"{head}\tSignal", mark="\t")).convention == wanted


@pytest.mark.parametrize("text", ["sample 3", "peak", "?J/cm?", "", "a b c", "1+1", "mJ/", "x" * 80])
def test_what_is_no_unit(text: str) -> None:
    assert read_unit(text) is None


def test_units_are_converted_exactly() -> None:
    assert factor("mJ/cm2", "uJ/cm2") == 1000.0
    assert factor("pJ/um2", "uJ/cm2") == 100.0
    assert factor("erg/cm2", "uJ/cm2") == pytest.approx(0.1, rel=1e-12)
    assert factor("nJ", "uJ/cm2") is None
