"""Single points in quick succession: the light stays on, and the exposures run while the meter is read.

For alignment, where a readout every two seconds matters more than the last tenth of a percent. The limits
are the pump's, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np

from labctl.model.clock import Stop
from labctl.model.errors import InstrumentTimeout
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import Spectrum, SweepPoint
from labctl.model.roles import Roles
from procedures.gate.power_monitor import EnergyLost, PumpState
from procedures.gate.pump import Pump
from procedures.plan import Step, check_bands
from procedures.point.beside import Beside
from procedures.point.exposure import NoSink, SaturationCheck, ladder, pulses_in
from procedures.point.light_witness import LightWitness
from procedures.point.reduction import Darks, Reducer, Shots
from procedures.point.stale_frames import StaleFrameFilter

DARKS = 20
"""Exposures of a dark: one of few would carry its noise into every point."""
TRIES = 3
_MARGIN_S = 30.0


class QuickPoints:
    """Measures points with the shutter open between them.

    :param plan: bands' margin, pulses of an exposure and the like are taken from it.
    """

    def __init__(self, plan: SweepPlan, roles: Roles, pump: Pump, bands: Bands) -> None:
        self._clock, self._average = roles.clock, 1
        info = roles.spectrometer.info
        check_bands(bands, info)
        rate = pump.settings.repetition_rate_hz
        own = replace(plan, keep_open=True, background="dark")
        self._integration_s = ladder(own, rate, info)[0]
        self._pulses = pulses_in(self._integration_s, rate, triggered=own.triggered)
        self._arrived_s = roles.clock.now_s()
        self._exposing: Beside[list[Spectrum]] | None = None
        self._pump = pump
        self._fresh = StaleFrameFilter(
            roles.spectrometer, roles.clock, lambda: max(self._arrived_s, self._pump.changed_at_s)
        )
        self._judge = SaturationCheck(info, bands, own.margin_nm)
        self._eye = LightWitness(self._fresh, pump, roles.clock, triggered=own.triggered)
        self._darks = Darks(pump, self._fresh, roles.clock, own, NoSink(), eye=self._eye)
        self._reducer = Reducer(info, bands, own, roles.power_meter.noise_w)
        self._started_s = roles.clock.now_s()
        self._stop: Stop | None = None
        self._overlap = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Use the pump as these points want it, in a block: it reads once, tells of arrivals, and is seen."""
        with self._pump.quick(self._arrived), self._pump.seen_by(self._eye):
            yield

    @property
    def dose_uj_cm2(self) -> float:
        """Dose of these points so far."""
        return self._pump.dose_uj_cm2

    def prepare(self, stop: Stop | None) -> None:
        """Reference the mount, set the meter, take the dark; ends in the dark."""
        self._pump.light.restart()
        self._pump.prepare(stop)
        self._fresh.prove(stop)
        self._darks.get(self._integration_s, None, stop, count=DARKS)

    def point(self, step: Step, stop: Stop | None, average: int = 1) -> SweepPoint:
        """Measure one fluence with ``average`` exposures; the shutter is open afterwards, as a rule.

        :raises SafetyStop: the pump refused, or the meter disagreed; the shutter is closed.
        :raises InstrumentFault: exposures last for another time than the spectrometer confirms.
        """
        dark = self._darks.get(self._integration_s, None, stop, count=DARKS)
        self._fresh.set_integration(self._integration_s)
        self._average = average
        for attempt in range(TRIES):
            try:
                shots = self._shots(step, stop)
                break
            except EnergyLost as exc:
                if attempt == TRIES - 1:
                    raise
                self._pump.tell(f"the point at {step.fluence_uj_cm2:.4g} uJ/cm2 is repeated: {exc.message}")
        if self._fresh.doubtful:
            self._pump.shut(stop)
            self._fresh.prove(stop)
        return self._reducer.point(shots, dark)

    def _shots(self, step: Step, stop: Stop | None) -> Shots:
        state, spectra = self._exposed(step.fluence_uj_cm2, stop)
        self._pump.require_open()
        frames = np.stack([s.counts for s in spectra])
        return Shots(
            step=step,
            state=state,
            after=state.reading,
            bracket=self._pump.bracket(state, state.reading, self._pulses * len(spectra)),
            spectra=tuple(spectra),
            frames=frames,
            integration_s=spectra[0].integration_s,
            pulses=self._pulses,
            saturated=self._judge.saturated(frames),
            highest=self._judge.highest(frames),
            trials=0,
            darks=DARKS,
            temperature_c=spectra[-1].temperature_c,
            dose_uj_cm2=self._pump.dose_uj_cm2,
            elapsed_s=self._clock.now_s() - self._started_s,
        )

    def _exposed(self, fluence_uj_cm2: float, stop: Stop | None) -> tuple[PumpState, list[Spectrum]]:
        """Set the fluence, and meanwhile expose: from the moment the mount has arrived."""
        seconds = (self._average + 1) * self._integration_s
        self._stop, self._overlap = stop, self._pump.light.lit
        try:
            state = self._pump.set_fluence(fluence_uj_cm2, stop, keep_open=True)
            if not self._pump.light.lit:
                self._drop_exposures()
            self._pump.open(seconds)
            exposing = self._exposing or self._expose()
            state = self._pump.verified or state
            return state, exposing.result(seconds + _MARGIN_S)
        finally:
            self._overlap = False
            self._drop_exposures()

    def _arrived(self) -> None:
        """Begin to expose; what was begun before another move is worthless."""
        self._arrived_s = self._clock.now_s()
        if self._overlap and self._pump.light.lit:
            self._drop_exposures()
            self._expose()

    def _expose(self) -> Beside[list[Spectrum]]:
        self._fresh.set_integration(self._integration_s)  # a check of the closed shutter has its own
        fresh, count = self._fresh, self._average
        self._exposing = Beside(
            fresh.device.name, lambda stop: [fresh.acquire(stop) for _ in range(count)], self._stop
        )
        self._exposing.start()
        return self._exposing

    def _drop_exposures(self) -> None:
        exposing, self._exposing = self._exposing, None
        if exposing is not None:
            exposing.end()
            with suppress(InstrumentTimeout):  # what ended them is told
                exposing.wait(self._integration_s + _MARGIN_S)
