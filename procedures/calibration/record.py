"""Putting a calibration together: dates, instruments, raw data, and what to be careful about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from labctl.model.calibration import Calibration, CalibrationKind, Quantity
from labctl.model.errors import CalibrationRefused
from procedures.calibration.context import CalContext
from procedures.calibration.gauge import Doubts
from procedures.calibration.worst import Look

LONGEST_DAYS = 3650.0

BOUND: Mapping[CalibrationKind, tuple[str, ...]] = {
    "attenuator": ("attenuator",),
    "pickoff": ("power_meter",),
    "energy": ("power_meter",),
    "spot": (),
    "spectrometer": ("spectrometer",),
}


@dataclass(slots=True)
class Findings:
    """What a procedure has found so far."""

    quantities: dict[str, Quantity] = field(default_factory=dict)
    tables: dict[str, tuple[float, ...]] = field(default_factory=dict)
    facts: dict[str, str | float | bool] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)

    def quantity(
        self, name: str, value: float, unit: str, statistical: float = 0.0, scale: float = 0.0
    ) -> None:
        """Add a number; numpy's become plain ones."""
        self.quantities[name] = Quantity(float(value), unit, float(statistical), float(scale))

    def table(self, name: str, values: Sequence[float]) -> None:
        """Add a list of numbers."""
        self.tables[name] = tuple(float(value) for value in values)

    def looks(self, prefix: str, looks: Sequence[Look], abscissa: str, x: Sequence[float]) -> None:
        """Add readings as raw tables: abscissa, power and its standard error, time."""
        self.table(f"raw_{abscissa}", x)
        self.table(f"raw_{prefix}power_w", [look.power_w for look in looks])
        self.table(f"raw_{prefix}power_sigma_w", [look.sigma_w for look in looks])
        self.table(f"raw_{prefix}time_s", [look.at_s for look in looks])

    def filters(self, used: Sequence[tuple[str, float, float]]) -> None:
        """Name the filters that were put before the sensor, each with what was measured of it."""
        if used:
            self.facts["meter_filters"] = ", ".join(f"{name}: {t:.4g} +- {s:.2g}" for name, t, s in used)

    def doubts(self, doubts: Doubts) -> None:
        """Say how many readings were taken again."""
        self.facts["repeated_readings"] = float(doubts.total)
        if doubts.total:
            self.flags.append("readings repeated")

    def calibration(self, kind: CalibrationKind, context: CalContext) -> Calibration:
        """Return the finished record.

        :raises CalibrationRefused: it would be valid for no time at all, or for ever.
        """
        days = context.options.valid_days
        if not 0 < days <= LONGEST_DAYS:
            raise CalibrationRefused(f"valid for {days:g} days; must be 0 to {LONGEST_DAYS:g}")
        now = datetime.fromisoformat(context.utc()) if context.utc else datetime.now(UTC)
        until = now + timedelta(days=days)
        return Calibration(
            kind=kind,
            measured_utc=now.isoformat(timespec="seconds"),
            valid_until_utc=until.isoformat(timespec="seconds"),
            operator=context.options.operator,
            instruments=dict(context.identities),
            bound_to=BOUND[kind],
            quantities=self.quantities,
            tables=self.tables,
            facts=self.facts,
            flags=tuple(dict.fromkeys(self.flags)),
            note=context.options.note,
            version=context.version,
        )


NAMES = {
    "zero_deg": "angle of maximum transmission",
    "leakage": "extinction (minimum / maximum transmission)",
    "max_power": "power at the meter, full transmission",
    "repeatability": "repeatability of the mount",
    "backlash": "backlash",
    "ratio": "power on the sample / power at the meter",
    "nonlinearity": "nonlinearity of the ratio",
    "repetition_rate": "repetition rate",
    "pulse_energy": "pulse energy on the sample, full transmission",
    "pulse_cv": "pulse-to-pulse variation",
    "two_photon_factor": "<F^2>/<F>^2",
    "drift": "drift during the measurement",
    "pulse_width": "pulse width at the sample",
    "x_um": "spot, x",
    "y_um": "spot, y",
    "ellipticity": "ellipticity (smaller / larger size)",
    "incidence_deg": "angle of incidence",
    "absorptance": "absorptance of the sample",
    "resolution": "resolution, FWHM",
    "wavelength_rms": "residual of the lamp's lines, rms",
    "offset_counts": "dark offset, counts",
    "dark_counts_s": "dark current, counts/s",
}
_PERCENT = frozenset({"nonlinearity", "pulse_cv", "drift", "absorptance"})
_SMALL = {
    "W": (("W", 1.0), ("mW", 1e3), ("uW", 1e6), ("nW", 1e9)),
    "J": (("mJ", 1e3), ("uJ", 1e6), ("nJ", 1e9)),
}


def report(calibration: Calibration) -> list[str]:
    """Return the lines; the first names what was measured with what."""
    with_what = ", ".join(
        " ".join(filter(None, (role.replace("_", " "), identity.model, identity.serial)))
        for role, identity in calibration.instruments.items()
    )
    lines = [
        f"{calibration.kind}: measured {calibration.measured_utc} with {with_what or 'unnamed instruments'}"
    ]
    lines += [f"  {NAMES.get(name, name)}: {shown(name, q)}" for name, q in calibration.quantities.items()]
    lines += _errors(calibration)
    shape = calibration.facts.get("shape")
    if shape is not None:
        lines.append(f"  {shape}, {_meaning(str(shape))}; fluences are {calibration.facts.get('convention')}")
    if calibration.facts.get("pulse_width_source") == "unknown":
        lines.append("  pulse width at the sample: unknown; a two-photon threshold scales as its square root")
    if (repeated := calibration.facts.get("repeated_readings", 0.0)) and isinstance(repeated, float):
        lines.append(f"  {repeated:.0f} doubtful readings were repeated")
    lines += [f"  warning: {flag}" for flag in calibration.flags if flag != "readings repeated"]
    return [*lines, f"  valid until {calibration.valid_until_utc}"]


def shown(name: str, quantity: Quantity) -> str:
    """Return a number with its uncertainties and unit."""
    value, unit, factor = quantity.value, quantity.unit, 1.0
    if name in _PERCENT:
        unit, factor = "%", 100.0
    elif unit in _SMALL:
        unit, factor = next(
            ((u, f) for u, f in _SMALL[unit] if abs(value) * f >= 1.0), _SMALL[quantity.unit][-1]
        )
    elif unit == "1":
        unit = ""
    errors = f" +- {quantity.statistical * factor:.2g}"
    if quantity.scale:
        errors += f" (systematic +- {quantity.scale * factor:.2g})"
    return f"{value * factor:.5g}{errors} {unit}".rstrip()


def _meaning(shape: str) -> str:
    return {"gaussian": "1/e2 radii", "ellipse": "semi-axes of a flat top", "stripe": "half-lengths"}.get(
        shape, ""
    )


def _errors(calibration: Calibration) -> list[str]:
    """What the mount's error makes of a transmission; and what can be reached."""
    tables = calibration.tables
    shown_at = tables.get("error_transmission", ())
    if not shown_at:
        return []
    parts = [f"{t:g}: {error:.2%}" for t, error in zip(shown_at, tables.get("error_rel", ()), strict=False)]
    low, high = (calibration.facts.get(f"{end}_transmission") for end in ("least", "highest"))
    reach = (
        f"  reaches transmissions from {low:.3g} to {high:.3g}"
        if isinstance(low, float) and isinstance(high, float)
        else ""
    )
    return [
        f"  error due to the mount, at a transmission of {', '.join(parts)}",
        *([reach] if reach else []),
    ]
