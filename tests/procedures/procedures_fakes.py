"""A small bench in memory, with faults to switch on, that keeps a record of the true light on the sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from labctl.model.clock import Clock, SteppedClock, Stop, check_stop
from labctl.model.errors import InstrumentFault
from labctl.model.pump import Bands, Element, Limits, MalusCurve, PumpSettings, SpotSize
from labctl.model.records import (
    DarkRecord,
    FloatArray,
    Identity,
    PowerReading,
    SpectrometerInfo,
    Spectrum,
    SweepPoint,
)
from labctl.model.roles import Roles, SensorKind
from labctl.model.run import RunStart, RunStop

RATE_HZ = 1000.0
RATIO = 24.0
FULL_J = 200e-9
ZERO_DEG = 12.0
T_MIN = 0.002
W_UM = 100.0
FLUENCE_PER_J = 2e6 / (math.pi * (W_UM * 1e-4) ** 2)
BANDS = Bands(emission_nm=(505.0, 560.0), lasing_nm=(530.0, 556.0))
FRONT: tuple[Element, Element, Element, Element] = ("attenuator", "pick-off", "shutter", "sample")
BEHIND: tuple[Element, Element, Element, Element] = ("attenuator", "shutter", "pick-off", "sample")
BEFORE_ALL: tuple[Element, Element, Element, Element] = ("pick-off", "attenuator", "shutter", "sample")
SHUTTER_FIRST: tuple[Element, Element, Element, Element] = ("shutter", "attenuator", "pick-off", "sample")
Order = tuple[Element, Element, Element, Element]
ORDERS = (FRONT, BEHIND, BEFORE_ALL, SHUTTER_FIRST)


def pump_settings(**changes: object) -> PumpSettings:
    values: dict[str, object] = {
        "wavelength_nm": 800.0,
        "repetition_rate_hz": RATE_HZ,
        "spot": SpotSize("gaussian", W_UM, W_UM),
        "convention": "peak",
        "curve": MalusCurve(ZERO_DEG, T_MIN, 1.0),
        "pickoff_ratio": RATIO,
        "max_pulse_energy_j": FULL_J,
    }
    return PumpSettings(**(values | changes))  # type: ignore[arg-type]


def limits(max_fluence_uj_cm2: float = 700.0, **changes: object) -> Limits:
    return Limits(max_fluence_uj_cm2=max_fluence_uj_cm2, **changes)  # type: ignore[arg-type]


def malus(angle_deg: FloatArray | float) -> FloatArray:
    return np.asarray(T_MIN + (1 - T_MIN) * np.cos(2 * np.radians(np.subtract(angle_deg, ZERO_DEG))) ** 2)


@dataclass
class StopAfter:
    """A stop request that comes with the n-th question."""

    questions: int

    def is_set(self) -> bool:
        self.questions -= 1
        return self.questions < 0


class Table:
    """The truth: where the plate is, whether light passes, and what the sample got of it."""

    def __init__(self, order: tuple[Element, ...] = FRONT, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SteppedClock()
        self.order = order
        self.scale = 1.0
        self.angle_deg, self.angle_error_deg = 41.3, 0.0
        self.referenced = True
        self.is_open = False
        self.dose = 0.0
        self.brightest = 0.0
        self.flashes = 0
        self.events: list[str] = []
        self._since_s = 0.0
        self.scale_at: Callable[[float], float] = lambda _s: 1.0

    def before(self, element: Element) -> tuple[Element, ...]:
        return self.order[: self.order.index(element)]

    def energy_j(self, angle_deg: FloatArray | float | None = None) -> float:
        angle = self.angle_deg + self.angle_error_deg if angle_deg is None else angle_deg
        return float(np.max(malus(angle))) * FULL_J * self.scale * self.scale_at(self.clock.now_s())

    def fluence(self) -> float:
        return self.energy_j() * FLUENCE_PER_J if self.is_open else 0.0

    def power_w(self) -> float:
        energy = FULL_J * self.scale * self.scale_at(self.clock.now_s())
        if "attenuator" in self.before("pick-off"):
            energy = self.energy_j()
        if "shutter" in self.before("pick-off") and not self.is_open:
            energy = 0.0
        return energy * RATE_HZ / RATIO

    def account(self) -> None:
        now = self.clock.now_s()
        if self.is_open:
            self.dose += self.fluence() * RATE_HZ * (now - self._since_s)
            self.brightest = max(self.brightest, self.fluence())
        self._since_s = now

    def turn_to(self, angle_deg: float, error_deg: float, seconds: float) -> None:
        self.account()
        if self.is_open:
            way = malus(np.linspace(self.angle_deg + self.angle_error_deg, angle_deg + error_deg, 400))
            if way.max() > max(way[0], way[-1]) * 1.001:
                self.flashes += 1
            self.brightest = max(self.brightest, float(way.max()) * FULL_J * self.scale * FLUENCE_PER_J)
            self.dose += float(way.mean()) * FULL_J * self.scale * FLUENCE_PER_J * RATE_HZ * seconds
        self.clock.sleep(seconds)
        self.angle_deg, self.angle_error_deg = angle_deg, error_deg
        self._since_s = self.clock.now_s()
        self.account()

    def set_shutter(self, *, open_: bool) -> None:
        self.clock.sleep(0.02)
        self.account()
        self.is_open = open_
        self.account()
        self.clock.sleep(0.01)
        self.events.append("open" if open_ else "close")


@dataclass
class FakeDevice:
    table: Table
    name: str = "device"
    fault: Exception | None = None
    timeouts: list[Exception] = field(default_factory=list)

    def identity(self) -> Identity:
        return Identity("fake", self.name, "1")

    def close(self) -> None:
        self.table.events.append(f"disconnect {self.name}")

    def check(self, stop: Stop | None = None) -> None:
        check_stop(stop)
        if self.timeouts:
            raise self.timeouts.pop()
        if self.fault is not None:
            raise self.fault


@dataclass
class FakeMount(FakeDevice):
    name: str = "attenuator FAKE"
    angle_range_deg: tuple[float, float] = (0.0, 360.0)
    errors_deg: Callable[[], float] = lambda: 0.0
    stuck: bool = False
    lost_reference_after: int | None = None

    def is_referenced(self) -> bool:
        self.check()
        return self.table.referenced

    def home(self, stop: Stop | None = None) -> None:
        self.check(stop)
        self.table.events.append("home" if not self.table.is_open else "home in the light")
        self.table.turn_to(0.0, 0.0, 1.0)
        self.table.referenced = True

    def angle_deg(self) -> float:
        self.check()
        return self.table.angle_deg

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        self.check(stop)
        if not self.angle_range_deg[0] <= angle_deg <= self.angle_range_deg[1]:
            raise InstrumentFault(self.name, f"{angle_deg} is out of range")
        if not self.stuck:
            self.table.turn_to(angle_deg, self.errors_deg(), 0.2)
        check_stop(stop)
        self.table.events.append(f"move {angle_deg:.2f}")
        return self.table.angle_deg


@dataclass
class FakeMeter(FakeDevice):
    name: str = "power meter FAKE"
    sensor: SensorKind = "photodiode"
    settling_s: float = 0.1
    noise_w: float = 1e-10
    offset_w: float = 0.0
    stale: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    noise_rel: float = 0.0
    wobble: float = 0.0
    """Part of its noise by which its means differ from one to the next."""
    reads: int = 0
    hung: bool = False
    """Whether it repeats its last value for ever."""
    last_w: float = math.nan
    read_s: float = -math.inf

    def prepare(self, wavelength_nm: float) -> None:
        self.check()
        self.table.events.append(f"wavelength {wavelength_nm:g}")

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        self.check(stop)
        start = self.table.clock.now_s()
        values = []
        for _ in range(count):
            self.table.clock.sleep(0.1, stop)
            self.table.account()
            factor = 1 + self.noise_rel * float(self.rng.standard_normal())
            values.append(self.table.power_w() * factor + self.offset_w)
        if self.stale > 0:
            self.stale -= 1
            start -= 100.0
        sigma = float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else self.noise_w
        self.reads += 1  # no two means of a real head agree in every digit
        if not self.hung:
            self.last_w = float(np.mean(values)) * (1 + 1e-12 * self.reads)
            self.last_w += self.wobble * self.noise_w * (self.reads % 3 - 1)
        self.read_s = self.table.clock.now_s()
        return PowerReading(self.last_w, sigma, count, start, self.table.clock.now_s())


@dataclass
class FakeShutter(FakeDevice):
    name: str = "shutter FAKE"
    travel_s: float = 0.05
    jammed: bool = False
    says_open: bool | None = None
    """What its sensor says whatever the blade does; None: the truth."""

    def is_open(self) -> bool:
        self.check()
        return self.table.is_open if self.says_open is None else self.says_open

    def open(self) -> None:
        self.check()
        if not self.jammed:
            self.table.set_shutter(open_=True)

    def close_beam(self) -> None:
        self.check()
        if not self.jammed and self.table.is_open:
            self.table.set_shutter(open_=False)


@dataclass
class FakeSpectrometer(FakeDevice):
    """Emission grows as F^2, with a line above 80 uJ/cm2; the first exposure after a change is an old one."""

    name: str = "spectrometer FAKE"
    stale_stamp: int = 0
    pump_counts: float = 0.0
    gain: float = 1.0
    temperature: float | None = 25.0
    integration_s: float = 0.01
    acquired: int = 0
    on_exposure: Callable[[], None] = lambda: None
    spike: bool = False

    def __post_init__(self) -> None:
        self._old = np.full(1000, 9999.0)
        self.info = SpectrometerInfo(
            identity=self.identity(),
            wavelength_nm=np.linspace(390.0, 820.0, 1000),
            max_counts=65535.0,
            integration_min_s=1e-3,
            integration_max_s=10.0,
        )

    def set_integration(self, seconds: float) -> float:
        self.check()
        self.integration_s = seconds
        return seconds

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        self.check(stop)
        self.on_exposure()
        start = self.table.clock.now_s()
        self.table.clock.sleep(self.integration_s, stop)
        self.table.account()
        counts = self._counts()
        counts, self._old = (self._old, counts) if self._changed() else (counts, counts)
        self.acquired += 1
        if self.stale_stamp > 0:
            self.stale_stamp -= 1
            start -= 50.0
        return Spectrum(
            counts, self.integration_s, start, self.table.clock.now_s(), temperature_c=self.temperature
        )

    def _changed(self) -> bool:
        state = (self.table.is_open, self.table.angle_deg, self.integration_s)
        changed, self._state = state != getattr(self, "_state", None), state
        return changed

    def _counts(self, fluence: float | None = None) -> FloatArray:
        wavelength, fluence = self.info.wavelength_nm, self.table.fluence() if fluence is None else fluence
        pulses = self.integration_s * RATE_HZ
        rng = np.random.default_rng(self.acquired)
        counts = 1000.0 + 3.0 * rng.standard_normal(wavelength.size)
        counts += pulses * self.gain * 1e-3 * fluence**2 * np.exp(-(((wavelength - 525.0) / 15.0) ** 2))
        line = max((fluence / 80.0) ** 2 - 1, 0.0)
        counts += pulses * self.gain * 80.0 * line * np.exp(-(((wavelength - 540.0) / 0.8) ** 2))
        counts += pulses * self.pump_counts * (fluence > 0) * np.exp(-(((wavelength - 800.0) / 10.0) ** 2))
        if self.spike and self.acquired % 7 == 3:
            counts[320] += 30000.0
        return np.clip(np.rint(counts), 0, 65535)

    def temperature_c(self) -> float | None:
        self.check()
        return self.temperature


class FakeBench:
    """The four fakes round one table."""

    def __init__(self, order: tuple[Element, ...] = FRONT, clock: Clock | None = None) -> None:
        self.table = Table(order, clock)
        self.clock = self.table.clock
        self.mount, self.meter = FakeMount(self.table), FakeMeter(self.table)
        self.shutter, self.spectrometer = FakeShutter(self.table), FakeSpectrometer(self.table)
        self.roles = Roles(self.mount, self.meter, self.spectrometer, self.shutter, self.clock)

    def assert_safe(self) -> None:
        assert not self.table.is_open
        assert float(malus(self.table.angle_deg)) < T_MIN * 1.01
        assert self.table.flashes == 0


class FakeSink:
    """Keeps what it is given, in order; may be told to fail."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.darks: list[DarkRecord] = []
        self.points: list[SweepPoint] = []
        self.events: list[str] = []
        self.fault: Exception | None = None

    def begin(self, start: RunStart) -> None:
        self.log.append("begin")

    def dark(self, record: DarkRecord) -> None:
        self.log.append(f"{record.kind} {record.number}")
        self.darks.append(record)

    def append(self, point: SweepPoint) -> None:
        if self.fault is not None:
            raise self.fault
        self.log.append(f"point {point.index}")
        self.points.append(point)

    def event(self, at_s: float, text: str) -> None:
        self.events.append(text)

    def end(self, stop: RunStop) -> None:
        self.log.append("end")
