"""The rotation mount of the half-wave plate."""

from __future__ import annotations

import threading

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Stream
from simulators.scene.motor import Drive, Motor
from simulators.scene.settings import MountSettings


class Mount(Motor):
    """Angle of the plate, in degrees, as it is (``angle_deg``) and as the encoder believes (``encoder_deg``).

    The rotor is the motor, the plate in it the load.
    """

    def __init__(self, settings: MountSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        s = self.settings = settings
        drive = Drive(
            Stream.MOUNT, s.start_deg, s.speed_deg_s, s.overhead_s, s.repeatability_deg, s.backlash_deg
        )
        super().__init__(drive, seed, clock, lock)

    def angle_deg(self) -> float:
        """Return the true angle of the plate now."""
        with self._lock:
            return float(np.asarray(self.plate_over(np.array([self._clock.now_s()]))).item())

    def plate_over(self, times_s: FloatArray) -> FloatArray | float:
        """Return the true angle of the plate at rising times: one number if it rested all the while."""
        return self.track.over(times_s) + self.lag.over(times_s) + self.slips.total(times_s)

    def encoder_deg(self) -> float:
        """Return what the encoder reports now, in mid-motion too."""
        return self._believed()

    def move_to(self, angle_deg: float) -> float:
        """Start moving to an encoder angle; return when the plate will be there."""
        return self._move(angle_deg)

    def home(self) -> float:
        """Start looking for the reference, clockwise; return when it will be found."""
        with self._lock:
            now = self._clock.now_s()
            if self.stuck.at(now) is not None:
                return self._go(now, 0.0, 0.0)  # never gets there, and keeps the reference it had
            true_now = self.track.at(now)
            error = self._error(-1.0)
            turn = true_now - true_now % 360.0
            self._found(now, true_now - turn)
            arrival = self._go(now, 0.0, turn + error)
            if turn and not self.stuck.within(now, arrival):
                self.track.go(arrival, arrival, error)
            return arrival
