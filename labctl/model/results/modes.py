"""What the lines of a run say: the onset of each, and whether their places are those of a cavity.

Fluences are in uJ/cm2 in the run's convention. Absent numbers are None; arrays hold nan instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from labctl.model.mapping import NOT_STORED
from labctl.model.records import FloatArray

ModeStatus = Literal["found", "below_range", "above_range", "not_found", "refused", "not_followed"]
Regularity = Literal["irregular", "comb", "two combs", "undecided", "too few lines"]

_SHOWN = 4
"""Modes that a sentence names."""


@dataclass(frozen=True, slots=True)
class LineLight:
    """Light of one line at every fluence that was used, in order of fluence; arrays of shape ``(k,)``.

    :param fluence_uj_cm2: uJ/cm2.
    :param light: counts per pulse above the luminescence under the line; about 0 below its onset.
    :param light_sigma: its standard error from the noise of the pixels alone.
    :param wavelength_nm: where the line was seen, nm; nan where it was not.
    """

    fluence_uj_cm2: FloatArray
    light: FloatArray
    light_sigma: FloatArray
    wavelength_nm: FloatArray


@dataclass(frozen=True, slots=True)
class ModeOnset:
    """One line of the spectra and the onset of its light.

    :param wavelength_nm: where it was seen at the highest fluence, nm.
    :param fwhm_nm: its width as seen, the slit in it, nm.
    :param status: as of a threshold; "not_followed" where its light cannot be told from that of others.
    :param reason: one sentence.
    :param onset_uj_cm2: from a fit of the light of this line alone, uJ/cm2.
    :param ci95: its 95 % interval, uJ/cm2, without the error of the fluence's scale.
    :param bound: (lower, upper) one-sided bound, uJ/cm2, one of them None.
    :param seen: at how many points the line stands above the noise.
    :param share: of the light in all lines, at the highest fluence where it was seen; 0 to 1.
    :param light: its light-light curve.
    """

    wavelength_nm: float
    fwhm_nm: float
    status: ModeStatus
    reason: str = ""
    onset_uj_cm2: float | None = None
    ci95: tuple[float, float] | None = None
    bound: tuple[float | None, float | None] | None = None
    seen: int = 0
    share: float = 0.0
    light: LineLight | None = field(default=None, compare=False, repr=False, metadata=NOT_STORED)

    @property
    def text(self) -> str:
        """What it is, in words, called the first mode."""
        if self.onset_uj_cm2 is None or self.ci95 is None:
            return f"mode at {self.wavelength_nm:.2f} nm: {self.reason}"
        low, high = self.ci95
        return (
            f"first mode at {self.wavelength_nm:.2f} nm from {self.onset_uj_cm2:.4g} uJ/cm2, "
            f"95 % interval {low:.4g} to {high:.4g}"
        )


@dataclass(frozen=True, slots=True)
class Modes:
    """The lines of a run, mode by mode.

    :param modes: with an onset, a bound or neither, the earliest onset first; then those not followed.
    :param reason: why there are none; empty where there are.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("text",)

    modes: tuple[ModeOnset, ...] = ()
    reason: str = ""

    @property
    def found(self) -> tuple[ModeOnset, ...]:
        """The modes with an onset, the earliest first."""
        return tuple(mode for mode in self.modes if mode.onset_uj_cm2 is not None)

    @property
    def first(self) -> ModeOnset | None:
        """The mode of the earliest onset, None without one."""
        return next(iter(self.found), None)

    @property
    def not_followed(self) -> int:
        """How many lines hop, cross or exchange light."""
        return sum(mode.status == "not_followed" for mode in self.modes)

    @property
    def text(self) -> str:
        """What they say, in one line; the first mode first."""
        parts = [
            f"{mode.wavelength_nm:.2f} nm from {mode.onset_uj_cm2:.4g} ({low:.4g} to {high:.4g})"
            for mode in self.found[:_SHOWN]
            for low, high in [mode.ci95 or (math.nan, math.nan)]
        ]
        more, lost = len(self.found) - len(parts), self.not_followed
        parts += [f"{more} more, later"] if more > 0 else []
        said = "no mode with an onset of its own"
        if parts:
            said = f"modes, onset of each line in uJ/cm2: {'; '.join(parts)}"
        if lost:
            said += f"; {lost} line{'s' if lost > 1 else ''} not followed: they hop, cross or exchange light"
        return f"{said} ({self.reason})" if self.reason else said


@dataclass(frozen=True, slots=True)
class Randomness:
    """Whether the lines lie as those of a cavity do, and whether they move.

    :param verdict: "irregular", as of a random laser; "comb" or "two combs", as of a cavity; "undecided"; or
        "too few lines" (under 6).
    :param lines: number of lines in the spectrum that was looked at.
    :param fluence_uj_cm2: of that spectrum.
    :param wavelength_nm: of its lines, nm, rising.
    :param spacing_nm: mean distance of neighbours, nm.
    :param spacing_cv: standard deviation over mean of the distances in wavenumber: 0 for a comb, about 0.5
        for levels that repel each other, 1 for places that do not know of each other.
    :param comb_misfit: rms distance from the best comb over its period, lines may be missing; 0 to 0.29.
    :param two_comb_misfit: the same for two interleaved combs of about one period; 0 to 0.29.
    :param n_group_length_um: group index times length of the cavity (half the round trip) that a comb belongs
        to, um; None for others.
    :param followed: lines that were followed over fluence, of which motion is known.
    :param common_shift_nm: from the lowest to the highest place of all lines together, nm: drift of the axis
        or of the film; a random laser's lines move beside it.
    :param motion_nm: median over lines of the rms motion beside the common shift, nm.
    :param motion_error_nm: what the noise alone would make of it, nm.
    :param moving: whether lines move significantly beside the common shift; None where it cannot be told.
    :param length_um: optical lengths n L of the power Fourier transform, um, shape ``(m,)``.
    :param power: its power over the largest beside zero, shape ``(m,)``.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("text",)

    verdict: Regularity = "too few lines"
    lines: int = 0
    fluence_uj_cm2: float | None = None
    wavelength_nm: tuple[float, ...] = ()
    spacing_nm: float | None = None
    spacing_cv: float | None = None
    comb_misfit: float | None = None
    two_comb_misfit: float | None = None
    n_group_length_um: float | None = None
    followed: int = 0
    common_shift_nm: float | None = None
    motion_nm: float | None = None
    motion_error_nm: float | None = None
    moving: bool | None = None
    length_um: FloatArray = field(
        default_factory=lambda: np.empty(0), compare=False, repr=False, metadata=NOT_STORED
    )
    power: FloatArray = field(
        default_factory=lambda: np.empty(0), compare=False, repr=False, metadata=NOT_STORED
    )

    @property
    def text(self) -> str:
        """What it says, in one line."""
        at = "" if self.fluence_uj_cm2 is None else f" at {self.fluence_uj_cm2:.4g} uJ/cm2"
        count = f"{self.lines} line{'' if self.lines == 1 else 's'}{at}"
        said = f"{count}: {self._spacing}"
        return f"{said}; {self._motion}" if self._motion else said

    @property
    def _spacing(self) -> str:
        if self.verdict == "too few lines":
            return "too few lines to tell a comb from irregular places (at least 6)"
        scatter = (
            ""
            if self.spacing_cv is None
            else f" (spacings {self.spacing_nm:.2f} nm +- {self.spacing_cv:.0%})"
        )
        if self.verdict == "irregular":
            return f"irregular places{scatter}, no comb fits, as in a random laser"
        if self.verdict == "undecided":
            return f"undecided between a comb and irregular places{scatter}"
        length = self.n_group_length_um
        cavity = "" if length is None else f", a cavity of n_group L = {length:.4g} um"
        combs = "a comb" if self.verdict == "comb" else "two interleaved combs"
        return f"{combs}{cavity}: no sign of a random laser"

    @property
    def _motion(self) -> str:
        if self.motion_nm is None or self.motion_error_nm is None:
            return ""
        said = "they move" if self.moving else "they do not move beyond the noise"
        own = f"{self.motion_nm:.3f} nm rms, noise {self.motion_error_nm:.3f} nm"
        return f"{said} beside the common shift ({own}, {self.followed} lines followed)"
