"""A flight: shots taken while the attenuator's plate turns forth and back, and what comes of it.

Times are in s on the clock of the shots, angles in degrees of the mount, fluences in uJ/cm2 in the run's
convention.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labctl.model.records import FloatArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PlateLaw:
    """How a plate turns when it is sent over one and the same way, measured once.

    It starts with the command, rises to its speed in ``ramp_s``, falls from it likewise, and has then turned
    by the way that was asked for.

    :param duration_s: from the command to rest, for ``way_deg``, on the clock of the commands, s.
    :param duration_sigma_s: its standard error, s.
    :param way_deg: the way that was measured, degrees, > 0.
    :param latency_s: what the clock of the shots is ahead of that of the commands, messages included, s.
    :param latency_sigma_s: its standard error, s.
    :param reply_s: from rest to the report of it, s.
    :param reply_sigma_s: its standard error, s.
    :param ramp_s: time, s, of the speed at either end, 0 for a plate that starts at once.
    """

    duration_s: float
    duration_sigma_s: float
    way_deg: float
    latency_s: float = 0.0
    latency_sigma_s: float = 0.005
    reply_s: float = 0.0
    reply_sigma_s: float = 0.0
    ramp_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One pass of the plate.

    :param command_s: when the command left, s, on its own clock.
    :param start_deg: where the plate rested, degrees.
    :param stop_deg: where it was sent, degrees.
    :param reply_s: when it reported its rest, s, same clock; None where that is not known.
    """

    command_s: float
    start_deg: float
    stop_deg: float
    reply_s: float | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A fluence that the power meter measured with the plate at rest.

    :param angle_deg: read back, degrees.
    :param fluence_uj_cm2: mean of the pulses, uJ/cm2.
    :param fluence_sigma_rel: its relative standard error, without the scale's.
    :param noise_rel: noise of one reading of the meter over that reading.
    """

    angle_deg: float
    fluence_uj_cm2: float
    fluence_sigma_rel: float
    noise_rel: float


@dataclass(frozen=True, slots=True)
class Shots:
    """Shots of a flight in order; arrays of shape ``(n,)``.

    :param time_s: of the pulses, s.
    :param signal: light in the band, dark subtracted and linear, counts.
    :param clipped: True where a pixel of the band was saturated.
    """

    time_s: FloatArray = field(repr=False)
    signal: FloatArray = field(repr=False)
    clipped: Bools = field(repr=False)


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with what was known of it before the flight, and after.

    :param value: after, in the unit of the quantity's name.
    :param sigma: its standard error.
    :param before: before, same unit.
    :param before_sigma: its standard error.
    """

    value: float
    sigma: float
    before: float
    before_sigma: float


@dataclass(frozen=True, slots=True)
class Motion:
    """Where the plate was, as the shots say.

    :param latency_s: of the clock of the shots against that of the commands.
    :param duration_s: of one pass.
    :param zero_deg: angle of highest transmission.
    :param leakage: least transmission over the highest.
    :param flags: "law" where the shots or the plate's own status contradict the law.
    """

    latency_s: Measured
    duration_s: Measured
    zero_deg: Measured
    leakage: Measured
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PumpScatter:
    """Pump light in the spectra, which shots hold and darks do not.

    :param counts_per_uj_cm2: of one pixel outside the emission.
    :param sigma: its standard error, same unit.
    :param share: of the signal at the lowest fluence, if it lies as much under the emission; None where that
        signal is not above 0.
    """

    counts_per_uj_cm2: float
    sigma: float
    share: float | None
