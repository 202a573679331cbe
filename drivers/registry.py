"""Finds drivers: every module with a ``DRIVER`` in a folder of this package, and what others registered.

Outside packages offer theirs as entry points of the group ``labctl.drivers``, each a :class:`DriverSpec`
under the name that is its key. An entry point is loaded when a bench file names it, and no other is imported.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import drivers
from drivers.support.isolation import isolated
from drivers.support.spec import DriverConfig, DriverSpec, RoleName, VisaConfig
from labctl.model.clock import Clock
from labctl.model.errors import ConfigError

__all__ = [
    "DriverConfig",
    "DriverSpec",
    "RoleName",
    "VisaConfig",
    "all_drivers",
    "connect",
    "find",
    "known_keys",
    "of_role",
]

ENTRY_POINT_GROUP = "labctl.drivers"
NO_DRIVERS = (__name__, "drivers.isolated_child")


def _own() -> Iterator[DriverSpec]:
    for module in pkgutil.walk_packages(drivers.__path__, "drivers."):
        if (
            not module.ispkg
            and module.name not in NO_DRIVERS
            and not module.name.startswith("drivers.support.")
        ):
            spec = getattr(importlib.import_module(module.name), "DRIVER", None)
            if isinstance(spec, DriverSpec):
                yield spec


@cache
def all_drivers() -> tuple[DriverSpec, ...]:
    """Return every driver of this package, sorted by key; installed ones are looked for by name only."""
    return tuple(sorted(_own(), key=lambda spec: spec.key))


def of_role(role: RoleName) -> tuple[DriverSpec, ...]:
    """Return this package's drivers of one role."""
    return tuple(spec for spec in all_drivers() if spec.role == role)


def known_keys(role: RoleName) -> tuple[str, ...]:
    """Return the keys of this package's drivers of a role, then those of installed ones, of any role.

    No installed driver is imported for this, so that what role it plays is not known.
    """
    installed = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return (*(spec.key for spec in of_role(role)), *sorted(installed - {spec.key for spec in all_drivers()}))


def find(role: RoleName, key: str) -> DriverSpec:
    """Return one driver; of two with one key the package's own wins.

    :param role: the role it must play.
    :param key: its name in the bench file.
    :raises ConfigError: no driver has that name and role (the nearest key is named), or an installed one of
        that name cannot be loaded.
    """
    spec = next((spec for spec in all_drivers() if spec.key == key), None) or _installed(role, key)
    if spec is not None and spec.role == role:
        return spec
    known = known_keys(role)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    if spec is not None:
        hint = f"it is a driver for the role {spec.role}"
    else:
        hint = f"did you mean {near[0]!r}?" if near else f"known drivers: {', '.join(known)}"
    raise ConfigError(f"no {role} driver is called {key!r}", key=f"{role}.driver", hint=hint)


def _installed(role: RoleName, key: str) -> DriverSpec | None:
    """Load the entry point of this name, and no other."""
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == key:
            return _loaded(role, entry)
    return None


def _loaded(role: RoleName, entry: EntryPoint) -> DriverSpec:
    where = f"{role}.driver"
    try:
        spec = entry.load()
    except Exception as exc:
        reason = f"the driver {entry.name!r} cannot be loaded from {entry.value}: {type(exc).__name__}: {exc}"
        raise ConfigError(reason, key=where, hint="install its package again, with what it needs") from exc
    if not isinstance(spec, DriverSpec) or spec.key != entry.name:
        reason = f"{entry.value} is not a DriverSpec with the key {entry.name!r}"
        raise ConfigError(reason, key=where, hint="see the page on adapters, or ask who wrote the package")
    return spec


def connect(role: RoleName, config: DriverConfig, clock: Clock) -> Any:
    """Open the driver that a table of the bench file names, in a process of its own where it says so.

    :param role: the role it must play.
    :param config: the table.
    :param clock: of the bench.
    :returns: an object that satisfies the role.
    :raises InstrumentError: ``NotConnected``, or another kind; nothing else.
    """
    if config.isolated:
        return isolated(role, config, clock)
    return find(role, config.driver).open(config, clock)
