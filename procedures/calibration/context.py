"""What a calibration is given, and what it shows while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from labctl.model.calibration import Calibration
from labctl.model.clock import Stop
from labctl.model.errors import Aborted, CalibrationRefused
from labctl.model.operator import Operator, Request
from labctl.model.pump import Bands, Limits, PumpSettings
from labctl.model.records import Identity
from labctl.model.roles import Roles
from procedures.calibration.options import CalOptions
from procedures.calibration.worst import Course

log = logging.getLogger(__name__)

Place = Literal["pick-off", "sample"]


@dataclass(frozen=True, slots=True)
class CalStep:
    """One thing to show live: a reading, a line of text, or the fitted curve.

    :param what: the series it belongs to: "scan", "backlash", "check", "ratio", "pulse", "drift", "x", "y",
        "dark", "lamp"...; "note" for text alone, "fit" for a curve over a series.
    :param x: abscissa in ``x_unit`` (deg, um, s, nm, W); None where there is none.
    :param y: value in ``unit``; ``sigma`` its standard error where it is known.
    :param progress: part of the whole calibration that is done, 0 to 1; it may jump.
    :param text: one plain line on it.
    :param curve: for "fit": abscissas and values of the fitted curve, both of shape ``(n,)``; ``series`` says
        which readings it belongs to.
    """

    what: str
    text: str
    x: float | None = None
    y: float | None = None
    unit: str = ""
    x_unit: str = ""
    sigma: float | None = None
    progress: float = 0.0
    series: str = ""
    curve: tuple[tuple[float, ...], tuple[float, ...]] | None = None


@dataclass(frozen=True, slots=True)
class CalContext:
    """Everything a calibration works with.

    :param settings: the pump as the bench file states it, which may be nominal: nothing rests on its curve,
        its pick-off ratio or its spot but first guesses and upper bounds.
    :param identities: by role; what was measured with which instrument.
    :param operator: does what no motor does.
    :param options: of the calibration's kind, out of :mod:`procedures.calibration.options`.
    :param course: what becomes of dose and darkest angle; also to be read afterwards.
    :param utc: the present time as ISO 8601 text; given in, so that tests and simulated benches choose it.
    :param version: of labctl.
    :param tell: told at once, in one line, what went wrong with the light.
    """

    roles: Roles
    settings: PumpSettings
    limits: Limits
    operator: Operator
    options: CalOptions
    identities: Mapping[str, Identity] = field(default_factory=dict)
    bands: Bands | None = None
    stop: Stop | None = None
    utc: Callable[[], str] | None = None
    version: str = ""
    course: Course = field(default_factory=Course)
    tell: Callable[[str], object] = log.warning

    def ask(self, request: Request) -> float | None:
        """Have something done by hand.

        :raises CalibrationRefused: it was refused.
        :raises Aborted: the user stopped.
        """
        try:
            return self.operator.do(request, self.stop)
        except Aborted:
            if self.stop is not None and self.stop.is_set():
                raise
            raise CalibrationRefused(
                f"refused by hand: {request.text}", "start again when it can be done"
            ) from None


Steps = Generator[CalStep, None, Calibration]
CalProcedure = Callable[[CalContext], Steps]
