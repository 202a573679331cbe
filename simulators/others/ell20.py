"""The Thorlabs ELL20 linear stage: what differs from the ELL14 on the same bus.

Travel 60 mm. That a millimetre has 1024 pulses, and that ``in`` announces them there where a rotation mount
announces those of a turn, is taken over from public accounts and not verified; a driver should read both.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from labctl.model.clock import Clock
from simulators.attenuators.ell14 import BusModule, Ell14Bus, Model, Mover
from simulators.registry import Simulator
from simulators.scene import Scene
from simulators.usb.ftdi import Ftdi

ELL20_TYPE = 0x14
PULSES_PER_MM = 1024


class Stage(Mover, Protocol):
    """The part of the scene that slides; positions in mm, times in seconds of the scene's clock."""

    def encoder_mm(self) -> float:
        """Return what the encoder shows now."""


class StageModule(BusModule):
    """One ELL20 on the bus.

    :param stage: what it moves. :param address: one hexadecimal digit.
    :param pulses_per_mm: announced by ``in``.
    """

    def __init__(
        self,
        clock: Clock,
        stage: Stage,
        *,
        address: str = "0",
        serial: int = 12000060,
        travel_mm: int = 60,
        pulses_per_mm: int = PULSES_PER_MM,
    ) -> None:
        span = travel_mm * pulses_per_mm
        model = Model(ELL20_TYPE, travel_mm, pulses_per_mm, float(pulses_per_mm), span, 0, span)
        super().__init__(clock, stage, stage.encoder_mm, model, address=address, serial=serial)


def _on_the_table(scene: Scene) -> Ell14Bus:
    if scene.stage is None:
        raise ValueError("this scene has no stage")
    return Ell14Bus(scene.clock, [StageModule(scene.clock, scene.stage)])


SIMULATOR = Simulator("thorlabs-ell20", "stage", _on_the_table, plug=lambda _: partial(Ftdi, "SIMELL20"))
