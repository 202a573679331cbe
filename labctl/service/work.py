"""What the bench's thread does for each command."""

from __future__ import annotations

import time

from labctl.model.clock import Stop
from labctl.model.errors import Aborted
from labctl.model.safety import SafeReport
from labctl.service.calibrating import recheck, run_calibrating
from labctl.service.messages import (
    Align,
    Busy,
    Calibrate,
    Command,
    Home,
    Job,
    Jog,
    MoveShutter,
    Recheck,
    Said,
    SetAngle,
    SetExposure,
    SetFluence,
    Stream,
    TakeDark,
)
from labctl.service.observed import BenchState
from labctl.service.runs import Room, run_alignment, run_job
from labctl.session.bench import over_said
from procedures.gate.pump import PumpState
from procedures.manual import ManualBench

LOOK_S = 0.4
DEFAULT_EXPOSURE_S = 0.1


class Work:
    """Carries out commands on an open bench.

    :param interrupted: set when something else waits to be done; ends an exposure of the stream early.
    """

    def __init__(self, room: Room, state: BenchState, interrupted: Stop) -> None:
        self._room, self._bench, self._tell, self._stop = room, room.bench, room.tell, room.stop
        self._sight, self._interrupted = state, interrupted
        self._hand = ManualBench(self._bench.roles, self._bench.pump)
        self._exposure_s = DEFAULT_EXPOSURE_S
        self._looked_s = 0.0

    @property
    def streaming(self) -> bool:
        """Whether spectra are taken one after another."""
        return self._sight.seen.streaming

    @streaming.setter
    def streaming(self, on: bool) -> None:
        self._sight.note(streaming=on)

    def do(self, command: Command) -> None:
        """Carry out one command.

        :raises SafetyStop: a limit was hit; the shutter is closed.
        :raises Aborted: it was stopped.
        :raises LostInstrument: the bench must be opened anew.
        """
        if isinstance(command, (Job, Align, Calibrate, Recheck)):
            self.streaming = False
            self._sight.note(unseen=False)
            self._hand.forget_meter()
            if isinstance(command, Recheck):  # opens nothing, and has a result to say
                recheck(self._room)
            else:
                with over_said(self._bench.pump, lambda line: self._tell(Said(line))):
                    self._work(command)
        elif isinstance(command, Stream):
            self.streaming = command.on
        elif isinstance(command, SetExposure):
            self._exposure_s = command.seconds
        elif isinstance(command, TakeDark):
            self._dark(command.count)
        else:
            self._move(command)

    def _work(self, command: Job | Align | Calibrate) -> None:
        if isinstance(command, Job):
            run_job(self._room, command)
        elif isinstance(command, Align):
            run_alignment(self._room, command)
        else:
            self._calibrate(command)

    def _move(self, command: Command) -> None:
        hand, stop = self._hand, self._stop
        if isinstance(command, SetFluence):
            self._tell(Busy(f"setting {command.fluence_uj_cm2:.4g} µJ/cm²"))
            self._reached(hand.set_fluence(command.fluence_uj_cm2, stop))
        elif isinstance(command, SetAngle):
            self._tell(Busy(f"turning to {command.angle_deg:.3f}°"))
            self._reached(hand.set_angle(command.angle_deg, stop))
        elif isinstance(command, Jog):
            self._reached(hand.jog(command.by_deg, stop))
        elif isinstance(command, Home):
            self._tell(Busy("searching the reference"))
            hand.home(stop)
            self._tell(Said("the mount is referenced; attenuator at its minimum"))
        elif isinstance(command, MoveShutter):
            if command.open_it:
                hand.open(stop)
            else:
                hand.close()
        self._looked_s = 0.0

    def _calibrate(self, command: Calibrate) -> None:
        """Calibrate. Meanwhile a power is no fluence: nobody knows where the sensor stands."""
        self._tell(Busy(f"calibration: {command.kind}"))
        optics, self._sight.optics = self._sight.optics, None
        self._sight.note(pulse_energy_j=None, fluence_uj_cm2=None)
        try:
            run_calibrating(self._room, command)
        finally:
            self._sight.optics = optics
            self._looked_s = 0.0

    def _reached(self, state: PumpState) -> None:
        self._sight.note(
            angle_deg=state.angle_deg,
            pulse_energy_j=state.pulse_energy_j,
            fluence_uj_cm2=state.fluence_uj_cm2,
            power_w=state.reading.power_w,
            computed=False,
        )
        self._tell(Said(f"set: {state.fluence_uj_cm2:.4g} µJ/cm² at {state.angle_deg:.3f}°"))

    def _dark(self, count: int) -> None:
        self._tell(Busy(f"taking a dark, {count} × {self._exposure_s:g} s"))
        counts = self._hand.dark(self._exposure_s, count, self._stop)
        self._sight.dark(self._exposure_s, counts)
        self._tell(Said(f"dark taken: {count} × {self._exposure_s:g} s"))

    # --- when nothing is asked for -----------------------------------------------------------------

    def idle(self) -> None:
        """Take the next spectrum of the stream; look at the instruments now and then.

        :raises InstrumentError: one of them does not answer any more.
        """
        if self.streaming:
            try:
                self._hand.expose(self._exposure_s, self._interrupted)
            except Aborted:
                return
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        try:
            now = self._hand.reading(self._interrupted)
        except Aborted:
            return
        self._sight.note(
            angle_deg=now.angle_deg,
            referenced=now.referenced,
            shutter_open=now.shutter_open,
            power_w=now.power_w,
            pulse_energy_j=now.pulse_energy_j,
            fluence_uj_cm2=now.fluence_uj_cm2,
            dose_uj_cm2=now.dose_uj_cm2,
            computed=False,
            unseen=now.unseen,
        )
        self._looked_s = time.monotonic()

    def make_safe(self) -> SafeReport:
        """Close the shutter, take the least light; stop the stream."""
        self.streaming = False
        self._looked_s = 0.0
        return self._bench.pump.safe()
