"""The instruments as procedures use them, with an eye on what passes: the window shows it, nobody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from labctl.gui.rundata import Exposure
from labctl.model.clock import Stop
from labctl.model.delegate import (
    DelegateAttenuator,
    DelegatePowerMeter,
    DelegateShutter,
    DelegateSpectrometer,
)
from labctl.model.records import FloatArray, PowerReading, Spectrum
from labctl.model.roles import Attenuator, PowerMeter, Roles, Shutter, Spectrometer


@dataclass(frozen=True, slots=True)
class Seen:
    """The last that was seen of the bench; None where nothing was.

    :param exposures: number of exposures so far.
    """

    angle_deg: float | None = None
    referenced: bool | None = None
    power_w: float | None = None
    pulse_energy_j: float | None = None
    fluence_uj_cm2: float | None = None
    shutter_open: bool | None = None
    dose_uj_cm2: float | None = None
    exposures: int = 0


class Sight:
    """Holds what was seen; the latest wins, readers take it whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seen = Seen()
        self._latest: Spectrum | None = None
        self._number = 0
        self._darks: dict[float, FloatArray] = {}
        self.energy_of: Callable[[float, float], tuple[float, float]] | None = None

    def note(self, **changes: object) -> None:
        """Take in single values."""
        with self._lock:
            self.seen = replace(self.seen, **changes)  # type: ignore[arg-type]

    def power(self, power_w: float) -> None:
        """Take in a reading of the meter, and what it stands for on the sample."""
        angle, of = self.seen.angle_deg, self.energy_of
        energy = fluence = None
        if angle is not None and of is not None:
            energy, fluence = of(power_w, angle)
        self.note(power_w=power_w, pulse_energy_j=energy, fluence_uj_cm2=fluence)

    def exposure(self, spectrum: Spectrum) -> None:
        """Take in an exposure; one behind the closed shutter is a dark of its time."""
        with self._lock:
            self._latest = spectrum
            self._number += 1
            if self.seen.shutter_open is False:
                self._dark(spectrum)

    def _dark(self, spectrum: Spectrum) -> None:
        key = round(spectrum.integration_s, 6)
        before = self._darks.get(key)
        self._darks[key] = spectrum.counts if before is None else 0.7 * before + 0.3 * spectrum.counts
        if len(self._darks) > 32:
            del self._darks[next(iter(self._darks))]

    def dark(self, integration_s: float, counts: FloatArray) -> None:
        """Take in a dark that was taken as one."""
        with self._lock:
            self._darks[round(integration_s, 6)] = counts

    def latest(self, after: int) -> tuple[int, Exposure, float] | None:
        """Return number, exposure and bench time of the latest one, None if none came after ``after``."""
        with self._lock:
            spectrum, number = self._latest, self._number
            if spectrum is None or number == after:
                return None
            dark = self._darks.get(round(spectrum.integration_s, 6))
        return number, Exposure(spectrum.counts, dark, spectrum.integration_s), spectrum.stop_s

    def forget(self) -> None:
        """The bench is gone."""
        with self._lock:
            self.seen, self._latest = Seen(), None
            self._darks.clear()


def observed(roles: Roles, shutter: Shutter, sight: Sight) -> Roles:
    """Return the same instruments, seen; the shutter is the guarded one."""
    return replace(
        roles,
        attenuator=ObservedAttenuator(roles.attenuator, sight),
        power_meter=ObservedPowerMeter(roles.power_meter, sight),
        spectrometer=ObservedSpectrometer(roles.spectrometer, sight),
        shutter=ObservedShutter(shutter, sight),
    )


class ObservedAttenuator(DelegateAttenuator):
    """An attenuator whose angle is noted."""

    def __init__(self, device: Attenuator, sight: Sight) -> None:
        super().__init__(device)
        self._sight = sight

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted."""
        known = super().is_referenced()
        self._sight.note(referenced=known)
        return known

    def angle_deg(self) -> float:
        """Read the present angle."""
        angle = super().angle_deg()
        self._sight.note(angle_deg=angle)
        return angle

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move and return the angle read back."""
        angle = super().move_to(angle_deg, stop)
        self._sight.note(angle_deg=angle)
        return angle


class ObservedPowerMeter(DelegatePowerMeter):
    """A power meter whose readings are noted."""

    def __init__(self, device: PowerMeter, sight: Sight) -> None:
        super().__init__(device)
        self._sight = sight

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        """Take ``count`` averaged readings."""
        reading = super().read(count, stop)
        self._sight.power(reading.power_w)
        return reading


class ObservedSpectrometer(DelegateSpectrometer):
    """A spectrometer whose exposures are shown as they come."""

    def __init__(self, device: Spectrometer, sight: Sight) -> None:
        super().__init__(device)
        self._sight = sight

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure."""
        spectrum = super().acquire(stop)
        self._sight.exposure(spectrum)
        return spectrum


class ObservedShutter(DelegateShutter):
    """A shutter whose state is noted."""

    def __init__(self, device: Shutter, sight: Sight) -> None:
        super().__init__(device)
        self._sight = sight

    def is_open(self) -> bool:
        """Ask the device."""
        is_open = super().is_open()
        self._sight.note(shutter_open=is_open)
        return is_open

    def open(self, within_s: float | None = None) -> None:
        """Open and return once the device confirms it."""
        self._sight.note(shutter_open=True)
        super().open(within_s)

    def close_beam(self) -> None:
        """Close and return once the device confirms it."""
        super().close_beam()
        self._sight.note(shutter_open=False)
