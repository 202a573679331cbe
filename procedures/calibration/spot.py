"""The size of the pump spot where the sample stands: a blade through it along both axes, or stated sizes."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from typing import Literal, cast

import numpy as np

from labctl.analysis.calibration.knife import KnifeFit, ellipticity, fit_knife_edge
from labctl.model.calibration import Calibration
from labctl.model.errors import CalibrationRefused, ConfigError
from labctl.model.hands import LIGHT, Request
from procedures.calibration import filters
from procedures.calibration.absorbing import add_absorptance
from procedures.calibration.blade import Axis, HandKnife, Knife, StageKnife, take_out
from procedures.calibration.context import CalContext, CalStep, Steps
from procedures.calibration.edge import Edge, EdgeScan
from procedures.calibration.options import SpotOptions
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import brightest_deg, scan_in_front, survey

METHODS = {"stage": "knife edge, stage", "hand": "knife edge, by hand", "stated": "stated"}
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
        raise ConfigError(f"{method!r} is none of {', '.join(METHODS)}", key="method")
    if options.shape not in ("gaussian", "ellipse", "stripe"):
        raise ConfigError(f"{options.shape!r} is none of gaussian, ellipse, stripe", key="shape")
    if options.shape != "gaussian" and method != "stated":
        if options.method:
            raise ConfigError("a blade measures a gaussian; an ellipse or a stripe is stated", key="shape")
        method = "stated"
    if options.points == 0:
        options = replace(options, points=POINTS.get(method, 18))
    if not 12 <= options.points <= 60:
        raise ConfigError(f"12 to 60 points are possible, not {options.points}", key="points")
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
            raise CalibrationRefused(f"its uncertainty of {options.size_sigma_um:g} um makes no sense")
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
        filters.leave(beam)
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
