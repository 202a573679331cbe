"""Darks: one for every exposure time in use, young enough and of the same detector temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labctl.model.clock import Clock, Stop
from labctl.model.plan import SweepPlan
from labctl.model.records import DarkRecord, FloatArray, Spectrum
from labctl.model.roles import RunSink
from procedures.gate.pump import Pump
from procedures.point.eye import Eye
from procedures.point.fresh import StaleFrameFilter

_SPIKE_SIGMA = 8.0


class Darks:
    """Takes darks when they are needed, renews them by rule and hands each to the sink once.

    The rule: a dark belongs to one exposure time, is at most ``dark_max_age_s`` old and was taken within
    ``dark_max_change_c`` of the present detector temperature.

    :param last: number of the last dark that the sink has.
    :param eye: looks for light in them.
    """

    def __init__(
        self,
        pump: Pump,
        spectrometer: StaleFrameFilter,
        clock: Clock,
        plan: SweepPlan,
        sink: RunSink,
        *,
        last: int = 0,
        eye: Eye | None = None,
    ) -> None:
        self._pump, self._spectrometer, self._clock = pump, spectrometer, clock
        self._plan, self._sink, self._eye = plan, sink, eye
        self._latest: dict[float, DarkRecord] = {}
        self._count = last

    def known(self, integration_s: float) -> DarkRecord | None:
        """Return the latest dark of an exposure time, of whatever age."""
        return self._latest.get(integration_s)

    def get(self, integration_s: float, temperature_c: float | None, stop: Stop | None = None) -> DarkRecord:
        """Return a valid dark, taking one (shutter closed) if there is none."""
        record = self._latest.get(integration_s)
        if record is None:
            return self._take(integration_s, stop)
        if reason := self._stale(record, temperature_c):
            self._sink.event(
                self._clock.now_s(), f"dark {record.number} ({integration_s:g} s) renewed: {reason}"
            )
            return self._take(integration_s, stop)
        return record

    def _stale(self, record: DarkRecord, temperature_c: float | None) -> str:
        age = self._clock.now_s() - record.at_s
        if age > self._plan.dark_max_age_s:
            return f"{age:.0f} s old"
        if record.temperature_c is not None and temperature_c is not None:
            change = temperature_c - record.temperature_c
            if abs(change) > self._plan.dark_max_change_c:
                return f"detector {change:+.2f} C away"
        return ""

    def _take(self, integration_s: float, stop: Stop | None) -> DarkRecord:
        self._pump.shut(stop)
        record = self.record("dark", self._without_light(integration_s, stop), integration_s, None)
        self._latest[integration_s] = record
        return record

    def _without_light(self, integration_s: float, stop: Stop | None) -> list[Spectrum]:
        """Take the exposures of a dark; once more where they hold light that is gone by then.

        :raises SafetyStop: it passes the shutter.
        """
        spectra = self._exposures(integration_s, stop)
        if self._eye is not None:
            found = self._eye.judged(_without_spikes(np.stack([s.counts for s in spectra]))[0], integration_s)
            if found.shown:
                self._pump.refute(self._eye.confirmed(found, integration_s, stop))
                text = f"a dark ({integration_s:g} s) taken again: it held {found.part:.0%} of the light"
                self._sink.event(self._clock.now_s(), text)
                spectra = self._exposures(integration_s, stop)
                self._eye.accept(np.median([s.counts for s in spectra], axis=0), integration_s)
        return spectra

    def _exposures(self, integration_s: float, stop: Stop | None) -> list[Spectrum]:
        self._spectrometer.set_integration(integration_s)
        wanted = self._plan.dark_factor * self._plan.average
        return [self._spectrometer.acquire(stop) for _ in range(wanted)]

    def record(
        self,
        kind: str,
        spectra: Sequence[Spectrum],
        integration_s: float,
        fluence_uj_cm2: float | None,
    ) -> DarkRecord:
        """Average exposures into a record, number it and store it."""
        frames = np.stack([s.counts for s in spectra])
        counts, spread = _without_spikes(frames)
        self._count += 1
        temperature = spectra[-1].temperature_c
        record = DarkRecord(
            number=self._count,
            kind="blank" if kind == "blank" else "dark",
            counts=counts,
            spread=spread,
            n=len(spectra),
            integration_s=integration_s,
            at_s=self._clock.now_s(),
            temperature_c=self._spectrometer.temperature_c() if temperature is None else temperature,
            fluence_uj_cm2=fluence_uj_cm2,
        )
        self._sink.dark(record)
        return record


def _without_spikes(frames: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and single-frame deviation per pixel; a cosmic spike in a dark would sit in every point."""
    if len(frames) < 4:
        return frames.mean(axis=0), frames.std(axis=0, ddof=min(1, len(frames) - 1))
    median = np.median(frames, axis=0)
    rest = frames - median
    own = 1.4826 * np.median(np.abs(rest), axis=0)
    sigma = np.maximum(own, np.median(own))
    kept = np.where(rest > _SPIKE_SIGMA * np.maximum(sigma, 1e-9), 0.0, rest)
    return median + kept.mean(axis=0), kept.std(axis=0, ddof=1)
