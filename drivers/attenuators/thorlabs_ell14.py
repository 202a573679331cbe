"""Thorlabs Elliptec rotation mounts (ELL14, ELL18, ELL8, ELL16, ELL21) on their serial bus (ELLx protocol).

What travels on the bus is described in ``support/elliptec.py``. Tried on a simulator only.
"""

from __future__ import annotations

from typing import Literal, Unpack

from pymeasure.adapters import Adapter

from drivers.support.elliptec import (
    ROTATION_MOUNTS,
    ElliptecConfig,
    ElliptecMotor,
    Module,
    MotorOptions,
    module_probes,
)
from drivers.support.rotation import RotationConfig, homed_if_asked
from drivers.support.spec import DriverSpec, Support
from labctl.model.clock import Clock, Stop


class ThorlabsELL14(ElliptecMotor):
    """Rotation mount ELL14, or one that speaks the same; angles in degrees, positive as the module counts.

    :param adapter: VISA resource, e.g. ``"ASRL3::INSTR"``.
    :param address: bus address, one hex digit.
    :param angle_range_deg: lowest and highest angle that may be asked for.
    :param options: see ``MotorOptions``.
    :raises NotConnected: no such mount answers at this address.
    """

    models, unit, tolerance = ROTATION_MOUNTS, "degrees", 0.5
    blocked = "the plate may be blocked"

    def __init__(
        self,
        adapter: str | Adapter,
        address: str = "0",
        *,
        angle_range_deg: tuple[float, float] = (0.0, 360.0),
        role: str = "attenuator",
        **options: Unpack[MotorOptions],
    ) -> None:
        self._range_deg = angle_range_deg
        super().__init__(adapter, address, role, **options)

    def _scale(self, module: Module) -> float:
        return module.pulses / 360.0

    def _apart(self, a: float, b: float) -> float:
        return abs((a - b + 180.0) % 360.0 - 180.0)

    def _range(self) -> tuple[float, float]:
        return self._range_deg

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for, in degrees."""
        return self._range_deg

    def angle_deg(self) -> float:
        """Read the present angle, in degrees."""
        return self._where()

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the angle read back, in degrees.

        :raises InstrumentFault: outside the range, a fault of the module, or it ended elsewhere.
        """
        return self._go_to(angle_deg, stop)


class ThorlabsELL14Config(ElliptecConfig, RotationConfig):
    """``[attenuator]`` with ``driver = "thorlabs-ell14"``."""

    driver: Literal["thorlabs-ell14"]


def _open(config: ThorlabsELL14Config, clock: Clock) -> ThorlabsELL14:
    mount = ThorlabsELL14(
        config.resource,
        config.address,
        angle_range_deg=(config.min_angle_deg, config.max_angle_deg),
        baud_rate=config.baud_rate,
        clock=clock,
        visa_library=config.visa_library,
    )
    return homed_if_asked(mount, config)


DRIVER = DriverSpec(
    "thorlabs-ell14",
    "attenuator",
    ThorlabsELL14Config,
    _open,
    "Thorlabs Elliptec rotation mounts (ELL14, ELL18 ...)",
    Support(
        "Thorlabs ELL14, ELL14K, ELL18, ELL8, ELL16, ELL21 (a half-wave plate before a polariser, or a "
        "gradient filter wheel)",
        "serial 9600 8N1, up to 16 modules on one bus",
        "simulator, TCP and pseudo-terminal",
        (
            "by what number ELL8, ELL16 and ELL21 announce themselves is concluded from ELL14, ELL18 and "
            "ELL20",
            "whether a module goes to 360 degrees, or to just below, is not known",
        ),
    ),
    module_probes(ROTATION_MOUNTS),
)
