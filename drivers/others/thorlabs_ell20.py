"""Thorlabs Elliptec ELL20 linear stage, 60 mm, on its serial bus (ELLx protocol manual).

What travels on the bus is described in ``support/elliptec.py``; travel and pulses per millimetre are
read from the module. Tried on a simulator only.
"""

from __future__ import annotations

from typing import Annotated, Literal, Unpack

from pydantic import Field, model_validator
from pymeasure.adapters import Adapter

from drivers.support.elliptec import (
    LINEAR_STAGES,
    ElliptecConfig,
    ElliptecMotor,
    Module,
    MotorOptions,
    module_probes,
)
from drivers.support.spec import DriverSpec, Support
from labctl.model.clock import Clock, Stop


class ThorlabsELL20(ElliptecMotor):
    """Linear stage ELL20; positions in um from the reference, positive away from it.

    :param adapter: VISA resource, e.g. ``"ASRL5::INSTR"``.
    :param address: bus address, one hex digit.
    :param position_range_um: lowest and highest position that may be asked for; the whole travel if left out.
    :param options: see ``MotorOptions``.
    :raises NotConnected: no ELL20 answers at this address.
    """

    models, unit, tolerance = LINEAR_STAGES, "um", 50.0
    blocked = "the stage may be blocked"

    def __init__(
        self,
        adapter: str | Adapter,
        address: str = "0",
        *,
        position_range_um: tuple[float, float] | None = None,
        role: str = "stage",
        **options: Unpack[MotorOptions],
    ) -> None:
        self._asked_um = position_range_um
        self._travel_um = 0.0
        super().__init__(adapter, address, role, **options)

    def _scale(self, module: Module) -> float:
        self._travel_um = module.travel * 1e3
        return module.pulses / 1e3

    def _range(self) -> tuple[float, float]:
        return self.range_um

    @property
    def range_um(self) -> tuple[float, float]:
        """Lowest and highest position that may be asked for, in um."""
        if self._asked_um is None:
            return 0.0, self._travel_um
        return self._asked_um[0], min(self._asked_um[1], self._travel_um)

    def position_um(self) -> float:
        """Read the present position, in um."""
        return self._where()

    def move_to(self, position_um: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the position read back, in um.

        :raises InstrumentFault: outside the range, a fault of the module, or it ended elsewhere.
        """
        return self._go_to(position_um, stop)


class ThorlabsELL20Config(ElliptecConfig):
    """``[stage]`` with ``driver = "thorlabs-ell20"``."""

    driver: Literal["thorlabs-ell20"]
    min_position_um: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    max_position_um: Annotated[float, Field(ge=0, le=1e6)] = 60_000.0

    @model_validator(mode="after")
    def _ordered(self) -> ThorlabsELL20Config:
        if self.min_position_um >= self.max_position_um:
            raise ValueError("min_position_um must be below max_position_um")
        return self


def _open(config: ThorlabsELL20Config, clock: Clock) -> ThorlabsELL20:
    return ThorlabsELL20(
        config.resource,
        config.address,
        position_range_um=(config.min_position_um, config.max_position_um),
        baud_rate=config.baud_rate,
        clock=clock,
        visa_library=config.visa_library,
    )


DRIVER = DriverSpec(
    "thorlabs-ell20",
    "stage",
    ThorlabsELL20Config,
    _open,
    "Thorlabs Elliptec ELL20 linear stage, 60 mm",
    Support(
        "Thorlabs ELL20 linear stage, 60 mm, carrying a blade",
        "serial 9600 8N1, on one bus with other modules",
        "simulator, TCP and pseudo-terminal",
        ("the bus is one serial port: mount and stage on the same board cannot both be opened yet",),
    ),
    module_probes(LINEAR_STAGES),
)
