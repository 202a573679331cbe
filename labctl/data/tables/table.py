"""A light-light curve from a run or from any table, and what was made of each of its columns and rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labctl.data.files.guard import HDF5_SIGNATURE, read_text
from labctl.data.reader import read_run
from labctl.data.tables.cells import HINT, Sheet, read_sheet
from labctl.data.tables.choosing import NOTHING_ASKED, Asked, Chosen, choose
from labctl.data.tables.errors import LeftOut, TableUnclear
from labctl.data.tables.headings import QUANTITIES, Convention, Heading, convention, heading
from labctl.data.tables.naming import headings_of, names_of
from labctl.data.tables.numbers import Numbers, numbers_of
from labctl.data.tables.spectra import why_spectrum
from labctl.data.tables.stated_errors import absolute, is_usable, of_mean
from labctl.data.tables.suspects import sentinels, unlikely
from labctl.model.errors import ConfigError, DataError
from labctl.model.records import FloatArray
from labctl.model.units import Unit, factor, read_unit, spelled
from labctl.model.untrusted import open_regular

FLUENCE, UNIT_UJ_CM2 = "fluence", "uJ/cm2"
NOT_STATED = "unit not stated"
"""Unit of a pump whose quantity is known and whose unit is not."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a threshold is fitted to; arrays have shape ``(n,)``, in the file's order, NaN where unreadable.

    :param path: the file.
    :param pump: in ``unit``.
    :param quantity: what it is: "fluence", "pulse energy", "power", "intensity", "current" ...
    :param unit: "uJ/cm2" for a fluence, else the file's own, e.g. "nJ"; "unit not stated".
    :param signal: emission, in the file's unit.
    :param signal_sigma: its standard error, same unit, or None.
    :param pump_sigma_rel: one relative point-to-point error per point, or None.
    :param taken: the names of the columns used for pump, signal and (if any) its error.
    :param fwhm_nm: width of the emission, nm, or None.
    :param peak_count: narrow peaks of each spectrum, or None.
    :param convention: of the fluence, where the file or the user says it.
    :param signal_unit: of the signal; empty where it is not stated.
    :param unit_stated: whether file or user state the pump's unit; where not, a fluence is taken as uJ/cm2.
    :param exposures: of a run's own CSV: from how many each error of the signal was estimated.
    :param said: what was understood, one sentence each.
    :param lines: line of each row in the file; empty for a run.
    :param left_out: lines that give no point, each with why; their values are NaN or they have no row.
    """

    path: Path
    pump: FloatArray
    quantity: str
    unit: str
    signal: FloatArray
    signal_sigma: FloatArray | None
    pump_sigma_rel: FloatArray | None
    taken: tuple[str, ...]
    convention: str | None = None
    fwhm_nm: FloatArray | None = None
    peak_count: FloatArray | None = None
    signal_unit: str = ""
    unit_stated: bool = True
    exposures: FloatArray | None = None
    said: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def fluence_uj_cm2(self) -> FloatArray:
        """The pump as a fluence, uJ/cm2.

        :raises DataError: it is another quantity.
        """
        if self.unit != UNIT_UJ_CM2:
            raise DataError(f"{self.path}: the pump is a {self.quantity} in {self.unit}, not a fluence")
        return self.pump

    @property
    def usable(self) -> int:
        """Number of rows that give a point."""
        return int((np.isfinite(self.pump) & (self.pump >= 0) & np.isfinite(self.signal)).sum())


def read_table(path: Path | str, asked: Asked = NOTHING_ASKED) -> Table:
    """Read a run (``.h5``), a run's ``.csv``, or a table of numbers.

    Delimiter, decimal mark, heading, units and columns are found out; what was understood stands in
    :attr:`Table.said`, what was left out in :attr:`Table.left_out`.

    :param path: the file.
    :param asked: columns and unit that the user names; only of a table.
    :raises TableUnclear: two readings are possible, and an option decides.
    :raises DataError: empty, binary, damaged, too large, a spectrum, or without pump and signal.
    """
    path = Path(path)
    return _of_run(path) if is_hdf5(path) else _of_text(path, read_text(path), asked)


def is_hdf5(path: Path) -> bool:
    """Whether a file is one of HDF5, as a run is, by its first bytes.

    :param path: the file.
    :raises DataError: it cannot be read.
    """
    try:
        with open_regular(path) as raw:
            return raw.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _of_run(path: Path) -> Table:
    run = read_run(path)
    if not len(run):
        raise DataError(f"{path}: the run has no points")
    return Table(
        path=run.path,
        pump=run.fluence_uj_cm2,
        quantity=FLUENCE,
        unit=UNIT_UJ_CM2,
        signal=run.signal,
        signal_sigma=run.signal_sigma,
        pump_sigma_rel=run.fluence_sigma_rel,
        taken=("fluence_uj_cm2", "signal", "signal_sigma"),
        convention=run.start.convention,
        fwhm_nm=run.fwhm_nm,
        peak_count=run.column("peak_count"),
    )


def _of_text(path: Path, text: str, asked: Asked) -> Table:
    if text.startswith("#Procedure:"):
        text = text[: text.rfind("\n") + 1]  # a kill can leave half a row, and half a number looks like one
    if text.startswith("PK\x03\x04"):
        raise DataError(f"{path} is a workbook", "save the sheet as CSV")
    sheet = _without_column_numbers(read_sheet(path, text))
    if not sheet.lines:
        raise DataError(f"{path}: 0 numeric columns: no line is a row of numbers", HINT)
    names = names_of(sheet)
    labels = [text or f"column {at + 1}" for at, text in enumerate(names.texts)]
    columns = numbers_of(path, sheet.columns, labels, sheet.mark)
    found = headings_of(names, [None if c is None else c.unit for c in columns])
    if asked.x is None:
        why = why_spectrum(sheet, found, columns)
        if why:
            raise DataError(
                f"{path} is a spectrum, not a curve of pump against signal ({why})",
                "a table with one row for each pump: the pump, and the signal summed over the spectrum",
            )
    return _Reading(
        path, sheet, names.line, found, columns, choose(path, found, columns, asked), asked
    ).table()


def _without_column_numbers(sheet: Sheet) -> Sheet:
    """Drop a first row that numbers the columns, as pandas writes it: "0,1"."""
    if len(sheet.lines) < 3 or sheet.above:
        return sheet
    first = [column[0] for column in sheet.columns]
    numbers = [str(at) for at in range(len(first))]
    shifted = ["", *numbers[:-1]]
    decimals = any("." in cell for column in sheet.columns for cell in column[1:])
    if first not in (numbers, shifted) or not decimals:
        return sheet
    return replace(
        sheet,
        columns=tuple(column[1:] for column in sheet.columns),
        lines=sheet.lines[1:],
        left_out=(LeftOut(sheet.lines[0], "numbers of the columns"), *sheet.left_out),
    )


@dataclass(frozen=True, slots=True)
class _Pump:
    values: FloatArray
    quantity: str
    unit: str
    said: str
    per_unit: float
    convention: str | None
    unit_stated: bool = True


class _Reading:
    """One table whose columns are chosen, on its way to numbers with units."""

    def __init__(
        self,
        path: Path,
        sheet: Sheet,
        heading_line: int | None,
        headings: Sequence[Heading],
        columns: Sequence[Numbers | None],
        chosen: Chosen,
        asked: Asked,
    ) -> None:
        self.path, self.sheet, self.line, self.headings = path, sheet, heading_line, headings
        self.columns, self.chosen, self.asked = columns, chosen, asked
        self.about = [line.text for line in (*sheet.comments, *sheet.about) if line.number != heading_line]

    def table(self) -> Table:
        chosen = self.chosen
        lost: dict[int, str] = {}
        pump = self._pump(lost)
        signal, signal_unit, scale_said = self._signal(lost)
        self._lose(lost, unlikely(pump.values, signal), self._name(chosen.y))
        places = sorted(lost)
        values, light = pump.values.copy(), signal.copy()
        for at in places:
            if values[at] >= 0 and np.isfinite(light[at]):
                light[at] = np.nan
        sigma, sigma_said = self._sigma(signal)
        left_out = sorted(
            (*self.sheet.left_out, *(LeftOut(self.sheet.lines[at], lost[at]) for at in places)),
            key=lambda one: one.line,
        )
        if not (np.isfinite(values) & np.isfinite(light)).any():
            why = f": line {left_out[0].line}: {left_out[0].why}" if left_out else ""
            raise DataError(
                f"{self.path}: no row has both pump and signal{why}", f"columns {self._taken_names()}"
            )
        return Table(
            path=self.path,
            pump=values,
            quantity=pump.quantity,
            unit=pump.unit,
            signal=light,
            signal_sigma=sigma,
            pump_sigma_rel=self._pump_sigma(pump),
            taken=tuple(self._name(at) for at in (chosen.x, chosen.y, *chosen.sigma)),
            convention=pump.convention,
            fwhm_nm=self._fwhm(),
            peak_count=None if chosen.lines is None else self._values(chosen.lines),
            signal_unit=signal_unit,
            unit_stated=pump.unit_stated,
            exposures=self._exposures(),
            said=tuple(s for s in (*self._where(pump, scale_said), sigma_said, *self._rest()) if s),
            lines=self.sheet.lines,
            left_out=tuple(left_out),
        )

    # --- pump --------------------------------------------------------------------------------------

    def _pump(self, lost: dict[int, str]) -> _Pump:
        own = self.headings[self.chosen.x]
        column = self._column(self.chosen.x)
        self._lose(lost, column.missing, own.name)
        values, _ = self._unscaled(column.values, own, "x")
        values = values.copy()
        self._take_out(values, sentinels(values), lost, own.name)
        self._lose(lost, {int(at): "below zero" for at in np.flatnonzero(values < 0)}, own.name)
        unit, said, convention_said = self._pump_unit(own)
        quantity = self._quantity(own, unit)
        stated = convention_said or own.convention or self._convention_above()
        if unit is None:
            if quantity in (FLUENCE, "pump"):
                return _Pump(
                    values, FLUENCE, UNIT_UJ_CM2, "unit not stated: taken as uJ/cm2", 1.0, stated, False
                )
            return _Pump(
                values, quantity, NOT_STATED, "its unit is not stated", 1.0, _of_area(quantity, stated), False
            )
        if unit.kind == "fluence":
            scale = factor(unit.text, UNIT_UJ_CM2)
            if scale is None:
                raise DataError(
                    f"{self.path}: column {own.name!r}: {unit.text} is not understood", "--unit uJ/cm2"
                )
            told = said or ("" if scale == 1.0 else f"converted from {unit.text} to uJ/cm2")
            return _Pump(values * scale, FLUENCE, UNIT_UJ_CM2, told, scale, stated)
        shown = "mW" if unit.kind == "dBm" else unit.text
        told = said or f"kept in {shown}: {quantity} is not fluence"
        return _Pump(values, quantity, shown, told, 1.0, _of_area(quantity, stated))

    def _pump_unit(self, own: Heading) -> tuple[Unit | None, str, Convention | None]:
        """Return the unit of the pump, what is said of it, and the convention that the user states.

        :raises TableUnclear: what stands there is not read, or in two ways.
        """
        if self.asked.unit is not None:
            text, _, more = self.asked.unit.partition(",")
            unit = read_unit(text)
            if unit is None:
                raise ConfigError(
                    f"{text!r} is not a unit", key="--unit", hint="a unit such as mJ/cm2, nJ, mW, mA, kW/cm2"
                )
            other = own.unit is not None and own.unit.text != unit.text and not own.unit.doubt
            beside = f" (the heading says {own.unit.text})" if other and own.unit is not None else ""
            to = (
                f", converted to {UNIT_UJ_CM2}" if unit.kind == "fluence" and unit.text != UNIT_UJ_CM2 else ""
            )
            return unit, f"in {unit.text} as --unit says{beside}{to}", convention(more) if more else None
        if own.unreadable:
            self._ask_unit(f"the unit of {own.name!r} cannot be read ({own.unreadable})", ())
        if own.unit is not None and own.unit.doubt:
            milli = own.unit.text.replace("M", "m", 1)
            self._ask_unit(f"the unit of {own.name!r}: {own.unit.doubt}", (milli, own.unit.text))
        if own.unit is not None and own.unit.kind not in (*QUANTITIES, "arbitrary", "counts", "dB"):
            self._ask_unit(f"the unit of {own.name!r}, {own.unit.text}, is not one of a pump", ())
        if own.unit is None and self._quantity(own, None) in (FLUENCE, "pump"):
            return self._unit_above(own)
        return own.unit, "", None

    def _ask_unit(self, message: str, answers: Sequence[str]) -> None:
        raise TableUnclear(self.path, message, "unit", answers or ("uJ/cm2", "mJ/cm2"))

    def _unit_above(self, own: Heading) -> tuple[Unit | None, str, None]:
        """Look for a fluence's unit in the lines above, where the heading has none."""
        found: dict[str, tuple[Unit, str]] = {}
        for text in self.about:
            for part in re.split(r"[;,|\t]", text):
                if re.search(r"\d\s*(?:[munpkµμ]?[JW])\b", spelled(part)):
                    continue  # a value of something, not a unit of a column
                unit = heading(part).unit
                if unit is not None and unit.kind == "fluence":
                    found[unit.text] = (unit, part.strip())
        if len(found) > 1:
            self._ask_unit(f"the lines above name several units for {own.name!r}", tuple(found))
        if not found:
            return None, "", None
        unit, text = next(iter(found.values()))
        to = "" if unit.text == UNIT_UJ_CM2 else f", converted to {UNIT_UJ_CM2}"
        return unit, f"in {unit.text} by the line above, {text[:60]!r}{to}", None

    def _quantity(self, own: Heading, unit: Unit | None) -> str:
        if unit is not None and unit.kind in QUANTITIES:
            return QUANTITIES[unit.kind]
        return own.quantity or "pump"

    def _convention_above(self) -> Convention | None:
        for text in self.about:
            if re.search(r"(?i)fluence|fluenz|energy density|energiedichte|convention", text):
                found = convention(text)
                if found is not None:
                    return found
        return None

    def _pump_sigma(self, pump: _Pump) -> FloatArray | None:
        at = self.chosen.x_sigma
        column = self._column(self.chosen.x)
        if at is None and column.spread is None:
            return None
        if at is None:
            assert column.spread is not None
            sigma = column.spread * pump.per_unit
        else:
            raw = column.values
            own = self.headings[at]
            sigma = absolute(self.path, self._values(at), own, raw, self.headings[self.chosen.x], "")[0]
            sigma = sigma * pump.per_unit
        with np.errstate(all="ignore"):
            relative = np.abs(sigma / pump.values)
        return relative if np.isfinite(relative).any() else None

    # --- signal ------------------------------------------------------------------------------------

    def _signal(self, lost: dict[int, str]) -> tuple[FloatArray, str, str]:
        own = self.headings[self.chosen.y]
        column = self._column(self.chosen.y)
        self._lose(lost, column.missing, own.name)
        values, said = self._unscaled(column.values, own, "y")
        values = values.copy()
        self._take_out(values, sentinels(values), lost, own.name)
        unit = "" if own.unit is None else own.unit.text
        return values, {"dBm": "mW", "dB": ""}.get(unit, unit), said

    def _sigma(self, signal: FloatArray) -> tuple[FloatArray | None, str]:
        chosen, base = self.chosen, self.headings[self.chosen.y]
        column = self._column(chosen.y)
        modifier = chosen.modifiers.get("sigma", "")
        if self.asked.sigma == "none":
            return None, ""
        if base.scale:
            return None, "errors of a logarithm are not used" if chosen.sigma else ""
        if not chosen.sigma:
            if column.spread is None:
                return None, ""
            return (
                column.spread,
                f"errors of {base.name!r}: behind the plus-minus sign, taken as standard errors",
            )
        parts = [
            absolute(self.path, self._values(at), self.headings[at], signal, base, modifier)
            for at in chosen.sigma
        ]
        sigma = np.mean([np.abs(values) for values, _ in parts], axis=0)
        repeats = None if chosen.repeats is None else self._values(chosen.repeats)
        own = self.headings[chosen.sigma[0]]
        sigma, what = of_mean(self.path, sigma, own, repeats, modifier)
        names = " and ".join(repr(self._name(at)) for at in chosen.sigma)
        if not is_usable(sigma):
            return None, f"errors {names}: less than half of them are above zero: not used"
        return sigma, f"errors: {names}, {parts[0][1]}, {what}"

    def _fwhm(self) -> FloatArray | None:
        at = self.chosen.width
        if at is None:
            return None
        unit = self.headings[at].unit
        scale = 1.0 if unit is None or unit.kind == "arbitrary" else factor(unit.text, "nm")
        return None if scale is None else self._values(at) * scale

    def _exposures(self) -> FloatArray | None:
        """Of a run's own CSV, exposures that were not saturated."""
        names = [h.name for h in self.headings]
        if self._name(self.chosen.y) != "Signal (counts per pulse)" or "Exposures" not in names:
            return None
        count, clipped = (
            self.columns[names.index(n)] if n in names else None for n in ("Exposures", "Saturated exposures")
        )
        if count is None:
            return None
        return count.values if clipped is None else count.values - clipped.values

    # --- shared ------------------------------------------------------------------------------------

    def _unscaled(self, values: FloatArray, own: Heading, option: str) -> tuple[FloatArray, str]:
        """Undo a logarithm.

        :raises TableUnclear: its base is not said.
        """
        said = self.chosen.modifiers.get(option)
        scale = {"linear": "", "db": "dB", None: own.scale}.get(said, said or "")
        if scale == "log":
            name = own.name
            raise TableUnclear(
                self.path,
                f"{name!r}: a logarithm to base 10, or the natural one?",
                option,
                [f"{name}:log10", f"{name}:ln", f"{name}:linear"],
            )
        with np.errstate(over="ignore"):
            if scale == "log10":
                return 10.0**values, f"{own.name!r}: the logarithm to base 10 is undone"
            if scale == "ln":
                return np.exp(values), f"{own.name!r}: the natural logarithm is undone"
            if scale in ("dB", "dBm"):
                to = "mW" if scale == "dBm" else "a ratio of powers"
                return 10.0 ** (values / 10), f"{own.name!r}: {scale} is converted to {to}"
        return values, ""

    def _lose(self, lost: dict[int, str], found: dict[int, str], name: str) -> None:
        for at, why in found.items():
            lost.setdefault(at, f"{name}: {why}")

    def _take_out(self, values: FloatArray, found: dict[int, str], lost: dict[int, str], name: str) -> None:
        self._lose(lost, found, name)
        for at in found:
            values[at] = np.nan

    def _where(self, pump: _Pump, scale_said: str) -> list[str]:
        x, y = self.chosen.x, self.chosen.y
        line = "" if self.line is None else f" (line {self.line})"
        why_x, why_y = self.chosen.why
        unscaled = self._unscaled(np.empty(0), self.headings[x], "x")[1]
        first = "; ".join(part for part in (why_x, pump.said, unscaled) if part)
        second = "; ".join(part for part in (why_y, scale_said) if part)
        said = [f"pump: {self._name(x)!r}{line}, {first}", f"signal: {self._name(y)!r}, {second}"]
        if pump.quantity in (FLUENCE, "intensity", "photon fluence"):
            said.append(f"{pump.quantity} convention (peak or average): {pump.convention or 'not stated'}")
        return [text.rstrip(", ") for text in said]

    def _rest(self) -> list[str]:
        known = {
            "linewidth": self.chosen.width if self._fwhm() is not None else None,
            "number of lines": self.chosen.lines,
            "errors of the pump": self.chosen.x_sigma,
        }
        said = [f"{what}: {self._name(at)!r}" for what, at in known.items() if at is not None]
        marks = [at for at in (self.chosen.x, self.chosen.y) if self._column(at).grouped]
        if marks:
            names = " and ".join(repr(self._name(at)) for at in marks)
            said.append(f"marks between thousands were taken out of {names}")
        if self.chosen.others:
            said.append(f"not used: {', '.join(self.chosen.others[:8])}")
        return said

    def _column(self, at: int) -> Numbers:
        column = self.columns[at]
        assert column is not None
        return column

    def _values(self, at: int) -> FloatArray:
        return self._column(at).values

    def _name(self, at: int) -> str:
        return self.headings[at].name

    def _taken_names(self) -> str:
        names = f"{self._name(self.chosen.x)!r} and {self._name(self.chosen.y)!r}"
        return f"{names} were taken; name others with --x, --y"


def _of_area(quantity: str, stated: str | None) -> str | None:
    """A convention is one of what falls on an area."""
    return stated if quantity in (FLUENCE, "intensity", "photon fluence", "pump", "carrier density") else None
