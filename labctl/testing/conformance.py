"""What a role promises, as checks that any driver of it must pass, without a test framework.

Each check opens the instrument, uses it and closes it; it raises :class:`Fails` in words where a promise is
broken, and lets an error of the driver through. In a package's tests, with pytest::

    @pytest.mark.parametrize("check", checks_of("power_meter"), ids=lambda check: check.__name__)
    def test_conformance(check):
        check(lambda: DRIVER.open(config, clock))

Checks of a shutter open it, and those of a mount turn it: use a simulated bench, or block the beam.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast, get_args

import numpy as np

from drivers.registry import RoleName
from labctl.model.errors import Aborted, InstrumentError, InstrumentFault
from labctl.model.roles import (
    Attenuator,
    Heater,
    PowerMeter,
    SensorKind,
    Shutter,
    Spectrometer,
    Stage,
    Thermometer,
)

Open = Callable[[], Any]
"""Opens the instrument and returns the driver's object."""
ROLES: Mapping[RoleName, Any] = {
    "attenuator": Attenuator,
    "power_meter": PowerMeter,
    "spectrometer": Spectrometer,
    "shutter": Shutter,
    "stage": Stage,
    "thermometer": Thermometer,
    "heater": Heater,
}
WAIT_S = 30.0
"""Wall time within which the second of two threads must come back."""


class Fails(AssertionError):  # noqa: N818
    """The driver breaks a promise of its role."""


class Check(Protocol):
    """One promise."""

    __name__: str

    def __call__(self, open_device: Open) -> None:
        """Try it.

        :param open_device: called as often as the check needs.
        :raises Fails: the promise is broken.
        """


def checks_of(role: RoleName) -> tuple[Check, ...]:
    """Return the checks of a role, those that hold for every instrument first.

    :param role: the role that the driver plays.
    """

    def a_device_has_its_role_a_name_and_an_identity(open_device: Open) -> None:
        _is_a(role, open_device)

    general = (a_device_has_its_role_a_name_and_an_identity, a_closed_device_refuses_and_opens_again)
    return cast("tuple[Check, ...]", (*general, *_OF_ROLE[role]))


def expect(condition: object, promise: str) -> None:
    """Raise :class:`Fails` with the promise unless the condition holds."""
    if not condition:
        raise Fails(promise)


@contextmanager
def refused(kind: type[BaseException], promise: str) -> Iterator[None]:
    """Expect an exception of this kind from the block."""
    try:
        yield
    except kind:
        return
    raise Fails(promise)


@contextmanager
def _opened(open_device: Open) -> Iterator[Any]:
    device = open_device()
    try:
        yield device
    finally:
        device.close()


def _stopped() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


def _is_a(role: RoleName, open_device: Open) -> None:
    with _opened(open_device) as device:
        expect(isinstance(device, ROLES[role]), f"it has everything that {ROLES[role].__name__} asks for")
        expect(device.name.startswith(f"{role} "), "its name begins with the role and a space")
        first, again = device.identity(), device.identity()
        expect(first == again, "it says the same of itself each time")
        expect(first.model, "its identity names the model")


def a_closed_device_refuses_and_opens_again(open_device: Open) -> None:
    """Closing twice does no harm; what is closed raises; it can be opened again."""
    device = open_device()
    model = device.identity().model
    device.close()
    device.close()
    with refused(InstrumentError, "a closed device raises InstrumentError"):
        device.identity()
    with _opened(open_device) as again:
        expect(again.identity().model == model, "the same device answers after it was opened again")


def _outside(low: float, high: float) -> tuple[float, ...]:
    return low - 1.0, high + 1.0, math.nan


def _goes(
    move_to: Callable[..., float], where: Callable[[], float], positions: tuple[float, ...], near: float
) -> None:
    for wanted in positions:
        reached = move_to(wanted)
        expect(abs(reached - wanted) <= near, f"a motion to {wanted:g} ends there, not at {reached:g}")
        found = where()
        expect(abs(found - reached) <= near, f"it returns where it reads itself: {reached:g}, not {found:g}")


def attenuator_homes_and_moves_where_it_is_told(open_device: Open) -> None:
    """Homing gives a reference; a motion ends where it was sent, and returns the angle read back."""
    with _opened(open_device) as mount:
        mount.home()
        expect(mount.is_referenced(), "it is referenced after homing")
        low, high = mount.angle_range_deg
        expect(low < high, "its angles have a lower and a higher end")
        angles = tuple(a for a in (33.3, 12.0, 57.0) if low <= a <= high)
        _goes(mount.move_to, mount.angle_deg, angles, 0.1)


def attenuator_refuses_and_stops_without_moving(open_device: Open) -> None:
    """Angles out of range raise; a stop that is set raises before anything turns."""
    with _opened(open_device) as mount:
        before_deg = mount.angle_deg()
        for outside in _outside(*mount.angle_range_deg):
            with refused(InstrumentFault, f"{outside:g} deg is refused"):
                mount.move_to(outside)
        with refused(Aborted, "move_to hears a stop"):
            mount.move_to(20.0, _stopped())
        with refused(Aborted, "home hears a stop"):
            mount.home(_stopped())
        expect(abs(mount.angle_deg() - before_deg) <= 0.05, "nothing has turned")


def stage_homes_moves_and_refuses_the_rest(open_device: Open) -> None:
    """The same promises as a mount's, in um."""
    with _opened(open_device) as stage:
        stage.home()
        expect(stage.is_referenced(), "it is referenced after homing")
        low, high = stage.range_um
        _goes(stage.move_to, stage.position_um, (low + 0.2 * (high - low), low + 0.1 * (high - low)), 2.0)
        before_um = stage.position_um()
        for outside in _outside(low, high):
            with refused(InstrumentFault, f"{outside:g} um is refused"):
                stage.move_to(outside)
        with refused(Aborted, "move_to hears a stop"):
            stage.move_to(high, _stopped())
        expect(abs(stage.position_um() - before_um) <= 2.0, "nothing has moved")


def power_meter_reads_watts(open_device: Open) -> None:
    """Readings are finite, carry an error and the times they were taken between."""
    with _opened(open_device) as meter:
        meter.prepare(800.0)
        expect(meter.sensor in get_args(SensorKind), f"its sensor is one of {get_args(SensorKind)}")
        expect(meter.noise_w > 0, "its noise is positive")
        expect(meter.settling_s >= 0, "its settling time is not negative")
        for count in (1, 3):
            reading = meter.read(count)
            expect(reading.n == count, f"{count} readings asked for, {reading.n} returned")
            expect(math.isfinite(reading.power_w), "the power is a number")
            expect(0 < reading.sigma_w < math.inf, "its standard error is positive")
            expect(reading.start_s < reading.stop_s, "a reading ends after it began")


def power_meter_hears_a_stop(open_device: Open) -> None:
    """A stop that is set raises."""
    with _opened(open_device) as meter:
        meter.prepare(800.0)
        with refused(Aborted, "read hears a stop"):
            meter.read(1, _stopped())


def spectrometer_exposes_as_told(open_device: Open) -> None:
    """Pixels and wavelengths belong together; the exposure time confirmed is the one that spectra carry."""
    with _opened(open_device) as spectrometer:
        info = spectrometer.info
        expect(info.wavelength_nm.ndim == 1 and info.wavelength_nm.size > 1, "it has a row of pixels")
        expect(bool(np.all(np.diff(info.wavelength_nm) > 0)), "its wavelengths rise")
        expect(info.max_counts > 0, "its full scale is positive")
        low_s, high_s = info.integration_min_s, info.integration_max_s
        expect(0 < low_s < high_s, "its exposure times have a shorter and a longer end")
        wanted_s = min(max(0.02, low_s), high_s)
        kept_s = spectrometer.set_integration(wanted_s)
        expect(abs(kept_s - wanted_s) <= 0.2 * wanted_s, f"it keeps {wanted_s:g} s, not {kept_s:g} s")
        for spectrum in [spectrometer.acquire() for _ in range(3)]:
            expect(spectrum.counts.shape == info.wavelength_nm.shape, "a spectrum has a count for each pixel")
            expect(spectrum.start_s < spectrum.stop_s, "an exposure ends after it began")
        expect(abs(spectrum.integration_s - kept_s) <= 1e-3 * kept_s, "a spectrum carries the time confirmed")
        with refused(InstrumentFault, "an exposure time beyond the longest is refused"):
            spectrometer.set_integration(2 * high_s)
        with refused(Aborted, "acquire hears a stop"):
            spectrometer.acquire(_stopped())


def shutter_confirms_what_it_does(open_device: Open) -> None:
    """It opens and closes, twice in a row without harm, and says what it has done."""
    with _opened(open_device) as shutter:
        expect(shutter.travel_s > 0, "its travel takes time")
        try:
            for _ in range(2):
                shutter.open()
                expect(shutter.is_open(), "after open() it reports open")
        finally:
            shutter.close_beam()
        shutter.close_beam()
        expect(not shutter.is_open(), "after close_beam() it reports closed")


def shutter_closes_from_another_thread(open_device: Open) -> None:
    """The thread that makes safe is not the one that measures."""
    with _opened(open_device) as shutter:
        shutter.open()
        failures: list[Exception] = []

        def close() -> None:
            try:
                shutter.close_beam()
            except Exception as exc:  # noqa: BLE001  told below
                failures.append(exc)

        other = threading.Thread(target=close, daemon=True)
        other.start()
        for _ in range(3):
            shutter.is_open()
        other.join(WAIT_S)
        expect(not other.is_alive(), "close_beam() returns in another thread")
        expect(not failures, f"close_beam() works in another thread: {failures}")
        expect(not shutter.is_open(), "it is closed then")


def thermometer_reads_a_temperature(open_device: Open) -> None:
    """Readings are finite."""
    with _opened(open_device) as sensor:
        expect(math.isfinite(sensor.temperature_c()), "the temperature is a number")


def heater_holds_and_refuses_the_rest(open_device: Open) -> None:
    """It heats when told; temperatures out of range are refused; off() may be called twice."""
    with _opened(open_device) as heater:
        low_c, high_c = heater.temperature_range_c
        for outside in _outside(low_c, high_c):
            with refused(InstrumentFault, f"{outside:g} C is refused"):
                heater.hold(outside)
        expect(math.isfinite(heater.temperature_c()), "the temperature is a number")
        heater.hold(min(max(30.0, low_c), high_c))
        expect(heater.is_heating(), "it heats after hold()")
        heater.off()
        heater.off()
        expect(not heater.is_heating(), "it does not heat after off()")


_OF_ROLE: Mapping[RoleName, tuple[Callable[[Open], None], ...]] = {
    "attenuator": (attenuator_homes_and_moves_where_it_is_told, attenuator_refuses_and_stops_without_moving),
    "power_meter": (power_meter_reads_watts, power_meter_hears_a_stop),
    "spectrometer": (spectrometer_exposes_as_told,),
    "shutter": (shutter_confirms_what_it_does, shutter_closes_from_another_thread),
    "stage": (stage_homes_moves_and_refuses_the_rest,),
    "thermometer": (thermometer_reads_a_temperature,),
    "heater": (heater_holds_and_refuses_the_rest,),
}
