"""Putting a calibration together: dates, instruments, raw data, and what to be careful about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from labctl.model.calibration import Calibration, CalibrationKind, Quantity
from labctl.model.errors import CalibrationRefused
from procedures.calibration.context import CalContext
from procedures.calibration.foresight import Look
from procedures.calibration.gauge import Doubts

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
            raise CalibrationRefused(f"valid for {days:g} days: 0 to {LONGEST_DAYS:g} are possible")
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
