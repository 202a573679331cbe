"""Finds the simulated instruments: one module each in a folder here, or another package's entry point.

A module offers itself by a constant ``SIMULATOR``; there is no list to edit.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal

import simulators
from simulators.link import Wire
from simulators.scene import Scene
from simulators.usb.device import Plug

Role = Literal["attenuator", "power_meter", "spectrometer", "shutter", "stage", "thermometer", "heater"]
ENTRY_POINTS = "labctl.simulators"
NO_INSTRUMENTS = ("simulators.faults.", "simulators.scene.")


@dataclass(frozen=True, slots=True)
class Simulator:
    """One simulated instrument.

    :param key: the driver key of the instrument it stands for.
    :param role: the role it plays.
    :param make: builds the wire in front of a scene.
    :param serial: whether the instrument has a serial line (and so may sit on a pseudo-terminal).
    :param plug: makes what makes its USB plug, where it has one in this scene.
    """

    key: str
    role: Role
    make: Callable[[Scene], Wire]
    serial: bool = True
    plug: Callable[[Scene], Plug | None] = lambda _: None


def all_simulators() -> tuple[Simulator, ...]:
    """Return every simulated instrument there is, by key."""
    found = {}
    for module in pkgutil.walk_packages(simulators.__path__, "simulators."):
        if not module.ispkg and not module.name.startswith(NO_INSTRUMENTS):
            offered = getattr(importlib.import_module(module.name), "SIMULATOR", None)
            if isinstance(offered, Simulator):
                found[offered.key] = offered
    for point in entry_points(group=ENTRY_POINTS):
        offered = point.load()
        if isinstance(offered, Simulator):
            found[offered.key] = offered
    return tuple(found[key] for key in sorted(found))


def find(key: str) -> Simulator:
    """Return one simulated instrument.

    :raises KeyError: there is none of that key.
    """
    return next((item for item in all_simulators() if item.key == key), None) or _missing(key)


def _missing(key: str) -> Simulator:
    raise KeyError(f"no simulator {key!r}; there are {', '.join(item.key for item in all_simulators())}")
