"""What each kind of calibration puts into ``[pump]``, in the keys and units of the bench file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from labctl.config.units import convert
from labctl.model.calibration import Calibration, CalibrationKind, Quantity

Values = Iterator[tuple[str, object]]

SUPPLIERS: Mapping[str, tuple[CalibrationKind, ...]] = {
    "attenuator_curve": ("attenuator",),
    "pickoff_ratio": ("pickoff",),
    "repetition_rate_hz": ("energy",),
    "max_pulse_energy": ("energy", "attenuator"),
    "spot": ("spot",),
}
"""Keys of ``[pump]`` that may be left out where one of these calibrations is named."""


class NotSupplied(Exception):  # noqa: N818  it becomes a mistake of the bench file
    """A calibration lacks what its kind must hold."""

    def __init__(self, kind: CalibrationKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def supplied(
    calibrations: Mapping[CalibrationKind, Calibration], pump: Mapping[str, object]
) -> dict[str, tuple[CalibrationKind, object]]:
    """Return the keys of ``[pump]`` that the calibrations supply, each with its kind and value.

    :param pump: as the bench file has it, for what one calibration needs of another or of the file.
    :raises NotSupplied: a calibration lacks a number.
    """
    values: dict[str, tuple[CalibrationKind, object]] = {}
    makers: Mapping[CalibrationKind, Callable[[Calibration], Values]] = {
        "pickoff": _pickoff,
        "energy": _energy,
        "spot": _spot,
        "attenuator": _attenuator,
    }
    for kind, maker in makers.items():
        if (calibration := calibrations.get(kind)) is not None:
            values |= {key: (calibration.kind, value) for key, value in maker(calibration)}
    if "max_pulse_energy" not in values and (measured := calibrations.get("attenuator")) is not None:
        known = {**pump, **{key: value for key, (_kind, value) in values.items()}}
        if (energy_j := _full_energy_j(measured, known)) is not None:
            values["max_pulse_energy"] = ("attenuator", f"{energy_j!r} J")
    return values


def _attenuator(c: Calibration) -> Values:
    form = c.facts.get("form", "malus")
    if form == "table":
        angle, transmission = (_table(c, name) for name in ("angle_deg", "transmission"))
        if len(angle) != len(transmission):
            raise NotSupplied(c.kind, f"holds {len(angle)} angles but {len(transmission)} transmissions")
        highest = max(transmission, default=1.0)
        rising = sorted(zip(angle, transmission, strict=True))
        yield (
            "attenuator_curve",
            {
                "kind": "table",
                "angle_deg": [a for a, _ in rising],
                "transmission": [t / highest if highest > 0 else t for _, t in rising],
            },
        )
    else:
        zero, leak = _needed(c, "zero_deg", "deg"), _needed(c, "leakage", "1")
        yield (
            "attenuator_curve",
            {
                "kind": "malus",
                "zero_deg": zero.value,
                "t_min": max(leak.value, 0.0),
                "t_max": 1.0,
                "branch": c.facts.get("branch", "+"),
            },
        )
        yield "curve_sigma_deg", zero.total
        yield "leak_sigma", leak.total
    if (sigma := _angle_sigma_deg(c)) is not None:
        yield "angle_sigma_deg", sigma
    zero_w = c.facts.get("zero_w")
    if c.facts.get("place") == "pick-off" and isinstance(zero_w, float) and zero_w:
        yield "meter_zero_sigma", f"{abs(zero_w)!r} W"  # what a sweep does not take off


def _angle_sigma_deg(c: Calibration) -> float | None:
    """Return how far the mount may be off: its repeatability, its error too, and half of its play."""
    repeat, play = c.quantities.get("repeatability"), c.quantities.get("backlash")
    if repeat is None and play is None:
        return None
    own = (repeat.value, repeat.statistical) if repeat else ()
    return math.hypot(*own, play.value / 2 if play else 0.0)


def _pickoff(c: Calibration) -> Values:
    ratio = _needed(c, "ratio", "1")
    yield "pickoff_ratio", ratio.value
    yield "pickoff_sigma_rel", math.hypot(ratio.total_rel, _curved(c))


def _curved(c: Calibration) -> float:
    """Return what a departure from proportionality adds to one ratio for all powers: half of it, spread."""
    bend = c.quantities.get("nonlinearity")
    if bend is None or "nonlinear" not in c.flags:  # within chance
        return 0.0
    return abs(bend.value) / 2 / math.sqrt(3)


def _energy(c: Calibration) -> Values:
    rate = _needed(c, "repetition_rate", "Hz")
    yield "repetition_rate_hz", rate.value
    yield "repetition_sigma_rel", rate.total_rel
    optional = {"pulse_cv": "pulse_cv", "drift": "laser_drift_rel"}
    for name, key in optional.items():
        if (quantity := c.quantities.get(name)) is not None:
            yield key, abs(quantity.value)
    if (energy := c.quantities.get("pulse_energy")) is not None:
        yield "max_pulse_energy", f"{energy.value!r} J"
    if (width := c.quantities.get("pulse_width")) is not None:
        yield "pulse_width_fs", width.value
        yield "pulse_width_sigma_fs", width.total


def _spot(c: Calibration) -> Values:
    x, y = _needed(c, "x_um", "um"), _needed(c, "y_um", "um")
    shape = c.facts.get("shape", "gaussian")
    yield "spot", {"shape": shape, "x_um": x.value, "y_um": y.value}
    # One scale (a micrometer's) in both sizes is one error that counts for each of them.
    yield "spot_sigma_rel", (x.scale / x.value + y.scale / y.value) / 2
    yield "spot_x_sigma_rel", x.statistical / x.value
    yield "spot_y_sigma_rel", y.statistical / y.value
    if (incidence := c.quantities.get("incidence_deg")) is not None:
        yield "incidence_deg", incidence.value
        yield "incidence_sigma_deg", incidence.total
    if (absorbed := c.quantities.get("absorptance")) is not None:
        yield "absorptance", absorbed.value
        yield "absorptance_sigma", absorbed.total


def _full_energy_j(c: Calibration, pump: Mapping[str, object]) -> float | None:
    """Return the energy on the sample that the attenuator's highest power stands for, if it can be told."""
    power = c.quantities.get("max_power")
    try:
        rate_hz = convert(pump.get("repetition_rate_hz"), "frequency", "Hz")
    except ValueError:
        return None
    ratio = 1.0 if c.facts.get("place") == "sample" else pump.get("pickoff_ratio")
    if power is None or not isinstance(ratio, (int, float)) or not (rate_hz > 0 and power.value > 0):
        return None
    return power.value * ratio / rate_hz


def _needed(c: Calibration, name: str, unit: str) -> Quantity:
    found = c.quantities.get(name)
    if found is None:
        raise NotSupplied(c.kind, f"holds no {name}")
    if found.unit != unit:
        raise NotSupplied(c.kind, f"holds {name} in {found.unit!r} instead of {unit!r}")
    if name not in ("zero_deg", "leakage") and found.value <= 0:
        raise NotSupplied(c.kind, f"holds a {name} of {found.value:g}, which must be positive")
    return found


def _table(c: Calibration, name: str) -> tuple[float, ...]:
    found = c.tables.get(name)
    if not found:
        raise NotSupplied(c.kind, f"holds no table of {name}")
    return found
