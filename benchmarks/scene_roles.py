"""Roles that talk to the simulated scene directly, without any wire: for whole sweeps and flights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import InstrumentFault
from labctl.model.pump import Bands, Limits, MalusCurve, PumpSettings, SpotSize
from labctl.model.records import Identity, PowerReading, SpectrometerInfo, Spectrum
from labctl.model.roles import Roles, SensorKind, has_read
from labctl.model.shots import ShotBatch
from simulators.scene import Scene, SceneSettings

SAMPLE_S = 0.003
AVERAGES = 100


class _Device:
    def __init__(self, name: str, scene: Scene) -> None:
        self.name, self.scene, self.clock = name, scene, scene.clock

    def identity(self) -> Identity:
        return Identity("test", self.name, "1")

    def close(self) -> None:
        pass

    def wait_until(self, at_s: float, stop: Stop | None = None) -> None:
        self.clock.sleep(at_s - self.clock.now_s(), stop)


class SceneMount(_Device):
    angle_range_deg = (0.0, 360.0)

    def is_referenced(self) -> bool:
        return self.scene.mount.referenced

    def home(self, stop: Stop | None = None) -> None:
        self.wait_until(self.scene.mount.home(), stop)

    def angle_deg(self) -> float:
        return self.scene.mount.encoder_deg()

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        self.wait_until(self.scene.mount.move_to(angle_deg), stop)
        return self.scene.mount.encoder_deg()


class SceneMeter(_Device):
    @property
    def sensor(self) -> SensorKind:
        return self.scene.meter.kind

    @property
    def settling_s(self) -> float:
        return 7 * self.scene.meter.time_constant_s

    @property
    def noise_w(self) -> float:
        return float(self.scene.settings.meter.noise_w / AVERAGES**0.5)

    def prepare(self, wavelength_nm: float) -> None:
        self.wavelength_nm = wavelength_nm

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        start = self.clock.now_s()
        values = []
        for _ in range(count):
            self.clock.sleep(AVERAGES * SAMPLE_S, stop)
            now = self.clock.now_s()
            values.append(self.scene.meter.power_w(now, AVERAGES, SAMPLE_S, self.wavelength_nm, 0.0, 1e-5))
            has_read(values[-1])
        sigma = float(np.std(values, ddof=1) / count**0.5) if count > 1 else self.noise_w
        return PowerReading(float(np.mean(values)), sigma, count, start, self.clock.now_s())


class SceneShutter(_Device):
    travel_s = 0.05

    def is_open(self) -> bool:
        return not self.scene.shutter.closed_switch()

    def open(self) -> None:
        self.wait_until(self.scene.shutter.command(True))

    def close_beam(self) -> None:
        self.wait_until(self.scene.shutter.command(False))


class SceneSpectrometer(_Device):
    def __init__(self, name: str, scene: Scene) -> None:
        super().__init__(name, scene)
        camera = scene.camera
        self.info = SpectrometerInfo(
            identity=self.identity(),
            wavelength_nm=camera.wavelength_nm,
            max_counts=float(camera.max_counts),
            integration_min_s=camera.integration_min_us * 1e-6,
            integration_max_s=camera.integration_max_us * 1e-6,
            nonlinearity=camera.nonlinearity,
            resolution_nm=camera.settings.resolution_nm,
        )
        self.integration_s = 0.1

    def set_integration(self, seconds: float) -> float:
        self.integration_s = seconds
        return seconds

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        start = self.clock.now_s()
        self.clock.sleep(self.integration_s + 0.0012, stop)
        counts = self.scene.camera.expose(start, self.integration_s).astype(np.float64)
        return Spectrum(counts, self.integration_s, start, self.clock.now_s())

    def temperature_c(self) -> float | None:
        return self.scene.camera.temperature_c(self.clock.now_s())


class SceneBurst(SceneSpectrometer):
    """Keeps one exposure a pulse; its clock began 7 s before the bench's.

    ``early_s`` is how much too early it says that a batch has arrived: a clock that is off.
    """

    buffer_shots = 50_000
    early_s = 0.0

    def __init__(self, name: str, scene: Scene) -> None:
        super().__init__(name, scene)
        self.next, self.armed, self.disarmed = 0, 0, 0
        self.before_fetch: Callable[[], object] = lambda: None

    def _number(self, at_s: float) -> int:
        laser = self.scene.laser
        return int(np.floor(at_s * laser.settings.repetition_rate_hz - laser.phase))

    def arm(self, shots: int, stop: Stop | None = None) -> None:
        check_stop(stop)
        self.next, self.armed = self._number(self.clock.now_s()) + 1, shots

    def fetch(self, stop: Stop | None = None) -> ShotBatch:
        self.before_fetch()
        if not self.armed:
            raise InstrumentFault(self.name, "is not armed")
        after_s = -np.inf
        while (ready := self._number(self.clock.now_s() - 0.5e-3) - self.next + 1) < 1:
            after_s = self.clock.now_s() - 1e-3
            self.clock.sleep(0.5e-3, stop)
        pulses = self.scene.laser.slice(self.next, min(ready, 150))
        frames = self.scene.camera.expose_each(pulses.times_s - 0.5 * self.integration_s, self.integration_s)
        counts = np.arange(self.next, self.next + pulses.times_s.size)
        self.next += pulses.times_s.size
        self.clock.sleep(0.002, stop)
        times_us = np.rint((pulses.times_s + 7.0) * 1e6).astype(np.int64)
        received_s = self.clock.now_s() - self.early_s
        return ShotBatch(frames, times_us, counts, self.integration_s, received_s, after_s)

    def disarm(self) -> None:
        self.armed, self.disarmed = 0, self.disarmed + 1


def scene_roles(scene: Scene, clock: Clock) -> Roles:
    return Roles(
        SceneMount("attenuator", scene),
        SceneMeter("power meter", scene),
        SceneSpectrometer("spectrometer", scene),
        SceneShutter("shutter", scene),
        clock,
    )


def scene_pump(settings: SceneSettings) -> PumpSettings:
    optics, laser = settings.optics, settings.laser
    return PumpSettings(
        wavelength_nm=laser.wavelength_nm,
        repetition_rate_hz=laser.repetition_rate_hz,
        spot=SpotSize("gaussian", optics.w_um, optics.w_um),
        convention="peak",
        curve=MalusCurve(optics.zero_deg, optics.t_min, optics.t_max),
        pickoff_ratio=optics.pickoff_ratio,
        max_pulse_energy_j=laser.max_pulse_energy_j,
        order=optics.order,
    )


LIMITS = Limits(max_fluence_uj_cm2=700.0)
BANDS = Bands(emission_nm=(505.0, 560.0), lasing_nm=(530.0, 556.0))
