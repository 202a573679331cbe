"""Finds drivers: every module with a ``DRIVER`` in a folder of this package, and what others registered.

Outside packages offer theirs as entry points of the group ``labctl.drivers``, each a :class:`DriverSpec`.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points

import drivers
from drivers.support.spec import DriverConfig, DriverSpec, RoleName, VisaConfig
from labctl.model.errors import ConfigError

__all__ = ["DriverConfig", "DriverSpec", "RoleName", "VisaConfig", "all_drivers", "find", "of_role"]

ENTRY_POINT_GROUP = "labctl.drivers"

log = logging.getLogger(__name__)


def _own() -> Iterator[DriverSpec]:
    for module in pkgutil.walk_packages(drivers.__path__, "drivers."):
        if not module.ispkg and module.name != __name__ and not module.name.startswith("drivers.support."):
            spec = getattr(importlib.import_module(module.name), "DRIVER", None)
            if isinstance(spec, DriverSpec):
                yield spec


def _from_elsewhere() -> Iterator[DriverSpec]:
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            spec = entry.load()
        except Exception:
            log.exception("the driver %s could not be loaded and is ignored", entry.value)
            continue
        if isinstance(spec, DriverSpec):
            yield spec
        else:
            log.error("%s is not a DriverSpec and is ignored", entry.value)


@cache
def all_drivers() -> tuple[DriverSpec, ...]:
    """Return every driver, sorted by key; of two with one key the package's own wins."""
    found: dict[str, DriverSpec] = {}
    for spec in (*_own(), *_from_elsewhere()):
        if found.setdefault(spec.key, spec) is not spec:
            log.error("a second driver called %s is ignored", spec.key)
    return tuple(found[key] for key in sorted(found))


def of_role(role: RoleName) -> tuple[DriverSpec, ...]:
    """Return the drivers of one role."""
    return tuple(spec for spec in all_drivers() if spec.role == role)


def find(role: RoleName, key: str) -> DriverSpec:
    """Return one driver.

    :param role: the role it must play.
    :param key: its name in the bench file.
    :raises ConfigError: no driver has that name and role; the nearest key is named.
    """
    known = {spec.key: spec for spec in of_role(role)}
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known drivers: {', '.join(known)}"
    raise ConfigError(f"no {role} driver is called {key!r}", key=f"{role}.driver", hint=hint)
