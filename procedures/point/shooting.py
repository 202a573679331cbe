"""One point's light: the shutter opens, exposures are taken at the right time setting, the shutter closes."""

from __future__ import annotations

import numpy as np

from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import InstrumentFault
from labctl.model.plan import SweepPlan
from labctl.model.records import DarkRecord, PowerReading, Spectrum, SweepPoint
from labctl.model.run import RunStart, RunStop
from procedures.gate.power_monitor import PumpState
from procedures.gate.pump import Pump
from procedures.plan import Step
from procedures.point.darks import Darks
from procedures.point.exposure import SATURATED, TOO_BRIGHT, AutoExposure, SaturationCheck, pulses_in
from procedures.point.eye import Eye
from procedures.point.fresh import StaleFrameFilter
from procedures.point.reduction import Shots

_CLEAR, _MOST_RATIO = (0.05, TOO_BRIGHT), 1.6
"""Shares of the full scale that are compared between exposure times, and the ratio that shots explain."""
_MOST_CHANGES = 5
"""How often the exposure time may be changed at one point."""


class ExposureSequence:
    """Takes the shots of a point with as little light as it can.

    :param elapsed_s: what earlier sessions of the run took.
    """

    def __init__(
        self,
        plan: SweepPlan,
        pump: Pump,
        spectrometer: StaleFrameFilter,
        judge: SaturationCheck,
        darks: Darks,
        clock: Clock,
        eye: Eye,
        *,
        elapsed_s: float = 0.0,
    ) -> None:
        self._plan, self._pump, self._spectrometer = plan, pump, spectrometer
        self._judge, self._darks, self._clock, self._eye = judge, darks, clock, eye
        self._started_s = clock.now_s() - elapsed_s
        self._clear: tuple[float, float] | None = None
        self._rate_hz = pump.settings.repetition_rate_hz

    def shoot(self, step: Step, auto: AutoExposure, stop: Stop | None) -> Shots:
        """Set the fluence, take the exposures between two readings of the meter, and end in the dark.

        The shutter stays open at the end only with ``keep_open``.

        :raises SafetyStop: the pump refused or the meter disagreed; the shutter is closed.
        """
        state = self._pump.set_fluence(step.fluence_uj_cm2, stop, keep_open=self._plan.keep_open)
        spectra, trials = self._expose(step.fluence_uj_cm2, auto, stop)
        state = self._pump.verified or state  # set anew, where the opening had to wait for a look at the dark
        self._pump.require_open()
        if self._pump.meter_in_front and not self._plan.keep_open:
            self._pump.close()
            self._eye.ready()
        after = self._pump.confirm(state, stop)
        if not self._plan.keep_open:
            self._pump.shut(stop)
        return self._shots(step, state, after=after, spectra=spectra, trials=trials)

    def _expose(
        self, fluence_uj_cm2: float, auto: AutoExposure, stop: Stop | None
    ) -> tuple[list[Spectrum], int]:
        """Take the exposures; those of an unsuitable time are thrown away, their light is not forgotten."""
        seconds, trials, lit_s = auto.predict(fluence_uj_cm2), 0, 0.0
        self._clear = None
        for change in range(_MOST_CHANGES + 1):
            # Opened first: the exposure that is thrown away is then the short one of the last look.
            self._pump.open((self._plan.average + 1) * seconds)
            seconds = self._spectrometer.set_integration(seconds)
            longest = (self._plan.max_light_s - lit_s) / (self._plan.average + 1)
            may_change = change < _MOST_CHANGES
            spectra, better = self._series(seconds, auto, stop, longest if may_change else None)
            lit_s += (len(spectra) + 1) * seconds
            some = (spectra[0], spectra[len(spectra) // 2], spectra[-1])
            share = float(np.median([self._light(s) for s in some]))
            self._refuse_another_time(share, seconds)
            auto.learn(fluence_uj_cm2, share / seconds)
            if better is None:
                break
            seconds, trials = better, trials + len(spectra)
        return spectra, trials

    def _series(
        self, seconds: float, auto: AutoExposure, stop: Stop | None, longest_s: float | None
    ) -> tuple[list[Spectrum], float | None]:
        """Take exposures until all are there, or until one shows that another time is better.

        ``longest_s`` is what the light that may still be spent allows; None forbids a change.
        """
        spectra: list[Spectrum] = []
        while len(spectra) < self._plan.average:
            check_stop(stop)
            spectra.append(self._spectrometer.acquire(stop))
            better = None if longest_s is None else self._better(spectra, seconds, auto, longest_s)
            if better is not None:
                return spectra, better
            if len(spectra) < self._plan.average:
                self._pump.keep_watch(stop)
        return spectra, None

    def _better(
        self, spectra: list[Spectrum], seconds: float, auto: AutoExposure, longest_s: float
    ) -> float | None:
        """Saturation is judged on every raw exposure; too bright or too dark on the first one only."""
        highest = self._judge.highest(spectra[-1].counts)
        if highest >= SATURATED or (len(spectra) == 1 and highest > TOO_BRIGHT):
            return auto.shorter(seconds, highest)
        if len(spectra) == 1 and highest < TOO_BRIGHT / 2:
            return auto.longer(seconds, self._light(spectra[0]), longest_s)
        return None

    def _refuse_another_time(self, share: float, seconds: float) -> None:
        """Hold what two exposure times show of one fluence against each other.

        :raises InstrumentFault: they cannot both be true.
        """
        before, self._clear = self._clear, (share, seconds) if _CLEAR[0] < share < _CLEAR[1] else None
        if before is None or self._clear is None or before[1] == seconds:
            return
        ratio = share / seconds * before[1] / before[0]
        if not 1 / _MOST_RATIO < ratio < _MOST_RATIO:
            raise InstrumentFault(
                self._spectrometer.device.name,
                f"{seconds:g} s show {ratio:.2g} times the counts per pulse of {before[1]:g} s",
                "did the laser drop out? else it integrates another time than it confirms",
            )

    def _light(self, spectrum: Spectrum) -> float:
        dark = self._darks.known(spectrum.integration_s)
        return self._judge.light(spectrum.counts, None if dark is None else dark.counts)

    def _shots(
        self, step: Step, state: PumpState, *, after: PowerReading, spectra: list[Spectrum], trials: int
    ) -> Shots:
        frames = np.stack([s.counts for s in spectra])
        seconds = spectra[0].integration_s
        pulses = pulses_in(seconds, self._rate_hz, triggered=self._plan.triggered)
        temperature = spectra[-1].temperature_c
        return Shots(
            step=step,
            state=state,
            after=after,
            bracket=self._pump.bracket(state, after, pulses * len(spectra)),
            spectra=tuple(spectra),
            frames=frames,
            integration_s=seconds,
            pulses=pulses,
            saturated=self._judge.saturated(frames),
            highest=self._judge.highest(frames),
            trials=trials,
            temperature_c=self._spectrometer.temperature_c() if temperature is None else temperature,
            dose_uj_cm2=self._pump.dose_uj_cm2,
            elapsed_s=self._clock.now_s() - self._started_s,
        )


class NoSink:
    """A sink that keeps nothing."""

    def begin(self, start: RunStart) -> None:
        """Keep nothing."""

    def dark(self, record: DarkRecord) -> None:
        """Keep nothing."""

    def append(self, point: SweepPoint) -> None:
        """Keep nothing."""

    def event(self, at_s: float, text: str) -> None:
        """Keep nothing."""

    def end(self, stop: RunStop) -> None:
        """Keep nothing."""
