"""The size of the pump spot where the sample stands: a blade through it along both axes, or stated sizes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, cast

import numpy as np
import scipy

from labctl.analysis.calibration.spot import KnifeFit, absorptance, ellipticity, fit_knife_edge
from labctl.model.calibration import Calibration
from labctl.model.errors import CalibrationRefused, ConfigError, SafetyStop
from labctl.model.pump import PumpSettings
from labctl.model.roles import LIGHT, Request
from procedures.calibration import scanning
from procedures.calibration.context import CalContext, CalStep, SpotOptions, Steps
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import brightest_deg, scan_in_front, survey
from procedures.calibration.worst import Look
from procedures.gate.safe_state import retried

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
                    f"row {number} of the absorption spectrum is not a pair of numbers: "
                    f"{' '.join(cells)[:60]!r}"
                ) from None
    if not rows:
        raise CalibrationRefused("the absorption spectrum has no rows of wavelength and value")
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


Axis = Literal["x", "y"]
ARRIVAL_UM = 5.0
APPROACH_UM = 100.0
"""A stage comes from below, so that its play does not count."""
TRIES = 3
ROUNDED_UM = 1.0
FAR_UM = 1000.0
"""A reading farther from the position asked for is doubted once: it may be in mm, or lack a digit."""
_WAY = {"x": "horizontally", "y": "vertically"}


class Knife(Protocol):
    """A blade along one axis."""

    range_um: tuple[float, float]

    def begin(self, axis: Axis) -> None:
        """Mount it along an axis."""

    def look(self, position_um: float) -> tuple[float, Look]:
        """Read the meter with the blade at a position; return the position found, and the reading."""


class StageKnife:
    """A blade on the motorised stage; the shutter stays open while it moves.

    :raises CalibrationRefused: the bench has no stage.
    """

    def __init__(self, beam: MeteredBeam, angle_deg: float) -> None:
        stage = beam.context.roles.stage
        if stage is None:
            raise CalibrationRefused(
                "this bench has no stage", "add [stage] to the bench file, or use --method hand"
            )
        self._stage, self._beam, self._angle_deg = stage, beam, angle_deg
        self.range_um = stage.range_um

    def begin(self, axis: Axis) -> None:
        """Have the blade mounted, and the stage referenced."""
        text = (
            f"Mount the knife edge on the stage to cut the beam {_WAY[axis]} ({axis}). The shutter is closed."
        )
        self._beam.ask(Request("knife", text, {"axis": axis}, word=LIGHT))
        if not retried(self._stage.is_referenced):
            self._stage.home(self._beam.context.stop)
            if not retried(self._stage.is_referenced):
                raise SafetyStop(f"{self._stage.name} does not report homed after homing")

    def look(self, position_um: float) -> tuple[float, Look]:
        """Move from below, and read.

        :raises SafetyStop: it does not arrive.
        """
        with self._beam.guard():
            stop = self._beam.context.stop
            self._stage.move_to(max(position_um - APPROACH_UM, self.range_um[0]), stop)
            found = self._stage.move_to(position_um, stop)
            self._beam.changed()
            if not abs(found - position_um) <= ARRIVAL_UM:
                raise SafetyStop(f"{self._stage.name} is at {found:.1f} instead of {position_um:.1f} um")
        return found, self._beam.look(self._angle_deg, keep_open=True, bare=False)


class HandKnife:
    """A blade on a micrometer screw; the shutter is closed while hands are near the beam."""

    def __init__(self, beam: MeteredBeam, angle_deg: float, range_um: tuple[float, float]) -> None:
        self._beam, self._angle_deg, self.range_um = beam, angle_deg, range_um
        self._axis: Axis = "x"

    def begin(self, axis: Axis) -> None:
        """Remember the axis; the first position says where the blade goes."""
        self._axis = axis

    def look(self, position_um: float) -> tuple[float, Look]:
        """Have a position set, coming from below, and read; what the scale shows counts, not what was asked.

        :raises CalibrationRefused: what was read lies outside of the range, time and again.
        """
        position = self._set(float(round(position_um)))
        return position, self._beam.look(self._angle_deg, bare=False)

    def _set(self, wanted: float) -> float:
        why, before = "", None
        for _ in range(TRIES):
            text = (
                f"{why}Set the knife edge to about {wanted:.0f} um along {self._axis} ({_WAY[self._axis]}), "
                f"from below, and read its scale. Next: the shutter opens and the power is read."
            )
            values = {"axis": self._axis, "position_um": wanted}
            read = self._beam.ask(Request("knife", text, values, number="um", suggested=wanted))
            position = wanted if read is None else read
            why = self._doubt(position, wanted, before)
            if not why:
                return position
            before = position
        raise CalibrationRefused(why.strip(), "state the micrometer's range with --blade-range")

    def _doubt(self, position: float, wanted: float, before: float | None) -> str:
        low, high = self.range_um
        if not low - ROUNDED_UM <= position <= high + ROUNDED_UM:
            return f"{position:g} um is outside the range of the knife edge, {low:g} to {high:g} um. "
        if abs(position - wanted) > FAR_UM and position != before:
            return f"{position:g} um is far from the requested position: if it is correct, type it again. "
        return ""


def take_out(beam: MeteredBeam, *, word: str = "") -> None:
    """Have the blade taken out of the beam.

    :param word: to be typed, where light follows.
    """
    beam.ask(Request("knife", "Remove the knife edge from the beam.", {"position_um": None}, word=word))


FINEST_UM = 4.0
"""Two positions closer than this with the edge between them: the spot is too small for this blade."""
SLOPE = 0.66
"""Part of the readings that lie on the slope, within one radius of the centre; the rest on the plateaus."""
REFERENCE_EVERY = 5
NEAR = 3.0
"""Readings of the search count in the fit up to so many radii from the centre."""
CLEAR = 0.06
"""A plateau is reached when this part of the power, or less, is missing."""


@dataclass(slots=True)
class EdgeScan:
    """Positions and readings in the order in which they were made."""

    axis: Axis
    position_um: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def near(self, centre_um: float, within_um: float) -> EdgeScan:
        """Return the readings not farther from a position."""
        keep = [i for i, x in enumerate(self.position_um) if abs(x - centre_um) <= within_um]
        return EdgeScan(self.axis, [self.position_um[i] for i in keep], [self.looks[i] for i in keep])

    def add(self, position_um: float, look: Look) -> float:
        """Add a reading and return its power."""
        self.position_um.append(position_um)
        self.looks.append(look)
        return look.power_w


class Edge:
    """Finds and scans the edge along one axis."""

    def __init__(self, knife: Knife, axis: Axis, points: int, progress: tuple[float, float]) -> None:
        self._knife, self._points, self._progress = knife, points, progress
        self.scan = EdgeScan(axis)
        self._low_w = self._span_w = 0.0

    def run(self) -> Generator[CalStep, None, EdgeScan]:
        """Find the edge, guess its width, and scan it.

        :raises CalibrationRefused: there is no edge between the ends of the range, or it is too sharp.
        """
        self._knife.begin(self.scan.axis)
        yield from self._ends()
        middle = yield from self._bisect()
        yield from self._widen(middle)
        centre_um, w_um = self._guess()
        out_um = self._clear_um(centre_um, w_um)
        self.scan = self.scan.near(centre_um, NEAR * w_um)
        for i, position in enumerate(self._positions(centre_um, w_um)):
            if i % REFERENCE_EVERY == 0:
                yield self._read(out_um, i)
            yield self._read(position, i)
        yield self._read(out_um, self._points)
        return self.scan

    def _read(self, position_um: float, i: int) -> CalStep:
        found, look = self._knife.look(position_um)
        self.scan.add(found, look)
        low, high = self._progress
        part = low + (high - low) * (0.3 + 0.7 * i / self._points)
        text = f"{self.scan.axis} {found:9.1f} um  {look.power_w * 1e6:10.5g} uW"
        return CalStep(self.scan.axis, text, found, look.power_w, "W", "um", look.sigma_w, part)

    def _part(self, i: int = -1) -> float:
        return (self.scan.looks[i].power_w - self._low_w) / self._span_w

    def _ends(self) -> Generator[CalStep, None, None]:
        """Read the ends of the range: one must be covered, the other free."""
        for position in self._knife.range_um:
            yield self._read(position, 0)
        first, last = (look.power_w for look in self.scan.looks)
        self._low_w, self._span_w = min(first, last), abs(last - first)
        noise = 10 * max(look.sigma_w for look in self.scan.looks)
        if self._span_w <= max(0.5 * max(first, last), noise):
            low, high = self._knife.range_um
            missing = "the free beam" if max(first, last) <= noise else "the covered beam"
            raise CalibrationRefused(
                f"between {low:.0f} and {high:.0f} um along {self.scan.axis} the knife edge does not cross "
                f"the beam: {missing} is missing",
                "move the mount of the knife edge, and start again",
            )

    def _bisect(self) -> Generator[CalStep, None, float]:
        """Halve the range until a reading lies on the slope."""
        rising = self.scan.looks[1].power_w > self.scan.looks[0].power_w
        low, high = self._knife.range_um
        while True:
            middle = (low + high) / 2
            if high - low < FINEST_UM:
                raise CalibrationRefused(
                    f"the edge along {self.scan.axis} lies within {FINEST_UM:g} um: the spot is too small, "
                    f"or the knife edge jumps"
                )
            yield self._read(middle, 0)
            part, found = self._part(), self.scan.position_um[-1]
            if 0.2 < part < 0.8:
                return found
            at = found if low < found < high else middle  # hands may have set it a little elsewhere
            low, high = (low, at) if (part > 0.5) is rising else (at, high)

    def _widen(self, middle_um: float) -> Generator[CalStep, None, None]:
        """Go out from the slope in doubled steps until both plateaus are reached."""
        for sign in (-1.0, 1.0):
            step = 2 * FINEST_UM
            while True:
                position = middle_um + sign * step
                if not self._knife.range_um[0] < position < self._knife.range_um[1]:
                    break
                yield self._read(position, 0)
                if not CLEAR < self._part() < 1 - CLEAR:
                    break
                step *= 2

    def _guess(self) -> tuple[float, float]:
        """Centre and 1/e2 radius from the readings on the slope, straightened."""
        x = np.array(self.scan.position_um)
        part = np.array([self._part(i) for i in range(x.size)])
        on = (part > 0.02) & (part < 0.98)
        if np.unique(x[on]).size < 2:
            raise CalibrationRefused(
                f"only {int(on.sum())} reading lies on the edge along {self.scan.axis}: the spot is too small"
            )
        slope, offset = np.polyfit(x[on], scipy.special.ndtri(part[on]), 1)
        if slope == 0 or not math.isfinite(slope):
            raise CalibrationRefused(f"the readings along {self.scan.axis} do not show an edge")
        return float(-offset / slope), float(2.0 / abs(slope))

    def _positions(self, centre_um: float, w_um: float) -> list[float]:
        """Slope and plateaus, in two passes so that drift and position do not go together.

        :raises CalibrationRefused: a plateau lies outside the range.
        """
        slope = max(round(SLOPE * self._points), 8)
        sides = max(self._points - slope, 4)
        far = np.linspace(1.2, 1.8, (sides + 1) // 2)
        parts = np.concatenate([-far[::-1], np.linspace(-0.95, 0.95, slope), far[: sides // 2]])
        positions = centre_um + w_um * parts
        low, high = self._knife.range_um
        if positions[0] < low or positions[-1] > high:
            raise CalibrationRefused(
                f"the edge along {self.scan.axis} lies at {centre_um:.0f} um, too near to an end of the "
                f"range ({low:.0f} to {high:.0f} um)",
                "move the mount of the knife edge, and start again",
            )
        return [float(p) for p in (*positions[::2], *positions[1::2])]

    def _clear_um(self, centre_um: float, w_um: float) -> float:
        """Where the blade leaves the whole beam free, not farther off than needed."""
        looks, x = self.scan.looks, self.scan.position_um
        brightest = max(range(len(x)), key=lambda i: looks[i].power_w)
        side = 1.0 if x[brightest] > centre_um else -1.0
        low, high = self._knife.range_um
        return min(max(centre_um + side * 3.0 * w_um, low), high)


METHODS = {"stage": "knife edge, stage", "hand": "knife edge, manual", "stated": "stated"}
POINTS = {"stage": 28, "hand": 18}
AXES: tuple[Axis, Axis] = ("x", "y")


def calibrate_spot(context: CalContext) -> Steps:
    """Scan a blade along x and y behind the brightest setting that is allowed; fit.

    :raises CalibrationRefused: an edge is missed, or sizes are to be stated and are not.
    """
    options, method = _options(context)
    found = Findings()
    add_absorptance(found, context.settings, options)  # refused before anybody moves a blade
    if method == "stated":
        _stated(found, context, options)
        yield CalStep("note", "sizes as stated", progress=0.9)
    else:
        yield from _measured(found, context, options, method)
    _angle(found, context, options)
    return _finished(found, context, options, method)


def _options(context: CalContext) -> tuple[SpotOptions, str]:
    options = cast("SpotOptions", context.options)
    method = options.method or ("hand" if context.roles.stage is None else "stage")
    if method not in METHODS:
        raise ConfigError(f"invalid method {method!r}; choose {', '.join(METHODS)}", key="method")
    if options.shape not in ("gaussian", "ellipse", "stripe"):
        raise ConfigError(f"invalid shape {options.shape!r}; choose gaussian, ellipse or stripe", key="shape")
    if options.shape != "gaussian" and method != "stated":
        if options.method:
            raise ConfigError(
                "a knife edge measures a gaussian; an ellipse or a stripe must be stated", key="shape"
            )
        method = "stated"
    if options.points == 0:
        options = replace(options, points=POINTS.get(method, 18))
    if not 12 <= options.points <= 60:
        raise ConfigError(f"must be 12 to 60 points, not {options.points}", key="points")
    if not options.range_um[0] < options.range_um[1]:
        raise ConfigError("must be lowest and highest position", key="range_um")
    return options, method


def _stated(found: Findings, context: CalContext, options: SpotOptions) -> None:
    """Sizes as somebody says: of a stripe or an ellipse, cut out of a wider beam by a slit or a lens."""
    sizes = [_size(context, options, axis) for axis in AXES]
    for axis, size in zip(AXES, sizes, strict=True):
        if size is None or not (math.isfinite(size) and size > 0):
            raise CalibrationRefused(f"the size along {axis} is missing, or no length", f"--{axis}-um")
        if not 0 <= options.size_sigma_um < size:
            raise CalibrationRefused(f"its uncertainty of {options.size_sigma_um:g} um is not valid")
        found.quantity(f"{axis}_um", size, "um", 0.0, options.size_sigma_um)
    small, large = sorted(size for size in sizes if size is not None)
    relative = options.size_sigma_um * math.hypot(1 / small, 1 / large)
    found.quantity("ellipticity", small / large, "1", 0.0, small / large * relative)
    found.flags.append("sizes stated, not measured")


def _size(context: CalContext, options: SpotOptions, axis: Axis) -> float | None:
    """Return a stated size; ask for it where it was not given."""
    given = options.x_um if axis == "x" else options.y_um
    if given is not None:
        return given
    what = {"gaussian": "1/e2 radius", "ellipse": "semi-axis", "stripe": "half-length"}[options.shape]
    return context.ask(
        Request("confirm", f"Type the {what} of the {options.shape} along {axis}.", number="um")
    )


def _measured(
    found: Findings, context: CalContext, options: SpotOptions, method: str
) -> Generator[CalStep, None, None]:
    yield from scan_in_front(context, (0.0, 0.02))
    with MeteredBeam(context, "sample") as beam:
        beam.place_meter()
        take_out(beam, word=LIGHT)
        beam.learn_zero()
        _, law = yield from survey(beam, (0.02, 0.15))
        angle_deg = brightest_deg(beam, law)
        knife: Knife = HandKnife(beam, angle_deg, options.range_um)
        if method == "stage":
            knife = StageKnife(beam, angle_deg)
        fits: list[KnifeFit] = []
        for axis, progress in zip(AXES, ((0.15, 0.55), (0.55, 0.95)), strict=True):
            scan = yield from Edge(knife, axis, options.points, progress).run()
            beam.close()
            fits.append(_fit(scan, context, options))
            found.looks(f"{axis}_", scan.looks, f"{axis}_position_um", scan.position_um)
            yield _fit_step(axis, fits[-1], scan, progress[1])
        take_out(beam)
        scanning.leave(beam)
        beam.restore()
        found.filters(beam.filters)
        found.doubts(beam.gauge.doubts)
    _radii(found, fits)


def _fit(scan: EdgeScan, context: CalContext, options: SpotOptions) -> KnifeFit:
    return fit_knife_edge(
        scan.position_um,
        [look.power_w for look in scan.looks],
        [look.sigma_w for look in scan.looks],
        position_sigma_um=options.position_sigma_um,
        position_scale_rel=options.scale_sigma_rel,
        time_s=[look.at_s for look in scan.looks],
        readings=context.options.readings,
    )


def _fit_step(axis: Axis, fit: KnifeFit, scan: EdgeScan, progress: float) -> CalStep:
    x = np.linspace(fit.centre_um - 2.5 * fit.w_um, fit.centre_um + 2.5 * fit.w_um, 101)
    curve = (tuple(x.tolist()), tuple(fit.power_at(x).tolist()))
    text = f"{axis}: w = {fit.w_um:.2f} +- {fit.w_sigma_um:.2f} um from {len(scan.looks)} readings"
    return CalStep("fit", text, unit="W", x_unit="um", progress=progress, series=axis, curve=curve)


def _radii(found: Findings, fits: list[KnifeFit]) -> None:
    for axis, fit in zip(AXES, fits, strict=True):
        found.quantity(f"{axis}_um", fit.w_um, "um", fit.w_sigma_um, fit.w_scale_um)
        found.facts[f"{axis}_centre_um"] = fit.centre_um
        found.facts[f"{axis}_scatter_rel"] = fit.scatter_rel
        found.flags += [f"{axis} {flag}" for flag in fit.flags]
    shape = ellipticity(*fits)
    found.quantity("ellipticity", shape.value, "1", shape.sigma)
    if not shape.round:
        found.flags.append("elliptical")


def _angle(found: Findings, context: CalContext, options: SpotOptions) -> None:
    """State the angle of incidence."""
    incidence = context.settings.incidence_deg if options.incidence_deg is None else options.incidence_deg
    if not 0 <= incidence < 90:
        raise ConfigError(f"must be 0 to 90 degrees, not {incidence:g}", key="incidence_deg")
    found.quantity("incidence_deg", incidence, "deg", 0.0, options.incidence_sigma_deg)


def _finished(found: Findings, context: CalContext, options: SpotOptions, method: str) -> Calibration:
    shape = cast("Literal['gaussian', 'ellipse', 'stripe']", options.shape)
    found.facts |= {"shape": shape, "convention": context.settings.convention, "method": METHODS[method]}
    found.facts["wavelength_nm"] = context.settings.wavelength_nm
    return found.calibration("spot", context)
