"""A point of a sweep from single shots: every shot of its light is kept, their mean is its spectrum."""

from __future__ import annotations

import numpy as np

from labctl.model.clock import Stop
from labctl.model.errors import ConfigError
from labctl.model.plan import ShotsPlan, SweepPlan, dark_shots
from labctl.model.pump import Bands
from labctl.model.records import DarkRecord
from labctl.model.roles import Roles, RunSink, keeping_shots
from procedures.gate.pump import Pump
from procedures.plan import Step, all_fluences
from procedures.point.exposure import SaturationCheck
from procedures.point.reduction import Shots
from procedures.shots import Burst, able, disarmed, measure_burst


class BurstSequence:
    """Takes the single shots of a point, between two darks of its own.

    Those two are what looks for light behind the closed shutter: no exposure is taken beside a burst.

    :param sink: stores each batch before anything is said of it.
    :param last_dark: number of the last dark that it has.
    :param elapsed_s: what earlier sessions of the run took.
    :raises ConfigError: the bench cannot keep single shots, or the sink cannot.
    """

    def __init__(
        self,
        plan: SweepPlan,
        roles: Roles,
        pump: Pump,
        bands: Bands,
        sink: RunSink,
        *,
        last_dark: int = 0,
        elapsed_s: float = 0.0,
    ) -> None:
        assert plan.shots is not None
        self._plan = ShotsPlan(
            fluences_uj_cm2=all_fluences(plan),
            shots=plan.shots,
            dark_shots=dark_shots(plan.shots),
            triggered=plan.triggered,
        )
        keeps = keeping_shots(sink)
        if keeps is None:
            raise ConfigError("what stores this sweep keeps no single shots", key="shots")
        self._device, self._sink = able(self._plan, roles, pump), keeps
        self._roles, self._pump, self._bands = roles, pump, bands
        self._judge = SaturationCheck(roles.spectrometer.info, bands, plan.margin_nm)
        self._dark_number = last_dark
        self._started_s = roles.clock.now_s() - elapsed_s

    def shoot(self, step: Step, stop: Stop | None) -> tuple[Shots, DarkRecord]:
        """Set the fluence and keep the shots, all stored when this returns; end in the dark.

        :raises SafetyStop: the pump refused or the meter disagreed; the shutter is closed.
        :raises InstrumentError: an instrument failed, no trigger came, or too many shots are missing.
        """
        self._dark_number += 1
        burst = Burst(
            self._plan,
            step.index,
            self._device,
            self._pump,
            self._bands,
            self._sink,
            keeps=True,
            dark_number=self._dark_number,
        )
        with disarmed(self._device, self._pump), self._pump.guarded():
            taken = measure_burst(
                self._plan, step.fluence_uj_cm2, burst, self._device, self._roles, self._pump, stop
            )
            self._sink.shot_point(taken.summary)
        frames = np.concatenate(burst.kept).astype(np.float64)
        return Shots(
            step=step,
            state=taken.state,
            after=taken.after,
            bracket=taken.light,
            spectra=(),
            frames=frames,
            integration_s=taken.summary.integration_s,
            pulses=1.0,
            saturated=self._judge.saturated(frames),
            highest=self._judge.highest(frames),
            trials=0,
            darks=taken.dark.n,
            temperature_c=taken.dark.temperature_c,
            dose_uj_cm2=self._pump.dose_uj_cm2,
            elapsed_s=self._roles.clock.now_s() - self._started_s,
            tally=taken.summary.tally,
        ), taken.dark
