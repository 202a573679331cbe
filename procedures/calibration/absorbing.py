"""How much of the pump the sample absorbs, from a table that a spectrophotometer wrote: one photon only."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from labctl.analysis.calibration.absorptance import absorptance
from labctl.model.errors import CalibrationRefused
from labctl.model.pump import PumpSettings
from procedures.calibration.options import SpotOptions
from procedures.calibration.record import Findings

TIME_BANDWIDTH = 0.4413
"""FWHM of power in time x FWHM of the spectrum, of a Gaussian pulse without chirp: 2 ln 2 / pi."""
C_NM_FS = 299.792458
MOST_ROWS = 100_000


def add_absorptance(found: Findings, settings: PumpSettings, options: SpotOptions) -> None:
    """Add the absorptance at the pump, where a spectrum was given.

    :raises CalibrationRefused: the pump excites by two photons, or the table is none or misses the pump.
    """
    if not options.absorption_csv:
        return
    wavelength_nm, values = read_table(options.absorption_csv)
    result = absorptance(
        wavelength_nm,
        values,
        kind="optical_density" if options.optical_density else "transmittance",
        pump_nm=settings.wavelength_nm,
        pump_fwhm_nm=_width_nm(settings, options),
        photon_order=settings.photon_order,
        reflectance=options.reflectance,
    )
    found.quantity("absorptance", result.value, "1", result.sigma, result.scale)
    found.flags += [f"absorption {flag}" for flag in result.flags]


def _width_nm(settings: PumpSettings, options: SpotOptions) -> float:
    if options.pump_fwhm_nm is not None:
        return options.pump_fwhm_nm
    if settings.pulse_width_fs is None:
        return 0.0
    return TIME_BANDWIDTH * settings.wavelength_nm**2 / (C_NM_FS * settings.pulse_width_fs)


def read_table(text: str) -> tuple[list[float], list[float]]:
    """Read two columns of numbers; comma, semicolon, tab or blanks between them, headings skipped.

    :raises CalibrationRefused: there are no such rows, or one in the midst of them is none.
    """
    rows: list[tuple[float, float]] = []
    for number, cells in enumerate(_cells(text), start=1):
        if number > MOST_ROWS:
            raise CalibrationRefused(f"the absorption spectrum has more than {MOST_ROWS} rows")
        try:
            rows.append((float(cells[0]), float(cells[1])))
        except (ValueError, IndexError):
            if rows:
                raise CalibrationRefused(
                    f"row {number} of the absorption spectrum is no pair of numbers: {' '.join(cells)[:60]!r}"
                ) from None
    if not rows:
        raise CalibrationRefused("the absorption spectrum holds no rows of wavelength and value")
    return [row[0] for row in rows], [row[1] for row in rows]


def _cells(text: str) -> Iterator[list[str]]:
    separator = next((s for s in (";", "\t", ",") if s in text), None)
    if separator is None:
        yield from (line.split() for line in text.splitlines() if line.strip())
        return
    for cells in csv.reader(io.StringIO(text), delimiter=separator):
        if any(cell.strip() for cell in cells):
            decimal = separator != ","
            yield [cell.strip().replace(",", ".") if decimal else cell.strip() for cell in cells]
