"""Finds the simulated instruments: one module each in a folder here, or another package's entry point.

A module offers itself by a constant ``SIMULATOR``; there is no list to edit.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
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


@cache
def all_simulators() -> tuple[Simulator, ...]:
    """Return every simulated instrument of this package, by key; installed ones are found by name only."""
    found = {}
    for module in pkgutil.walk_packages(simulators.__path__, "simulators."):
        if not module.ispkg and not module.name.startswith(NO_INSTRUMENTS):
            offered = getattr(importlib.import_module(module.name), "SIMULATOR", None)
            if isinstance(offered, Simulator):
                found[offered.key] = offered
    return tuple(found[key] for key in sorted(found))


def find(key: str) -> Simulator:
    """Return one simulated instrument; of two with one key this package's own wins.

    :raises KeyError: there is none of that key.
    """
    return next((item for item in all_simulators() if item.key == key), None) or _installed(key)


def _installed(key: str) -> Simulator:
    """Load the entry point of this name, and no other."""
    points = entry_points(group=ENTRY_POINTS)
    offered = next((point.load() for point in points if point.name == key), None)
    if isinstance(offered, Simulator) and offered.key == key:
        return offered
    known = (*(item.key for item in all_simulators()), *sorted(point.name for point in points))
    raise KeyError(f"no simulator {key!r}; there are {', '.join(known)}")
