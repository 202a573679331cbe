"""Exposures that belong to the present setting, and to no earlier one."""

from __future__ import annotations

from collections.abc import Callable

from labctl.model.clock import Clock, Stop
from labctl.model.errors import InstrumentError
from labctl.model.records import Spectrum
from labctl.model.roles import Spectrometer
from procedures.safe import retried

_MOST_STALE = 8


class FreshSpectrometer:
    """A spectrometer whose exposures began after the last confirmed change of light or exposure time.

    Two rules, both needed. Start time: an exposure that may have begun earlier is dropped. First one: after
    any change one exposure is dropped whatever its time stamp says, since devices hand out one that was
    already under way or already read.

    :param changed_at_s: bench time of the last confirmed change of the light.
    :param allow: asked before every exposure, dropped ones included, with its seconds; may raise.
    """

    def __init__(
        self,
        device: Spectrometer,
        clock: Clock,
        changed_at_s: Callable[[], float],
        allow: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self.device, self._clock = device, clock
        self._light_changed_at_s, self._allow = changed_at_s, allow
        self._own_change_s = clock.now_s()
        self._served_change_s = -1.0
        self.integration_s: float | None = None
        self.discarded = 0

    def set_integration(self, seconds: float) -> float:
        """Set the exposure time if it is another one; return the one the device confirmed."""
        if self.integration_s is None or abs(self.integration_s - seconds) > 1e-9:
            self.integration_s = retried(lambda: self.device.set_integration(seconds))
            self._own_change_s = self._clock.now_s()
        return self.integration_s

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        """Return the next exposure that began after the last change.

        :raises InstrumentError: the spectrometer delivers only old exposures, or of another exposure time.
        """
        changed = max(self._own_change_s, self._light_changed_at_s())
        for _ in range(_MOST_STALE):
            self._allow(self.integration_s or 0.0)
            spectrum = retried(lambda: self.device.acquire(stop))
            first, self._served_change_s = self._served_change_s != changed, changed
            if not first and spectrum.start_s >= changed:
                return self._checked(spectrum)
            self.discarded += 1
        raise InstrumentError(
            self.device.name, f"{_MOST_STALE} exposures in a row began before the last change"
        )

    def _checked(self, spectrum: Spectrum) -> Spectrum:
        pixels = self.device.info.wavelength_nm.size
        if spectrum.counts.shape != (pixels,):
            raise InstrumentError(self.device.name, f"{spectrum.counts.shape} counts for {pixels} pixels")
        wanted = self.integration_s
        if wanted is not None and abs(spectrum.integration_s - wanted) > 1e-6 + 1e-3 * wanted:
            raise InstrumentError(
                self.device.name, f"an exposure of {spectrum.integration_s:g} s instead of {wanted:g} s"
            )
        return spectrum

    def temperature_c(self) -> float | None:
        """Detector temperature, None where the device cannot tell."""
        return retried(self.device.temperature_c)
