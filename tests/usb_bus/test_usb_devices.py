"""``labctl devices`` on a USB bus: what stands there, and what another program holds."""

from __future__ import annotations

import tomllib

import pytest
from usb_bench import usb_bench

from drivers import registry
from drivers.found import FoundInstrument, found
from labctl.model.clock import ScaledClock


def of_role(instruments: list[FoundInstrument], role: str) -> FoundInstrument:
    return next(each for each in instruments if each.role == role)


def test_meter_and_spectrometer_are_found_with_lines_that_open_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ScaledClock(20.0)
    with usb_bench(clock, monkeypatch, "USB4000") as bench:
        instruments = found()
        meter, spectrometer = of_role(instruments, "power_meter"), of_role(instruments, "spectrometer")
        assert meter.what.startswith("PM100D ")
        assert "(pyseabreeze)" in spectrometer.what
        for each in (meter, spectrometer):
            table = tomllib.loads("\n".join(each.lines))[each.role]
            spec = registry.find(each.role, table["driver"])  # type: ignore[arg-type]
            device = spec.open(spec.config.model_validate(table), clock)
            assert device.identity().model in (each.what, f"{each.what.split()[0]} + S130C", "USB4000")
            device.close()
        assert bench.usb is not None


def test_a_meter_that_another_program_holds_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ScaledClock(20.0)
    with usb_bench(clock, monkeypatch, "USB4000"):
        first = of_role(found(), "power_meter")
        spec = registry.find("power_meter", first.driver)
        holds = spec.open(
            spec.config.model_validate({"driver": first.driver, "resource": first.resource}), clock
        )
        again = next(each for each in found() if each.resource == first.resource)
        assert (again.role, again.why) == ("", "held by another program, and not asked")
        holds.prepare(800.0)
        assert holds.read().power_w >= 0
        holds.close()
