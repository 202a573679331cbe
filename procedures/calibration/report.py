"""A finished calibration in plain lines: numbers with their uncertainties, and what to be careful about."""

from __future__ import annotations

from labctl.model.calibration import Calibration, Quantity

NAMES = {
    "zero_deg": "zero of the plate",
    "leakage": "leakage (least over full transmission)",
    "max_power": "power at the meter, full transmission",
    "repeatability": "repeatability of the mount",
    "backlash": "play between the directions",
    "ratio": "power on the sample over power at the meter",
    "nonlinearity": "change of the ratio over the range",
    "repetition_rate": "repetition rate",
    "pulse_energy": "pulse energy on the sample, full transmission",
    "pulse_cv": "pulse-to-pulse variation",
    "two_photon_factor": "<F^2>/<F>^2",
    "drift": "drift while it was watched",
    "pulse_width": "pulse width at the sample",
    "x_um": "spot, x",
    "y_um": "spot, y",
    "ellipticity": "smaller over larger size",
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
        lines.append("  pulse width at the sample: unknown; a two-photon threshold goes as its square root")
    if (repeated := calibration.facts.get("repeated_readings", 0.0)) and isinstance(repeated, float):
        lines.append(f"  {repeated:.0f} doubtful readings were taken again")
    lines += [f"  careful: {flag}" for flag in calibration.flags if flag != "readings repeated"]
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
        errors += f" (scale +- {quantity.scale * factor:.2g})"
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
        f"  error that the mount makes, at a transmission of {', '.join(parts)}",
        *([reach] if reach else []),
    ]
