"""What a calibration is given, and what it shows while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from labctl.model.calibration import Calibration, CalibrationKind
from labctl.model.clock import Stop
from labctl.model.errors import Aborted, CalibrationRefused
from labctl.model.pump import Bands, Limits, PumpSettings
from labctl.model.records import Identity
from labctl.model.roles import Operator, Request, Roles
from procedures.calibration.worst import Course


@dataclass(frozen=True, kw_only=True)
class CalOptions:
    """Common to all.

    :param valid_days: how long the result may be used without a warning, > 0.
    :param sensor_limit_w: mean power that the power meter's head survives, W; None: not stated, then the
        person who puts it into the beam is told what may come and decides.
    :param readings: averaged readings of the meter at each setting, >= 2.
    """

    operator: str = ""
    note: str = ""
    valid_days: float = 30.0
    sensor_limit_w: float | None = None
    readings: int = 4


@dataclass(frozen=True, kw_only=True)
class AttenuatorOptions(CalOptions):
    """Plate and polariser, or wheel.

    :param form: "malus" (half-wave plate and polariser) or "table" (gradient wheel).
    :param place: where the meter stands; "" takes the pick-off if it stands behind the attenuator, else the
        sample.
    :param points: angles of the fine scan; ``pairs`` approaches from each side that measure the backlash.
    """

    form: str = "malus"
    place: str = ""
    points: int = 24
    pairs: int = 8


@dataclass(frozen=True, kw_only=True)
class PickoffOptions(CalOptions):
    """Two places of one sensor.

    :param points: powers at which the two places are compared.
    :param filters: losses and filters between pick-off and sample by name, each with its transmission; words
        for the record, the ratio is measured with all of them in.
    """

    points: int = 8
    filters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EnergyOptions(CalOptions):
    """Pulses and their rate.

    :param rate_hz: repetition rate as stated, for heads that cannot count; None: the bench file's.
    :param rate_sigma_hz: standard uncertainty of it.
    :param drift_s: how long the drift is watched, s.
    :param pulses: single pulses read one by one where the head can.
    :param pulse_width_fs: measured AT THE SAMPLE; its standard uncertainty ``pulse_width_sigma_fs``.
    :param pulse_fs: before the glasses, to compute the width at the sample, with ``pulse_sigma_fs``.
    :param glasses: millimetres by name, e.g. {"fused-silica": 12.0, "n-bk7": 5.0}.
    """

    rate_hz: float | None = None
    rate_sigma_hz: float = 0.0
    drift_s: float = 60.0
    pulses: int = 400
    pulse_width_fs: float | None = None
    pulse_width_sigma_fs: float = 0.0
    pulse_fs: float | None = None
    pulse_sigma_fs: float = 0.0
    glasses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SpotOptions(CalOptions):
    """Where the sample stands.

    :param method: "stage", "hand", or "stated"; "" takes the stage if there is one.
    :param points: readings on slope and plateaus of each axis, 12 to 60; 0: 28 with a stage, 18 manually.
    :param shape: "gaussian" is measured; "ellipse" and "stripe" are stated by ``x_um`` and ``y_um`` with
        ``size_sigma_um``.
    :param range_um: lowest and highest position of a blade moved by hand.
    :param position_sigma_um: standard uncertainty of one position, None: found from the residuals;
        ``scale_sigma_rel`` relative one of the micrometer's or the stage's scale.
    :param absorption_csv: content of a table of wavelength (nm) and transmittance (0 to 1), with
        ``optical_density`` of optical density; for one-photon pumping.
    :param pump_fwhm_nm: width of the pump's spectrum; None: that of a Gaussian pulse as long as stated.
    """

    method: str = ""
    points: int = 0
    shape: str = "gaussian"
    x_um: float | None = None
    y_um: float | None = None
    size_sigma_um: float = 0.0
    incidence_deg: float | None = None
    incidence_sigma_deg: float = 0.5
    range_um: tuple[float, float] = (0.0, 10000.0)
    position_sigma_um: float | None = None
    scale_sigma_rel: float = 0.001
    absorption_csv: str = ""
    optical_density: bool = False
    reflectance: float = 0.0
    pump_fwhm_nm: float | None = None


@dataclass(frozen=True, kw_only=True)
class SpectrometerOptions(CalOptions):
    """Axis, resolution, darks and linearity.

    :param lamps: names out of "hg-ar", "ne", "kr", one after another.
    :param linearity: measure the nonlinearity even where the device has coefficients of its own.
    :param frames: exposures averaged at each setting.
    """

    lamps: tuple[str, ...] = ("hg-ar",)
    linearity: bool = False
    frames: int = 20


OPTIONS: Mapping[CalibrationKind, type[CalOptions]] = MappingProxyType(
    {
        "attenuator": AttenuatorOptions,
        "pickoff": PickoffOptions,
        "energy": EnergyOptions,
        "spot": SpotOptions,
        "spectrometer": SpectrometerOptions,
    }
)


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

    :param settings: the pump from the bench file it, which may be nominal: nothing rests on its curve,
        its pick-off ratio or its spot but first guesses and upper bounds.
    :param identities: by role; what was measured with which instrument.
    :param operator: does what no motor does.
    :param options: of the calibration's kind, out of :mod:`procedures.calibration.context`.
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
                f"refused by the operator: {request.text}", "start again when this can be done"
            ) from None


Steps = Generator[CalStep, None, Calibration]
CalProcedure = Callable[[CalContext], Steps]
