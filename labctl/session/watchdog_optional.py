"""What a bench may have besides its four instruments, wrapped like them."""

from __future__ import annotations

from labctl.model.delegate import DelegateStage, DelegateThermometer
from labctl.model.roles import Stage, Thermometer
from labctl.session.watchdog_calls import Watched


class WatchedStage(Watched[Stage], DelegateStage):
    """A linear stage."""


class WatchedThermometer(Watched[Thermometer], DelegateThermometer):
    """A thermometer."""
