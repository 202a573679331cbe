"""What a bench may have besides its four instruments, wrapped like them."""

from __future__ import annotations

from labctl.model.clock import Stop
from labctl.model.roles import Stage, Thermometer
from labctl.session.watchdog_calls import End, Life, Watched


class WatchedStage(Watched):
    """A linear stage."""

    def __init__(self, device: Stage, life: Life, end: End) -> None:
        super().__init__(device, life, end)
        self._stage = device

    @property
    def range_um(self) -> tuple[float, float]:
        """Lowest and highest position that may be asked for."""
        return self._stage.range_um

    def is_referenced(self) -> bool:
        """Return whether the position can be trusted."""
        with self.busy():
            return self._stage.is_referenced()

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference."""
        with self.busy():
            self._stage.home(self.polled(stop))

    def position_um(self) -> float:
        """Read the present position."""
        with self.busy():
            return self._stage.position_um()

    def move_to(self, position_um: float, stop: Stop | None = None) -> float:
        """Move, and return the position read back."""
        with self.busy():
            return self._stage.move_to(position_um, self.polled(stop))


class WatchedThermometer(Watched):
    """A thermometer."""

    def __init__(self, device: Thermometer, life: Life, end: End) -> None:
        super().__init__(device, life, end)
        self._thermometer = device

    def temperature_c(self) -> float:
        """Read the temperature."""
        with self.busy():
            return self._thermometer.temperature_c()
